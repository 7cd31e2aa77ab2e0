//! Which flows end before their time: all of an ended lease, those that the user takes back (`withdrawal.rs` says which),
//! and connections that wait for an answer through a tunnel for which nothing waits any longer. TCP is told by a reset at
//! once (built in `refuse.rs`), anything else at its next packet (`outbound.rs`). Time-outs are `flow_table.rs`'s.

use std::collections::VecDeque;
use std::sync::Arc;

use mrvpn_clock::Moment;

use crate::flow::{Flow, Protocol};
use crate::flow_table::FlowId;
use crate::waits::Waits;
use crate::withdrawal::Withdrawal;
use crate::{DropReason, Policy, Router, refuse};

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
        flow.protocol == Protocol::Tcp && (over(policy, flow).is_some() || waits_in_vain)
    }
}

impl Router {
    /// Judges by another policy from now on. Flows keep what was decided for them, but some end by it:
    ///
    /// - all whose lease has ended;
    /// - those that the user takes back: by rules that differ from the ones before, if the new ones give the flow elsewhere
    ///   (to another tunnel, `direct` or `block`), or an old one had decided it and what decides without it gives it
    ///   elsewhere; by stopping or removing their tunnel, so that it is down and has nothing left of the claims and the
    ///   default that it had, if what decides without these gives the flow elsewhere; by an `accept` that does not name
    ///   them any more, if a server opened them. Claims and defaults that servers change, or that are taken for the first
    ///   time, end nothing: what was decided at a flow's first packet is kept for its life;
    /// - connections that have sent what is not acknowledged yet, if their tunnel carries nothing and packets do not wait
    ///   for it (any more): a retransmission may be seconds away. Those that are silent stay, for a reconnect that
    ///   brings the same address.
    ///
    /// Ask [`Router::poll_refusal`] for the resets that tell TCP; others are refused at their next packet.
    pub fn set_policy(&mut self, policy: Arc<Policy>, now: Moment) {
        self.drops.grow(policy.tunnels().len());
        let before = std::mem::replace(&mut self.policy, policy);
        let over = self.ending.waits.follow(self.policy.tunnels(), now);
        let withdrawn = self.withdraw(&before);
        let lease = |policy: &Policy, place: usize| policy.tunnels().get(place).map(|view| view.lease);
        if over
            || withdrawn
            || (0..before.tunnels().len()).any(|place| lease(&before, place) != lease(&self.policy, place))
        {
            self.end_flows(now);
        }
    }

    /// Marks the flows that the user takes back. Returns whether there are any.
    fn withdraw(&mut self, before: &Policy) -> bool {
        let Some(withdrawal) = Withdrawal::between(before, &self.policy) else { return false };
        let taken: Vec<_> = self.flows.iter().filter(|(_, flow)| withdrawal.takes(flow)).map(|(id, _)| id).collect();
        taken.iter().for_each(|id| self.flows.withdraw(*id));
        !taken.is_empty()
    }

    /// Ends what waited in vain, once the moment is there.
    pub(crate) fn pass_waits(&mut self, now: Moment) {
        if self.ending.waits.pass(now) {
            self.end_flows(now);
        }
    }

    /// Lets the ports of all flows rest that are over, and notes the connections that are to be told.
    fn end_flows(&mut self, now: Moment) {
        let Self { flows, policy, resting, ending, .. } = self;
        // Those not told yet are found again.
        ending.untold.clear();
        for (id, flow) in flows.iter() {
            if over(policy, flow).is_some() {
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

/// Why no packet of the flow goes on any more, if so: the tunnel has another lease now than the flow's, or the user has taken
/// the flow back.
pub(crate) fn over(policy: &Policy, flow: &Flow) -> Option<DropReason> {
    if policy.tunnel(flow.tunnel).is_none_or(|view| view.lease != flow.lease) {
        return Some(DropReason::LeaseEnded);
    }
    flow.progress.is_withdrawn().then_some(DropReason::Withdrawn)
}
