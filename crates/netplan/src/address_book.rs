//! The address book: which address does a tunnel get? The only writer of addresses; everyone else reads it. It knows
//! every tunnel's assignment, what stands for it on the interface, and since when (the lease). It does not touch the
//! host: [`mod@crate::plan`] turns it into addresses and routes. IPv6 addresses of ours stand on the interface from the first
//! tunnel that is assigned one: until then they would lead programs to try what no tunnel carries.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mrvpn_profile::Assignment;
use mrvpn_router::{LeaseId, OwnAddresses, TunnelId};

use crate::conflict::{Conflict, ConflictKind, Resolution};
use crate::host::HostFacts;
use crate::limits::MAX_TUNNELS;
use crate::pools::Pools;
use crate::ranges::overlap;

/// Every tunnel's addresses.
#[derive(Clone, Debug)]
pub struct AddressBook {
    pools: Pools,
    tunnels: u16,
    holdings: BTreeMap<TunnelId, Holding>,
    /// Some tunnel had IPv6; it stays so, since the anchor never leaves.
    has_v6: bool,
    next_lease: u32,
    conflicts: Vec<Conflict>,
}

/// What one tunnel has, from its first assignment until its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The lease: a new one with each new address.
    pub lease: LeaseId,
    /// IPv4 as the server assigned it.
    pub assigned_v4: Option<Ipv4Net>,
    /// IPv6 as the server assigned it.
    pub assigned_v6: Option<Ipv6Net>,
    /// IPv4 gateway inside the tunnel.
    pub gateway_v4: Option<Ipv4Addr>,
    /// IPv6 gateway inside the tunnel.
    pub gateway_v6: Option<Ipv6Addr>,
    /// The address by which the interface shows this tunnel; `None` without an IPv4 assignment.
    pub presented_v4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub presented_v6: Option<Ipv6Addr>,
    /// The address that stands for this tunnel always.
    pub bind_v4: Ipv4Addr,
    /// The same for IPv6.
    pub bind_v6: Ipv6Addr,
}

#[derive(Clone, Copy, Debug)]
struct Holding {
    entry: Entry,
    clash_v4: Option<Clash>,
    clash_v6: Option<Clash>,
}

/// Why a tunnel is presented under its bind address.
#[derive(Clone, Copy, Debug)]
enum Clash {
    Tunnel(TunnelId),
    Lan,
    Pool,
}

impl AddressBook {
    /// A book for the tunnels at places `0..tunnels`, none of which has an address yet. At most [`MAX_TUNNELS`].
    #[must_use]
    pub fn new(pools: Pools, tunnels: u16) -> Self {
        let mut book = Self {
            pools,
            tunnels: tunnels.min(MAX_TUNNELS),
            holdings: BTreeMap::new(),
            has_v6: false,
            next_lease: 1,
            conflicts: Vec::new(),
        };
        book.conflicts = book.find_conflicts();
        book
    }

    /// Takes in what a server assigned. The same inner addresses keep the lease; anything new starts a new one, and the
    /// decision under which address the tunnel is presented stays for the lease. A tunnel beyond the book's number gets
    /// [`LeaseId::NONE`].
    pub fn assign(&mut self, tunnel: TunnelId, assignment: &Assignment, facts: &HostFacts) -> LeaseId {
        if tunnel.number() >= self.tunnels {
            return LeaseId::NONE;
        }
        let mut holding = match self.holdings.get(&tunnel) {
            Some(held) if same_addresses(&held.entry, assignment) => *held,
            Some(_) | None => self.new_holding(tunnel, assignment, facts),
        };
        holding.entry.assigned_v4 = assignment.ipv4.map(|v4| v4.address);
        holding.entry.assigned_v6 = assignment.ipv6.map(|v6| v6.address);
        holding.entry.gateway_v4 = assignment.ipv4.and_then(|v4| v4.gateway);
        holding.entry.gateway_v6 = assignment.ipv6.and_then(|v6| v6.gateway);
        self.has_v6 |= assignment.ipv6.is_some();
        self.holdings.insert(tunnel, holding);
        self.conflicts = self.find_conflicts();
        holding.entry.lease
    }

