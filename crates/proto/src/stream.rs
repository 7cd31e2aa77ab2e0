//! Packets in an outer TCP stream: two bytes of length before each (openvpn-protocol.md section 1.4; OpenVPN `socket.c`,
//! `stream_buf`). The stream itself, its times and its end are the caller's; what a packet says is not looked at here.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::fmt;
use std::ops::Range;

use crate::limits;

/// Bytes of the length before each packet.
pub const LENGTH: usize = 2;

/// Cuts a stream into packets inside one buffer of its own; no packet is copied for it.
///
/// Read from the socket into [`Self::spare`], say by [`Self::filled`] how much came, then take packets by
/// [`Self::next_packet`] until there is none. The ranges it gives are valid until the next call of `spare` or `push`,
/// so that several packets may be worked on at once, in place, by [`Self::packet`].
pub struct Framer {
    buffer: Vec<u8>,
    /// What was cut off already ends here.
    start: usize,
    /// What was read ends here.
    end: usize,
}

/// Why a stream has no more packets: there is no way to find the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// A packet of no bytes.
    #[error("the stream holds a packet of length 0")]
    Empty,
    /// Longer than [`limits::STREAM_PACKET`].
    #[error("the stream holds a packet of {0} bytes, and none has more than {limit}", limit = limits::STREAM_PACKET)]
    Long(usize),
}

impl Framer {
    /// A framer whose buffer holds `capacity` bytes, but never less than the longest packet with its length.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { buffer: vec![0; capacity.max(LENGTH.saturating_add(limits::STREAM_PACKET))], start: 0, end: 0 }
    }

    /// Where the next bytes of the stream go: never empty once [`Self::next_packet`] has given `None`. A packet that
    /// is not whole yet moves to the front; earlier ranges are void.
    pub fn spare(&mut self) -> &mut [u8] {
        self.compact();
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Tells that the first `len` bytes of [`Self::spare`] were written; more than there was room counts as all of it.
    pub fn filled(&mut self, len: usize) {
        self.end = self.end.saturating_add(len).min(self.buffer.len());
    }

    /// Copies bytes in that were read elsewhere; returns how many found room. Earlier ranges are void.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let spare = self.spare();
        let len = bytes.len().min(spare.len());
        for (to, from) in spare.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.filled(len);
        len
    }

    /// The place of the next packet, without its length; `None` while it is not whole.
    ///
    /// # Errors
    /// [`StreamError`], again and again: the stream is of no more use.
    pub fn next_packet(&mut self) -> Result<Option<Range<usize>>, StreamError> {
        let Some(place) = first_packet(self.pending())? else { return Ok(None) };
        let place = self.start.saturating_add(place.start)..self.start.saturating_add(place.end);
        self.start = place.end;
        Ok(Some(place))
    }

    /// The bytes of a packet that [`Self::next_packet`] named, to be opened in place.
    pub fn packet(&mut self, place: Range<usize>) -> &mut [u8] {
        self.buffer.get_mut(place).unwrap_or_default()
    }

    /// What was read and is not cut into packets yet: for handing the stream on.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    fn compact(&mut self) {
        if self.start == 0 {
            return;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end = self.end.saturating_sub(self.start);
        self.start = 0;
    }
}

/// The place of the packet at the beginning of `stream`, without its length; `None` while it is not whole. For those who
/// read into a buffer of their own.
///
/// # Errors
/// [`StreamError`]: the stream is of no more use.
pub fn first_packet(stream: &[u8]) -> Result<Option<Range<usize>>, StreamError> {
    let Some((length, rest)) = stream.split_first_chunk::<LENGTH>() else { return Ok(None) };
    match usize::from(u16::from_be_bytes(*length)) {
        0 => Err(StreamError::Empty),
        long if long > limits::STREAM_PACKET => Err(StreamError::Long(long)),
        missing if missing > rest.len() => Ok(None),
        length => Ok(Some(LENGTH..LENGTH.saturating_add(length))),
    }
}

/// How far it is; not what was read.
impl fmt::Debug for Framer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framer").field("capacity", &self.buffer.len()).field("pending", &self.pending().len()).finish()
    }
}

/// The two bytes that go before `payload` in the stream.
///
/// # Errors
/// [`StreamError`]: nothing, or more than [`limits::STREAM_PACKET`], which a peer would take for the end of the stream.
pub fn frame_length(payload: &[u8]) -> Result<[u8; LENGTH], StreamError> {
    match payload.len() {
        0 => Err(StreamError::Empty),
        len if len > limits::STREAM_PACKET => Err(StreamError::Long(len)),
        len => u16::try_from(len).map(u16::to_be_bytes).map_err(|_| StreamError::Long(len)),
    }
}
