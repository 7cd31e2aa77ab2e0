//! Cleaning up after an engine that was killed: its device went with it, and with the device every route into it; what
//! is left is found by our number. Nothing that carries another number is touched, and nothing of an engine that still
//! runs: its tables lead into a device.

use std::collections::BTreeSet;
use std::io;
use std::ops::RangeInclusive;

use mrvpn_netplan::HostError;
use mrvpn_netplan::capture::{CLAIMS_OFFSET, PRIORITIES};
use mrvpn_netplan::plan::{Family, RuleAction};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteMessage, RouteType};
use netlink_packet_route::rule::RuleMessage;

use crate::linux::failed;
use crate::netlink::{Netlink, route, rule};

/// Removes what killed engines left in this thread's network namespace: policy rules, then routes. Returns how many
/// there were; 0 where nothing is left.
///
/// # Errors
/// Not permitted, or the kernel does not answer; what was removed until then stays removed.
pub fn sweep() -> Result<usize, HostError> {
    let swept = Netlink::open().and_then(|mut netlink| sweep_all(&mut netlink));
    swept.map_err(|error| failed(String::from("removing what a killed engine left"), error))
}

fn sweep_all(netlink: &mut Netlink) -> io::Result<usize> {
    let (mut rules, mut routes) = (Vec::new(), Vec::new());
    for family in [Family::V4, Family::V6] {
        rules.extend(rule::all(netlink, family)?.into_iter().filter(rule::is_ours));
        routes.extend(route::all(netlink, family)?.into_iter().filter(route::is_ours));
    }
    let living = Living::of(&rules, &routes);
    let mut swept = 0;
    for rule in rules.into_iter().filter(|rule| !living.has_rule(rule)) {
        swept += removed(netlink.change(RouteNetlinkMessage::DelRule(rule)))?;
    }
    for route in routes.into_iter().filter(|route| !living.has_route(route)) {
        swept += removed(netlink.change(RouteNetlinkMessage::DelRoute(route)))?;
    }
    Ok(swept)
}

/// What belongs to engines that run.
struct Living {
    tables: BTreeSet<u32>,
    priorities: Vec<RangeInclusive<u32>>,
}

impl Living {
    /// A table of a running engine has a route into its device; its priorities lie around the line that looks it up.
    fn of(rules: &[RuleMessage], routes: &[RouteMessage]) -> Self {
        let into_device = routes.iter().filter(|route| route.header.kind == RouteType::Unicast);
        let tables: BTreeSet<u32> = into_device.flat_map(|route| both_tables(route::table(route))).collect();
        let looks_up = |rule: &&RuleMessage| match rule::read(rule).map(|rule| (rule.action, rule.local)) {
            Some((RuleAction::Lookup(table), true)) => is_claims(table) && tables.contains(&table),
            Some((RuleAction::Lookup(_), false) | (RuleAction::Goto(_) | RuleAction::Nop, _)) | None => false,
        };
        let first = |rule: &RuleMessage| rule::priority(rule).saturating_sub(CLAIMS_OFFSET);
        let around = |first: u32| first..=first.saturating_add(PRIORITIES - 1);
        let priorities = rules.iter().filter(looks_up).map(first).map(around).collect();
        Self { tables, priorities }
    }

    fn has_rule(&self, rule: &RuleMessage) -> bool {
        self.priorities.iter().any(|range| range.contains(&rule::priority(rule)))
    }

    fn has_route(&self, route: &RouteMessage) -> bool {
        self.tables.contains(&route::table(route))
    }
}

/// Tables come in pairs: ALL, whose number is even, and CLAIMS.
const fn both_tables(table: u32) -> [u32; 2] {
    [table & !1, table | 1]
}

const fn is_claims(table: u32) -> bool {
    table & 1 == 1
}

/// 1, or 0 for what went by itself meanwhile.
fn removed(result: io::Result<()>) -> io::Result<usize> {
    match result {
        Ok(()) => Ok(1),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT | libc::ENODEV)) => Ok(0),
        Err(error) => Err(error),
    }
}
