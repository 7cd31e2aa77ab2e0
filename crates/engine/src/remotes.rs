//! Which addresses a tunnel dials next: the profile's remotes in order, all addresses of one name before the next remote,
//! last good addresses kept for when no resolver answers. Names are resolved by `bootstrap.rs`, not here; how several
//! addresses are tried side by side is `tunnel/race.rs`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use mrvpn_profile::Remote;
use mrvpn_profile::profile::Family;

/// Addresses of one name that are dialled: a name with more is a fault or an attack, and each costs a try.
pub(crate) const ADDRESSES: usize = 32;

/// The dialling order of one tunnel.
#[derive(Clone, Debug)]
pub(crate) struct Remotes {
    list: Vec<Remote>,
    position: usize,
    /// Remotes given up since the tunnel was up, or since the whole list was.
    given_up: usize,
    /// Addresses of the present remote that have failed.
    failed: Vec<IpAddr>,
    /// The address that answered last: it is the first to be dialled again.
    good: Option<IpAddr>,
    known: BTreeMap<String, Vec<IpAddr>>,
}

impl Remotes {
    /// The remotes of a profile, in order or shuffled by `random`; `None` when there is none.
    pub(crate) fn new(remotes: &[Remote], shuffle: bool, mut random: impl FnMut() -> u32) -> Option<Self> {
        let mut list = remotes.to_vec();
        if shuffle {
            for last in (1..list.len()).rev() {
                let other = random() as usize % (last + 1);
                list.swap(last, other);
            }
        }
        let this = Self { list, position: 0, given_up: 0, failed: Vec::new(), good: None, known: BTreeMap::new() };
        (!this.list.is_empty()).then_some(this)
    }

    /// The remote to be dialled now.
    pub(crate) fn current(&self) -> &Remote {
        &self.list[self.position % self.list.len()]
    }

    /// The remote's address, where it is written as one.
    pub(crate) fn literal(&self) -> Option<IpAddr> {
        self.current().host.parse().ok()
    }

    /// What the resolver said for the current remote; an empty answer leaves the last good one.
    pub(crate) fn learn(&mut self, addresses: Vec<IpAddr>) {
        if !addresses.is_empty() {
            let host = self.current().host.clone();
            self.known.insert(host, addresses);
        }
    }

    /// The addresses of the current remote that have not failed, in the order in which they are to be dialled: the one
    /// that answered last, then IPv6 and IPv4 in turns (RFC 8305, section 4).
    pub(crate) fn untried(&self) -> Vec<SocketAddr> {
        let (mut v6, mut v4): (Vec<IpAddr>, Vec<IpAddr>) = self.fitting().into_iter().partition(IpAddr::is_ipv6);
        v6.retain(|ip| !self.failed.contains(ip));
        v4.retain(|ip| !self.failed.contains(ip));
        let mut order = Vec::new();
        let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
        loop {
            let pair = [v6.next(), v4.next()];
            if pair == [None, None] {
                break;
            }
            order.extend(pair.into_iter().flatten());
        }
        order.sort_by_key(|ip| self.good != Some(*ip));
        order.truncate(ADDRESSES);
        let port = self.current().port;
        order.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
    }

    /// That address did not lead to a tunnel: it is not dialled again before the other ones of its remote.
    pub(crate) fn fail(&mut self, address: IpAddr) {
        self.failed.push(address);
    }

    /// That address answered.
    pub(crate) fn answered(&mut self, address: IpAddr) {
        self.good = Some(address);
    }

    /// A tunnel came of it: from here on everything counts anew.
    pub(crate) fn came_up(&mut self) {
        self.failed.clear();
        self.given_up = 0;
    }

    /// Gives the current remote up for the next one; returns whether all have been given up once.
    pub(crate) fn next(&mut self) -> bool {
        self.failed.clear();
        self.position = (self.position + 1) % self.list.len();
        self.given_up += 1;
        let all = self.given_up >= self.list.len();
        if all {
            self.given_up = 0;
        }
        all
    }

