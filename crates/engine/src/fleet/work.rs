//! Work on one tunnel, and what follows from it for all. A fault in it (a panic) ends that work alone: the tunnel is made
//! anew and tries again after a pause, the others lose nothing (threats-and-faults.md, F-17).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mrvpn_clock::Moment;
use mrvpn_profile::AuthUserPass;
use mrvpn_router::TunnelId;

use super::accounts::Turn;
use super::gate::Opening;
use super::runner::{HOLD, Runner, Then};
use super::{Fleet, Request};
use crate::error::TunnelError;
use crate::tunnel::{Ask, Change, Connector, Tunnel, TunnelState};

impl Fleet {
    /// Works on one tunnel and takes out all that it has to say.
    pub(super) fn with(&mut self, id: TunnelId, now: Moment, work: impl FnOnce(&mut Tunnel)) {
        let Some(runner) = self.runners.get_mut(&id) else { return };
        let before = runner.tunnel.state();
        // Whatever the work has left half done is thrown away with the tunnel.
        if catch_unwind(AssertUnwindSafe(|| work(&mut runner.tunnel))).is_err() {
            tracing::error!(tunnel = %self.name_of(id), "a fault of mrvpn itself: this tunnel is made anew");
            self.make_anew(id, now);
        }
        self.follow(id, before, now);
    }

