//! Messages to the peer until they are acknowledged (openvpn-protocol.md sections 3.2 and 3.3): six in flight, sent
//! again after a measured wait that doubles, or at once when three later ones were acknowledged.

use std::collections::VecDeque;

use mrvpn_clock::Moment;

use super::RoundTrip;
use crate::ids::MessageId;
use crate::limits;
use crate::opcode::Opcode;

/// A message to put on the wire now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// The opcode that carries it.
    pub opcode: Opcode,
    /// Its number.
    pub id: MessageId,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// Messages that were queued and not yet acknowledged, in order.
#[derive(Clone, Debug, Default)]
pub struct SendQueue {
    next: u32,
    in_flight: VecDeque<Message>,
    trip: RoundTrip,
}

#[derive(Clone, Debug)]
struct Message {
    id: MessageId,
    opcode: Opcode,
    payload: Vec<u8>,
    transmissions: u32,
    sent: Moment,
    /// When it goes (again): at once for a new one.
    due: Moment,
    later_acks: u8,
}

impl SendQueue {
    /// An empty queue of the same connection, which keeps the measured round trip.
    #[must_use]
    pub fn successor(&self) -> Self {
        Self { trip: self.trip, ..Self::default() }
    }

    /// A queue whose reset went out without it.
    #[cfg(any(test, feature = "server"))]
    #[must_use]
    pub fn after_reset() -> Self {
        Self { next: 1, ..Self::default() }
    }

    /// How many more messages fit: 6 between the oldest unacknowledged and the next, as the peer keeps no more.
    #[must_use]
    pub fn room(&self) -> usize {
        let oldest = self.in_flight.front().map_or(self.next, |message| message.id.get());
        let used = usize::try_from(self.next.wrapping_sub(oldest)).unwrap_or(usize::MAX);
        limits::SEND_WINDOW.saturating_sub(used)
    }

    /// The number of the message that is queued next.
    #[must_use]
    pub const fn next(&self) -> MessageId {
        MessageId::new(self.next)
    }

    /// Whether everything queued was acknowledged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Queues a message; it goes at once. The caller has asked for [`Self::room`].
    pub fn push(&mut self, opcode: Opcode, payload: Vec<u8>, now: Moment) {
        let id = MessageId::new(self.next);
        self.next = self.next.wrapping_add(1);
        self.in_flight.push_back(Message { id, opcode, payload, transmissions: 0, sent: now, due: now, later_acks: 0 });
    }

    /// Takes acknowledgements; those of messages never sent or acknowledged before are ignored (2.6+ repeats them).
    pub fn acknowledge(&mut self, ids: &[MessageId], now: Moment) {
        for id in ids {
            let Some(place) = self.in_flight.iter().position(|m| m.id == *id && m.transmissions > 0) else { continue };
            if let Some(message) = self.in_flight.remove(place) {
                self.measure(&message, now);
            }
            self.count_later_ack(place, now);
        }
    }

    /// The next message that is due, marked as sent; call until `None`.
    pub fn transmit(&mut self, now: Moment) -> Option<Outgoing<'_>> {
        let trip = self.trip;
        let message = self.in_flight.iter_mut().find(|message| message.due <= now)?;
        message.transmissions = message.transmissions.saturating_add(1);
        message.sent = now;
        message.later_acks = 0;
        message.due = now + trip.patience(message.transmissions);
        Some(Outgoing { opcode: message.opcode, id: message.id, payload: &message.payload })
    }

    /// Makes everything unacknowledged due at once: the peer has just appeared (OpenVPN `ssl.c`, the burst).
    pub fn hasten(&mut self, now: Moment) {
        for message in &mut self.in_flight {
            message.due = now;
        }
    }

    /// When the next message is due.
    #[must_use]
    pub fn due(&self) -> Option<Moment> {
        self.in_flight.iter().map(|message| message.due).min()
    }

    fn measure(&mut self, message: &Message, now: Moment) {
        if message.transmissions == 1 {
            self.trip.measured(now.since(message.sent));
        }
    }

    /// A message behind the first `earlier` ones was acknowledged: each of those may be lost.
    fn count_later_ack(&mut self, earlier: usize, now: Moment) {
        for message in self.in_flight.iter_mut().take(earlier) {
            message.later_acks = message.later_acks.saturating_add(1);
            if message.later_acks >= limits::FAST_RETRANSMIT_ACKS {
                message.due = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Moment = Moment::from_nanos(0);

    fn at(millis: u64) -> Moment {
        START + Duration::from_millis(millis)
    }

    fn sent(queue: &mut SendQueue, now: Moment) -> Vec<u32> {
        std::iter::from_fn(|| queue.transmit(now).map(|out| out.id.get())).collect()
    }

    fn filled(count: usize) -> SendQueue {
        let mut queue = SendQueue::default();
        (0..count).for_each(|_| queue.push(Opcode::ControlV1, Vec::new(), START));
        queue
    }

    #[test]
    fn six_messages_fit_into_the_window() {
        for (count, room) in [(0, 6), (5, 1), (6, 0)] {
            assert_eq!(filled(count).room(), room);
        }
    }

    #[test]
    fn the_window_opens_at_the_oldest_message() {
        let mut queue = filled(6);
        sent(&mut queue, START);
        queue.acknowledge(&[MessageId::new(1), MessageId::new(2)], START);
        assert_eq!(queue.room(), 0);
        queue.acknowledge(&[MessageId::new(0)], START);
        assert_eq!(queue.room(), 3);
    }

    #[test]
    fn room_is_counted_over_the_end_of_the_numbers() {
        let cases = [(2_147_483_649, 2_147_483_645, 2), (u32::MAX - 1, u32::MAX - 3, 4), (3, u32::MAX - 1, 1)];
        for (next, oldest, room) in cases {
            let mut queue = SendQueue { next: oldest, ..SendQueue::default() };
            queue.push(Opcode::ControlV1, Vec::new(), START);
            queue.next = next;
            assert_eq!(queue.room(), room);
        }
    }

    #[test]
    fn an_unacknowledged_message_goes_again_and_waits_twice_as_long() {
        let mut queue = filled(1);
        assert_eq!(sent(&mut queue, at(0)), [0]);
        assert!(sent(&mut queue, at(999)).is_empty());
        assert_eq!(sent(&mut queue, at(1_000)), [0]);
        assert_eq!(queue.due(), Some(at(3_000)));
    }

    #[test]
    fn three_later_acknowledgements_send_a_message_at_once() {
        let mut queue = filled(4);
        sent(&mut queue, START);
        for id in [1, 2] {
            queue.acknowledge(&[MessageId::new(id)], at(10));
        }
        assert!(sent(&mut queue, at(10)).is_empty());
        queue.acknowledge(&[MessageId::new(3)], at(10));
        assert_eq!(sent(&mut queue, at(10)), [0]);
    }

    // proves: T-01
    #[test]
    fn acknowledgements_of_messages_never_sent_change_nothing() {
        let mut queue = filled(2);
        sent(&mut queue, START);
        queue.acknowledge(&[MessageId::new(7), MessageId::new(2), MessageId::new(u32::MAX)], START);
        assert_eq!(queue.room(), 4);
        assert!(!queue.is_empty());
    }
}
