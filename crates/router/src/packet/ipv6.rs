//! The IPv6 header (RFC 8200) and the way through its extension headers to the transport, with bounds. It does not judge
//! addresses beyond saying what kind they are; the transport header is `transport.rs`'s.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::net::Ipv6Addr;

use super::checksum::Change;
use super::ipv4::{self, Fragment, Side};
use super::{Malformed, field};
use crate::limits::EXTENSION_HEADERS;

/// Bytes of the fixed header.
pub const HEADER: usize = 40;

/// Place of the source address.
const SOURCE: usize = 8;
/// Place of the destination address.
const DESTINATION: usize = 24;

/// What an IPv6 packet says up to its transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    /// Where the transport header begins; of a later fragment, where its bytes do.
    pub header: usize,
    /// Bytes of all headers and the payload.
    pub length: usize,
    /// Hop limit.
    pub hop_limit: u8,
    /// Protocol of the transport; 59 ("nothing follows") and 50 (ESP) included.
    pub protocol: u8,
    /// Whether it is whole, or which part.
    pub fragment: Fragment,
    /// Identification of a fragment.
    pub id: u32,
    /// Place of a fragment's bytes in its datagram.
    pub offset: u32,
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
}

impl Ipv6 {
    /// Reads the headers of a packet that ends where the header says it does.
    ///
    /// # Errors
    ///
    /// [`Malformed`]: too short, not version 6, lengths that do not fit, more than [`EXTENSION_HEADERS`] extensions, a
    /// route by source that is not at its end (T-44), a fragment that would end beyond the largest packet.
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        let ip = Self::quoted(packet).ok_or(Malformed)?;
        if ip.length == packet.len() { Ok(ip) } else { Err(Malformed) }
    }

    /// Reads the headers of a packet that may be cut short behind them, as ICMPv6 errors quote it.
    pub(crate) fn quoted(packet: &[u8]) -> Option<Self> {
        let fixed = packet.first_chunk::<HEADER>()?;
        let [first, _, _, _, l0, l1, next, hop_limit, ..] = *fixed;
        if first >> 4 != 6 {
            return None;
        }
        let mut ip = Self {
            header: HEADER,
            length: usize::from(u16::from_be_bytes([l0, l1])).saturating_add(HEADER),
            hop_limit,
            protocol: next,
            fragment: Fragment::Whole,
            id: 0,
            offset: 0,
            source: field::read::<16>(packet, SOURCE)?.into(),
            destination: field::read::<16>(packet, DESTINATION)?.into(),
        };
        for _ in 0..=EXTENSION_HEADERS {
            if ip.fragment.is_later() || !is_extension(ip.protocol) {
                return (ip.header <= ip.length).then_some(ip);
            }
            ip.step(packet)?;
        }
        None
    }

    /// Steps over one extension header.
    fn step(&mut self, packet: &[u8]) -> Option<()> {
        let [next, length] = field::read(packet, self.header)?;
        let bytes = if self.protocol == FRAGMENT { 8 } else { usize::from(length).saturating_add(1).saturating_mul(8) };
        let end = self.header.saturating_add(bytes);
        match self.protocol {
            FRAGMENT => self.step_fragment(packet, end)?,
            // All that is left of a route is to be gone: the address in the header is not where the packet ends.
            ROUTING if field::read::<1>(packet, self.header.saturating_add(3))? != [0] => return None,
            _ => {}
        }
        self.header = end;
        self.protocol = next;
        (self.header <= packet.len()).then_some(())
    }

    /// The fragment header: the offset stands in the upper bits, "more" in the lowest.
    fn step_fragment(&mut self, packet: &[u8], end: usize) -> Option<()> {
        if self.fragment != Fragment::Whole {
            return None;
        }
        let place = field::read_u16(packet, self.header.saturating_add(2))?;
        self.id = u32::from_be_bytes(field::read(packet, self.header.saturating_add(4))?);
        self.offset = u32::from(place & 0xfff8);
        let v4 = place >> 3 | if place & 1 == 0 { 0 } else { 0x2000 };
        self.fragment = ipv4::fragment(v4, self.length.saturating_sub(end))?;
        Some(())
    }
}