    /// Takes out what a tunnel has to say, after it was worked on.
    fn follow(&mut self, id: TunnelId, before: TunnelState, now: Moment) {
        if self.runners.get(&id).is_some_and(|runner| runner.tunnel.state() != before) {
            self.version = self.version.wrapping_add(1);
        }
        let (mut changed, mut came_up) = (false, false);
        while let Some(change) = self.runners.get_mut(&id).and_then(|runner| runner.tunnel.poll_change()) {
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
        self.open_gate(now);
        self.tell_state(id);
        self.go_on(id, now);
        if changed {
            self.dial(now);
        }
    }

    pub(super) fn pass_asks(&mut self, id: TunnelId) {
        let Some(runner) = self.runners.get_mut(&id) else { return };
        while let Some(ask) = runner.tunnel.poll_ask() {
            match ask {
                Ask::Open { attempt, remote, transport } => {
                    runner.tunnel.postpone(attempt);
                    self.gate.ask(Opening { tunnel: id, attempt, remote, transport });
                    continue;
                }
                Ask::Adopt { attempt, .. } | Ask::Drop { attempt } => self.gate.done(id, attempt),
                Ask::Close => self.gate.all_done(id),
                Ask::Fresh
                | Ask::Resolve { .. }
                | Ask::Transmit { .. }
                | Ask::Install { .. }
                | Ask::Retire { .. }
                | Ask::ExitNotify => {}
            }
            self.requests.push_back(Request::Tunnel { tunnel: id, ask });
        }
    }

    /// Lets those begin a handshake whose turn it is.
    pub(super) fn open_gate(&mut self, now: Moment) {
        while let Some(Opening { tunnel, attempt, remote, transport }) = self.gate.poll(now) {
            if let Some(runner) = self.runners.get_mut(&tunnel) {
                runner.tunnel.begin(attempt, now);
            }
            let ask = Ask::Open { attempt, remote, transport };
            self.requests.push_back(Request::Tunnel { tunnel, ask });
        }
    }

    fn take(&mut self, id: TunnelId, change: Change, before: TunnelState, now: Moment) {
        let Some(runner) = self.runners.get_mut(&id) else { return };
        if before == TunnelState::Up {
            runner.hold_until = now + HOLD;
        }
        let ending = runner.then != Then::Nothing;
        if runner.tunnel.is_settled() {
            self.roster.settle(id);
        }
        match change {
            Change::Established(established) => {
                runner.await_capture();
                self.accounts.accepted(id);
                if !ending {
                    self.unremembered |= self.roster.learn(id, &established.assignment);
                }
            }
            Change::Lost { login_open: true } => self.accounts.undecided(id),
            Change::Lost { login_open: false } => {}
            Change::Failed { auth: true } => {
                self.accounts.refused(id);
                self.roster.book.release(id);
            }
            Change::Failed { auth: false } => {
                self.accounts.undecided(id);
                self.roster.book.release(id);
            }
            Change::Closed => {
                self.accounts.undecided(id);
                self.release_closed(id);
            }
        }
    }

    /// A tunnel that only begins anew may get the same addresses again: its flows wait for it.
    fn release_closed(&mut self, id: TunnelId) {
        let begins = self.runners.get(&id).is_some_and(|runner| runner.then == Then::Begin);
        if self.closing || !begins {
            self.roster.book.release(id);
        }
    }

    /// What follows when a tunnel has ended that was told to.
    pub(super) fn go_on(&mut self, id: TunnelId, now: Moment) {
        let Some(runner) = self.runners.get(&id).filter(|runner| runner.tunnel.state() == TunnelState::Stopped) else {
            return;
        };
        match runner.then {
            Then::Leave => {
                self.retired.insert(id, runner.tunnel.last_attempt());
                self.runners.remove(&id);
                self.roster.forget(id);
            }
            Then::Begin if !self.closing => {
                self.begin(id, now);
                self.decide_or_note(now);
                self.dial(now);
            }
            Then::Nothing | Then::Stay | Then::Begin => {}
        }
    }

    /// Makes a tunnel for a number that has none; it is not dialled yet.
    pub(super) fn engage(&mut self, id: TunnelId, connector: Connector, now: Moment) {
        let last = self.retired.remove(&id).unwrap_or_default();
        let seed = self.draw_seed();
        let Some(member) = self.roster.member(id) else { return };
        let tunnel = Tunnel::new(id, Arc::clone(&member.config), connector.clone(), seed, now).counting_from(last);
        self.runners.insert(id, Runner::new(tunnel, connector, now));
        self.requests.push_back(Request::Tunnel { tunnel: id, ask: Ask::Fresh });
    }

    /// A tunnel that has ended is as if it had never run, and is not dialled yet.
    pub(super) fn begin(&mut self, id: TunnelId, now: Moment) {
        let seed = self.draw_seed();
        let Some(member) = self.roster.member(id) else { return };
        let config = Arc::clone(&member.config);
        let Some(runner) = self.runners.get_mut(&id) else { return };
        let last = runner.tunnel.last_attempt();
        runner.tunnel = Tunnel::new(id, config, runner.connector.clone(), seed, now).counting_from(last);
        runner.then = Then::Nothing;
    }

    fn make_anew(&mut self, id: TunnelId, now: Moment) {
        let seed = self.draw_seed();
        if let Some(mut runner) = self.runners.remove(&id) {
            let ending = runner.then != Then::Nothing || self.closing;
            runner.tunnel = runner.tunnel.made_anew(seed, now);
            if ending {
                runner.tunnel.close(now);
            }
            self.runners.insert(id, runner);
        }
    }

    /// Sends every tunnel that waits for its turn on its way, or refuses it.
    pub(super) fn dial(&mut self, now: Moment) {
        if !self.planned_once || self.closing {
            return;
        }
        for id in self.roster.order.clone() {
            let idle = self.runners.get(&id).is_some_and(|runner| runner.tunnel.is_idle());
            if !idle || self.roster.member(id).is_none_or(|member| member.stopped) {
                continue;
            }
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
        let config = &self.roster.member(id)?.config;
        let needs = !matches!(config.profile.auth_user_pass, AuthUserPass::No);
        (needs && config.credentials.is_none()).then(|| TunnelError::needs_credentials(&config.name, now))
    }

    /// The refusal that another tunnel of the same account met.
    fn shared_refusal(&self, id: TunnelId, now: Moment) -> TunnelError {
        let user = |id: TunnelId| Some(self.roster.member(id)?.config.credentials.as_ref()?.user.clone());
        let same = self.roster.order.iter().filter(|other| user(**other) == user(id));
        let refused = same.filter_map(|id| self.runners.get(id)).filter(|r| r.tunnel.state() == TunnelState::Failed);
        let error = refused.filter_map(|runner| runner.tunnel.error()).find(|error| error.stage == "auth");
        error.map_or_else(
            || TunnelError::needs_credentials("this account", now),
            |error| TunnelError { at: now, ..error.clone() },
        )
    }
}
