//! ICMP and ICMPv6 errors that quote a flow: reading the quoted packet, and translating error and quote together. Which
//! flow that is, and whether it may be told, is looked up by `outbound.rs` and `inbound.rs`.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::net::IpAddr;

use crate::flow::Protocol;
use crate::limits::{LEAST_MTU_V4, LEAST_MTU_V6};
use crate::nat::{self, State, Translation};
use crate::packet::checksum::Change;
use crate::packet::icmp::{self, Icmp};
use crate::packet::ip::Ip;
use crate::packet::ipv4::{self, Side};
use crate::packet::{field, protocol};
use crate::pick;

/// The packet that an error is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quote {
    /// Its header, of the same version as the error's.
    pub(crate) ip: Ip,
    /// Its protocol.
    pub(crate) protocol: Protocol,
    /// Its source port, or an echo request's identifier.
    pub(crate) source_port: u16,
    /// Its destination port, or an echo reply's identifier.
    pub(crate) destination_port: u16,
}

impl Quote {
    /// Reads the quote of the error that follows `ip`; `None` if it is too short, of the other version, or a message that
    /// is not translated.
    pub(crate) fn parse(packet: &[u8], ip: &Ip) -> Option<Self> {
        let quote = ip.payload(packet).get(icmp::HEADER..)?;
        let quoted = Ip::quoted(quote)?;
        if quoted.fragment.is_later() || quoted.source.is_ipv4() != ip.source.is_ipv4() {
            return None;
        }
        let segment = quote.get(quoted.header..)?;
        let ports = || Some((field::read_u16(segment, 0)?, field::read_u16(segment, 2)?));
        let (protocol, (source_port, destination_port)) = match (quoted.protocol, quoted.source) {
            (protocol::TCP, _) => (Protocol::Tcp, ports()?),
            (protocol::UDP, _) => (Protocol::Udp, ports()?),
            (protocol::ICMP, IpAddr::V4(_)) => (Protocol::Echo, echo(Icmp::parse(segment)?)?),
            (protocol::ICMPV6, IpAddr::V6(_)) => (Protocol::EchoV6, echo(Icmp::parse_v6(segment)?)?),
            (protocol::ICMP | protocol::ICMPV6, _) => return None,
            (other, _) if pick::has_ports(other) => (Protocol::Other(other), ports()?),
            (other, _) => (Protocol::Other(other), (0, 0)),
        };
        Some(Self { ip: quoted, protocol, source_port, destination_port })
    }
}

/// An echo's identifier stands where the host's own port would.
const fn echo(message: Icmp) -> Option<(u16, u16)> {
    match message {
        Icmp::EchoRequest(id) => Some((id, 0)),
        Icmp::EchoReply(id) => Some((0, id)),
        Icmp::Error { .. } | Icmp::Neighbours(_) | Icmp::Other(_) => None,
    }
}

/// Whether an error of this type is never believed (T-46): ICMP's redirect. ICMPv6's is a message to neighbours.
pub(crate) const fn is_redirect(kind: u8, like: IpAddr) -> bool {
    like.is_ipv4() && kind == icmp::REDIRECT
}

/// Translates the error behind `ip` and the `quote` in it. `outer` becomes the error's own address on the side opposite
/// to the quote's, since an error goes back to where the quoted packet came from.
pub(crate) fn translate(packet: &mut [u8], ip: &Ip, quote: &Quote, outer: IpAddr, inner: Translation) {
    let side = match inner.side {
        Side::Source => Side::Destination,
        Side::Destination => Side::Source,
    };
    let pseudo = ip.set_address(packet, side, outer);
    let Some(message) = packet.get_mut(ip.header..) else { return };
    let mtu = raise_mtu(message, outer);
    let Some(quoted) = message.get_mut(icmp::HEADER..) else { return };
    let change = mtu.and(translate_quote(quoted, quote, inner));
    // ICMPv6 covers the addresses of its own packet too.
    let change = if outer.is_ipv6() { change.and(pseudo) } else { change };
    if let Some(checksum) = field::read_u16(message, icmp::CHECKSUM) {
        field::write_u16(message, icmp::CHECKSUM, change.apply(checksum));
    }
}

/// Translates the quoted packet and returns everything that changed in it.
fn translate_quote(quoted: &mut [u8], quote: &Quote, to: Translation) -> Change {
    let old = header_checksum(quoted, to.address);
    let pseudo = quote.ip.set_address(quoted, to.side, to.address);
    let header = pseudo.word(old, header_checksum(quoted, to.address));
    let Some(segment) = quoted.get_mut(quote.ip.header..) else { return header };
    let port = nat::set_port(segment, quote.protocol, to.side, to.port);
    let checksum = nat::mend(segment, quote.protocol, pseudo, port, State::Complete);
    header.and(port).and(checksum)
}

/// The checksum of the quoted header; IPv6 has none.
fn header_checksum(quoted: &[u8], like: IpAddr) -> u16 {
    match like {
        IpAddr::V4(_) => ipv4::header_checksum(quoted).unwrap_or_default(),
        IpAddr::V6(_) => 0,
    }
}

/// Raises the MTU that "fragmentation needed" or "packet too big" announces to the least there is (T-46).
fn raise_mtu(message: &mut [u8], like: IpAddr) -> Change {
    match (like, field::read::<8>(message, 0)) {
        (IpAddr::V4(_), Some([icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED, _, _, _, _, m0, m1])) => {
            let mtu = u16::from_be_bytes([m0, m1]);
            if mtu >= LEAST_MTU_V4 {
                return Change::NONE;
            }
            field::write_u16(message, 6, LEAST_MTU_V4);
            Change::NONE.word(mtu, LEAST_MTU_V4)
        }
        (IpAddr::V6(_), Some([icmp::TOO_BIG_V6, _, _, _, h0, h1, m0, m1])) => {
            let (high, mtu) = (u16::from_be_bytes([h0, h1]), u16::from_be_bytes([m0, m1]));
            if high > 0 || mtu >= LEAST_MTU_V6 {
                return Change::NONE;
            }
            field::write_u16(message, 6, LEAST_MTU_V6);
            Change::NONE.word(mtu, LEAST_MTU_V6)
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _) => Change::NONE,
    }
}
