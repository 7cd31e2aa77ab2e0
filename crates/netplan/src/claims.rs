//! Claims: which prefixes belong to a tunnel, and who offers to be the default gateway. From the profile and what is
//! remembered of the last push before the first connection, from the profile and the push after it. What of them stands
//! on this host is `standing.rs`'s; who wins where several claim is the router's (`pick`), and capture does not care.

use std::collections::BTreeSet;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mrvpn_profile::{Assignment, PullOptions, RouteVia};
use mrvpn_router::{Claim, ClaimOrigin, TunnelId};
use serde::{Deserialize, Serialize};

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

/// The prefixes of one tunnel: profile routes, pushed routes, the network of the assigned address, each once. A pushed
/// route to that network is the network itself, which has a broadcast address; a route of the file stays the file's, since
/// that stands above what another file leaves to the host. Routes that together mean "everything" are the default offer's
/// ([`offers_default`]) and are not here; `net_gateway` routes of the file are no claims ([`left_to_host`]).
#[must_use]
pub fn claims(tunnel: TunnelId, own: &PullOptions, assignment: Option<&Assignment>) -> Vec<Claim> {
    claims_of(tunnel, own, &assignment.map(|assignment| pushed_prefixes(own, assignment)).unwrap_or_default())
}

/// The same from what is remembered of a push ([`pushed_claims`]), for a tunnel that has had none in this run.
#[must_use]
pub fn claims_of(tunnel: TunnelId, own: &PullOptions, pushed: &[(IpNet, ClaimOrigin)]) -> Vec<Claim> {
    let profile = own_routes(own).map(|net| (net, ClaimOrigin::Profile));
    let pushed = pushed.iter().map(|(net, origin)| (net.trunc(), *origin));
    let all: Vec<(IpNet, ClaimOrigin)> = profile.chain(pushed).collect();
    let everything = Everything::of(all.iter().filter(|(_, origin)| is_route(*origin)).map(|(net, _)| *net));
    let assigned: BTreeSet<IpNet> = all.iter().filter(|(_, origin)| !is_route(*origin)).map(|(net, _)| *net).collect();
    let stands = all.into_iter().filter(|(net, origin)| match origin {
        ClaimOrigin::Profile => !everything.has(net),
        ClaimOrigin::Pushed => !everything.has(net) && !assigned.contains(net),
        ClaimOrigin::Assigned => true,
    });
    let mut seen = BTreeSet::new();
    let once = stands.filter(|(net, _)| seen.insert(*net));
    once.map(|(prefix, origin)| Claim { tunnel, prefix, origin }).collect()
}

/// What is to be remembered of a push, so that the tunnel keeps its claims when the engine starts again: the prefixes
/// beyond the profile's own, and what it offered. `claims_of` makes the same claims of it as [`claims`] of the push.
#[must_use]
pub fn pushed_claims(own: &PullOptions, assignment: &Assignment) -> (Vec<(IpNet, ClaimOrigin)>, Offer) {
    (pushed_prefixes(own, assignment), offers_default(own, Some(assignment)))
}

/// Whether the profile or the push offers to be the default gateway. An offer for IPv4 claims IPv6 too, whatever the
/// tunnel has addresses for.
#[must_use]
pub fn offers_default(own: &PullOptions, assignment: Option<&Assignment>) -> Offer {
    let pushed = assignment.map(pushed_routes).into_iter().flatten();
    let everything = Everything::of(own_routes(own).chain(pushed));
    let redirects = [own.redirect_gateway, assignment.and_then(|assignment| assignment.redirect_gateway)];
    let v4 = redirects.iter().flatten().any(|redirect| redirect.ipv4) || everything.v4.is_some();
    let v6 = redirects.iter().flatten().any(|redirect| redirect.ipv6) || everything.v6.is_some();
    Offer { v4, v6: v6 || v4 }
}

/// What the user's own file leaves to the host: its routes to `net_gateway`, each once. A server's are never taken.
#[must_use]
pub fn left_to_host(own: &PullOptions) -> Vec<IpNet> {
    let mut seen = BTreeSet::new();
    let direct = own.routes.iter().filter(|route| route.via == RouteVia::Direct).map(|route| route.net.trunc());
    direct.filter(|net| seen.insert(*net)).collect()
}

