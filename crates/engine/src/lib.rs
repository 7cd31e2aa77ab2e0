//! Many tunnels at once: dialling, reconnects, leases, lanes and the data path, status. All that decides is a value
//! without I/O ([`tunnel`], [`fleet`], [`lane`]); tokio, threads and sockets are in [`driver`].

pub mod config; // what the engine is told to run

pub use config::{EngineConfig, TunnelConfig};
