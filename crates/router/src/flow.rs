//! A flow: what was decided for a five-tuple, and how it is translated. The two sides of the translation have a type
//! each, so that none is taken for the other. Where flows are kept, and for how long, is `flow_table.rs`'s.

use std::net::IpAddr;
use std::time::Duration;

use crate::packet::tcp::{Flags, Tcp};
use crate::packet::{protocol, tcp};
use crate::{Attachment, LeaseId, TunnelId, limits, pick};

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

    /// The name by which the server's packets find it.
    pub(crate) fn outside_key(&self) -> OutsideKey {
        OutsideKey::outside(self.tunnel, self.lease, self.protocol, self.remote, self.outside.port)
    }

    /// The name by which its port rests when its lease is over: whatever the lease.
    pub(crate) fn resting_key(&self) -> OutsideKey {
        OutsideKey::outside(self.tunnel, LeaseId::NONE, self.protocol, self.remote, self.outside.port)
    }
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Out,
    In,
}

/// How far a flow has come, as seen from its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) stage: Stage,
    answered: bool,
    finished: [bool; 2],
    /// TCP: what the host sends next, and what it expects next, as far as its packets and those to it tell.
    numbers: [u32; 2],
}

/// What a segment of TCP says of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) flags: Flags,
    pub(crate) acknowledgement: u32,
    /// The sequence number behind it.
    pub(crate) end: u32,
}

impl Segment {
    /// Of a segment of `length` bytes with its header.
    pub(crate) fn new(tcp: &Tcp, length: usize) -> Self {
        let end = tcp.sequence.wrapping_add(tcp.advance(length));
        Self { flags: tcp.flags, acknowledgement: tcp.acknowledgement, end }
    }

    /// Whether it opens a connection.
    pub(crate) const fn opens(self) -> bool {
        self.flags.opens()
    }
}

/// Flows of one stage have the same time-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    TcpOpening,
    TcpEstablished,
    TcpClosing,
    UdpUnreplied,
    UdpReplied,
    Echo,
    Other,
}

impl Stage {
    /// How many there are.
    pub(crate) const COUNT: usize = 7;

    /// All, in the order of their numbers.
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::TcpOpening,
        Self::TcpEstablished,
        Self::TcpClosing,
        Self::UdpUnreplied,
        Self::UdpReplied,
        Self::Echo,
        Self::Other,
    ];

    /// In which a flow may be given up for a new one, the first first.
    pub(crate) const EXPENDABLE: [Self; 4] = [Self::TcpClosing, Self::TcpOpening, Self::UdpUnreplied, Self::Echo];

    /// How long a flow lives without a packet.
    pub(crate) const fn time_out(self) -> Duration {
        match self {
            Self::TcpOpening => limits::TCP_OPENING,
            Self::TcpEstablished => limits::TCP_ESTABLISHED,
            Self::TcpClosing => limits::TCP_CLOSING,
            Self::UdpUnreplied => limits::UDP_UNREPLIED,
            Self::UdpReplied => limits::UDP_REPLIED,
            Self::Echo => limits::ECHO,
            Self::Other => limits::OTHER,
        }
    }
}

impl Progress {
    /// Before the first packet.
    pub(crate) const fn new(protocol: Protocol) -> Self {
        let stage = match protocol {
            Protocol::Tcp => Stage::TcpOpening,
            Protocol::Udp => Stage::UdpUnreplied,
            Protocol::Echo | Protocol::EchoV6 => Stage::Echo,
            Protocol::Other(_) => Stage::Other,
        };
        Self { stage, answered: false, finished: [false; 2], numbers: [0; 2] }
    }

    /// After a packet; `segment` is that of TCP.
    ///
    /// A connection is established when the host has acknowledged an answer. One FIN does not end it: the other half may
    /// go on for hours.
    #[must_use]
    pub(crate) fn after(mut self, way: Way, segment: Option<Segment>) -> Self {
        if let Some(segment) = segment {
            self.count(way, segment);
        }
        self.answered |= way == Way::In;
        self.stage = match (self.stage, segment) {
            (Stage::UdpUnreplied, _) if self.answered => Stage::UdpReplied,
            (stage, None) => stage,
            (_, Some(segment)) => self.after_segment(way, segment.flags),
        };
        self
    }

    /// What the host sends next, and what it expects next. Both only rise, since segments may come twice.
    pub(crate) const fn numbers(self) -> [u32; 2] {
        self.numbers
    }

    fn count(&mut self, way: Way, segment: Segment) {
        let [sends, expects] = self.numbers;
        let first = self.stage == Stage::TcpOpening;
        let acknowledged = segment.flags.has(Flags::ACK).then_some(segment.acknowledgement);
        self.numbers = match way {
            Way::Out if segment.opens() => [segment.end, expects],
            Way::Out => [later(sends, segment.end), acknowledged.map_or(expects, |at| later_or(first, expects, at))],
            Way::In => [sends, later_or(first && !self.answered, expects, segment.end)],
        };
    }

