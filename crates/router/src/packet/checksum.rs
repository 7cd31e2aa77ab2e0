//! Internet checksums: whole sums (RFC 1071) in wide lanes, and changes of a sum (RFC 1624). It knows no packet format
//! beyond the pseudo-header; which bytes a checksum covers is the caller's to say.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{field, udp};

/// A one's complement sum under way. At most 2^32 words fit; a packet has 2^15.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// The sum over `bytes`; an odd last byte counts as the upper half of a word.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut lanes = words.iter().fold(0_u64, |sum, word| sum.wrapping_add(u64::from(u32::from_ne_bytes(*word))));
        if !rest.is_empty() {
            let mut last = [0; 4];
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            lanes = lanes.wrapping_add(u64::from(u32::from_ne_bytes(last)));
        }
        // The sum does not care in which byte order it is made, as long as its result is read in the same.
        Self(u64::from(u16::from_be(Self(lanes).fold())))
    }

    /// Both sums together. `other` must begin at an even place of what is summed.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// One more word.
    #[must_use]
    pub fn word(self, word: u16) -> Self {
        Self(self.0.wrapping_add(u64::from(word)))
    }

    /// The sum in 16 bits, not complemented.
    #[must_use]
    pub const fn fold(self) -> u16 {
        let mut sum = self.0;
        while sum >> 16 != 0 {
            sum = (sum & 0xffff).wrapping_add(sum >> 16);
        }
        sum as u16
    }

    /// What a checksum field holds: the complement of the sum.
    #[must_use]
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }
}

/// The sum of the IPv4 pseudo-header; `length` is that of the transport header and payload, in bytes.
#[must_use]
pub fn pseudo_v4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, length: u16) -> Sum {
    Sum::of(&source.octets()).and(Sum::of(&destination.octets())).word(u16::from(protocol)).word(length)
}

/// The sum of the IPv6 pseudo-header; `length` is that of the transport header and payload, in bytes.
#[must_use]
pub fn pseudo_v6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, length: u16) -> Sum {
    Sum::of(&source.octets()).and(Sum::of(&destination.octets())).word(u16::from(protocol)).word(length)
}

/// What changed in the bytes that a checksum covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change(u64);

impl Change {
    /// Nothing changed.
    pub const NONE: Self = Self(0);

    /// A word became another one.
    #[must_use]
    pub fn word(self, old: u16, new: u16) -> Self {
        Self(self.0.wrapping_add(u64::from(!old)).wrapping_add(u64::from(new)))
    }

    /// An address became another one.
    #[must_use]
    pub fn address(self, old: Ipv4Addr, new: Ipv4Addr) -> Self {
        // Two words in one: the complement of both halves and their sum fold to the same 16 bits.
        Self(self.0.wrapping_add(u64::from(!u32::from(old))).wrapping_add(u64::from(u32::from(new))))
    }

    /// An IPv6 address became another one.
    #[must_use]
    pub fn address_v6(self, old: Ipv6Addr, new: Ipv6Addr) -> Self {
        let sum = |bits: u128| {
            let words = [bits >> 96, bits >> 64, bits >> 32, bits].map(|word| u64::from(word as u32));
            words.into_iter().fold(0_u64, u64::wrapping_add)
        };
        Self(self.0.wrapping_add(sum(!u128::from(old))).wrapping_add(sum(u128::from(new))))
    }

    /// Both changes.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// A complete checksum field after the change (RFC 1624, equation 3).
    #[must_use]
    pub fn apply(self, field: u16) -> u16 {
        Sum(self.0).word(!field).checksum()
    }

    /// A partial field (the pseudo-header's sum, not complemented) after a change of the pseudo-header.
    #[must_use]
    pub fn apply_partial(self, field: u16) -> u16 {
        Sum(self.0).word(field).fold()
    }
}

