//! Many tunnels at once: dialling, reconnects, leases, lanes and the data path, status. All that decides is a value
//! without I/O ([`Tunnel`], [`Fleet`], `Lane`); tokio, threads and sockets are in [`driver`].

pub mod attempt; // one try to reach a server
mod backoff; // when to try again
pub mod bootstrap; // names of remotes
pub mod config; // what the engine is told to run
pub mod datapath; // both directions on one screen
pub mod driver; // where the engine meets the machine
pub mod error; // what went wrong with a tunnel
pub mod event; // what happens
pub mod explained; // `explain --json` as values
pub mod fleet; // all tunnels together
pub mod lane; // the data path of one thread, as a value
pub mod memory; // what outlasts an engine
mod remotes; // which address is dialled next
pub mod status; // `status --json` as values
pub mod tunnel; // one tunnel kept alive

pub use attempt::Attempt;
pub use config::{EngineConfig, TunnelConfig};
pub use driver::{Command, EngineError, Progress, Refused, Reloaded, Start, TunnelVerb, run};
pub use event::{Event, EventKind};
pub use explained::{Explained, FlowQuery};
pub use fleet::{Fleet, FleetError, Request};
pub use memory::{Memory, NoStore, Store};
pub use status::{Status, TunnelStatus};
pub use tunnel::{Ask, Change, Tunnel, TunnelState};
