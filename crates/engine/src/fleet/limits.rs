//! Bounds of what the fleet takes in, says and begins.

use std::time::Duration;

/// Tunnels of one engine (threats-and-faults.md section 2).
pub(super) const TUNNELS: usize = 1_000;

/// Claims of one tunnel that are remembered: 4,096 routes, as many as a push may have, and the networks and other ends of two
/// assigned addresses.
pub(super) const REMEMBERED_CLAIMS: usize = 4_100;

/// Prefixes that one sentence lists.
pub(super) const LISTED: usize = 4;

/// How often something may begin: so many at once, then one in each such time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) burst: u32,
    pub(super) every: Duration,
}

/// 256 at once, then 50 a second: new handshakes of all tunnels together.
pub(super) const ALL_HANDSHAKES: Rate = Rate { burst: 256, every: Duration::from_millis(20) };

/// 32 at once, then 8 a second: new handshakes with one server. A stock server answers 100 first packets in 10 s, for all its
/// clients together (`connect-freq-initial`), and passes over the others.
pub(super) const SERVER_HANDSHAKES: Rate = Rate { burst: 32, every: Duration::from_millis(125) };

/// Handshakes with one server that are under way at a time.
pub(super) const HANDSHAKES_AT_ONCE: usize = 8;
