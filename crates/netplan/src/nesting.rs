//! Prefixes of several tunnels that share addresses: equal ones, and one inside another. Found in one pass over all of
//! them in order, since a thousand tunnels have half a million pairs. What is compared is the caller's: networks of
//! assigned addresses (the address book), or claims (`standing.rs`).

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use mrvpn_router::TunnelId;

use crate::conflict::{Conflict, ConflictKind, Resolution, listed};
use crate::limits::MAX_LISTED;

/// A prefix of one tunnel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owned {
    pub(crate) net: IpNet,
    pub(crate) tunnel: TunnelId,
    /// Conflicts among such alone are shown by somebody else.
    pub(crate) elsewhere: bool,
}

/// Who has one prefix, in the order of the file, each tunnel once, with the place of what it has in the list.
type Holders<'a> = Vec<(usize, &'a Owned)>;

/// The conflicts among `owned`, which come in the order of the file: each prefix that several tunnels have, and each that
/// lies inside another tunnel's (beside the narrowest of those). [`MAX_LISTED`] at most; the last one says how many
/// more there are.
pub(crate) fn conflicts(owned: &[Owned]) -> Vec<Conflict> {
    let holders = holders(owned);
    let mut found = Found::default();
    let mut around: Vec<(IpNet, &Holders<'_>)> = Vec::new();
    // Sorted by address, then by length: what holds a prefix comes before it.
    for (net, inside) in &holders {
        while around.last().is_some_and(|(outer, _)| !outer.contains(net)) {
            around.pop();
        }
        if inside.len() > 1 {
            found.take(*net, inside.clone(), |tunnel| Resolution::FirstInFile { tunnel });
        }
        if let Some((_, outer)) = around.iter().rev().find(|(_, outer)| has_another(inside, outer)) {
            let both = inside.iter().chain(outer.iter()).copied().collect();
            found.take(*net, both, |_| Resolution::LongerPrefix { tunnel: first(inside) });
        }
        around.push((*net, inside));
    }
    found.all()
}

fn holders(owned: &[Owned]) -> BTreeMap<IpNet, Holders<'_>> {
    let mut holders: BTreeMap<IpNet, Holders<'_>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (place, one) in owned.iter().enumerate() {
        if seen.insert((one.net.trunc(), one.tunnel)) {
            holders.entry(one.net.trunc()).or_default().push((place, one));
        }
    }
    holders
}

/// Whether some tunnel has the outer prefix and not the inner one.
fn has_another(inside: &Holders<'_>, outer: &Holders<'_>) -> bool {
    let has_inner = |tunnel: TunnelId| inside.iter().any(|(_, inner)| inner.tunnel == tunnel);
    outer.len() > inside.len() || outer.iter().any(|(_, outer)| !has_inner(outer.tunnel))
}

fn first(holders: &Holders<'_>) -> TunnelId {
    holders.first().expect("a prefix is listed with its first holder").1.tunnel
}

/// What is shown, and how much is not.
#[derive(Default)]
struct Found {
    shown: Vec<Conflict>,
    more: usize,
}

impl Found {
    fn take(&mut self, net: IpNet, mut holders: Holders<'_>, resolution: impl FnOnce(TunnelId) -> Resolution) {
        if holders.iter().all(|(_, one)| one.elsewhere) {
            return;
        }
        if self.shown.len() >= MAX_LISTED {
            self.more += 1;
            return;
        }
        holders.sort_by_key(|(place, _)| *place);
        let mut seen = BTreeSet::new();
        let tunnels = holders.iter().map(|(_, one)| one.tunnel).filter(|tunnel| seen.insert(*tunnel)).collect();
        let resolution = resolution(first(&holders));
        self.shown.push(Conflict { kind: ConflictKind::Subnet, tunnels, what: net.to_string(), resolution });
    }