/// Makes a partial checksum complete: sums `packet[start..]` with the pseudo-header's sum that stands at
/// `start + offset`, and writes the result there. Returns whether the place lies in the packet; if not, nothing changed.
///
/// A result of zero is written as 0xffff for UDP (known by its offset), where zero says "no checksum" (RFC 768).
pub fn complete(packet: &mut [u8], start: u16, offset: u16) -> bool {
    let start = usize::from(start);
    let Some(covered) = packet.get(start..) else { return false };
    let checksum = Sum::of(covered).checksum();
    let offset = usize::from(offset);
    let at = start.saturating_add(offset);
    if field::read_u16(packet, at).is_none() {
        return false;
    }
    field::write_u16(packet, at, if checksum == 0 && offset == udp::CHECKSUM { 0xffff } else { checksum });
    true
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may stop at a wrong number")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_1071_holds() {
        let sum = Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.fold(), 0xddf2);
        assert_eq!(sum.checksum(), !0xddf2);
    }

    #[test]
    fn the_example_of_rfc_1624_holds() {
        assert_eq!(Change::NONE.word(0x5555, 0x3285).apply(0xdd2f), 0x0000);
    }

    #[test]
    fn a_partial_checksum_outside_of_the_packet_changes_nothing() {
        let mut packet = [7; 20];
        assert!(!complete(&mut packet, 21, 0));
        assert!(!complete(&mut packet, 10, 9));
        assert!(!complete(&mut packet, u16::MAX, u16::MAX));
        assert_eq!(packet, [7; 20]);
        assert!(complete(&mut packet, 10, 8));
    }

    fn slow(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    proptest! {
        #[test]
        fn wide_sums_equal_the_slow_one(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(Sum::of(&bytes).fold(), slow(&bytes));
        }

        // proves: T-82
        #[test]
        fn a_change_equals_the_sum_made_anew(
            mut bytes in prop::collection::vec(any::<u8>(), 8..80), new in any::<u32>(), word in any::<u16>(),
        ) {
            bytes.truncate(bytes.len() / 2 * 2);
            bytes[6] |= 1; // a sum over zeros alone does not occur: headers hold a length
            let before = Sum::of(&bytes).checksum();
            let change = Change::NONE
                .address(field::read::<4>(&bytes, 0).unwrap().into(), Ipv4Addr::from(new))
                .word(field::read_u16(&bytes, 4).unwrap(), word);
            field::write(&mut bytes, 0, new.to_be_bytes());
            field::write_u16(&mut bytes, 4, word);
            prop_assert_eq!(change.apply(before), Sum::of(&bytes).checksum());
        }

        // proves: T-82
        #[test]
        fn a_change_of_an_ipv6_address_equals_the_sum_made_anew(
            old in any::<[u8; 16]>(), new in any::<[u8; 16]>(), rest in 1_u16..,
        ) {
            let with = |address: [u8; 16]| Sum::of(&address).word(rest);
            let change = Change::NONE.address_v6(old.into(), new.into());
            prop_assert_eq!(change.apply(with(old).checksum()), with(new).checksum());
            prop_assert_eq!(change.apply_partial(with(old).fold()), with(new).fold());
        }

        // proves: T-82
        #[test]
        fn a_completed_checksum_is_that_of_all_it_covers(
            before in prop::collection::vec(any::<u8>(), 0..40), covered in prop::collection::vec(any::<u8>(), 8..80),
            offset in prop::sample::select(vec![udp::CHECKSUM, 2, 4, 0]),
        ) {
            let mut packet = before.clone();
            packet.extend(&covered);
            prop_assert!(complete(&mut packet, before.len() as u16, offset as u16));
            let sum = !slow(&covered);
            let expected = if sum == 0 && offset == udp::CHECKSUM { 0xffff } else { sum };
            let at = before.len() + offset;
            prop_assert_eq!(field::read_u16(&packet, at), Some(expected));
            // Nothing else has changed.
            packet[at..at + 2].copy_from_slice(&covered[offset..offset + 2]);
            prop_assert_eq!(packet, [before, covered].concat());
        }
    }

    #[test]
    fn a_result_of_zero_is_written_as_all_ones_for_udp_alone() {
        for (offset, zero) in [(udp::CHECKSUM, 0xffff), (16, 0)] {
            // All that is covered sums to 0xffff, whose complement is zero.
            let mut packet = [0_u8; 20];
            packet[..2].copy_from_slice(&[0xff, 0xff]);
            assert!(complete(&mut packet, 0, offset as u16));
            assert_eq!(field::read_u16(&packet, offset), Some(zero));
            packet[..2].copy_from_slice(&[0x12, 0x34]);
            packet[offset..offset + 2].copy_from_slice(&[0, 0]);
            assert!(complete(&mut packet, 0, offset as u16));
            assert_eq!(field::read_u16(&packet, offset), Some(!0x1234));
        }
    }
}
