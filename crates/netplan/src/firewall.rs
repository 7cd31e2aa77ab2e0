//! The engine's nftables tables as a value: who may use its addresses, which connections leave as they came, and what may
//! leave by no other interface. It says what the rules do; how they are written to the kernel is `host`'s. What is
//! captured is `capture.rs`'s, and the list of it [`crate::fence`]'s.
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
//! - output, at the end: what is about to leave by a card and is the engine's to carry ([`Firewall::refuses`]) is refused.
//!   New connections are reset and others told by ICMP, so that it is felt at once; of connections that stand, packets
//!   are dropped, so that they live on when the gap in routing is closed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::fence::Fence;
use crate::way::Probe;

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
    /// What leaves by no other interface. A journal does not have it: what a killed engine left of it goes with the
    /// tables.
    #[serde(skip)]
    pub fence: Fence,
}

/// How interfaces of engines are called where the user names no other: one that has just come is known by it.
pub const DEVICES: &str = "mrvpn";

impl Firewall {
    /// Whether a packet of this host that is about to leave by `device` is refused. Never asked: what carries the mark,
    /// what leaves by loopback or an engine's interface, and what was translated to another destination. Of addresses of
    /// ours nothing leaves; else what cannot leave the link goes on: broadcast and multicast, link-local IPv6, neighbour
    /// discovery, DHCP of this host's own address. Then the list decides.
    #[must_use]
    pub fn refuses(&self, probe: &Probe, device: &str) -> bool {
        if !probe.local || probe.mark & self.mark.1 == self.mark.0 & self.mark.1 || self.is_inside(device) {
            return false;
        }
        let stays = |to: &IpAddr| LINK.iter().any(|net| net.contains(to));
        self.fence.has_source(probe) || (!stays(&probe.to) && self.fence.refuses(probe, device))
    }

    /// Whether what leaves by `device` leaves by no card.
    fn is_inside(&self, device: &str) -> bool {
        device == "lo"
            || device.starts_with(DEVICES)
            || device == self.device
            || self.others.iter().any(|other| other == device)
    }

    /// The same with another list.
    #[must_use]
    pub fn with_fence(&self, fence: Fence) -> Self {
        Self { fence, ..self.clone() }
    }
}

/// What no router sends on; broadcast of a network is where the network is known.
const LINK: [IpNet; 4] = [
    IpNet::new_assert(IpAddr::V4(Ipv4Addr::BROADCAST), 32),
    IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4),
    IpNet::new_assert(IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
    IpNet::new_assert(IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
];

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
