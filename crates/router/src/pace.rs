//! How often a flow is answered with a refusal, or told an error that came through its tunnel: at most ten times in any
//! second. Refusals are paced by a table of fixed size without keys, since what is refused often has no flow; those that fall
//! into the same place share what it allows, which can only make answers rarer.

use mrvpn_clock::Moment;

use crate::limits;

/// What one flow may still be told: five at once, then five a second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowance {
    spent_until: Moment,
}

impl Allowance {
    /// Whether it may be told something now; if so, that is counted.
    pub(crate) fn take(&mut self, now: Moment) -> bool {
        // Each answer costs `REFUSAL_EVERY`; a burst may run that far ahead of time (the "virtual scheduling" of GCRA).
        let ahead = limits::REFUSAL_EVERY * (limits::REFUSAL_BURST - 1);
        if self.spent_until.since(now) > ahead {
            return false;
        }
        self.spent_until = self.spent_until.max(now) + limits::REFUSAL_EVERY;
        true
    }
}

/// What each place may still be told.
#[derive(Debug)]
pub(crate) struct Pace {
    places: Vec<Allowance>,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { places: vec![Allowance::default(); limits::REFUSAL_PLACES] }
    }

    /// Whether the flow with this hash may be answered now; if so, the answer is counted.
    pub(crate) fn allows(&mut self, hash: u64, now: Moment) -> bool {
        self.places[hash as usize % limits::REFUSAL_PLACES].take(now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flow_is_answered_at_most_ten_times_in_any_second() {
        let mut pace = Pace::new();
        let start = Moment::from_nanos(9_000_000_000);
        let answered: Vec<_> =
            (0..5_000).map(|ms| start + Duration::from_millis(ms)).filter(|now| pace.allows(7, *now)).collect();
        let second = Duration::from_secs(1);
        let within = |first: &Moment| answered.iter().filter(|at| **at >= *first && at.since(*first) <= second).count();
        assert_eq!(answered.iter().map(within).max(), Some(10));
        assert!(answered.len() >= 25);
    }

    #[test]
    fn flows_in_other_places_have_their_own_pace() {
        let mut pace = Pace::new();
        while pace.allows(1, Moment::default()) {}
        assert!(pace.allows(2, Moment::default()));
    }
}
