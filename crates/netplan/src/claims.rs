//! Claims: which prefixes belong to a tunnel, and who offers to be the default gateway. From the profile before the
//! first connection, from the profile and the push after it. What this host keeps for itself is taken out in
//! [`effective`]; who wins where several claim is the router's (`pick`), and capture does not care.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mrvpn_profile::{Assignment, PullOptions, Route, RouteVia};
use mrvpn_router::{Claim, ClaimOrigin, Rule, Target, TunnelId};
use serde::{Deserialize, Serialize};

use crate::conflict::{Conflict, ConflictKind, Resolution};
use crate::host::HostFacts;
use crate::limits::MAX_CLAIMS;
use crate::pools::Pools;
use crate::ranges::{UNCLAIMABLE, is_private, overlap};

/// Longest prefix that can be part of a default offer written as several routes: 0.0.0.0/1 and 128.0.0.0/1, or ::/3,
/// 2000::/4, 3000::/4 as OpenVPN itself writes it (route.c).
const WIDEST: u8 = 4;

/// All global IPv6 unicast.
const GLOBAL_V6: Ipv6Net = Ipv6Net::new_assert(std::net::Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// The offer to be the default gateway, a family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// IPv4.
    pub v4: bool,
    /// IPv6; an offer for IPv4 always claims it too, or IPv6 would leave in clear.
    pub v6: bool,
}

/// The prefixes of one tunnel: profile routes, pushed routes, the network of the assigned address, each once. Routes
/// that together mean "everything" are the default offer's ([`offers_default`]) and are not here; `net_gateway` routes
/// of the file are no claims.
#[must_use]
pub fn claims(tunnel: TunnelId, own: &PullOptions, assignment: Option<&Assignment>) -> Vec<Claim> {
    let routes = routes(own, assignment);
    let (wide_v4, wide_v6) = (wide_v4(&routes), wide_v6(&routes));
    let is_default = |net: &IpNet| match net {
        IpNet::V4(net) => wide_v4.is_some_and(|longest| net.prefix_len() <= longest),
        IpNet::V6(net) => wide_v6.is_some_and(|longest| net.prefix_len() <= longest),
    };
    let mut claims: Vec<Claim> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let routed = routes.iter().filter(|net| !is_default(net)).map(|net| (*net, origin(own, net)));
    let assigned = assigned_networks(assignment).into_iter().map(|net| (net, ClaimOrigin::Assigned));
    for (prefix, origin) in routed.chain(assigned) {
        if seen.insert(prefix) {
            claims.push(Claim { tunnel, prefix, origin });
        }
    }
    claims
}

/// Whether the profile or the push offers to be the default gateway. An offer for IPv4 claims IPv6 too, whatever the
/// tunnel has addresses for.
#[must_use]
pub fn offers_default(own: &PullOptions, assignment: Option<&Assignment>) -> Offer {
    let routes = routes(own, assignment);
    let pushed = assignment.and_then(|assignment| assignment.redirect_gateway);
    let said = [own.redirect_gateway, pushed];
    let v4 = said.iter().flatten().any(|redirect| redirect.ipv4) || wide_v4(&routes).is_some();
    let v6 = said.iter().flatten().any(|redirect| redirect.ipv6) || wide_v6(&routes).is_some();
    Offer { v4, v6: v6 || v4 }
}

/// The claims that stand on this host: without those equal to or inside a *private* network that the host is on (until
/// a rule names them), without loopback, link-local, multicast and reserved ones, [`MAX_CLAIMS`] at most. A public
/// network that the host is on takes nothing away: anyone who answers DHCP could make one (CVE-2023-36672).
#[must_use]
pub fn effective(claims: &[Claim], facts: &HostFacts, rules: &[Rule]) -> Vec<Claim> {
    let stands = |claim: &&Claim| !unclaimable(claim) && !left_to_host(claim, facts, rules);
    claims.iter().filter(stands).take(MAX_CLAIMS).copied().collect()
}

/// What [`effective`] left out, claims that two tunnels have alike, and claims that hold addresses of ours. Networks of
/// two assigned addresses are the address book's ([`crate::AddressBook::conflicts`]) and are not here.
#[must_use]
pub fn claim_conflicts(claims: &[Claim], facts: &HostFacts, rules: &[Rule], pools: &Pools) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for claim in claims {
        if unclaimable(claim) {
            conflicts.push(of_claim(claim, ConflictKind::Lan, Resolution::Unclaimable));
        } else if left_to_host(claim, facts, rules) {
            conflicts.push(of_claim(claim, ConflictKind::Lan, Resolution::LeftToHost));
        }
        if pools.networks().iter().any(|pool| overlap(pool, &claim.prefix)) {
            conflicts.push(of_claim(claim, ConflictKind::Pool, Resolution::PoolKept));
        }
    }
    conflicts.extend(equal_claims(&effective(claims, facts, rules)));
    conflicts.extend(first_left_out(claims, facts, rules));
    conflicts
}

