//! The TCP header (RFC 9293): ports, numbers, flags, and the MSS option. What the flags mean for a flow is said in
//! `flow.rs`; segments are never put together here.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use super::checksum::Change;
use super::field;

/// Shortest header, in bytes.
pub const HEADER: usize = 20;
/// Place of the checksum.
pub const CHECKSUM: usize = 16;

/// What a TCP header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number; means something with ACK only.
    pub acknowledgement: u32,
    /// Bytes of the header with its options, 20 to 60.
    pub header: usize,
    /// Flags.
    pub flags: Flags,
}

/// TCP's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// FIN.
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// ACK.
    pub const ACK: u8 = 0x10;

    /// The flags as they stand in the header.
    #[must_use]
    pub const fn new(bits: u8) -> Self {
        Self(bits)
    }

    /// Whether one of `bits` is set.
    #[must_use]
    pub const fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    /// Whether this opens a connection: SYN and nothing that answers or ends one.
    #[must_use]
    pub const fn opens(self) -> bool {
        self.has(Self::SYN) && !self.has(Self::ACK | Self::RST | Self::FIN)
    }
}

impl Tcp {
    /// Reads the header at the start of `segment`; `None` if it is cut short or its length does not fit.
    #[must_use]
    pub fn parse(segment: &[u8]) -> Option<Self> {
        let &[s0, s1, d0, d1, n0, n1, n2, n3, a0, a1, a2, a3, offset, flags, ..] = segment.first_chunk::<HEADER>()?;
        let header = usize::from(offset >> 4).saturating_mul(4);
        if header < HEADER || header > segment.len() {
            return None;
        }
        Some(Self {
            source: u16::from_be_bytes([s0, s1]),
            destination: u16::from_be_bytes([d0, d1]),
            sequence: u32::from_be_bytes([n0, n1, n2, n3]),
            acknowledgement: u32::from_be_bytes([a0, a1, a2, a3]),
            header,
            flags: Flags(flags),
        })
    }
}

impl Tcp {
    /// How far a segment of `length` bytes with its header moves the sequence number: its payload, SYN and FIN.
    #[must_use]
    pub fn advance(&self, length: usize) -> u32 {
        let payload = u32::try_from(length.saturating_sub(self.header)).unwrap_or(u32::MAX);
        let ends = u32::from(self.flags.has(Flags::SYN)).wrapping_add(u32::from(self.flags.has(Flags::FIN)));
        payload.wrapping_add(ends)
    }
}

/// Lowers the MSS option of the header at the start of `segment` to `most`, if it has one that is larger, and returns
/// what changed. The checksum is not touched.
pub fn clamp_mss(segment: &mut [u8], header: usize, most: u16) -> Change {
    let Some(at) = segment.get(..header).and_then(mss_option) else { return Change::NONE };
    match field::read_u16(segment, at) {
        Some(mss) if mss > most => set_mss(segment, at, mss, most),
        Some(_) | None => Change::NONE,
    }
}

/// Writes the option's value, which may stand at an odd place: then two words change.
fn set_mss(segment: &mut [u8], at: usize, old: u16, new: u16) -> Change {
    field::write_u16(segment, at, new);
    if at.is_multiple_of(2) {
        return Change::NONE.word(old, new);
    }
    // Summed over swapped bytes, a sum is its own swapped value (RFC 1071, 2 B).
    Change::NONE.word(old.swap_bytes(), new.swap_bytes())
}

/// Place of the MSS option's value in a header.
fn mss_option(header: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    loop {
        match *header.get(at)? {
            0 => return None,
            1 => at = at.checked_add(1)?,
            kind => {
                let length = usize::from(*header.get(at.checked_add(1)?)?);
                if kind == 2 && length == 4 {
                    return at.checked_add(2);
                }
                if length < 2 {
                    return None;
                }
                at = at.checked_add(length)?;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may stop at a wrong number")]
mod tests {
    use proptest::prelude::*;

    use super::super::checksum::Sum;
    use super::*;

    fn segment(options: &[u8]) -> Vec<u8> {
        let mut segment = vec![0; HEADER];
        segment[12] = (((HEADER + options.len()) / 4) << 4) as u8;
        segment.extend_from_slice(options);
        segment
    }

    #[test]
    fn mss_is_lowered_and_never_raised() {
        for (mss, most, expected) in [(1460_u16, 1360, 1360_u16), (1360, 1360, 1360), (536, 1360, 536)] {
            let mut bytes = segment(&[2, 4, (mss >> 8) as u8, mss as u8]);
            clamp_mss(&mut bytes, 24, most);
            assert_eq!(field::read_u16(&bytes, 22), Some(expected));
        }
    }

    #[test]
    fn an_mss_that_is_small_enough_or_stands_behind_an_option_of_two_bytes_is_found() {
        let mut equal = segment(&[2, 4, 5, 180]);
        assert_eq!(clamp_mss(&mut equal, 24, 1460), Change::NONE);
        let mut behind = segment(&[4, 2, 2, 4, 5, 180, 0, 0]);
        assert_ne!(clamp_mss(&mut behind, 28, 1000), Change::NONE);
        assert_eq!(field::read_u16(&behind, 24), Some(1000));
    }

    #[test]
    fn only_a_bare_syn_opens() {
        for (bits, opens) in [
            (Flags::SYN, true),
            (0, false),
            (Flags::ACK, false),
            (Flags::SYN | Flags::ACK, false),
            (Flags::SYN | Flags::RST, false),
            (Flags::SYN | Flags::FIN, false),
        ] {
            assert_eq!(Flags::new(bits).opens(), opens, "{bits:#x}");
        }
    }

    #[test]
    fn broken_options_are_left_alone() {
        for options in [[2, 3, 5, 180], [2, 0, 5, 180], [3, 9, 5, 180], [1, 1, 1, 2], [0, 2, 4, 9]] {
            let mut bytes = segment(&options);
            assert_eq!(clamp_mss(&mut bytes, 24, 100), Change::NONE);
            assert_eq!(bytes, segment(&options));
        }
    }

    proptest! {
        #[test]
        fn a_clamped_mss_keeps_the_sum_right_at_any_place(pad in 0_usize..3, mss in 537_u16.., most in 1_u16..2000) {
            let mut options = vec![1; pad];
            options.extend([2, 4, (mss >> 8) as u8, mss as u8]);
            options.resize(8, 0);
            let mut bytes = segment(&options);
            let before = Sum::of(&bytes).checksum();
            let change = clamp_mss(&mut bytes, 28, most);
            prop_assert_eq!(change.apply(before), Sum::of(&bytes).checksum());
            prop_assert_eq!(field::read_u16(&bytes, HEADER + pad + 2), Some(mss.min(most)));
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(tcp) = Tcp::parse(&bytes) {
                prop_assert!(tcp.header <= bytes.len());
                clamp_mss(&mut bytes, tcp.header, 1000);
            }
        }
    }
}
