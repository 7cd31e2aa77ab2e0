//! Answers that make a refusal felt at once (decision 12): a TCP reset from the flow's destination, else an ICMP error
//! from the engine's own address, in both versions of IP. Complete packets for the TUN are built here; how often is
//! `pace.rs`'s.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::net::IpAddr;

use crate::flow::Flow;
use crate::packet::checksum::Sum;
use crate::packet::ip::{self, Ip, may_be_source};
use crate::packet::tcp::{self, Flags, Tcp};
use crate::packet::transport::Transport;
use crate::packet::{field, icmp, ipv4, ipv6, protocol};
use crate::{DropReason, Policy, limits};

/// Why a packet is refused, which decides the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It may not go, or not now: reset, or "administratively prohibited".
    Denied(DropReason),
    /// It is larger than this many bytes and must not be fragmented: "packet too big".
    TooBig(u16),
}

impl Refusal {
    /// The reason under which it is counted.
    #[must_use]
    pub const fn reason(self) -> DropReason {
        match self {
            Self::Denied(reason) => reason,
            Self::TooBig(_) => DropReason::TooBig,
        }
    }
}

/// Builds the answer to `packet` at the start of `into` and returns its length; `None` where none may be given: never for
/// later fragments, broadcasts, errors, messages to neighbours, nor to an address that is no host's.
pub(crate) fn answer(policy: &Policy, packet: &[u8], refusal: Refusal, into: &mut [u8]) -> Option<usize> {
    let ip = Ip::parse(packet).ok()?;
    if ip.fragment.is_later() || policy.is_broadcast(ip.destination) || !may_be_source(ip.source) {
        return None;
    }
    match (Transport::parse(packet, &ip).ok()?, refusal) {
        (Transport::IcmpError { .. } | Transport::Neighbours, _) => None,
        (Transport::Tcp(tcp), Refusal::Denied(_)) => {
            let reset = Reset::of(&tcp, ip.payload(packet).len())?;
            write_reset(&reset, ip.destination, ip.source, into)
        }
        (
            Transport::Tcp(_)
            | Transport::Udp(_)
            | Transport::EchoRequest(_)
            | Transport::EchoReply(_)
            | Transport::IcmpOther
            | Transport::Other,
            refusal,
        ) => write_error(policy, packet, ip.source, refusal, into),
    }
}

/// Builds the reset that ends a TCP flow for the host, as if its remote end had sent it, and returns its length.
pub(crate) fn end(flow: &Flow, into: &mut [u8]) -> Option<usize> {
    let [sends, expects] = flow.progress.numbers();
    let reset = Reset {
        source: flow.remote.port,
        destination: flow.inside.port,
        sequence: expects,
        // A connection that is only being opened looks at the acknowledgement alone (RFC 9293, 3.10.7.3).
        acknowledgement: sends,
        flags: Flags::RST | Flags::ACK,
    };
    write_reset(&reset, flow.remote.address, flow.inside.address, into)
}

/// A reset as RFC 9293 (3.5.2) has it.
struct Reset {
    source: u16,
    destination: u16,
    sequence: u32,
    acknowledgement: u32,
    flags: u8,
}

impl Reset {
    /// The answer to a segment of `length` bytes: from where its acknowledgement stands, else acknowledging it. A reset is
    /// not answered.
    fn of(tcp: &Tcp, length: usize) -> Option<Self> {
        if tcp.flags.has(Flags::RST) {
            return None;
        }
        let (sequence, acknowledgement, flags) = if tcp.flags.has(Flags::ACK) {
            (tcp.acknowledgement, 0, Flags::RST)
        } else {
            (0, tcp.sequence.wrapping_add(tcp.advance(length)), Flags::RST | Flags::ACK)
        };
        Some(Self { source: tcp.destination, destination: tcp.source, sequence, acknowledgement, flags })
    }
}

