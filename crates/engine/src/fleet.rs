//! All tunnels together: whose turn it is to log in, who is the default, what each claims, which addresses stand on the
//! interface. A value without I/O: it asks by [`Request`]s and is told what came of them. Where a single packet goes is
//! `router`'s; how the plan is carried out is the driver's and `host`'s.

mod accounts; // one login a password
mod defaults; // who is the default tunnel
mod report; // the fleet as `status` shows it

pub use report::Counted;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_netplan::{
    AddressBook, Conflict, HostFacts, Offer, OffloadSet, Plan, PlanError, PlanInput, Pools, PoolsError,
};
use mrvpn_profile::config::Ports;
use mrvpn_profile::{AuthUserPass, Transport};
use mrvpn_proto::RustlsConnector;
use mrvpn_router::{
    Accept, Claim, DefaultChoice, Defaults, Fallback, Policy, PolicyInput, PortRange, TunnelId, TunnelState as Carries,
    TunnelView,
};
use thiserror::Error;

use crate::attempt::Attempt;
use crate::config::{EngineConfig, TunnelConfig};
use crate::error::TunnelError;
use crate::lane::Carried;
use crate::tunnel::{Ask, Change, Connector, OpenFailure, Tunnel, TunnelState};
use accounts::{Accounts, Turn};
use defaults::{DefaultTunnel, Stance};

/// 1 s: how long packets wait for a tunnel that went before they are refused (threats-and-faults.md section 2).
const HOLD: Duration = Duration::from_secs(1);
/// Outer bytes of a data packet over IPv4: IP 20, UDP 8, header 4, packet id 4, tag 16.
const OVERHEAD_V4: u16 = 52;
/// The same over IPv6: IP 40.
const OVERHEAD_V6: u16 = 72;
/// What the path carries, until it is measured.
const PATH_MTU: u16 = 1500;

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
    /// The host should look like this; answer with [`Fleet::handle_planned`]. One at a time.
    Plan(Plan),
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
    config: EngineConfig,
    facts: HostFacts,
    tunnels: Vec<Tunnel>,
    hold_until: Vec<Moment>,
    accounts: Accounts,
    book: AddressBook,
    default_v4: DefaultTunnel,
    default_v6: DefaultTunnel,
    defaults: Defaults,
    claims: Vec<Claim>,
    claim_conflicts: Vec<Conflict>,
    policy: Arc<Policy>,
    wanted: Plan,
    asked: Option<Plan>,
    planned_once: bool,
    closing: bool,
    plan_trouble: Option<String>,
    resolvers: Vec<IpAddr>,
    offloads: OffloadSet,
    started: Moment,
    version: u64,
    requests: VecDeque<Request>,
}

impl Fleet {
    /// A fleet that has asked for its first plan and dials when that stands.
    ///
    /// # Errors
    /// No free address pool, or rules that cannot be captured.
    pub fn new(config: EngineConfig, facts: HostFacts, seed: [u8; 32], now: Moment) -> Result<Self, FleetError> {
        let connectors = config.tunnels.iter().map(connector).collect();
        Self::with_connectors(config, connectors, facts, seed, now)
    }

