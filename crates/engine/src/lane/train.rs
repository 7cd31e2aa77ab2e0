//! Trains: sealed datagrams of one tunnel, back to back, that leave with one system call (`UDP_SEGMENT`). All are
//! equally long, only the last may be shorter. A train belongs to one tunnel from its first datagram until it has left;
//! nothing here seals or sends. [`mod@super::split`] fills the room, `datapath.rs` sends the train off.

use mrvpn_router::TunnelId;

use super::limits::{TRAIN_BYTES, TRAIN_DATAGRAMS, TRAINS};

/// Sealed datagrams of one tunnel, ready to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Train<'a> {
    bytes: &'a [u8],
    stride: usize,
}

impl<'a> Train<'a> {
    /// The datagrams in `bytes`, each `stride` bytes long but the last, which may be shorter. A stride of 0 is one of
    /// the whole length.
    #[must_use]
    pub const fn new(bytes: &'a [u8], stride: usize) -> Self {
        Self { bytes, stride: if stride == 0 { bytes.len() } else { stride } }
    }

    /// One datagram.
    #[must_use]
    pub const fn single(datagram: &'a [u8]) -> Self {
        Self::new(datagram, 0)
    }

    /// All datagrams, back to back.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes from the beginning of one datagram to the next.
    #[must_use]
    pub const fn stride(&self) -> usize {
        self.stride
    }

    /// The datagrams one by one.
    pub fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.bytes.chunks(self.stride.max(1))
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        if self.stride == 0 { 0 } else { self.bytes.len().div_ceil(self.stride) }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// A train being put together: frames with room for the seal in front of each packet.
#[derive(Debug)]
pub struct OpenTrain {
    buffer: Box<[u8]>,
    tunnel: TunnelId,
    stride: usize,
    filled: usize,
    frames: usize,
    /// Whether the last frame was shorter than the others: nothing may follow it.
    closed: bool,
    /// When it was begun, by count: the oldest leaves first when all are taken.
    begun: u64,
}

impl OpenTrain {
    fn new() -> Self {
        let buffer = vec![0; TRAIN_BYTES].into_boxed_slice();
        Self { buffer, tunnel: TunnelId::new(0), stride: 0, filled: 0, frames: 0, closed: false, begun: 0 }
    }

    /// Whose it is.
    #[must_use]
    pub const fn tunnel(&self) -> TunnelId {
        self.tunnel
    }

    /// The frames and the distance from one to the next.
    pub fn frames(&mut self) -> (&mut [u8], usize) {
        (&mut self.buffer[..self.filled], self.stride)
    }

    /// How many frames there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.frames
    }

    /// Whether it has no frame: then it is nobody's.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Forgets its frames.
    pub const fn clear(&mut self) {
        self.filled = 0;
        self.frames = 0;
        self.closed = false;
    }

    /// Whether a frame of `length` bytes may follow.
    const fn takes(&self, length: usize) -> bool {
        !self.closed && length <= self.stride && self.frames < TRAIN_DATAGRAMS && self.filled + length <= TRAIN_BYTES
    }
}

/// The trains of one lane: a few, shared by all tunnels.
#[derive(Debug)]
pub struct Trains {
    open: [OpenTrain; TRAINS],
    begun: u64,
}

/// Where the next frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Berth {
    /// Onto this train.
    On(usize),
    /// Nowhere yet: this train must leave first.
    After(usize),
}

impl Trains {
    /// All of them empty.
    #[must_use]
    pub fn new() -> Self {
        Self { open: std::array::from_fn(|_| OpenTrain::new()), begun: 0 }
    }

    /// Where a frame of `length` bytes (at most [`TRAIN_BYTES`]) of `tunnel` goes. The order of a tunnel's frames is
    /// kept: what does not fit behind the others waits until they have left.
    #[must_use]
    pub fn berth(&self, tunnel: TunnelId, length: usize) -> Berth {
        let mine = self.open.iter().position(|train| !train.is_empty() && train.tunnel == tunnel);
        match mine {
            Some(index) if self.open[index].takes(length) => Berth::On(index),
            Some(index) => Berth::After(index),
            None => self.free(),
        }
    }

    /// An empty train, or the oldest, which must leave.
    fn free(&self) -> Berth {
        if let Some(index) = self.open.iter().position(OpenTrain::is_empty) {
            return Berth::On(index);
        }
        let oldest = (0..TRAINS).min_by_key(|index| self.open[*index].begun);
        Berth::After(oldest.unwrap_or(0))
    }