/// Routes of the file through the tunnel, host bits zero.
fn own_routes(own: &PullOptions) -> impl Iterator<Item = IpNet> {
    own.routes.iter().filter(|route| route.via == RouteVia::Tunnel).map(|route| route.net.trunc())
}

/// Routes of the assignment through the tunnel; they begin with the profile's own.
fn pushed_routes(assignment: &Assignment) -> impl Iterator<Item = IpNet> {
    assignment.routes.iter().filter(|route| route.via == RouteVia::Tunnel).map(|route| route.net.trunc())
}

/// Pushed routes that are not the profile's own, then the networks of the assigned addresses, each once.
fn pushed_prefixes(own: &PullOptions, assignment: &Assignment) -> Vec<(IpNet, ClaimOrigin)> {
    let mut seen: BTreeSet<(IpNet, bool)> = own_routes(own).map(|net| (net, true)).collect();
    let pushed = pushed_routes(assignment).map(|net| (net, ClaimOrigin::Pushed));
    let assigned = assigned_networks(assignment).into_iter().map(|net| (net, ClaimOrigin::Assigned));
    pushed.chain(assigned).filter(|(net, origin)| seen.insert((*net, is_route(*origin)))).collect()
}

/// Whether a claim is a route, which can be part of a way to say "everything"; the network of an address never is.
const fn is_route(origin: ClaimOrigin) -> bool {
    match origin {
        ClaimOrigin::Profile | ClaimOrigin::Pushed => true,
        ClaimOrigin::Assigned => false,
    }
}