    /// The same with TLS engines of the caller's, one a tunnel: for tests with scripted ones.
    ///
    /// # Errors
    /// As [`Fleet::new`].
    pub fn with_connectors(
        config: EngineConfig,
        connectors: Vec<Connector>,
        facts: HostFacts,
        seed: [u8; 32],
        now: Moment,
    ) -> Result<Self, FleetError> {
        let count = u16::try_from(config.tunnels.len()).ok().filter(|count| *count <= 1000);
        let count = count.ok_or(FleetError::TooMany(config.tunnels.len()))?;
        let taken: Vec<_> = facts.on_link.iter().map(|link| link.net).chain(facts.routed.iter().copied()).collect();
        let book = AddressBook::new(Pools::choose(config.alias_pool, config.scope.slot, &taken, &[], None)?, count);
        let named = config.tunnels.iter().cloned().zip(connectors).zip(0..count);
        let tunnels = named
            .map(|((tunnel, connector), place)| {
                Tunnel::new(TunnelId::new(place), tunnel, connector, seed_for(seed, place), now)
            })
            .collect::<Vec<_>>();
        let none = Defaults { v4: DefaultChoice::NotOffered, v6: DefaultChoice::NotOffered };
        let policy = Arc::new(Policy::new(PolicyInput {
            rules: config.rules.clone(),
            claims: Vec::new(),
            defaults: none,
            undecided_until: None,
            fallback: Fallback::Auto,
            sources: book.sources(),
            own: book.own(),
            accept: Vec::new(),
            tunnels: Vec::new(),
        }));
        let mut fleet = Self {
            accounts: Accounts::new(&config.tunnels),
            hold_until: vec![now + HOLD; tunnels.len()],
            tunnels,
            book,
            default_v4: DefaultTunnel::default(),
            default_v6: DefaultTunnel::default(),
            defaults: none,
            claims: Vec::new(),
            claim_conflicts: Vec::new(),
            policy,
            wanted: Plan::empty(&config.scope),
            asked: None,
            planned_once: false,
            closing: false,
            plan_trouble: None,
            resolvers: Vec::new(),
            offloads: OffloadSet::NONE,
            started: now,
            version: 0,
            requests: VecDeque::new(),
            config,
            facts,
        };
        fleet.decide(now)?;
        Ok(fleet)
    }

    /// The plan that was asked for stands, or does not and the host is as before it.
    pub fn handle_planned(&mut self, outcome: Result<(), String>, now: Moment) {
        let asked = self.asked.take();
        self.plan_trouble = outcome.err();
        let first = !std::mem::replace(&mut self.planned_once, true);
        self.version = self.version.wrapping_add(1);
        if asked.is_some_and(|asked| asked != self.wanted) {
            self.ask_plan();
        }
        if first && !self.closing {
            self.dial(now);
        }
    }

    /// See [`Tunnel::handle_resolved`].
    pub fn handle_resolved(&mut self, tunnel: TunnelId, answer: Result<Vec<IpAddr>, String>, now: Moment) {
        self.with(tunnel, now, |tunnel| tunnel.handle_resolved(answer, now));
    }

    /// See [`Tunnel::handle_opened`].
    pub fn handle_opened(
        &mut self,
        tunnel: TunnelId,
        attempt: Attempt,
        outcome: Result<(), OpenFailure>,
        wall: WallTime,
        now: Moment,
    ) {
        self.with(tunnel, now, |tunnel| tunnel.handle_opened(attempt, outcome, wall, now));
    }

    /// See [`Tunnel::handle_datagram`].
    pub fn handle_datagram(&mut self, tunnel: TunnelId, attempt: Attempt, datagram: &[u8], now: Moment) -> bool {
        let mut taken = false;
        self.with(tunnel, now, |tunnel| taken = tunnel.handle_datagram(attempt, datagram, now));
        taken
    }

    /// See [`Tunnel::handle_stream_ended`].
    pub fn handle_stream_ended(&mut self, tunnel: TunnelId, attempt: Attempt, how: ErrorKind, now: Moment) {
        self.with(tunnel, now, |tunnel| tunnel.handle_stream_ended(attempt, how, now));
    }

    /// See [`Tunnel::handle_control`].
    pub fn handle_control(&mut self, tunnel: TunnelId, datagram: &[u8], now: Moment) -> bool {
        let mut taken = false;
        self.with(tunnel, now, |tunnel| taken = tunnel.handle_control(datagram, now));
        taken
    }

    /// See [`Tunnel::heard`].
    pub fn heard(&mut self, tunnel: TunnelId, at: Moment) {
        if let Some(tunnel) = self.tunnels.get_mut(tunnel.index()) {
            tunnel.heard(at);
        }
    }

    /// See [`Tunnel::handle_port_refused`].
    pub fn handle_port_refused(&mut self, tunnel: TunnelId, attempt: Attempt, now: Moment) {
        self.with(tunnel, now, |tunnel| tunnel.handle_port_refused(attempt, now));
    }

    /// See [`Tunnel::carried`].
    pub fn carried(&mut self, tunnel: TunnelId, carried: Carried, now: Moment) {
        self.with(tunnel, now, |tunnel| tunnel.carried(carried, now));
    }