/// Writes another address into the header at the start of `packet` and returns what changed for checksums that cover the
/// pseudo-header; the header has none of its own.
pub(crate) fn set_address(packet: &mut [u8], side: Side, old: Ipv6Addr, new: Ipv6Addr) -> Change {
    let at = match side {
        Side::Source => SOURCE,
        Side::Destination => DESTINATION,
    };
    field::write(packet, at, new.octets());
    Change::NONE.address_v6(old, new)
}

/// Whether the address can be the source of a packet that crosses a network.
#[must_use]
pub const fn may_be_source(address: Ipv6Addr) -> bool {
    !address.is_loopback() && !is_of_the_link(address)
}

/// Protocol number of the routing header.
const ROUTING: u8 = 43;
/// Protocol number of the fragment header.
const FRAGMENT: u8 = 44;

/// Whether nobody beyond the link can be meant: multicast, link-local, or no address at all.
#[must_use]
pub const fn is_of_the_link(address: Ipv6Addr) -> bool {
    address.is_multicast() || address.is_unicast_link_local() || address.is_unspecified()
}

/// Hop-by-hop, routing, fragment, destination options, mobility. Authentication (51) is none here: what it covers cannot
/// be translated, so it goes by address alone.
const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, 0 | ROUTING | FRAGMENT | 60 | 135)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may stop at a wrong number")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; HEADER];
        packet[0] = 0x60;
        packet[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
        packet[6] = next;
        packet.extend_from_slice(payload);
        packet
    }

    #[test]
    fn the_transport_is_found_behind_extensions() {
        let mut payload = vec![60, 0, 0, 0, 0, 0, 0, 0];
        payload.extend([44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        payload.extend([17, 0, 0, 1, 0, 0, 0, 9]);
        payload.extend([0; 8]);
        let ip = Ipv6::parse(&packet(0, &payload)).unwrap();
        assert_eq!((ip.header, ip.protocol, ip.fragment, ip.id), (HEADER + 32, 17, Fragment::First, 9));
    }

    #[test]
    fn a_later_fragment_has_no_transport() {
        for (place, fragment) in [(9, Fragment::Later), (8, Fragment::Last), (0, Fragment::Whole), (1, Fragment::First)]
        {
            let ip = Ipv6::parse(&packet(44, &[6, 0, 0, place, 0, 0, 0, 9])).unwrap();
            assert_eq!((ip.fragment, ip.offset), (fragment, u32::from(place & 8)));
        }
        assert_eq!(Ipv6::parse(&packet(44, &[44, 0, 0, 1, 0, 0, 0, 9, 6, 0, 0, 8, 0, 0, 0, 9])), Err(Malformed));
        assert_eq!(Ipv6::parse(&packet(44, &[6, 0, 0xff, 0xf8, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8])), Err(Malformed));
    }

    // proves: T-44
    #[test]
    fn a_route_by_source_is_malformed_unless_it_is_at_its_end() {
        for (left, good) in [(0, true), (1, false), (255, false)] {
            let payload = [17, 0, 4, left, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0];
            assert_eq!(Ipv6::parse(&packet(43, &payload)).is_ok(), good);
        }
    }

    #[test]
    fn extensions_are_walked_up_to_the_limit() {
        for (count, good) in [(EXTENSION_HEADERS - 1, true), (EXTENSION_HEADERS, true), (EXTENSION_HEADERS + 1, false)]
        {
            let mut payload = [60, 0, 0, 0, 0, 0, 0, 0].repeat(count);
            payload[(count - 1) * 8] = 17;
            assert_eq!(Ipv6::parse(&packet(60, &payload)).is_ok(), good, "{count}");
        }
    }

    proptest! {
        // proves: T-44
        #[test]
        fn any_bytes_are_read_or_refused(next in any::<u8>(), payload in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(ip) = Ipv6::parse(&packet(next, &payload)) {
                prop_assert!(ip.header <= HEADER + payload.len());
            }
        }
    }
}
