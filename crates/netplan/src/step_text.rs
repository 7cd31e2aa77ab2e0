//! A step as one plain line, for `--dry-run` and the log. It is for people; a journal holds steps as values.

use std::fmt::{self, Display};

use ipnet::IpNet;
use mrvpn_router::PortRange;

use crate::fence::Fence;
use crate::firewall::{Firewall, Setting};
use crate::plan::{Family, PolicyRule, RouteKind, RouteSpec, RuleAction, Step};

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddAddress { device, address, .. } => write!(f, "add address {address} to {device}"),
            Self::RemoveAddress { device, address, .. } => write!(f, "remove address {address} from {device}"),
            Self::AddRoute(route) => route_line(f, "add", route, "to"),
            Self::RemoveRoute(route) => route_line(f, "remove", route, "from"),
            Self::AddRule(rule) => rule_line(f, "add", rule),
            Self::RemoveRule(rule) => rule_line(f, "remove", rule),
            Self::SetFirewall { to: Some(firewall), .. } => firewall_line(f, firewall),
            Self::SetFirewall { from: Some(firewall), to: None } => {
                write!(f, "remove nftables tables inet {table} and arp {table}", table = firewall.table)
            }
            Self::SetFirewall { from: None, to: None } => write!(f, "remove no nftables table"),
            Self::HoldSetting(setting) => write!(f, "set {setting} to 1"),
            Self::ReleaseSetting(setting) => write!(f, "set {setting} back to what it was"),
        }
    }
}

impl Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SourceValidMark => write!(f, "net.ipv4.conf.all.src_valid_mark"),
        }
    }
}

fn firewall_line(f: &mut fmt::Formatter<'_>, firewall: &Firewall) -> fmt::Result {
    let (addresses, sessions) = (firewall.addresses.len(), firewall.inbound.len());
    let table = &firewall.table;
    let fenced = if firewall.fence == Fence::default() { "" } else { ", fenced" };
    write!(f, "set nftables tables inet {table} and arp {table} ({addresses} addresses, {sessions} sessions{fenced})")
}

fn route_line(f: &mut fmt::Formatter<'_>, verb: &str, route: &RouteSpec, preposition: &str) -> fmt::Result {
    let (prefix, table, metric) = (route.prefix, route.table, route.metric);
    match &route.kind {
        RouteKind::Device(device) => write!(f, "{verb} route {prefix} into {device}")?,
        RouteKind::Throw => write!(f, "{verb} throw route {prefix}")?,
        RouteKind::Unreachable => write!(f, "{verb} unreachable route {prefix}")?,
    }
    write!(f, " {preposition} table {table} metric {metric}")?;
    route.mtu.map_or(Ok(()), |mtu| write!(f, " mtu {mtu}"))
}

/// In the words of `ip rule`.
fn rule_line(f: &mut fmt::Formatter<'_>, verb: &str, rule: &PolicyRule) -> fmt::Result {
    let family = match rule.family {
        Family::V4 => "",
        Family::V6 => "IPv6 ",
    };
    write!(f, "{verb} {family}policy rule {}", rule.priority)?;
    part(f, "from", rule.from.map(address))?;
    part(f, "to", rule.to.map(address))?;
    part(f, "iif", rule.local.then_some("lo"))?;
    part(f, "ipproto", rule.proto)?;
    part(f, "dport", rule.port.map(ports))?;
    part(f, "fwmark", rule.mark.map(|(mark, mask)| format!("{mark:#x}/{mask:#x}")))?;
    match rule.action {
        RuleAction::Lookup(table) => write!(f, " lookup table {table}"),
        RuleAction::Goto(priority) => write!(f, " goto {priority}"),
        RuleAction::Nop => write!(f, " nop"),
    }
}

fn part(f: &mut fmt::Formatter<'_>, name: &str, value: Option<impl Display>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, " {name} {value}"))
}

/// A single address without its length.
fn address(net: IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

fn ports(range: PortRange) -> String {
    if range.first == range.last { range.first.to_string() } else { format!("{}-{}", range.first, range.last) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{METRIC_DEVICE, METRIC_THROW, into_device, line};

    fn check(step: &Step, expected: &str) {
        assert_eq!(step.to_string(), expected);
    }

    #[test]
    fn addresses_and_routes_are_named_with_where_they_go() {
        let (device, address) = (String::from("mrvpn0"), "198.18.0.1/32".parse().unwrap());
        let add = Step::AddAddress { device, address, deprecated: false };
        check(&add, "add address 198.18.0.1/32 to mrvpn0");
        check(&add.undo(), "remove address 198.18.0.1/32 from mrvpn0");
        let [device, twin] = into_device("mrvpn0", 19713, "fd00::/8".parse().unwrap());
        assert_eq!(device.metric, METRIC_DEVICE);
        check(&Step::AddRoute(device), "add route fd00::/8 into mrvpn0 to table 19713 metric 1024 mtu 1428");
        check(&Step::RemoveRoute(twin.clone()), "remove unreachable route fd00::/8 from table 19713 metric 4278198272");
        let throw = RouteSpec { kind: RouteKind::Throw, metric: METRIC_THROW, ..twin };
        check(&Step::AddRoute(throw), "add throw route fd00::/8 to table 19713 metric 2048");
    }

    #[test]
    fn policy_rules_read_as_ip_rule_writes_them() {
        let rule = line(5305, Family::V4, RuleAction::Lookup(19712));
        let from = PolicyRule { from: Some("198.18.0.1/32".parse().unwrap()), ..rule.clone() };
        check(&Step::AddRule(from), "add policy rule 5305 from 198.18.0.1 lookup table 19712");
        let port = Some(PortRange { first: 80, last: 443 });
        let to = Some("2001:db8::/32".parse().unwrap());
        let long = PolicyRule { to, local: true, proto: Some(6), port, family: Family::V6, ..rule.clone() };
        let text = "remove IPv6 policy rule 5305 to 2001:db8::/32 iif lo ipproto 6 dport 80-443 lookup table 19712";
        check(&Step::RemoveRule(long), text);
        let mark = Some((0x4d00_0000, 0xff00_0000));
        let sockets = PolicyRule { mark, action: RuleAction::Goto(5399), ..rule.clone() };
        check(&Step::AddRule(sockets), "add policy rule 5305 fwmark 0x4d000000/0xff000000 goto 5399");
        check(&Step::AddRule(PolicyRule { action: RuleAction::Nop, ..rule }), "add policy rule 5305 nop");
    }

    #[test]
    fn the_firewall_and_settings_are_named() {
        let firewall = Firewall {
            table: String::from("mrvpn_default"),
            device: String::from("mrvpn0"),
            others: Vec::new(),
            mark: (0, 0),
            addresses: vec!["198.18.0.1".parse().unwrap()],
            inbound: Vec::new(),
            fence: Fence::default(),
        };
        let set = Step::SetFirewall { from: None, to: Some(Box::new(firewall)) };
        check(&set, "set nftables tables inet mrvpn_default and arp mrvpn_default (1 addresses, 0 sessions)");
        check(&set.undo(), "remove nftables tables inet mrvpn_default and arp mrvpn_default");
        let hold = Step::HoldSetting(Setting::SourceValidMark);
        check(&hold, "set net.ipv4.conf.all.src_valid_mark to 1");
        check(&hold.undo(), "set net.ipv4.conf.all.src_valid_mark back to what it was");
    }
}
