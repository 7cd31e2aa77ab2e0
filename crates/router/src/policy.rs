//! The immutable snapshot by which packets are judged: rules, claims, the default, the sources that name a tunnel, and
//! the state of each tunnel. Made by the control side, swapped between batches; nothing here changes in place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mrvpn_clock::Moment;
use serde::{Deserialize, Serialize};

use crate::{LeaseId, TunnelId};

/// What kind of TUN a packet came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attachment {
    /// The shared interface: all steps of `pick`.
    Rules,
    /// A tunnel's own device: bound to it unless a rule says otherwise.
    Prefer(TunnelId),
    /// A namespace or `exec`: that tunnel and nothing else; `block` rules still hold.
    Only(TunnelId),
}

/// The default tunnel in both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defaults {
    /// IPv4.
    pub v4: DefaultChoice,
    /// IPv6.
    pub v6: DefaultChoice,
}

/// Who is the default in one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DefaultChoice {
    /// Nobody offers: the fallback decides.
    NotOffered,
    /// Somebody offers, but an earlier tunnel may still: these flows are held or refused.
    Undecided,
    /// This one, up or down.
    Tunnel(TunnelId),
}

/// What happens to a flow that nothing claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fallback {
    /// Left to the host; on Linux it is never captured.
    Auto,
}

/// Addresses that are ours and no tunnel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnAddresses {
    /// The IPv4 anchor, on the interface.
    pub anchor_v4: Ipv4Addr,
    /// The engine's own IPv4 address, never on the interface: ICMP errors come from it.
    pub engine_v4: Ipv4Addr,
    /// The engine's own IPv6 address.
    pub engine_v6: Ipv6Addr,
}

/// What a lane must know of one tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelView {
    /// Whether it carries packets now.
    pub state: TunnelState,
    /// Its lease.
    pub lease: LeaseId,
    /// Its inner IPv4 address.
    pub inner_v4: Option<Ipv4Addr>,
    /// Its inner IPv6 address.
    pub inner_v6: Option<Ipv6Addr>,
    /// Largest inner packet in bytes: the smaller of `tun-mtu` and what the path carries.
    pub limit: u16,
}

/// Whether a tunnel carries packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelState {
    /// It does.
    Up,
    /// Not now: packets are held until this moment (64 at most), then refused.
    Hold(Moment),
    /// It does not: refuse at once.
    Down,
}

/// Which tunnel an address names as source: presented and bind addresses.
pub type Sources = std::collections::BTreeMap<IpAddr, TunnelId>;
