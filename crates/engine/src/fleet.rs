//! All tunnels together: whose turn it is to log in, who is the default, what each claims, which addresses stand on the
//! interface, and what of that another configuration changes. A value without I/O: it asks by [`Request`]s and is told what
//! came of them. Where a single packet goes is `router`'s; how the plan is carried out is the driver's and `host`'s.

mod accounts; // one login a password
mod carried; // who carries what a stopped tunnel carried
mod decision; // claims, default, policy and plan
mod defaults; // who is the default tunnel
mod explain; // why a flow goes where it goes
mod gate; // how many handshakes begin
mod inputs; // what it is told
mod limits; // bounds
mod reload; // another configuration
mod report; // the fleet as `status` shows it
mod roster; // the tunnels of the configuration, and what they claim
mod runner; // the session side of a tunnel
mod telling; // what happens, as events
mod verbs; // start, stop, restart
mod warnings; // what the user should know
mod work; // work on one tunnel, and what follows

pub use report::Counted;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_netplan::{HostFacts, OffloadSet, Plan, PlanError, PoolsError, Sessions};
use mrvpn_proto::RustlsConnector;
use mrvpn_router::{Policy, TunnelId};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use thiserror::Error;

use crate::attempt::Attempt;
use crate::config::{EngineConfig, TunnelConfig};
use crate::event::EventKind;
use crate::memory::Memory;
use crate::status::ClockPair;
use crate::tunnel::{Ask, Connector, Tunnel, TunnelState};
use accounts::Accounts;
use decision::Decision;
use gate::Gate;
use roster::Roster;
use runner::Runner;
use telling::Told;

/// What the fleet wants done.
pub enum Request {
    /// One tunnel's wish.
    Tunnel {
        /// Which.
        tunnel: TunnelId,
        /// What.
        ask: Ask,
    },
    /// The lanes judge by this from now on.
    Policy(Arc<Policy>),
    /// This is to be known by the next engine: written down before the plan that is asked for after it is carried out.
    Remember(Memory),
    /// The host should look like this; answer with [`Fleet::handle_planned`]. One at a time.
    Plan(Plan),
    /// This happened.
    Event(EventKind),
}

/// The configuration cannot be run on this host.
#[derive(Debug, Error)]
pub enum FleetError {
    /// No address pool is free.
    #[error(transparent)]
    Pools(#[from] PoolsError),
    /// The rules cannot be captured.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// More tunnels than an engine takes.
    #[error("{0} tunnels: an engine takes 1,000 at most")]
    TooMany(usize),
}

/// All tunnels of one engine.
pub struct Fleet {
    roster: Roster,
    runners: BTreeMap<TunnelId, Runner>,
    accounts: Accounts,
    gate: Gate,
    decision: Decision,
    policy: Arc<Policy>,
    wanted: Plan,
    asked: Option<Plan>,
    planned_once: bool,
    closing: bool,
    plan_trouble: Option<String>,
    resolvers: Vec<IpAddr>,
    /// Services whose answers cannot be told from what this host asks.
    datagram_services: Vec<SocketAddr>,
    offloads: OffloadSet,
    clocks: ClockPair,
    /// What the store has, or is about to have.
    memory: Memory,
    unremembered: bool,
    told: Told,
    /// The last attempts of tunnels that are gone, by number.
    retired: BTreeMap<TunnelId, Attempt>,
    seeds: ChaCha8Rng,
    version: u64,
    requests: VecDeque<Request>,
}

impl Fleet {
    /// A fleet that has asked for its first plan and dials when that stands. What `memory` knows of its tunnels is claimed
    /// from the beginning.
    ///
    /// # Errors
    /// Too many tunnels, no free address pool, or rules that cannot be captured.
    pub fn new(
        config: EngineConfig,
        memory: Memory,
        facts: HostFacts,
        sessions: Sessions,
        seed: [u8; 32],
        now: Moment,
    ) -> Result<Self, FleetError> {
        let connectors = config.tunnels.iter().map(connector).collect();
        Self::with_connectors(config, connectors, memory, facts, sessions, seed, now)
    }

    /// The same with TLS engines of the caller's, one a tunnel: for tests with scripted ones.
    ///
    /// # Errors
    /// As [`Fleet::new`].
    pub fn with_connectors(
        config: EngineConfig,
        connectors: Vec<Connector>,
        memory: Memory,
        facts: HostFacts,
        sessions: Sessions,
        seed: [u8; 32],
        now: Moment,
    ) -> Result<Self, FleetError> {
        if config.tunnels.len() > limits::TUNNELS {
            return Err(FleetError::TooMany(config.tunnels.len()));
        }
        let roster = Roster::new(config, &memory, facts, sessions.inbound, now)?;
        let wanted = Plan::empty(&roster.config.scope);
        let mut fleet = Self {
            policy: Arc::new(roster.policy(&Decision::NONE, Vec::new())),
            roster,
            runners: BTreeMap::new(),
            accounts: Accounts::default(),
            gate: Gate::default(),
            decision: Decision::NONE,
            wanted,
            asked: None,
            planned_once: false,
            closing: false,
            plan_trouble: None,
            resolvers: Vec::new(),
            datagram_services: sessions.datagram_services,
            offloads: OffloadSet::NONE,
            clocks: ClockPair { moment: now, wall: WallTime::from_unix(0) },
            memory,
            unremembered: true,
            told: Told::default(),
            retired: BTreeMap::new(),
            seeds: ChaCha8Rng::from_seed(seed),
            version: 0,
            requests: VecDeque::new(),
        };
        fleet.accounts.follow(fleet.roster.in_order().map(|(id, member)| (id, &*member.config)), &BTreeSet::new());
        for (id, connector) in fleet.roster.order.clone().into_iter().zip(connectors) {
            fleet.engage(id, connector, now);
        }
        fleet.decide(now)?;
        Ok(fleet)
    }

    /// When [`Fleet::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        let tunnels = self.runners.values().filter_map(|runner| runner.tunnel.poll_timeout());
        tunnels.chain(self.default_limit()).chain(self.gate.poll_timeout()).min()
    }

    /// The next thing to be done.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// Ends every tunnel, telling the servers.
    pub fn close(&mut self, now: Moment) {
        self.closing = true;
        for id in self.runners.keys().copied().collect::<Vec<_>>() {
            self.with(id, now, |tunnel| tunnel.close(now));
        }
    }

    /// Whether every tunnel has ended after [`Fleet::close`].
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closing && self.runners.values().all(|runner| runner.tunnel.state() == TunnelState::Stopped)
    }

    /// The tunnels by number; one that has left the configuration is among them until its session is over.
    pub fn tunnels(&self) -> impl Iterator<Item = &Tunnel> {
        self.runners.values().map(|runner| &runner.tunnel)
    }

    /// Counts what `status` would show differently, counters left out.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// By what the lanes judge now.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    fn default_limit(&self) -> Option<Moment> {
        self.roster.default_limit(&self.decision)
    }

    /// What a tunnel is called; its number, where it has left the configuration.
    fn name_of(&self, id: TunnelId) -> String {
        self.roster.name(id).map_or_else(|| id.to_string(), str::to_owned)
    }

    /// Never the same twice: what a session draws from it must not come again when its tunnel begins anew.
    fn draw_seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.seeds.fill_bytes(&mut seed);
        seed
    }
}

/// The TLS engine of one tunnel.
fn connector(tunnel: &TunnelConfig) -> Connector {
    match RustlsConnector::new(&tunnel.profile.tls, tunnel.strict_server) {
        Ok(connector) => Ok(Arc::new(connector)),
        Err(error) => Err(error.to_string()),
    }
}