fn first_left_out(claims: &[Claim], facts: &HostFacts, rules: &[Rule]) -> Option<Conflict> {
    let stands = |claim: &&Claim| !unclaimable(claim) && !left_to_host(claim, facts, rules);
    let claim = claims.iter().filter(stands).nth(MAX_CLAIMS)?;
    Some(of_claim(claim, ConflictKind::Subnet, Resolution::TooMany))
}

/// Prefixes that several tunnels claim, each once; the first of the file carries it.
fn equal_claims(claims: &[Claim]) -> Vec<Conflict> {
    let mut holders: std::collections::BTreeMap<IpNet, Vec<Claim>> = std::collections::BTreeMap::new();
    for claim in claims {
        holders.entry(claim.prefix).or_default().push(*claim);
    }
    holders.into_values().filter_map(equal_claim).collect()
}

fn equal_claim(mut claims: Vec<Claim>) -> Option<Conflict> {
    claims.sort_by_key(|claim| claim.tunnel);
    claims.dedup_by_key(|claim| claim.tunnel);
    let by_book = claims.iter().all(|claim| claim.origin == ClaimOrigin::Assigned);
    let first = claims.first()?;
    (claims.len() > 1 && !by_book).then(|| Conflict {
        kind: ConflictKind::Subnet,
        tunnels: claims.iter().map(|claim| claim.tunnel).collect(),
        what: first.prefix.to_string(),
        resolution: Resolution::FirstInFile { tunnel: first.tunnel },
    })
}

fn of_claim(claim: &Claim, kind: ConflictKind, resolution: Resolution) -> Conflict {
    Conflict { kind, tunnels: vec![claim.tunnel], what: claim.prefix.to_string(), resolution }
}

fn unclaimable(claim: &Claim) -> bool {
    UNCLAIMABLE.iter().any(|range| range.contains(&claim.prefix))
}

fn left_to_host(claim: &Claim, facts: &HostFacts, rules: &[Rule]) -> bool {
    let on_link = facts.on_link.iter().any(|on| is_private(&on.net) && on.net.contains(&claim.prefix));
    on_link && !named(claim, rules)
}

/// Whether a rule gives a destination that holds the claim to the claim's own tunnel.
fn named(claim: &Claim, rules: &[Rule]) -> bool {
    let to_it = |rule: &&Rule| rule.via == Target::Tunnel(claim.tunnel);
    rules.iter().filter(to_it).any(|rule| rule.to.iter().any(|net| net.prefix_len() > 0 && net.contains(&claim.prefix)))
}

/// Routes through the tunnel, host bits zero: the assignment's (which begin with the profile's own), or before the first
/// connection the profile's.
fn routes(own: &PullOptions, assignment: Option<&Assignment>) -> Vec<IpNet> {
    let pushed = assignment.map(|assignment| assignment.routes.as_slice()).unwrap_or_default();
    let through = |route: &&Route| route.via == RouteVia::Tunnel;
    own.routes.iter().chain(pushed).filter(through).map(|route| route.net.trunc()).collect()
}

fn origin(own: &PullOptions, net: &IpNet) -> ClaimOrigin {
    let in_file = own.routes.iter().any(|route| route.via == RouteVia::Tunnel && route.net.trunc() == *net);
    if in_file { ClaimOrigin::Profile } else { ClaimOrigin::Pushed }
}

/// The networks of the assigned addresses; of a point-to-point address the other end.
fn assigned_networks(assignment: Option<&Assignment>) -> Vec<IpNet> {
    let Some(assignment) = assignment else { return Vec::new() };
    let mut networks = Vec::new();
    if let Some(v4) = assignment.ipv4 {
        networks.push(IpNet::V4(v4.address.trunc()));
        networks.extend(
            v4.gateway.filter(|_| v4.address.prefix_len() == 32).map(|end| IpNet::from(std::net::IpAddr::V4(end))),
        );
    }
    if let Some(v6) = assignment.ipv6 {
        networks.push(IpNet::V6(v6.address.trunc()));
        networks.extend(
            v6.gateway.filter(|_| v6.address.prefix_len() == 128).map(|end| IpNet::from(std::net::IpAddr::V6(end))),
        );
    }
    networks
}

/// The longest prefix that is needed to cover all of IPv4 with short routes, if they do.
fn wide_v4(routes: &[IpNet]) -> Option<u8> {
    let nets: Vec<Ipv4Net> =
        routes.iter().filter_map(|net| if let IpNet::V4(net) = net { Some(*net) } else { None }).collect();
    (0..=WIDEST).find(|longest| {
        let short: Vec<Ipv4Net> = nets.iter().filter(|net| net.prefix_len() <= *longest).copied().collect();
        Ipv4Net::aggregate(&short).first().is_some_and(|net| net.prefix_len() == 0)
    })
}

