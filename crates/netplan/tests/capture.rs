//! Capture and the steps between plans against a plain statement of the same things: design section 4 as first match
//! over lists, without tables, runs or longest prefixes.

#![allow(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::net::IpAddr;

use ipnet::IpNet;
use mrvpn_netplan::model::{ModelHost, Probe, Verdict};
use mrvpn_netplan::plan::Family;
use mrvpn_netplan::ranges::{ALWAYS_DHCP, ALWAYS_LOCAL, is_private};
use mrvpn_netplan::{
    AddressBook, DeviceSpec, Host, HostFacts, OnLink, Plan, PlanError, PlanInput, Pools, apply, diff, effective,
    limits, plan,
};
use mrvpn_profile::{Assignment, Ipv4Assignment, Keepalive, ProtocolFlags};
use mrvpn_router::{Claim, ClaimOrigin, DefaultChoice, Defaults, PortRange, Rule, Target, TunnelId};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const MARK: (u32, u32) = (0x4d00_0000, 0xff00_0000);
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Prefixes that lie in and around each other.
const NETS: [&str; 26] = [
    "0.0.0.0/0",
    "0.0.0.0/1",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.3/32",
    "10.1.2.128/25",
    "10.2.0.0/16",
    "192.168.0.0/16",
    "192.168.1.0/24",
    "192.168.1.7/32",
    "8.8.8.0/24",
    "8.8.0.0/16",
    "198.18.1.0/24",
    "198.18.0.0/15",
    "169.254.3.0/24",
    "224.0.0.0/4",
    "::/0",
    "2001:db8::/32",
    "2001:db8:1::/48",
    "2001:db8:1::7/128",
    "fd00:1::/32",
    "fd00:1::/64",
    "fe80::/64",
    "2000::/3",
    "2001:2::/48",
];

/// Addresses of which each lies in several of the prefixes, or in none.
const ADDRESSES: [&str; 22] = [
    "10.1.2.3",
    "10.1.2.4",
    "10.1.2.200",
    "10.1.9.9",
    "10.2.3.4",
    "10.200.0.1",
    "192.168.1.7",
    "192.168.1.8",
    "192.168.2.2",
    "8.8.8.8",
    "8.8.9.9",
    "198.18.0.254",
    "198.18.1.1",
    "198.18.0.1",
    "198.19.0.7",
    "169.254.3.3",
    "224.0.0.251",
    "255.255.255.255",
    "2001:db8:1::7",
    "2001:db8:2::1",
    "fd00:1::9",
    "fe80::9",
];

/// What a plan is made of, owned.
#[derive(Clone, Debug)]
struct Case {
    assigned: Vec<String>,
    rules: Vec<Rule>,
    claims: Vec<Claim>,
    defaults: Defaults,
    facts: HostFacts,
    lan_allowed: bool,
}

impl Case {
    fn book(&self) -> AddressBook {
        let mut book = AddressBook::new(Pools::choose(None, &[]).unwrap(), 3);
        for (place, address) in (0..).zip(&self.assigned) {
            book.assign(TunnelId::new(place), &assignment(address), &self.facts);
        }
        book
    }

    fn plan(&self) -> Result<Plan, PlanError> {
        let book = self.book();
        plan(&PlanInput {
            interface: "mrvpn0",
            slot: 0,
            rule_priority: 5300,
            mark: MARK,
            book: &book,
            rules: &self.rules,
            claims: &effective(&self.claims, &self.facts, &self.rules),
            defaults: self.defaults,
            facts: &self.facts,
            lan_allowed: self.lan_allowed,
        })
    }

    /// Whether a packet is to be captured: the order of design section 4, one list after another.
    fn captures(&self, probe: &Probe) -> bool {
        let book = self.book();
        if probe.mark & MARK.1 == MARK.0 {
            return false;
        }
        let own = book.interface_addresses();
        if book.pools().contains(probe.to) || probe.from.is_some_and(|from| own.contains(&IpNet::from(from))) {
            return true;
        }
        probe.local && self.captures_local(probe)
    }

    fn captures_local(&self, probe: &Probe) -> bool {
        let rule = self.rules.iter().find(|rule| matches(rule, probe));
        if self.is_dhcp(probe) && !rule.is_some_and(|rule| self.is_selective(rule, probe)) {
            return false;
        }
        match rule {
            Some(rule) if names(rule, probe.to) || !self.in_lan(probe.to) => rule.via != Target::Direct,
            Some(_) => false,
            None => self.claimed(probe.to),
        }
    }

