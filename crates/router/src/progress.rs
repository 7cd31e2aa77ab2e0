//! How far a flow has come, as seen from its packets: the stage that gives its time-out, TCP's numbers, and whether it
//! waits for an answer. Which flow a packet belongs to is `flow.rs`'s; when a flow ends before its time is `ending.rs`'s.

use std::time::Duration;

use crate::flow::Protocol;
use crate::limits;
use crate::packet::tcp::{Flags, Tcp};

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
    marks: Marks,
    /// TCP: what the host sends next, and what it expects next, as far as its packets and those to it tell.
    numbers: [u32; 2],
}

/// What is true of a flow, a bit each, so that a flow stays small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Marks(u8);

impl Marks {
    const NONE: Self = Self(0);
    /// Something came back.
    const ANSWERED: Self = Self(1);
    /// The host has sent FIN.
    const FINISHED: Self = Self(1 << 1);
    /// The remote end has sent FIN.
    const FINISHED_THERE: Self = Self(1 << 2);
    /// TCP: the host has sent what the remote end has not acknowledged.
    const UNACKNOWLEDGED: Self = Self(1 << 3);
    /// A server opened it, since `accept` named it.
    const FROM_OUTSIDE: Self = Self(1 << 4);
    /// The user has taken it back.
    const WITHDRAWN: Self = Self(1 << 5);

    const fn has(self, all: Self) -> bool {
        self.0 & all.0 == all.0
    }

    const fn and(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    const fn set(&mut self, mark: Self, to: bool) {
        self.0 = if to { self.0 | mark.0 } else { self.0 & !mark.0 };
    }
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
    OtherUnreplied,
    Other,
}

impl Stage {
    /// How many there are.
    pub(crate) const COUNT: usize = 8;

    /// All, in the order of their numbers.
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::TcpOpening,
        Self::TcpEstablished,
        Self::TcpClosing,
        Self::UdpUnreplied,
        Self::UdpReplied,
        Self::Echo,
        Self::OtherUnreplied,
        Self::Other,
    ];

    /// In which a flow may be given up for a new one, the first first.
    pub(crate) const EXPENDABLE: [Self; 5] =
        [Self::TcpClosing, Self::TcpOpening, Self::UdpUnreplied, Self::Echo, Self::OtherUnreplied];

    /// How long a flow lives without a packet.
    pub(crate) const fn time_out(self) -> Duration {
        match self {
            Self::TcpOpening => limits::TCP_OPENING,
            Self::TcpEstablished => limits::TCP_ESTABLISHED,
            Self::TcpClosing => limits::TCP_CLOSING,
            Self::UdpUnreplied => limits::UDP_UNREPLIED,
            Self::UdpReplied => limits::UDP_REPLIED,
            Self::Echo => limits::ECHO,
            Self::OtherUnreplied | Self::Other => limits::OTHER,
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
            Protocol::Other(_) => Stage::OtherUnreplied,
        };
        Self { stage, marks: Marks::NONE, numbers: [0; 2] }
    }

    /// The same of a flow that a server opens.
    pub(crate) const fn from_outside(protocol: Protocol) -> Self {
        let mut progress = Self::new(protocol);
        progress.marks.set(Marks::FROM_OUTSIDE, true);
        progress
    }

    /// Whether a server opened it.
    pub(crate) const fn is_from_outside(self) -> bool {
        self.marks.has(Marks::FROM_OUTSIDE)
    }

    /// After the user has taken it back.
    #[must_use]
    pub(crate) const fn withdraw(mut self) -> Self {
        self.marks.set(Marks::WITHDRAWN, true);
        self
    }

    /// Whether the user has taken it back.
    pub(crate) const fn is_withdrawn(self) -> bool {
        self.marks.has(Marks::WITHDRAWN)
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
        if way == Way::In {
            self.marks.set(Marks::ANSWERED, true);
        }
        self.stage = match (self.stage, segment) {
            (Stage::UdpUnreplied, _) if self.marks.has(Marks::ANSWERED) => Stage::UdpReplied,
            (Stage::OtherUnreplied, _) if self.marks.has(Marks::ANSWERED) => Stage::Other,
            (stage, None) => stage,
            (_, Some(segment)) => self.after_segment(way, segment.flags),
        };
        self
    }

    /// What the host sends next, and what it expects next. Both only rise, since segments may come twice.
    pub(crate) const fn numbers(self) -> [u32; 2] {
        self.numbers
    }

