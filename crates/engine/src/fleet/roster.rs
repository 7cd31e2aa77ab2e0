//! The tunnels of the configuration, in its order, each with what its server pushed last: all from which claims, default,
//! policy and plan follow, but for the sessions. A value that is cloned: a reload tries itself on a copy. What follows from
//! it is `decision.rs`'s, sessions are `runner.rs`'s.

mod adopt; // another configuration

pub(super) use adopt::Changes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;
use mrvpn_clock::Moment;
use mrvpn_netplan::{AddressBook, FourTuple, HostFacts, Offer, Pools, PoolsError};
use mrvpn_profile::Assignment;
use mrvpn_router::{Claim, TunnelId};

use super::defaults::{DefaultTunnel, Stance};
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
        self.other_pool().is_some_and(|pools| self.book.move_pool(pools))
    }

    /// The pool that would be chosen by what is known now, where that is another.
    fn other_pool(&self) -> Option<Pools> {
        let claims: Vec<IpNet> = self.claims().iter().map(|claim| claim.prefix).collect();
        let (config, now) = (&self.config, self.book.pools().base());
        let last = Some(now.addr());
        let chosen = Pools::choose(config.alias_pool, config.scope.slot, &local(&self.facts), &claims, last).ok()?;
        (chosen.base() != now).then_some(chosen)
    }

    /// Where addresses of ours will come from the next time, if not from where they come now.
    pub(super) fn next_pool(&self) -> Option<Ipv4Addr> {
        self.other_pool().map(|pools| pools.base().addr())
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
