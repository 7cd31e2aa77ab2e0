//! The tunnels of the configuration, in its order, each with what its server pushed last: all from which claims, default,
//! policy and plan follow, but for the sessions. A value that is cloned: a reload tries itself on a copy. What follows from
//! it is `decision.rs`'s, sessions are `runner.rs`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use mrvpn_clock::Moment;
use mrvpn_netplan::{AddressBook, FourTuple, HostFacts, Offer, Pools, PoolsError};
use mrvpn_profile::Assignment;
use mrvpn_router::{Claim, Rule, Target, TunnelId};

use super::defaults::{DefaultTunnel, Stance};
use super::limits::REMEMBERED_CLAIMS;
use crate::config::{EngineConfig, TunnelConfig};
use crate::memory::{MEMORY_VERSION, Memory, Pushed, Remembered};

/// The tunnels, and what holds for all of them.
#[derive(Clone, Debug)]
pub(super) struct Roster {
    /// The configuration. Its tunnels are the members here, and its rules name their numbers.
    pub(super) config: EngineConfig,
    pub(super) facts: HostFacts,
    /// Connections that stood before anything was captured.
    pub(super) inbound: Vec<FourTuple>,
    /// In the order of the file.
    pub(super) order: Vec<TunnelId>,
    pub(super) book: AddressBook,
    pub(super) default_v4: DefaultTunnel,
    pub(super) default_v6: DefaultTunnel,
    pub(super) started: Moment,
    members: BTreeMap<TunnelId, Member>,
    /// Bind numbers of tunnels that have left the file and whose sessions are not over yet.
    leaving: BTreeMap<TunnelId, u16>,
    /// Whether a tunnel has been up in this run.
    was_up: bool,
}

/// One tunnel of the configuration.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) config: Arc<TunnelConfig>,
    /// Number of its bind address.
    pub(super) bind: u16,
    /// What its server pushed last, in this run or before it.
    pub(super) pushed: Option<Arc<Pushed>>,
    /// The user stopped it.
    pub(super) stopped: bool,
    /// It has connected or failed once in this run.
    pub(super) settled: bool,
}

/// What another configuration changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) added: Vec<TunnelId>,
    /// With its name.
    pub(super) removed: Vec<(TunnelId, String)>,
    /// Those that have to connect again.
    pub(super) restarted: Vec<TunnelId>,
    /// Those of which something else has changed.
    pub(super) changed: Vec<TunnelId>,
    /// Those that log in by another user or password.
    pub(super) logins: BTreeSet<TunnelId>,
    pub(super) rules: bool,
}

impl Roster {
    /// A roster with the tunnels of `config`, of which `memory` knows what it knows.
    ///
    /// # Errors
    /// No free address pool.
    pub(super) fn new(
        mut config: EngineConfig,
        memory: &Memory,
        facts: HostFacts,
        inbound: Vec<FourTuple>,
        now: Moment,
    ) -> Result<Self, PoolsError> {
        let file = EngineConfig { tunnels: std::mem::take(&mut config.tunnels), ..config.clone() };
        let known = file.tunnels.iter().filter_map(|tunnel| memory.tunnels.get(&tunnel.name)?.pushed.as_ref());
        let claimed: Vec<IpNet> = known.flat_map(|pushed| pushed.claims.iter().map(|(net, _)| *net)).collect();
        let pools = Pools::choose(config.alias_pool, config.scope.slot, &local(&facts), &claimed, memory.pool)?;
        let mut roster = Self {
            book: AddressBook::new(pools, 0),
            config: EngineConfig { rules: Vec::new(), ..config },
            facts,
            inbound,
            order: Vec::new(),
            default_v4: DefaultTunnel::default(),
            default_v6: DefaultTunnel::default(),
            started: now,
            members: BTreeMap::new(),
            leaving: BTreeMap::new(),
            was_up: false,
        };
        roster.adopt(file, memory);
        Ok(roster)
    }

