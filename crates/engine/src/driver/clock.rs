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

/// The wall's second and the moment at which it began, so that a moment is the same second whenever it is asked for.
#[must_use]
pub fn pair() -> ClockPair {
    let (time, now) = (clock_gettime(ClockId::Realtime), now());
    let into = u64::try_from(time.tv_nsec).unwrap_or(0);
    let moment = Moment::from_nanos(now.as_nanos().saturating_sub(into));
    ClockPair { moment, wall: WallTime::from_unix(u64::try_from(time.tv_sec).unwrap_or(0)) }
}
