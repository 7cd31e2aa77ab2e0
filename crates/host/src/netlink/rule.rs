//! Messages about policy rules, from a [`PolicyRule`] and back.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use mrvpn_netplan::plan::{Family, PolicyRule, RuleAction};
use mrvpn_router::PortRange;
use netlink_packet_route::rule::{self, RuleAttribute, RuleHeader, RuleMessage, RulePortRange};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Netlink, OURS};

/// The name by which a policy rule means "sent by this host".
const LOCAL: &str = "lo";

/// All policy rules of one family.
pub(crate) fn all(netlink: &mut Netlink, family: Family) -> io::Result<Vec<RuleMessage>> {
    let mut message = RuleMessage::default();
    message.header.family = address_family(family);
    let answers = netlink.dump(&RouteNetlinkMessage::GetRule(message))?;
    Ok(answers.into_iter().filter_map(new_rule).collect())
}

/// The rule as a message.
pub(crate) fn message(rule: &PolicyRule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header = RuleHeader {
        family: address_family(rule.family),
        dst_len: rule.to.map_or(0, |net| net.prefix_len()),
        src_len: rule.from.map_or(0, |net| net.prefix_len()),
        action: action(rule.action),
        ..RuleHeader::default()
    };
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.push(RuleAttribute::Protocol(OURS));
    attributes.extend(target(rule.action));
    attributes.extend(rule.local.then(|| RuleAttribute::Iifname(String::from(LOCAL))));
    attributes.extend(rule.from.map(|net| RuleAttribute::Source(net.network())));
    attributes.extend(rule.to.map(|net| RuleAttribute::Destination(net.network())));
    attributes.extend(rule.proto.map(|proto| RuleAttribute::IpProtocol(i32::from(proto).into())));
    let port = rule.port.map(|port| RulePortRange { start: port.first, end: port.last });
    attributes.extend(port.map(RuleAttribute::DestinationPortRange));
    if let Some((mark, mask)) = rule.mark {
        attributes.extend([RuleAttribute::FwMark(mark), RuleAttribute::FwMask(mask)]);
    }
    message
}

/// Reads a rule of ours back; `None` for rules of others and what no plan has.
pub(crate) fn read(message: &RuleMessage) -> Option<PolicyRule> {
    if !is_ours(message) {
        return None;
    }
    let family = family(message.header.family)?;
    let mut rule = PolicyRule {
        priority: 0,
        family,
        local: false,
        from: prefix(family, None, message.header.src_len),
        to: prefix(family, None, message.header.dst_len),
        proto: None,
        port: None,
        mark: None,
        action: RuleAction::Nop,
    };
    for attribute in &message.attributes {
        read_attribute(&mut rule, &message.header, attribute);
    }
    rule.action = read_action(message)?;
    Some(rule)
}

/// Whether it carries our number.
pub(crate) fn is_ours(message: &RuleMessage) -> bool {
    message
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, RuleAttribute::Protocol(protocol) if *protocol == OURS))
}

/// The priority of a rule.
pub(crate) fn priority(message: &RuleMessage) -> u32 {
    let priority = |attribute: &RuleAttribute| match attribute {
        RuleAttribute::Priority(priority) => Some(*priority),
        _ => None,
    };
    message.attributes.iter().find_map(priority).unwrap_or(0)
}

/// The mark and mask that a rule matches, if it asks for one.
pub(crate) fn mark(message: &RuleMessage) -> Option<(u32, u32)> {
    let find = |wanted: fn(&RuleAttribute) -> Option<u32>| message.attributes.iter().find_map(wanted);
    let mark = find(|attribute| match attribute {
        RuleAttribute::FwMark(mark) => Some(*mark),
        _ => None,
    });
    let mask = find(|attribute| match attribute {
        RuleAttribute::FwMask(mask) => Some(*mask),
        _ => None,
    });
    // The kernel gives a mask of all bits, and mark 0, to rules that ask for none.
    match (mark, mask) {
        (None, None | Some(u32::MAX)) => None,
        (mark, mask) => Some((mark.unwrap_or(0), mask.unwrap_or(u32::MAX))),
    }
}

/// A family as the kernel numbers it.
pub(crate) const fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

/// The kernel's family of a prefix.
pub(crate) const fn family_of(net: &IpNet) -> AddressFamily {
    address_family(Family::of(net))
}

/// Our family of the kernel's.
pub(crate) fn family(family: AddressFamily) -> Option<Family> {
    match family {
        AddressFamily::Inet => Some(Family::V4),
        AddressFamily::Inet6 => Some(Family::V6),
        _ => None,
    }
}

/// A prefix of which the kernel leaves the address out where it is all zero.
pub(crate) fn prefix(family: Family, address: Option<IpAddr>, length: u8) -> Option<IpNet> {
    let unspecified = match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    if length == 0 && address.is_none() {
        return None;
    }
    IpNet::new(address.unwrap_or(unspecified), length).ok()
}

fn new_rule(message: RouteNetlinkMessage) -> Option<RuleMessage> {
    match message {
        RouteNetlinkMessage::NewRule(message) => Some(message),
        _ => None,
    }
}