    /// Claims and networks of the host: the longest prefix; then the default.
    fn claimed(&self, to: IpAddr) -> bool {
        let longest = |nets: Vec<IpNet>| nets.iter().filter(|net| net.contains(&to)).map(IpNet::prefix_len).max();
        let standing = effective(&self.claims, &self.facts, &self.rules);
        let claim = longest(standing.iter().map(|claim| claim.prefix).collect());
        match (claim, longest(self.lan())) {
            (Some(claim), lan) => lan.is_none_or(|lan| claim >= lan),
            (None, Some(_)) => false,
            (None, None) => self.has_default(to),
        }
    }

    fn has_default(&self, to: IpAddr) -> bool {
        let choice = if to.is_ipv4() { self.defaults.v4 } else { self.defaults.v6 };
        choice != DefaultChoice::NotOffered
    }

    fn lan(&self) -> Vec<IpNet> {
        if !self.lan_allowed {
            return ALWAYS_DHCP.to_vec();
        }
        let on_link = self.facts.on_link.iter().map(|on| on.net);
        let own = on_link.chain(self.facts.routed.iter().copied()).filter(is_private);
        own.chain(ALWAYS_LOCAL).collect()
    }

    fn in_lan(&self, to: IpAddr) -> bool {
        self.lan().iter().any(|net| net.contains(&to))
    }

    /// Where the LAN is blocked DHCP goes out, but for what a rule with `from`, `proto` or `port`, or one before such a
    /// rule, says.
    fn is_dhcp(&self, probe: &Probe) -> bool {
        let port = if probe.to.is_ipv4() { 67 } else { 547 };
        !self.lan_allowed && probe.proto == UDP && probe.port == Some(port)
    }

    fn is_selective(&self, rule: &Rule, probe: &Probe) -> bool {
        let family = if probe.to.is_ipv4() { Family::V4 } else { Family::V6 };
        let place = self.rules.iter().position(|other| std::ptr::eq(other, rule)).unwrap();
        let everything = |rule: &Rule| plain(rule) && (rule.to.is_empty() || rule.to.contains(&family.everything()));
        let end = self.rules.iter().position(everything).unwrap_or(self.rules.len());
        self.rules[place..end].iter().any(|rule| !plain(rule) && reaches(rule, family))
    }
}

fn reaches(rule: &Rule, family: Family) -> bool {
    let some = |nets: &[IpNet]| nets.is_empty() || nets.iter().any(|net| family.has(net));
    let ports = rule.port.is_empty() || rule.proto.is_empty() || rule.proto.iter().any(|proto| has_ports(*proto));
    some(&rule.to) && some(&rule.from) && ports
}

fn plain(rule: &Rule) -> bool {
    rule.from.iter().all(|net| net.prefix_len() == 0) && rule.proto.is_empty() && rule.port.is_empty()
}

/// Whether a rule names this destination, or selects by something else than the destination.
fn names(rule: &Rule, to: IpAddr) -> bool {
    !plain(rule) || rule.to.iter().any(|net| net.prefix_len() > 0 && net.contains(&to))
}

fn has_ports(proto: u8) -> bool {
    [TCP, UDP, 33, 132].contains(&proto)
}

fn matches(rule: &Rule, probe: &Probe) -> bool {
    let family = if probe.to.is_ipv4() { Family::V4 } else { Family::V6 };
    let from_any = rule.from.iter().any(|net| net.prefix_len() == 0 && family.has(net));
    let from = rule.from.is_empty()
        || from_any
        || probe.from.is_some_and(|from| rule.from.iter().any(|net| net.contains(&from)));
    let to = rule.to.is_empty() || rule.to.iter().any(|net| net.contains(&probe.to));
    let proto = rule.proto.is_empty() || rule.proto.contains(&probe.proto);
    let in_ranges = |port: u16| rule.port.iter().any(|range| (range.first..=range.last).contains(&port));
    let port = rule.port.is_empty() || has_ports(probe.proto) && probe.port.is_some_and(in_ranges);
    from && to && proto && port
}

fn net() -> impl Strategy<Value = IpNet> {
    select(NETS.as_slice()).prop_map(|net| net.parse().unwrap())
}

fn address() -> impl Strategy<Value = IpAddr> {
    select(ADDRESSES.as_slice()).prop_map(|address| address.parse().unwrap())
}

fn target() -> impl Strategy<Value = Target> {
    select(vec![Target::Tunnel(TunnelId::new(0)), Target::Tunnel(TunnelId::new(1)), Target::Direct, Target::Block])
}

