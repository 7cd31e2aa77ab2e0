//! Which worker carries which client: one table that the control thread writes and all workers read, a number a look and
//! no lock. A look that is a moment old sends a packet to a worker that does not know its client, which drops it.

use std::sync::atomic::{AtomicU32, Ordering};

use mrvpn_proto::PeerId;

/// Nobody.
const NOBODY: u32 = 0;

/// Who carries a client, and which of the region's clients it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its place in the pool, by which workers name it.
    pub(crate) place: u16,
    /// Its worker.
    pub(crate) worker: u8,
}

impl Entry {
    const fn packed(self) -> u32 {
        1 << 24 | (self.worker as u32) << 16 | self.place as u32
    }

    const fn unpacked(packed: u32) -> Option<Self> {
        if packed == NOBODY {
            return None;
        }
        let [low, high, worker, _] = packed.to_le_bytes();
        Some(Self { place: u16::from_le_bytes([low, high]), worker })
    }
}

/// The table.
#[derive(Debug)]
pub(crate) struct Directory {
    /// By place.
    places: Box<[AtomicU32]>,
    /// By listener, then by peer id.
    peers: Box<[Box<[AtomicU32]>]>,
}

impl Directory {
    /// A table for so many places, and for peer ids below `peers` on each of so many listeners.
    pub(crate) fn new(places: u16, listeners: usize, peers: u32) -> Self {
        let empty = |count: usize| (0..count).map(|_| AtomicU32::new(NOBODY)).collect();
        Self { places: empty(usize::from(places)), peers: (0..listeners).map(|_| empty(peers as usize)).collect() }
    }

    /// Who carries the client of this place.
    pub(crate) fn of_place(&self, place: u16) -> Option<Entry> {
        Entry::unpacked(self.places.get(usize::from(place))?.load(Ordering::Acquire))
    }

    /// Who carries the client of this peer id.
    pub(crate) fn of_peer(&self, listener: usize, peer: PeerId) -> Option<Entry> {
        let [a, b, c] = peer.bytes();
        let number = u32::from_be_bytes([0, a, b, c]);
        Entry::unpacked(self.peers.get(listener)?.get(number as usize)?.load(Ordering::Acquire))
    }

    /// Writes a client in.
    pub(crate) fn enter(&self, listener: usize, peer: u32, entry: Entry) {
        self.set(listener, peer, entry.place, entry.packed());
    }

    /// Strikes it out.
    pub(crate) fn strike(&self, listener: usize, peer: u32, place: u16) {
        self.set(listener, peer, place, NOBODY);
    }

    fn set(&self, listener: usize, peer: u32, place: u16, value: u32) {
        if let Some(slot) = self.peers.get(listener).and_then(|peers| peers.get(peer as usize)) {
            slot.store(value, Ordering::Release);
        }
        if let Some(slot) = self.places.get(usize::from(place)) {
            slot.store(value, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_found_by_its_place_and_on_its_listener_alone_by_its_peer_id() {
        let directory = Directory::new(10, 2, 16);
        let entry = Entry { place: 9, worker: 7 };
        directory.enter(1, 3, entry);
        let peer = |number| PeerId::new(number).unwrap();
        assert_eq!(directory.of_place(9), Some(entry));
        assert_eq!(directory.of_peer(1, peer(3)), Some(entry));
        assert_eq!(directory.of_peer(0, peer(3)), None);
        directory.strike(1, 3, 9);
        assert_eq!((directory.of_place(9), directory.of_peer(1, peer(3))), (None, None));
    }

    #[test]
    fn what_lies_outside_of_the_table_is_nobody() {
        let directory = Directory::new(1, 1, 1);
        assert_eq!(directory.of_place(1), None);
        assert_eq!(directory.of_peer(0, PeerId::new(0xff_ffff).unwrap()), None);
        directory.enter(0, 9, Entry { place: 9, worker: 0 });
    }
}
