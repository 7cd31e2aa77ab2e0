//! A flow: what was decided for a five-tuple, and how it is translated. The two sides of the translation have a type
//! each, so that none is taken for the other. How far it has come is `progress.rs`'s; where flows are kept is
//! `flow_table.rs`'s.

use std::net::IpAddr;

use crate::packet::{protocol, tcp};
use crate::progress::Progress;
use crate::{Attachment, FlowTuple, LeaseId, TunnelId, pick};

/// A protocol that is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    /// Echo request and reply of ICMP; the identifier stands for the port.
    Echo,
    /// The same of ICMPv6.
    EchoV6,
    /// Any other, by its number: its addresses are translated. Where it has ports they name the flow and stay.
    Other(u8),
}

impl Protocol {
    /// IP protocol number.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Tcp => protocol::TCP,
            Self::Udp => protocol::UDP,
            Self::Echo => protocol::ICMP,
            Self::EchoV6 => protocol::ICMPV6,
            Self::Other(number) => number,
        }
    }

    /// The echo protocol of the version of `address`.
    pub(crate) const fn echo(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Echo,
            IpAddr::V6(_) => Self::EchoV6,
        }
    }

    /// Whether it has a port, or what stands for one, that can be another one outside.
    pub(crate) const fn translates_ports(self) -> bool {
        match self {
            Self::Tcp | Self::Udp | Self::Echo | Self::EchoV6 => true,
            Self::Other(_) => false,
        }
    }

    /// Whether rules see ports of it.
    pub(crate) const fn has_ports(self) -> bool {
        pick::has_ports(self.number())
    }

    /// Place of a checksum that covers the pseudo-header or the port, in the transport header.
    pub(crate) const fn checksum(self) -> Option<usize> {
        match self {
            Self::Tcp => Some(tcp::CHECKSUM),
            Self::Udp => Some(crate::packet::udp::CHECKSUM),
            Self::Echo | Self::EchoV6 => Some(crate::packet::icmp::CHECKSUM),
            // Both have it where UDP does (RFC 4340, 5.1; RFC 3828, 3.1).
            Self::Other(protocol::DCCP | protocol::UDP_LITE) => Some(crate::packet::udp::CHECKSUM),
            Self::Other(_) => None,
        }
    }
}

/// The host's own end of a flow: the address that the app has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Inside {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
}

/// The same end as the tunnel's server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Outside {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
}

/// The other end; 0 is the port of echoes and of protocols without ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Remote {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
}

/// A name of a flow, in one version of IP or the other. The versions have types and maps of their own, so that IPv4's
/// stay small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key<V4, V6> {
    V4(V4),
    V6(V6),
}

/// A flow as the host's packets name it: kind and number of the attachment, source, destination, ports and protocol.
pub(crate) type InsideKey = Key<(u32, u128), (u32, u64, [u128; 2])>;

/// A flow as a server's packets name it: tunnel and lease, remote address, ports and protocol. It begins with tunnel and
/// lease, so that equal addresses of two tunnels, or of one tunnel one after the other, are never the same flow.
pub(crate) type OutsideKey = Key<(u64, u128), (u64, u64, u128)>;

impl InsideKey {
    pub(crate) fn inside(attachment: Attachment, protocol: Protocol, inside: Inside, remote: Remote) -> Self {
        let (kind, number) = match attachment {
            Attachment::Rules => (0, 0),
            Attachment::Prefer(tunnel) => (1, tunnel.number()),
            Attachment::Only(tunnel) => (2, tunnel.number()),
        };
        let (owner, rest) = (kind << 16 | u32::from(number), rest(protocol, inside.port, remote.port));
        match (inside.address, remote.address) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let addresses = u128::from(u32::from(from)) << 32 | u128::from(u32::from(to));
                Self::V4((owner, addresses << 64 | u128::from(rest)))
            }
            (from, to) => Self::V6((owner, rest, [bits(from), bits(to)])),
        }
    }
}

impl OutsideKey {
    pub(crate) fn outside(tunnel: TunnelId, lease: LeaseId, protocol: Protocol, remote: Remote, port: u16) -> Self {
        let owner = u64::from(tunnel.number()) << 32 | u64::from(lease.number());
        let rest = rest(protocol, port, remote.port);
        match remote.address {
            IpAddr::V4(address) => Self::V4((owner, u128::from(u32::from(address)) << 64 | u128::from(rest))),
            IpAddr::V6(address) => Self::V6((owner, rest, address.into())),
        }
    }
}

/// What `pick` looks at of a flow between these ends.
pub(crate) fn tuple(protocol: Protocol, inside: Inside, remote: Remote) -> FlowTuple {
    let has_ports = protocol.has_ports();
    FlowTuple {
        source: inside.address,
        destination: remote.address,
        protocol: protocol.number(),
        source_port: has_ports.then_some(inside.port),
        destination_port: has_ports.then_some(remote.port),
    }
}

/// Ports and protocol.
const fn rest(protocol: Protocol, own: u16, remote: u16) -> u64 {
    (own as u64) << 32 | (remote as u64) << 16 | protocol.number() as u64
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// What was decided for a five-tuple on an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) attachment: Attachment,
    pub(crate) tunnel: TunnelId,
    pub(crate) lease: LeaseId,
    pub(crate) protocol: Protocol,
    pub(crate) inside: Inside,
    pub(crate) outside: Outside,
    pub(crate) remote: Remote,
    pub(crate) progress: Progress,
}

impl Flow {
    /// The name by which the host's packets find it.
    pub(crate) fn inside_key(&self) -> InsideKey {
        InsideKey::inside(self.attachment, self.protocol, self.inside, self.remote)
    }

    /// What `pick` looks at.
    pub(crate) fn tuple(&self) -> FlowTuple {
        tuple(self.protocol, self.inside, self.remote)
    }

    /// The name by which the server's packets find it.
    pub(crate) fn outside_key(&self) -> OutsideKey {
        OutsideKey::outside(self.tunnel, self.lease, self.protocol, self.remote, self.outside.port)
    }

    /// The name by which its port rests when its lease is over: whatever the lease.
    pub(crate) fn resting_key(&self) -> OutsideKey {
        OutsideKey::outside(self.tunnel, LeaseId::NONE, self.protocol, self.remote, self.outside.port)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn keys_differ_by_lease_and_by_attachment() {
        let remote = Remote { address: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 53 };
        let inside = Inside { address: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 54 };
        let outside =
            |tunnel, lease| OutsideKey::outside(TunnelId::new(tunnel), LeaseId::new(lease), Protocol::Udp, remote, 54);
        assert_ne!(outside(0, 1), outside(0, 2));
        assert_ne!(outside(0, 1), outside(1, 1));
        let on = |attachment| InsideKey::inside(attachment, Protocol::Udp, inside, remote);
        assert_ne!(on(Attachment::Prefer(TunnelId::new(0))), on(Attachment::Only(TunnelId::new(0))));
        assert_ne!(on(Attachment::Rules), on(Attachment::Prefer(TunnelId::new(0))));
    }
}
