//! When a tunnel must send a ping: nothing has been sent for the pushed interval (openvpn-protocol, `ping.c`). What a
//! ping looks like is `proto`'s; that the server is silent is the session's to notice.

use std::time::Duration;

use mrvpn_clock::Moment;

/// The sending half of keepalive for one session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keepalive {
    interval: Option<Duration>,
    last_sent: Moment,
}

impl Keepalive {
    /// Pings after `interval` without a packet; `None` never.
    pub(crate) const fn new(interval: Option<Duration>, now: Moment) -> Self {
        Self { interval, last_sent: now }
    }

    /// Something was sent.
    pub(crate) const fn sent(&mut self, now: Moment) {
        self.last_sent = now;
    }

    /// When the next ping is due, if nothing is sent before.
    pub(crate) fn due(&self) -> Option<Moment> {
        self.interval.map(|interval| self.last_sent + interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_is_due_one_interval_after_the_last_packet() {
        let start = Moment::from_nanos(1);
        let second = Duration::from_secs(1);
        let mut keepalive = Keepalive::new(Some(10 * second), start);
        assert_eq!(keepalive.due(), Some(start + 10 * second));
        keepalive.sent(start + 4 * second);
        assert_eq!(keepalive.due(), Some(start + 14 * second));
    }

    #[test]
    fn without_an_interval_there_is_no_ping() {
        assert_eq!(Keepalive::new(None, Moment::default()).due(), None);
    }
}
