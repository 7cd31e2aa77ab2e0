//! Capture against the router's own `pick`, packet by packet: what policy rules and tables take in or leave out is what
//! `pick` says, but for what is written down in [`Expected`].

#![allow(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use mrvpn_netplan::model::Verdict;
use mrvpn_netplan::plan::{Family, PolicyRule, RuleAction};
use mrvpn_netplan::ranges::{ALWAYS_DHCP, ALWAYS_LOCAL, is_private};
use mrvpn_netplan::{
    AddressBook, EngineSeen, ForeignRule, ForeignWay, Plan, PlanError, Probe, can_be_captured, limits,
};
use mrvpn_router::{
    Attachment, By, ClaimOrigin, DefaultChoice, Defaults, Fallback, FlowTuple, Pick, Policy, PolicyInput, PortRange,
    Rule, Target, TunnelId, Via, pick,
};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{
    Case, MARK, TCP, TUNNELS, UDP, case, claim_of, has_ports, host_with, is_refused, on_its_way, on_lan, probe,
    probe_to, three_tunnels,
};

/// Whether a packet has to be captured. Beside `pick` it knows:
///
/// 1. The engine's own sockets, by their mark: out.
/// 2. Packets from an address of the interface, from where such addresses of the pool lie, and to the engine's own parts of
///    the pool: in, whoever sends them, since with such a source nothing can go direct; the engine forwards or refuses
///    them.
/// 3. Packets that this host forwards: out.
/// 4. What is bypassed: out.
/// 5. The networks of the host (`of_host`): private ones that it is on or routes, link-local and multicast, what files
///    leave to `net_gateway`, parts of the pool of engines beside this one. `pick` does not know them, because what lies
///    in them never comes to it: they are out, but for a rule that names the destination or looks at more than the
///    destination, and for a claim that is at least as long (longer, where a file leaves the same prefix to the host and
///    the claim is a server's).
/// 6. DHCP where the LAN is blocked: out, but for rules that need policy rules.
struct Expected<'a> {
    case: &'a Case,
    book: AddressBook,
    policy: Policy,
}

impl<'a> Expected<'a> {
    fn of(case: &'a Case) -> Self {
        let book = case.book();
        let policy = Policy::new(PolicyInput {
            rules: case.rules.clone(),
            claims: case.standing_claims(),
            defaults: case.defaults,
            undecided_until: None,
            fallback: Fallback::Auto,
            sources: book.sources(),
            own: book.own(),
            accept: Vec::new(),
            tunnels: Vec::new(),
        });
        Self { case, book, policy }
    }

    fn captures(&self, probe: &Probe) -> bool {
        if probe.mark & MARK.1 == MARK.0 {
            return false;
        }
        if self.book.pools().contains(probe.to) || probe.from.is_some_and(|from| self.is_ours(from)) {
            return true;
        }
        let bypassed = self.case.bypass.iter().any(|net| net.contains(&probe.to));
        let pick = pick(&self.policy, Attachment::Rules, &flow(probe));
        probe.local && !bypassed && !self.is_dhcp(probe, &pick) && self.is_in(probe, &pick)
    }

    fn is_ours(&self, source: IpAddr) -> bool {
        let presented = self.book.interface_addresses().contains(&IpNet::from(source));
        presented || self.book.pools().of_single().iter().any(|net| net.contains(&source))
    }

    fn is_in(&self, probe: &Probe, pick: &Pick) -> bool {
        let wanted = match pick.via {
            Via::Tunnel(_) | Via::Block | Via::Undecided => true,
            Via::Direct | Via::Nobody => false,
        };
        wanted && !self.is_of_host(probe, pick)
    }

    fn is_of_host(&self, probe: &Probe, pick: &Pick) -> bool {
        let Some(longest) = self.of_host().iter().filter(|net| net.contains(&probe.to)).map(IpNet::prefix_len).max()
        else {
            return false;
        };
        match pick.by {
            By::Rule(place) => !names(&self.case.rules[place], probe.to),
            By::Claim(prefix) => longest > prefix.prefix_len() || self.is_disposed(prefix),
            By::Default => true,
            By::Source | By::Fallback | By::Attachment => false,
        }
    }

