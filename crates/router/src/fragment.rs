//! Cutting an IPv4 packet to a tunnel's size (RFC 791, 3.2), for what is larger and may be fragmented. Whether it may is
//! judged in `outbound.rs`; TCP super-packets are not cut here, they become segments.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use crate::packet::ipv4::{self, Ipv4};
use crate::packet::{Malformed, field};

/// Longest IPv4 header, in bytes.
const LONGEST_HEADER: usize = 60;

/// Gives `emit` the fragments of `packet`, each as header and payload that together have `limit` bytes at most, in order.
/// A packet that fits is given whole. Its transport checksum must be complete; a fragment can be cut again.
///
/// # Errors
///
/// [`Malformed`]: not an IPv4 packet, or `limit` does not hold a header and eight bytes. Nothing was emitted then.
pub fn fragment_ipv4(packet: &[u8], limit: usize, mut emit: impl FnMut(&[u8], &[u8])) -> Result<(), Malformed> {
    let ip = Ipv4::parse(packet)?;
    let (header, payload) = packet.split_at_checked(ip.header).ok_or(Malformed)?;
    if packet.len() <= limit {
        emit(header, payload);
        return Ok(());
    }
    let piece = limit.saturating_sub(ip.header) & !7;
    if piece == 0 {
        return Err(Malformed);
    }
    let flags = field::read_u16(packet, FLAGS).ok_or(Malformed)?;
    let (mut first, mut later) = (Header::whole(header), Header::copied(header));
    let mut header = &mut first;
    let mut offset = flags & OFFSET;
    let mut pieces = payload.chunks(piece).peekable();
    while let Some(bytes) = pieces.next() {
        let more = if pieces.peek().is_some() { MORE } else { flags & MORE };
        emit(header.finish(bytes.len(), more | offset), bytes);
        offset = offset.wrapping_add((bytes.len() / 8) as u16);
        header = &mut later;
    }
    Ok(())
}

/// Place of flags and offset.
const FLAGS: usize = 6;
/// More fragments follow.
const MORE: u16 = 0x2000;
/// The bits of the offset.
const OFFSET: u16 = 0x1fff;

/// A header that is being made.
#[derive(Clone, Copy)]
struct Header {
    bytes: [u8; LONGEST_HEADER],
    length: usize,
}

impl Header {
    const EMPTY: Self = Self { bytes: [0; LONGEST_HEADER], length: 0 };

    /// With all options, for the first fragment.
    fn whole(header: &[u8]) -> Self {
        let mut made = Self::EMPTY;
        made.push(header);
        made
    }

    /// With those options alone that say so (the "copied" flag), for later ones.
    fn copied(header: &[u8]) -> Self {
        let mut made = Self::EMPTY;
        let (fixed, mut options) = header.split_at_checked(ipv4::HEADER).unwrap_or((header, &[]));
        made.push(fixed);
        while let Some((option, rest)) = split_option(options) {
            if option.first().is_some_and(|kind| kind & 0x80 != 0) {
                made.push(option);
            }
            options = rest;
        }
        made.length = made.length.next_multiple_of(4);
        made
    }

    fn push(&mut self, more: &[u8]) {
        let place = self.bytes.get_mut(self.length..).unwrap_or_default();
        self.length = self.length.saturating_add(more.len().min(place.len()));
        place.iter_mut().zip(more).for_each(|(to, from)| *to = *from);
    }

    /// The header before `payload` bytes at a place in the datagram.
    fn finish(&mut self, payload: usize, flags: u16) -> &[u8] {
        let total = self.length.saturating_add(payload) as u16;
        let words = (self.length / 4) as u8;
        field::write(&mut self.bytes, 0, [0x40 | words]);
        field::write_u16(&mut self.bytes, 2, total);
        field::write_u16(&mut self.bytes, FLAGS, flags);
        ipv4::write_header_checksum(&mut self.bytes, self.length);
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The first option and what follows it; nothing at the end of the list.
fn split_option(options: &[u8]) -> Option<(&[u8], &[u8])> {
    match *options.first()? {
        0 => None,
        1 => options.split_at_checked(1),
        _ => options.split_at_checked(usize::from(*options.get(1)?).max(1)),
    }
}
