//! The port of a new flow as its server sees it: the app's own where that is free, which the host's stack has drawn at
//! random already (RFC 6056), else a random free one. Filtering by the full remote pair is the flow table's.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use mrvpn_clock::Moment;
use rand_core::RngCore;

use crate::flow::{Inside, OutsideKey, Protocol, Remote};
use crate::flow_table::FlowTable;
use crate::resting::Resting;
use crate::{LeaseId, TunnelId, limits};

/// Whose port is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) tunnel: TunnelId,
    pub(crate) lease: LeaseId,
    pub(crate) protocol: Protocol,
    pub(crate) inside: Inside,
    pub(crate) remote: Remote,
}

impl Wanted {
    fn key(&self, lease: LeaseId, port: u16) -> OutsideKey {
        OutsideKey::outside(self.tunnel, lease, self.protocol, self.remote, port)
    }

    /// Whether no flow has the port towards this remote, and none of an ended lease had it a moment ago. What cannot be
    /// given another port may have its own again.
    fn is_free(&self, port: u16, flows: &FlowTable, resting: &Resting, now: Moment) -> bool {
        let rests = resting.owner(&self.key(LeaseId::NONE, port), now);
        let rests = rests.is_some_and(|owner| self.protocol.translates_ports() || owner != self.inside);
        !rests && !flows.is_taken(&self.key(self.lease, port))
    }
}

/// A port for a new flow; `None` when there is none.
pub(crate) fn free_port(
    wanted: &Wanted,
    flows: &FlowTable,
    resting: &Resting,
    random: &mut impl RngCore,
    now: Moment,
) -> Option<u16> {
    let is_free = |port: &u16| wanted.is_free(*port, flows, resting, now);
    let own = Some(wanted.inside.port).filter(is_free);
    if own.is_some() || !wanted.protocol.translates_ports() {
        return own;
    }
    (0..limits::PORT_TRIES).map(|_| random_port(random)).find(is_free)
}

/// Any port from [`limits::FIRST_PORT`], all equally likely but for one in 66,000.
fn random_port(random: &mut impl RngCore) -> u16 {
    const WIDTH: u64 = (u16::MAX - limits::FIRST_PORT) as u64 + 1;
    let place = u64::from(random.next_u32()).wrapping_mul(WIDTH) >> 32;
    limits::FIRST_PORT.saturating_add(place as u16)
}
