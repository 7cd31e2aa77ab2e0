//! What follows from the roster and the states of the tunnels: claims that stand, the default, the policy of the lanes and
//! the plan of the host. Made anew at each change; what has changed is asked for.

use std::sync::Arc;

use mrvpn_clock::Moment;
use mrvpn_netplan::{Conflict, Plan, PlanError, PlanInput};
use mrvpn_profile::config::Ports;
use mrvpn_router::{
    Accept, Claim, DefaultChoice, Defaults, Fallback, Policy, PolicyInput, PortRange, TunnelId, TunnelView,
};

use super::roster::Roster;
use super::runner::{Captured, HOLD, Runner, Then, views};
use super::{Fleet, Request};
use crate::config::TunnelConfig;
use crate::tunnel::TunnelState;

/// Who has what.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) defaults: Defaults,
    /// Claims that stand on this host, in the order of the file.
    pub(super) claims: Vec<Claim>,
    /// What became of the others, and who claims the same.
    pub(super) conflicts: Vec<Conflict>,
}

impl Decision {
    /// Before anything is known.
    pub(super) const NONE: Self = Self {
        defaults: Defaults { v4: DefaultChoice::NotOffered, v6: DefaultChoice::NotOffered },
        claims: Vec::new(),
        conflicts: Vec::new(),
    };

    /// Whether there is or may soon be a default.
    pub(super) fn has_default(&self) -> bool {
        [self.defaults.v4, self.defaults.v6].iter().any(|choice| *choice != DefaultChoice::NotOffered)
    }
}

impl Roster {
    /// Claims and default as they are at `now`.
    pub(super) fn decide(&mut self, now: Moment) -> Decision {
        let waited = now >= self.started + self.config.establish_limit;
        let (v4, v6) = (self.stances(|offer| offer.v4), self.stances(|offer| offer.v6));
        let defaults = Defaults { v4: self.default_v4.decide(&v4, waited), v6: self.default_v6.decide(&v6, waited) };
        let all = self.claims();
        let rules = &self.config.rules;
        Decision {
            defaults,
            claims: mrvpn_netplan::effective(&all, &self.facts, rules),
            conflicts: mrvpn_netplan::claim_conflicts(&all, &self.facts, rules, self.book.pools()),
        }
    }

    /// When a later offer of the default need not wait any longer.
    pub(super) fn default_limit(&self, decision: &Decision) -> Option<Moment> {
        let open = [decision.defaults.v4, decision.defaults.v6].contains(&DefaultChoice::Undecided);
        open.then(|| self.started + self.config.establish_limit)
    }

    pub(super) fn policy(&self, decision: &Decision, tunnels: Vec<TunnelView>) -> Policy {
        Policy::new(PolicyInput {
            rules: self.config.rules.clone(),
            claims: decision.claims.clone(),
            defaults: decision.defaults,
            undecided_until: self.default_limit(decision).map(|_| self.started + HOLD),
            fallback: Fallback::Auto,
            sources: self.book.sources(),
            own: self.book.own(),
            accept: self.in_order().flat_map(|(id, member)| accepts(id, &member.config)).collect(),
            tunnels,
        })
    }

    pub(super) fn plan(&self, decision: &Decision) -> Result<Plan, PlanError> {
        mrvpn_netplan::plan(&PlanInput {
            scope: &self.config.scope,
            mark: self.config.mark,
            book: &self.book,
            rules: &self.config.rules,
            claims: &decision.claims,
            defaults: decision.defaults,
            facts: &self.facts,
            lan_allowed: self.config.lan_allowed,
            inbound: &self.inbound,
            bypass: &self.bypass(),
            outside: &self.outside(),
        })
    }
}

impl Fleet {
    /// Makes everything anew from what is known, and asks for what has changed. What is to be remembered is asked for
    /// before the plan that follows from it.
    pub(super) fn decide(&mut self, now: Moment) -> Result<(), PlanError> {
        self.decision = self.roster.decide(now);
        self.remember();
        self.policy = Arc::new(self.make_policy());
        self.requests.push_back(Request::Policy(Arc::clone(&self.policy)));
        let plan = self.roster.plan(&self.decision);
        self.tell();
        let wanted = plan?;
        if wanted != self.wanted {
            self.wanted = wanted;
            self.ask_plan();
        }
        if self.asked.is_none() {
            self.note_captured();
        }
        Ok(())
    }

    /// The same in the run, where the plan before it stays if there can be no other.
    pub(super) fn decide_or_note(&mut self, now: Moment) {
        if let Err(error) = self.decide(now) {
            tracing::error!("the plan stays as it was: {error}");
            self.plan_trouble = Some(error.to_string());
        }
    }

    pub(super) fn make_policy(&self) -> Policy {
        let present = self.runners.values().filter(|runner| runner.then != Then::Leave);
        self.roster.policy(&self.decision, views(present, &self.roster.book))
    }

    pub(super) fn ask_plan(&mut self) {
        if self.asked.is_none() {
            self.asked = Some(self.wanted.clone());
            self.requests.push_back(Request::Plan(self.wanted.clone()));
        }
    }

    /// The host does all that follows from what servers have pushed, or cannot: then `status` says why.
    pub(super) fn note_captured(&mut self) {
        let up = |runner: &Runner| runner.tunnel.state() == TunnelState::Up;
        let ids: Vec<TunnelId> = self.runners.iter().filter(|(_, r)| up(r)).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(runner) = self.runners.get_mut(&id) {
                runner.captured = Captured::Yes;
            }
            self.tell_state(id);
        }
    }

    fn remember(&mut self) {
        if std::mem::take(&mut self.unremembered) {
            let memory = self.roster.memory();
            if memory != self.memory {
                self.memory = memory.clone();
                self.requests.push_back(Request::Remember(memory));
            }
        }
    }
}

/// What a tunnel lets in.
fn accepts(tunnel: TunnelId, config: &TunnelConfig) -> impl Iterator<Item = Accept> {
    let ports = |ports: Ports| PortRange { first: ports.first, last: ports.last };
    config.accept.iter().map(move |entry| Accept { tunnel, protocol: entry.proto, ports: ports(entry.ports) })
}
