//! Which claims stand on this host, and what is shown of the others: a private network that the host is on, loopback and
//! the like are no tunnel's; of equal ones the first of the file carries. Claims come in the order of the file, and that
//! order decides, not the numbers of tunnels. Where claims come from is `claims.rs`'s.

use ipnet::IpNet;
use mrvpn_router::{Claim, ClaimOrigin, Rule, Target};

use crate::conflict::{Conflict, ConflictKind, Resolution, listed};
use crate::host::HostFacts;
use crate::limits::MAX_CLAIMS;
use crate::nesting::{self, Owned};
use crate::pools::Pools;
use crate::ranges::{UNCLAIMABLE, is_private, overlap};

/// The claims that stand on this host: without those equal to or inside a *private* network that the host is on (until
/// a rule names them), without loopback, link-local, multicast and reserved ones, [`MAX_CLAIMS`] at most. A public
/// network that the host is on takes nothing away: anyone who answers DHCP could make one (CVE-2023-36672).
#[must_use]
pub fn effective(claims: &[Claim], facts: &HostFacts, rules: &[Rule]) -> Vec<Claim> {
    let stands = |claim: &&Claim| !unclaimable(claim) && !lies_in_lan(claim, facts, rules);
    claims.iter().filter(stands).take(MAX_CLAIMS).copied().collect()
}

/// What [`effective`] left out, claims that share addresses with another tunnel's, and claims that hold addresses of
/// ours. Networks of two assigned addresses are the address book's ([`crate::AddressBook::conflicts`]) and are not here.
#[must_use]
pub fn claim_conflicts(claims: &[Claim], facts: &HostFacts, rules: &[Rule], pools: &Pools) -> Vec<Conflict> {
    let lan = claims.iter().filter_map(|claim| of_lan(claim, facts, rules)).collect();
    let touching = |claim: &&Claim| pools.shared().iter().any(|pool| overlap(pool, &claim.prefix));
    let pool = claims.iter().filter(touching).map(|claim| of_claim(claim, ConflictKind::Pool, Resolution::PoolKept));
    let mut conflicts = listed(ConflictKind::Lan, lan, 0);
    conflicts.extend(listed(ConflictKind::Pool, pool.collect(), 0));
    let standing: Vec<Owned> = effective(claims, facts, rules).iter().map(owned).collect();
    conflicts.extend(nesting::conflicts(&standing));
    conflicts.extend(first_left_out(claims, facts, rules));
    conflicts
}

fn of_lan(claim: &Claim, facts: &HostFacts, rules: &[Rule]) -> Option<Conflict> {
    let left = || lies_in_lan(claim, facts, rules).then_some(Resolution::LeftToHost);
    let resolution = if unclaimable(claim) { Some(Resolution::Unclaimable) } else { left() };
    resolution.map(|resolution| of_claim(claim, ConflictKind::Lan, resolution))
}

fn owned(claim: &Claim) -> Owned {
    Owned { net: claim.prefix, tunnel: claim.tunnel, elsewhere: claim.origin == ClaimOrigin::Assigned }
}

fn first_left_out(claims: &[Claim], facts: &HostFacts, rules: &[Rule]) -> Option<Conflict> {
    let stands = |claim: &&Claim| !unclaimable(claim) && !lies_in_lan(claim, facts, rules);
    let claim = claims.iter().filter(stands).nth(MAX_CLAIMS)?;
    Some(of_claim(claim, ConflictKind::Subnet, Resolution::TooMany))
}

fn of_claim(claim: &Claim, kind: ConflictKind, resolution: Resolution) -> Conflict {
    Conflict { kind, tunnels: vec![claim.tunnel], what: claim.prefix.to_string(), resolution }
}

fn unclaimable(claim: &Claim) -> bool {
    UNCLAIMABLE.iter().any(|range| range.contains(&claim.prefix))
}

fn lies_in_lan(claim: &Claim, facts: &HostFacts, rules: &[Rule]) -> bool {
    let on_link = facts.on_link.iter().any(|on| is_private(&on.net) && on.net.contains(&claim.prefix));
    on_link && !named(claim, rules)
}

/// Whether a rule gives a destination that holds the claim to the claim's own tunnel.
fn named(claim: &Claim, rules: &[Rule]) -> bool {
    let to_it = |rule: &&Rule| rule.via == Target::Tunnel(claim.tunnel);
    let names = |net: &IpNet| net.prefix_len() > 0 && net.contains(&claim.prefix);
    rules.iter().filter(to_it).any(|rule| rule.to.iter().any(names))
}

#[cfg(test)]
mod tests {
    use mrvpn_router::TunnelId;

    use super::*;
    use crate::host::OnLink;

    const UK: TunnelId = TunnelId::new(0);
    const FR: TunnelId = TunnelId::new(1);

    fn pools() -> Pools {
        Pools::choose(None, 0, &[], &[], None).unwrap()
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
        let everything = [rule("0.0.0.0/0", Target::Tunnel(UK))];
        assert_eq!(effective(&all, &facts, &everything).len(), 1, "everything names nothing");
        let half = [rule("128.0.0.0/1", Target::Tunnel(UK))];
        assert_eq!(effective(&all, &facts, &half).len(), 3);
        let pools = pools();
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
        let pools = pools();
        let all = [claim(FR, "10.9.0.0/16"), claim(UK, "10.9.0.0/16"), claim(UK, "10.8.0.0/16")];
        let conflicts = claim_conflicts(&all, &HostFacts::default(), &[], &pools);
        assert_eq!(conflicts.len(), 1);
        assert_eq!(conflicts[0].tunnels, [FR, UK]);
        assert_eq!(conflicts[0].resolution, Resolution::FirstInFile { tunnel: FR }, "whatever its number");
    }

    #[test]
    fn a_claim_on_our_own_pool_is_shown() {
        let pools = pools();
        let conflicts = claim_conflicts(&[claim(UK, "198.18.0.0/16")], &HostFacts::default(), &[], &pools);
        assert_eq!(conflicts[0].kind, ConflictKind::Pool);
    }

    #[test]
    fn claims_beyond_the_limit_are_left_out_and_shown() {
        let pools = pools();
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

    #[test]
    fn only_claims_that_would_stand_count_towards_the_limit() {
        let pools = pools();
        let facts = on_lan("192.168.1.0/24");
        let fallen = [claim(UK, "127.0.0.0/8"), claim(UK, "192.168.1.128/25")];
        let standing = (0..=MAX_CLAIMS).map(|n| claim(UK, &format!("11.{}.{}.0/24", n / 256, n % 256)));
        let mut all: Vec<Claim> = fallen.into_iter().chain(standing).collect();
        let left_out = |all: &[Claim]| -> Vec<String> {
            let conflicts = claim_conflicts(all, &facts, &[], &pools);
            let many = conflicts.into_iter().filter(|conflict| conflict.resolution == Resolution::TooMany);
            many.map(|conflict| conflict.what).collect()
        };
        assert_eq!(left_out(&all), [all[MAX_CLAIMS + 2].prefix.to_string()]);
        all.pop();
        assert!(left_out(&all).is_empty());
    }
}
