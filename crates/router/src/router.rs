//! The data path's decisions behind one face: packets in, outcomes out, everything counted. This file holds the state
//! and what is common to both ways; the ways themselves are `outbound.rs` and `inbound.rs`, one screen each.

use std::sync::Arc;

use ahash::RandomState;
use mrvpn_clock::Moment;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

use crate::drops::Drops;
use crate::flow_table::FlowTable;
use crate::fragment_table::FragmentTable;
use crate::pace::Pace;
use crate::{DropReason, Policy, Refusal, TunnelId, limits, refuse};

/// Judges and translates the packets of one lane.
pub struct Router {
    pub(crate) policy: Arc<Policy>,
    pub(crate) flows: FlowTable,
    pub(crate) sent: FragmentTable,
    pub(crate) received: FragmentTable,
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
        let [a, b, c, d] = seeds();
        Self {
            flows,
            sent: FragmentTable::new(),
            received: FragmentTable::new(),
            pace: Pace::new(),
            flow_hash: RandomState::with_seeds(a, b, c, d),
            drops: Drops::new(policy.tunnels().len()),
            random,
            policy,
        }
    }

    /// Judges by another policy from now on. Flows keep what was decided for them; those whose lease has ended by it are
    /// refused at their next packet.
    pub fn set_policy(&mut self, policy: Arc<Policy>) {
        self.drops.grow(policy.tunnels().len());
        self.policy = policy;
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
        self.flows.deadline()
    }

    /// Takes away flows whose time is over, [`limits::EXPIRED_PER_CALL`] at most; if there are more, `poll_timeout` is still
    /// due after it.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.flows.expire(limits::EXPIRED_PER_CALL, now);
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
