//! Tunnels and leases by number.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A tunnel: a number that stays its own while it is configured, whatever its place in the file. Nothing follows from
/// which number is the smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TunnelId(u16);

impl TunnelId {
    /// The tunnel of this number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Its place in lists of tunnels.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The number itself.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for TunnelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tunnel {}", self.0)
    }
}

/// A lease: the time in which a tunnel keeps the same inner addresses. Numbers are never used twice in a run, over all
/// tunnels; 0 means that the tunnel has had no address yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseId(u32);

impl LeaseId {
    /// Before the first address.
    pub const NONE: Self = Self(0);

    /// The lease of this number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number itself.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}
