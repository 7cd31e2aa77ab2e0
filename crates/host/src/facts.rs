//! What the host looks like, read from the kernel: its own addresses, the networks it is on, what it routes elsewhere.
//! It judges nothing; what is private, taken or in the way is `netplan`'s.

use std::io;
use std::net::IpAddr;

use mrvpn_netplan::plan::Family;
use mrvpn_netplan::{HostFacts, OnLink};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::route::{RouteHeader, RouteMessage, RouteType};
use rustix::thread::{CapabilitySet, capabilities};

use crate::netlink::link::Link;
use crate::netlink::{Netlink, address, link, route, rule};

/// Reads everything. Devices of `ours` are left out, as is loopback.
pub(crate) fn read(netlink: &mut Netlink, ours: &[String]) -> io::Result<HostFacts> {
    let links: Vec<Link> =
        link::all(netlink)?.into_iter().filter(|link| !link.loopback && !ours.contains(&link.name)).collect();
    let mut facts = HostFacts { may_change: may_change(), ..HostFacts::default() };
    for family in [Family::V4, Family::V6] {
        facts.addresses.extend(addresses(netlink, family, &links)?);
        for message in route::all(netlink, family)?.iter().filter(|message| is_own_route(message)) {
            take_route(&mut facts, message, &links);
        }
    }
    facts.on_link.sort_by(|one, other| (one.net, &one.device).cmp(&(other.net, &other.device)));
    facts.on_link.dedup();
    facts.addresses.sort();
    facts.routed.sort();
    facts.routed.dedup();
    Ok(facts)
}

/// A route of the main table, made by the host, that is not the default.
fn is_own_route(message: &RouteMessage) -> bool {
    let main = route::table(message) == u32::from(RouteHeader::RT_TABLE_MAIN);
    let unicast = message.header.kind == RouteType::Unicast;
    main && unicast && !route::is_ours(message) && message.header.destination_prefix_length > 0
}

fn take_route(facts: &mut HostFacts, message: &RouteMessage, links: &[Link]) {
    let Some(net) = route::destination(message) else { return };
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
fn may_change() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
}