/// The networks of the assigned addresses; of a point-to-point address the other end.
fn assigned_networks(assignment: &Assignment) -> Vec<IpNet> {
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

/// The longest prefixes that are needed to cover a family with short routes, where they do.
struct Everything {
    v4: Option<u8>,
    v6: Option<u8>,
}

impl Everything {
    fn of(routes: impl Iterator<Item = IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for route in routes.filter(|route| route.prefix_len() <= WIDEST) {
            match route {
                IpNet::V4(net) => v4.push(net),
                IpNet::V6(net) => v6.push(net),
            }
        }
        Self { v4: wide_v4(&v4), v6: wide_v6(&v6) }
    }

    fn has(&self, net: &IpNet) -> bool {
        let longest = match net {
            IpNet::V4(_) => self.v4,
            IpNet::V6(_) => self.v6,
        };
        longest.is_some_and(|longest| net.prefix_len() <= longest)
    }
}

fn wide_v4(routes: &[Ipv4Net]) -> Option<u8> {
    (0..=WIDEST).find(|longest| {
        let short: Vec<Ipv4Net> = routes.iter().filter(|net| net.prefix_len() <= *longest).copied().collect();
        Ipv4Net::aggregate(&short).first().is_some_and(|net| net.prefix_len() == 0)
    })
}

/// All of IPv6, or all global unicast addresses.
fn wide_v6(routes: &[Ipv6Net]) -> Option<u8> {
    (0..=WIDEST).find(|longest| {
        let short: Vec<Ipv6Net> = routes.iter().filter(|net| net.prefix_len() <= *longest).copied().collect();
        Ipv6Net::aggregate(&short).iter().any(|net| net.contains(&GLOBAL_V6))
    })
}

#[cfg(test)]
mod tests {
    use mrvpn_profile::{Ipv4Assignment, Ipv6Assignment, RedirectGateway, Route};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::samples::assignment;

    const UK: TunnelId = TunnelId::new(0);

    fn route(net: &str) -> Route {
        Route { net: net.parse().unwrap(), via: RouteVia::Tunnel }
    }

    fn own(nets: &[&str]) -> PullOptions {
        PullOptions { routes: nets.iter().map(|net| route(net)).collect(), ..PullOptions::default() }
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
    fn a_pushed_route_to_the_assigned_network_is_that_network_and_one_of_the_file_stays_the_files() {
        let mut pushed = assignment("10.100.0.2/16");
        pushed.routes = vec![route("10.100.0.0/16"), route("10.2.0.0/16")];
        let origins = |own: &PullOptions| -> Vec<_> {
            claims(UK, own, Some(&pushed)).iter().map(|claim| (claim.prefix.to_string(), claim.origin)).collect()
        };
        let (network, other) = (String::from("10.100.0.0/16"), String::from("10.2.0.0/16"));
        use ClaimOrigin::{Assigned, Profile, Pushed};
        assert_eq!(origins(&own(&[])), [(other.clone(), Pushed), (network.clone(), Assigned)]);
        assert_eq!(origins(&own(&["10.100.0.0/16"])), [(network, Profile), (other, Pushed)]);
    }

    #[test]
    fn a_point_to_point_address_claims_the_other_end() {
        let mut pushed = assignment("10.8.0.6/32");
        let address = "10.8.0.6/32".parse().unwrap();
        pushed.ipv4 = Some(Ipv4Assignment { address, gateway: Some("10.8.0.5".parse().unwrap()) });
        assert_eq!(prefixes(&claims(UK, &own(&[]), Some(&pushed))), ["10.8.0.6/32", "10.8.0.5/32"]);
        for (six, claimed) in
            [("fd00:8::6/128", vec!["fd00:8::6/128", "fd00:8::5/128"]), ("fd00:8::6/64", vec!["fd00:8::/64"])]
        {
            pushed.ipv4 = None;
            pushed.ipv6 =
                Some(Ipv6Assignment { address: six.parse().unwrap(), gateway: Some("fd00:8::5".parse().unwrap()) });
            assert_eq!(prefixes(&claims(UK, &own(&[]), Some(&pushed))), claimed);
        }
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
        own.routes.push(own.routes[0]);
        assert!(claims(UK, &own, None).is_empty());
        assert_eq!(left_to_host(&own), ["10.1.0.0/16".parse().unwrap()]);
    }

    // proves: T-36
    #[test]
    fn a_pushed_route_to_net_gateway_leaves_nothing_to_the_host() {
        let mut pushed = assignment("10.100.0.2/16");
        pushed.routes = vec![Route { via: RouteVia::Direct, ..route("10.1.0.0/16") }];
        assert_eq!(prefixes(&claims(UK, &own(&[]), Some(&pushed))), ["10.100.0.0/16"]);
        assert!(left_to_host(&own(&[])).is_empty());
    }

    #[test]
    fn what_is_remembered_of_a_push_is_what_the_profile_does_not_say_itself() {
        let mut pushed = assignment("10.100.0.2/16");
        pushed.routes = vec![route("10.1.0.0/16"), route("10.2.0.0/16")];
        pushed.redirect_gateway = Some(RedirectGateway { ipv4: true, ipv6: false });
        let (remembered, offer) = pushed_claims(&own(&["10.1.0.0/16"]), &pushed);
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let expected = [(net("10.2.0.0/16"), ClaimOrigin::Pushed), (net("10.100.0.0/16"), ClaimOrigin::Assigned)];
        assert_eq!((remembered.as_slice(), offer), (expected.as_slice(), Offer { v4: true, v6: true }));
        let edited = claims_of(UK, &own(&["10.7.0.0/16"]), &remembered);
        assert_eq!(prefixes(&edited), ["10.7.0.0/16", "10.2.0.0/16", "10.100.0.0/16"], "the file is read anew");
    }

    fn routes() -> impl Strategy<Value = Vec<Route>> {
        let nets = vec![
            "0.0.0.0/0",
            "0.0.0.0/1",
            "128.0.0.0/1",
            "10.0.0.0/8",
            "10.100.0.0/16",
            "10.1.0.0/16",
            "::/0",
            "2000::/4",
            "3000::/4",
            "fc00::/7",
        ];
        vec(select(nets).prop_map(route), 0..5)
    }

    proptest! {
        #[test]
        fn a_tunnel_claims_the_same_from_memory_as_from_the_push(file in routes(), extra in routes()) {
            let own = PullOptions { routes: file.clone(), ..PullOptions::default() };
            let mut pushed = assignment("10.100.0.2/16");
            pushed.routes = file.into_iter().chain(extra).collect();
            let (remembered, offer) = pushed_claims(&own, &pushed);
            prop_assert_eq!(claims_of(UK, &own, &remembered), claims(UK, &own, Some(&pushed)));
            prop_assert_eq!(offer, offers_default(&own, Some(&pushed)));
        }
    }
}
