//! A flow: what was decided for a five-tuple, and how it is translated. The two sides of the translation have a type
//! each, so that none is taken for the other. Where flows are kept, and for how long, is `flow_table.rs`'s.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::packet::protocol;
use crate::packet::tcp::Flags;
use crate::{Attachment, LeaseId, TunnelId, limits};

/// A protocol that is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    /// Echo request and reply; the identifier stands for the port.
    Echo,
}

impl Protocol {
    /// IP protocol number.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Tcp => protocol::TCP,
            Self::Udp => protocol::UDP,
            Self::Echo => protocol::ICMP,
        }
    }
}

/// The host's own end of a flow: the address that the app has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Inside {
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
}

/// The same end as the tunnel's server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Outside {
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
}

/// The other end; 0 is the port of echoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Remote {
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
}

/// A flow as the host's packets name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct InsideKey {
    /// Kind and number of the attachment, then source, destination, ports, protocol.
    bits: (u32, u128),
}

impl InsideKey {
    pub(crate) fn new(attachment: Attachment, protocol: Protocol, inside: Inside, remote: Remote) -> Self {
        let (kind, number) = match attachment {
            Attachment::Rules => (0, 0),
            Attachment::Prefer(tunnel) => (1, tunnel.number()),
            Attachment::Only(tunnel) => (2, tunnel.number()),
        };
        let addresses = u128::from(u32::from(inside.address)) << 32 | u128::from(u32::from(remote.address));
        Self { bits: (kind << 16 | u32::from(number), addresses << 64 | rest(protocol, inside.port, remote.port)) }
    }
}

/// A flow as a server's packets name it. It begins with tunnel and lease, so that equal addresses of two tunnels, or of
/// one tunnel one after the other, are never the same flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OutsideKey {
    /// Tunnel and lease, then remote address, ports, protocol.
    bits: (u64, u128),
}

impl OutsideKey {
    pub(crate) fn new(tunnel: TunnelId, lease: LeaseId, protocol: Protocol, remote: Remote, port: u16) -> Self {
        let owner = u64::from(tunnel.number()) << 32 | u64::from(lease.number());
        Self { bits: (owner, u128::from(u32::from(remote.address)) << 64 | rest(protocol, port, remote.port)) }
    }
}

/// Ports and protocol, in the lower 64 bits of a key.
fn rest(protocol: Protocol, own: u16, remote: u16) -> u128 {
    u128::from(own) << 32 | u128::from(remote) << 16 | u128::from(protocol.number())
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
        InsideKey::new(self.attachment, self.protocol, self.inside, self.remote)
    }

    /// The name by which the server's packets find it.
    pub(crate) fn outside_key(&self) -> OutsideKey {
        OutsideKey::new(self.tunnel, self.lease, self.protocol, self.remote, self.outside.port)
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
}

impl Stage {
    /// How many there are.
    pub(crate) const COUNT: usize = 6;

    /// All, in the order of their numbers.
    pub(crate) const ALL: [Self; Self::COUNT] =
        [Self::TcpOpening, Self::TcpEstablished, Self::TcpClosing, Self::UdpUnreplied, Self::UdpReplied, Self::Echo];

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
        }
    }
}

impl Progress {
    /// Before the first packet.
    pub(crate) const fn new(protocol: Protocol) -> Self {
        let stage = match protocol {
            Protocol::Tcp => Stage::TcpOpening,
            Protocol::Udp => Stage::UdpUnreplied,
            Protocol::Echo => Stage::Echo,
        };
        Self { stage, answered: false, finished: [false; 2] }
    }

    /// After a packet; `flags` are those of TCP.
    ///
    /// A connection is established when the host has acknowledged an answer. One FIN does not end it: the other half may
    /// go on for hours.
    #[must_use]
    pub(crate) fn after(mut self, way: Way, flags: Option<Flags>) -> Self {
        self.answered |= way == Way::In;
        self.stage = match (self.stage, flags) {
            (Stage::UdpUnreplied, _) if self.answered => Stage::UdpReplied,
            (stage, None) => stage,
            (_, Some(flags)) => self.after_segment(way, flags),
        };
        self
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
            stage @ (Stage::UdpUnreplied | Stage::UdpReplied | Stage::Echo) => stage,
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(segments: &[(Way, u8)]) -> Stage {
        let start = Progress::new(Protocol::Tcp);
        segments.iter().fold(start, |progress, &(way, bits)| progress.after(way, Some(Flags::new(bits)))).stage
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
        let remote = Remote { address: Ipv4Addr::LOCALHOST, port: 53 };
        let inside = Inside { address: Ipv4Addr::LOCALHOST, port: 54 };
        let outside =
            |tunnel, lease| OutsideKey::new(TunnelId::new(tunnel), LeaseId::new(lease), Protocol::Udp, remote, 54);
        assert_ne!(outside(0, 1), outside(0, 2));
        assert_ne!(outside(0, 1), outside(1, 1));
        let on = |attachment| InsideKey::new(attachment, Protocol::Udp, inside, remote);
        assert_ne!(on(Attachment::Prefer(TunnelId::new(0))), on(Attachment::Only(TunnelId::new(0))));
        assert_ne!(on(Attachment::Rules), on(Attachment::Prefer(TunnelId::new(0))));
    }
}