fn rule() -> impl Strategy<Value = Rule> {
    let ports = vec(select(vec![(53, 53), (80, 443), (67, 67), (0, 65_535)]), 0..2);
    let some = |list: std::ops::Range<usize>| vec(net(), list);
    let selectors = prop_oneof![3 => Just((0..1, 0..1)), 2 => Just((0..2, 0..2))];
    (some(0..3), selectors, target(), ports).prop_flat_map(move |(to, (from, proto), via, ports)| {
        let ports = if proto.end > 1 { ports } else { Vec::new() };
        let port: Vec<PortRange> = ports.iter().map(|(first, last)| PortRange { first: *first, last: *last }).collect();
        (Just(to), vec(net(), from), vec(select(vec![1, TCP, UDP]), proto), Just(port), Just(via))
            .prop_map(|(to, from, proto, port, via)| Rule { name: None, to, from, proto, port, via })
    })
}

fn claim() -> impl Strategy<Value = Claim> {
    let tunnel = (0..3u16).prop_map(TunnelId::new);
    let wide = |net: &IpNet| net.prefix_len() > 0;
    (tunnel, net().prop_filter("a default is no claim", wide)).prop_map(|(tunnel, prefix)| Claim {
        tunnel,
        prefix,
        origin: ClaimOrigin::Pushed,
    })
}

fn choice() -> impl Strategy<Value = DefaultChoice> {
    select(vec![DefaultChoice::NotOffered, DefaultChoice::Undecided, DefaultChoice::Tunnel(TunnelId::new(0))])
}

fn facts() -> impl Strategy<Value = HostFacts> {
    let local = |net: &IpNet| net.prefix_len() > 1;
    let lan = || vec(net().prop_filter("a default is no network", local), 0..3);
    (lan(), lan()).prop_map(|(on_link, routed)| HostFacts {
        on_link: on_link.into_iter().map(|net| OnLink { net, device: String::from("eth0") }).collect(),
        routed,
        addresses: Vec::new(),
        may_change: true,
    })
}

fn case() -> impl Strategy<Value = Case> {
    let assigned = vec(select(vec!["10.1.2.3/16", "10.9.0.2/24", "192.168.1.7/24", "10.1.2.4/32"]), 0..3);
    let defaults = (choice(), choice()).prop_map(|(v4, v6)| Defaults { v4, v6 });
    (assigned, vec(rule(), 0..6), vec(claim(), 0..5), defaults, facts(), prop::bool::weighted(0.8)).prop_map(
        |(assigned, rules, claims, defaults, facts, lan_allowed)| Case {
            assigned: assigned.into_iter().map(String::from).collect(),
            rules,
            claims,
            defaults,
            facts,
            lan_allowed,
        },
    )
}

fn probe() -> impl Strategy<Value = Probe> {
    let port = select(vec![53, 67, 80, 547, 5000]);
    let from = prop_oneof![2 => Just(None), 1 => address().prop_map(Some)];
    let mark = prop_oneof![9 => Just(0), 1 => Just(0x4d00_0001)];
    (from, address(), select(vec![1, TCP, UDP, 47]), port, mark, prop::bool::weighted(0.9)).prop_map(
        |(from, to, proto, port, mark, local)| Probe {
            from: from.filter(|from| from.is_ipv4() == to.is_ipv4()),
            to,
            proto,
            port: has_ports(proto).then_some(port),
            mark,
            local,
        },
    )
}

fn host() -> ModelHost {
    let mut host = ModelHost::default();
    let device =
        DeviceSpec { name: String::from("mrvpn0"), mtu: 1500, queues: 1, offload: mrvpn_netplan::OffloadSet::ALL };
    host.open(&device).unwrap();
    host
}

