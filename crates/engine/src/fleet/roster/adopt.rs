//! How a roster takes another configuration: who stays, who goes, who is new, and by which numbers. Tunnels are told apart by
//! name; what follows for their sessions is `fleet/reload.rs`'s.

use std::collections::BTreeSet;
use std::sync::Arc;

use mrvpn_router::{Rule, Target, TunnelId};

use super::{Member, Roster};
use crate::config::{EngineConfig, TunnelConfig};
use crate::fleet::limits::REMEMBERED_CLAIMS;
use crate::memory::{Memory, Pushed};

/// What another configuration changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::fleet) struct Changes {
    pub(in crate::fleet) added: Vec<TunnelId>,
    /// With its name.
    pub(in crate::fleet) removed: Vec<(TunnelId, String)>,
    /// Those that have to connect again.
    pub(in crate::fleet) restarted: Vec<TunnelId>,
    /// Those of which something else has changed.
    pub(in crate::fleet) changed: Vec<TunnelId>,
    /// Those that log in by another user or password.
    pub(in crate::fleet) logins: BTreeSet<TunnelId>,
    pub(in crate::fleet) rules: bool,
}

impl Roster {
    /// Takes another configuration: tunnels are told apart by name, and those that are the same in both stay as they are.
    /// `memory` is for tunnels that are new.
    pub(in crate::fleet) fn adopt(&mut self, mut config: EngineConfig, memory: &Memory) -> Changes {
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