    fn all(self) -> Vec<Conflict> {
        listed(ConflictKind::Subnet, self.shown, self.more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(list: &[(u16, &str)]) -> Vec<Owned> {
        let one = |(tunnel, net): &(u16, &str)| Owned {
            net: net.parse().unwrap(),
            tunnel: TunnelId::new(*tunnel),
            elsewhere: false,
        };
        list.iter().map(one).collect()
    }

    /// What, whose, and who carries it.
    fn check(list: &[(u16, &str)], expected: &[(&str, &[u16], &str)]) {
        let found = conflicts(&owned(list));
        let shown: Vec<(String, Vec<u16>, String)> = found
            .iter()
            .map(|conflict| {
                let tunnels = conflict.tunnels.iter().map(|tunnel| tunnel.number()).collect();
                (conflict.what.clone(), tunnels, conflict.resolution.describe(|tunnel| tunnel.number().to_string()))
            })
            .collect();
        assert_eq!(shown.len(), expected.len(), "{shown:?}");
        for ((what, tunnels, resolution), (net, whose, says)) in shown.iter().zip(expected) {
            assert_eq!((what.as_str(), tunnels.as_slice()), (*net, *whose));
            assert!(resolution.starts_with(says), "{resolution}");
        }
    }

    #[test]
    fn equal_prefixes_are_one_conflict_however_many_have_them() {
        let list = [(7, "10.8.0.0/24"), (2, "10.8.0.0/24"), (5, "10.8.0.0/24"), (9, "10.9.0.0/24")];
        check(&list, &[("10.8.0.0/24", &[7, 2, 5], "7 carries it, the first in the file")]);
    }

    #[test]
    fn each_inner_prefix_is_shown_with_the_narrowest_one_of_others_around_it() {
        let list = [(0, "10.0.0.0/8"), (1, "10.1.0.0/16"), (2, "10.1.2.0/24"), (2, "10.1.2.3/32"), (3, "11.0.0.0/8")];
        let expected: [(&str, &[u16], &str); 3] = [
            ("10.1.0.0/16", &[0, 1], "1 carries the longer"),
            ("10.1.2.0/24", &[1, 2], "2 carries the longer"),
            ("10.1.2.3/32", &[1, 2], "2 carries the longer"),
        ];
        check(&list, &expected);
    }

    #[test]
    fn what_a_tunnel_has_alone_is_no_conflict() {
        check(&[(0, "10.0.0.0/8"), (0, "10.0.0.0/8"), (0, "10.1.0.0/16"), (1, "fd00::/64")], &[]);
    }

    #[test]
    fn an_inner_prefix_of_both_is_carried_by_the_first_and_the_outer_one_too() {
        let list = [(0, "10.0.0.0/8"), (1, "10.0.0.0/8"), (1, "10.1.0.0/16")];
        let expected: [(&str, &[u16], &str); 2] =
            [("10.0.0.0/8", &[0, 1], "0 carries it"), ("10.1.0.0/16", &[0, 1], "1 carries the longer")];
        check(&list, &expected);
    }

    #[test]
    fn conflicts_among_what_is_shown_elsewhere_are_left_out() {
        let mut list = owned(&[(0, "10.8.0.0/24"), (1, "10.8.0.0/24"), (2, "10.8.0.0/24")]);
        list.iter_mut().for_each(|one| one.elsewhere = true);
        assert!(conflicts(&list).is_empty());
        list[2].elsewhere = false;
        assert_eq!(conflicts(&list).len(), 1);
    }

    // limits: conflicts that are listed, on both sides.
    #[test]
    fn so_many_overlaps_are_listed_and_the_rest_is_counted() {
        for (count, listed, more) in
            [(MAX_LISTED - 1, MAX_LISTED - 1, 0), (MAX_LISTED, MAX_LISTED, 0), (MAX_LISTED + 1, MAX_LISTED, 1)]
        {
            let mut list = owned(&[(0, "10.0.0.0/8")]);
            let inner = |n: usize| Owned {
                net: format!("10.{}.{}.0/24", n / 256, n % 256).parse().unwrap(),
                tunnel: TunnelId::new(1),
                elsewhere: false,
            };
            list.extend((0..count).map(inner));
            let found = conflicts(&list);
            assert_eq!(found.len(), listed + more);
            let last = found.last().map(|conflict| conflict.resolution);
            assert_eq!(last == Some(Resolution::NotListed { more: 1 }), more == 1);
        }
    }

    #[test]
    fn a_thousand_tunnels_with_the_same_networks_are_compared_quickly() {
        let nets = ["10.0.0.0/8", "10.8.0.0/16", "10.8.0.0/24"];
        let list: Vec<(u16, &str)> = (0..1000).flat_map(|tunnel| nets.map(|net| (tunnel, net))).collect();
        assert_eq!(conflicts(&owned(&list)).len(), 3);
    }
}
