//! Bounds of what the fleet takes in and says.

/// Tunnels of one engine (threats-and-faults.md section 2).
pub(super) const TUNNELS: usize = 1_000;

/// Claims of one tunnel that are remembered: 4,096 routes, as many as a push may have, and the networks and other ends of two
/// assigned addresses.
pub(super) const REMEMBERED_CLAIMS: usize = 4_100;

/// Prefixes that one sentence lists.
pub(super) const LISTED: usize = 4;
