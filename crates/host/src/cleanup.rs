//! Cleaning up after a killed engine whose journal is gone too (`/run` was emptied): what it left is found by our number
//! on routes and rules, the alias of its interface and the comment of its tables. Nothing that carries other marks is
//! touched, nothing of an engine that still runs, and nothing that a journal knows of: that is
//! [`mod@crate::leftover`]'s.

use std::collections::BTreeSet;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;

use mrvpn_netplan::capture::{CLAIMS_OFFSET, PRIORITIES};
use mrvpn_netplan::plan::{Family, RuleAction};
use mrvpn_netplan::{HostError, Scope};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteMessage, RouteType};
use netlink_packet_route::rule::RuleMessage;

use crate::linux::failed;
use crate::netlink::link::Link;
use crate::netlink::{Netlink, link, route, rule};
use crate::nft::Nft;
use crate::{device, leftover, linux, setting};

/// Removes what killed engines without a journal left in this thread's network namespace: policy rules, then routes,
/// interfaces and tables. `shared` is the directory with the journals of all instances; what they hold, that of this
/// instance included, is left alone. Returns how many things there were; 0 where nothing is left.
///
/// # Errors
/// Not permitted, or the kernel does not answer; what was removed until then stays removed.
pub fn sweep(shared: &Path) -> Result<usize, HostError> {
    let held = leftover::held(shared, None);
    if let Err(error) = setting::forget_gone(shared) {
        tracing::debug!(%error, "what was held in namespaces that are gone stays written down");
    }
    let swept = Netlink::open().and_then(|mut netlink| sweep_all(&mut netlink, &held));
    swept.map_err(|error| failed(String::from("removing what a killed engine left"), error))
}

fn sweep_all(netlink: &mut Netlink, held: &[Scope]) -> io::Result<usize> {
    let links = link::all(netlink)?;
    let (mut rules, mut routes) = (Vec::new(), Vec::new());
    for family in [Family::V4, Family::V6] {
        rules.extend(rule::all(netlink, family)?.into_iter().filter(rule::is_ours));
        routes.extend(route::all(netlink, family)?.into_iter().filter(route::is_ours));
    }
    let kept = Kept::of(&rules, &routes, &links, held);
    let mut swept = 0;
    for rule in rules.into_iter().filter(|rule| !kept.has_rule(rule)) {
        swept += removed(netlink.change(RouteNetlinkMessage::DelRule(rule)))?;
    }
    for route in routes.into_iter().filter(|route| !kept.has_route(route)) {
        swept += removed(netlink.change(RouteNetlinkMessage::DelRoute(route)))?;
    }
    for link in links.iter().filter(|link| is_engines(link) && !kept.has_device(link)) {
        swept += removed(link::delete(netlink, &link.name))?;
    }
    Ok(swept + sweep_tables(&kept)?)
}

fn sweep_tables(kept: &Kept) -> io::Result<usize> {
    let mut nft = match Nft::open() {
        Ok(nft) => nft,
        Err(error) if linux::is_without_nftables(&error) => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut swept = 0;
    for name in nft.names()?.into_iter().filter(|name| !kept.firewalls.contains(name)) {
        swept += usize::from(nft.remove(&name)?);
    }
    Ok(swept)
}

/// What belongs to engines that run, or that a journal knows of.
struct Kept {
    tables: BTreeSet<u32>,
    priorities: Vec<RangeInclusive<u32>>,
    devices: BTreeSet<String>,
    firewalls: BTreeSet<String>,
}

impl Kept {
    fn of(rules: &[RuleMessage], routes: &[RouteMessage], links: &[Link], held: &[Scope]) -> Self {
        let mut kept = Self::living(rules, routes, links);
        for scope in held {
            kept.tables.extend([scope.table_all(), scope.table_claims()]);
            kept.priorities.push(scope.rule_priority..=scope.nop());
            kept.devices.insert(scope.device.clone());
            kept.firewalls.insert(scope.firewall.clone());
        }
        kept
    }

    /// A device of a running engine has someone at its other end, its tables have a route there, and its priorities lie
    /// around the line that looks them up. A device that somebody has put down may be a running engine's: it is one.
    fn living(rules: &[RuleMessage], routes: &[RouteMessage], links: &[Link]) -> Self {
        let living: Vec<&Link> = links.iter().filter(|link| link.carrier || !link.up).collect();
        let leads_there = |route: &&RouteMessage| {
            let device = route::device(route);
            route.header.kind == RouteType::Unicast && living.iter().any(|link| Some(link.index) == device)
        };
        let into_device = routes.iter().filter(leads_there);
        let tables: BTreeSet<u32> = into_device.flat_map(|route| both_tables(route::table(route))).collect();
        let looks_up = |rule: &&RuleMessage| match rule::read(rule).map(|rule| (rule.action, rule.local)) {
            Some((RuleAction::Lookup(table), true)) => is_claims(table) && tables.contains(&table),
            Some((RuleAction::Lookup(_), false) | (RuleAction::Goto(_) | RuleAction::Nop, _)) | None => false,
        };
        let first = |rule: &RuleMessage| rule::priority(rule).saturating_sub(CLAIMS_OFFSET);
        let around = |first: u32| first..=first.saturating_add(PRIORITIES - 1);
        let priorities = rules.iter().filter(looks_up).map(first).map(around).collect();
        let devices = living.iter().map(|link| link.name.clone()).collect();
        let firewalls = living.iter().filter_map(|link| device::firewall_of(link.alias.as_deref()?)).collect();
        Self { tables, priorities, devices, firewalls }
    }

    fn has_rule(&self, rule: &RuleMessage) -> bool {
        self.priorities.iter().any(|range| range.contains(&rule::priority(rule)))
    }

    fn has_route(&self, route: &RouteMessage) -> bool {
        self.tables.contains(&route::table(route))
    }

    fn has_device(&self, link: &Link) -> bool {
        self.devices.contains(&link.name)
    }
}

fn is_engines(link: &Link) -> bool {
    link.alias.as_deref().is_some_and(|alias| device::firewall_of(alias).is_some())
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
