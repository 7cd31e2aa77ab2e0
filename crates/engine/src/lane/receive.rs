//! Where received datagrams lie: one storage, filled by a few receive calls' worth of slots, opened and translated in
//! place. It neither receives nor opens; the [`super::LaneIo`] fills it and `datapath.rs` empties it.

use std::ops::Range;

use mrvpn_proto::limits::STREAM_PACKET;

use super::limits::{RECEIVE_BYTES, RECEIVE_SLOTS, RECEIVE_SLOTS_JOINED, STREAM_READ};

/// Bytes from one slot to the next. Not a power of two: short datagrams at the beginning of each slot would else all
/// fall into the same lines of the cache.
const PITCH: usize = RECEIVE_BYTES + 1_536;

/// Room for one receive call. The default has none: it stands in while the real one is in use.
#[derive(Debug, Default)]
pub struct ReceiveBatch {
    storage: Box<[u8]>,
    runs: Vec<Run>,
    /// Whether the kernel joined datagrams at the last call.
    joined: bool,
    /// Whether a stream has filled its whole space.
    space_full: bool,
}

/// One filled slot: a datagram, or several of equal length that the kernel joined (the last may be shorter).
#[derive(Clone, Copy, Debug)]
pub struct Run {
    start: usize,
    length: usize,
    stride: usize,
}

impl Run {
    /// The datagrams, as ranges of the storage.
    pub fn datagrams(self) -> impl Iterator<Item = Range<usize>> {
        let end = self.start + self.length;
        let first = self.start..end.min(self.start + self.stride);
        std::iter::successors(Some(first), move |last| {
            (last.end < end).then(|| last.end..end.min(last.end + self.stride))
        })
    }
}

impl ReceiveBatch {
    /// All slots, empty: 2 MiB.
    #[must_use]
    pub fn new() -> Self {
        let storage = vec![0; PITCH * RECEIVE_SLOTS].into_boxed_slice();
        Self { storage, runs: Vec::with_capacity(RECEIVE_SLOTS), joined: false, space_full: false }
    }

    /// The slots to be filled, in order, each [`RECEIVE_BYTES`] long.
    pub fn slots(&mut self) -> impl ExactSizeIterator<Item = &mut [u8]> {
        let offered = self.offered();
        self.storage.chunks_exact_mut(PITCH).take(offered).map(|slot| &mut slot[..RECEIVE_BYTES])
    }

    /// How many slots there are: fewer while the kernel joins datagrams, for the cache's sake.
    #[must_use]
    pub const fn offered(&self) -> usize {
        if self.joined { RECEIVE_SLOTS_JOINED } else { RECEIVE_SLOTS }
    }

    /// Says that the next slot holds `length` bytes: datagrams of `stride` bytes each. What does not fit a slot is cut.
    pub fn filled(&mut self, length: usize, stride: usize) {
        let start = self.runs.len() * PITCH;
        let length = length.min(RECEIVE_BYTES);
        self.runs.push(Run { start, length, stride: if stride == 0 { length.max(1) } else { stride } });
    }

    /// Room of [`STREAM_READ`] bytes and one packet for the bytes of a stream, instead of slots. Its packets are then
    /// told by [`Self::packet`].
    pub fn space(&mut self) -> &mut [u8] {
        self.storage.get_mut(..STREAM_READ + STREAM_PACKET).unwrap_or_default()
    }

    /// Says where in the space the next packet of the stream lies.
    pub fn packet(&mut self, place: Range<usize>) {
        self.runs.push(Run { start: place.start, length: place.len(), stride: place.len().max(1) });
    }

    /// Says that the stream may have more than what fitted into the space.
    pub const fn has_more(&mut self) {
        self.space_full = true;
    }

