//! The steps between plans, on a host in memory and from whatever stands there: at no moment is anything let go that both
//! ends capture, and what ends up there is the plan.

#![allow(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

mod support;

use std::net::IpAddr;

use ipnet::IpNet;
use mrvpn_netplan::model::{ModelHost, Verdict};
use mrvpn_netplan::plan::{Family, PlannedAddress, PolicyRule, RouteKind, RouteSpec, RuleAction};
use mrvpn_netplan::{Fence, Host, Plan, Probe, Scope, Step, apply, diff};
use mrvpn_router::{Claim, ClaimOrigin, DefaultChoice, Defaults, Rule, Target};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{Case, MARK, TCP, TUNNELS, case, empty, host, host_with, is_refused, probe, probe_to, three_tunnels};

/// What is left of plans: which of their parts, and in which order their addresses stand.
#[derive(Clone, Debug)]
struct Left {
    keep: Vec<bool>,
    order: Vec<usize>,
}

impl Left {
    /// A part of both plans together, as a killed engine or a stranger leaves it.
    fn of(&self, first: &Plan, second: &Plan) -> ModelHost {
        let mut host = host();
        let mut place = 0..;
        let mut kept = || place.next().and_then(|n: usize| self.keep.get(n % self.keep.len())).copied().unwrap_or(true);
        let mut rules: Vec<&PolicyRule> = first.rules.iter().chain(&second.rules).filter(|_| kept()).collect();
        rules.sort_by_key(|rule| self.rank(rule.priority as usize));
        for rule in rules {
            host.apply(&Step::AddRule(rule.clone())).unwrap();
        }
        for route in first.routes.iter().chain(&second.routes).filter(|_| kept()) {
            host.apply(&Step::AddRoute(route.clone())).unwrap();
        }
        let mut addresses: Vec<_> =
            first.addresses.iter().chain(&second.addresses).filter(|_| kept()).enumerate().collect();
        addresses.sort_by_key(|(place, _)| self.rank(*place));
        for (_, planned) in addresses {
            host.apply(&add(planned.address, planned.deprecated)).unwrap();
        }
        host.firewall = first.firewall.clone().filter(|_| kept());
        host.log.clear();
        host
    }

    fn rank(&self, place: usize) -> usize {
        self.order.get(place % self.order.len()).copied().unwrap_or(place)
    }
}

fn left() -> impl Strategy<Value = Left> {
    let keep = (0.3..1.0).prop_flat_map(|share| vec(prop::bool::weighted(share), 97));
    let order = Just((0..13).collect::<Vec<usize>>()).prop_shuffle();
    (keep, order).prop_map(|(keep, order)| Left { keep, order })
}

fn add(address: IpNet, deprecated: bool) -> Step {
    Step::AddAddress { device: String::from("mrvpn0"), address, deprecated }
}

/// Goes to `to` step by step and checks each moment; the plan stands at the end, and the anchor is first.
fn go(host: &mut ModelHost, to: &Plan, mut check: impl FnMut(&ModelHost, &Step)) {
    let standing = host.standing(&Scope::first()).unwrap();
    for step in diff(&standing, to) {
        host.apply(&step).unwrap();
        check(host, &step);
    }
    assert!(host.stands(to));
    assert_eq!(host.source("mrvpn0"), to.addresses.first().map(|planned| planned.address.addr()));
    assert!(diff(&host.standing(&Scope::first()).unwrap(), to).is_empty());
}

fn host_with_or_bare(plan: &Plan) -> ModelHost {
    if plan.rules.is_empty() { host() } else { host_with(plan) }
}

