//! Big-endian fields at a place in a packet. A place outside of the packet reads as `None` and is not written: no
//! caller can panic here. What the fields mean is said by the views beside this file.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

/// `N` bytes at `at`.
#[inline]
pub(crate) fn read<const N: usize>(packet: &[u8], at: usize) -> Option<[u8; N]> {
    packet.get(at..)?.first_chunk::<N>().copied()
}

/// The 16-bit number at `at`.
#[inline]
pub(crate) fn read_u16(packet: &[u8], at: usize) -> Option<u16> {
    read(packet, at).map(u16::from_be_bytes)
}

/// Writes `bytes` at `at`, if they fit.
#[inline]
pub(crate) fn write<const N: usize>(packet: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(place) = packet.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<N>) {
        *place = bytes;
    }
}

/// Writes a 16-bit number at `at`, if it fits.
#[inline]
pub(crate) fn write_u16(packet: &mut [u8], at: usize, value: u16) {
    write(packet, at, value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_does_not_fit_is_neither_read_nor_written() {
        let mut packet = [1, 2, 3];
        assert_eq!(read_u16(&packet, 1), Some(0x0203));
        assert_eq!(read_u16(&packet, 2), None);
        assert_eq!(read_u16(&packet, usize::MAX), None);
        write_u16(&mut packet, 2, 0xffff);
        assert_eq!(packet, [1, 2, 3]);
    }
}