    /// See [`Tunnel::handle_peer_exit`].
    pub fn handle_peer_exit(&mut self, tunnel: TunnelId, attempt: Attempt, now: Moment) {
        self.with(tunnel, now, |tunnel| tunnel.handle_peer_exit(attempt, now));
    }

    /// See [`Tunnel::handle_key_worn`].
    pub fn handle_key_worn(&mut self, tunnel: TunnelId, attempt: Attempt, now: Moment) {
        self.with(tunnel, now, |tunnel| tunnel.handle_key_worn(attempt, now));
    }

    /// The resolvers that this machine's programs ask; shown in a warning.
    pub fn handle_resolvers(&mut self, resolvers: Vec<IpAddr>) {
        self.resolvers = resolvers;
    }

    /// The offloads that the lanes use now; shown by status.
    pub fn handle_offloads(&mut self, offloads: OffloadSet) {
        self.offloads = offloads;
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Moment) {
        for place in 0..self.tunnels.len() {
            if self.tunnels[place].poll_timeout().is_some_and(|at| at <= now) {
                let id = self.tunnels[place].id();
                self.with(id, now, |tunnel| tunnel.handle_timeout(now));
            }
        }
        if self.default_limit().is_some_and(|at| at <= now) {
            self.decide_or_note(now);
        }
    }

