//! `demo --json` (contract.md section 3) as values: what was found. More fields than the contract names say more.

use std::net::Ipv4Addr;

use mrvpn_engine::status::InterfaceStatus;
use mrvpn_engine::{Status, TunnelStatus};
use serde::Serialize;

use super::outage::Outage;
use super::proof::{Proof, first};

/// The whole document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Findings {
    /// Each tunnel with the addresses that its server assigned.
    pub(super) tunnels: Vec<Shown>,
    /// The one interface.
    pub(super) interface: Option<InterfaceStatus>,
    /// The way without tunnels, before they are there.
    pub(super) before: Proof,
    /// Each request and who saw it.
    pub(super) proof: Vec<Proof>,
    /// What happened while a server was away.
    pub(super) restart: Outage,
    /// The way without tunnels, once they are gone again.
    pub(super) after: Proof,
    /// The whole run, in milliseconds.
    pub(super) took_ms: u64,
    /// Every proof is as it has to be.
    pub(super) ok: bool,
}

/// One tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Shown {
    /// Its name.
    pub(super) name: String,
    /// As its server assigned, with the length of the server's network.
    pub(super) assigned: Vec<String>,
    /// As it stands on the interface.
    pub(super) presented: Vec<String>,
    /// The address that always stands for it.
    pub(super) bind: Vec<String>,
    /// Its server.
    pub(super) remote: Option<String>,
    /// Data cipher.
    pub(super) cipher: Option<String>,
    /// From the first packet to the assignment, in milliseconds.
    pub(super) connect_ms: Option<u64>,
    /// The server says that it gave this address.
    pub(super) ok: bool,
}

/// Each tunnel as `status` has it; `given` is what its server says.
pub(super) fn tunnels(status: &Status, given: &[Option<Ipv4Addr>]) -> Vec<Shown> {
    let shown = |(tunnel, given): (&TunnelStatus, &Option<Ipv4Addr>)| Shown {
        name: tunnel.name.clone(),
        assigned: tunnel.assigned.clone(),
        presented: tunnel.presented.clone(),
        bind: tunnel.bind.clone(),
        remote: tunnel.remote.clone(),
        cipher: tunnel.cipher.clone(),
        connect_ms: tunnel.connect_ms,
        ok: given.is_some() && *given == first(&tunnel.assigned),
    };
    status.tunnels.iter().zip(given).map(shown).collect()
}
