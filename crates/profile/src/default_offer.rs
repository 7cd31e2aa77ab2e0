//! The offer to be the default gateway: by `redirect-gateway`, or by routes that are one in disguise (everything, or
//! both halves of a family). Such routes become the offer that they mean, so that a server cannot take by long prefixes
//! what only the default tunnel may carry. Not here: who becomes the default.

use ipnet::IpNet;

use crate::{RedirectGateway, Route, RouteVia};

/// The flags of all `redirect-gateway` options: they add up, and `!ipv4` stays said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Redirect {
    pub(crate) offer: Option<RedirectGateway>,
    not_ipv4: bool,
}

impl Redirect {
    pub(crate) const fn new(offer: Option<RedirectGateway>) -> Self {
        Self { offer, not_ipv4: matches!(offer, Some(RedirectGateway { ipv4: false, .. })) }
    }

    pub(crate) fn add(&mut self, ipv6: bool, not_ipv4: bool) {
        self.not_ipv4 |= not_ipv4;
        let ipv6 = ipv6 || self.offer.is_some_and(|offer| offer.ipv6);
        self.offer = Some(RedirectGateway { ipv4: !self.not_ipv4, ipv6 });
    }
}

/// Takes routes that together cover a family out of `routes` and adds them to `offer`.
pub(crate) fn fold(routes: &mut Vec<Route>, offer: &mut Option<RedirectGateway>) {
    for disguise in IPV4 {
        if take(routes, disguise) {
            offer.get_or_insert_default().ipv4 = true;
        }
    }
    for disguise in IPV6 {
        if take(routes, disguise) {
            offer.get_or_insert_default().ipv6 = true;
        }
    }
}

/// Removes all of `disguise` if all of it is there.
fn take(routes: &mut Vec<Route>, disguise: &[&str]) -> bool {
    let nets: Vec<IpNet> = disguise.iter().filter_map(|net| net.parse().ok()).collect();
    let through_tunnel = |route: &Route, net: &IpNet| route.net == *net && route.via == RouteVia::Tunnel;
    if !nets.iter().all(|net| routes.iter().any(|route| through_tunnel(route, net))) {
        return false;
    }
    routes.retain(|route| !nets.iter().any(|net| through_tunnel(route, net)));
    true
}

const IPV4: [&[&str]; 2] = [&["0.0.0.0/0"], &["0.0.0.0/1", "128.0.0.0/1"]];

/// All of IPv6, or all of it that is in use (2000::/3), each also in halves.
const IPV6: [&[&str]; 4] = [&["::/0"], &["::/1", "8000::/1"], &["2000::/3"], &["2000::/4", "3000::/4"]];

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(nets: &[&str]) -> (Vec<String>, Option<RedirectGateway>) {
        let route = |net: &&str| Route { net: net.parse().unwrap(), via: RouteVia::Tunnel };
        let mut routes: Vec<Route> = nets.iter().map(route).collect();
        let mut offer = None;
        fold(&mut routes, &mut offer);
        (routes.iter().map(|route| route.net.to_string()).collect(), offer)
    }

    #[test]
    fn a_route_for_everything_is_an_offer_to_be_the_default() {
        let ipv4 = Some(RedirectGateway { ipv4: true, ipv6: false });
        assert_eq!(folded(&["0.0.0.0/0"]), (vec![], ipv4));
        assert_eq!(folded(&["0.0.0.0/1", "10.0.0.0/8", "128.0.0.0/1"]), (vec![String::from("10.0.0.0/8")], ipv4));
        assert_eq!(folded(&["2000::/3"]), (vec![], Some(RedirectGateway { ipv4: false, ipv6: true })));
        assert_eq!(folded(&["0.0.0.0/1"]), (vec![String::from("0.0.0.0/1")], None));
    }

    #[test]
    fn what_the_user_keeps_outside_is_no_offer() {
        let mut routes = vec![Route { net: "0.0.0.0/0".parse().unwrap(), via: RouteVia::Direct }];
        let mut offer = None;
        fold(&mut routes, &mut offer);
        assert_eq!((routes.len(), offer), (1, None));
    }
}
