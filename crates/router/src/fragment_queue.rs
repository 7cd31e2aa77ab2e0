//! Later fragments that came before their first: they wait here, whole, for a bounded time and in bounded number, and are
//! presented again when the first has shown which flow they belong to. None passes untranslated (T-77).

use std::collections::VecDeque;

use mrvpn_clock::Moment;

use crate::fragment_table::Datagram;
use crate::limits;

/// The waiting fragments of one direction, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct FragmentQueue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    released: VecDeque<(u32, Vec<u8>)>,
}

#[derive(Debug)]
struct Waiting {
    datagram: Datagram,
    since: Moment,
    packet: Vec<u8>,
}

impl FragmentQueue {
    /// Keeps a copy of `packet`; `false` if there is no room for one more of its owner.
    pub(crate) fn keep(&mut self, datagram: Datagram, packet: &[u8], now: Moment) -> bool {
        let of_owner = self.waiting.iter().filter(|other| other.datagram.owner == datagram.owner);
        let (count, bytes) = of_owner.fold((0_usize, packet.len()), |(count, bytes), other| {
            (count.saturating_add(1), bytes.saturating_add(other.packet.len()))
        });
        let all = self.bytes.saturating_add(packet.len());
        let room = count < limits::FRAGMENTS_WAITING
            && bytes <= limits::FRAGMENTS_WAITING_BYTES
            && all <= limits::FRAGMENTS_WAITING_ALL;
        if room {
            self.waiting.push_back(Waiting { datagram, since: now, packet: packet.to_vec() });
            self.bytes = all;
        }
        room
    }

    /// The first of this datagram is here: what waited for it may be presented again.
    pub(crate) fn release(&mut self, datagram: Datagram) {
        if self.waiting.is_empty() {
            return;
        }
        let (freed, kept) =
            std::mem::take(&mut self.waiting).into_iter().partition(|held: &Waiting| held.datagram == datagram);
        self.waiting = kept;
        let freed: VecDeque<Waiting> = freed;
        for held in freed {
            self.bytes = self.bytes.saturating_sub(held.packet.len());
            self.released.push_back((held.datagram.owner, held.packet));
        }
    }

    /// The next fragment that may be presented again, and its owner.
    pub(crate) fn poll(&mut self) -> Option<(u32, Vec<u8>)> {
        self.released.pop_front()
    }

    /// Takes out one whose wait is over, and says whose it was.
    pub(crate) fn expire(&mut self, now: Moment) -> Option<u32> {
        if self.deadline()? > now {
            return None;
        }
        let held = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(held.packet.len());
        Some(held.datagram.owner)
    }

    /// When the first wait is over.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        Some(self.waiting.front()?.since + limits::FRAGMENTED_LIFE)
    }
}
