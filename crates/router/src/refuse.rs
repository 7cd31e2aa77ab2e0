//! Answers that make a refusal felt at once (decision 12): a TCP reset from the flow's destination, else an ICMP error
//! from the engine's own address. Complete packets for the TUN are built here; how often is `pace.rs`'s.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::packet::checksum::{self, Sum};
use crate::packet::ipv4::{self, Fragment, Ipv4};
use crate::packet::ipv6::{self, Ipv6};
use crate::packet::tcp::{self, Flags, Tcp};
use crate::packet::transport::Transport;
use crate::packet::{field, icmp, protocol};
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

/// Builds the answer to `packet` at the start of `into` and returns its length; `None` where none may be given.
pub(crate) fn answer(policy: &Policy, packet: &[u8], refusal: Refusal, into: &mut [u8]) -> Option<usize> {
    match packet.first()? >> 4 {
        4 => answer_v4(policy, packet, refusal, into),
        6 => answer_v6(policy, packet, refusal, into),
        _ => None,
    }
}

/// Never for later fragments, broadcasts, errors, nor to an address that is no host's.
fn answer_v4(policy: &Policy, packet: &[u8], refusal: Refusal, into: &mut [u8]) -> Option<usize> {
    let ip = Ipv4::parse(packet).ok()?;
    let answerable = ip.fragment != Fragment::Later && !policy.is_broadcast(ip.destination);
    if !answerable || !ipv4::may_be_source(ip.source) {
        return None;
    }
    match (Transport::parse(packet, &ip).ok()?, refusal) {
        (Transport::IcmpError { .. }, _) => None,
        (Transport::Tcp(tcp), Refusal::Denied(_)) => {
            let segment = into.get_mut(ipv4::HEADER..)?;
            let sum = |length| checksum::pseudo_v4(ip.destination, ip.source, protocol::TCP, length);
            let length = reset(&tcp, ip.payload(packet).len(), segment, sum)?;
            header_v4(into, ip.destination, ip.source, protocol::TCP, length)
        }
        (
            Transport::Tcp(_)
            | Transport::Udp(_)
            | Transport::EchoRequest(_)
            | Transport::EchoReply(_)
            | Transport::Other,
            refusal,
        ) => {
            let length = error_v4(packet, refusal, into.get_mut(ipv4::HEADER..)?)?;
            header_v4(into, policy.own().engine_v4, ip.source, protocol::ICMP, length)
        }
    }
}

/// The same for IPv6; errors are types 0 to 127 (RFC 4443).
fn answer_v6(policy: &Policy, packet: &[u8], refusal: Refusal, into: &mut [u8]) -> Option<usize> {
    let ip = Ipv6::parse(packet).ok()?;
    if ip.later_fragment || ip.destination.is_multicast() || !is_host_v6(ip.source) {
        return None;
    }
    let payload = packet.get(ip.header..)?;
    if ip.protocol == protocol::ICMPV6 && *payload.first()? < 128 {
        return None;
    }
    if let (protocol::TCP, Refusal::Denied(_)) = (ip.protocol, refusal) {
        let sum = |length| checksum::pseudo_v6(ip.destination, ip.source, protocol::TCP, length);
        let length = reset(&Tcp::parse(payload)?, payload.len(), into.get_mut(ipv6::HEADER..)?, sum)?;
        return header_v6(into, ip.destination, ip.source, protocol::TCP, length);
    }
    let source = policy.own().engine_v6;
    let length = error_v6(packet, source, ip.source, refusal, into.get_mut(ipv6::HEADER..)?)?;
    header_v6(into, source, ip.source, protocol::ICMPV6, length)
}

