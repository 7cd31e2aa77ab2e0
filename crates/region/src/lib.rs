//! The region server: the server half of `mrvpn-proto` made runnable, with sockets, threads and a TUN. It is a tool for
//! demos, tests and benchmarks and no server for the open net: it has no management, no log of who used it and no limits
//! on what a client may cost.

pub mod authority; // certificates and keys, made when wanted
mod control; // the thread that owns the protocol's server
mod device; // its TUN
mod directory; // who carries which client
pub mod error; // why it cannot be started
pub mod event; // what happens
pub mod limits; // bounds of threads and queues
mod mss; // segments that fit
pub mod place; // a network namespace with a thread in it
mod pool; // which client has which address
mod profile_text; // the .ovpn of a client
mod push; // what a client is pushed
mod region; // started, asked, stopped
mod seen; // what is known of a client
pub mod spec; // what a region is to be
mod udp_port; // many clients behind one socket
mod worker; // one thread of the data path

pub use authority::Authority;
pub use error::RegionError;
pub use event::{Events, RegionEvent};
pub use mrvpn_proto::server::Farewell;
pub use region::Region;
pub use seen::{ClientSeen, Lost, Traffic};
pub use spec::{Listen, RegionSpec, Transport, Wrapping};