    /// Takes another configuration: tunnels are told apart by name, and those that are the same in both stay as they are.
    /// `memory` is for tunnels that are new.
    pub(super) fn adopt(&mut self, mut config: EngineConfig, memory: &Memory) -> Changes {
        let mut changes = Changes::default();
        let tunnels = std::mem::take(&mut config.tunnels);
        self.dismiss(&tunnels, &mut changes);
        let reserved: BTreeSet<u16> =
            tunnels.iter().filter_map(|new| Some(memory.tunnels.get(&new.name)?.bind)).collect();
        self.order = tunnels.into_iter().map(|tunnel| self.enlist(tunnel, memory, &reserved, &mut changes)).collect();
        let rules: Vec<Rule> = config.rules.into_iter().map(|rule| self.numbered(rule)).collect();
        changes.rules = rules != self.config.rules;
        // What the host and the lanes were set up with stays for the run.
        let (scope, mark) = (self.config.scope.clone(), self.config.mark);
        let (alias_pool, offload) = (self.config.alias_pool, self.config.offload);
        self.config = EngineConfig { scope, mark, alias_pool, offload, rules, ..config };
        let binds: Vec<(TunnelId, u16)> =
            self.order.iter().filter_map(|id| Some((*id, self.members.get(id)?.bind))).collect();
        self.book.set_tunnels(&binds);
        for (id, _) in &changes.removed {
            self.release_default(*id);
        }
        changes
    }

    /// Takes out the members that `tunnels` does not name.
    fn dismiss(&mut self, tunnels: &[TunnelConfig], changes: &mut Changes) {
        let names: BTreeSet<&str> = tunnels.iter().map(|tunnel| tunnel.name.as_str()).collect();
        for id in std::mem::take(&mut self.order) {
            let gone = self.members.get(&id).filter(|member| !names.contains(member.config.name.as_str()));
            if let Some(member) = gone {
                changes.removed.push((id, member.config.name.clone()));
                self.leaving.insert(id, member.bind);
                self.members.remove(&id);
            }
        }
    }

    /// The number of a tunnel of the file, which is a member from now on.
    fn enlist(
        &mut self,
        config: TunnelConfig,
        memory: &Memory,
        reserved: &BTreeSet<u16>,
        changes: &mut Changes,
    ) -> TunnelId {
        if let Some(id) = self.find(&config.name) {
            self.renew(id, config, changes);
            return id;
        }
        let id = self.free_number();
        let known = memory.tunnels.get(&config.name);
        let member = Member {
            bind: self.free_bind(known.map(|known| known.bind), reserved),
            pushed: known.and_then(|known| known.pushed.clone()).map(|pushed| Arc::new(cut(pushed))),
            config: Arc::new(config),
            stopped: false,
            settled: false,
        };
        self.members.insert(id, member);
        changes.added.push(id);
        id
    }

    fn renew(&mut self, id: TunnelId, config: TunnelConfig, changes: &mut Changes) {
        let Some(member) = self.members.get_mut(&id) else { return };
        if same(&member.config, &config) {
            return;
        }
        let same_session = has_same_session(&member.config, &config);
        if member.config.credentials != config.credentials {
            changes.logins.insert(id);
        }
        member.config = Arc::new(config);
        if same_session || member.stopped {
            changes.changed.push(id);
        } else {
            changes.restarted.push(id);
            self.book.release(id);
        }
    }

    fn free_number(&self) -> TunnelId {
        let is_free = |id: &TunnelId| !self.members.contains_key(id) && !self.leaving.contains_key(id);
        (0..u16::MAX).map(TunnelId::new).find(is_free).unwrap_or(TunnelId::new(u16::MAX))
    }

    /// The bind number that is remembered, where nobody has it; else the lowest that nobody has and that nobody is
    /// remembered by.
    fn free_bind(&self, remembered: Option<u16>, reserved: &BTreeSet<u16>) -> u16 {
        let held: BTreeSet<u16> =
            self.members.values().map(|member| member.bind).chain(self.leaving.values().copied()).collect();
        let last = mrvpn_netplan::limits::MAX_TUNNELS;
        let own = remembered.filter(|bind| *bind < last && !held.contains(bind));
        own.or_else(|| (0..last).find(|bind| !held.contains(bind) && !reserved.contains(bind))).unwrap_or(last)
    }

