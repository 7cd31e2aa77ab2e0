//! What the user should know and no state says: of the whole, and of one tunnel.

use std::net::SocketAddr;

use mrvpn_netplan::{Conflict, Resolution};
use mrvpn_profile::Assignment;
use mrvpn_router::limits::LEAST_MTU_V6;

use super::Fleet;
use super::runner::limit;
use crate::config::TunnelConfig;
use crate::tunnel::Tunnel;

/// Services that one warning names, and routes that each have one.
const NAMED: usize = 8;

impl Fleet {
    /// What `status` says of the whole.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = vec![self.held(), self.own_resolver()];
        warnings.extend(self.roster.config.warnings.iter().cloned());
        warnings.extend(self.services());
        warnings.extend(self.pool());
        warnings.extend(self.plan_trouble.iter().map(|why| format!("the host is not as planned: {why}")));
        warnings
    }

    fn held(&self) -> String {
        let held = match self.default_status() {
            Some(default) => default.via,
            None => self.roster.in_order().map(|(_, m)| m.config.name.as_str()).collect::<Vec<_>>().join(", "),
        };
        let fails = if held.contains(", ") { "their tunnel fails".to_owned() } else { format!("{held} fails") };
        format!(
            "While mrvpn runs or has crashed, traffic of {held} is refused if {fails}. Programs that bind to a network \
             card themselves are not held (guard, later)."
        )
    }

    fn own_resolver(&self) -> String {
        let resolvers: Vec<String> = self.resolvers.iter().map(ToString::to_string).collect();
        let named = if resolvers.is_empty() { String::new() } else { format!(" ({})", resolvers.join(", ")) };
        format!("Names are still asked of this machine's own resolver{named}: sites may see your real region.")
    }

    /// A pool that a server's claim touches and that is kept for the run.
    fn pool(&self) -> Option<String> {
        let kept = |conflict: &&Conflict| conflict.resolution == Resolution::PoolKept;
        let claim = self.decision.conflicts.iter().find(kept)?;
        let next = self.roster.next_pool()?;
        Some(format!(
            "a tunnel claims {}, where addresses of mrvpn's own lie: from the next `mrvpn up` on they come from the pool at \
             {next}.",
            claim.what
        ))
    }

    /// UDP services whose answers go through the default tunnel, where there is or may be one.
    fn services(&self) -> Option<String> {
        let may_offer = |stance: &super::defaults::Stance| stance.offers || !stance.settled;
        let expected = self.roster.stances(|offer| offer.v4 || offer.v6).iter().any(|(_, stance)| may_offer(stance));
        // Who answers from an address of its own is known by its connection and leaves as the question came.
        let everywhere: Vec<&SocketAddr> =
            self.datagram_services.iter().filter(|service| service.ip().is_unspecified()).collect();
        if everywhere.is_empty() || !(self.decision.has_default() || expected) {
            return None;
        }
        let named: Vec<String> = everywhere.iter().take(NAMED).map(ToString::to_string).collect();
        let more = everywhere.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let default = self.default_status().map_or_else(|| "a default tunnel".to_owned(), |default| default.via);
        Some(format!(
            "UDP services that listen on every address answer through {default}, so who asks them from outside gets no \
             answer: {}{more}. Bind them to one address, or give their answers a rule `direct`.",
            named.join(", ")
        ))
    }
}

/// What `status` says of one tunnel.
pub(super) fn tunnel_warnings(config: &TunnelConfig, tunnel: &Tunnel) -> Vec<String> {
    let mut warnings = config.warnings.clone();
    if let Some(established) = tunnel.established() {
        warnings.extend(established.warnings.iter().cloned());
        // Who wrote `route-nopull` wants none of them.
        if !config.profile.pull.route_nopull {
            warnings.extend(routes_left_out(&established.assignment));
        }
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

/// Pushed routes that claim nothing, or not what they say; other options that are left out change nothing about where packets go.
fn routes_left_out(assignment: &Assignment) -> impl Iterator<Item = String> + '_ {
    let routes = assignment.skipped.iter().filter(|skipped| skipped.option.starts_with("route")).take(NAMED);
    routes.map(|skipped| format!("the server's `{}`: {}", skipped.option, skipped.why))
}
