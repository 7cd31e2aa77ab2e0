//! How many resets are answered: a server that answers every one helps whoever forges the sender (openvpn-protocol.md
//! section 3.5, `connect-freq-initial`; OpenVPN `reflect_filter.c`). An answer that a session follows is given back.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::time::Duration;

use mrvpn_clock::Moment;

/// Answers within the present stretch of time.
#[derive(Clone, Debug)]
pub(super) struct ResetRate {
    limit: Option<(u32, Duration)>,
    since: Moment,
    answered: u32,
}

impl ResetRate {
    pub(super) const fn new(limit: Option<(u32, Duration)>, now: Moment) -> Self {
        Self { limit, since: now, answered: 0 }
    }

    /// Whether one more reset may be answered; it then counts.
    pub(super) fn take(&mut self, now: Moment) -> bool {
        let Some((most, per)) = self.limit else { return true };
        if now.since(self.since) >= per {
            self.since = now;
            self.answered = 0;
        }
        let may = self.answered < most;
        self.answered = self.answered.saturating_add(u32::from(may));
        may
    }

    /// A session has followed an answer.
    pub(super) const fn give_back(&mut self) {
        self.answered = self.answered.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_the_limit_waits_for_the_next_stretch() {
        let at = |seconds| Moment::default() + Duration::from_secs(seconds);
        let mut rate = ResetRate::new(Some((3, Duration::from_secs(10))), at(0));
        assert_eq!([0, 1, 2, 3].map(|second| rate.take(at(second))), [true, true, true, false]);
        rate.give_back();
        assert_eq!([rate.take(at(4)), rate.take(at(9)), rate.take(at(10))], [true, false, true]);
    }
}