const fn action(action: RuleAction) -> rule::RuleAction {
    match action {
        RuleAction::Lookup(_) => rule::RuleAction::ToTable,
        RuleAction::Goto(_) => rule::RuleAction::Goto,
        RuleAction::Nop => rule::RuleAction::Nop,
    }
}

const fn target(action: RuleAction) -> Option<RuleAttribute> {
    match action {
        RuleAction::Lookup(table) => Some(RuleAttribute::Table(table)),
        RuleAction::Goto(priority) => Some(RuleAttribute::Goto(priority)),
        RuleAction::Nop => None,
    }
}

fn read_attribute(rule: &mut PolicyRule, header: &RuleHeader, attribute: &RuleAttribute) {
    match attribute {
        RuleAttribute::Priority(priority) => rule.priority = *priority,
        RuleAttribute::Iifname(name) => rule.local = name == LOCAL,
        RuleAttribute::Source(address) => rule.from = IpNet::new(*address, header.src_len).ok(),
        RuleAttribute::Destination(address) => rule.to = IpNet::new(*address, header.dst_len).ok(),
        RuleAttribute::IpProtocol(proto) => rule.proto = u8::try_from(i32::from(*proto)).ok(),
        RuleAttribute::DestinationPortRange(port) => rule.port = Some(PortRange { first: port.start, last: port.end }),
        RuleAttribute::FwMark(mark) => rule.mark = Some((*mark, rule.mark.map_or(u32::MAX, |(_, mask)| mask))),
        RuleAttribute::FwMask(mask) => rule.mark = rule.mark.map(|(mark, _)| (mark, *mask)),
        _ => {}
    }
}

fn read_action(message: &RuleMessage) -> Option<RuleAction> {
    let find = |wanted: fn(&RuleAttribute) -> Option<u32>| message.attributes.iter().find_map(wanted);
    match message.header.action {
        rule::RuleAction::ToTable => find(|attribute| match attribute {
            RuleAttribute::Table(table) => Some(*table),
            _ => None,
        })
        .map(RuleAction::Lookup),
        rule::RuleAction::Goto => find(|attribute| match attribute {
            RuleAttribute::Goto(priority) => Some(*priority),
            _ => None,
        })
        .map(RuleAction::Goto),
        rule::RuleAction::Nop => Some(RuleAction::Nop),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use mrvpn_netplan::capture::METRIC_DEVICE;
    use mrvpn_netplan::plan::{RouteKind, RouteSpec};

    use super::*;
    use crate::netlink::{address, route};

    fn plain(priority: u32, family: Family, action: RuleAction) -> PolicyRule {
        let (from, to) = (None, None);
        PolicyRule { priority, family, local: false, from, to, proto: None, port: None, mark: None, action }
    }

    #[test]
    fn a_rule_is_read_as_it_was_written() {
        let marked =
            PolicyRule { mark: Some((0x4d00_0000, 0xff00_0000)), ..plain(5300, Family::V4, RuleAction::Goto(5399)) };
        let selective = PolicyRule {
            local: true,
            from: Some("10.1.2.3/32".parse().unwrap()),
            to: Some("203.0.113.0/24".parse().unwrap()),
            proto: Some(6),
            port: Some(PortRange { first: 80, last: 443 }),
            ..plain(5310, Family::V4, RuleAction::Lookup(19_712))
        };
        let pool = PolicyRule {
            to: Some("2001:2::/48".parse().unwrap()),
            ..plain(5304, Family::V6, RuleAction::Lookup(19_712))
        };
        for rule in [marked, selective, pool, plain(5399, Family::V6, RuleAction::Nop)] {
            assert_eq!(read(&message(&rule)), Some(rule));
        }
    }

    #[test]
    fn a_rule_of_others_is_not_read() {
        let mut foreign = message(&plain(100, Family::V4, RuleAction::Lookup(254)));
        foreign.attributes.retain(|attribute| !matches!(attribute, RuleAttribute::Protocol(_)));
        assert_eq!(read(&foreign), None);
    }

    #[test]
    fn a_route_is_read_as_it_was_written() {
        let route = |prefix: &str, kind| RouteSpec {
            table: 19_713,
            prefix: prefix.parse().unwrap(),
            kind,
            metric: METRIC_DEVICE,
            mtu: None,
        };
        let name = |index| (index == 7).then(|| String::from("mrvpn0"));
        for (spec, device) in [
            (route("10.1.0.0/16", RouteKind::Device(String::from("mrvpn0"))), Some(7)),
            (route("0.0.0.0/0", RouteKind::Unreachable), None),
            (route("fe80::/10", RouteKind::Throw), None),
            (route("::/0", RouteKind::Device(String::from("mrvpn0"))), Some(7)),
            (RouteSpec { mtu: Some(1_428), ..route("::/0", RouteKind::Device(String::from("mrvpn0"))) }, Some(7)),
        ] {
            assert_eq!(route::read(&route::message(&spec, device), name), Some(spec));
        }
    }

    #[test]
    fn an_address_names_itself_and_not_its_peer() {
        let message = address::message(7, "10.1.2.3/32".parse().unwrap(), false);
        assert_eq!(address::local(&message), Some("10.1.2.3".parse().unwrap()));
    }
}
