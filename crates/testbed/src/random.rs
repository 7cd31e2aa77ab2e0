//! Random moments of a test that can be had again: the seed is printed, and `MRVPN_SEED` sets it.

use std::{
    env,
    time::{Duration, SystemTime},
};

/// A generator (SplitMix64, Steele, Lea and Flood 2014); good enough to spread moments.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// With the seed `MRVPN_SEED`, else one of the clock; it is printed either way.
    ///
    /// # Panics
    /// When `MRVPN_SEED` is no number.
    #[must_use]
    #[track_caller]
    #[allow(clippy::print_stderr, reason = "a failed test must be run again with the same seed")]
    pub fn seeded(test: &str) -> Self {
        let clock = || {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            u64::from(now.subsec_nanos()) ^ now.as_secs()
        };
        let seed = match env::var("MRVPN_SEED") {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("MRVPN_SEED is no number: {text:?}")),
            Err(_) => clock(),
        };
        eprintln!("{test}: MRVPN_SEED={seed}");
        Self(seed)
    }

    /// A number below `end`; 0 where that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }

    /// A time shorter than `end`, in steps of 10 µs.
    pub fn time_below(&mut self, end: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(end.as_micros() / 10).unwrap_or(u64::MAX)) * 10)
    }
}
