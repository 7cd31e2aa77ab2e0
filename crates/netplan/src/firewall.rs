//! The engine's nftables tables as a value: who may use its addresses, and which connections leave as they came. It says
//! what the rules do; how they are written to the kernel is `host`'s. It is no kill switch: nothing that routing lets out
//! is stopped here.
//!
//! What the tables do, in words (inet table, then arp table):
//!
//! - prerouting, before routing: a packet for one of [`Firewall::addresses`] that comes in by another device than
//!   [`Firewall::device`] and whose source is not this host's is dropped; ARP questions for them from other cards too.
//! - prerouting: a packet of a connection that carries the mark gets it back; a connection that begins with a packet from
//!   another card (not `lo`, not a device of an engine) to an address of this host gets the mark.
//! - output, before routing is asked once more: a packet of the engine's own sockets gives its mark to its connection;
//!   replies of connections with the mark, and all packets of [`Firewall::inbound`], get the mark and leave as if no engine
//!   ran.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// What the tables of one engine hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firewall {
    /// Name of the tables.
    pub table: String,
    /// The engine's interface.
    pub device: String,
    /// Interfaces of other engines, sorted: what comes in there came in by no card.
    pub others: Vec<String>,
    /// Mark and mask of the engine's own sockets; bits outside the mask are never touched.
    pub mark: (u32, u32),
    /// Addresses of ours on the interface, sorted.
    pub addresses: Vec<IpAddr>,
    /// Connections that came in and stood before anything was captured, sorted.
    pub inbound: Vec<FourTuple>,
}

/// A TCP connection as this host has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FourTuple {
    /// This host's end. IPv4 in IPv6 notation is written as IPv4.
    pub local: SocketAddr,
    /// The other end, of the same family.
    pub remote: SocketAddr,
}

/// A kernel setting of the network namespace that the engine needs while it runs. Who else holds it, and what it was
/// before, is kept by `host`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Setting {
    /// `net.ipv4.conf.all.src_valid_mark = 1`: a strict reverse path filter (`rp_filter` 1) looks the way back up with the
    /// packet's mark.
    SourceValidMark,
}