    /// The tunnel has stopped or failed for good: its presented address leaves the interface. Its bind address stays, so
    /// that what is bound to it is refused and never leaves elsewhere.
    pub fn release(&mut self, tunnel: TunnelId) {
        self.holdings.remove(&tunnel);
        self.conflicts = self.find_conflicts();
    }

    /// What `tunnel` has, if it has an assignment.
    #[must_use]
    pub fn entry(&self, tunnel: TunnelId) -> Option<&Entry> {
        self.holdings.get(&tunnel).map(|holding| &holding.entry)
    }

    /// The bind address of a tunnel, with or without an assignment.
    #[must_use]
    pub fn bind_v4(&self, tunnel: TunnelId) -> Ipv4Addr {
        self.pools.bind_v4(tunnel)
    }

    /// The IPv6 bind address of a tunnel, once any tunnel has had IPv6.
    #[must_use]
    pub fn bind_v6(&self, tunnel: TunnelId) -> Option<Ipv6Addr> {
        self.has_v6.then(|| self.pools.bind_v6(tunnel))
    }

    /// What stands on the shared interface, in this order: the anchor, the presented addresses, the bind addresses of
    /// all tunnels; then the same of IPv6. As /32 and /128, so that no pushed network swallows anything by an address.
    #[must_use]
    pub fn interface_addresses(&self) -> Vec<IpNet> {
        let v4 = std::iter::once(IpAddr::V4(self.pools.anchor_v4()))
            .chain(self.presented_v4().map(|(address, _)| address.into()))
            .chain(self.places().map(|tunnel| self.pools.bind_v4(tunnel).into()));
        let v6 = self
            .has_v6
            .then(|| IpAddr::V6(self.pools.anchor_v6()))
            .into_iter()
            .chain(self.presented_v6().map(|(address, _)| address.into()))
            .chain(self.places().filter_map(|tunnel| self.bind_v6(tunnel)).map(IpAddr::V6));
        v4.chain(v6).map(IpNet::from).collect()
    }

    /// Whether an address of the interface is for those alone who bind to it: IPv6 addresses of tunnels, since the kernel
    /// takes the one that is most like the destination (design, decision 4).
    #[must_use]
    pub fn is_deprecated(&self, address: IpAddr) -> bool {
        address.is_ipv6() && address != self.pools.anchor_v6()
    }

    /// Which tunnel a source address names.
    #[must_use]
    pub fn sources(&self) -> BTreeMap<IpAddr, TunnelId> {
        let v4 = self.presented_v4().map(|(address, tunnel)| (IpAddr::V4(address), tunnel));
        let v6 = self.presented_v6().map(|(address, tunnel)| (IpAddr::V6(address), tunnel));
        let binds = self.places().map(|tunnel| (IpAddr::V4(self.pools.bind_v4(tunnel)), tunnel));
        let binds_v6 = self.places().filter_map(|tunnel| Some((IpAddr::V6(self.bind_v6(tunnel)?), tunnel)));
        v4.chain(v6).chain(binds).chain(binds_v6).collect()
    }

    /// What two have, and how it was settled.
    #[must_use]
    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    /// Addresses that are ours and no tunnel's.
    #[must_use]
    pub fn own(&self) -> OwnAddresses {
        self.pools.own()
    }

    /// Where all addresses of ours come from.
    #[must_use]
    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Presented addresses that are not bind addresses, in the order of the file.
    fn presented_v4(&self) -> impl Iterator<Item = (Ipv4Addr, TunnelId)> {
        self.holdings.iter().filter_map(|(tunnel, holding)| {
            let address = holding.entry.presented_v4?;
            (address != holding.entry.bind_v4).then_some((address, *tunnel))
        })
    }

    fn presented_v6(&self) -> impl Iterator<Item = (Ipv6Addr, TunnelId)> {
        self.holdings.iter().filter_map(|(tunnel, holding)| {
            let address = holding.entry.presented_v6?;
            (address != holding.entry.bind_v6).then_some((address, *tunnel))
        })
    }

    fn places(&self) -> impl Iterator<Item = TunnelId> {
        (0..self.tunnels).map(TunnelId::new)
    }

