//! The sliding window that lets every packet id through once (openvpn-protocol.md section 6.7; OpenVPN `packet_id.c`):
//! the short form of data packets and the long form, with a time, of wrapped control packets. It only judges ids;
//! whoever asks has authenticated the packet first.
//!
//! OpenVPN closes holes older than 15 s in a walk every 5 s. Here the walk is made when a late packet comes, so that
//! packets in order cost one store.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use mrvpn_clock::Moment;

use crate::ids::PacketId;
use crate::limits;

/// A window of `WIDTH` packet ids below and including the highest seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplayWindow<const WIDTH: usize> {
    /// Highest id accepted; 0 before the first.
    highest: u32,
    /// When the id of each slot (id modulo `WIDTH`) was seen.
    seen: [Seen; WIDTH],
}

/// Second at which an id was seen, plus 1; 0 is unseen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen(u32);

impl Seen {
    const NEVER: Self = Self(0);

    fn at(now: Moment) -> Self {
        let seconds = now.as_nanos() / 1_000_000_000;
        Self(u32::try_from(seconds).unwrap_or(u32::MAX).saturating_add(1))
    }

    const fn is_older_than(self, seconds: u32, now: Self) -> bool {
        self.0 != 0 && now.0.saturating_sub(self.0) > seconds
    }
}

impl<const WIDTH: usize> ReplayWindow<WIDTH> {
    /// An empty window.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(WIDTH >= 64, "threats-and-faults.md T-04: at least 64 wide") };
        Self { highest: 0, seen: [Seen::NEVER; WIDTH] }
    }

    /// Whether `id` would be accepted. Changes nothing.
    #[must_use]
    pub fn would_accept(&self, id: PacketId, now: Moment) -> bool {
        let Some(behind) = self.highest.checked_sub(id.get()) else { return true };
        if usize::try_from(behind).is_ok_and(|behind| behind < WIDTH) && self.slot(id.get()) == Seen::NEVER {
            return !self.is_closed(behind, Seen::at(now));
        }
        false
    }

    /// Accepts `id` once: marks it and returns true, or returns false and changes nothing.
    pub fn accept(&mut self, id: PacketId, now: Moment) -> bool {
        if !self.would_accept(id, now) {
            return false;
        }
        if id.get() > self.highest {
            self.advance(id.get());
        }
        self.mark(id.get(), Seen::at(now));
        true
    }

    /// Whether the hole `behind` ids below the highest is closed: a newer one was seen more than 15 s ago.
    fn is_closed(&self, behind: u32, now: Seen) -> bool {
        (0..behind).any(|newer| {
            let id = self.highest.saturating_sub(newer);
            self.slot(id).is_older_than(limits::REPLAY_SECONDS, now)
        })
    }

    fn advance(&mut self, to: u32) {
        let jump = usize::try_from(to.saturating_sub(self.highest)).unwrap_or(usize::MAX);
        if jump >= WIDTH {
            self.seen = [Seen::NEVER; WIDTH];
        } else {
            for id in self.highest.saturating_add(1)..=to {
                self.mark(id, Seen::NEVER);
            }
        }
        self.highest = to;
    }

    fn slot(&self, id: u32) -> Seen {
        self.seen.get(Self::index(id)).copied().unwrap_or(Seen::NEVER)
    }

    fn mark(&mut self, id: u32, seen: Seen) {
        if let Some(slot) = self.seen.get_mut(Self::index(id)) {
            *slot = seen;
        }
    }

    fn index(id: u32) -> usize {
        usize::try_from(id).unwrap_or(0).checked_rem(WIDTH).unwrap_or(0)
    }
}

impl<const WIDTH: usize> Default for ReplayWindow<WIDTH> {
    fn default() -> Self {
        Self::new()
    }
}

/// The replay fields of a wrapped control packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Number of the datagram within its second.
    pub id: PacketId,
    /// Second of the sender's first packet; its clock need not agree with ours.
    pub time: u32,
}

/// The long form: a later time begins a new window, an earlier one is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StampWindow {
    time: u32,
    window: ReplayWindow<{ limits::CONTROL_REPLAY_WINDOW }>,
}

