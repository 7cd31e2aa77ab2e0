//! The fleet as `status` shows it (contract.md section 3). Reads only; what counts packets is handed in. Warnings are
//! `warnings.rs`'s.

use std::collections::{BTreeMap, BTreeSet};

use mrvpn_netplan::ranges::is_private;
use mrvpn_netplan::{Conflict, ConflictKind};
use mrvpn_profile::Transport;
use mrvpn_router::{DefaultChoice, TunnelId};

use super::Fleet;
use super::roster::Member;
use super::runner::{Runner, limit};
use super::warnings::tunnel_warnings;
use crate::error::TunnelError;
use crate::status::{ClockPair, ConflictStatus, DefaultStatus, ErrorStatus, InterfaceStatus, Status, TunnelStatus};
use crate::tunnel::TunnelState;

/// What a lane has counted for one tunnel, or for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Inner bytes received.
    pub rx_bytes: u64,
    /// Inner bytes sent.
    pub tx_bytes: u64,
    /// Packets that were not forwarded, by reason.
    pub drops: BTreeMap<String, u64>,
}

impl Fleet {
    /// The whole document. `counted` gives a tunnel's counters, or with `None` those of no tunnel.
    #[must_use]
    pub fn status(&self, clocks: ClockPair, counted: &dyn Fn(Option<TunnelId>) -> Counted) -> Status {
        Status {
            schema: 1,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config: self.roster.config.config_path.clone(),
            since: clocks.rfc3339(self.roster.started),
            state: self.state_name().to_owned(),
            interface: Some(self.interface_status()),
            default: self.default_status(),
            lan: self.lan(),
            warnings: self.warnings(),
            tunnels: self
                .present()
                .map(|(member, runner)| self.tunnel_status(member, runner, clocks, counted))
                .collect(),
            conflicts: self.conflicts().map(|conflict| conflict_status(conflict, |id| self.name_of(id))).collect(),
            guard: "off".to_owned(),
            drops: counted(None).drops,
            pid: std::process::id(),
        }
    }

