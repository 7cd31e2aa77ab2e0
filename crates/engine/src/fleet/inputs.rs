//! What the fleet is told: of the host, of its plan, of time, and for one tunnel what came of what it asked. What a tunnel makes
//! of it is `tunnel.rs`'s, what follows for the others `work.rs`'s.

use std::io::ErrorKind;
use std::net::IpAddr;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_netplan::{HostFacts, OffloadSet};
use mrvpn_router::TunnelId;

use super::Fleet;
use super::runner::Runner;
use crate::attempt::Attempt;
use crate::lane::Carried;
use crate::status::ClockPair;
use crate::tunnel::OpenFailure;

impl Fleet {
    /// The plan that was asked for stands, or does not and the host is as before it.
    pub fn handle_planned(&mut self, outcome: Result<(), String>, now: Moment) {
        let asked = self.asked.take();
        let stands = outcome.is_ok();
        self.plan_trouble = outcome.err();
        let first = !std::mem::replace(&mut self.planned_once, true);
        self.version = self.version.wrapping_add(1);
        if let Some(plan) = asked {
            if first && stands {
                self.tell_interface(&plan);
            }
            if plan == self.wanted {
                self.note_captured();
            } else {
                self.ask_plan();
            }
        }
        if first {
            self.dial(now);
        }
    }

    /// What the host looks like now. The tunnels go on: their sockets find another way by themselves.
    pub fn handle_facts(&mut self, facts: HostFacts, now: Moment) {
        if facts == self.roster.facts {
            return;
        }
        self.roster.book.handle_facts(&facts);
        self.roster.facts = facts;
        self.version = self.version.wrapping_add(1);
        self.decide_or_note(now);
    }

    /// What time it is on both clocks, for what the fleet tells.
    pub fn handle_clocks(&mut self, clocks: ClockPair) {
        self.clocks = clocks;
    }

    /// See [`crate::Tunnel::handle_resolved`].
    pub fn handle_resolved(&mut self, tunnel: TunnelId, host: &str, answer: Result<Vec<IpAddr>, String>, now: Moment) {
        self.with(tunnel, now, |tunnel| tunnel.handle_resolved(host, answer, now));
    }

    /// See [`crate::Tunnel::handle_opened`].
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

    /// See [`crate::Tunnel::handle_datagram`].
    pub fn handle_datagram(&mut self, tunnel: TunnelId, attempt: Attempt, datagram: &[u8], now: Moment) -> bool {
        let mut taken = false;
        self.with(tunnel, now, |tunnel| taken = tunnel.handle_datagram(attempt, datagram, now));
        taken
    }

    /// See [`crate::Tunnel::handle_stream_ended`].
    pub fn handle_stream_ended(&mut self, tunnel: TunnelId, attempt: Attempt, how: ErrorKind, now: Moment) {
        self.with(tunnel, now, |tunnel| tunnel.handle_stream_ended(attempt, how, now));
    }

    /// See [`crate::Tunnel::handle_control`].
    pub fn handle_control(&mut self, tunnel: TunnelId, datagram: &[u8], now: Moment) -> bool {
        let mut taken = false;
        self.with(tunnel, now, |tunnel| taken = tunnel.handle_control(datagram, now));
        taken
    }

    /// See [`crate::Tunnel::heard`].
    pub fn heard(&mut self, tunnel: TunnelId, at: Moment) {
        if let Some(runner) = self.runners.get_mut(&tunnel) {
            runner.tunnel.heard(at);
        }
    }

    /// See [`crate::Tunnel::handle_port_refused`].
    pub fn handle_port_refused(&mut self, tunnel: TunnelId, attempt: Attempt, now: Moment) {
        self.with(tunnel, now, |tunnel| tunnel.handle_port_refused(attempt, now));
    }

    /// See [`crate::Tunnel::carried`].
    pub fn carried(&mut self, tunnel: TunnelId, carried: Carried, now: Moment) {
        self.with(tunnel, now, |tunnel| tunnel.carried(carried, now));
    }

    /// See [`crate::Tunnel::handle_peer_exit`].
    pub fn handle_peer_exit(&mut self, tunnel: TunnelId, attempt: Attempt, now: Moment) {
        self.with(tunnel, now, |tunnel| tunnel.handle_peer_exit(attempt, now));
    }

    /// See [`crate::Tunnel::handle_key_worn`].
    pub fn handle_key_worn(&mut self, tunnel: TunnelId, attempt: Attempt, now: Moment) {
        self.with(tunnel, now, |tunnel| tunnel.handle_key_worn(attempt, now));
    }

    /// See [`crate::Tunnel::handle_loop`].
    pub fn tunnel_loop(&mut self, tunnel: TunnelId, now: Moment) {
        self.with(tunnel, now, |tunnel| tunnel.handle_loop(now));
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
        let is_due = |runner: &&Runner| runner.tunnel.poll_timeout().is_some_and(|at| at <= now);
        let due: Vec<TunnelId> = self.runners.values().filter(is_due).map(|runner| runner.tunnel.id()).collect();
        for id in due {
            self.with(id, now, |tunnel| tunnel.handle_timeout(now));
        }
        self.open_gate(now);
        if self.default_limit().is_some_and(|at| at <= now) {
            self.decide_or_note(now);
        }
    }
}
