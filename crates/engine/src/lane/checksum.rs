//! Checksums of packets that are cut or joined, made anew with the router's sums. Changing a field of a packet that
//! stays whole is not here: that is the router's, incrementally.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)
)]

use mrvpn_router::packet::checksum::Sum;

use super::layout::set_field16;

/// The sum over the pseudo-header of a transport message of `length` bytes in the IP packet `packet` (RFC 9293 section
/// 3.1; RFC 8200 section 8.1).
pub(crate) fn pseudo_header(packet: &[u8], protocol: u8, length: u16) -> Sum {
    let addresses = if packet.first().is_some_and(|first| first >> 4 == 6) { 8..40 } else { 12..20 };
    Sum::of(packet.get(addresses).unwrap_or_default()).word(u16::from(protocol)).word(length)
}

/// Writes the header checksum of an IPv4 header of `length` bytes at the beginning of `packet`.
pub(crate) fn fill_ipv4_header(packet: &mut [u8], length: usize) {
    set_field16(packet, 10, 0);
    let checksum = Sum::of(packet.get(..length).unwrap_or_default()).checksum();
    set_field16(packet, 10, checksum);
}

/// Whether the transport checksum of an IP packet whose transport header begins at `start` is right.
pub(crate) fn transport_is_right(packet: &[u8], start: usize, protocol: u8) -> bool {
    let Some(message) = packet.get(start..) else { return false };
    let Ok(length) = u16::try_from(message.len()) else { return false };
    pseudo_header(packet, protocol, length).and(Sum::of(message)).fold() == 0xffff
}
