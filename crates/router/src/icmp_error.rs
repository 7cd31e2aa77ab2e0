//! ICMP errors that quote a flow: reading the quoted packet, and translating error and quote together. Which flow that
//! is, and whether it may be told, is looked up by `outbound.rs` and `inbound.rs`.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::net::Ipv4Addr;

use crate::flow::Protocol;
use crate::limits::LEAST_MTU_V4;
use crate::nat::{self, State, Translation};
use crate::packet::checksum::Change;
use crate::packet::icmp::{self, Icmp};
use crate::packet::ipv4::{self, Fragment, Ipv4, Side};
use crate::packet::{field, protocol};

/// The packet that an error is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quote {
    /// Its header.
    pub(crate) ip: Ipv4,
    /// Its protocol.
    pub(crate) protocol: Protocol,
    /// Its source port, or an echo request's identifier.
    pub(crate) source_port: u16,
    /// Its destination port, or an echo reply's identifier.
    pub(crate) destination_port: u16,
}

impl Quote {
    /// Reads the quote of the error that follows `ip`; `None` if it is too short or of no protocol that is translated.
    pub(crate) fn parse(packet: &[u8], ip: &Ipv4) -> Option<Self> {
        let quote = ip.payload(packet).get(icmp::HEADER..)?;
        let quoted = Ipv4::quoted(quote)?;
        if quoted.fragment == Fragment::Later {
            return None;
        }
        let segment = quote.get(quoted.header..)?;
        let ports = || Some((field::read_u16(segment, 0)?, field::read_u16(segment, 2)?));
        let (protocol, (source_port, destination_port)) = match quoted.protocol {
            protocol::TCP => (Protocol::Tcp, ports()?),
            protocol::UDP => (Protocol::Udp, ports()?),
            protocol::ICMP => (Protocol::Echo, echo(segment)?),
            _ => return None,
        };
        Some(Self { ip: quoted, protocol, source_port, destination_port })
    }
}

/// An echo's identifier stands where the host's own port would.
fn echo(message: &[u8]) -> Option<(u16, u16)> {
    match Icmp::parse(message)? {
        Icmp::EchoRequest(id) => Some((id, 0)),
        Icmp::EchoReply(id) => Some((0, id)),
        Icmp::Error { .. } | Icmp::Other(_) => None,
    }
}

/// Translates the error behind `ip` and the `quote` in it. `outer` becomes the error's own address on the side opposite
/// to the quote's, since an error goes back to where the quoted packet came from.
pub(crate) fn translate(packet: &mut [u8], ip: &Ipv4, quote: &Quote, outer: Ipv4Addr, inner: Translation) {
    let side = match inner.side {
        Side::Source => Side::Destination,
        Side::Destination => Side::Source,
    };
    ipv4::set_address(packet, side, nat::old_address(ip, side), outer);
    let Some(message) = packet.get_mut(ip.header..) else { return };
    let mtu = raise_mtu(message);
    let Some(quoted) = message.get_mut(icmp::HEADER..) else { return };
    let change = mtu.and(translate_quote(quoted, quote, inner));
    if let Some(checksum) = field::read_u16(message, icmp::CHECKSUM) {
        field::write_u16(message, icmp::CHECKSUM, change.apply(checksum));
    }
}

/// Translates the quoted packet and returns everything that changed in it.
fn translate_quote(quoted: &mut [u8], quote: &Quote, to: Translation) -> Change {
    let old = ipv4::header_checksum(quoted).unwrap_or_default();
    let pseudo = ipv4::set_address(quoted, to.side, nat::old_address(&quote.ip, to.side), to.address);
    let header = pseudo.word(old, ipv4::header_checksum(quoted).unwrap_or_default());
    let Some(segment) = quoted.get_mut(quote.ip.header..) else { return header };
    let port = nat::set_port(segment, quote.protocol, to.side, to.port);
    let checksum = nat::mend(segment, quote.protocol, pseudo, port, State::Complete);
    header.and(port).and(checksum)
}

/// Raises the MTU that "fragmentation needed" announces to the least there is (T-46).
fn raise_mtu(message: &mut [u8]) -> Change {
    const MTU: usize = 6;
    match (field::read::<2>(message, 0), field::read_u16(message, MTU)) {
        (Some([icmp::UNREACHABLE, icmp::FRAGMENTATION_NEEDED]), Some(mtu)) if mtu < LEAST_MTU_V4 => {
            field::write_u16(message, MTU, LEAST_MTU_V4);
            Change::NONE.word(mtu, LEAST_MTU_V4)
        }
        _ => Change::NONE,
    }
}