fn write_reset(reset: &Reset, source: IpAddr, destination: IpAddr, into: &mut [u8]) -> Option<usize> {
    let segment = into.get_mut(header_length(source)..)?.get_mut(..tcp::HEADER)?;
    segment.fill(0);
    field::write_u16(segment, 0, reset.source);
    field::write_u16(segment, 2, reset.destination);
    field::write(segment, 4, u32::to_be_bytes(reset.sequence));
    field::write(segment, 8, u32::to_be_bytes(reset.acknowledgement));
    field::write(segment, 12, [5 << 4, reset.flags]);
    let length = u16::try_from(tcp::HEADER).ok()?;
    let sum = ip::pseudo(source, destination, protocol::TCP, length).and(Sum::of(segment));
    field::write_u16(segment, tcp::CHECKSUM, sum.checksum());
    write_header(into, source, destination, protocol::TCP, tcp::HEADER)
}

/// An ICMP or ICMPv6 error about `packet` from the engine's own address.
fn write_error(policy: &Policy, packet: &[u8], to: IpAddr, refusal: Refusal, into: &mut [u8]) -> Option<usize> {
    let (source, largest, protocol) = match to {
        IpAddr::V4(_) => (IpAddr::V4(policy.own().engine_v4), limits::ICMP_ERROR_V4, protocol::ICMP),
        IpAddr::V6(_) => (IpAddr::V6(policy.own().engine_v6), limits::ICMP_ERROR_V6, protocol::ICMPV6),
    };
    let (kind, code, mtu) = kind_of(refusal, to);
    let before = header_length(to);
    let room = largest.saturating_sub(before).saturating_sub(icmp::HEADER);
    let message = quote([kind, code, 0, 0], u32::from(mtu), packet, room, into.get_mut(before..)?)?;
    let length = message.len();
    let sum = Sum::of(message);
    let sum = match to {
        IpAddr::V4(_) => sum,
        IpAddr::V6(_) => sum.and(ip::pseudo(source, to, protocol, u16::try_from(length).ok()?)),
    };
    field::write_u16(message, icmp::CHECKSUM, sum.checksum());
    write_header(into, source, to, protocol, length)
}

/// Type, code and MTU of the error that says `refusal`.
fn kind_of(refusal: Refusal, like: IpAddr) -> (u8, u8, u16) {
    match (refusal, like) {
        (Refusal::Denied(_), IpAddr::V4(_)) => (icmp::UNREACHABLE, icmp::PROHIBITED, 0),
        (Refusal::TooBig(limit), IpAddr::V4(_)) => (icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED, limit),
        (Refusal::Denied(_), IpAddr::V6(_)) => (icmp::UNREACHABLE_V6, icmp::PROHIBITED_V6, 0),
        (Refusal::TooBig(limit), IpAddr::V6(_)) => (icmp::TOO_BIG_V6, 0, limit.max(limits::LEAST_MTU_V6)),
    }
}

/// Writes an error's header and as much of `packet` as `room` and `into` allow; at least its headers must fit.
fn quote<'a>(head: [u8; 4], value: u32, packet: &[u8], room: usize, into: &'a mut [u8]) -> Option<&'a mut [u8]> {
    const LEAST: usize = 28;
    let fits = packet.len().min(room).min(into.len().saturating_sub(icmp::HEADER));
    if fits < packet.len().min(LEAST) {
        return None;
    }
    let message = into.get_mut(..icmp::HEADER.saturating_add(fits))?;
    field::write(message, 0, head);
    field::write(message, 4, value.to_be_bytes());
    message.get_mut(icmp::HEADER..)?.copy_from_slice(packet.get(..fits)?);
    Some(message)
}

const fn header_length(like: IpAddr) -> usize {
    match like {
        IpAddr::V4(_) => ipv4::HEADER,
        IpAddr::V6(_) => ipv6::HEADER,
    }
}

/// Writes an IP header before `length` bytes and returns the length of the packet.
fn write_header(into: &mut [u8], source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Option<usize> {
    let total = length.checked_add(header_length(source))?;
    let header = into.get_mut(..header_length(source))?;
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let [l0, l1] = u16::try_from(total).ok()?.to_be_bytes();
            field::write(header, 0, [0x45, 0, l0, l1, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
            field::write(header, 12, source.octets());
            field::write(header, 16, destination.octets());
            ipv4::write_header_checksum(header, ipv4::HEADER);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let [l0, l1] = u16::try_from(length).ok()?.to_be_bytes();
            field::write(header, 0, [0x60, 0, 0, 0, l0, l1, protocol, 64]);
            field::write(header, 8, source.octets());
            field::write(header, 24, destination.octets());
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
    }
    Some(total)
}