    /// When [`Fleet::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.tunnels.iter().filter_map(Tunnel::poll_timeout).chain(self.default_limit()).min()
    }

    /// The next thing to be done.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// Ends every tunnel, telling the servers.
    pub fn close(&mut self, now: Moment) {
        self.closing = true;
        for place in 0..self.tunnels.len() {
            let id = self.tunnels[place].id();
            self.with(id, now, |tunnel| tunnel.close(now));
        }
    }

    /// Whether every tunnel has ended after [`Fleet::close`].
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closing && self.tunnels.iter().all(|tunnel| tunnel.state() == TunnelState::Stopped)
    }

    /// The tunnels, in the order of the file.
    #[must_use]
    pub fn tunnels(&self) -> &[Tunnel] {
        &self.tunnels
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

    /// Works on one tunnel and takes out all that it has to say.
    fn with(&mut self, id: TunnelId, now: Moment, work: impl FnOnce(&mut Tunnel)) {
        let Some(tunnel) = self.tunnels.get_mut(id.index()) else { return };
        let before = tunnel.state();
        work(tunnel);
        if tunnel.state() != before {
            self.version = self.version.wrapping_add(1);
        }
        let (mut changed, mut came_up) = (false, false);
        while let Some(change) = self.tunnels[id.index()].poll_change() {
            came_up |= matches!(change, Change::Established(_));
            self.take(id, change, before, now);
            self.version = self.version.wrapping_add(1);
            changed = true;
        }
        // Keys reach the lane before the policy that uses them, and leave it after the policy that no longer does.
        if came_up {
            self.pass_asks(id);
        }
        if changed {
            self.decide_or_note(now);
        }
        self.pass_asks(id);
        if changed && self.planned_once && !self.closing {
            self.dial(now);
        }
    }

    fn pass_asks(&mut self, id: TunnelId) {
        while let Some(ask) = self.tunnels[id.index()].poll_ask() {
            self.requests.push_back(Request::Tunnel { tunnel: id, ask });
        }
    }

    fn take(&mut self, id: TunnelId, change: Change, before: TunnelState, now: Moment) {
        if before == TunnelState::Up {
            self.hold_until[id.index()] = now + HOLD;
        }
        match change {
            Change::Established(established) => {
                self.accounts.accepted(id);
                self.book.assign(id, &established.assignment, &self.facts);
            }
            Change::Lost { login_open: true } => self.accounts.undecided(id),
            Change::Lost { login_open: false } => {}
            Change::Failed { auth: true } => {
                self.accounts.refused(id);
                self.book.release(id);
            }
            Change::Failed { auth: false } => {
                self.accounts.undecided(id);
                self.book.release(id);
            }
            Change::Closed => self.book.release(id),
        }
    }

    /// Sends every tunnel that waits for its turn on its way, or refuses it.
    fn dial(&mut self, now: Moment) {
        for place in 0..self.tunnels.len() {
            if !self.tunnels[place].is_idle() {
                continue;
            }
            let id = self.tunnels[place].id();
            let refusal = self.refusal(id, now);
            match (refusal, self.accounts.ask(id)) {
                (Some(error), _) => self.with(id, now, |tunnel| tunnel.refuse(error, now)),
                (None, Turn::Go) => self.with(id, now, |tunnel| tunnel.dial(now)),
                (None, Turn::Wait) => {}
                (None, Turn::Refused) => {
                    let error = self.shared_refusal(id, now);
                    self.with(id, now, |tunnel| tunnel.refuse(error, now));
                }
            }
        }
    }

    /// Why a tunnel cannot even dial.
    fn refusal(&self, id: TunnelId, now: Moment) -> Option<TunnelError> {
        let config = self.tunnels[id.index()].config();
        let needs = !matches!(config.profile.auth_user_pass, AuthUserPass::No);
        (needs && config.credentials.is_none()).then(|| TunnelError::needs_credentials(&config.name, now))
    }

    /// The refusal that another tunnel of the same account met.
    fn shared_refusal(&self, id: TunnelId, now: Moment) -> TunnelError {
        let user = self.tunnels[id.index()].config().credentials.as_ref().map(|c| c.user.clone());
        let same = |other: &&Tunnel| other.config().credentials.as_ref().map(|c| c.user.clone()) == user;
        let mut refused = self.tunnels.iter().filter(same).filter(|t| t.state() == TunnelState::Failed);
        let error = refused.find_map(|tunnel| tunnel.error().filter(|e| e.stage == "auth").cloned());
        error.map_or_else(
            || TunnelError::needs_credentials("this account", now),
            |error| TunnelError { at: now, ..error },
        )
    }

    fn decide_or_note(&mut self, now: Moment) {
        if let Err(error) = self.decide(now) {
            tracing::error!("the plan stays as it was: {error}");
            self.plan_trouble = Some(error.to_string());
        }
    }

    /// Makes claims, default, policy and plan anew from what is known, and asks for what has changed.
    fn decide(&mut self, now: Moment) -> Result<(), PlanError> {
        self.defaults = self.decide_defaults(now);
        let all: Vec<Claim> = self.tunnels.iter().flat_map(own_claims).collect();
        self.claims = mrvpn_netplan::effective(&all, &self.facts, &self.config.rules);
        self.claim_conflicts = mrvpn_netplan::claim_conflicts(&all, &self.facts, &self.config.rules, self.book.pools());
        self.policy = Arc::new(self.make_policy());
        self.requests.push_back(Request::Policy(Arc::clone(&self.policy)));
        let wanted = self.make_plan()?;
        if wanted != self.wanted {
            self.wanted = wanted;
            self.ask_plan();
        }
        Ok(())
    }

    fn ask_plan(&mut self) {
        if self.asked.is_none() {
            self.asked = Some(self.wanted.clone());
            self.requests.push_back(Request::Plan(self.wanted.clone()));
        }
    }

    fn decide_defaults(&mut self, now: Moment) -> Defaults {
        let waited = now >= self.started + self.config.establish_limit;
        let v4 = self.stances(|offer| offer.v4);
        let v6 = self.stances(|offer| offer.v6);
        Defaults { v4: self.default_v4.decide(&v4, waited), v6: self.default_v6.decide(&v6, waited) }
    }

    fn stances(&self, family: impl Fn(Offer) -> bool) -> Vec<Stance> {
        self.tunnels.iter().map(|tunnel| stance(tunnel, &family)).collect()
    }

    /// When a later offer of the default need not wait any longer.
    fn default_limit(&self) -> Option<Moment> {
        let open = [self.defaults.v4, self.defaults.v6].contains(&DefaultChoice::Undecided);
        open.then(|| self.started + self.config.establish_limit)
    }

    fn make_policy(&self) -> Policy {
        Policy::new(PolicyInput {
            rules: self.config.rules.clone(),
            claims: self.claims.clone(),
            defaults: self.defaults,
            undecided_until: self.default_limit().map(|_| self.started + HOLD),
            fallback: Fallback::Auto,
            sources: self.book.sources(),
            own: self.book.own(),
            accept: self.tunnels.iter().flat_map(|tunnel| accepts(tunnel.id(), tunnel.config())).collect(),
            tunnels: self.tunnels.iter().map(|tunnel| self.view(tunnel)).collect(),
        })
    }

    fn view(&self, tunnel: &Tunnel) -> TunnelView {
        let entry = self.book.entry(tunnel.id());
        let state = match tunnel.state() {
            TunnelState::Up => Carries::Up,
            TunnelState::Failed | TunnelState::Stopped => Carries::Down,
            TunnelState::Connecting | TunnelState::Authenticating | TunnelState::Reconnecting => {
                Carries::Hold(self.hold_until[tunnel.id().index()])
            }
        };
        TunnelView {
            state,
            lease: entry.map(|entry| entry.lease).unwrap_or_default(),
            inner_v4: entry.and_then(|entry| entry.assigned_v4).map(|net| net.addr()),
            inner_v6: entry.and_then(|entry| entry.assigned_v6).map(|net| net.addr()),
            presented_v4: entry.and_then(|entry| entry.presented_v4),
            presented_v6: entry.and_then(|entry| entry.presented_v6),
            limit: limit(tunnel),
        }
    }

    fn make_plan(&self) -> Result<Plan, PlanError> {
        mrvpn_netplan::plan(&PlanInput {
            scope: &self.config.scope,
            mark: self.config.mark,
            book: &self.book,
            rules: &self.config.rules,
            claims: &self.claims,
            defaults: self.defaults,
            facts: &self.facts,
            lan_allowed: self.config.lan_allowed,
            inbound: &[],
            bypass: &[],
            outside: &[],
        })
    }
}