    /// Whether a file leaves to the host what servers alone claim.
    fn is_disposed(&self, prefix: IpNet) -> bool {
        let of_file = |origin| origin == ClaimOrigin::Profile;
        let claims = self.policy.claims().iter().filter(|claim| claim.prefix.trunc() == prefix);
        self.case.outside.contains(&prefix) && !claims.map(|claim| claim.origin).any(of_file)
    }

    fn of_host(&self) -> Vec<IpNet> {
        let facts = &self.case.facts;
        let on_link = facts.on_link.iter().map(|on| on.net);
        let private = on_link.chain(facts.routed.iter().copied()).filter(is_private);
        let beside = facts.engines.iter().flat_map(|engine| self.book.pools().networks_of(engine.slot));
        let lan: Vec<IpNet> =
            if self.case.lan_allowed { private.chain(ALWAYS_LOCAL).collect() } else { ALWAYS_DHCP.to_vec() };
        // All of a family left to the host is what stands anyway where nobody is the default.
        let outside = self.case.outside.iter().filter(|net| net.prefix_len() > 0).copied();
        lan.into_iter().chain(beside).chain(outside).collect()
    }

    fn is_dhcp(&self, probe: &Probe, pick: &Pick) -> bool {
        let port = if probe.to.is_ipv4() { 67 } else { 547 };
        let dhcp = !self.case.lan_allowed && probe.proto == UDP && probe.port == Some(port);
        let selective = matches!(pick.by, By::Rule(place) if self.needs_policy_rule(place, probe.to));
        dhcp && !selective
    }

    /// Whether the rule at `place`, or a later one that can be reached, looks at more than the destination.
    fn needs_policy_rule(&self, place: usize, to: IpAddr) -> bool {
        let family = if to.is_ipv4() { Family::V4 } else { Family::V6 };
        let all = |rule: &Rule| rule.to.is_empty() || rule.to.contains(&family.everything());
        let everything = |rule: &Rule| plain(rule) && reaches(rule, family) && all(rule);
        let rules = &self.case.rules;
        let end = rules.iter().position(everything).unwrap_or(rules.len());
        rules.get(place..end).unwrap_or_default().iter().any(|rule| !plain(rule) && reaches(rule, family))
    }
}

