//! The round-trip time as measured by acknowledgements, and the wait before a retransmission that follows from it
//! (RFC 6298 with our bounds). OpenVPN waits 2 s always; a lost packet of ours then costs two seconds of a connect.

use std::time::Duration;

use crate::limits;

/// Smoothed round-trip time and its deviation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundTrip(Option<Estimate>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Estimate {
    smoothed: Duration,
    deviation: Duration,
}

impl RoundTrip {
    /// Takes a measurement of a message that was sent once (Karn's rule).
    pub fn measured(&mut self, sample: Duration) {
        let sample = sample.min(limits::RETRANSMIT_MAX);
        let next = match self.0 {
            None => Estimate { smoothed: sample, deviation: sample / 2 },
            Some(Estimate { smoothed, deviation }) => Estimate {
                smoothed: smoothed * 7 / 8 + sample / 8,
                deviation: deviation * 3 / 4 + smoothed.abs_diff(sample) / 4,
            },
        };
        self.0 = Some(next);
    }

    /// How long to wait before a message that was sent `transmissions` times goes again: doubles each time.
    #[must_use]
    pub fn patience(&self, transmissions: u32) -> Duration {
        let first = match self.0 {
            None => limits::RETRANSMIT_FIRST,
            Some(Estimate { smoothed, deviation }) => smoothed + deviation * 4,
        };
        let first = first.clamp(limits::RETRANSMIT_MIN, limits::RETRANSMIT_MAX);
        let doublings = transmissions.saturating_sub(1).min(8);
        (first * (1 << doublings)).min(limits::RETRANSMIT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_measurement_waits_double_from_one_second_to_eight() {
        let trip = RoundTrip::default();
        let waits: Vec<u64> = (1..=6).map(|sent| trip.patience(sent).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 8, 8]);
    }

    #[test]
    fn a_short_round_trip_waits_a_quarter_second() {
        let mut trip = RoundTrip::default();
        trip.measured(Duration::from_millis(20));
        assert_eq!(trip.patience(1), Duration::from_millis(250));
        assert_eq!(trip.patience(2), Duration::from_millis(500));
    }

    #[test]
    fn a_long_round_trip_is_waited_for() {
        let mut trip = RoundTrip::default();
        (0..20).for_each(|_| trip.measured(Duration::from_millis(600)));
        assert!(trip.patience(1) >= Duration::from_millis(600));
        assert!(trip.patience(1) <= Duration::from_secs(2));
    }
}
