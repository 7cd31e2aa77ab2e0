//! What an engine remembers of its tunnels over restarts: which addresses stand for them, and what their servers claimed
//! when they were last up. A claim outlives the engine (design.md section 4): until a new push replaces it or the tunnel
//! leaves the file, what it names is held or refused. Values alone; where they are kept is the program's.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::IpNet;
use mrvpn_netplan::Offer;
use mrvpn_router::ClaimOrigin;
use serde::{Deserialize, Serialize};

/// Version of [`Memory`] as written.
pub const MEMORY_VERSION: u32 = 1;

/// All that is remembered, by name of the tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// [`MEMORY_VERSION`] of the program that wrote it; another version is not read.
    pub version: u32,
    /// Base of the IPv4 pool that was used last: taken again where it is free.
    pub pool: Option<Ipv4Addr>,
    /// The tunnels of the configuration that ran last.
    pub tunnels: BTreeMap<String, Remembered>,
}

/// What is remembered of one tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Number of its bind address, from 0: `198.18.1.1` is 0. Unique among the tunnels.
    pub bind: u16,
    /// What its server pushed last; `None` where it never came up.
    pub pushed: Option<Pushed>,
}

/// What a server's last PUSH_REPLY came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Prefixes that it claimed, those of the profile itself left out.
    pub claims: Vec<(IpNet, ClaimOrigin)>,
    /// Whether it offered to be the default gateway.
    pub offer: Offer,
}

impl Default for Memory {
    fn default() -> Self {
        Self { version: MEMORY_VERSION, pool: None, tunnels: BTreeMap::new() }
    }
}

/// Where memory is kept. Blocking; called from the host's thread, before the plan that follows from it is applied.
pub trait Store: Send + 'static {
    /// Keeps it, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written; the engine says so and goes on.
    fn save(&mut self, memory: &Memory) -> std::io::Result<()>;
}

/// Keeps nothing: for engines whose tunnels nobody asks for again.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStore;

impl Store for NoStore {
    fn save(&mut self, _: &Memory) -> std::io::Result<()> {
        Ok(())
    }
}
