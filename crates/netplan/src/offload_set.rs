//! Which offloads are in use: of the TUN queue and of the tunnels' UDP sockets. Each has a fallback that gives equal
//! packets, so each can be left out alone. What the kernel grants is found where a device or socket is opened.

use serde::{Deserialize, Serialize};

/// A choice of offloads: those wanted, or those in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffloadSet {
    /// TCP super-packets to and from the TUN. They need `checksum`.
    pub tso: bool,
    /// UDP super-packets to and from the TUN (Linux 6.2 and later). They need `checksum`.
    pub uso: bool,
    /// Partial checksums on the TUN.
    pub checksum: bool,
    /// Many datagrams with one send (UDP_SEGMENT, Linux 4.18).
    pub gso: bool,
    /// Many datagrams with one receive (UDP_GRO, Linux 5.0).
    pub gro: bool,
    /// Many receives with one call.
    pub recvmmsg: bool,
}

impl OffloadSet {
    /// Everything.
    pub const ALL: Self = Self { tso: true, uso: true, checksum: true, gso: true, gro: true, recvmmsg: true };

    /// Nothing: a call a packet.
    pub const NONE: Self = Self { tso: false, uso: false, checksum: false, gso: false, gro: false, recvmmsg: false };

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            tso: self.tso && other.tso,
            uso: self.uso && other.uso,
            checksum: self.checksum && other.checksum,
            gso: self.gso && other.gso,
            gro: self.gro && other.gro,
            recvmmsg: self.recvmmsg && other.recvmmsg,
        }
    }

    /// The names of those that are in it, as `status` shows them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [
            ("tso", self.tso),
            ("uso", self.uso),
            ("checksum", self.checksum),
            ("gso", self.gso),
            ("gro", self.gro),
            ("recvmmsg", self.recvmmsg),
        ];
        all.into_iter().filter_map(|(name, used)| used.then_some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_in_both_sets() {
        let wanted = OffloadSet { tso: false, ..OffloadSet::ALL };
        let granted = OffloadSet { gro: false, ..OffloadSet::ALL };
        assert_eq!(wanted.and(granted).names().collect::<Vec<_>>(), ["uso", "checksum", "gso", "recvmmsg"]);
        assert_eq!(OffloadSet::ALL.names().count(), 6);
        assert_eq!(OffloadSet::NONE.names().count(), 0);
    }
}
