//! How a packet is translated: an address, a port or echo identifier, and every checksum that covers them. Whether and
//! to what is decided before (`outbound.rs`, `inbound.rs`); what an ICMP error quotes is `icmp_error.rs`'s.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::net::IpAddr;

use crate::flow::Protocol;
use crate::packet::checksum::Change;
use crate::packet::ip::Ip;
use crate::packet::ipv4::Side;
use crate::packet::tcp::{self, Flags};
use crate::packet::{field, icmp, protocol};

/// What one side of a packet becomes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Translation {
    pub(crate) side: Side,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
}

/// Whether a transport checksum is complete; the place of a partial one is checked before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Complete,
    Partial,
}

/// Translates a packet that begins with `ip` and has its transport header. An MSS above `mss` in a SYN is lowered to it.
pub(crate) fn translate(packet: &mut [u8], ip: &Ip, protocol: Protocol, to: Translation, mss: u16, state: State) {
    let pseudo = ip.set_address(packet, to.side, to.address);
    let Some(segment) = packet.get_mut(ip.header..) else { return };
    let body = set_port(segment, protocol, to.side, to.port).and(clamp_syn(segment, protocol, mss));
    mend(segment, protocol, pseudo, body, state);
}

/// Writes a port, or an echo's identifier, which is the same on both sides. Other protocols keep theirs.
pub(crate) fn set_port(segment: &mut [u8], protocol: Protocol, side: Side, port: u16) -> Change {
    let at = match (protocol, side) {
        (Protocol::Tcp | Protocol::Udp, Side::Source) => 0,
        (Protocol::Tcp | Protocol::Udp, Side::Destination) => 2,
        (Protocol::Echo | Protocol::EchoV6, Side::Source | Side::Destination) => icmp::ECHO_ID,
        (Protocol::Other(_), Side::Source | Side::Destination) => return Change::NONE,
    };
    let Some(old) = field::read_u16(segment, at) else { return Change::NONE };
    field::write_u16(segment, at, port);
    Change::NONE.word(old, port)
}

/// Mends the transport checksum after a change of pseudo-header and body, and returns how its field changed. A field
/// that is not there, or not whole (a short quote), is left out.
pub(crate) fn mend(segment: &mut [u8], protocol: Protocol, pseudo: Change, body: Change, state: State) -> Change {
    let Some(at) = protocol.checksum() else { return Change::NONE };
    let Some(old) = field::read_u16(segment, at) else { return Change::NONE };
    let new = mended(protocol, old, pseudo, body, state);
    field::write_u16(segment, at, new);
    Change::NONE.word(old, new)
}

/// The checksum after a change. ICMP has no pseudo-header, ICMPv6 has one; a partial checksum covers nothing else yet;
/// UDP's zero means that there is none and stays (over IPv6 it does not come so far), and no other becomes zero (T-82).
fn mended(protocol: Protocol, old: u16, pseudo: Change, body: Change, state: State) -> u16 {
    match (protocol, state) {
        (Protocol::Tcp | Protocol::EchoV6, State::Complete) => pseudo.and(body).apply(old),
        (Protocol::Udp, State::Complete) if old == 0 => 0,
        (Protocol::Udp, State::Complete) | (Protocol::Other(protocol::UDP_LITE), _) => {
            match pseudo.and(body).apply(old) {
                0 => 0xffff,
                sum => sum,
            }
        }
        (Protocol::Other(_), State::Complete | State::Partial) => pseudo.apply(old),
        (Protocol::Tcp | Protocol::Udp | Protocol::EchoV6, State::Partial) => pseudo.apply_partial(old),
        (Protocol::Echo, State::Complete) => body.apply(old),
        (Protocol::Echo, State::Partial) => old,
    }
}

/// Lowers the MSS of a SYN or SYN-ACK.
fn clamp_syn(segment: &mut [u8], protocol: Protocol, mss: u16) -> Change {
    if protocol != Protocol::Tcp {
        return Change::NONE;
    }
    match field::read::<2>(segment, 12) {
        Some([offset, flags]) if Flags::new(flags).has(Flags::SYN) => {
            tcp::clamp_mss(segment, usize::from(offset >> 4).saturating_mul(4), mss)
        }
        Some(_) | None => Change::NONE,
    }
}

/// The largest MSS with which segments of the version of `like` fit into `limit`: without IP and TCP header.
pub(crate) const fn most_mss(limit: u16, like: IpAddr) -> u16 {
    match like {
        IpAddr::V4(_) => limit.saturating_sub(40),
        IpAddr::V6(_) => limit.saturating_sub(60),
    }
}