/// The same for all global IPv6 unicast addresses.
fn wide_v6(routes: &[IpNet]) -> Option<u8> {
    let nets: Vec<Ipv6Net> =
        routes.iter().filter_map(|net| if let IpNet::V6(net) = net { Some(*net) } else { None }).collect();
    (0..=WIDEST).find(|longest| {
        let short: Vec<Ipv6Net> = nets.iter().filter(|net| net.prefix_len() <= *longest).copied().collect();
        Ipv6Net::aggregate(&short).iter().any(|net| net.contains(&GLOBAL_V6))
    })
}

#[cfg(test)]
mod tests {
    use mrvpn_profile::{Ipv4Assignment, Ipv6Assignment, RedirectGateway};

    use super::*;
    use crate::host::OnLink;
    use crate::samples::assignment;

    const UK: TunnelId = TunnelId::new(0);
    const FR: TunnelId = TunnelId::new(1);

    fn route(net: &str) -> Route {
        Route { net: net.parse().unwrap(), via: RouteVia::Tunnel }
    }

    fn own(nets: &[&str]) -> PullOptions {
        PullOptions { routes: nets.iter().map(|net| route(net)).collect(), ..PullOptions::default() }
    }

    fn claim(tunnel: TunnelId, net: &str) -> Claim {
        Claim { tunnel, prefix: net.parse().unwrap(), origin: ClaimOrigin::Pushed }
    }

    fn on_lan(net: &str) -> HostFacts {
        let device = String::from("eth0");
        HostFacts { on_link: vec![OnLink { net: net.parse().unwrap(), device }], ..HostFacts::default() }
    }

    fn rule(to: &str, via: Target) -> Rule {
        let to = vec![to.parse().unwrap()];
        Rule { name: None, to, from: Vec::new(), proto: Vec::new(), port: Vec::new(), via }
    }

    fn prefixes(claims: &[Claim]) -> Vec<String> {
        claims.iter().map(|claim| claim.prefix.to_string()).collect()
    }

    #[test]
    fn profile_routes_are_claimed_before_the_first_connection() {
        let claims = claims(UK, &own(&["10.1.0.0/16"]), None);
        assert_eq!(prefixes(&claims), ["10.1.0.0/16"]);
        assert_eq!(claims[0].origin, ClaimOrigin::Profile);
    }

    #[test]
    fn a_push_adds_its_routes_and_the_networks_of_both_addresses() {
        let mut pushed = assignment("10.100.0.2/16");
        pushed.ipv6 = Some(Ipv6Assignment { address: "fd00:64::2/64".parse().unwrap(), gateway: None });
        pushed.routes = vec![route("10.1.0.0/16"), route("10.2.0.0/16"), route("10.2.0.0/16")];
        let claims = claims(UK, &own(&["10.1.0.0/16"]), Some(&pushed));
        assert_eq!(prefixes(&claims), ["10.1.0.0/16", "10.2.0.0/16", "10.100.0.0/16", "fd00:64::/64"]);
        let origins: Vec<_> = claims.iter().map(|claim| claim.origin).collect();
        use ClaimOrigin::{Assigned, Profile, Pushed};
        assert_eq!(origins, [Profile, Pushed, Assigned, Assigned]);
    }

    #[test]
    fn a_point_to_point_address_claims_the_other_end() {
        let mut pushed = assignment("10.8.0.6/32");
        let address = "10.8.0.6/32".parse().unwrap();
        pushed.ipv4 = Some(Ipv4Assignment { address, gateway: Some("10.8.0.5".parse().unwrap()) });
        assert_eq!(prefixes(&claims(UK, &own(&[]), Some(&pushed))), ["10.8.0.6/32", "10.8.0.5/32"]);
    }

    #[test]
    fn routes_that_mean_everything_are_an_offer_and_no_claim() {
        for (routes, v4, left) in [
            (vec!["0.0.0.0/0", "10.1.0.0/16"], true, vec!["10.1.0.0/16"]),
            (vec!["0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8"], true, vec!["10.0.0.0/8"]),
            (vec!["::/0"], false, vec![]),
            (vec!["2000::/3"], false, vec![]),
            (vec!["::/1", "8000::/1"], false, vec![]),
            (vec!["::/3", "2000::/4", "3000::/4", "fc00::/7"], false, vec!["fc00::/7"]),
        ] {
            let own = own(&routes);
            assert_eq!(offers_default(&own, None), Offer { v4, v6: true }, "{routes:?}");
            assert_eq!(prefixes(&claims(UK, &own, None)), left, "{routes:?}");
        }
    }

