//! The data path's decisions behind one face: packets in, outcomes out, everything counted. This file holds the state
//! and what is common to both ways; the ways themselves are `outbound.rs` and `inbound.rs`, one screen each.

use std::collections::VecDeque;
use std::sync::Arc;

use ahash::RandomState;
use mrvpn_clock::Moment;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

use crate::admit::lease_has_ended;
use crate::drops::Drops;
use crate::flow::Protocol;
use crate::flow_table::{FlowId, FlowTable};
use crate::fragment_queue::FragmentQueue;
use crate::fragment_table::FragmentTable;
use crate::pace::Pace;
use crate::resting::Resting;
use crate::{DropReason, Policy, Refusal, TunnelId, limits, refuse};

/// Judges and translates the packets of one lane.
pub struct Router {
    pub(crate) policy: Arc<Policy>,
    pub(crate) flows: FlowTable,
    pub(crate) sent: FragmentTable,
    pub(crate) received: FragmentTable,
    pub(crate) sent_early: FragmentQueue,
    pub(crate) received_early: FragmentQueue,
    pub(crate) resting: Resting,
    /// TCP flows whose lease has ended and whose app has not been told.
    ended: VecDeque<FlowId>,
    pub(crate) random: ChaCha12Rng,
    pace: Pace,
    flow_hash: RandomState,
    drops: Drops,
}

impl Router {
    /// A router without flows. `seed` keys its hashes and draws its ports; it must not be guessable from outside.
    #[must_use]
    pub fn new(seed: [u8; 32], policy: Arc<Policy>) -> Self {
        let mut random = ChaCha12Rng::from_seed(seed);
        let mut seeds = || std::array::from_fn(|_| random.next_u64());
        let flows = FlowTable::new(limits::FLOWS, seeds());
        let resting = Resting::new(seeds());
        let [a, b, c, d] = seeds();
        Self {
            flows,
            sent: FragmentTable::new(),
            received: FragmentTable::new(),
            sent_early: FragmentQueue::default(),
            received_early: FragmentQueue::default(),
            resting,
            ended: VecDeque::new(),
            pace: Pace::new(),
            flow_hash: RandomState::with_seeds(a, b, c, d),
            drops: Drops::new(policy.tunnels().len()),
            random,
            policy,
        }
    }

    /// Judges by another policy from now on. Flows keep what was decided for them, but those whose lease has ended by it
    /// end: ask [`Router::poll_refusal`] for the resets that tell TCP; others are refused at their next packet.
    pub fn set_policy(&mut self, policy: Arc<Policy>, now: Moment) {
        self.drops.grow(policy.tunnels().len());
        let before = std::mem::replace(&mut self.policy, policy);
        let lease = |policy: &Policy, place: usize| policy.tunnels().get(place).map(|view| view.lease);
        if (0..before.tunnels().len()).any(|place| lease(&before, place) != lease(&self.policy, place)) {
            self.end_leases(now);
        }
    }

    /// Lets the ports of all flows rest whose lease has ended, and notes the connections among them.
    fn end_leases(&mut self, now: Moment) {
        let Self { flows, policy, resting, ended, .. } = self;
        // Those not told yet are found again.
        ended.clear();
        for (id, flow) in flows.iter().filter(|(_, flow)| lease_has_ended(policy, flow)) {
            resting.rest(flow.resting_key(), flow.inside, now);
            if flow.protocol == Protocol::Tcp {
                ended.push_back(id);
            }
        }
    }

    /// Builds the next reset for a connection whose lease has ended at the start of `into`, and returns its length: write it
    /// to the interface. The flow is gone then. `None`: there is none.
    pub fn poll_refusal(&mut self, into: &mut [u8]) -> Option<usize> {
        while let Some(id) = self.ended.pop_front() {
            let Some(flow) = self.flows.get(id).copied().filter(|flow| lease_has_ended(&self.policy, flow)) else {
                continue;
            };
            self.flows.remove(id);
            if !flow.progress.is_closing()
                && let Some(length) = refuse::end(&flow, into)
            {
                return Some(length);
            }
        }
        None
    }

    /// Connections whose lease has ended and that [`Router::poll_refusal`] has not told yet, at most.
    #[must_use]
    pub fn untold(&self) -> usize {
        self.ended.len()
    }

    /// The next fragment of the host whose first has gone out since, as it came: present it to [`Router::outbound`] again.
    pub fn poll_sent_fragment(&mut self) -> Option<Vec<u8>> {
        Some(self.sent_early.poll()?.1)
    }

    /// The next fragment of a server whose first has arrived since, as it came: present it to [`Router::inbound`] again.
    pub fn poll_received_fragment(&mut self) -> Option<(TunnelId, Vec<u8>)> {
        let (owner, packet) = self.received_early.poll()?;
        Some((TunnelId::new(u16::try_from(owner).ok()?), packet))
    }

    /// The policy that packets are judged by.
    #[must_use]
    pub const fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Builds the answer to a refused packet, which is as `outbound` got it, at the start of `into`, and returns its length.
    /// `None`: such a packet is never answered, or this flow has been answered often enough, or `into` is too small
    /// ([`limits::REFUSAL_BUFFER`] bytes are always enough).
    pub fn refuse(&mut self, packet: &[u8], refusal: Refusal, now: Moment, into: &mut [u8]) -> Option<usize> {
        let length = refuse::answer(&self.policy, packet, refusal, into)?;
        self.pace.allows(self.flow_hash.hash_one(flow_bytes(packet)), now).then_some(length)
    }

    /// What was not forwarded so far.
    #[must_use]
    pub const fn drops(&self) -> &Drops {
        &self.drops
    }

    /// Counts a packet that the caller did not forward.
    pub fn count(&mut self, tunnel: Option<TunnelId>, reason: DropReason) {
        self.drops.count(tunnel, reason);
    }

    /// How many flows there are.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// When [`Router::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        let deadlines = [self.flows.deadline(), self.sent_early.deadline(), self.received_early.deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Takes away flows whose time is over, [`limits::EXPIRED_PER_CALL`] at most, and fragments that waited in vain; if there
    /// are more flows, `poll_timeout` is still due after it.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.flows.expire(limits::EXPIRED_PER_CALL, now);
        while self.sent_early.expire(now).is_some() {
            self.count(None, DropReason::Fragment);
        }
        while let Some(owner) = self.received_early.expire(now) {
            self.count(u16::try_from(owner).ok().map(TunnelId::new), DropReason::Fragment);
        }
    }
}

/// The bytes of a packet that name its flow: for IPv4 without options, addresses and ports; else near enough, as this only
/// paces answers.
fn flow_bytes(packet: &[u8]) -> &[u8] {
    let range = match packet.first() {
        Some(first) if first >> 4 == 4 => 12..24,
        Some(_) | None => 8..44,
    };
    packet.get(range).unwrap_or(packet)
}
