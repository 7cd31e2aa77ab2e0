//! The OpenVPN client protocol without I/O, clock or randomness of its own: a [`Session`] is handed datagrams and
//! moments and hands out datagrams, deadlines and events; a `Sealer` and an `Opener` a key then work on data packets
//! in place. Sources: openvpn-protocol.md and the OpenVPN files named there; see docs/protocol-map.md.

#![forbid(unsafe_code)]

mod channel; // a TLS session and the streams that carry it
pub mod config; // what a session is told
pub mod control; // control packets, unwrapped
pub mod control_text; // strings of the server inside TLS
pub mod data; // data packets: Sealer, Opener
pub mod dropped; // why a datagram was dropped
pub mod ids; // session id, message id, packet id, peer id
pub mod key_block; // key material and who uses which part
pub mod key_method; // the key exchange message
pub mod limits; // every limit and time
pub mod opcode; // the first byte
pub mod options_string; // the options string of both sides
#[cfg(any(test, feature = "test-peer"))]
pub mod peer; // the server half, scripted, for tests
pub mod peer_info; // what the client says of itself
pub mod prf; // keys without the exporter
mod reader; // a cursor over foreign bytes
pub mod reliable; // messages, acknowledgements, retransmission
pub mod replay; // the sliding window
#[cfg(any(test, feature = "server"))]
pub mod server; // the server half: many clients
pub mod session; // the state machine
pub mod stream; // packets in an outer TCP stream
pub mod tls; // TLS behind a trait, certificates
mod wrappers; // which wrapper a packet has
pub mod wrapping; // none, tls-auth, tls-crypt

pub use config::SessionConfig;
pub use data::{DataKeys, Inner, OCC_EXIT, OpenError, Opener, PING, SealError, Sealer};
pub use dropped::Dropped;
pub use ids::{PeerId, SessionId};
pub use opcode::{KeyId, data_key_id, is_data};
pub use session::{EndReason, Established, Event, Fault, Session, Stage, Timer};
pub use tls::rustls::RustlsConnector;
pub use tls::{Tls, TlsConnector, TlsError, TlsSetupError};