/// Without a source, an IPv4 lookup compares 0.0.0.0 with `from`; the engine sees the anchor only of what is captured.
fn flow(probe: &Probe) -> FlowTuple {
    let none = if probe.to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    FlowTuple {
        source: probe.from.unwrap_or(none),
        destination: probe.to,
        protocol: probe.proto,
        source_port: probe.port.map(|_| 40_000),
        destination_port: probe.port,
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

/// What the list cannot hold: what is forwarded, what stays on the link, and what lines with a source decide, since nobody
/// sees any more whether the program has bound.
fn is_routings_alone(plan: &Plan, probe: Probe) -> bool {
    let link = ["224.0.0.0/4", "255.255.255.255/32", "fe80::/10", "ff00::/8"].map(|net| net.parse::<IpNet>().unwrap());
    let of_link = link.iter().any(|net| net.contains(&probe.to));
    let by_source =
        |rule: &&PolicyRule| rule.from.is_some() && (rule.local || matches!(rule.action, RuleAction::Goto(_)));
    let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let sources = [nobody, flow(&on_its_way(probe)).source];
    let from = |rule: &PolicyRule| rule.from.is_some_and(|net| sources.iter().any(|source| net.contains(source)));
    !probe.local || of_link || plan.rules.iter().filter(by_source).any(from)
}

fn captured(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Device(name) => name == "mrvpn0",
        Verdict::Unreachable | Verdict::Clear => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_captured_is_what_pick_gives_to_a_tunnel_or_blocks(case in case(), probes in vec(probe(), 20)) {
        let expected = Expected::of(&case);
        let host = host_with(&case.plan().unwrap());
        for probe in probes {
            prop_assert_eq!(captured(&host.route(&probe)), expected.captures(&probe), "{:?}", probe);
        }
    }

    #[test]
    fn a_plan_says_of_each_packet_what_a_host_on_which_it_stands_does(case in case(), probes in vec(probe(), 20)) {
        let plan = case.plan().unwrap();
        let host = host_with(&plan);
        for probe in probes {
            prop_assert_eq!(plan.way(&probe).is_captured(), host.route(&probe) != Verdict::Clear, "{:?}", probe);
        }
    }

    // proves: F-21
    #[test]
    fn what_is_captured_and_no_more_is_refused_by_other_interfaces(case in case(), probes in vec(probe(), 20)) {
        let plan = case.plan().unwrap();
        for probe in probes {
            let refused = is_refused(plan.firewall.as_ref(), probe);
            let captured = plan.way(&probe).is_captured();
            prop_assert!(captured || !refused, "{:?} is left to the host", probe);
            prop_assert!(refused || !captured || is_routings_alone(&plan, probe), "{:?} is captured", probe);
        }
    }

    // proves: F-21
    #[test]
    fn what_is_refused_between_two_plans_is_what_both_refuse(
        first in case(), second in case(), probes in vec(probe(), 20),
    ) {
        let plans = [&first, &second].map(|case| case.plan().unwrap());
        let [one, other] = plans.each_ref().map(|plan| plan.firewall.as_ref().unwrap());
        let between = one.with_fence(one.fence.both(&other.fence));
        for probe in probes {
            let by_both = one.refuses(&probe, "eth0") && other.refuses(&probe, "eth0");
            let refused = between.refuses(&probe, "eth0");
            prop_assert!(by_both || !refused, "{:?}", probe);
            let differ = one.fence.lines != other.fence.lines || one.fence.sources != other.fence.sources;
            prop_assert!(refused || !by_both || differ, "{:?}", probe);
        }
    }

    #[test]
    fn when_the_device_is_gone_what_was_captured_is_refused_and_the_rest_goes_on(case in case(), probes in vec(probe(), 20)) {
        let mut host = host_with(&case.plan().unwrap());
        let before: Vec<Verdict> = probes.iter().map(|probe| host.route(probe)).collect();
        host.lose("mrvpn0");
        for (probe, before) in probes.iter().zip(before) {
            let expected = if before == Verdict::Clear { Verdict::Clear } else { Verdict::Unreachable };
            prop_assert_eq!(host.route(probe), expected, "{:?}", probe);
        }
    }
}

const UK: TunnelId = TUNNELS[0];
const FR: TunnelId = TUNNELS[1];

/// A pushed claim, whether it stands, a destination in it, and whether that is captured.
const PUSHED: [(&str, bool, &str, bool); 17] = [
    ("192.168.1.0/24", false, "192.168.1.9", false),     // the LAN
    ("192.168.1.128/25", false, "192.168.1.200", false), // inside it
    ("192.168.1.9/32", false, "192.168.1.9", false),
    ("192.168.0.0/16", true, "192.168.7.7", true), // around it
    ("192.168.0.0/16", true, "192.168.1.9", false),
    ("127.0.0.0/8", false, "127.0.0.1", false),
    ("169.254.0.0/16", false, "169.254.7.7", false),
    ("224.0.0.0/4", false, "224.0.0.251", false),
    ("255.255.255.255/32", false, "255.255.255.255", false),
    ("fe80::/10", false, "fe80::9", false),
    ("ff00::/8", false, "ff02::fb", false),
    ("::1/128", false, "::1", false),
    ("198.18.0.1/32", true, "198.18.0.254", true), // the anchor: ours, whoever claims it
    ("198.18.0.0/15", true, "198.18.0.254", true),
    ("10.101.0.0/16", true, "10.101.7.7", true), // another tunnel's network
    ("8.8.8.0/24", true, "8.8.8.8", true),
    ("192.0.2.5/32", true, "192.0.2.5", true), // a remote's own outer address: for programs, not for our sockets
];

// proves: T-36
#[test]
fn a_pushed_route_reaches_no_further_than_its_tunnel_whichever_of_two_pushes_it() {
    for (tunnel, other) in [(UK, FR), (FR, UK)] {
        for (prefix, stands, to, is_captured) in PUSHED {
            let mut case = three_tunnels();
            case.defaults = Defaults { v4: DefaultChoice::NotOffered, v6: DefaultChoice::NotOffered };
            case.facts = on_lan(&["192.168.1.0/24"]);
            case.claims = vec![claim_of(other, "10.101.0.0/16", ClaimOrigin::Assigned)];
            let before = case.standing_claims();
            case.claims.push(claim_of(tunnel, prefix, ClaimOrigin::Pushed));
            assert_eq!(case.standing_claims().len() > before.len(), stands, "{prefix} of {tunnel}");
            let host = host_with(&case.plan().unwrap());
            assert_eq!(captured(&host.route(&probe_to(to))), is_captured, "{to} with {prefix} of {tunnel}");
            let ours = Probe { mark: MARK.0, ..probe_to(to) };
            assert_eq!(host.route(&ours), Verdict::Clear, "the engine's own socket to {to}");
            // What the other has and what nobody claims stay where they were.
            let policy = Expected::of(&case).policy;
            let via = |to: &str| pick(&policy, Attachment::Rules, &flow(&probe_to(to))).via;
            assert_eq!(via("10.101.9.9"), Via::Tunnel(other), "the first of the file keeps {prefix}");
            assert_eq!(host.route(&probe_to("203.0.113.9")), Verdict::Clear);
        }
    }
}

// proves: T-36
#[test]
fn the_users_rule_stands_above_whatever_is_pushed() {
    for prefix in ["203.0.113.0/24", "203.0.113.9/32", "0.0.0.0/1", "128.0.0.0/1"] {
        let mut case = three_tunnels();
        case.claims.push(claim_of(UK, prefix, ClaimOrigin::Pushed));
        case.rules = vec![rule("203.0.113.0/24", Target::Direct)];
        let host = host_with(&case.plan().unwrap());
        assert_eq!(host.route(&probe_to("203.0.113.9")), Verdict::Clear, "{prefix}");
    }
}

// proves: T-36
#[test]
fn what_a_file_leaves_to_net_gateway_goes_past_the_tunnels_and_no_further() {
    let mut case = three_tunnels();
    case.outside = vec!["203.0.113.0/24".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    case.claims.push(claim_of(UK, "203.0.113.0/24", ClaimOrigin::Pushed));
    let route = |case: &Case, to: &str| host_with(&case.plan().unwrap()).route(&probe_to(to));
    assert_eq!(route(&case, "203.0.113.9"), Verdict::Clear, "the user's file stands above the server");
    assert_eq!(route(&case, "10.7.7.7"), Verdict::Clear);
    assert!(captured(&route(&case, "10.100.7.7")), "a longer claim inside it is kept");
    assert!(captured(&route(&case, "8.8.8.8")), "and the default");
    case.claims.push(claim_of(FR, "203.0.113.0/24", ClaimOrigin::Profile));
    assert!(captured(&route(&case, "203.0.113.9")), "another file's own route is kept");
}

// proves: T-36
#[test]
fn a_file_that_leaves_everything_to_the_host_in_pieces_keeps_its_own_network() {
    let mut case = three_tunnels();
    case.outside = ["0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/2"].map(|net| net.parse().unwrap()).to_vec();
    let host = host_with(&case.plan().unwrap());
    assert!(captured(&host.route(&probe_to("10.100.7.7"))));
    assert_eq!(host.route(&probe_to("8.8.8.8")), Verdict::Clear);
    case.outside = vec!["0.0.0.0/0".parse().unwrap()];
    let host = host_with(&case.plan().unwrap());
    assert!(captured(&host.route(&probe_to("8.8.8.8"))), "one file does not take another tunnel's default away");
}

// proves: F-24
#[test]
fn a_rule_decides_who_has_a_network_that_is_the_lan_and_a_tunnels() {
    let mut case = three_tunnels();
    case.facts = on_lan(&["192.168.1.0/24"]);
    case.claims.push(claim_of(UK, "192.168.1.0/24", ClaimOrigin::Assigned));
    let route = |case: &Case| host_with(&case.plan().unwrap()).route(&probe_to("192.168.1.9"));
    assert_eq!(route(&case), Verdict::Clear, "the LAN is kept");
    case.rules = vec![rule("192.168.1.0/24", Target::Tunnel(UK))];
    assert!(captured(&route(&case)));
    case.rules = vec![rule("192.168.1.9/32", Target::Direct), rule("192.168.1.0/24", Target::Tunnel(UK))];
    assert_eq!(route(&case), Verdict::Clear);
    case.rules = vec![Rule { to: Vec::new(), ..rule("192.168.1.0/24", Target::Tunnel(UK)) }];
    assert_eq!(route(&case), Verdict::Clear, "a rule for everything does not lock its user out of the LAN");
}

#[test]
fn a_bypass_goes_past_rules_but_not_with_an_address_of_ours() {
    let mut case = three_tunnels();
    case.bypass = vec!["203.0.113.9/32".parse().unwrap()];
    case.rules = vec![Rule { proto: vec![TCP], ..rule("203.0.113.0/24", Target::Tunnel(UK)) }];
    let host = host_with(&case.plan().unwrap());
    assert_eq!(host.route(&probe_to("203.0.113.9")), Verdict::Clear);
    assert!(captured(&host.route(&probe_to("203.0.113.10"))));
    let bound = Probe { from: Some("10.100.0.2".parse().unwrap()), ..probe_to("203.0.113.9") };
    assert!(captured(&host.route(&bound)));
}

#[test]
fn sources_of_the_pool_have_a_line_a_family_and_addresses_of_servers_one_each() {
    let lines = |assigned: &[&str]| -> Vec<String> {
        let mut case = three_tunnels();
        case.assigned = assigned.iter().map(|address| String::from(*address)).collect();
        let rules = case.plan().unwrap().rules;
        rules.iter().filter(|rule| rule.priority == 5305).map(|rule| rule.from.unwrap().to_string()).collect()
    };
    assert_eq!(lines(&[]), ["198.18.0.0/19", "2001:2:0:1::/64"]);
    let clash = ["10.100.0.2/16", "10.100.0.2/16", "198.18.1.1/24"];
    assert_eq!(lines(&clash), ["10.100.0.2/32", "198.18.0.0/19", "2001:2:0:1::/64"]);
}

// No line that lets out may ask for packets of this host: the reverse path check of a strict host has no sender.
#[test]
fn what_is_let_out_is_let_out_whoever_sends_it() {
    let mut case = three_tunnels();
    case.bypass = vec!["203.0.113.9/32".parse().unwrap()];
    case.rules = vec![Rule { proto: vec![TCP], ..rule("203.0.113.0/24", Target::Direct) }];
    let plan = case.plan().unwrap();
    let lets_out = |rule: &&PolicyRule| matches!(rule.action, RuleAction::Goto(_));
    assert!(plan.rules.iter().filter(lets_out).count() >= 4);
    assert!(plan.rules.iter().filter(lets_out).all(|rule| !rule.local));
}

#[test]
fn the_pools_of_an_engine_beside_this_one_stay_its_own_while_a_default_stands() {
    let mut case = three_tunnels();
    let to_second = [probe_to("198.18.32.254"), probe_to("198.19.32.9"), probe_to("2001:2:0:11::fe")];
    let alone = host_with(&case.plan().unwrap());
    assert!(to_second.iter().all(|probe| captured(&alone.route(probe))), "nobody else is there");
    case.facts.engines = vec![EngineSeen { slot: 1, device: Some(String::from("mrvpn1")), ..EngineSeen::default() }];
    let beside = host_with(&case.plan().unwrap());
    assert!(to_second.iter().all(|probe| beside.route(probe) == Verdict::Clear));
    assert!(captured(&beside.route(&probe_to("198.18.0.254"))));
    assert_eq!(case.plan().unwrap().firewall.unwrap().others, ["mrvpn1"]);
}

#[test]
fn what_an_engine_beside_this_one_claims_or_has_bound_is_its_own_unless_it_is_claimed_here_too() {
    let mut case = three_tunnels();
    let bound = Probe { from: Some("10.77.0.2".parse().unwrap()), ..probe_to("203.0.113.10") };
    let alone = host_with(&case.plan().unwrap());
    assert!(captured(&alone.route(&probe_to("10.77.1.1"))) && captured(&alone.route(&bound)), "the default takes it");
    case.facts.engines = vec![EngineSeen {
        slot: 1,
        device: Some(String::from("mrvpn1")),
        claims: vec!["10.77.0.0/16".parse().unwrap(), "10.101.0.0/16".parse().unwrap()],
        sources: vec!["10.77.0.2".parse().unwrap()],
    }];
    let beside = host_with(&case.plan().unwrap());
    assert_eq!(beside.route(&probe_to("10.77.1.1")), Verdict::Clear);
    assert_eq!(beside.route(&bound), Verdict::Clear);
    assert!(captured(&beside.route(&probe_to("10.101.3.4"))), "an equal claim is the lower slot's");
    assert!(captured(&beside.route(&probe_to("203.0.113.10"))));
}

#[test]
fn with_nobody_offering_a_default_only_claims_rules_and_our_own_addresses_are_captured() {
    let mut case = three_tunnels();
    case.defaults = Defaults { v4: DefaultChoice::NotOffered, v6: DefaultChoice::NotOffered };
    let host = host_with(&case.plan().unwrap());
    assert_eq!(host.route(&probe_to("203.0.113.10")), Verdict::Clear);
    assert_eq!(host.route(&probe_to("2001:db8::1")), Verdict::Clear);
    assert!(captured(&host.route(&probe_to("10.101.3.4"))));
    assert!(captured(&host.route(&probe_to("198.18.1.9"))));
}

// threats-and-faults: limits of runs, policy rules and bypasses, on both sides.
#[test]
fn more_runs_or_policy_rules_than_there_is_room_for_are_refused_with_the_way_out() {
    let runs = |count: usize| {
        let mut case = three_tunnels();
        case.rules =
            (0..count).map(|n| selective(&[80], if n % 2 == 0 { Target::Block } else { Target::Direct })).collect();
        assert_eq!(can_be_captured(&case.rules, &[]).is_ok(), case.plan().is_ok(), "{count} runs");
        case.plan()
    };
    for (count, fine) in [(limits::MAX_RUNS - 1, true), (limits::MAX_RUNS, true), (limits::MAX_RUNS + 1, false)] {
        assert_eq!(runs(count).is_ok(), fine, "{count} runs");
    }
    let lines = |count: usize| {
        let mut case = three_tunnels();
        let ports: Vec<u16> = (1..).take(count).collect();
        case.rules = vec![Rule { to: vec!["10.0.0.0/8".parse().unwrap()], ..selective(&ports, Target::Block) }];
        assert_eq!(can_be_captured(&case.rules, &[]).err(), case.plan().err(), "{count} policy rules");
        case.plan()
    };
    let limit = limits::MAX_POLICY_RULES;
    for (count, fine) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
        assert_eq!(lines(count).is_ok(), fine, "{count} policy rules");
    }
    assert!(runs(19).unwrap_err().to_string().contains("put rules with `to` alone after"));
}

#[test]
fn rules_that_make_more_lines_than_anyone_could_hold_are_refused_at_once() {
    let nets = |first: u32| (0..5_000).map(move |n| format!("10.{}.{}.{first}/32", n / 256, n % 256).parse().unwrap());
    let ports = || (1..=5_000).map(|port| PortRange { first: port, last: port });
    let everything = (0..=255).collect();
    let rule = Rule {
        from: nets(1).collect(),
        to: nets(2).collect(),
        port: ports().collect(),
        proto: everything,
        ..selective(&[], Target::Block)
    };
    let rules = vec![rule; 3];
    assert!(matches!(can_be_captured(&rules, &[]), Err(PlanError::TooManyRules { .. })));
    let again = Rule { port: vec![rules[0].port[0]; 600], proto: vec![TCP; 600], ..selective(&[], Target::Block) };
    assert_eq!(can_be_captured(&[again], &[]), Ok(()), "the same one counts once");
}

#[test]
fn more_bypasses_than_there_is_room_for_are_refused_and_the_same_one_counts_once() {
    let bypasses = |count: usize| {
        let mut case = three_tunnels();
        case.bypass = (0..count).map(|n| format!("203.0.{}.{}/32", n / 256, n % 256).parse().unwrap()).collect();
        case.bypass.push(case.bypass[0]);
        assert_eq!(can_be_captured(&[], &case.bypass).err(), case.plan().err(), "{count} bypasses");
        case.plan()
    };
    let limit = limits::MAX_BYPASS;
    for (count, fine) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
        assert_eq!(bypasses(count).is_ok(), fine, "{count} bypasses");
    }
    let error = bypasses(limit + 1).unwrap_err();
    assert!(matches!(error, PlanError::TooManyBypasses { .. }) && error.to_string().contains("`bypass`"));
}

fn rule(to: &str, via: Target) -> Rule {
    Rule { name: None, to: vec![to.parse().unwrap()], from: Vec::new(), proto: Vec::new(), port: Vec::new(), via }
}

fn selective(ports: &[u16], via: Target) -> Rule {
    let port = ports.iter().map(|port| PortRange { first: *port, last: *port }).collect();
    Rule { name: None, to: Vec::new(), from: Vec::new(), proto: vec![TCP], port, via }
}

/// A policy rule of others before ours, a destination and a device, and whether it is refused there.
fn foreign(way: ForeignWay) -> ForeignRule {
    let (from, to, proto, port, mark) = (None, None, None, None, None);
    ForeignRule { priority: 1_000, family: Family::V4, from, to, proto, port, mark, way }
}

fn led(net: &str, device: &str) -> ForeignWay {
    ForeignWay::Routes(vec![(net.parse().unwrap(), String::from(device))])
}

#[test]
fn what_policy_rules_of_others_take_before_ours_is_never_refused_and_the_rest_is() {
    let (here, there) = (probe_to("203.0.113.9"), probe_to("8.8.8.8"));
    let marked = Probe { mark: 0x80000, ..there };
    let everywhere = |rule: ForeignRule| ForeignRule { to: Some("203.0.113.0/24".parse().unwrap()), ..rule };
    let cases = [
        (foreign(led("203.0.113.0/24", "wg0")), [(here, "wg0", false), (here, "eth0", true), (there, "wg0", true)]),
        (foreign(led("0.0.0.0/0", "wg0")), [(here, "wg0", false), (there, "wg0", false), (there, "eth0", true)]),
        (
            everywhere(foreign(led("0.0.0.0/0", "wg0"))),
            [(here, "wg0", false), (here, "eth0", false), (there, "wg0", true)],
        ),
        (
            everywhere(foreign(ForeignWay::Anywhere)),
            [(here, "wg0", false), (here, "eth0", false), (there, "wg0", true)],
        ),
        (foreign(ForeignWay::Anywhere), [(here, "wg0", false), (here, "eth0", false), (there, "eth0", false)]),
        (
            ForeignRule { mark: Some((0x80000, 0xff0000)), ..foreign(led("0.0.0.0/0", "eth0")) },
            [(marked, "eth0", false), (marked, "wlan0", false), (there, "eth0", true)],
        ),
        (
            ForeignRule {
                proto: Some(TCP),
                port: Some(PortRange { first: 1, last: 443 }),
                ..foreign(ForeignWay::Anywhere)
            },
            [
                (there, "eth0", false),
                (Probe { port: Some(444), ..there }, "eth0", true),
                (Probe { proto: UDP, ..there }, "eth0", true),
            ],
        ),
        (
            ForeignRule { priority: 5_300, ..foreign(ForeignWay::Anywhere) },
            [(here, "eth0", true), (there, "wg0", true), (marked, "eth0", true)],
        ),
        (
            ForeignRule {
                from: Some("0.0.0.0/1".parse().unwrap()),
                to: Some("203.0.113.0/24".parse().unwrap()),
                ..foreign(ForeignWay::Anywhere)
            },
            [(on_its_way(here), "eth0", false), (on_its_way(there), "eth0", true), (here, "eth0", false)],
        ),
    ];
    for (rule, probes) in cases {
        let mut case = three_tunnels();
        case.facts.foreign_rules = vec![rule.clone()];
        let firewall = case.plan().unwrap().firewall.unwrap();
        for (probe, device, refused) in probes {
            assert_eq!(firewall.refuses(&probe, device), refused, "{probe:?} by {device} with {rule:?}");
            let ours = Probe { from: Some("10.100.0.2".parse().unwrap()), ..probe };
            let nothing_is = rule.way == ForeignWay::Anywhere && rule.proto.is_none() && rule.to.is_none();
            let always = !nothing_is || rule.priority >= 5_300;
            assert_eq!(firewall.refuses(&ours, device), always, "what comes from an address of ours: {rule:?}");
        }
    }
}

#[test]
fn where_others_have_more_lines_than_the_limit_routing_alone_holds() {
    for count in [limits::MAX_FOREIGN_LINES - 1, limits::MAX_FOREIGN_LINES, limits::MAX_FOREIGN_LINES + 1] {
        let mut case = three_tunnels();
        case.facts.foreign_rules = (0..count).map(|n| foreign(led("203.0.113.0/24", &format!("wg{n}")))).collect();
        let firewall = case.plan().unwrap().firewall.unwrap();
        assert_eq!(firewall.refuses(&probe_to("8.8.8.8"), "eth0"), count <= limits::MAX_FOREIGN_LINES, "{count}");
    }
}

#[test]
fn by_loopback_and_devices_of_engines_and_with_the_mark_nothing_is_refused() {
    let mut case = three_tunnels();
    case.facts.engines = vec![EngineSeen { slot: 1, device: Some(String::from("vpn")), ..EngineSeen::default() }];
    let firewall = case.plan().unwrap().firewall.unwrap();
    let probe = probe_to("8.8.8.8");
    for (device, refused) in
        [("lo", false), ("mrvpn0", false), ("mrvpn7", false), ("vpn", false), ("vpn1", true), ("eth0", true)]
    {
        assert_eq!(firewall.refuses(&probe, device), refused, "{device}");
    }
    assert!(!firewall.refuses(&Probe { mark: MARK.0 | 5, ..probe }, "eth0"));
    assert!(!firewall.refuses(&Probe { local: false, ..probe }, "eth0"));
    for to in ["224.0.0.251", "255.255.255.255", "fe80::1", "ff02::fb"] {
        let from = if to.contains(':') { "2001:2:0:1::1" } else { "10.100.0.2" };
        assert!(!firewall.refuses(&probe_to(to), "eth0"), "{to}");
        assert!(
            firewall.refuses(&Probe { from: Some(from.parse().unwrap()), ..probe_to(to) }, "eth0"),
            "{from} to {to}"
        );
    }
}