    #[test]
    fn half_of_everything_is_a_claim_and_no_offer() {
        let own = own(&["0.0.0.0/1", "8000::/1"]);
        assert_eq!(offers_default(&own, None), Offer::default());
        assert_eq!(claims(UK, &own, None).len(), 2);
    }

    #[test]
    fn an_offer_for_ipv4_claims_ipv6_too_and_not_the_other_way_round() {
        let mut pushed = assignment("10.100.0.2/16");
        pushed.redirect_gateway = Some(RedirectGateway { ipv4: true, ipv6: false });
        assert_eq!(offers_default(&own(&[]), Some(&pushed)), Offer { v4: true, v6: true });
        pushed.redirect_gateway = Some(RedirectGateway { ipv4: false, ipv6: true });
        assert_eq!(offers_default(&own(&[]), Some(&pushed)), Offer { v4: false, v6: true });
    }

    // proves: T-36
    #[test]
    fn a_route_to_net_gateway_is_no_claim() {
        let mut own = own(&["10.1.0.0/16"]);
        own.routes[0].via = RouteVia::Direct;
        assert!(claims(UK, &own, None).is_empty());
    }

    // proves: T-36
    #[test]
    fn what_lies_in_the_hosts_own_network_claims_nothing_until_a_rule_names_it() {
        let facts = on_lan("192.168.1.0/24");
        let all = [claim(UK, "192.168.1.0/24"), claim(UK, "192.168.1.128/25"), claim(UK, "192.168.0.0/16")];
        assert_eq!(prefixes(&effective(&all, &facts, &[])), ["192.168.0.0/16"]);
        let named = [rule("192.168.1.128/25", Target::Tunnel(UK))];
        assert_eq!(prefixes(&effective(&all, &facts, &named)), ["192.168.1.128/25", "192.168.0.0/16"]);
        let other = [rule("192.168.1.128/25", Target::Tunnel(FR)), rule("192.168.1.128/25", Target::Direct)];
        assert_eq!(effective(&all, &facts, &other).len(), 1);
        let pools = Pools::choose(None, &[]).unwrap();
        let conflicts = claim_conflicts(&all, &facts, &[], &pools);
        assert_eq!(conflicts.iter().filter(|conflict| conflict.resolution == Resolution::LeftToHost).count(), 2);
    }

    #[test]
    fn a_public_network_of_the_host_takes_nothing_from_a_tunnel() {
        let all = [claim(UK, "8.8.8.0/24")];
        assert_eq!(effective(&all, &on_lan("8.0.0.0/8"), &[]).len(), 1);
    }

    // proves: T-36
    #[test]
    fn loopback_link_local_and_multicast_cannot_be_claimed() {
        let all =
            ["127.0.0.0/8", "169.254.1.0/24", "224.0.0.0/4", "255.255.255.255/32", "::1/128", "fe80::/64", "ff02::/16"];
        let all = all.map(|net| claim(UK, net));
        assert!(effective(&all, &HostFacts::default(), &[]).is_empty());
    }

    #[test]
    fn equal_claims_are_shown_and_the_first_of_the_file_carries_them() {
        let pools = Pools::choose(None, &[]).unwrap();
        let all = [claim(FR, "10.9.0.0/16"), claim(UK, "10.9.0.0/16"), claim(UK, "10.8.0.0/16")];
        let conflicts = claim_conflicts(&all, &HostFacts::default(), &[], &pools);
        assert_eq!(conflicts.len(), 1);
        assert_eq!(conflicts[0].resolution, Resolution::FirstInFile { tunnel: UK });
    }

    #[test]
    fn a_claim_on_our_own_pool_is_shown() {
        let pools = Pools::choose(None, &[]).unwrap();
        let conflicts = claim_conflicts(&[claim(UK, "198.18.0.0/16")], &HostFacts::default(), &[], &pools);
        assert_eq!(conflicts[0].kind, ConflictKind::Pool);
    }

    #[test]
    fn claims_beyond_the_limit_are_left_out_and_shown() {
        let pools = Pools::choose(None, &[]).unwrap();
        let facts = HostFacts::default();
        let many: Vec<Claim> =
            (0..MAX_CLAIMS + 1).map(|n| claim(UK, &format!("11.{}.{}.0/24", n / 256, n % 256))).collect();
        for (count, stand, shown) in
            [(MAX_CLAIMS - 1, MAX_CLAIMS - 1, 0), (MAX_CLAIMS, MAX_CLAIMS, 0), (MAX_CLAIMS + 1, MAX_CLAIMS, 1)]
        {
            assert_eq!(effective(&many[..count], &facts, &[]).len(), stand);
            assert_eq!(claim_conflicts(&many[..count], &facts, &[], &pools).len(), shown);
        }
    }
}