/// A reset as RFC 9293 (3.5.2) has it: from where the segment's acknowledgement stands, else acknowledging it. A reset is
/// not answered.
fn reset(tcp: &Tcp, length: usize, into: &mut [u8], pseudo: impl Fn(u16) -> Sum) -> Option<usize> {
    if tcp.flags.has(Flags::RST) {
        return None;
    }
    let (sequence, acknowledgement, flags) = if tcp.flags.has(Flags::ACK) {
        (tcp.acknowledgement, 0, Flags::RST)
    } else {
        (0, tcp.sequence.wrapping_add(sequence_length(tcp, length)), Flags::RST | Flags::ACK)
    };
    let segment = into.get_mut(..tcp::HEADER)?;
    segment.fill(0);
    field::write_u16(segment, 0, tcp.destination);
    field::write_u16(segment, 2, tcp.source);
    field::write(segment, 4, u32::to_be_bytes(sequence));
    field::write(segment, 8, u32::to_be_bytes(acknowledgement));
    field::write(segment, 12, [5 << 4, flags]);
    let sum = pseudo(u16::try_from(tcp::HEADER).ok()?).and(Sum::of(segment));
    field::write_u16(segment, tcp::CHECKSUM, sum.checksum());
    Some(tcp::HEADER)
}

/// How far a segment of `length` bytes moves the sequence number: its payload, SYN and FIN.
fn sequence_length(tcp: &Tcp, length: usize) -> u32 {
    let payload = u32::try_from(length.saturating_sub(tcp.header)).unwrap_or(u32::MAX);
    payload.wrapping_add(u32::from(tcp.flags.has(Flags::SYN))).wrapping_add(u32::from(tcp.flags.has(Flags::FIN)))
}

/// An ICMP error about `packet`.
fn error_v4(packet: &[u8], refusal: Refusal, into: &mut [u8]) -> Option<usize> {
    let (code, mtu) = match refusal {
        Refusal::Denied(_) => (icmp::PROHIBITED, 0),
        Refusal::TooBig(limit) => (icmp::FRAGMENTATION_NEEDED, limit),
    };
    let room = limits::ICMP_ERROR_V4.saturating_sub(ipv4::HEADER).saturating_sub(icmp::HEADER);
    let message = quote([icmp::UNREACHABLE, code, 0, 0], u32::from(mtu), packet, room, into)?;
    let checksum = Sum::of(message).checksum();
    field::write_u16(message, icmp::CHECKSUM, checksum);
    Some(message.len())
}

/// An ICMPv6 error about `packet`: 1/1 (prohibited) or 2 (too big).
fn error_v6(
    packet: &[u8],
    source: Ipv6Addr,
    destination: Ipv6Addr,
    refusal: Refusal,
    into: &mut [u8],
) -> Option<usize> {
    let (kind, code, mtu) = match refusal {
        Refusal::Denied(_) => (1, 1, 0),
        Refusal::TooBig(limit) => (2, 0, limit),
    };
    let room = limits::ICMP_ERROR_V6.saturating_sub(ipv6::HEADER).saturating_sub(icmp::HEADER);
    let message = quote([kind, code, 0, 0], u32::from(mtu), packet, room, into)?;
    let length = u16::try_from(message.len()).ok()?;
    let sum = checksum::pseudo_v6(source, destination, protocol::ICMPV6, length).and(Sum::of(message));
    field::write_u16(message, icmp::CHECKSUM, sum.checksum());
    Some(message.len())
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

/// Writes an IPv4 header before `length` bytes and returns the length of the packet.
fn header_v4(into: &mut [u8], source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, length: usize) -> Option<usize> {
    let total = length.checked_add(ipv4::HEADER)?;
    let header = into.get_mut(..ipv4::HEADER)?;
    let [l0, l1] = u16::try_from(total).ok()?.to_be_bytes();
    field::write(header, 0, [0x45, 0, l0, l1, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
    field::write(header, 12, source.octets());
    field::write(header, 16, destination.octets());
    ipv4::write_header_checksum(header, ipv4::HEADER);
    Some(total)
}

/// Writes an IPv6 header before `length` bytes and returns the length of the packet.
fn header_v6(into: &mut [u8], source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, length: usize) -> Option<usize> {
    let [l0, l1] = u16::try_from(length).ok()?.to_be_bytes();
    let header = into.get_mut(..ipv6::HEADER)?;
    field::write(header, 0, [0x60, 0, 0, 0, l0, l1, protocol, 64]);
    field::write(header, 8, source.octets());
    field::write(header, 24, destination.octets());
    length.checked_add(ipv6::HEADER)
}

const fn is_host_v6(address: Ipv6Addr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()
}
