//! The engine's clock: CLOCK_BOOTTIME, which counts the time that a laptop sleeps.

use mrvpn_clock::{Moment, WallTime};
use rustix::time::{ClockId, clock_gettime};

use crate::status::ClockPair;

/// This moment.
#[must_use]
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Moment::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// The time on the wall.
#[must_use]
pub fn wall() -> WallTime {
    let time = clock_gettime(ClockId::Realtime);
    WallTime::from_unix(u64::try_from(time.tv_sec).unwrap_or(0))
}

/// Both at once.
#[must_use]
pub fn pair() -> ClockPair {
    ClockPair { moment: now(), wall: wall() }
}