fn standing(plan: &Plan) -> ModelHost {
    let mut host = host();
    apply(&mut host, &diff(&Plan::empty("mrvpn0"), plan)).unwrap();
    host
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_captured_is_what_the_order_of_rules_claims_and_default_says(case in case(), probes in vec(probe(), 20)) {
        let host = standing(&case.plan().unwrap());
        for probe in probes {
            let captured = host.route(&probe) == Verdict::Device(String::from("mrvpn0"));
            prop_assert_eq!(captured, case.captures(&probe), "{:?}", probe);
        }
    }

    #[test]
    fn when_the_device_is_gone_what_was_captured_is_refused_and_the_rest_goes_on(case in case(), probes in vec(probe(), 20)) {
        let mut host = standing(&case.plan().unwrap());
        let before: Vec<Verdict> = probes.iter().map(|probe| host.route(probe)).collect();
        host.lose("mrvpn0");
        for (probe, before) in probes.iter().zip(before) {
            let expected = if before == Verdict::Clear { Verdict::Clear } else { Verdict::Unreachable };
            prop_assert_eq!(host.route(probe), expected, "{:?}", probe);
        }
    }

    #[test]
    fn a_diff_applied_gives_the_other_plan_and_its_undo_gives_the_first(first in case(), second in case()) {
        let (first, second) = (first.plan().unwrap(), second.plan().unwrap());
        let mut host = standing(&first);
        let steps = diff(&first, &second);
        apply(&mut host, &steps).unwrap();
        prop_assert!(host.stands(&second));
        for step in steps.iter().rev() {
            host.apply(&step.undo()).unwrap();
        }
        prop_assert!(host.stands(&first));
        apply(&mut host, &diff(&first, &Plan::empty("mrvpn0"))).unwrap();
        prop_assert!(host.stands(&Plan::empty("mrvpn0")));
        prop_assert!(diff(&second, &second).is_empty());
    }

    #[test]
    fn nothing_that_both_plans_capture_is_clear_at_any_step(first in case(), second in case(), probes in vec(probe(), 20)) {
        let (first, second) = (first.plan().unwrap(), second.plan().unwrap());
        let mut host = standing(&first);
        let end = standing(&second);
        let kept: Vec<&Probe> = probes
            .iter()
            .filter(|probe| host.route(probe) != Verdict::Clear && end.route(probe) != Verdict::Clear)
            .collect();
        for step in diff(&first, &second) {
            host.apply(&step).unwrap();
            for probe in &kept {
                prop_assert_ne!(host.route(probe), Verdict::Clear, "{:?} after {:?}", probe, step);
            }
        }
    }

    #[test]
    fn marked_sockets_are_never_captured_at_any_step(first in case(), second in case(), probes in vec(probe(), 5)) {
        let empty = Plan::empty("mrvpn0");
        let (first, second) = (first.plan().unwrap(), second.plan().unwrap());
        let mut host = host();
        for (from, to) in [(&empty, &first), (&first, &second), (&second, &empty)] {
            for step in diff(from, to) {
                host.apply(&step).unwrap();
                for probe in &probes {
                    let marked = Probe { mark: MARK.0, ..*probe };
                    prop_assert_eq!(host.route(&marked), Verdict::Clear, "after {:?}", step);
                }
            }
        }
    }

    #[test]
    fn nothing_that_is_left_alone_is_captured_for_a_moment_when_capture_begins_or_ends(case in case(), probes in vec(probe(), 20)) {
        let empty = Plan::empty("mrvpn0");
        let plan = case.plan().unwrap();
        let mut host = host();
        for (from, to) in [(&empty, &plan), (&plan, &empty)] {
            for step in diff(from, to) {
                host.apply(&step).unwrap();
                for probe in probes.iter().filter(|probe| !case.captures(probe)) {
                    prop_assert_eq!(host.route(probe), Verdict::Clear, "{:?} after {:?}", probe, step);
                }
            }
        }
    }

    #[test]
    fn a_refused_step_leaves_everything_as_it_was(first in case(), second in case(), at in 0usize..60) {
        let (first, second) = (first.plan().unwrap(), second.plan().unwrap());
        let mut host = standing(&first);
        let steps = diff(&first, &second);
        host.fail_after = Some(at);
        match apply(&mut host, &steps) {
            Ok(()) => prop_assert!(at >= steps.len() && host.stands(&second)),
            Err(error) => prop_assert!(error.step == at && error.left.is_empty() && host.stands(&first)),
        }
    }
}

#[test]
fn a_plan_is_written_to_a_journal_and_read_again() {
    let plan = three_tunnels().plan().unwrap();
    let steps = diff(&Plan::empty("mrvpn0"), &plan);
    let text = serde_json::to_string(&(&plan, &steps)).unwrap();
    let read: (Plan, Vec<mrvpn_netplan::Step>) = serde_json::from_str(&text).unwrap();
    assert_eq!(read, (plan, steps));
}

