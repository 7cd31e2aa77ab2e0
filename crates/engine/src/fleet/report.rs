//! The fleet as `status` shows it (contract.md section 3). Reads only; what counts packets is handed in.

use std::collections::{BTreeMap, BTreeSet};

use mrvpn_netplan::ranges::is_private;
use mrvpn_netplan::{Conflict, ConflictKind};
use mrvpn_profile::Transport;
use mrvpn_router::limits::LEAST_MTU_V6;
use mrvpn_router::{DefaultChoice, TunnelId};

use super::{Fleet, limit, own_claims};
use crate::error::TunnelError;
use crate::status::{ClockPair, ConflictStatus, DefaultStatus, ErrorStatus, InterfaceStatus, Status, TunnelStatus};
use crate::tunnel::{Tunnel, TunnelState};

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
            config: self.config.config_path.clone(),
            since: clocks.rfc3339(self.started),
            state: self.state_name().to_owned(),
            interface: Some(self.interface_status()),
            default: self.default_status(),
            lan: self.lan(),
            warnings: self.warnings(),
            tunnels: self.tunnels.iter().map(|tunnel| self.tunnel_status(tunnel, clocks, counted)).collect(),
            conflicts: self.book.conflicts().iter().chain(&self.claim_conflicts).map(|c| self.conflict(c)).collect(),
            guard: "off".to_owned(),
            drops: counted(None).drops,
            pid: std::process::id(),
        }
    }

    /// Whether each tunnel is up or has failed, so that `up` need not wait any longer.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.planned_once && self.tunnels.iter().all(|t| t.state() == TunnelState::Up || t.error().is_some())
    }

    /// Whether all tunnels were refused for good, so that running on makes no sense.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        let refused = |t: &Tunnel| t.state() == TunnelState::Failed && t.error().is_none_or(|e| e.retry_at.is_none());
        !self.tunnels.is_empty() && self.tunnels.iter().all(refused)
    }

    fn state_name(&self) -> &'static str {
        let all = |state| self.tunnels.iter().all(|tunnel| tunnel.state() == state);
        let any = |state| self.tunnels.iter().any(|tunnel| tunnel.state() == state);
        if all(TunnelState::Stopped) {
            "down"
        } else if all(TunnelState::Up) {
            "up"
        } else if self.tunnels.iter().any(|t| t.state() != TunnelState::Reconnecting && t.error().is_some()) {
            "degraded"
        } else if any(TunnelState::Reconnecting) {
            "reconnecting"
        } else {
            "connecting"
        }
    }

    fn interface_status(&self) -> InterfaceStatus {
        InterfaceStatus {
            name: self.config.scope.device.clone(),
            strategy: "alias".to_owned(),
            mtu: 1500,
            generation: 1,
            offloads: self.offloads.names().map(str::to_owned).collect(),
            addresses: self.book.interface_addresses().iter().map(ToString::to_string).collect(),
        }
    }

    fn lan(&self) -> Vec<String> {
        let private = self.facts.on_link.iter().map(|link| link.net).filter(is_private);
        let lan: BTreeSet<String> = private.map(|net| net.to_string()).collect();
        lan.into_iter().collect()
    }

    fn default_status(&self) -> Option<DefaultStatus> {
        let (choice, over, stances) = match self.defaults.v4 {
            DefaultChoice::Tunnel(id) => (id, self.default_v4, self.stances(|offer| offer.v4)),
            DefaultChoice::NotOffered | DefaultChoice::Undecided => match self.defaults.v6 {
                DefaultChoice::Tunnel(id) => (id, self.default_v6, self.stances(|offer| offer.v6)),
                DefaultChoice::NotOffered | DefaultChoice::Undecided => return None,
            },
        };
        let tunnel = self.tunnels.get(choice.index())?;
        let why = if tunnel.config().default {
            "first in the file that says `default = true`"
        } else if tunnel.config().profile.pull.redirect_gateway.is_some() {
            "first in the file whose profile asks for it"
        } else {
            "first in the file whose server offers it"
        };
        let waiting = over.waiting(&stances);
        Some(DefaultStatus {
            via: tunnel.config().name.clone(),
            why: why.to_owned(),
            waiting: waiting.iter().filter_map(|id| self.name(*id)).collect(),
        })
    }

    fn conflict(&self, conflict: &Conflict) -> ConflictStatus {
        let name = |id: TunnelId| self.name(id).unwrap_or_else(|| id.to_string());
        ConflictStatus {
            kind: kind_name(conflict.kind).to_owned(),
            tunnels: conflict.tunnels.iter().map(|id| name(*id)).collect(),
            what: conflict.what.clone(),
            resolution: conflict.resolution.describe(name),
        }
    }

    fn name(&self, id: TunnelId) -> Option<String> {
        self.tunnels.get(id.index()).map(|tunnel| tunnel.config().name.clone())
    }

    fn warnings(&self) -> Vec<String> {
        let held = match self.default_status() {
            Some(default) => default.via,
            None => self.tunnels.iter().map(|t| t.config().name.as_str()).collect::<Vec<_>>().join(", "),
        };
        let fails = if held.contains(", ") { "their tunnel fails".to_owned() } else { format!("{held} fails") };
        let mut warnings = vec![format!(
            "While mrvpn runs or has crashed, traffic of {held} is refused if {fails}. Programs that bind to a network \
             card themselves are not held (guard, later)."
        )];
        let resolvers: Vec<String> = self.resolvers.iter().map(ToString::to_string).collect();
        let named = if resolvers.is_empty() { String::new() } else { format!(" ({})", resolvers.join(", ")) };
        warnings.push(format!(
            "Names are still asked of this machine's own resolver{named}: sites may see your real region."
        ));
        warnings.extend(self.plan_trouble.iter().map(|why| format!("the host is not as planned: {why}")));
        warnings
    }

    fn tunnel_status(
        &self,
        tunnel: &Tunnel,
        clocks: ClockPair,
        counted: &dyn Fn(Option<TunnelId>) -> Counted,
    ) -> TunnelStatus {
        let config = tunnel.config();
        let entry = self.book.entry(tunnel.id());
        let established = tunnel.established();
        let assignment = established.map(|established| &established.assignment);
        let counters = counted(Some(tunnel.id()));
        let assigned_v4 = entry.and_then(|entry| entry.assigned_v4).map(|net| net.to_string());
        let assigned_v6 = entry.and_then(|entry| entry.assigned_v6).map(|net| net.to_string());
        let gateway_v4 = assignment.and_then(|a| a.ipv4).and_then(|a| a.gateway).map(|a| a.to_string());
        let gateway_v6 = assignment.and_then(|a| a.ipv6).and_then(|a| a.gateway).map(|a| a.to_string());
        let presented_v4 = entry.and_then(|entry| entry.presented_v4).map(|address| format!("{address}/32"));
        let presented_v6 = entry.and_then(|entry| entry.presented_v6).map(|address| format!("{address}/128"));
        let bind_v4 = self.book.bind_v4(tunnel.id()).map(|address| address.to_string());
        let bind_v6 = self.book.bind_v6(tunnel.id()).map(|address| address.to_string());
        let mut routes: Vec<String> = own_claims(tunnel).iter().map(|claim| claim.prefix.to_string()).collect();
        routes.dedup();
        TunnelStatus {
            name: config.name.clone(),
            state: tunnel.state().name().to_owned(),
            since: clocks.rfc3339(tunnel.since()),
            assigned: assigned_v4.into_iter().chain(assigned_v6).collect(),
            presented: presented_v4.into_iter().chain(presented_v6).collect(),
            bind: bind_v4.into_iter().chain(bind_v6).collect(),
            gateway: gateway_v4.into_iter().chain(gateway_v6).collect(),
            dns: assignment.map(|a| a.dns.iter().map(ToString::to_string).collect()).unwrap_or_default(),
            routes,
            remote: tunnel.remote().map(|(remote, transport)| format!("{remote}/{}", transport_name(transport))),
            remote_name: tunnel.remote_name().map(str::to_owned),
            cipher: established.map(|established| established.cipher.to_string()),
            mtu: established.map(|_| limit(tunnel)),
            connect_ms: tunnel.connect_time().map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            rx_bytes: counters.rx_bytes,
            tx_bytes: counters.tx_bytes,
            drops: counters.drops,
            warnings: tunnel_warnings(tunnel),
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

fn tunnel_warnings(tunnel: &Tunnel) -> Vec<String> {
    let mut warnings = tunnel.config().warnings.clone();
    if let Some(established) = tunnel.established() {
        warnings.extend(established.warnings.iter().cloned());
        if let Some(ipv6) = established.assignment.ipv6.filter(|_| limit(tunnel) < LEAST_MTU_V6) {
            warnings.push(format!(
                "the server assigned {}, but the tunnel carries {} bytes and IPv6 needs {LEAST_MTU_V6}: IPv6 is refused",
                ipv6.address,
                limit(tunnel)
            ));
        }
    }
    warnings
}

fn error_status(error: &TunnelError, file: &str, clocks: ClockPair) -> ErrorStatus {
    ErrorStatus {
        code: error.code.to_owned(),
        stage: error.stage.to_owned(),
        message: error.message.clone(),
        hint: error.hint.clone(),
        file: Some(file.to_owned()),
        line: None,
        at: clocks.rfc3339(error.at),
        retry_at: error.retry_at.map(|at| clocks.rfc3339(at)),
    }
}
