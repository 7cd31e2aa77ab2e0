//! Policy rules of others: what they ask for, as far as a packet shows it, and where their tables lead. What follows from
//! it is `netplan`'s.

use ipnet::IpNet;
use mrvpn_netplan::plan::Family;
use mrvpn_netplan::{ForeignRule, ForeignWay};
use mrvpn_router::PortRange;
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};

use super::link::Link;
use super::{route, rule};
use crate::limits::MAX_FOREIGN_ROUTES;

/// The device by which a policy rule asks for what this host sends.
const LOOPBACK: &str = "lo";
/// The kernel's table of this host's own addresses.
const TABLE_LOCAL: u32 = 255;

/// The rule, with where it leads by these routes; `None` where it is not asked for what this host sends, or lets nothing
/// leave: this host's own addresses are no way out.
pub(crate) fn read(message: &RuleMessage, routes: &[RouteMessage], links: &[Link]) -> Option<ForeignRule> {
    let family = rule::family(message.header.family)?;
    let empty = ForeignRule {
        priority: rule::priority(message),
        family,
        from: None,
        to: None,
        proto: None,
        port: None,
        mark: None,
        way: way(message, family, routes, links)?,
    };
    let is_forwarded =
        |attribute: &RuleAttribute| matches!(attribute, RuleAttribute::Iifname(name) if name != LOOPBACK);
    if message.attributes.iter().any(is_forwarded) {
        return None;
    }
    // What a rule takes that asks for the opposite, no list of what it asks for can tell.
    if message.header.flags.contains(RuleFlags::Invert) {
        return Some(empty);
    }
    let asked = message.attributes.iter().fold(empty, |rule, attribute| asked(rule, message, attribute));
    Some(ForeignRule { mark: rule::mark(message), ..asked })
}

fn asked(rule: ForeignRule, message: &RuleMessage, attribute: &RuleAttribute) -> ForeignRule {
    let header = &message.header;
    match attribute {
        RuleAttribute::Source(address) => ForeignRule { from: IpNet::new(*address, header.src_len).ok(), ..rule },
        RuleAttribute::Destination(address) => ForeignRule { to: IpNet::new(*address, header.dst_len).ok(), ..rule },
        RuleAttribute::IpProtocol(proto) => ForeignRule { proto: u8::try_from(i32::from(*proto)).ok(), ..rule },
        RuleAttribute::DestinationPortRange(port) => {
            ForeignRule { port: Some(PortRange { first: port.start, last: port.end }), ..rule }
        }
        _ => rule,
    }
}

fn way(message: &RuleMessage, family: Family, routes: &[RouteMessage], links: &[Link]) -> Option<ForeignWay> {
    match message.header.action {
        RuleAction::ToTable if is_of_device(message) => Some(ForeignWay::Anywhere),
        RuleAction::ToTable => by_table(message, family, routes, links),
        RuleAction::Nop | RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit => None,
        _ => Some(ForeignWay::Anywhere),
    }
}

/// Its table is that of the device to which the packet is bound.
fn is_of_device(message: &RuleMessage) -> bool {
    message.attributes.iter().any(|attribute| matches!(attribute, RuleAttribute::L3MDev(true)))
}

fn by_table(message: &RuleMessage, family: Family, routes: &[RouteMessage], links: &[Link]) -> Option<ForeignWay> {
    let find = |wanted: fn(&RuleAttribute) -> Option<u32>| message.attributes.iter().find_map(wanted);
    let table = find(|attribute| match attribute {
        RuleAttribute::Table(table) => Some(*table),
        _ => None,
    });
    let table = table.unwrap_or_else(|| u32::from(message.header.table));
    if table == TABLE_LOCAL {
        return None;
    }
    // All bits where nothing is left out.
    let left_out = find(|attribute| match attribute {
        RuleAttribute::SuppressPrefixLen(length) => u8::try_from(*length).is_ok().then_some(*length),
        _ => None,
    });
    let leads = |message: &&RouteMessage| {
        let length = u32::from(message.header.destination_prefix_length);
        let of_table = route::table(message) == table && rule::family(message.header.address_family) == Some(family);
        of_table && message.header.kind == RouteType::Unicast && left_out.is_none_or(|left_out| length > left_out)
    };
    let mut led = Vec::new();
    for message in routes.iter().filter(leads) {
        let ways = devices(message, links);
        if ways.is_empty() || led.len().saturating_add(ways.len()) > MAX_FOREIGN_ROUTES {
            return Some(ForeignWay::Anywhere);
        }
        let Some(net) = route::destination(message) else { continue };
        led.extend(ways.into_iter().map(|device| (net, device)));
    }
    led.sort();
    led.dedup();
    (!led.is_empty()).then_some(ForeignWay::Routes(led))
}