#[test]
fn with_nobody_offering_a_default_only_claims_rules_and_our_own_addresses_are_captured() {
    let mut case = three_tunnels();
    case.defaults = Defaults { v4: DefaultChoice::NotOffered, v6: DefaultChoice::NotOffered };
    let host = standing(&case.plan().unwrap());
    let to = |to: &str| {
        let to = to.parse().unwrap();
        host.route(&Probe { from: None, to, proto: TCP, port: Some(443), mark: 0, local: true })
    };
    assert_eq!(to("203.0.113.10"), Verdict::Clear);
    assert_eq!(to("2001:db8::1"), Verdict::Clear);
    assert_eq!(to("10.101.3.4"), Verdict::Device(String::from("mrvpn0")));
    assert_eq!(to("198.18.1.9"), Verdict::Device(String::from("mrvpn0")));
}

#[test]
fn a_new_claim_touches_nothing_but_its_own_routes() {
    let first = three_tunnels();
    let mut second = first.clone();
    let prefix = "10.7.0.0/16".parse().unwrap();
    second.claims.push(Claim { tunnel: TunnelId::new(2), prefix, origin: ClaimOrigin::Pushed });
    let steps = diff(&first.plan().unwrap(), &second.plan().unwrap());
    assert_eq!(steps.len(), 2, "{steps:?}");
}

#[test]
fn a_third_tunnel_adds_its_address_behind_the_line_that_captures_it() {
    let second = three_tunnels();
    let mut first = second.clone();
    first.assigned.pop();
    let steps = diff(&first.plan().unwrap(), &second.plan().unwrap());
    assert!(matches!(steps[0], mrvpn_netplan::Step::AddRule(_)), "{steps:?}");
    assert!(matches!(steps[1], mrvpn_netplan::Step::AddAddress { .. }), "{steps:?}");
    assert_eq!(steps.len(), 2);
}

// threats-and-faults: limits of runs and policy rules, on both sides.
#[test]
fn more_runs_or_policy_rules_than_there_is_room_for_are_refused_with_the_way_out() {
    let runs = |count: usize| {
        let mut case = three_tunnels();
        case.rules =
            (0..count).map(|n| selective(&[80], if n % 2 == 0 { Target::Block } else { Target::Direct })).collect();
        case.plan()
    };
    for (count, fine) in [(limits::MAX_RUNS - 1, true), (limits::MAX_RUNS, true), (limits::MAX_RUNS + 1, false)] {
        assert_eq!(runs(count).is_ok(), fine, "{count} runs");
    }
    let lines = |count: usize| {
        let mut case = three_tunnels();
        let ports: Vec<u16> = (1..).take(count).collect();
        case.rules = vec![Rule { to: vec!["10.0.0.0/8".parse().unwrap()], ..selective(&ports, Target::Block) }];
        case.plan()
    };
    let limit = limits::MAX_POLICY_RULES;
    for (count, fine) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
        assert_eq!(lines(count).is_ok(), fine, "{count} policy rules");
    }
    assert!(runs(19).unwrap_err().to_string().contains("put rules with `to` alone after"));
}

fn selective(ports: &[u16], via: Target) -> Rule {
    let port = ports.iter().map(|port| PortRange { first: *port, last: *port }).collect();
    Rule { name: None, to: Vec::new(), from: Vec::new(), proto: vec![TCP], port, via }
}

fn three_tunnels() -> Case {
    let assigned = ["10.100.0.2/16", "10.101.0.2/16", "10.102.0.2/24"];
    let claim = |(place, net): (u16, &&str)| Claim {
        tunnel: TunnelId::new(place),
        prefix: net.parse::<IpNet>().unwrap().trunc(),
        origin: ClaimOrigin::Assigned,
    };
    let first = DefaultChoice::Tunnel(TunnelId::new(0));
    Case {
        assigned: assigned.map(String::from).to_vec(),
        rules: Vec::new(),
        claims: (0..).zip(&assigned).map(claim).collect(),
        defaults: Defaults { v4: first, v6: first },
        facts: HostFacts::default(),
        lan_allowed: true,
    }
}

fn assignment(address: &str) -> Assignment {
    Assignment {
        ipv4: Some(Ipv4Assignment { address: address.parse().unwrap(), gateway: None }),
        ipv6: None,
        routes: Vec::new(),
        redirect_gateway: None,
        dns: Vec::new(),
        search_domains: Vec::new(),
        tun_mtu: 1500,
        block_ipv6: false,
        keepalive: Keepalive::default(),
        peer_id: None,
        cipher: None,
        protocol_flags: ProtocolFlags::default(),
        auth_token: None,
        explicit_exit_notify: None,
        session_timeout: None,
        skipped: Vec::new(),
    }
}