    fn fitting(&self) -> Vec<IpAddr> {
        let remote = self.current();
        let fits = |ip: &IpAddr| match remote.family {
            None => true,
            Some(Family::V4) => ip.is_ipv4(),
            Some(Family::V6) => ip.is_ipv6(),
        };
        if let Some(ip) = self.literal() {
            return if fits(&ip) { vec![ip] } else { Vec::new() };
        }
        self.known.get(&remote.host).map(|known| known.iter().copied().filter(fits).collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use mrvpn_profile::Transport;

    use super::*;

    fn remote(host: &str) -> Remote {
        Remote {
            host: host.into(),
            port: 1194,
            transport: Transport::Udp,
            family: None,
            connect_timeout: None,
            wrap: None,
            line: 1,
        }
    }

    fn remotes(hosts: &[&str]) -> Remotes {
        let list: Vec<Remote> = hosts.iter().map(|host| remote(host)).collect();
        Remotes::new(&list, false, || 0).unwrap()
    }

    fn ips(addresses: &[&str]) -> Vec<IpAddr> {
        addresses.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    fn order(remotes: &Remotes) -> Vec<String> {
        remotes.untried().iter().map(|address| address.ip().to_string()).collect()
    }

    // proves: F-13
    #[test]
    fn all_addresses_of_a_name_come_before_the_next_remote() {
        let mut remotes = remotes(&["a.example", "192.0.2.9"]);
        remotes.learn(ips(&["192.0.2.1", "192.0.2.2"]));
        assert_eq!(order(&remotes), ["192.0.2.1", "192.0.2.2"]);
        remotes.fail("192.0.2.1".parse().unwrap());
        assert_eq!(order(&remotes), ["192.0.2.2"]);
        remotes.fail("192.0.2.2".parse().unwrap());
        assert!(order(&remotes).is_empty());
        assert!(!remotes.next(), "one remote is left");
        assert_eq!(order(&remotes), ["192.0.2.9"]);
        assert!(remotes.next(), "all were tried");
        assert_eq!(order(&remotes), ["192.0.2.1", "192.0.2.2"], "and may be tried again");
    }

    #[test]
    fn ipv6_and_ipv4_take_turns_and_the_last_good_address_goes_first() {
        let mut remotes = remotes(&["a.example"]);
        remotes.learn(ips(&["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2"]));
        assert_eq!(order(&remotes), ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "192.0.2.3"]);
        remotes.answered("192.0.2.2".parse().unwrap());
        assert_eq!(order(&remotes), ["192.0.2.2", "2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.3"]);
    }

    #[test]
    fn only_the_family_that_the_remote_names_is_dialled() {
        let list = [Remote { family: Some(Family::V6), ..remote("a.example") }];
        let mut remotes = Remotes::new(&list, false, || 0).unwrap();
        remotes.learn(ips(&["192.0.2.1", "2001:db8::1"]));
        assert_eq!(order(&remotes), ["2001:db8::1"]);
    }

    // proves: F-13
    #[test]
    fn an_empty_answer_keeps_the_last_good_address_and_a_new_answer_replaces_it() {
        let mut remotes = remotes(&["a.example"]);
        assert!(order(&remotes).is_empty());
        remotes.learn(ips(&["192.0.2.1"]));
        remotes.learn(Vec::new());
        assert_eq!(order(&remotes), ["192.0.2.1"]);
        remotes.learn(ips(&["192.0.2.7"]));
        assert_eq!(order(&remotes), ["192.0.2.7"]);
    }

    #[test]
    fn a_name_with_very_many_addresses_is_dialled_at_32_of_them() {
        for (count, dialled) in [(31_u8, 31), (32, 32), (33, 32)] {
            let mut remotes = remotes(&["a.example"]);
            remotes.learn((0..count).map(|last| IpAddr::from([192, 0, 2, last])).collect());
            assert_eq!(remotes.untried().len(), dialled);
        }
        assert_eq!(ADDRESSES, 32);
    }

    #[test]
    fn a_shuffled_list_has_the_same_remotes() {
        let list: Vec<Remote> = (1..9).map(|last| remote(&format!("192.0.2.{last}"))).collect();
        let mut number = 7_u32;
        let mut shuffled = Remotes::new(&list, true, || {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            number >> 8
        })
        .unwrap();
        let mut seen = Vec::new();
        for _ in 0..8 {
            seen.push(order(&shuffled)[0].clone());
            shuffled.next();
        }
        let written: Vec<String> = list.iter().map(|remote| remote.host.clone()).collect();
        assert_ne!(seen, written);
        seen.sort();
        assert_eq!(seen, written);
    }
}
