//! The immutable snapshot by which packets are judged: rules, claims, the default, the sources that name a tunnel, and
//! the state of each tunnel. Made by the control side, swapped between batches; nothing here changes in place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use mrvpn_clock::Moment;
use serde::{Deserialize, Serialize};

use crate::claim_index::ClaimIndex;
use crate::limits::LEAST_MTU_V6;
use crate::packet::{ipv4, ipv6};
use crate::{Accept, Claim, ClaimOrigin, LeaseId, Rule, TunnelId};

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
    /// The IPv6 anchor.
    pub anchor_v6: Ipv6Addr,
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
    /// The IPv4 address by which the interface shows it: where accepted connections arrive.
    pub presented_v4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub presented_v6: Option<Ipv6Addr>,
    /// Largest inner packet in bytes: the smaller of `tun-mtu` and what the path carries.
    pub limit: u16,
}

impl TunnelView {
    /// A number that is no tunnel's, between those that are: nothing goes there and nothing is taken from there.
    pub const ABSENT: Self = Self {
        state: TunnelState::Down,
        lease: LeaseId::NONE,
        inner_v4: None,
        inner_v6: None,
        presented_v4: None,
        presented_v6: None,
        limit: 0,
    };

    /// Its inner address of the family of `like`. A tunnel that carries less than IPv6's least MTU has none of IPv6
    /// (threats-and-faults section 2).
    #[must_use]
    pub fn inner(&self, like: IpAddr) -> Option<IpAddr> {
        match like {
            IpAddr::V4(_) => self.inner_v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.inner_v6.filter(|_| self.limit >= LEAST_MTU_V6).map(IpAddr::V6),
        }
    }

    /// The address by which the interface shows it, of the family of `like`.
    #[must_use]
    pub fn presented(&self, like: IpAddr) -> Option<IpAddr> {
        match like {
            IpAddr::V4(_) => self.presented_v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.presented_v6.map(IpAddr::V6),
        }
    }
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

/// What a [`Policy`] is made from.
#[derive(Clone, Debug)]
pub struct PolicyInput {
    /// Rules in the order of the file.
    pub rules: Vec<Rule>,
    /// Claims of all tunnels, whatever their states, in the order of the file: of equal prefixes the first one counts.
    /// Those that an on-link network takes away are not among them, nor those of a tunnel that the user has stopped.
    pub claims: Vec<Claim>,
    /// Who is the default.
    pub defaults: Defaults,
    /// How long flows wait for an undecided default; `None` refuses them at once.
    pub undecided_until: Option<Moment>,
    /// What happens to a flow that nothing claims.
    pub fallback: Fallback,
    /// Which tunnel a source names.
    pub sources: Sources,
    /// Addresses that are ours and no tunnel's.
    pub own: OwnAddresses,
    /// What may be connected to from the far side of a tunnel.
    pub accept: Vec<Accept>,
    /// All tunnels, at the places of their [`TunnelId`]s; a number that is no tunnel's is [`TunnelView::ABSENT`].
    pub tunnels: Vec<TunnelView>,
}

/// By what packets are judged. Once made it does not change; lanes share it in an `Arc`.
#[derive(Clone, Debug)]
pub struct Policy {
    input: PolicyInput,
    claims: ClaimIndex,
    broadcasts: Vec<Ipv4Addr>,
}

impl Policy {
    /// Sorts what must be found fast.
    #[must_use]
    pub fn new(input: PolicyInput) -> Self {
        let claims = ClaimIndex::new(&input.claims);
        let mut broadcasts: Vec<_> = input.claims.iter().filter_map(directed_broadcast).collect();
        broadcasts.sort_unstable();
        broadcasts.dedup();
        Self { input, claims, broadcasts }
    }

    /// What lanes know of a tunnel; `None` if the tunnel is not configured.
    #[must_use]
    pub fn tunnel(&self, id: TunnelId) -> Option<&TunnelView> {
        self.input.tunnels.get(id.index())
    }

    /// All tunnels, at the places of their [`TunnelId`]s.
    #[must_use]
    pub fn tunnels(&self) -> &[TunnelView] {
        &self.input.tunnels
    }

    /// Rules in the order of the file.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.input.rules
    }

    /// Claims as they were given.
    #[must_use]
    pub fn claims(&self) -> &[Claim] {
        &self.input.claims
    }

    /// The longest claim that holds `address`, and whose it is; of equal ones the first given.
    #[must_use]
    pub fn claim_of(&self, address: IpAddr) -> Option<(IpNet, TunnelId)> {
        self.claims.longest(address)
    }

    /// Who is the default in the family of `address`.
    #[must_use]
    pub const fn default_for(&self, address: IpAddr) -> DefaultChoice {
        match address {
            IpAddr::V4(_) => self.input.defaults.v4,
            IpAddr::V6(_) => self.input.defaults.v6,
        }
    }