/// Goes to `to`, and nothing of `probes` that both ends capture is in clear for a moment.
fn go_closed(host: &mut ModelHost, to: &Plan, probes: &[Probe]) {
    let end = if to.rules.is_empty() { support::host() } else { host_with(to) };
    let is_held = |host: &ModelHost, probe: &Probe| host.route(probe) != Verdict::Clear;
    let held: Vec<&Probe> = probes.iter().filter(|probe| is_held(host, probe) && is_held(&end, probe)).collect();
    go(host, to, |host, step| {
        for probe in &held {
            assert!(is_held(host, probe), "{probe:?} after {step}");
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    // proves: F-19, F-21
    #[test]
    fn from_whatever_stands_nothing_that_both_ends_capture_is_let_go(
        first in case(), second in case(), left in left(), probes in vec(probe(), 20),
    ) {
        let (first, second) = (first.plan().unwrap(), second.plan().unwrap());
        for to in [&first, &second, &empty()] {
            go_closed(&mut left.of(&first, &second), to, &probes);
        }
    }

    // proves: F-19
    #[test]
    fn a_change_that_was_cut_short_is_taken_up_where_it_stopped(
        first in case(), second in case(), third in case(), at in 0usize..40, probes in vec(probe(), 20),
    ) {
        let (first, second, third) = (first.plan().unwrap(), second.plan().unwrap(), third.plan().unwrap());
        for (from, between) in [(&empty(), &first), (&first, &second), (&first, &empty())] {
            for to in [from, between, &third, &empty()] {
                let mut host = host_with(from);
                let ends = [from, between, to].map(|plan| if plan.rules.is_empty() { support::host() } else { host_with(plan) });
                let in_all = |probe: &&Probe| ends.iter().all(|end| end.route(probe) != Verdict::Clear);
                let held: Vec<Probe> = probes.iter().filter(in_all).copied().collect();
                for step in diff(from, between).iter().take(at) {
                    host.apply(step).unwrap();
                    prop_assert!(held.iter().all(|probe| host.route(probe) != Verdict::Clear), "after {}", step);
                }
                // Held by all three plans, so held by what stands.
                go_closed(&mut host, to, &held);
            }
        }
    }

    #[test]
    fn between_two_plans_each_packet_is_treated_as_by_one_of_them_at_each_step(
        first in case(), second in case(), probes in vec(probe(), 20),
    ) {
        let (first, second) = (first.plan().unwrap(), second.plan().unwrap());
        for (from, to) in [(&empty(), &first), (&first, &second), (&second, &empty())] {
            let mut host = host_with(from);
            let end = if to.rules.is_empty() { support::host() } else { host_with(to) };
            let fates: Vec<_> = probes.iter().map(|probe| (probe, host.route(probe), end.route(probe))).collect();
            go(&mut host, to, |host, step| {
                for (probe, before, after) in &fates {
                    let now = host.route(probe);
                    assert!(now == *before || now == *after, "{probe:?} is {now:?} after {step}");
                }
            });
        }
    }

    // proves: F-21
    #[test]
    fn at_each_step_what_is_refused_by_other_interfaces_is_captured_and_what_both_plans_refuse_alike_stays_so(
        first in case(), second in case(), probes in vec(probe(), 20),
    ) {
        let (first, second) = (first.plan().unwrap(), second.plan().unwrap());
        for (from, to) in [(&empty(), &first), (&first, &second)] {
            let lines = |plan: &Plan| plan.firewall.clone().map(|firewall| (firewall.fence.lines, firewall.fence.sources));
            let is_held = |probe: &&Probe| is_refused(from.firewall.as_ref(), **probe) && is_refused(to.firewall.as_ref(), **probe);
            let held: Vec<&Probe> = probes.iter().filter(is_held).filter(|_| lines(from) == lines(to)).collect();
            go(&mut host_with_or_bare(from), to, |host, step| {
                for probe in &probes {
                    let refused = is_refused(host.firewall.as_ref(), *probe);
                    assert!(!refused || host.route(probe) != Verdict::Clear, "{probe:?} is let go after {step}");
                }
                for probe in &held {
                    assert!(is_refused(host.firewall.as_ref(), **probe), "{probe:?} after {step}");
                }
            });
        }
    }

    #[test]
    fn marked_sockets_are_never_captured_at_any_step(first in case(), second in case(), probes in vec(probe(), 5)) {
        let (first, second) = (first.plan().unwrap(), second.plan().unwrap());
        let mut host = host();
        for to in [&first, &second, &empty()] {
            go(&mut host, to, |host, step| {
                for probe in &probes {
                    let marked = Probe { mark: MARK.0, ..*probe };
                    assert_eq!(host.route(&marked), Verdict::Clear, "after {step}");
                }
            });
        }
    }

    #[test]
    fn a_diff_applied_gives_the_other_plan_and_its_undo_gives_the_first(first in case(), second in case()) {
        let (first, second) = (first.plan().unwrap(), second.plan().unwrap());
        let mut host = host_with(&first);
        let steps = diff(&first, &second);
        apply(&mut host, &steps).unwrap();
        prop_assert!(host.stands(&second));
        for step in steps.iter().rev() {
            host.apply(&step.undo()).unwrap();
        }
        prop_assert!(host.stands(&first));
        apply(&mut host, &diff(&first, &empty())).unwrap();
        prop_assert!(host.stands(&empty()));
        prop_assert!(diff(&second, &second).is_empty());
    }

    #[test]
    fn a_refused_step_leaves_everything_as_it_was(first in case(), second in case(), at in 0usize..60) {
        let (first, second) = (first.plan().unwrap(), second.plan().unwrap());
        let mut host = host_with(&first);
        let steps = diff(&first, &second);
        host.fail_after = Some(at);
        match apply(&mut host, &steps) {
            Ok(()) => prop_assert!(at >= steps.len() && host.stands(&second)),
            Err(error) => prop_assert!(error.step == at && error.left.is_empty() && host.stands(&first)),
        }
    }

    #[test]
    fn what_did_not_change_is_not_touched(first in case(), second in case()) {
        let (first, second) = (first.plan().unwrap(), second.plan().unwrap());
        for step in diff(&first, &second) {
            let touched = match &step {
                Step::AddRoute(route) | Step::RemoveRoute(route) => {
                    first.routes.contains(route) && second.routes.contains(route)
                }
                Step::AddRule(rule) | Step::RemoveRule(rule) => first.rules.contains(rule) && second.rules.contains(rule),
                Step::AddAddress { .. } | Step::RemoveAddress { .. } => false,
                Step::SetFirewall { from, to } => from == to,
                Step::HoldSetting(_) | Step::ReleaseSetting(_) => first.settings == second.settings,
            };
            prop_assert!(!touched, "{}", step);
        }
    }
}

#[test]
fn a_plan_is_written_to_a_journal_and_read_again() {
    let plan = three_tunnels().plan().unwrap();
    let steps = diff(&empty(), &plan);
    let text = serde_json::to_string(&(&plan, &steps)).unwrap();
    let (read, read_steps): (Plan, Vec<Step>) = serde_json::from_str(&text).unwrap();
    assert_eq!((&read.routes, &read.rules, read_steps.len()), (&plan.routes, &plan.rules, steps.len()));
    assert_eq!(serde_json::to_string(&(&read, &read_steps)).unwrap(), text);
    // What is refused by other interfaces goes with its tables and is not written down.
    let bare = |plan: &Plan| plan.firewall.as_ref().unwrap().with_fence(Fence::default());
    assert_eq!(read.firewall, Some(bare(&plan)));
    assert_ne!(plan.firewall, read.firewall);
}

#[test]
fn a_new_claim_touches_nothing_but_its_own_routes() {
    let first = three_tunnels();
    let mut second = first.clone();
    let prefix = "10.7.0.0/16".parse().unwrap();
    second.claims.push(Claim { tunnel: TUNNELS[2], prefix, origin: ClaimOrigin::Pushed });
    let steps = diff(&first.plan().unwrap(), &second.plan().unwrap());
    assert_eq!(steps.len(), 2, "everything is held anyway: {steps:?}");
    let nobody = Defaults { v4: DefaultChoice::NotOffered, v6: DefaultChoice::NotOffered };
    let [first, second] = [first, second].map(|case| Case { defaults: nobody, ..case }.plan().unwrap());
    let held = |plan: &Plan| plan.firewall.as_ref().unwrap().fence.held.len();
    assert_eq!((held(&first), held(&second)), (1, 2), "what touches is one");
    for (from, to, place) in [(&first, &second, 2), (&second, &first, 0)] {
        let steps = diff(from, to);
        assert_eq!(steps.len(), 3, "{steps:?}");
        assert!(matches!(steps[place], Step::SetFirewall { .. }), "loosened first, tightened last: {steps:?}");
    }
}

#[test]
fn a_third_tunnel_adds_its_address_behind_the_line_that_captures_it() {
    let second = three_tunnels();
    let mut first = second.clone();
    first.assigned.pop();
    let steps = diff(&first.plan().unwrap(), &second.plan().unwrap());
    let lines: Vec<String> = steps.iter().skip(1).map(ToString::to_string).collect();
    assert!(matches!(steps[0], Step::SetFirewall { .. }), "a neighbour cannot reach it before it is there");
    let expected = [
        "add policy rule 5305 from 10.102.0.2 lookup table 19712",
        "add address 10.102.0.2/32 to mrvpn0",
        "set nftables tables inet mrvpn_default and arp mrvpn_default (7 addresses, 0 sessions, fenced)",
    ];
    assert_eq!(lines, expected);
}

// proves: F-21
#[test]
fn whichever_single_thing_a_stranger_takes_away_is_put_back_and_nothing_else_is_touched() {
    let plan = full().plan().unwrap();
    let steps = diff(&empty(), &plan);
    assert!(steps.len() > 40);
    let mut bare = host_with(&plan);
    bare.firewall = None;
    let tables = diff(&bare.standing(&Scope::first()).unwrap(), &plan);
    assert_eq!(tables, [Step::SetFirewall { from: None, to: plan.firewall.clone().map(Box::new) }], "at once");
    for taken in steps.iter().filter(|step| !matches!(step, Step::SetFirewall { .. })) {
        let mut host = host_with(&plan);
        host.apply(&taken.undo()).unwrap();
        let repair = diff(&host.standing(&Scope::first()).unwrap(), &plan);
        assert!(repair.contains(taken), "{taken}");
        let is_anchor = |step: &Step| *step == add("198.18.0.1/32".parse().unwrap(), false);
        let is_nop = |step: &Step| matches!(step, Step::AddRule(rule) if rule.action == RuleAction::Nop);
        assert!(repair.len() == 1 || is_anchor(taken) || is_nop(taken), "{taken}: {repair:?}");
        apply(&mut host, &repair).unwrap();
        assert!(host.stands(&plan));
        assert_eq!(host.source("mrvpn0"), Some("198.18.0.1".parse().unwrap()));
    }
}

#[test]
fn an_anchor_that_is_gone_comes_back_in_front_and_only_then_are_others_added_again() {
    let plan = three_tunnels().plan().unwrap();
    let mut host = host_with(&plan);
    let anchor = add("198.18.0.1/32".parse().unwrap(), false);
    host.apply(&anchor.undo()).unwrap();
    let repair = diff(&host.standing(&Scope::first()).unwrap(), &plan);
    assert_eq!(repair[0], anchor, "so that there is an address at each moment");
    assert_eq!(repair.len(), 1 + 2 * (plan.addresses.len() - 1));
    apply(&mut host, &repair).unwrap();
    assert_eq!(host.source("mrvpn0"), Some("198.18.0.1".parse::<IpAddr>().unwrap()));
    // A tunnel's own address needs no place before others.
    host.apply(&add("10.100.0.2/32".parse().unwrap(), false).undo()).unwrap();
    assert_eq!(diff(&host.standing(&Scope::first()).unwrap(), &plan).len(), 1);
}

#[test]
fn an_address_that_stands_otherwise_than_it_is_wanted_is_replaced() {
    let mut plan = three_tunnels().plan().unwrap();
    let mut from = plan.clone();
    for (address, deprecated) in [("2001:2:0:1::1/128", false), ("2001:2:0:1::1:1/128", true)] {
        let address = address.parse().unwrap();
        plan.addresses.push(PlannedAddress { address, deprecated });
        from.addresses.push(PlannedAddress { address, deprecated: !deprecated });
    }
    let mut host = host_with(&from);
    go(&mut host, &plan, |_, _| {});
}

#[test]
fn a_route_that_a_stranger_has_changed_is_replaced_while_its_twin_stands() {
    let mut plan = three_tunnels().plan().unwrap();
    plan.routes.sort();
    let mut host = host_with(&plan);
    let ours = plan.routes.iter().find(|route| matches!(route.kind, RouteKind::Device(_))).unwrap().clone();
    let twin =
        plan.routes.iter().find(|route| (route.prefix, route.table) == (ours.prefix, ours.table) && **route != ours);
    host.apply(&Step::RemoveRoute(ours.clone())).unwrap();
    host.apply(&Step::RemoveRoute(twin.unwrap().clone())).unwrap();
    host.apply(&Step::AddRoute(RouteSpec { mtu: Some(1200), ..ours })).unwrap();
    let probe = probe_to("8.8.8.8");
    go(&mut host, &plan, |host, step| assert_ne!(host.route(&probe), Verdict::Clear, "{step}"));
}

// A line between the user's that looks the claims up is no plan's; the claims are held all the same.
#[test]
fn claims_that_are_looked_up_at_a_strange_place_stay_held_while_their_place_is_mended() {
    let mut before = three_tunnels();
    before.rules = vec![selective(80, Target::Direct)];
    let mut after = three_tunnels();
    after.outside = vec!["10.100.0.0/24".parse().unwrap()];
    after.rules = vec![selective(443, Target::Direct), selective(80, Target::Block)];
    let mut odd = before.plan().unwrap();
    for rule in odd.rules.iter_mut().filter(|rule| rule.action == RuleAction::Lookup(19713)) {
        rule.priority = 5306;
    }
    let plan = after.plan().unwrap();
    let ports = [80, 443, 22].map(|port| Probe { port: Some(port), ..probe_to("10.100.0.9") });
    go_closed(&mut host_with(&odd), &plan, &ports);
}

// Two halves of a cut change have lines with different answers at one place, where the first that came is asked.
#[test]
fn of_lines_at_one_place_the_one_that_lets_go_is_taken_away_first() {
    let plan = three_tunnels().plan().unwrap();
    let with = |via| Case { rules: vec![selective(443, via)], ..three_tunnels() }.plan().unwrap();
    let (captures, lets_go) = (with(Target::Block), with(Target::Direct));
    let mut host = host_with(&captures);
    for rule in lets_go.rules.iter().filter(|rule| !captures.rules.contains(rule)) {
        host.apply(&Step::AddRule(rule.clone())).unwrap();
    }
    assert_ne!(host.route(&probe_to("8.8.8.8")), Verdict::Clear);
    go_closed(&mut host, &plan, &[probe_to("8.8.8.8")]);
}

#[test]
fn a_device_that_was_lost_is_filled_again_and_refused_until_then() {
    let plan = full().plan().unwrap();
    let mut host = host_with(&plan);
    host.lose("mrvpn0");
    let probes = ["8.8.8.8", "10.101.7.7", "2001:db8::1"].map(probe_to);
    assert!(probes.iter().all(|probe| host.route(probe) == Verdict::Unreachable));
    let name = String::from("mrvpn0");
    let offload = mrvpn_netplan::OffloadSet::ALL;
    host.open(&mrvpn_netplan::DeviceSpec { name, mtu: 1500, queues: 1, offload, persistent: true }).unwrap();
    go_closed(&mut host, &plan, &probes);
    assert!(probes.iter().all(|probe| host.route(probe) == Verdict::Device(String::from("mrvpn0"))));
}

#[test]
fn what_a_killed_engine_left_of_another_strict_host_is_taken_over_with_its_settings() {
    let mut strict = three_tunnels();
    strict.facts.strict_reverse_path = true;
    let (strict, plain) = (strict.plan().unwrap(), three_tunnels().plan().unwrap());
    let mut host = host_with(&plain);
    go(&mut host, &strict, |_, _| {});
    assert!(matches!(host.log[host.log.len() - 1], Step::HoldSetting(_)));
    go(&mut host, &plain, |_, _| {});
    go(&mut host, &strict, |_, _| {});
    go(&mut host, &empty(), |_, _| {});
    assert!(matches!(host.log[host.log.len() - 1], Step::ReleaseSetting(_)), "when nothing hangs on it any more");
}

#[test]
fn each_family_is_mended_for_itself() {
    let plan = full().plan().unwrap();
    let mut host = host_with(&plan);
    host.rules.retain(|rule| rule.family == Family::V4);
    let repair = diff(&host.standing(&Scope::first()).unwrap(), &plan);
    let is_v6 = |step: &Step| matches!(step, Step::AddRule(rule) if rule.family == Family::V6);
    assert!(repair.iter().all(is_v6), "{repair:?}");
}

// threats-and-faults: limits of routes; the steps of the largest plan are made in the time of a sort.
#[test]
fn a_plan_of_as_many_claims_as_there_may_be_is_compared_in_a_moment() {
    let mut many = three_tunnels();
    let net = |n: usize| format!("11.{}.{}.0/24", n / 256, n % 256).parse().unwrap();
    let claim = |n| Claim { tunnel: TUNNELS[0], prefix: net(n), origin: ClaimOrigin::Pushed };
    many.claims = (0..mrvpn_netplan::limits::MAX_CLAIMS).map(claim).collect();
    let plan = many.plan().unwrap();
    let few = three_tunnels().plan().unwrap();
    let steps = diff(&few, &plan);
    assert!(steps.len() > 2 * mrvpn_netplan::limits::MAX_CLAIMS);
    assert!(diff(&plan, &plan).is_empty());
}

/// A plan with a line of each kind.
fn full() -> Case {
    let mut case = three_tunnels();
    case.rules = vec![selective(25, Target::Block), selective(22, Target::Direct)];
    case.bypass = vec!["203.0.113.9/32".parse().unwrap()];
    case.outside = vec!["198.51.100.0/24".parse().unwrap()];
    case.facts = support::on_lan(&["192.168.1.0/24"]);
    case.facts.strict_reverse_path = true;
    case
}

fn selective(port: u16, via: Target) -> Rule {
    let port = vec![mrvpn_router::PortRange { first: port, last: port }];
    Rule { name: None, to: Vec::new(), from: Vec::new(), proto: vec![TCP], port, via }
}
