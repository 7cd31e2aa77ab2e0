//! The table CLAIMS: the user's rules that are prefixes alone, the LAN, the claims and the default, as routes. The
//! kernel's longest prefix does what first match means, because a prefix that lies inside an earlier rule's is left out.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use mrvpn_router::{ClaimOrigin, DefaultChoice, Rule};

use super::{Answer, METRIC_THROW, PlanInput, into_device};
use crate::plan::{Family, RouteKind, RouteSpec};
use crate::ranges::{ALWAYS_DHCP, ALWAYS_LOCAL, is_private};

/// The routes of one family. `rules` match by destination alone, in the order of the file.
pub(crate) fn claims_table(input: &PlanInput<'_>, family: Family, rules: &[&Rule]) -> Vec<RouteSpec> {
    let table = input.scope.table_claims();
    let mut routes = Vec::new();
    for (prefix, answer) in answers(input, family, rules) {
        match answer {
            Answer::In => routes.extend(into_device(&input.scope.device, table, prefix)),
            Answer::Out => {
                routes.push(RouteSpec { table, prefix, kind: RouteKind::Throw, metric: METRIC_THROW, mtu: None })
            }
        }
    }
    routes
}

/// What each prefix of the table answers. Rules stand above all; a claim stands above a network of the host that is no
/// longer than it is; the default is the widest. The LAN's routes are there even where nothing wider is claimed yet, so
/// that the LAN is not captured for a moment when a default comes.
fn answers(input: &PlanInput<'_>, family: Family, rules: &[&Rule]) -> BTreeMap<IpNet, Answer> {
    let ruled = first_match(family, rules);
    let mut answers = ruled.clone();
    for prefix in of_host(input, family).into_iter().filter(|prefix| !covered_by_name(&ruled, prefix)) {
        answers.entry(prefix).or_insert(Answer::Out);
    }
    let outside: BTreeSet<IpNet> = outside(input, family).collect();
    for claim in input.claims.iter().filter(|claim| family.has(&claim.prefix)) {
        let prefix = claim.prefix.trunc();
        let disposed = claim.origin != ClaimOrigin::Profile && outside.contains(&prefix);
        if !disposed && !covered(&ruled, &prefix) {
            answers.insert(prefix, Answer::In);
        }
    }
    // A rule for everything stands above the default; a file's own "everything goes past the tunnel" does not, or one
    // file would take another tunnel's default away.
    if is_default(input, family) && !ruled.contains_key(&family.everything()) {
        answers.insert(family.everything(), Answer::In);
    }
    answers
}

/// Rules as prefixes, without those that lie inside an earlier one.
fn first_match(family: Family, rules: &[&Rule]) -> BTreeMap<IpNet, Answer> {
    let mut ruled = BTreeMap::new();
    for rule in rules {
        for prefix in destinations(rule, family) {
            if !covered(&ruled, &prefix) {
                ruled.insert(prefix, Answer::of(rule.via));
            }
        }
    }
    ruled
}

/// Longest first: inside one rule the order means nothing, and what it names must not be lost behind what it does not.
fn destinations(rule: &Rule, family: Family) -> Vec<IpNet> {
    if rule.to.is_empty() {
        return vec![family.everything()];
    }
    let mut nets: Vec<IpNet> = rule.to.iter().filter(|net| family.has(net)).map(IpNet::trunc).collect();
    nets.sort_by_key(|net| std::cmp::Reverse(net.prefix_len()));
    nets
}

/// What is the host's own, or left to it: its LAN, `net_gateway` routes, the pools and claims of engines beside this one.
/// Without the claims, the default of an engine in a lower slot would take what those in higher slots claim.
fn of_host(input: &PlanInput<'_>, family: Family) -> Vec<IpNet> {
    let pools = |slot| input.book.pools().networks_of(slot).into_iter();
    let beside = input.facts.engines.iter().flat_map(|engine| pools(engine.slot).chain(engine.claims.iter().copied()));
    lan(input).into_iter().chain(outside(input, family)).chain(beside).filter(|net| family.has(net)).collect()
}

fn outside(input: &PlanInput<'_>, family: Family) -> impl Iterator<Item = IpNet> {
    input.outside.iter().map(IpNet::trunc).filter(move |net| family.has(net))
}

/// Private networks that the host is on or routes by a route of its own, link-local, multicast.
fn lan(input: &PlanInput<'_>) -> Vec<IpNet> {
    if !input.lan_allowed {
        return ALWAYS_DHCP.to_vec();
    }
    let on_link = input.facts.on_link.iter().map(|on| on.net);
    let own = on_link.chain(input.facts.routed.iter().copied()).map(|net| net.trunc()).filter(is_private);
    own.chain(ALWAYS_LOCAL).collect()
}

fn is_default(input: &PlanInput<'_>, family: Family) -> bool {
    let choice = match family {
        Family::V4 => input.defaults.v4,
        Family::V6 => input.defaults.v6,
    };
    match choice {
        DefaultChoice::Undecided | DefaultChoice::Tunnel(_) => true,
        DefaultChoice::NotOffered => false,
    }
}

/// Whether `prefix` lies in one of `ruled`.
fn covered(ruled: &BTreeMap<IpNet, Answer>, prefix: &IpNet) -> bool {
    covered_from(ruled, prefix, 0)
}

/// The same, but by a rule that names some destination: one for everything does not take the LAN, or a rule "all
/// through uk" would lock its user out of the machine.
fn covered_by_name(ruled: &BTreeMap<IpNet, Answer>, prefix: &IpNet) -> bool {
    covered_from(ruled, prefix, 1)
}

fn covered_from(ruled: &BTreeMap<IpNet, Answer>, prefix: &IpNet, shortest: u8) -> bool {
    let mut next = Some(*prefix);
    while let Some(net) = next.filter(|net| net.prefix_len() >= shortest) {
        if ruled.contains_key(&net) {
            return true;
        }
        next = net.supernet();
    }
    false
}
