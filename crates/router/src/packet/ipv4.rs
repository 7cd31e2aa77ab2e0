//! The IPv4 header (RFC 791): what it says, with all lengths checked against the bytes. It is not the transport header
//! behind it (`transport.rs`), and it does not judge addresses beyond saying what kind they are.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::net::Ipv4Addr;

use super::checksum::{Change, Sum};
use super::{Malformed, field};

/// Shortest header, in bytes.
pub const HEADER: usize = 20;

/// Place of the header checksum.
const CHECKSUM: usize = 10;
/// Place of the source address.
const SOURCE: usize = 12;
/// Place of the destination address.
const DESTINATION: usize = 16;

/// What an IPv4 header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// Bytes of the header with its options, 20 to 60.
    pub header: usize,
    /// Bytes of header and payload; not more than the packet has.
    pub length: usize,
    /// Identification, by which fragments belong together.
    pub id: u16,
    /// Whether it must not be fragmented.
    pub dont_fragment: bool,
    /// Whether it is whole, or which part.
    pub fragment: Fragment,
    /// Place of the payload in its datagram, in bytes.
    pub offset: u32,
    /// Time to live.
    pub ttl: u8,
    /// Protocol number of what follows.
    pub protocol: u8,
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
}

/// Whether a packet is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// Not a fragment.
    Whole,
    /// The first fragment: the transport header is here.
    First,
    /// A later one: only addresses and id tell what it belongs to.
    Later,
    /// The last one.
    Last,
}

impl Fragment {
    /// Whether the transport header is not here.
    #[must_use]
    pub const fn is_later(self) -> bool {
        matches!(self, Self::Later | Self::Last)
    }
}

impl Ipv4 {
    /// Reads the header of a packet that ends where the header says it does.
    ///
    /// # Errors
    ///
    /// [`Malformed`]: too short, not version 4, lengths that do not fit, options that do not fit or that route by source,
    /// a fragment that would end beyond the largest packet.
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        let ip = Self::quoted(packet).ok_or(Malformed)?;
        let whole = ip.length == packet.len();
        if whole && options_fit(packet.get(HEADER..ip.header).ok_or(Malformed)?) { Ok(ip) } else { Err(Malformed) }
    }

    /// Reads the header of a packet that may be cut short, as ICMP errors quote it; its options are not looked at.
    pub(crate) fn quoted(packet: &[u8]) -> Option<Self> {
        let &[first, _, l0, l1, i0, i1, f0, f1, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
            packet.first_chunk::<HEADER>()?;
        let header = usize::from(first & 0x0f).saturating_mul(4);
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if first >> 4 != 4 || header < HEADER || length < header || packet.len() < header {
            return None;
        }
        Some(Self {
            header,
            length,
            id: u16::from_be_bytes([i0, i1]),
            dont_fragment: f0 & 0x40 != 0,
            fragment: fragment(u16::from_be_bytes([f0, f1]), length.saturating_sub(header))?,
            offset: u32::from(u16::from_be_bytes([f0, f1]) & 0x1fff).saturating_mul(8),
            ttl,
            protocol,
            source: Ipv4Addr::new(s0, s1, s2, s3),
            destination: Ipv4Addr::new(d0, d1, d2, d3),
        })
    }

    /// Whether the header's checksum is right.
    #[must_use]
    pub fn checksum_is_right(&self, packet: &[u8]) -> bool {
        packet.get(..self.header).is_some_and(|header| Sum::of(header).fold() == 0xffff)
    }
}

/// Which of the two addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Of the sender.
    Source,
    /// Of the receiver.
    Destination,
}

/// Writes another address into the header at the start of `packet`, mends the header's checksum, and returns what changed
/// for checksums that cover the pseudo-header.
pub(crate) fn set_address(packet: &mut [u8], side: Side, old: Ipv4Addr, new: Ipv4Addr) -> Change {
    let change = Change::NONE.address(old, new);
    let at = match side {
        Side::Source => SOURCE,
        Side::Destination => DESTINATION,
    };
    field::write(packet, at, new.octets());
    if let Some(checksum) = field::read_u16(packet, CHECKSUM) {
        field::write_u16(packet, CHECKSUM, change.apply(checksum));
    }
    change
}

/// The checksum field of the header at the start of `packet`.
pub(crate) fn header_checksum(packet: &[u8]) -> Option<u16> {
    field::read_u16(packet, CHECKSUM)
}

/// Writes the checksum of the `header` bytes at the start of `packet`.
pub(crate) fn write_header_checksum(packet: &mut [u8], header: usize) {
    field::write_u16(packet, CHECKSUM, 0);
    let checksum = packet.get(..header).map_or(0, |header| Sum::of(header).checksum());
    field::write_u16(packet, CHECKSUM, checksum);
}

/// Whether nobody in particular is meant: multicast, the broadcast address, or "this network".
#[must_use]
pub fn is_for_many(address: Ipv4Addr) -> bool {
    address.is_multicast() || address.is_broadcast() || is_this_network(address)
}

/// Whether the address can be the source of a packet that crosses a network.
#[must_use]
pub fn may_be_source(address: Ipv4Addr) -> bool {
    !address.is_loopback() && !is_for_many(address) && address.octets()[0] < 240
}

/// 0.0.0.0/8 (RFC 1122, 3.2.1.3).
const fn is_this_network(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first == 0
}