    /// Who is the default.
    #[must_use]
    pub const fn defaults(&self) -> Defaults {
        self.input.defaults
    }

    /// What may be connected to from the far side of a tunnel.
    #[must_use]
    pub fn accept(&self) -> &[Accept] {
        &self.input.accept
    }

    /// How long flows wait for an undecided default.
    #[must_use]
    pub const fn undecided_until(&self) -> Option<Moment> {
        self.input.undecided_until
    }

    /// What happens to a flow that nothing claims.
    #[must_use]
    pub const fn fallback(&self) -> Fallback {
        self.input.fallback
    }

    /// Which tunnel `source` names, if it is a presented or bind address.
    #[must_use]
    pub fn tunnel_of_source(&self, source: IpAddr) -> Option<TunnelId> {
        self.input.sources.get(&source).copied()
    }

    /// Addresses that are ours and no tunnel's.
    #[must_use]
    pub const fn own(&self) -> &OwnAddresses {
        &self.input.own
    }

    /// Whether a flow on `attachment` may have `source`: anchor, presented or bind address, or the inner address of the
    /// tunnel whose own device or namespace it is. Any other source began before we captured it.
    #[must_use]
    pub fn is_ours(&self, attachment: Attachment, source: IpAddr) -> bool {
        self.is_anchor(source)
            || self.tunnel_of_source(source).is_some()
            || attachment.tunnel().and_then(|id| self.tunnel(id)?.inner(source)) == Some(source)
    }

    /// Whether `address` means many or the link alone: multicast, broadcast, the broadcast address of a tunnel's own
    /// network, IPv6 link-local.
    #[must_use]
    pub fn is_broadcast(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => ipv4::is_for_many(v4) || self.broadcasts.binary_search(&v4).is_ok(),
            IpAddr::V6(v6) => ipv6::is_of_the_link(v6),
        }
    }

    /// Whether nothing behind a tunnel can be meant by `destination`, since it is an address of this host.
    #[must_use]
    pub fn is_own_destination(&self, destination: IpAddr) -> bool {
        let own = self.own();
        destination.is_loopback()
            || self.is_anchor(destination)
            || destination == own.engine_v4
            || destination == own.engine_v6
            || self.tunnel_of_source(destination).is_some()
    }

    /// Whether the far side of `tunnel` may open a connection to `port` of this host.
    #[must_use]
    pub fn accepts(&self, tunnel: TunnelId, protocol: u8, port: u16) -> bool {
        self.input.accept.iter().any(|accept| accept.names(tunnel, protocol, port))
    }

    fn is_anchor(&self, address: IpAddr) -> bool {
        address == self.input.own.anchor_v4 || address == self.input.own.anchor_v6
    }
}

impl Attachment {
    /// The tunnel of a tunnel's own device or namespace.
    #[must_use]
    pub const fn tunnel(self) -> Option<TunnelId> {
        match self {
            Self::Rules => None,
            Self::Prefer(tunnel) | Self::Only(tunnel) => Some(tunnel),
        }
    }
}

/// The broadcast address of a tunnel's assigned network; /31 and /32 have none (RFC 3021).
fn directed_broadcast(claim: &Claim) -> Option<Ipv4Addr> {
    match (claim.origin, claim.prefix) {
        (ClaimOrigin::Assigned, IpNet::V4(net)) if net.prefix_len() < 31 => Some(net.broadcast()),
        (ClaimOrigin::Assigned | ClaimOrigin::Profile | ClaimOrigin::Pushed, IpNet::V4(_) | IpNet::V6(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broadcast_of(prefix: &str, origin: ClaimOrigin) -> Option<String> {
        let claim = Claim { tunnel: TunnelId::new(0), prefix: prefix.parse().unwrap(), origin };
        directed_broadcast(&claim).map(|address| address.to_string())
    }

    #[test]
    fn an_assigned_network_has_a_broadcast_address_but_one_of_two_addresses_or_one_has_none() {
        for (prefix, expected) in [
            ("10.8.0.0/24", Some("10.8.0.255")),
            ("10.8.0.0/16", Some("10.8.255.255")),
            ("10.8.0.4/30", Some("10.8.0.7")),
            ("10.8.0.4/31", None),
            ("10.8.0.4/32", None),
            ("fd00:8::/64", None),
        ] {
            assert_eq!(broadcast_of(prefix, ClaimOrigin::Assigned).as_deref(), expected, "{prefix}");
            assert_eq!(broadcast_of(prefix, ClaimOrigin::Pushed), None, "a route is no network that we are in");
            assert_eq!(broadcast_of(prefix, ClaimOrigin::Profile), None);
        }
    }
}