/// Largest inner packet of a tunnel in bytes. A stream carries packets of any size.
fn limit(tunnel: &Tunnel) -> u16 {
    let overhead = match tunnel.remote() {
        Some((_, Transport::Tcp)) => 0,
        Some((SocketAddr::V6(_), Transport::Udp)) => OVERHEAD_V6,
        Some((SocketAddr::V4(_), Transport::Udp)) | None => OVERHEAD_V4,
    };
    let pushed = tunnel.established().map_or(PATH_MTU, |established| established.assignment.tun_mtu);
    pushed.min(PATH_MTU.saturating_sub(overhead))
}

/// What a tunnel lets in.
fn accepts(tunnel: TunnelId, config: &TunnelConfig) -> impl Iterator<Item = Accept> {
    let ports = |ports: Ports| PortRange { first: ports.first, last: ports.last };
    config.accept.iter().map(move |entry| Accept { tunnel, protocol: entry.proto, ports: ports(entry.ports) })
}

fn own_claims(tunnel: &Tunnel) -> Vec<Claim> {
    let assignment = tunnel.established().map(|established| &established.assignment);
    mrvpn_netplan::claims(tunnel.id(), &tunnel.config().profile.pull, assignment)
}

fn stance(tunnel: &Tunnel, family: impl Fn(Offer) -> bool) -> Stance {
    let pull = &tunnel.config().profile.pull;
    let assignment = tunnel.established().map(|established| &established.assignment);
    let offers = tunnel.config().default || family(mrvpn_netplan::offers_default(pull, assignment));
    Stance { offers, settled: tunnel.is_settled() || pull.route_nopull }
}

/// The TLS engine of one tunnel.
fn connector(tunnel: &TunnelConfig) -> Connector {
    match RustlsConnector::new(&tunnel.profile.tls, tunnel.strict_server) {
        Ok(connector) => Ok(Arc::new(connector)),
        Err(error) => Err(error.to_string()),
    }
}

/// A seed of its own for each tunnel.
fn seed_for(mut seed: [u8; 32], place: u16) -> [u8; 32] {
    for (byte, number) in seed.iter_mut().zip(place.to_be_bytes()) {
        *byte ^= number;
    }
    seed
}
