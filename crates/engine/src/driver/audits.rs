//! When to look whether the host is as it should be: a moment after something has changed, so that a burst of changes is one
//! look. Changes of our own ring as well; a look that finds nothing changes nothing, so that it ends there. What is done at
//! a look is the host thread's.

use std::time::Duration;

use mrvpn_clock::Moment;

/// 50 ms: how long it is quiet before the look.
const QUIET: Duration = Duration::from_millis(50);
/// 250 ms: how long a look is put off at most while it is not (threats-and-faults.md, F-21: put back within 500 ms).
const LATEST: Duration = Duration::from_millis(250);
/// 100 ms: from one look to the next at least.
const SPACING: Duration = Duration::from_millis(100);
/// A look is not followed by another for so many times as long as it took: on a host with very many routes that change all
/// the time, looking must not cost a core.
const REST: u32 = 10;
/// 5 s: the longest such rest.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// When the next look is due.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Audits {
    rung: Option<Rung>,
    not_before: Option<Moment>,
}

/// Something has changed since the last look.
#[derive(Clone, Copy, Debug)]
struct Rung {
    first: Moment,
    last: Moment,
}

impl Audits {
    /// Something has changed.
    pub(super) fn ring(&mut self, now: Moment) {
        let first = self.rung.map_or(now, |rung| rung.first);
        self.rung = Some(Rung { first, last: now });
    }

    /// When the next look is due.
    pub(super) fn due(&self) -> Option<Moment> {
        let Rung { first, last } = self.rung?;
        let due = (last + QUIET).min(first + LATEST);
        Some(self.not_before.map_or(due, |not_before| due.max(not_before)))
    }

    /// The look begins: what rings from now on asks for another.
    pub(super) fn begin(&mut self) {
        self.rung = None;
    }

    /// The look is over and took so long.
    pub(super) fn end(&mut self, took: Duration, now: Moment) {
        self.not_before = Some(now + (took * REST).clamp(SPACING, LONGEST_REST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::default() + Duration::from_millis(millis)
    }

    #[test]
    fn a_burst_of_changes_is_one_look_soon_after() {
        let mut audits = Audits::default();
        assert_eq!(audits.due(), None);
        audits.ring(at(0));
        assert_eq!(audits.due(), Some(at(50)));
        audits.ring(at(30));
        assert_eq!(audits.due(), Some(at(80)));
        audits.begin();
        assert_eq!(audits.due(), None);
    }

    #[test]
    fn a_look_is_put_off_for_a_quarter_of_a_second_at_most() {
        let mut audits = Audits::default();
        (0..20).for_each(|ring| audits.ring(at(ring * 40)));
        assert_eq!(audits.due(), Some(at(250)));
    }

    #[test]
    fn a_look_that_took_long_is_followed_by_a_rest() {
        for (took, next) in [(1, 100), (9, 100), (10, 100), (11, 110), (499, 4_990), (501, 5_000)] {
            let mut audits = Audits::default();
            audits.ring(at(0));
            audits.begin();
            audits.end(Duration::from_millis(took), at(1_000));
            audits.ring(at(1_000));
            assert_eq!(audits.due(), Some(at(1_000 + next)), "{took} ms");
        }
    }
}