    /// A rule whose tunnel is a place in the file, with that tunnel's number.
    fn numbered(&self, rule: Rule) -> Rule {
        let via = match rule.via {
            Target::Tunnel(place) => match self.order.get(place.index()) {
                Some(id) => Target::Tunnel(*id),
                None => Target::Block,
            },
            Target::Direct => Target::Direct,
            Target::Block => Target::Block,
        };
        Rule { via, ..rule }
    }

    /// The session of a tunnel that has left the file is over: its numbers are free.
    pub(super) fn forget(&mut self, id: TunnelId) {
        self.leaving.remove(&id);
    }

    /// A server assigned. Returns whether there is something new to remember.
    pub(super) fn learn(&mut self, id: TunnelId, assignment: &Assignment) -> bool {
        let Some(member) = self.members.get_mut(&id) else { return false };
        let (claims, offer) = mrvpn_netplan::pushed_claims(&member.config.profile.pull, assignment);
        let pushed = Pushed { claims, offer };
        let news = member.pushed.as_deref() != Some(&pushed);
        member.pushed = Some(Arc::new(pushed));
        member.settled = true;
        let moved = !std::mem::replace(&mut self.was_up, true) && self.move_pool(id);
        self.book.assign(id, assignment, &self.facts);
        news || moved
    }

    /// Goes to another pool where what the server of `id` pushed touches this one.
    fn move_pool(&mut self, id: TunnelId) -> bool {
        let touched = |claim: &Claim| self.book.pools().shared().iter().any(|pool| overlap(pool, &claim.prefix));
        if !self.own_claims(id).iter().any(touched) {
            return false;
        }
        let claims: Vec<IpNet> = self.claims().iter().map(|claim| claim.prefix).collect();
        let config = &self.config;
        let chosen = Pools::choose(config.alias_pool, config.scope.slot, &local(&self.facts), &claims, None);
        chosen.is_ok_and(|pools| pools.base() != self.book.pools().base() && self.book.move_pool(pools))
    }