    /// Whether there was no room for more.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.space_full || self.runs.len() == self.offered()
    }

    /// Copies one datagram into the next slot; `false` when all slots are filled. For an I/O that has its datagrams
    /// already.
    pub fn push(&mut self, datagram: &[u8]) -> bool {
        let next = self.runs.len();
        let Some(slot) = self.slots().nth(next).and_then(|slot| slot.get_mut(..datagram.len())) else { return false };
        slot.copy_from_slice(datagram);
        self.filled(datagram.len(), datagram.len());
        true
    }

    /// Empties all slots for the next call, and remembers how the last one went.
    pub fn clear(&mut self) {
        let joined = self.runs.iter().any(|run| run.length > run.stride);
        // Few single datagrams between joined ones change nothing: the slots were enough for them.
        self.joined = joined || (self.joined && !self.is_full());
        self.runs.clear();
        self.space_full = false;
    }

    /// The storage and what it holds.
    pub fn contents(&mut self) -> (&mut [u8], &[Run]) {
        (&mut self.storage, &self.runs)
    }

    /// Whether the kernel joined datagrams at the last call that brought some.
    #[must_use]
    pub const fn joins(&self) -> bool {
        self.joined
    }

    /// Says whether the kernel is going to join datagrams of the socket that is read next. A batch that goes from one socket
    /// to another would else offer 2 MiB to the one that joins, as soon as the other does not.
    pub const fn expect_joined(&mut self, joined: bool) {
        self.joined = joined;
    }

    /// How many bytes were received.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.runs.iter().map(|run| run.length).sum()
    }

    /// How many slots are filled.
    #[must_use]
    pub fn count(&self) -> usize {
        self.runs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(batch: &mut ReceiveBatch) -> Vec<usize> {
        let (_, runs) = batch.contents();
        runs.iter().flat_map(|run| run.datagrams()).map(|range| range.len()).collect()
    }

    #[test]
    fn a_joined_run_is_taken_apart() {
        let mut batch = ReceiveBatch::new();
        batch.filled(2500, 1000);
        batch.filled(40, 40);
        batch.filled(2000, 1000);
        assert_eq!(lengths(&mut batch), [1000, 1000, 500, 40, 1000, 1000]);
    }

    #[test]
    fn an_empty_datagram_is_one_datagram() {
        let mut batch = ReceiveBatch::new();
        batch.filled(0, 0);
        assert_eq!(lengths(&mut batch), [0]);
    }

    #[test]
    fn packets_of_a_stream_lie_where_they_were_read() {
        let mut batch = ReceiveBatch::new();
        batch.space()[..7].copy_from_slice(&[0, 2, 1, 2, 0, 1, 3]);
        batch.packet(2..4);
        batch.packet(6..7);
        assert!(!batch.is_full());
        batch.has_more();
        assert!(batch.is_full());
        let (storage, runs) = batch.contents();
        let packets: Vec<&[u8]> = runs.iter().flat_map(|run| run.datagrams()).map(|range| &storage[range]).collect();
        assert_eq!(packets, [&[1, 2][..], &[3]]);
        batch.clear();
        assert!(!batch.is_full());
    }

    #[test]
    fn fewer_slots_are_offered_while_the_kernel_joins() {
        let mut batch = ReceiveBatch::new();
        assert_eq!(batch.slots().len(), RECEIVE_SLOTS);
        batch.filled(2000, 1000);
        batch.clear();
        assert_eq!(batch.slots().len(), RECEIVE_SLOTS_JOINED);
        batch.filled(1000, 1000);
        batch.clear();
        assert_eq!(batch.slots().len(), RECEIVE_SLOTS_JOINED);
        (0..RECEIVE_SLOTS_JOINED).for_each(|_| batch.filled(1000, 1000));
        batch.clear();
        assert_eq!(batch.slots().len(), RECEIVE_SLOTS);
    }

    #[test]
    fn what_one_socket_brought_says_nothing_of_the_next() {
        let mut batch = ReceiveBatch::new();
        batch.filled(1000, 1000);
        batch.clear();
        assert!(!batch.joins());
        batch.expect_joined(true);
        assert_eq!(batch.slots().len(), RECEIVE_SLOTS_JOINED);
    }

    #[test]
    fn a_copied_datagram_lies_in_its_own_slot() {
        let mut batch = ReceiveBatch::new();
        while batch.push(&[u8::try_from(batch.count()).unwrap(); 9]) {}
        assert_eq!(batch.count(), RECEIVE_SLOTS);
        let (storage, runs) = batch.contents();
        let firsts: Vec<u8> = runs.iter().map(|run| storage[run.datagrams().next().unwrap()][0]).collect();
        assert_eq!(firsts, (0..u8::try_from(RECEIVE_SLOTS).unwrap()).collect::<Vec<_>>());
    }
}