    fn new_holding(&mut self, tunnel: TunnelId, assignment: &Assignment, facts: &HostFacts) -> Holding {
        let (bind_v4, bind_v6) = (self.pools.bind_v4(tunnel), self.pools.bind_v6(tunnel));
        let v4 = assignment.ipv4.map(|v4| v4.address.addr());
        let v6 = assignment.ipv6.map(|v6| v6.address.addr());
        let clash_v4 = v4.and_then(|address| self.clash(tunnel, address.into(), facts));
        let clash_v6 = v6.and_then(|address| self.clash(tunnel, address.into(), facts));
        let presented_v4 = v4.map(|address| if clash_v4.is_some() { bind_v4 } else { address });
        let presented_v6 = v6.map(|address| if clash_v6.is_some() { bind_v6 } else { address });
        let lease = LeaseId::new(self.next_lease);
        self.next_lease = self.next_lease.saturating_add(1);
        let entry = Entry {
            lease,
            assigned_v4: None,
            assigned_v6: None,
            gateway_v4: None,
            gateway_v6: None,
            presented_v4,
            presented_v6,
            bind_v4,
            bind_v6,
        };
        Holding { entry, clash_v4, clash_v6 }
    }

    /// Whether somebody else has `address`: our own pool, another tunnel, this host or a network it is on.
    fn clash(&self, tunnel: TunnelId, address: IpAddr, facts: &HostFacts) -> Option<Clash> {
        if self.pools.contains(address) {
            return Some(Clash::Pool);
        }
        let holder = self.holdings.keys().find(|of| **of != tunnel && self.holds(**of, address));
        if let Some(holder) = holder {
            return Some(Clash::Tunnel(*holder));
        }
        let local = facts.addresses.contains(&address) || facts.on_link.iter().any(|on| on.net.contains(&address));
        local.then_some(Clash::Lan)
    }

    fn find_conflicts(&self) -> Vec<Conflict> {
        let mut conflicts = self.pool_conflicts();
        conflicts.extend(self.holdings.iter().flat_map(|(tunnel, holding)| self.address_conflicts(*tunnel, holding)));
        conflicts.extend(self.subnet_conflicts());
        conflicts
    }

    fn pool_conflicts(&self) -> Vec<Conflict> {
        let [IpNet::V4(to), _] = self.pools.networks() else { return Vec::new() };
        let moved = |skipped: &Ipv4Net| Conflict {
            kind: ConflictKind::Pool,
            tunnels: Vec::new(),
            what: skipped.to_string(),
            resolution: Resolution::PoolMoved { to },
        };
        self.pools.skipped().iter().map(moved).collect()
    }

    fn address_conflicts(&self, tunnel: TunnelId, holding: &Holding) -> impl Iterator<Item = Conflict> {
        let entry = &holding.entry;
        let v4 = entry.assigned_v4.map(|net| (IpAddr::V4(net.addr()), IpAddr::V4(entry.bind_v4), holding.clash_v4));
        let v6 = entry.assigned_v6.map(|net| (IpAddr::V6(net.addr()), IpAddr::V6(entry.bind_v6), holding.clash_v6));
        let families = [v4, v6].into_iter().flatten();
        families.filter_map(move |(assigned, bind, clash)| Some(self.address_conflict(tunnel, assigned, bind, clash?)))
    }

    fn address_conflict(&self, tunnel: TunnelId, assigned: IpAddr, bind: IpAddr, clash: Clash) -> Conflict {
        let (kind, tunnels) = match clash {
            Clash::Tunnel(holder) if self.holds(holder, assigned) => (ConflictKind::Address, vec![holder, tunnel]),
            Clash::Tunnel(_) => (ConflictKind::Address, vec![tunnel]),
            Clash::Lan => (ConflictKind::Lan, vec![tunnel]),
            Clash::Pool => (ConflictKind::Pool, vec![tunnel]),
        };
        let resolution = Resolution::PresentedAs { tunnel, address: bind };
        Conflict { kind, tunnels, what: assigned.to_string(), resolution }
    }

    /// Whether `address` stands on the interface as the one that was assigned to `tunnel`.
    fn holds(&self, tunnel: TunnelId, address: IpAddr) -> bool {
        self.entry(tunnel).is_some_and(|entry| match address {
            IpAddr::V4(v4) => entry.presented_v4 == Some(v4),
            IpAddr::V6(v6) => entry.presented_v6 == Some(v6),
        })
    }