    /// Room for one more frame of `length` bytes on train `index`, as [`Trains::berth`] said.
    pub fn append(&mut self, index: usize, tunnel: TunnelId, length: usize) -> &mut [u8] {
        let train = &mut self.open[index];
        if train.is_empty() {
            train.tunnel = tunnel;
            train.stride = length;
            self.begun += 1;
            train.begun = self.begun;
        }
        train.closed = length < train.stride;
        let start = train.filled;
        train.filled += length;
        train.frames += 1;
        &mut train.buffer[start..train.filled]
    }

    /// The train of this number.
    pub const fn train(&mut self, index: usize) -> &mut OpenTrain {
        &mut self.open[index]
    }

    /// The train that was begun first of those that have frames.
    #[must_use]
    pub fn oldest(&self) -> Option<usize> {
        (0..TRAINS).filter(|index| !self.open[*index].is_empty()).min_by_key(|index| self.open[*index].begun)
    }
}

impl Default for Trains {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UK: TunnelId = TunnelId::new(0);
    const FR: TunnelId = TunnelId::new(1);

    /// Puts a frame onto its train; what had to leave is returned as (tunnel, lengths of its frames).
    fn put(trains: &mut Trains, tunnel: TunnelId, length: usize) -> Vec<(TunnelId, Vec<usize>)> {
        let mut left = Vec::new();
        loop {
            match trains.berth(tunnel, length) {
                Berth::On(index) => {
                    assert_eq!(trains.append(index, tunnel, length).len(), length);
                    return left;
                }
                Berth::After(index) => left.push(leave(trains, index)),
            }
        }
    }

    fn leave(trains: &mut Trains, index: usize) -> (TunnelId, Vec<usize>) {
        let train = trains.train(index);
        let tunnel = train.tunnel();
        let (bytes, stride) = train.frames();
        let lengths = Train::new(bytes, stride).datagrams().map(<[u8]>::len).collect();
        train.clear();
        (tunnel, lengths)
    }

    #[test]
    fn packets_of_equal_size_share_a_train_and_a_shorter_one_ends_it() {
        let mut trains = Trains::new();
        for length in [100, 100, 60] {
            assert!(put(&mut trains, UK, length).is_empty());
        }
        assert_eq!(put(&mut trains, UK, 60), vec![(UK, vec![100, 100, 60])]);
        assert_eq!(put(&mut trains, UK, 61), vec![(UK, vec![60])]);
    }

    #[test]
    fn two_tunnels_never_share_a_train() {
        let mut trains = Trains::new();
        for _ in 0..10 {
            assert!(put(&mut trains, UK, 100).is_empty());
            assert!(put(&mut trains, FR, 100).is_empty());
        }
        let first = trains.oldest().unwrap();
        assert_eq!(leave(&mut trains, first), (UK, vec![100; 10]));
        let second = trains.oldest().unwrap();
        assert_eq!(leave(&mut trains, second), (FR, vec![100; 10]));
        assert_eq!(trains.oldest(), None);
    }

    #[test]
    fn the_oldest_train_leaves_when_all_are_taken() {
        let mut trains = Trains::new();
        let tunnels = u16::try_from(TRAINS).unwrap();
        for number in 0..tunnels {
            assert!(put(&mut trains, TunnelId::new(number), 50).is_empty());
        }
        assert_eq!(put(&mut trains, TunnelId::new(tunnels), 50), vec![(TunnelId::new(0), vec![50])]);
    }

    #[test]
    fn a_train_has_at_most_64_datagrams() {
        let mut trains = Trains::new();
        for _ in 0..TRAIN_DATAGRAMS {
            assert!(put(&mut trains, UK, 76).is_empty());
        }
        assert_eq!(put(&mut trains, UK, 76), vec![(UK, vec![76; TRAIN_DATAGRAMS])]);
    }

    #[test]
    fn a_train_is_no_longer_than_one_udp_payload() {
        let mut trains = Trains::new();
        let fits = TRAIN_BYTES / 1424;
        for _ in 0..fits {
            assert!(put(&mut trains, UK, 1424).is_empty());
        }
        assert_eq!(put(&mut trains, UK, 1424), vec![(UK, vec![1424; fits])]);
    }
}