impl StampWindow {
    /// Whether a packet with this stamp would be accepted. Changes nothing.
    #[must_use]
    pub fn would_accept(&self, stamp: Stamp, now: Moment) -> bool {
        match stamp.time.cmp(&self.time) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => self.window.would_accept(stamp.id, now),
            std::cmp::Ordering::Greater => true,
        }
    }

    /// Accepts a stamp once, or returns false and changes nothing.
    pub fn accept(&mut self, stamp: Stamp, now: Moment) -> bool {
        if stamp.time > self.time {
            *self = Self { time: stamp.time, window: ReplayWindow::new() };
        }
        stamp.time == self.time && self.window.accept(stamp.id, now)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn id(number: u32) -> PacketId {
        PacketId::new(number).unwrap()
    }

    /// The naive model: a set of all ids ever accepted.
    fn model_accepts(seen: &mut BTreeSet<u32>, id: u32, width: u32) -> bool {
        let highest = seen.last().copied().unwrap_or(0);
        let fits = highest.saturating_sub(id) < width;
        fits && seen.insert(id)
    }

    proptest! {
        // proves: T-04
        #[test]
        fn the_window_agrees_with_a_set_of_all_ids(
            steps in proptest::collection::vec((1u32..2_000, 0u32..3), 1..400),
        ) {
            let mut window = ReplayWindow::<64>::new();
            let mut seen = BTreeSet::new();
            let mut newest = 1u32;
            for (number, kind) in steps {
                let candidate = match kind {
                    0 => number,
                    1 => newest.saturating_add(number % 5),
                    _ => newest.saturating_add(3).saturating_sub(number % 80).max(1),
                };
                newest = newest.max(candidate);
                let expected = model_accepts(&mut seen, candidate, 64);
                prop_assert_eq!(window.accept(id(candidate), Moment::default()), expected);
            }
        }

        // proves: T-04
        #[test]
        fn asking_changes_nothing(ids in proptest::collection::vec(1u32..500, 1..100)) {
            let mut window = ReplayWindow::<64>::new();
            for number in ids {
                let before = window.clone();
                let answer = window.would_accept(id(number), Moment::default());
                prop_assert_eq!(&window, &before);
                prop_assert_eq!(window.accept(id(number), Moment::default()), answer);
                if !answer {
                    prop_assert_eq!(&window, &before);
                }
            }
        }
    }

    #[test]
    fn ids_up_to_the_last_are_accepted_once() {
        let mut window = ReplayWindow::<256>::new();
        assert!(window.accept(id(u32::MAX), Moment::default()));
        assert!(!window.accept(id(u32::MAX), Moment::default()));
        assert!(window.accept(id(u32::MAX - 255), Moment::default()));
        assert!(!window.accept(id(u32::MAX - 256), Moment::default()));
    }

    // proves: T-14
    #[test]
    fn a_jump_before_at_and_past_the_width_leaves_what_lies_within_it() {
        for jump in [62, 63, 64, 65, 127, 128, u32::MAX - 10] {
            let mut window = ReplayWindow::<64>::new();
            assert!((1..=10).all(|number| window.accept(id(number), Moment::default())));
            let high = 10 + jump;
            assert!(window.accept(id(high), Moment::default()), "{jump}");
            for number in BTreeSet::from([1, 10, 11, high - 64, high - 63, high - 1, high]) {
                let fresh = number > 10 && number < high && high - number < 64;
                assert_eq!(window.accept(id(number), Moment::default()), fresh, "{jump}: {number}");
            }
        }
    }

    #[test]
    fn a_hole_is_closed_16_seconds_after_a_newer_packet() {
        let second = |s| Moment::default() + Duration::from_secs(s);
        for (late, expected) in [(14, true), (15, true), (16, false)] {
            let mut window = ReplayWindow::<64>::new();
            assert!(window.accept(id(1), second(0)));
            assert!(window.accept(id(3), second(0)));
            assert_eq!(window.accept(id(2), second(late)), expected, "{late} s");
        }
    }
}