    /// Assigned networks that share addresses, each pair once.
    fn subnet_conflicts(&self) -> Vec<Conflict> {
        let networks: Vec<(TunnelId, IpNet)> =
            self.holdings.iter().flat_map(|(tunnel, holding)| networks(*tunnel, &holding.entry)).collect();
        let mut found = Vec::new();
        for (place, (first, one)) in networks.iter().enumerate() {
            for (second, other) in networks.iter().skip(place + 1) {
                if first != second && overlap(one, other) {
                    found.push(subnet_conflict((*first, *one), (*second, *other)));
                }
            }
        }
        found
    }
}

/// The networks of an entry that hold more than its own address.
fn networks(tunnel: TunnelId, entry: &Entry) -> Vec<(TunnelId, IpNet)> {
    let v4 = entry.assigned_v4.map(|net| IpNet::V4(net.trunc()));
    let v6 = entry.assigned_v6.map(|net| IpNet::V6(net.trunc()));
    let wide = |net: &IpNet| net.prefix_len() < net.max_prefix_len();
    v4.into_iter().chain(v6).filter(wide).map(|net| (tunnel, net)).collect()
}

fn subnet_conflict(first: (TunnelId, IpNet), second: (TunnelId, IpNet)) -> Conflict {
    let (what, resolution) = match first.1.prefix_len().cmp(&second.1.prefix_len()) {
        std::cmp::Ordering::Equal => (first.1, Resolution::FirstInFile { tunnel: first.0 }),
        std::cmp::Ordering::Greater => (first.1, Resolution::LongerPrefix { tunnel: first.0 }),
        std::cmp::Ordering::Less => (second.1, Resolution::LongerPrefix { tunnel: second.0 }),
    };
    Conflict { kind: ConflictKind::Subnet, tunnels: vec![first.0, second.0], what: what.to_string(), resolution }
}

