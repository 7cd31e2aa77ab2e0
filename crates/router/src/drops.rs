//! Counters of what was not forwarded, by reason, for each tunnel and over all. They only rise. Why a packet was
//! dropped is [`DropReason`]'s.

use crate::{DropReason, TunnelId};

/// Counts of one tunnel.
type Counts = [u64; DropReason::ALL.len()];

/// What was not forwarded.
#[derive(Clone, Debug)]
pub struct Drops {
    total: Counts,
    tunnels: Vec<Counts>,
}

impl Drops {
    /// Nothing yet, for `tunnels` tunnels.
    pub(crate) fn new(tunnels: usize) -> Self {
        Self { total: [0; DropReason::ALL.len()], tunnels: vec![[0; DropReason::ALL.len()]; tunnels] }
    }

    /// Makes room for `tunnels` tunnels; counts of those that went stay.
    pub(crate) fn grow(&mut self, tunnels: usize) {
        if tunnels > self.tunnels.len() {
            self.tunnels.resize(tunnels, [0; DropReason::ALL.len()]);
        }
    }

    /// Counts one, of a tunnel if it is known which.
    pub(crate) fn count(&mut self, tunnel: Option<TunnelId>, reason: DropReason) {
        self.total[reason as usize] += 1;
        if let Some(counts) = tunnel.and_then(|tunnel| self.tunnels.get_mut(tunnel.index())) {
            counts[reason as usize] += 1;
        }
    }

    /// Packets not forwarded for this reason, those of no known tunnel included.
    #[must_use]
    pub const fn total(&self, reason: DropReason) -> u64 {
        self.total[reason as usize]
    }

    /// Packets of this tunnel not forwarded for this reason.
    #[must_use]
    pub fn of_tunnel(&self, tunnel: TunnelId, reason: DropReason) -> u64 {
        self.tunnels.get(tunnel.index()).map_or(0, |counts| counts[reason as usize])
    }

    /// All reasons of this tunnel that occurred, with their counts.
    pub fn reasons_of(&self, tunnel: TunnelId) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(move |&reason| (reason, self.of_tunnel(tunnel, reason))).filter(|entry| entry.1 > 0)
    }

    /// All reasons that occurred over all tunnels, with their counts.
    pub fn reasons(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason, self.total(reason))).filter(|entry| entry.1 > 0)
    }
}
