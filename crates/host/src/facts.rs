//! What the host looks like, read from the kernel: its own addresses, the networks it is on, what it routes elsewhere.
//! It judges nothing; what is private, taken or in the way is `netplan`'s.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use mrvpn_netplan::plan::Family;
use mrvpn_netplan::{EngineSeen, HostFacts, OnLink, Scope};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::route::{RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::rule::RuleMessage;
use rustix::thread::{CapabilitySet, capabilities};

use crate::device;
use crate::netlink::link::Link;
use crate::netlink::{Netlink, address, foreign, link, route, rule};

/// Priorities of the kernel's own rules: local, main, default.
const KERNEL_PRIORITIES: [u32; 3] = [0, 32_766, 32_767];
/// Tables that every host has, and none.
const KERNEL_TABLES: [u32; 4] = [0, 253, 254, 255];

/// Reads everything. Devices of `ours` and of other engines are left out, as is loopback; what belongs to `scope` is no
/// other engine's, and without one no policy rule comes before ours.
pub(crate) fn read(netlink: &mut Netlink, ours: &[String], scope: Option<&Scope>) -> io::Result<HostFacts> {
    let all = link::all(netlink)?;
    let (mut routes, mut rules) = (Vec::new(), Vec::new());
    let mut facts = HostFacts { may_change: may_change(), ..HostFacts::default() };
    for family in [Family::V4, Family::V6] {
        routes.extend(route::all(netlink, family)?);
        rules.extend(rule::all(netlink, family)?.into_iter().filter(|rule| !rule::is_ours(rule)));
    }
    rules.iter().for_each(|rule| take_rule(&mut facts, rule));
    if let Some(scope) = scope {
        let before = rules.iter().filter(|rule| rule::priority(rule) < scope.rule_priority);
        facts.foreign_rules = before.filter_map(|rule| foreign::read(rule, &routes, &all)).collect();
    }
    facts.engines = engines(&routes, &all, scope.map(|scope| scope.slot));
    for engine in &mut facts.engines {
        let devices: Vec<Link> =
            all.iter().filter(|link| Some(&link.name) == engine.device.as_ref()).cloned().collect();
        for family in [Family::V4, Family::V6] {
            engine.sources.extend(addresses(netlink, family, &devices)?);
        }
        engine.sources.sort();
    }
    let inside = |name: &String| {
        let of_engine = facts.engines.iter().any(|engine| engine.device.as_ref() == Some(name));
        of_engine || ours.contains(name) || scope.is_some_and(|scope| scope.device == *name)
    };
    let cards: Vec<Link> = all.into_iter().filter(|link| !link.loopback && !inside(&link.name)).collect();
    facts.strict_reverse_path = cards.iter().any(|card| device::is_strict(&card.name));
    for family in [Family::V4, Family::V6] {
        facts.addresses.extend(addresses(netlink, family, &cards)?);
    }
    for message in &routes {
        take_route(&mut facts, message, &cards);
    }
    sort(&mut facts);
    Ok(facts)
}

fn sort(facts: &mut HostFacts) {
    facts.on_link.sort_by(|one, other| (one.net, &one.device).cmp(&(other.net, &other.device)));
    facts.on_link.dedup();
    facts.addresses.sort();
    facts.routed.sort();
    facts.routed.dedup();
    facts.foreign_priorities.sort_unstable();
    facts.foreign_priorities.dedup();
    facts.foreign_marks.sort_unstable();
    facts.foreign_marks.dedup();
    facts.foreign_tables.sort_unstable();
    facts.foreign_tables.dedup();
}

/// Other engines, by their routes; each with its device where one of its routes still leads there.
fn engines(routes: &[RouteMessage], links: &[Link], own: Option<u8>) -> Vec<EngineSeen> {
    let mut engines: Vec<EngineSeen> = Vec::new();
    for message in routes.iter().filter(|message| route::is_ours(message)) {
        let Some(slot) = Scope::slot_of_table(route::table(message)).filter(|slot| Some(*slot) != own) else {
            continue;
        };
        let link = links.iter().find(|link| Some(link.index) == route::device(message));
        // IPv6 says of a route without a device that it goes to loopback.
        let device = link.filter(|link| !link.loopback).map(|link| link.name.clone());
        let claim = claim(message).filter(|_| device.is_some());
        match engines.iter_mut().find(|engine| engine.slot == slot) {
            Some(engine) => {
                engine.device = engine.device.take().or(device);
                engine.claims.extend(claim);
            }
            None => engines.push(EngineSeen { slot, device, claims: claim.into_iter().collect(), sources: Vec::new() }),
        }
    }
    engines.iter_mut().for_each(|engine| engine.claims.sort());
    engines.sort();
    engines
}

/// The prefix that a route of an engine takes in, if it is no default.
fn claim(message: &RouteMessage) -> Option<IpNet> {
    route::destination(message).filter(|net| net.prefix_len() > 0)
}

fn take_rule(facts: &mut HostFacts, message: &RuleMessage) {
    let priority = rule::priority(message);
    if !KERNEL_PRIORITIES.contains(&priority) {
        facts.foreign_priorities.push(priority);
    }
    facts.foreign_marks.extend(rule::mark(message));
}

/// A route of the main table, made by the host, that is not the default.
fn is_own_route(message: &RouteMessage) -> bool {
    let main = route::table(message) == u32::from(RouteHeader::RT_TABLE_MAIN);
    let unicast = message.header.kind == RouteType::Unicast;
    main && unicast && !route::is_ours(message) && message.header.destination_prefix_length > 0
}

fn take_route(facts: &mut HostFacts, message: &RouteMessage, links: &[Link]) {
    let table = route::table(message);
    if !route::is_ours(message) && !KERNEL_TABLES.contains(&table) {
        facts.foreign_tables.push(table);
    }
    let Some(net) = route::destination(message).filter(|_| is_own_route(message)) else { return };
    if route::has_gateway(message) {
        facts.routed.push(net);
    } else if let Some(link) = links.iter().find(|link| Some(link.index) == route::device(message)) {
        facts.on_link.push(OnLink { net, device: link.name.clone() });
    }
}

fn addresses(netlink: &mut Netlink, family: Family, links: &[Link]) -> io::Result<Vec<IpAddr>> {
    let mut message = AddressMessage::default();
    message.header.family = rule::address_family(family);
    let answers = netlink.dump(&RouteNetlinkMessage::GetAddress(message))?;
    let of_card = |message: &AddressMessage| links.iter().any(|link| link.index == message.header.index);
    let local = |answer: &RouteNetlinkMessage| {
        let RouteNetlinkMessage::NewAddress(message) = answer else { return None };
        of_card(message).then(|| address::local(message)).flatten()
    };
    Ok(answers.iter().filter_map(local).collect())
}

/// CAP_NET_ADMIN in the thread's own user namespace.
pub(crate) fn may_change() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
}
