//! The IPv6 header (RFC 8200) and the way through its extension headers to the transport. It is for deciding and
//! refusing: IPv6 is not carried in this version.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::net::Ipv6Addr;

use super::{Malformed, field};
use crate::limits::EXTENSION_HEADERS;

/// Bytes of the fixed header.
pub const HEADER: usize = 40;

/// What an IPv6 packet says up to its transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    /// Where the transport header begins.
    pub header: usize,
    /// Protocol of the transport; 59 ("nothing follows") and 50 (ESP) included.
    pub protocol: u8,
    /// A fragment after the first: no transport header is here.
    pub later_fragment: bool,
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
    /// [`Malformed`]: too short, not version 6, lengths that do not fit, more than [`EXTENSION_HEADERS`] extensions.
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        let fixed = packet.first_chunk::<HEADER>().ok_or(Malformed)?;
        let [first, _, _, _, l0, l1, next, ..] = *fixed;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if first >> 4 != 6 || packet.len() != HEADER.saturating_add(length) {
            return Err(Malformed);
        }
        let source = field::read::<16>(packet, 8).ok_or(Malformed)?.into();
        let destination = field::read::<16>(packet, 24).ok_or(Malformed)?.into();
        let mut ip = Self { header: HEADER, protocol: next, later_fragment: false, source, destination };
        for _ in 0..=EXTENSION_HEADERS {
            if ip.later_fragment || !is_extension(ip.protocol) {
                return Ok(ip);
            }
            ip.step(packet).ok_or(Malformed)?;
        }
        Err(Malformed)
    }

    /// Steps over one extension header.
    fn step(&mut self, packet: &[u8]) -> Option<()> {
        let [next, length] = field::read(packet, self.header)?;
        let bytes = match self.protocol {
            44 => {
                self.later_fragment = field::read_u16(packet, self.header.saturating_add(2))? & 0xfff8 != 0;
                8
            }
            51 => usize::from(length).saturating_add(2).saturating_mul(4),
            _ => usize::from(length).saturating_add(1).saturating_mul(8),
        };
        self.header = self.header.saturating_add(bytes);
        self.protocol = next;
        (self.header <= packet.len()).then_some(())
    }
}

/// Hop-by-hop, routing, fragment, authentication, destination options, mobility.
const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, 0 | 43 | 44 | 51 | 60 | 135)
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
        assert_eq!((ip.header, ip.protocol, ip.later_fragment), (HEADER + 32, 17, false));
    }

    #[test]
    fn a_later_fragment_has_no_transport() {
        let ip = Ipv6::parse(&packet(44, &[6, 0, 0, 8, 0, 0, 0, 9])).unwrap();
        assert!(ip.later_fragment);
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