    /// TCP: whether the host has sent data, SYN or FIN that the remote end has not acknowledged yet, so that it sends
    /// again, ever more seldom.
    pub(crate) const fn is_unacknowledged(self) -> bool {
        self.marks.has(Marks::UNACKNOWLEDGED)
    }

    fn count(&mut self, way: Way, segment: Segment) {
        let [sends, expects] = self.numbers;
        let first = self.stage == Stage::TcpOpening;
        let acknowledged = segment.flags.has(Flags::ACK).then_some(segment.acknowledgement);
        match way {
            Way::Out => {
                let sends_now = later_or(segment.flags.has(Flags::SYN), sends, segment.end);
                self.numbers = [sends_now, acknowledged.map_or(expects, |at| later_or(first, expects, at))];
                if sends_now != sends || segment.flags.has(Flags::SYN) {
                    self.marks.set(Marks::UNACKNOWLEDGED, true);
                }
            }
            Way::In => {
                self.numbers[1] = later_or(first && !self.marks.has(Marks::ANSWERED), expects, segment.end);
                if acknowledged.is_some_and(|at| later(sends, at) == at) {
                    self.marks.set(Marks::UNACKNOWLEDGED, false);
                }
            }
        }
    }

    /// Stage after a segment of TCP.
    fn after_segment(&mut self, way: Way, flags: Flags) -> Stage {
        if flags.has(Flags::FIN) {
            self.marks.set(if way == Way::Out { Marks::FINISHED } else { Marks::FINISHED_THERE }, true);
        }
        if flags.has(Flags::RST) || self.marks.has(Marks::FINISHED.and(Marks::FINISHED_THERE)) {
            return Stage::TcpClosing;
        }
        let acknowledges = flags.has(Flags::ACK) && !flags.has(Flags::SYN);
        let opened = way == Way::Out && self.marks.has(Marks::ANSWERED) && acknowledges;
        if self.stage == Stage::TcpOpening && opened { Stage::TcpEstablished } else { self.stage }
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
            stage @ (Stage::UdpUnreplied | Stage::UdpReplied | Stage::Echo | Stage::OtherUnreplied | Stage::Other) => {
                stage
            }
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

    #[test]
    fn a_connection_waits_for_an_answer_from_what_it_sends_until_that_is_acknowledged() {
        let mut progress = Progress::new(Protocol::Tcp);
        for (way, segment, waits) in [
            (Way::Out, segment(SYN, 0, 0), true),
            (Way::In, segment(SYN | ACK, 0, 901), false),
            (Way::Out, segment(ACK, 901, 0), false),
            (Way::Out, segment(ACK, 901, 50), true),
            (Way::In, segment(ACK, 0, 901), true),
            (Way::In, segment(ACK, 49, 999), true),
            (Way::Out, segment(ACK, 999, 50), true),
            (Way::In, segment(ACK, 50, 1_000), false),
            (Way::Out, segment(ACK, 1_000, 50), false),
            // It asks whether the other end is still there.
            (Way::Out, segment(ACK, 1_000, 49), false),
            (Way::Out, segment(FIN, 1_000, 51), true),
        ] {
            progress = progress.after(way, Some(segment));
            assert_eq!(progress.is_unacknowledged(), waits, "{segment:?}");
        }
    }

    #[test]
    fn the_answer_of_a_host_to_a_connection_from_outside_waits_for_its_acknowledgement() {
        let asked = Progress::new(Protocol::Tcp).after(Way::In, Some(segment(SYN, 0, 1)));
        assert!(!asked.is_unacknowledged());
        let answered = asked.after(Way::Out, Some(segment(SYN | ACK, 1, 0xf000_0001)));
        assert_eq!((answered.is_unacknowledged(), answered.numbers()), (true, [0xf000_0001, 1]));
        assert!(!answered.after(Way::In, Some(segment(ACK, 0xf000_0001, 1))).is_unacknowledged());
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
    fn an_answer_makes_a_flow_of_any_other_protocol_worth_keeping() {
        let asked = Progress::new(Protocol::Other(47)).after(Way::Out, None);
        assert_eq!(asked.stage, Stage::OtherUnreplied);
        assert_eq!(asked.after(Way::In, None).after(Way::Out, None).stage, Stage::Other);
    }

    #[test]
    fn an_answer_prolongs_a_udp_flow() {
        let asked = Progress::new(Protocol::Udp).after(Way::Out, None);
        assert_eq!(asked.stage, Stage::UdpUnreplied);
        assert_eq!(asked.after(Way::In, None).after(Way::Out, None).stage, Stage::UdpReplied);
    }
}
