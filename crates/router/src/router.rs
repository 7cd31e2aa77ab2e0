//! The data path's decisions behind one face: packets in, outcomes out, everything counted. This file holds the state
//! and what is common to both ways; the ways themselves are `outbound.rs` and `inbound.rs`, one screen each.

use std::sync::Arc;

use ahash::RandomState;
use mrvpn_clock::Moment;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

use crate::drops::Drops;
use crate::ending::Ending;
use crate::flow_table::FlowTable;
use crate::fragment_queue::FragmentQueue;
use crate::fragment_table::FragmentTable;
use crate::pace::Pace;
use crate::questions::Questions;
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
    pub(crate) ending: Ending,
    pub(crate) questions: Questions,
    pub(crate) random: ChaCha12Rng,
    pace: Pace,
    flow_hash: RandomState,
    pub(crate) drops: Drops,
}

impl Router {
    /// A router without flows. `seed` keys its hashes and draws its ports; it must not be guessable from outside.
    #[must_use]
    pub fn new(seed: [u8; 32], policy: Arc<Policy>) -> Self {
        let mut random = ChaCha12Rng::from_seed(seed);
        let mut seeds = || std::array::from_fn(|_| random.next_u64());
        let flows = FlowTable::new(limits::FLOWS, limits::FLOWS_PER_HOLDER, seeds());
        let resting = Resting::new(seeds());
        let [a, b, c, d] = seeds();
        Self {
            flows,
            sent: FragmentTable::new(),
            received: FragmentTable::new(),
            sent_early: FragmentQueue::default(),
            received_early: FragmentQueue::default(),
            resting,
            ending: Ending::new(&policy),
            questions: Questions::default(),
            pace: Pace::new(),
            flow_hash: RandomState::with_seeds(a, b, c, d),
            drops: Drops::new(policy.tunnels().len()),
            random,
            policy,
        }
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
        let fragments = [self.sent_early.deadline(), self.received_early.deadline()];
        [self.flows.deadline(), self.ending.deadline()].into_iter().chain(fragments).flatten().min()
    }

    /// Takes away flows whose time is over, [`limits::EXPIRED_PER_CALL`] at most, and fragments that waited in vain; if there
    /// are more flows, `poll_timeout` is still due after it. Connections that waited in vain for their tunnel end: ask
    /// [`Router::poll_refusal`].
    pub fn handle_timeout(&mut self, now: Moment) {
        self.pass_waits(now);
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