    /// Whether each tunnel is up, has failed or was stopped, so that `up` need not wait any longer.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let settled = |runner: &Runner| match runner.shown() {
            TunnelState::Up | TunnelState::Stopped => true,
            TunnelState::Connecting | TunnelState::Authenticating | TunnelState::Reconnecting | TunnelState::Failed => {
                runner.tunnel.error().is_some()
            }
        };
        self.planned_once && self.present().all(|(_, runner)| settled(runner))
    }

    /// Whether all tunnels were refused for good, so that running on makes no sense.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        let refused = |runner: &Runner| {
            runner.shown() == TunnelState::Failed && runner.tunnel.error().is_none_or(|e| e.retry_at.is_none())
        };
        self.present().next().is_some() && self.present().all(|(_, runner)| refused(runner))
    }

    /// The tunnels of the configuration in its order, with their sessions.
    pub(super) fn present(&self) -> impl Iterator<Item = (&Member, &Runner)> {
        self.roster.in_order().filter_map(|(id, member)| Some((member, self.runners.get(&id)?)))
    }

    pub(super) fn conflicts(&self) -> impl Iterator<Item = &Conflict> {
        self.roster.book.conflicts().iter().chain(&self.decision.conflicts)
    }

    /// Tunnels that the user stopped do not count, unless all are.
    fn state_name(&self) -> &'static str {
        let mut counted = self.present().map(|(_, runner)| runner).filter(|r| r.shown() != TunnelState::Stopped);
        let running: Vec<&Runner> = counted.by_ref().collect();
        let has_error =
            |runner: &&Runner| runner.shown() != TunnelState::Reconnecting && runner.tunnel.error().is_some();
        if running.is_empty() {
            "down"
        } else if running.iter().all(|runner| runner.shown() == TunnelState::Up) {
            "up"
        } else if running.iter().any(has_error) {
            "degraded"
        } else if running.iter().any(|runner| runner.shown() == TunnelState::Reconnecting) {
            "reconnecting"
        } else {
            "connecting"
        }
    }

    fn interface_status(&self) -> InterfaceStatus {
        InterfaceStatus {
            name: self.roster.config.scope.device.clone(),
            strategy: "alias".to_owned(),
            mtu: 1500,
            generation: 1,
            offloads: self.offloads.names().map(str::to_owned).collect(),
            addresses: self.roster.book.interface_addresses().iter().map(ToString::to_string).collect(),
        }
    }

    fn lan(&self) -> Vec<String> {
        let private = self.roster.facts.on_link.iter().map(|link| link.net).filter(is_private);
        let lan: BTreeSet<String> = private.map(|net| net.to_string()).collect();
        lan.into_iter().collect()
    }

    pub(super) fn default_status(&self) -> Option<DefaultStatus> {
        let defaults = self.decision.defaults;
        let (choice, waiting) = match (defaults.v4, defaults.v6) {
            (DefaultChoice::Tunnel(id), _) => {
                (id, self.roster.default_v4.waiting(&self.roster.stances(|offer| offer.v4)))
            }
            (_, DefaultChoice::Tunnel(id)) => {
                (id, self.roster.default_v6.waiting(&self.roster.stances(|offer| offer.v6)))
            }
            (DefaultChoice::NotOffered | DefaultChoice::Undecided, _) => return None,
        };
        let config = &self.roster.member(choice)?.config;
        let why = if config.default {
            "first in the file that says `default = true`"
        } else if config.profile.pull.redirect_gateway.is_some() {
            "first in the file whose profile asks for it"
        } else {
            "first in the file whose server offers it"
        };
        Some(DefaultStatus {
            via: config.name.clone(),
            why: why.to_owned(),
            waiting: waiting.iter().map(|id| self.name_of(*id)).collect(),
        })
    }

    fn tunnel_status(
        &self,
        member: &Member,
        runner: &Runner,
        clocks: ClockPair,
        counted: &dyn Fn(Option<TunnelId>) -> Counted,
    ) -> TunnelStatus {
        let (config, tunnel, book) = (&member.config, &runner.tunnel, &self.roster.book);
        let entry = book.entry(tunnel.id());
        let established = tunnel.established();
        let assignment = established.map(|established| &established.assignment);
        let counters = counted(Some(tunnel.id()));
        let assigned_v4 = entry.and_then(|entry| entry.assigned_v4).map(|net| net.to_string());
        let assigned_v6 = entry.and_then(|entry| entry.assigned_v6).map(|net| net.to_string());
        let gateway_v4 = assignment.and_then(|a| a.ipv4).and_then(|a| a.gateway).map(|a| a.to_string());
        let gateway_v6 = assignment.and_then(|a| a.ipv6).and_then(|a| a.gateway).map(|a| a.to_string());
        let presented_v4 = entry.and_then(|entry| entry.presented_v4).map(|address| format!("{address}/32"));
        let presented_v6 = entry.and_then(|entry| entry.presented_v6).map(|address| format!("{address}/128"));
        let bind_v4 = book.bind_v4(tunnel.id()).map(|address| address.to_string());
        let bind_v6 = book.bind_v6(tunnel.id()).map(|address| address.to_string());
        let claims = self.roster.own_claims(tunnel.id());
        TunnelStatus {
            name: config.name.clone(),
            state: runner.shown().name().to_owned(),
            since: clocks.rfc3339(tunnel.since()),
            assigned: assigned_v4.into_iter().chain(assigned_v6).collect(),
            presented: presented_v4.into_iter().chain(presented_v6).collect(),
            bind: bind_v4.into_iter().chain(bind_v6).collect(),
            gateway: gateway_v4.into_iter().chain(gateway_v6).collect(),
            dns: assignment.map(|a| a.dns.iter().map(ToString::to_string).collect()).unwrap_or_default(),
            routes: claims.iter().map(|claim| claim.prefix.to_string()).collect(),
            remote: tunnel.remote().map(|(remote, transport)| format!("{remote}/{}", transport_name(transport))),
            remote_name: tunnel.remote_name().map(str::to_owned),
            cipher: established.map(|established| established.cipher.to_string()),
            mtu: established.map(|_| limit(tunnel)),
            connect_ms: tunnel.connect_time().map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            rx_bytes: counters.rx_bytes,
            tx_bytes: counters.tx_bytes,
            drops: counters.drops,
            warnings: tunnel_warnings(config, tunnel),
            error: tunnel.error().map(|error| error_status(error, &config.file, clocks)),
        }
    }
}

const fn kind_name(kind: ConflictKind) -> &'static str {
    match kind {
        ConflictKind::Address => "address",
        ConflictKind::Subnet => "subnet",
        ConflictKind::Lan => "lan",
        ConflictKind::Pool => "pool",
    }
}

const fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
    }
}

pub(super) fn conflict_status(conflict: &Conflict, name: impl Fn(TunnelId) -> String) -> ConflictStatus {
    ConflictStatus {
        kind: kind_name(conflict.kind).to_owned(),
        tunnels: conflict.tunnels.iter().map(|id| name(*id)).collect(),
        what: conflict.what.clone(),
        resolution: conflict.resolution.describe(name),
    }
}

pub(super) fn error_status(error: &TunnelError, file: &str, clocks: ClockPair) -> ErrorStatus {
    ErrorStatus {
        code: error.code.to_owned(),
        stage: error.stage.to_owned(),
        message: error.message.clone(),
        hint: error.hint.clone(),
        file: Some(file.to_owned()),
        line: None,
        at: clocks.rfc3339(error.at),
        // Once it tries again, that time is over, and what comes next is not known.
        retry_at: error.retry_at.filter(|at| *at > clocks.moment).map(|at| clocks.rfc3339(at)),
    }
}