/// Flags and offset, for `payload` bytes; `None` if the fragment would reach beyond 65,535 bytes (the "ping of death").
pub(crate) fn fragment(field: u16, payload: usize) -> Option<Fragment> {
    let offset = usize::from(field & 0x1fff).saturating_mul(8);
    let more = field & 0x2000 != 0;
    match (offset, more) {
        (0, false) => Some(Fragment::Whole),
        (0, true) => Some(Fragment::First),
        (_, _) if offset.saturating_add(payload) > 65_535 => None,
        (_, true) => Some(Fragment::Later),
        (_, false) => Some(Fragment::Last),
    }
}

/// Whether the options fit into their place and none is a source route (T-44), which would send packets around the rules.
fn options_fit(mut options: &[u8]) -> bool {
    while let Some((&kind, rest)) = options.split_first() {
        match kind {
            0 => return true,
            1 => options = rest,
            131 | 137 => return false,
            _ => {
                let Some(next) = rest.first().and_then(|&length| behind(options, length)) else { return false };
                options = next;
            }
        }
    }
    true
}

/// What stands behind an option of `length` bytes, kind and length included.
fn behind(options: &[u8], length: u8) -> Option<&[u8]> {
    if length < 2 { None } else { options.get(usize::from(length)..) }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may stop at a wrong number")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(options: &[u8]) -> Vec<u8> {
        let length = HEADER + options.len();
        let mut packet = vec![0; HEADER];
        packet[0] = 0x40 | (length / 4) as u8;
        packet[3] = length as u8;
        packet[8] = 64;
        packet[12] = 10;
        packet[16] = 192;
        packet.extend_from_slice(options);
        write_header_checksum(&mut packet, length);
        packet
    }

    #[test]
    fn a_whole_header_is_read() {
        let packet = header(&[]);
        let ip = Ipv4::parse(&packet).unwrap();
        assert_eq!((ip.header, ip.length, ip.fragment), (20, 20, Fragment::Whole));
        assert!(ip.checksum_is_right(&packet));
        let mut damaged = packet;
        damaged[8] ^= 1;
        assert!(!ip.checksum_is_right(&damaged));
    }

    // proves: T-44
    #[test]
    fn a_quoted_header_is_whole_and_its_lengths_fit() {
        let mut packet = header(&[1, 1, 1, 0]);
        packet.extend([0; 8]);
        packet[3] = 60;
        assert_eq!(Ipv4::quoted(&packet).map(|ip| (ip.header, ip.length)), Some((24, 60)), "cut short behind it");
        assert!(Ipv4::quoted(&packet[..24]).is_some());
        assert_eq!(Ipv4::quoted(&packet[..23]), None, "cut within the header");
        for (at, value) in [(0, 0x44), (0, 0x40), (0, 0x56), (0, 0x66), (3, 23), (3, 0)] {
            let mut bad = packet.clone();
            bad[at] = value;
            assert_eq!(Ipv4::quoted(&bad), None, "byte {at} = {value:#x}");
        }
    }

    // proves: T-44
    #[test]
    fn nobody_sends_from_loopback_many_or_what_is_reserved() {
        for (address, may) in [
            ([0, 1, 2, 3], false),
            ([1, 0, 0, 0], true),
            ([127, 0, 0, 1], false),
            ([223, 255, 255, 255], true),
            ([224, 0, 0, 1], false),
            ([239, 255, 255, 255], false),
            ([240, 0, 0, 1], false),
            ([241, 0, 0, 1], false),
            ([255, 255, 255, 255], false),
        ] {
            assert_eq!(may_be_source(address.into()), may, "{address:?}");
        }
    }

    // proves: T-44
    #[test]
    fn lengths_that_do_not_fit_are_malformed() {
        let good = header(&[1, 1, 1, 0]);
        for cut in 0..good.len() {
            assert_eq!(Ipv4::parse(&good[..cut]), Err(Malformed));
        }
        for (at, value) in [(0, 0x44), (0, 0x65), (0, 0x4f), (3, 19), (3, 25)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(Ipv4::parse(&bad), Err(Malformed), "byte {at} = {value}");
        }
    }

    // proves: T-44
    #[test]
    fn source_routes_and_broken_options_are_malformed() {
        for options in [[7, 3, 4, 0], [1, 1, 1, 0], [1, 7, 3, 4], [9, 2, 9, 2], [0, 131, 137, 7]] {
            assert!(Ipv4::parse(&header(&options)).is_ok(), "{options:?}");
        }
        for options in [[131, 3, 4, 0], [137, 3, 4, 0], [1, 131, 3, 4], [7, 1, 0, 0], [7, 5, 0, 0], [1, 1, 1, 7]] {
            assert_eq!(Ipv4::parse(&header(&options)), Err(Malformed), "{options:?}");
        }
    }

    #[test]
    fn fragments_are_told_apart_and_none_reaches_beyond_the_largest_packet() {
        assert_eq!(fragment(0x2000, 8), Some(Fragment::First));
        assert_eq!(fragment(0x2001, 8), Some(Fragment::Later));
        assert_eq!(fragment(0x0001, 8), Some(Fragment::Last));
        assert_eq!(fragment(0x1fff, 7), Some(Fragment::Last));
        assert_eq!(fragment(0x1fff, 8), None);
    }

    proptest! {
        // proves: T-44
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(ip) = Ipv4::parse(&bytes) {
                prop_assert_eq!(ip.length, bytes.len());
                prop_assert!(ip.header <= ip.length);
            }
        }
    }
}
