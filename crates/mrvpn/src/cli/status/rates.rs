//! Bytes a second of each tunnel, from two readings of its counters. The counters themselves are in the status document.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mrvpn_engine::Status;

/// 200 ms: readings closer together say nothing.
const SHORTEST: Duration = Duration::from_millis(200);

/// What one tunnel carries now, in bytes a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Rate {
    /// Its name.
    pub(in crate::cli) tunnel: String,
    /// Received.
    pub(in crate::cli) rx: u64,
    /// Sent.
    pub(in crate::cli) tx: u64,
}

/// The reading before.
#[derive(Debug, Default)]
pub(super) struct Readings {
    at: Option<Instant>,
    counters: BTreeMap<String, (u64, u64)>,
}

impl Readings {
    /// The rates since the reading before; none at the first one.
    pub(super) fn take(&mut self, status: &Status, now: Instant) -> Vec<Rate> {
        let between = self.at.map(|at| now.saturating_duration_since(at));
        if between.is_some_and(|between| between < SHORTEST) {
            return Vec::new();
        }
        let counted = |tunnel: &mrvpn_engine::TunnelStatus| (tunnel.name.clone(), (tunnel.rx_bytes, tunnel.tx_bytes));
        let before = std::mem::replace(&mut self.counters, status.tunnels.iter().map(counted).collect());
        self.at = Some(now);
        let Some(between) = between else { return Vec::new() };
        let rate = |(tunnel, (rx, tx)): (&String, &(u64, u64))| {
            let (rx_before, tx_before) = before.get(tunnel)?;
            let each = |bytes: u64, before: &u64| per_second(bytes.checked_sub(*before)?, between);
            Some(Rate { tunnel: tunnel.clone(), rx: each(*rx, rx_before)?, tx: each(*tx, tx_before)? })
        };
        self.counters.iter().filter_map(rate).collect()
    }
}

fn per_second(bytes: u64, time: Duration) -> Option<u64> {
    let nanos = u128::from(bytes).checked_mul(1_000_000_000)?.checked_div(time.as_nanos())?;
    u64::try_from(nanos).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::summary::samples;

    #[test]
    fn a_rate_is_the_difference_over_the_time_and_a_counter_that_began_anew_has_none() {
        let (mut readings, start) = (Readings::default(), Instant::now());
        let mut status = samples::up();
        assert_eq!(readings.take(&status, start), []);
        status.tunnels[0].rx_bytes += 3000;
        status.tunnels[0].tx_bytes += 500;
        status.tunnels[1].rx_bytes = 0;
        assert_eq!(readings.take(&status, start + Duration::from_millis(100)), [], "too soon");
        let rates = readings.take(&status, start + Duration::from_millis(500));
        assert_eq!(rates, [Rate { tunnel: String::from("uk"), rx: 6000, tx: 1000 }]);
    }
}