    /// The user stops a tunnel: what its server claimed and offered is let go.
    pub(super) fn stop(&mut self, id: TunnelId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.stopped = true;
            member.pushed = None;
            self.release_default(id);
        }
    }

    /// The user starts it again.
    pub(super) fn start(&mut self, id: TunnelId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.stopped = false;
        }
    }

    /// It has connected or failed once.
    pub(super) fn settle(&mut self, id: TunnelId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.settled = true;
        }
    }

    /// If `id` is the default, the first tunnel that offers now is, or nobody.
    fn release_default(&mut self, id: TunnelId) {
        let (v4, v6) = (self.stances(|offer| offer.v4), self.stances(|offer| offer.v6));
        self.default_v4.release(id, &v4);
        self.default_v6.release(id, &v6);
    }

    /// Lets an earlier tunnel whose offer came later take over.
    pub(super) fn retake_default(&mut self) {
        let (v4, v6) = (self.stances(|offer| offer.v4), self.stances(|offer| offer.v6));
        self.default_v4.retake(&v4);
        self.default_v6.retake(&v6);
    }

    /// What each tunnel says about being the default, in the order of the file.
    pub(super) fn stances(&self, family: impl Fn(Offer) -> bool) -> Vec<(TunnelId, Stance)> {
        self.in_order().map(|(id, member)| (id, member.stance(&family))).collect()
    }

    /// All claims, in the order of the file.
    pub(super) fn claims(&self) -> Vec<Claim> {
        self.order.iter().flat_map(|id| self.own_claims(*id)).collect()
    }

    /// What one tunnel claims: by its profile, and by what its server pushed last.
    pub(super) fn own_claims(&self, id: TunnelId) -> Vec<Claim> {
        let Some(member) = self.members.get(&id).filter(|member| !member.stopped) else { return Vec::new() };
        let pushed = member.pushed.as_ref().map(|pushed| pushed.claims.as_slice()).unwrap_or_default();
        mrvpn_netplan::claims_of(id, &member.config.profile.pull, pushed)
    }

    /// What is left to the host whatever the rules say: the way of local wrappers.
    pub(super) fn bypass(&self) -> Vec<IpNet> {
        each_once(self.in_order().flat_map(|(_, member)| member.config.bypass.iter().copied()))
    }

    /// What profiles leave to the host; one that the user stopped says nothing any more.
    pub(super) fn outside(&self) -> Vec<IpNet> {
        let at_work = self.in_order().filter(|(_, member)| !member.stopped);
        each_once(at_work.flat_map(|(_, member)| mrvpn_netplan::left_to_host(&member.config.profile.pull)))
    }

    /// What the next engine should know.
    pub(super) fn memory(&self) -> Memory {
        let of = |member: &Member| Remembered { bind: member.bind, pushed: member.pushed.as_deref().cloned() };
        Memory {
            version: MEMORY_VERSION,
            pool: Some(self.book.pools().base().addr()),
            tunnels: self.in_order().map(|(_, member)| (member.config.name.clone(), of(member))).collect(),
        }
    }

    /// The tunnel of this name.
    pub(super) fn find(&self, name: &str) -> Option<TunnelId> {
        self.members.iter().find(|(_, member)| member.config.name == name).map(|(id, _)| *id)
    }

    pub(super) fn member(&self, id: TunnelId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// The name of a tunnel of the configuration.
    pub(super) fn name(&self, id: TunnelId) -> Option<&str> {
        self.members.get(&id).map(|member| member.config.name.as_str())
    }

    /// The tunnels of the configuration, in its order.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (TunnelId, &Member)> {
        self.order.iter().filter_map(|id| Some((*id, self.members.get(id)?)))
    }
}

impl Member {
    fn stance(&self, family: impl Fn(Offer) -> bool) -> Stance {
        if self.stopped {
            return Stance { offers: false, settled: true };
        }
        let pull = &self.config.profile.pull;
        let pushed = self.pushed.as_ref().map(|pushed| family(pushed.offer));
        let by_profile = family(mrvpn_netplan::offers_default(pull, None));
        let offers = self.config.default || by_profile || pushed == Some(true);
        // Whose last known push offered nothing is not waited for.
        Stance { offers, settled: self.settled || pull.route_nopull || pushed == Some(false) }
    }
}

/// Networks and addresses of the host.
fn local(facts: &HostFacts) -> Vec<IpNet> {
    let networks = facts.on_link.iter().map(|link| link.net).chain(facts.routed.iter().copied());
    networks.chain(facts.addresses.iter().map(|address: &IpAddr| IpNet::from(*address))).collect()
}

fn each_once(nets: impl Iterator<Item = IpNet>) -> Vec<IpNet> {
    nets.collect::<BTreeSet<_>>().into_iter().collect()
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// What is remembered comes from a file: no more of it counts than a push can have.
fn cut(mut pushed: Pushed) -> Pushed {
    pushed.claims.truncate(REMEMBERED_CLAIMS);
    pushed
}

/// Whether two say the same of a tunnel. On which line of the file a remote stands is not looked at.
fn same(one: &TunnelConfig, other: &TunnelConfig) -> bool {
    one == other || one.clone().without_lines() == other.clone().without_lines()
}

/// Whether the same session serves both.
fn has_same_session(one: &TunnelConfig, other: &TunnelConfig) -> bool {
    let profile = |config: &TunnelConfig| config.clone().without_lines().profile;
    one.credentials == other.credentials && one.strict_server == other.strict_server && profile(one) == profile(other)
}

impl TunnelConfig {
    fn without_lines(mut self) -> Self {
        self.profile.remotes.iter_mut().for_each(|remote| remote.line = 0);
        self
    }
}