fn same_addresses(entry: &Entry, assignment: &Assignment) -> bool {
    let v4 = assignment.ipv4.map(|v4| v4.address.addr());
    let v6 = assignment.ipv6.map(|v6| v6.address.addr());
    entry.assigned_v4.map(|net| net.addr()) == v4 && entry.assigned_v6.map(|net| net.addr()) == v6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::OnLink;
    use crate::samples::assignment;

    const UK: TunnelId = TunnelId::new(0);
    const FR: TunnelId = TunnelId::new(1);

    fn book() -> AddressBook {
        AddressBook::new(Pools::choose(None, &[]).unwrap(), 2)
    }

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn on_lan(net: &str) -> HostFacts {
        HostFacts {
            on_link: vec![OnLink { net: net.parse().unwrap(), device: String::from("eth0") }],
            ..HostFacts::default()
        }
    }

    #[test]
    fn the_anchor_stands_first_then_presented_then_bind_addresses() {
        let mut book = book();
        book.assign(FR, &assignment("10.101.0.2/16"), &HostFacts::default());
        book.assign(UK, &assignment("10.100.0.2/16"), &HostFacts::default());
        let expected = ["198.18.0.1/32", "10.100.0.2/32", "10.101.0.2/32", "198.18.1.1/32", "198.18.1.2/32"];
        assert_eq!(book.interface_addresses(), nets(&expected));
        assert_eq!(book.sources()[&"10.101.0.2".parse::<IpAddr>().unwrap()], FR);
        assert_eq!(book.sources()[&"198.18.1.1".parse::<IpAddr>().unwrap()], UK);
        assert!(book.conflicts().is_empty());
    }

    #[test]
    fn the_same_address_keeps_the_lease_and_another_starts_a_new_one() {
        let mut book = book();
        let facts = HostFacts::default();
        let first = book.assign(UK, &assignment("10.100.0.2/16"), &facts);
        assert_eq!(book.assign(UK, &assignment("10.100.0.2/24"), &facts), first);
        assert_eq!(book.entry(UK).unwrap().assigned_v4, Some("10.100.0.2/24".parse().unwrap()));
        let second = book.assign(UK, &assignment("10.100.0.3/16"), &facts);
        assert!(second > first);
        assert!(book.assign(FR, &assignment("10.101.0.2/16"), &facts) > second);
    }

    #[test]
    fn a_lease_number_is_never_used_twice_even_after_a_release() {
        let mut book = book();
        let facts = HostFacts::default();
        let first = book.assign(UK, &assignment("10.100.0.2/16"), &facts);
        book.release(UK);
        assert_ne!(book.assign(UK, &assignment("10.100.0.2/16"), &facts), first);
    }

    // proves: T-37
    #[test]
    fn two_tunnels_may_hold_the_same_address() {
        let mut book = book();
        let facts = HostFacts::default();
        book.assign(FR, &assignment("10.8.0.2/24"), &facts);
        book.assign(UK, &assignment("10.8.0.2/24"), &facts);
        assert_eq!(book.entry(FR).unwrap().presented_v4, Some("10.8.0.2".parse().unwrap()));
        assert_eq!(book.entry(UK).unwrap().presented_v4, Some("198.18.1.1".parse().unwrap()));
        assert_eq!(book.sources()[&"10.8.0.2".parse::<IpAddr>().unwrap()], FR);
        let conflict = &book.conflicts()[0];
        assert_eq!((conflict.kind, &conflict.tunnels), (ConflictKind::Address, &vec![FR, UK]));
        assert_eq!(conflict.resolution.describe(|_| String::from("uk")), "uk presented as 198.18.1.1");
        assert_eq!(book.conflicts()[1].kind, ConflictKind::Subnet);
    }

    #[test]
    fn an_address_that_left_is_not_passed_on_within_a_lease() {
        let mut book = book();
        let facts = HostFacts::default();
        book.assign(FR, &assignment("10.8.0.2/24"), &facts);
        let lease = book.assign(UK, &assignment("10.8.0.2/24"), &facts);
        book.release(FR);
        assert_eq!(book.assign(UK, &assignment("10.8.0.2/24"), &facts), lease);
        assert_eq!(book.entry(UK).unwrap().presented_v4, Some("198.18.1.1".parse().unwrap()));
        assert!(!book.interface_addresses().contains(&"10.8.0.2/32".parse().unwrap()));
    }

    // proves: T-37
    #[test]
    fn an_address_of_the_lan_or_of_our_pool_is_presented_as_the_bind_address() {
        let mut book = book();
        book.assign(UK, &assignment("192.168.1.7/24"), &on_lan("192.168.1.0/24"));
        book.assign(FR, &assignment("198.18.0.1/24"), &HostFacts::default());
        assert_eq!(book.entry(UK).unwrap().presented_v4, Some("198.18.1.1".parse().unwrap()));
        assert_eq!(book.entry(FR).unwrap().presented_v4, Some("198.18.1.2".parse().unwrap()));
        let kinds: Vec<_> = book.conflicts().iter().map(|conflict| conflict.kind).collect();
        assert_eq!(kinds, [ConflictKind::Lan, ConflictKind::Pool]);
    }

    fn dual(v4: &str, v6: &str) -> Assignment {
        let mut both = assignment(v4);
        both.ipv6 = Some(mrvpn_profile::Ipv6Assignment { address: v6.parse().unwrap(), gateway: None });
        both
    }

    #[test]
    fn ipv6_stands_on_the_interface_from_the_first_tunnel_that_has_it_and_only_the_anchor_is_preferred() {
        let mut book = book();
        let facts = HostFacts::default();
        book.assign(UK, &assignment("10.100.0.2/16"), &facts);
        assert!(book.interface_addresses().iter().all(|net| net.addr().is_ipv4()));
        assert_eq!((book.bind_v6(UK), book.sources().len()), (None, 3));
        book.assign(FR, &dual("10.101.0.2/16", "fd00:65::2/64"), &facts);
        let v6 = ["2001:2:0:1::1/128", "fd00:65::2/128", "2001:2:0:1::1:1/128", "2001:2:0:1::1:2/128"];
        let shown: Vec<_> = book.interface_addresses().into_iter().filter(|net| net.addr().is_ipv6()).collect();
        assert_eq!(shown, nets(&v6));
        assert_eq!(
            shown.iter().map(|net| book.is_deprecated(net.addr())).collect::<Vec<_>>(),
            [false, true, true, true]
        );
        assert_eq!(book.entry(FR).unwrap().presented_v6, Some("fd00:65::2".parse().unwrap()));
        for (address, tunnel) in [("fd00:65::2", FR), ("2001:2:0:1::1:1", UK), ("2001:2:0:1::1:2", FR)] {
            assert_eq!(book.sources()[&address.parse::<IpAddr>().unwrap()], tunnel);
        }
        book.release(FR);
        assert!(book.interface_addresses().contains(&nets(&v6)[0]), "the anchor never leaves");
        assert!(!book.interface_addresses().contains(&nets(&v6)[1]));
    }

    // proves: T-37, F-23
    #[test]
    fn two_tunnels_may_hold_the_same_ipv6_address() {
        let mut book = book();
        let facts = HostFacts::default();
        book.assign(FR, &dual("10.101.0.2/16", "fd00::2/64"), &facts);
        book.assign(UK, &dual("10.100.0.2/16", "fd00::2/64"), &facts);
        let uk = book.entry(UK).unwrap();
        assert_eq!(uk.presented_v4, Some("10.100.0.2".parse().unwrap()), "the other family is its own");
        assert_eq!(uk.presented_v6, Some("2001:2:0:1::1:1".parse().unwrap()));
        assert_eq!(book.sources()[&"fd00::2".parse::<IpAddr>().unwrap()], FR);
        let conflict = &book.conflicts()[0];
        assert_eq!((conflict.kind, conflict.what.as_str()), (ConflictKind::Address, "fd00::2"));
        assert_eq!(conflict.resolution.describe(|_| String::from("uk")), "uk presented as 2001:2:0:1::1:1");
    }

    // proves: T-37
    #[test]
    fn an_ipv6_address_of_the_lan_or_of_our_pool_is_presented_as_the_bind_address() {
        let mut book = book();
        book.assign(UK, &dual("10.100.0.2/16", "2001:db8:1::7/64"), &on_lan("2001:db8:1::/64"));
        book.assign(FR, &dual("10.101.0.2/16", "2001:2:0:1::1/64"), &HostFacts::default());
        assert_eq!(book.entry(UK).unwrap().presented_v6, Some("2001:2:0:1::1:1".parse().unwrap()));
        assert_eq!(book.entry(FR).unwrap().presented_v6, Some("2001:2:0:1::1:2".parse().unwrap()));
    }

    #[test]
    fn another_ipv6_address_alone_starts_a_new_lease() {
        let mut book = book();
        let facts = HostFacts::default();
        let first = book.assign(UK, &dual("10.100.0.2/16", "fd00::2/64"), &facts);
        assert_eq!(book.assign(UK, &dual("10.100.0.2/16", "fd00::2/112"), &facts), first);
        assert!(book.assign(UK, &dual("10.100.0.2/16", "fd00::3/64"), &facts) > first);
    }

    #[test]
    fn a_released_tunnel_keeps_its_bind_address_on_the_interface() {
        let mut book = book();
        book.assign(UK, &assignment("10.100.0.2/16"), &HostFacts::default());
        book.release(UK);
        assert_eq!(book.interface_addresses(), nets(&["198.18.0.1/32", "198.18.1.1/32", "198.18.1.2/32"]));
        assert!(book.entry(UK).is_none());
    }

    #[test]
    fn a_tunnel_beyond_the_book_gets_nothing() {
        let mut book = book();
        let lease = book.assign(TunnelId::new(2), &assignment("10.9.0.2/24"), &HostFacts::default());
        assert_eq!(lease, LeaseId::NONE);
        assert!(book.entry(TunnelId::new(2)).is_none());
    }

    #[test]
    fn a_book_holds_as_many_tunnels_as_the_limit_and_no_more() {
        let pools = Pools::choose(None, &[]).unwrap();
        for (asked, held) in
            [(MAX_TUNNELS - 1, MAX_TUNNELS - 1), (MAX_TUNNELS, MAX_TUNNELS), (MAX_TUNNELS + 1, MAX_TUNNELS)]
        {
            assert_eq!(AddressBook::new(pools.clone(), asked).interface_addresses().len(), usize::from(held) + 1);
        }
    }

    #[test]
    fn a_moved_pool_is_shown() {
        let pools = Pools::choose(None, &nets(&["198.18.0.0/15"])).unwrap();
        let book = AddressBook::new(pools, 1);
        assert_eq!(book.conflicts()[0].kind, ConflictKind::Pool);
        assert_eq!(book.own().anchor_v4, Ipv4Addr::new(10, 253, 0, 1));
    }
}
