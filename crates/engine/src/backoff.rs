//! When to try again: at once, then 1 s doubling to 60 s, each with a quarter of jitter either way
//! (threats-and-faults.md section 2). Not per remote: a tunnel has one.

use std::time::Duration;

/// First pause after the immediate retry.
const FIRST: Duration = Duration::from_secs(1);
/// Longest pause.
const LAST: Duration = Duration::from_secs(60);

/// The pauses of one tunnel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause before the next try. `random` is any number; it decides the jitter.
    pub(crate) fn next(&mut self, random: u32) -> Duration {
        let failures = self.failures;
        self.failures = self.failures.saturating_add(1);
        if failures == 0 {
            return Duration::ZERO;
        }
        let doublings = failures.saturating_sub(1).min(6);
        let pause = FIRST.saturating_mul(1_u32 << doublings).min(LAST);
        jittered(pause, random)
    }

    /// A session lasted: the next failure is retried at once again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// `pause` times 0.75 to 1.25.
fn jittered(pause: Duration, random: u32) -> Duration {
    let thousandths = 750_u32.saturating_add(random % 501);
    pause.saturating_mul(thousandths) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_retry_is_at_once_and_the_others_grow_to_a_minute() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(7), Duration::ZERO);
        let mut wanted = FIRST;
        for random in 0..20 {
            let pause = backoff.next(random * 31);
            assert!(pause >= wanted * 3 / 4 && pause <= wanted * 5 / 4, "{pause:?} for {wanted:?}");
            wanted = (wanted * 2).min(LAST);
        }
        backoff.reset();
        assert_eq!(backoff.next(0), Duration::ZERO);
    }
}
