//! Which client has which address: place `n` has the `n`th address after the server's, in both families. It is arithmetic
//! alone; which places are taken is [`Places`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Addresses of a network before that of the first client: the network itself and the server.
const BEFORE_CLIENTS: u32 = 2;

/// The addresses of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    four: Ipv4Net,
    six: Option<Ipv6Net>,
}

impl Pool {
    pub(crate) fn new(four: Ipv4Net, six: Option<Ipv6Net>) -> Self {
        Self { four: four.trunc(), six: six.map(|net| net.trunc()) }
    }

    /// How many clients it has addresses for: the last of IPv4 is the broadcast address.
    pub(crate) fn room(&self) -> u32 {
        u32::from(self.four.broadcast()) - u32::from(self.four.network()) - BEFORE_CLIENTS
    }

    pub(crate) fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.four.network()) + 1)
    }

    pub(crate) fn gateway6(&self) -> Option<Ipv6Addr> {
        self.six.map(|net| Ipv6Addr::from(u128::from(net.network()) + 1))
    }

    pub(crate) const fn four(&self) -> Ipv4Net {
        self.four
    }

    pub(crate) const fn six(&self) -> Option<Ipv6Net> {
        self.six
    }

    pub(crate) fn address(&self, place: u16) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.four.network()) + BEFORE_CLIENTS + u32::from(place))
    }

    pub(crate) fn address6(&self, place: u16) -> Option<Ipv6Addr> {
        self.six.map(|net| Ipv6Addr::from(u128::from(net.network()) + u128::from(BEFORE_CLIENTS) + u128::from(place)))
    }

    /// Whose address this would be; `None` for others, the server's among them.
    pub(crate) fn place(&self, address: Ipv4Addr) -> Option<u16> {
        let offset = u32::from(address).checked_sub(u32::from(self.four.network()) + BEFORE_CLIENTS)?;
        u16::try_from(offset).ok().filter(|_| offset < self.room())
    }

    /// The same for IPv6.
    pub(crate) fn place6(&self, address: Ipv6Addr) -> Option<u16> {
        let base = u128::from(self.six?.network()) + u128::from(BEFORE_CLIENTS);
        u16::try_from(u128::from(address).checked_sub(base)?).ok()
    }
}

/// Which places are taken.
#[derive(Debug)]
pub(crate) struct Places {
    free: BTreeSet<u16>,
    /// Who had which place last: a client that comes again gets it again if it is free.
    last: BTreeMap<String, u16>,
}

impl Places {
    pub(crate) fn new(clients: u16) -> Self {
        Self { free: (0..clients).collect(), last: BTreeMap::new() }
    }

    /// The place that `who` had before, else one that nobody is known to have had, else any; the lowest of these.
    pub(crate) fn take(&mut self, who: &str) -> Option<u16> {
        let own = self.last.get(who).copied().filter(|place| self.free.contains(place));
        let fresh = || {
            let had: BTreeSet<u16> = self.last.values().copied().collect();
            self.free.difference(&had).next().copied()
        };
        let place = own.or_else(fresh).or_else(|| self.free.first().copied())?;
        self.free.remove(&place);
        self.last.retain(|name, had| *had != place || name == who);
        self.last.insert(String::from(who), place);
        Some(place)
    }

    pub(crate) fn give_back(&mut self, place: u16) {
        self.free.insert(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(four: &str, six: Option<&str>) -> Pool {
        Pool::new(four.parse().unwrap(), six.map(|net| net.parse().unwrap()))
    }

    #[test]
    fn places_and_addresses_are_each_other_s_inverse() {
        let pool = pool("10.100.0.0/16", Some("fd00:100::/64"));
        assert_eq!(pool.gateway(), Ipv4Addr::new(10, 100, 0, 1));
        assert_eq!(pool.address(0), Ipv4Addr::new(10, 100, 0, 2));
        assert_eq!(pool.address(254), Ipv4Addr::new(10, 100, 1, 0));
        for place in [0, 1, 253, 254, 60_000] {
            assert_eq!(pool.place(pool.address(place)), Some(place));
            assert_eq!(pool.place6(pool.address6(place).unwrap()), Some(place));
        }
    }

    #[test]
    fn the_server_the_network_and_its_broadcast_are_no_client_s() {
        let pool = pool("10.102.0.0/24", None);
        assert_eq!(pool.room(), 253);
        for other in ["10.102.0.0", "10.102.0.1", "10.102.0.255", "10.102.1.2", "10.101.255.255"] {
            assert_eq!(pool.place(other.parse().unwrap()), None, "{other}");
        }
        assert_eq!(pool.place("10.102.0.254".parse().unwrap()), Some(252));
    }

    #[test]
    fn who_comes_again_gets_the_same_place_while_nobody_needs_it() {
        let mut places = Places::new(3);
        assert_eq!([places.take("a"), places.take("b")], [Some(0), Some(1)]);
        places.give_back(0);
        assert_eq!(places.take("c"), Some(2), "a may come again");
        assert_eq!(places.take("a"), Some(0));
        places.give_back(0);
        assert_eq!(places.take("d"), Some(0), "no other is left");
        assert_eq!(places.take("a"), None);
    }

    #[test]
    fn two_of_one_name_have_two_places() {
        let mut places = Places::new(2);
        assert_eq!([places.take("a"), places.take("a"), places.take("a")], [Some(0), Some(1), None]);
    }
}
