//! When the interface is made anew after someone has deleted it: at once, but not without end. It is never given up: while it
//! is away, what is claimed is refused.

use std::collections::VecDeque;
use std::time::Duration;

use mrvpn_clock::Moment;

/// So many at once...
const BURST: usize = 5;
/// ...within 10 s; then there is a pause before each.
const WINDOW: Duration = Duration::from_secs(10);
/// 60 s: after so long without one it is as if there had been none.
const CALM: Duration = Duration::from_secs(60);
/// 1 s: the first pause; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// 30 s: the longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The rebuilds of late.
#[derive(Clone, Debug, Default)]
pub(super) struct Rebuilds {
    recent: VecDeque<Moment>,
    pause: Duration,
}

impl Rebuilds {
    /// When to rebuild an interface that is found gone at `now`.
    pub(super) fn next(&mut self, now: Moment) -> Moment {
        let calm = self.recent.back().is_none_or(|last| now.since(*last) >= CALM);
        let crowded = self.recent.len() == BURST && self.recent.front().is_some_and(|first| now.since(*first) < WINDOW);
        self.pause = match (calm, crowded || !self.pause.is_zero()) {
            (true, _) | (false, false) => Duration::ZERO,
            (false, true) => (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE),
        };
        if self.recent.len() == BURST {
            self.recent.pop_front();
        }
        let at = now + self.pause;
        self.recent.push_back(at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::default() + Duration::from_millis(millis)
    }

    #[test]
    fn five_rebuilds_in_ten_seconds_are_at_once_and_then_there_are_pauses_without_end() {
        let mut rebuilds = Rebuilds::default();
        for now in [0, 10, 20, 30, 40] {
            assert_eq!(rebuilds.next(at(now)), at(now));
        }
        let mut now = at(50);
        for pause in [1, 2, 4, 8, 16, 30, 30, 30] {
            let next = rebuilds.next(now);
            assert_eq!(next.since(now), Duration::from_secs(pause));
            now = next;
        }
    }

    #[test]
    fn a_minute_without_one_makes_the_next_one_an_immediate_one() {
        let mut rebuilds = Rebuilds::default();
        let last = (0..10).fold(at(0), |now, _| rebuilds.next(now));
        let almost = last + Duration::from_millis(59_999);
        assert_ne!(rebuilds.clone().next(almost), almost);
        let calm = last + Duration::from_secs(60);
        assert_eq!(rebuilds.next(calm), calm);
    }

    #[test]
    fn one_now_and_then_is_always_at_once() {
        let mut rebuilds = Rebuilds::default();
        for now in (0..100).map(|count| at(count * 2_500)) {
            assert_eq!(rebuilds.next(now), now);
        }
    }
}
