//! Which messages of the peer are to be acknowledged, and which were lately: every packet repeats the latest, so that a
//! lost one costs nothing (openvpn-protocol.md section 1.3; OpenVPN `reliable.c`, `copy_acks_to_mru`).

use std::collections::VecDeque;

use crate::ids::MessageId;
use crate::limits;

/// Pending acknowledgements, and the most recently sent ones, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AckBook {
    pending: VecDeque<MessageId>,
    recent: Vec<MessageId>,
}

impl AckBook {
    /// Notes that `id` is to be acknowledged. Those of a window fit; a peer who repeats itself faster than it is
    /// answered gains nothing.
    pub fn note(&mut self, id: MessageId) {
        if !self.pending.contains(&id) && self.pending.len() < 2 * limits::ACKS {
            self.pending.push_back(id);
        }
    }

    /// Whether something waits to be acknowledged.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The acknowledgements of the next packet, `most` at most: pending ones first, then the latest sent.
    pub fn take(&mut self, most: usize) -> Vec<MessageId> {
        let fresh: Vec<MessageId> = self.pending.drain(..most.min(self.pending.len())).collect();
        self.copy_to_recent(&fresh);
        self.recent.iter().copied().take(most).collect()
    }

    /// Moves `ids` to the front of the recent ones, in their order, each once, the first 8 kept.
    fn copy_to_recent(&mut self, ids: &[MessageId]) {
        let mut recent: Vec<MessageId> = Vec::with_capacity(limits::ACKS);
        for id in ids.iter().chain(&self.recent) {
            if recent.len() < limits::ACKS && !recent.contains(id) {
                recent.push(*id);
            }
        }
        self.recent = recent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[u32]) -> Vec<MessageId> {
        numbers.iter().copied().map(MessageId::new).collect()
    }

    #[test]
    fn recent_acknowledgements_are_repeated() {
        let mut book = AckBook::default();
        book.note(MessageId::new(1));
        book.note(MessageId::new(2));
        assert_eq!(book.take(4), ids(&[1, 2]));
        assert!(!book.is_pending());
        book.note(MessageId::new(3));
        assert_eq!(book.take(4), ids(&[3, 1, 2]));
    }

    #[test]
    fn what_does_not_fit_stays_pending() {
        let mut book = AckBook::default();
        (0..6).for_each(|id| book.note(MessageId::new(id)));
        assert_eq!(book.take(4), ids(&[0, 1, 2, 3]));
        assert!(book.is_pending());
        assert_eq!(book.take(4), ids(&[4, 5, 0, 1]));
    }

    #[test]
    fn the_recent_list_moves_as_openvpns_does() {
        let cases: [(&[u32], &[u32], &[u32]); 6] = [
            (&[], &[2, 1, 3, 2], &[2, 1, 3]),
            (&[2, 1, 3], &[2, 1, 3, 2], &[2, 1, 3]),
            (&[2, 1, 3], &[2, 1], &[2, 1, 3]),
            (&[2, 1, 3], &[3, 2], &[3, 2, 1]),
            (&[2, 1, 3], &[], &[2, 1, 3]),
            (&[2, 1, 3], &[5, 6, 7, 8, 9, 10, 11], &[5, 6, 7, 8, 9, 10, 11, 2]),
        ];
        for (start, fresh, result) in cases {
            let mut book = AckBook { pending: VecDeque::new(), recent: ids(start) };
            book.copy_to_recent(&ids(fresh));
            assert_eq!(book.recent, ids(result));
        }
    }
}