    /// Stage after a segment of TCP.
    fn after_segment(&mut self, way: Way, flags: Flags) -> Stage {
        match way {
            Way::Out => self.finished[0] |= flags.has(Flags::FIN),
            Way::In => self.finished[1] |= flags.has(Flags::FIN),
        }
        if flags.has(Flags::RST) || self.finished == [true, true] {
            return Stage::TcpClosing;
        }
        let acknowledges = way == Way::Out && self.answered && flags.has(Flags::ACK) && !flags.has(Flags::SYN);
        if self.stage == Stage::TcpOpening && acknowledges { Stage::TcpEstablished } else { self.stage }
    }

    /// Whether it is a connection that has ended, so that a SYN begins another one.
    pub(crate) const fn is_closing(self) -> bool {
        matches!(self.stage, Stage::TcpClosing)
    }

    /// After a refusal that ends a TCP connection.
    #[must_use]
    pub(crate) const fn reset(mut self) -> Self {
        self.stage = match self.stage {
            Stage::TcpOpening | Stage::TcpEstablished | Stage::TcpClosing => Stage::TcpClosing,
            stage @ (Stage::UdpUnreplied | Stage::UdpReplied | Stage::Echo | Stage::Other) => stage,
        };
        self
    }
}

/// The later of two sequence numbers (RFC 9293, 3.4: compared modulo 2^32).
const fn later(one: u32, other: u32) -> u32 {
    if other.wrapping_sub(one) < 1 << 31 { other } else { one }
}

/// The other number where the one means nothing yet.
const fn later_or(unset: bool, one: u32, other: u32) -> u32 {
    if unset { other } else { later(one, other) }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn after(segments: &[(Way, u8)]) -> Stage {
        let start = Progress::new(Protocol::Tcp);
        segments.iter().fold(start, |progress, &(way, bits)| progress.after(way, Some(segment(bits, 0, 0)))).stage
    }

    const fn segment(bits: u8, acknowledgement: u32, end: u32) -> Segment {
        Segment { flags: Flags::new(bits), acknowledgement, end }
    }

    #[test]
    fn numbers_follow_the_latest_segment_over_the_wrap() {
        let mut progress = Progress::new(Protocol::Tcp);
        for (way, segment, numbers) in [
            (Way::Out, segment(SYN, 0, u32::MAX), [u32::MAX, 0]),
            (Way::In, segment(SYN | ACK, u32::MAX, 0xf000_0000), [u32::MAX, 0xf000_0000]),
            (Way::Out, segment(ACK, 0xf000_0000, 99), [99, 0xf000_0000]),
            (Way::In, segment(ACK, 99, 0xf000_0064), [99, 0xf000_0064]),
            (Way::Out, segment(ACK, 0xf000_0032, 50), [99, 0xf000_0064]),
        ] {
            progress = progress.after(way, Some(segment));
            assert_eq!(progress.numbers(), numbers);
        }
    }

    const SYN: u8 = Flags::SYN;
    const ACK: u8 = Flags::ACK;
    const FIN: u8 = Flags::FIN | Flags::ACK;

    #[test]
    fn a_connection_is_established_by_the_third_segment() {
        assert_eq!(after(&[(Way::Out, SYN)]), Stage::TcpOpening);
        assert_eq!(after(&[(Way::Out, SYN), (Way::Out, ACK)]), Stage::TcpOpening);
        assert_eq!(after(&[(Way::Out, SYN), (Way::In, SYN | ACK)]), Stage::TcpOpening);
        assert_eq!(after(&[(Way::Out, SYN), (Way::In, SYN | ACK), (Way::Out, ACK)]), Stage::TcpEstablished);
    }

    #[test]
    fn a_connection_closes_by_both_fins_or_one_rst() {
        let open = [(Way::Out, SYN), (Way::In, SYN | ACK), (Way::Out, ACK)];
        let then = |more: &[(Way, u8)]| after(&[&open, more].concat());
        assert_eq!(then(&[(Way::Out, FIN), (Way::In, ACK)]), Stage::TcpEstablished);
        assert_eq!(then(&[(Way::Out, FIN), (Way::In, FIN), (Way::Out, ACK)]), Stage::TcpClosing);
        assert_eq!(then(&[(Way::In, Flags::RST)]), Stage::TcpClosing);
    }

    #[test]
    fn an_answer_prolongs_a_udp_flow() {
        let asked = Progress::new(Protocol::Udp).after(Way::Out, None);
        assert_eq!(asked.stage, Stage::UdpUnreplied);
        assert_eq!(asked.after(Way::In, None).after(Way::Out, None).stage, Stage::UdpReplied);
    }

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
