//! How `ping` and `ping-restart` are made to fit each other. The type is in `profile.rs`; the timers run elsewhere.

use std::time::Duration;

use crate::{Keepalive, limits};

impl Keepalive {
    /// Both times within 1 s to 24 h, and `ping_restart` at least twice `ping`.
    #[must_use]
    pub fn fitted(self) -> Self {
        let within = |time: Duration, max: Duration| time.clamp(limits::TIMER_MIN, max);
        let Some(restart) = self.ping_restart else {
            return Self { ping: self.ping.map(|ping| within(ping, limits::TIMER_MAX)), ping_restart: None };
        };
        let ping = self.ping.map(|ping| within(ping, limits::TIMER_MAX.checked_div(2).unwrap_or(limits::TIMER_MAX)));
        let twice = ping.unwrap_or_default().saturating_mul(2);
        Self { ping, ping_restart: Some(within(restart, limits::TIMER_MAX).max(twice)) }
    }
}
