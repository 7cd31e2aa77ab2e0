//! The UDP header (RFC 768). A checksum of zero means that there is none; that it stays so is `nat.rs`'s.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

/// Bytes of the header.
pub const HEADER: usize = 8;
/// Place of the checksum.
pub const CHECKSUM: usize = 6;

/// What a UDP header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Bytes of header and payload, over all fragments.
    pub length: u16,
}

impl Udp {
    /// Reads the header at the start of `datagram`; `None` if it is cut short or shorter than itself.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let &[s0, s1, d0, d1, l0, l1, ..] = datagram.first_chunk::<HEADER>()?;
        let length = u16::from_be_bytes([l0, l1]);
        (usize::from(length) >= HEADER).then(|| Self {
            source: u16::from_be_bytes([s0, s1]),
            destination: u16::from_be_bytes([d0, d1]),
            length,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_below_its_own_header_is_refused() {
        let mut bytes = [0, 53, 0, 54, 0, 8, 0, 0];
        assert_eq!(Udp::parse(&bytes), Some(Udp { source: 53, destination: 54, length: 8 }));
        assert_eq!(Udp::parse(&bytes[..7]), None);
        bytes[5] = 7;
        assert_eq!(Udp::parse(&bytes), None);
    }
}