/// Names of the devices that a route leads to, all that are known.
fn devices(message: &RouteMessage, links: &[Link]) -> Vec<String> {
    let mut indices: Vec<u32> = route::device(message).into_iter().collect();
    for attribute in &message.attributes {
        if let RouteAttribute::MultiPath(hops) = attribute {
            indices.extend(hops.iter().map(|hop| hop.interface_index));
        }
    }
    let name = |index: u32| links.iter().find(|link| link.index == index).map(|link| link.name.clone());
    indices.into_iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use mrvpn_netplan::plan::{PolicyRule, RouteKind, RouteSpec, RuleAction as Action};

    use super::*;

    fn link(index: u32, name: &str) -> Link {
        Link { index, name: String::from(name), loopback: false, up: true, carrier: true, alias: None }
    }

    fn rule_to(table: u32) -> RuleMessage {
        let (from, to) = (None, None);
        rule::message(&PolicyRule {
            priority: 1_000,
            family: Family::V4,
            local: false,
            from,
            to,
            proto: None,
            port: None,
            mark: None,
            action: Action::Lookup(table),
        })
    }

    fn route_to(net: &str, kind: RouteKind, device: Option<u32>) -> RouteMessage {
        let prefix = net.parse().unwrap();
        route::message(&RouteSpec { table: 999, prefix, kind, metric: 1, mtu: None }, device)
    }

    fn unicast(net: &str, device: u32) -> RouteMessage {
        route_to(net, RouteKind::Device(String::new()), Some(device))
    }

    fn ways(rule: &RuleMessage, routes: &[RouteMessage]) -> Option<ForeignWay> {
        read(rule, routes, &[link(7, "eth0"), link(8, "wg0")]).map(|rule| rule.way)
    }

    #[test]
    fn a_table_leads_where_its_routes_do_and_one_that_leads_nowhere_is_left_out() {
        let routes =
            [unicast("10.0.0.0/8", 8), unicast("0.0.0.0/0", 7), route_to("10.9.0.0/16", RouteKind::Throw, None)];
        let led = |all: &[(&str, &str)]| {
            let one = |(net, device): &(&str, &str)| (net.parse().unwrap(), String::from(*device));
            Some(ForeignWay::Routes(all.iter().map(one).collect()))
        };
        assert_eq!(ways(&rule_to(999), &routes), led(&[("0.0.0.0/0", "eth0"), ("10.0.0.0/8", "wg0")]));
        let mut narrow = rule_to(999);
        narrow.attributes.push(RuleAttribute::SuppressPrefixLen(0));
        assert_eq!(ways(&narrow, &routes), led(&[("10.0.0.0/8", "wg0")]));
        assert_eq!(ways(&rule_to(998), &routes), None);
        assert_eq!(
            ways(&rule_to(999), &[unicast("10.0.0.0/8", 9)]),
            Some(ForeignWay::Anywhere),
            "by no device we know"
        );
        let mut of_device = rule_to(999);
        of_device.attributes.push(RuleAttribute::L3MDev(true));
        assert_eq!(ways(&of_device, &routes), Some(ForeignWay::Anywhere));
    }

    #[test]
    fn a_rule_that_asks_for_the_opposite_or_for_what_is_forwarded_is_told_from_others() {
        let routes = [unicast("0.0.0.0/0", 7)];
        let mut marked = rule_to(999);
        marked.attributes.extend([RuleAttribute::FwMark(7), RuleAttribute::FwMask(0xff)]);
        let asked = |rule: &RuleMessage| read(rule, &routes, &[link(7, "eth0")]).map(|rule| rule.mark);
        assert_eq!(asked(&marked), Some(Some((7, 0xff))));
        let mut opposite = marked.clone();
        opposite.header.flags = RuleFlags::Invert;
        assert_eq!(asked(&opposite), Some(None));
        for (device, is_read) in [("lo", true), ("docker0", false)] {
            let mut by_device = marked.clone();
            by_device.attributes.push(RuleAttribute::Iifname(String::from(device)));
            assert_eq!(asked(&by_device).is_some(), is_read, "{device}");
        }
    }

    #[test]
    fn of_more_routes_than_the_limit_it_is_not_said_where_they_lead() {
        for count in [MAX_FOREIGN_ROUTES - 1, MAX_FOREIGN_ROUTES, MAX_FOREIGN_ROUTES + 1] {
            let net = |n: usize| format!("10.{}.{}.0/24", n / 256, n % 256);
            let routes: Vec<RouteMessage> = (0..count).map(|n| unicast(&net(n), 7)).collect();
            let is_told = matches!(ways(&rule_to(999), &routes), Some(ForeignWay::Routes(led)) if led.len() == count);
            assert_eq!(is_told, count <= MAX_FOREIGN_ROUTES, "{count}");
        }
    }
}
