//! Which address a tunnel dials next: the profile's remotes in order, all addresses of one name before the next remote,
//! last good addresses kept for when no resolver answers. Names are resolved by `bootstrap.rs`, not here.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use mrvpn_profile::profile::Family;
use mrvpn_profile::{Remote, Transport};

/// The dialling order of one tunnel.
#[derive(Clone, Debug)]
pub(crate) struct Remotes {
    list: Vec<Remote>,
    position: usize,
    address: usize,
    known: BTreeMap<String, Vec<IpAddr>>,
}

impl Remotes {
    /// The UDP remotes of a profile, in order or shuffled by `random`; `None` when there is none.
    pub(crate) fn new(remotes: &[Remote], shuffle: bool, mut random: impl FnMut() -> u32) -> Option<Self> {
        let mut list: Vec<Remote> = remotes.iter().filter(|r| r.transport == Transport::Udp).cloned().collect();
        if shuffle {
            for last in (1..list.len()).rev() {
                let other = random() as usize % (last + 1);
                list.swap(last, other);
            }
        }
        (!list.is_empty()).then_some(Self { list, position: 0, address: 0, known: BTreeMap::new() })
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

    /// The address to dial, of those known; `None` when none fits.
    pub(crate) fn pick(&self) -> Option<SocketAddr> {
        let remote = self.current();
        let candidates = self.candidates();
        let ip = candidates.get(self.address % candidates.len().max(1))?;
        Some(SocketAddr::new(*ip, remote.port))
    }

    /// That address did not answer: its next one, or the next remote.
    pub(crate) fn advance(&mut self) {
        self.address += 1;
        if self.address >= self.candidates().len() {
            self.address = 0;
            self.position = (self.position + 1) % self.list.len();
        }
    }

    fn candidates(&self) -> Vec<IpAddr> {
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
    use super::*;

    fn remote(host: &str, transport: Transport) -> Remote {
        Remote { host: host.into(), port: 1194, transport, family: None, line: 1 }
    }

    #[test]
    fn all_addresses_of_a_name_come_before_the_next_remote() {
        let list = [remote("a.example", Transport::Udp), remote("192.0.2.9", Transport::Udp)];
        let mut remotes = Remotes::new(&list, false, || 0).unwrap();
        remotes.learn(vec!["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()]);
        let mut order = Vec::new();
        for _ in 0..4 {
            order.push(remotes.pick().unwrap().ip().to_string());
            remotes.advance();
        }
        assert_eq!(order, ["192.0.2.1", "192.0.2.2", "192.0.2.9", "192.0.2.1"]);
    }

    #[test]
    fn an_empty_answer_keeps_the_last_good_address() {
        let mut remotes = Remotes::new(&[remote("a.example", Transport::Udp)], false, || 0).unwrap();
        assert_eq!(remotes.pick(), None);
        remotes.learn(vec!["192.0.2.1".parse().unwrap()]);
        remotes.learn(Vec::new());
        assert_eq!(remotes.pick().unwrap().ip().to_string(), "192.0.2.1");
    }

    #[test]
    fn a_profile_with_tcp_alone_has_nothing_to_dial() {
        assert!(Remotes::new(&[remote("a.example", Transport::Tcp)], false, || 0).is_none());
    }
}
