//! Which flows end before their time: all of an ended lease, and connections that wait for an answer through a tunnel for
//! which nothing waits any longer. TCP is told by a reset at once (built in `refuse.rs`), anything else at its next packet
//! (`outbound.rs`). Time-outs of flows are `flow_table.rs`'s.

use std::collections::VecDeque;
use std::sync::Arc;

use mrvpn_clock::Moment;

use crate::flow::{Flow, Protocol};
use crate::flow_table::FlowId;
use crate::waits::Waits;
use crate::{Policy, Router, refuse};

/// What is known of ends, and who is still to be told.
pub(crate) struct Ending {
    waits: Waits,
    /// TCP flows that have ended and whose app has not been told.
    untold: VecDeque<FlowId>,
}

impl Ending {
    pub(crate) fn new(policy: &Policy) -> Self {
        Self { waits: Waits::new(policy.tunnels()), untold: VecDeque::new() }
    }

    /// When [`Router::pass_waits`] is due.
    pub(crate) const fn deadline(&self) -> Option<Moment> {
        self.waits.deadline()
    }

    /// Whether the app of a connection is to be told now that it has ended.
    fn is_due(&self, policy: &Policy, flow: &Flow) -> bool {
        let waits_in_vain = flow.progress.is_unacknowledged() && self.waits.is_over(flow.tunnel);
        flow.protocol == Protocol::Tcp && (lease_has_ended(policy, flow) || waits_in_vain)
    }
}

impl Router {
    /// Judges by another policy from now on. Flows keep what was decided for them, but some end by it:
    ///
    /// - all whose lease has ended;
    /// - connections that have sent what is not acknowledged yet, if their tunnel carries nothing and packets do not wait
    ///   for it (any more): a retransmission may be seconds away. Those that are silent stay, for a reconnect that
    ///   brings the same address.
    ///
    /// Ask [`Router::poll_refusal`] for the resets that tell TCP; others are refused at their next packet.
    pub fn set_policy(&mut self, policy: Arc<Policy>, now: Moment) {
        self.drops.grow(policy.tunnels().len());
        let before = std::mem::replace(&mut self.policy, policy);
        let over = self.ending.waits.follow(self.policy.tunnels(), now);
        let lease = |policy: &Policy, place: usize| policy.tunnels().get(place).map(|view| view.lease);
        if over || (0..before.tunnels().len()).any(|place| lease(&before, place) != lease(&self.policy, place)) {
            self.end_flows(now);
        }
    }

    /// Ends what waited in vain, once the moment is there.
    pub(crate) fn pass_waits(&mut self, now: Moment) {
        if self.ending.waits.pass(now) {
            self.end_flows(now);
        }
    }

    /// Lets the ports of all flows rest whose lease has ended, and notes the connections that are to be told.
    fn end_flows(&mut self, now: Moment) {
        let Self { flows, policy, resting, ending, .. } = self;
        // Those not told yet are found again.
        ending.untold.clear();
        for (id, flow) in flows.iter() {
            if lease_has_ended(policy, flow) {
                resting.rest(flow.resting_key(), flow.inside, now);
            }
            if ending.is_due(policy, flow) {
                ending.untold.push_back(id);
            }
        }
    }

    /// Builds the next reset for a connection that has ended (see [`Router::set_policy`]; [`Router::handle_timeout`] ends
    /// some too) at the start of `into`, and returns its length: write it to the interface. The flow is gone then.
    /// `None`: there is none.
    pub fn poll_refusal(&mut self, into: &mut [u8]) -> Option<usize> {
        while let Some(id) = self.ending.untold.pop_front() {
            let flow = self.flows.get(id).copied().filter(|flow| self.ending.is_due(&self.policy, flow));
            let Some(flow) = flow else { continue };
            self.flows.remove(id);
            if !flow.progress.is_closing()
                && let Some(length) = refuse::end(&flow, into)
            {
                return Some(length);
            }
        }
        None
    }

    /// Connections that have ended and that [`Router::poll_refusal`] has not told yet, at most.
    #[must_use]
    pub fn untold(&self) -> usize {
        self.ending.untold.len()
    }
}

/// Whether the tunnel has another lease now than the flow's.
pub(crate) fn lease_has_ended(policy: &Policy, flow: &Flow) -> bool {
    policy.tunnel(flow.tunnel).is_none_or(|view| view.lease != flow.lease)
}
