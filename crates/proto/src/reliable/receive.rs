//! Messages from the peer, put in order (openvpn-protocol.md section 3.2): each is delivered once, in order; those up
//! to 12 ahead are kept, those further ahead are dropped.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::collections::BTreeMap;

use crate::ids::MessageId;
use crate::limits;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Taken; acknowledge it.
    New,
    /// Had before; acknowledge it again, or the peer repeats it for ever.
    Duplicate,
    /// Too far ahead; no acknowledgement.
    Ahead,
}

/// The next message expected, and those that came before their turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiveWindow {
    next: MessageId,
    /// Payloads by how far they lie behind `base`, so that the order holds over the end of the numbers.
    waiting: BTreeMap<u32, Vec<u8>>,
    /// Numbers are kept relative to this.
    base: MessageId,
}

impl ReceiveWindow {
    /// A window that expects the reset first.
    #[must_use]
    pub const fn new() -> Self {
        Self::starting_at(MessageId::RESET)
    }

    const fn starting_at(next: MessageId) -> Self {
        Self { next, waiting: BTreeMap::new(), base: next }
    }

    /// The number of the next message in order.
    #[must_use]
    pub const fn next(&self) -> MessageId {
        self.next
    }

    /// What [`Self::insert`] would say to `id`. Changes nothing.
    #[must_use]
    pub fn judge(&self, id: MessageId) -> Received {
        let ahead = id.distance_from(self.next);
        if ahead < limits::RECEIVE_WINDOW {
            let known = self.waiting.contains_key(&id.distance_from(self.base));
            return if known { Received::Duplicate } else { Received::New };
        }
        // Half of the numbers lie behind the next one, as in OpenVPN's comparison modulo 2^32.
        if ahead > u32::MAX / 2 { Received::Duplicate } else { Received::Ahead }
    }

    /// Takes a message, if it is new and fits.
    pub fn insert(&mut self, id: MessageId, payload: &[u8]) -> Received {
        let verdict = self.judge(id);
        if verdict == Received::New {
            self.waiting.insert(id.distance_from(self.base), payload.to_vec());
        }
        verdict
    }

    /// The next message in order, once.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        let payload = self.waiting.remove(&self.next.distance_from(self.base))?;
        self.next = self.next.next();
        if self.waiting.is_empty() {
            self.base = self.next;
        }
        Some(payload)
    }
}

impl Default for ReceiveWindow {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_in_order() {
        let mut window = ReceiveWindow::new();
        for id in [2, 0, 1] {
            assert_eq!(window.insert(MessageId::new(id), &[id as u8]), Received::New);
        }
        let delivered: Vec<Vec<u8>> = std::iter::from_fn(|| window.pop()).collect();
        assert_eq!(delivered, [[0], [1], [2]]);
    }

    #[test]
    fn a_message_is_taken_once() {
        let mut window = ReceiveWindow::new();
        assert_eq!(window.insert(MessageId::new(0), b"a"), Received::New);
        assert_eq!(window.insert(MessageId::new(0), b"b"), Received::Duplicate);
        assert_eq!(window.pop(), Some(b"a".to_vec()));
        assert_eq!(window.insert(MessageId::new(0), b"a"), Received::Duplicate);
        assert_eq!(window.pop(), None);
    }

    #[test]
    fn twelve_ahead_fit_and_the_thirteenth_does_not() {
        let mut window = ReceiveWindow::new();
        assert_eq!(window.insert(MessageId::new(10), b""), Received::New);
        assert_eq!(window.insert(MessageId::new(11), b""), Received::New);
        assert_eq!(window.insert(MessageId::new(12), b""), Received::Ahead);
    }

    #[test]
    fn the_window_goes_over_the_end_of_the_numbers() {
        let mut window = ReceiveWindow::starting_at(MessageId::new(u32::MAX));
        assert_eq!(window.insert(MessageId::new(1), b"c"), Received::New);
        assert_eq!(window.insert(MessageId::new(0), b"b"), Received::New);
        assert_eq!(window.insert(MessageId::new(u32::MAX), b"a"), Received::New);
        let delivered: Vec<u8> = std::iter::from_fn(|| window.pop()).flatten().collect();
        assert_eq!(delivered, b"abc");
        assert_eq!(window.judge(MessageId::new(u32::MAX)), Received::Duplicate);
    }
}
