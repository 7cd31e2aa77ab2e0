//! The address book: which address does a tunnel get? The only writer of addresses; everyone else reads it. It knows
//! every tunnel's assignment, what stands for it on the interface, and since when (the lease). It does not touch the
//! host: [`mod@crate::plan`] turns it into addresses and routes. IPv6 addresses of ours stand on the interface from the first
//! tunnel that is assigned one: until then they would lead programs to try what no tunnel carries.

mod shown; // what stands under `conflicts`

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mrvpn_profile::Assignment;
use mrvpn_router::{LeaseId, OwnAddresses, TunnelId};

use crate::conflict::Conflict;
use crate::host::HostFacts;
use crate::limits::MAX_TUNNELS;
use crate::pools::Pools;

/// Every tunnel's addresses.
#[derive(Clone, Debug)]
pub struct AddressBook {
    pools: Pools,
    /// In the order of the file.
    order: Vec<TunnelId>,
    /// Numbers of bind addresses.
    binds: BTreeMap<TunnelId, u16>,
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
    /// A book for the tunnels 0 to `tunnels`, without that, with bind addresses of the same numbers, none of which has an
    /// address yet: [`AddressBook::set_tunnels`] in short.
    #[must_use]
    pub fn new(pools: Pools, tunnels: u16) -> Self {
        let mut book = Self {
            pools,
            order: Vec::new(),
            binds: BTreeMap::new(),
            holdings: BTreeMap::new(),
            has_v6: false,
            next_lease: 1,
            conflicts: Vec::new(),
        };
        let named: Vec<_> = (0..tunnels).map(|number| (TunnelId::new(number), number)).collect();
        book.set_tunnels(&named);
        book
    }

    /// The tunnels that there are from now on, in the order of the file, each with the number of its bind address, which
    /// is the engine's to remember. What tunnels have that are not named any more is released; others keep what they
    /// have, wherever they stand now. A second mention of a tunnel or of a number is left out, and so is a number that
    /// is [`MAX_TUNNELS`] or more.
    pub fn set_tunnels(&mut self, tunnels: &[(TunnelId, u16)]) {
        self.order.clear();
        self.binds.clear();
        let mut numbers = BTreeSet::new();
        for (tunnel, number) in tunnels.iter().filter(|(_, number)| *number < MAX_TUNNELS) {
            if !self.binds.contains_key(tunnel) && numbers.insert(*number) {
                self.order.push(*tunnel);
                self.binds.insert(*tunnel, *number);
            }
        }
        self.holdings.retain(|tunnel, _| self.binds.contains_key(tunnel));
        self.follow_binds();
        self.conflicts = self.find_conflicts();
    }

    /// Takes all addresses of ours from other pools. It is for a push that touches the pool before any tunnel was up:
    /// nothing hangs on the old addresses yet but programs that know a bind address by heart. `false`, and nothing
    /// changes, once a tunnel has an address: then the pool is kept for the run, and the claim that touches it is a
    /// conflict.
    pub fn move_pool(&mut self, pools: Pools) -> bool {
        if !self.holdings.is_empty() {
            return false;
        }
        self.pools = pools;
        self.conflicts = self.find_conflicts();
        true
    }

    /// Takes in what a server assigned. The same inner addresses keep the lease; anything new starts a new one, and the
    /// decision under which address the tunnel is presented stays for the lease (but see [`AddressBook::handle_facts`]).
    /// A tunnel that the book does not name gets [`LeaseId::NONE`].
    pub fn assign(&mut self, tunnel: TunnelId, assignment: &Assignment, facts: &HostFacts) -> LeaseId {
        let Some(number) = self.binds.get(&tunnel).copied() else { return LeaseId::NONE };
        let mut holding = match self.holdings.get(&tunnel) {
            Some(held) if same_addresses(&held.entry, assignment) => *held,
            Some(_) | None => self.new_holding(tunnel, number, assignment, facts),
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
        if self.holdings.remove(&tunnel).is_some() {
            self.conflicts = self.find_conflicts();
        }
    }

    /// The host's own addresses or networks have changed. A tunnel whose presented address the host or a network it is on
    /// has now is presented under its bind address from here on; it does not go back within the lease. The lease goes
    /// on, since the inner address is the same. Whether anything changed.
    pub fn handle_facts(&mut self, facts: &HostFacts) -> bool {
        let mut changed = false;
        for holding in self.holdings.values_mut() {
            changed |= holding.yield_to_host(facts);
        }
        if changed {
            self.conflicts = self.find_conflicts();
        }
        changed
    }

    /// What `tunnel` has, if it has an assignment.
    #[must_use]
    pub fn entry(&self, tunnel: TunnelId) -> Option<&Entry> {
        self.holdings.get(&tunnel).map(|holding| &holding.entry)
    }

    /// The bind address of a tunnel, with or without an assignment; `None` of a tunnel that the book does not name.
    #[must_use]
    pub fn bind_v4(&self, tunnel: TunnelId) -> Option<Ipv4Addr> {
        self.binds.get(&tunnel).map(|number| self.pools.bind_v4(*number))
    }

    /// The IPv6 bind address of a tunnel, once any tunnel has had IPv6.
    #[must_use]
    pub fn bind_v6(&self, tunnel: TunnelId) -> Option<Ipv6Addr> {
        self.binds.get(&tunnel).filter(|_| self.has_v6).map(|number| self.pools.bind_v6(*number))
    }

    /// The tunnels that the book names, in the order of the file.
    #[must_use]
    pub fn tunnels(&self) -> &[TunnelId] {
        &self.order
    }

    /// What stands on the shared interface, in this order: the anchor, the presented addresses, the bind addresses of
    /// all tunnels; then the same of IPv6. As /32 and /128, so that no pushed network swallows anything by an address.
    #[must_use]
    pub fn interface_addresses(&self) -> Vec<IpNet> {
        let v4 = std::iter::once(IpAddr::V4(self.pools.anchor_v4()))
            .chain(self.presented_v4().map(|(address, _)| address.into()))
            .chain(self.order.iter().filter_map(|tunnel| self.bind_v4(*tunnel)).map(IpAddr::V4));
        let v6 = self
            .has_v6
            .then(|| IpAddr::V6(self.pools.anchor_v6()))
            .into_iter()
            .chain(self.presented_v6().map(|(address, _)| address.into()))
            .chain(self.order.iter().filter_map(|tunnel| self.bind_v6(*tunnel)).map(IpAddr::V6));
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
        let tunnels = || self.order.iter().copied();
        let binds = tunnels().filter_map(|tunnel| Some((IpAddr::V4(self.bind_v4(tunnel)?), tunnel)));
        let binds_v6 = tunnels().filter_map(|tunnel| Some((IpAddr::V6(self.bind_v6(tunnel)?), tunnel)));
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

    /// Holdings in the order of the file.
    fn in_order(&self) -> impl Iterator<Item = (TunnelId, &Holding)> {
        self.order.iter().filter_map(|tunnel| Some((*tunnel, self.holdings.get(tunnel)?)))
    }

    /// Presented addresses that are not bind addresses, in the order of the file.
    fn presented_v4(&self) -> impl Iterator<Item = (Ipv4Addr, TunnelId)> {
        self.in_order().filter_map(|(tunnel, holding)| {
            let address = holding.entry.presented_v4?;
            (address != holding.entry.bind_v4).then_some((address, tunnel))
        })
    }

    fn presented_v6(&self) -> impl Iterator<Item = (Ipv6Addr, TunnelId)> {
        self.in_order().filter_map(|(tunnel, holding)| {
            let address = holding.entry.presented_v6?;
            (address != holding.entry.bind_v6).then_some((address, tunnel))
        })
    }

    /// A tunnel that is presented under its bind address follows it to another number.
    fn follow_binds(&mut self) {
        for (tunnel, holding) in &mut self.holdings {
            let Some(number) = self.binds.get(tunnel) else { continue };
            holding.rebind(self.pools.bind_v4(*number), self.pools.bind_v6(*number));
        }
    }

    fn new_holding(&mut self, tunnel: TunnelId, number: u16, assignment: &Assignment, facts: &HostFacts) -> Holding {
        let (bind_v4, bind_v6) = (self.pools.bind_v4(number), self.pools.bind_v6(number));
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

    /// Whether somebody else has `address`: the pools of this engine and of those beside it, another tunnel, this host or
    /// a network it is on.
    fn clash(&self, tunnel: TunnelId, address: IpAddr, facts: &HostFacts) -> Option<Clash> {
        if self.pools.shared().iter().any(|pool| pool.contains(&address)) {
            return Some(Clash::Pool);
        }
        let holder = self.holdings.keys().find(|of| **of != tunnel && self.holds(**of, address));
        if let Some(holder) = holder {
            return Some(Clash::Tunnel(*holder));
        }
        facts.has(address).then_some(Clash::Lan)
    }

    /// Whether `address` stands on the interface as the one that was assigned to `tunnel`.
    fn holds(&self, tunnel: TunnelId, address: IpAddr) -> bool {
        self.entry(tunnel).is_some_and(|entry| match address {
            IpAddr::V4(v4) => entry.presented_v4 == Some(v4),
            IpAddr::V6(v6) => entry.presented_v6 == Some(v6),
        })
    }
}

impl Holding {
    fn yield_to_host(&mut self, facts: &HostFacts) -> bool {
        let entry = &mut self.entry;
        let v4 = entry.presented_v4.filter(|address| *address != entry.bind_v4 && facts.has((*address).into()));
        if v4.is_some() {
            (entry.presented_v4, self.clash_v4) = (Some(entry.bind_v4), Some(Clash::Lan));
        }
        let v6 = entry.presented_v6.filter(|address| *address != entry.bind_v6 && facts.has((*address).into()));
        if v6.is_some() {
            (entry.presented_v6, self.clash_v6) = (Some(entry.bind_v6), Some(Clash::Lan));
        }
        v4.is_some() || v6.is_some()
    }

    fn rebind(&mut self, bind_v4: Ipv4Addr, bind_v6: Ipv6Addr) {
        let entry = &mut self.entry;
        entry.presented_v4 = entry.presented_v4.map(|shown| if shown == entry.bind_v4 { bind_v4 } else { shown });
        entry.presented_v6 = entry.presented_v6.map(|shown| if shown == entry.bind_v6 { bind_v6 } else { shown });
        (entry.bind_v4, entry.bind_v6) = (bind_v4, bind_v6);
    }
}

fn same_addresses(entry: &Entry, assignment: &Assignment) -> bool {
    let v4 = assignment.ipv4.map(|v4| v4.address.addr());
    let v6 = assignment.ipv6.map(|v6| v6.address.addr());
    entry.assigned_v4.map(|net| net.addr()) == v4 && entry.assigned_v6.map(|net| net.addr()) == v6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conflict::ConflictKind;
    use crate::host::OnLink;
    use crate::samples::assignment;

    const UK: TunnelId = TunnelId::new(0);
    const FR: TunnelId = TunnelId::new(1);

    fn book() -> AddressBook {
        AddressBook::new(Pools::choose(None, 0, &[], &[], None).unwrap(), 2)
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
        let pools = Pools::choose(None, 0, &[], &[], None).unwrap();
        for (asked, held) in
            [(MAX_TUNNELS - 1, MAX_TUNNELS - 1), (MAX_TUNNELS, MAX_TUNNELS), (MAX_TUNNELS + 1, MAX_TUNNELS)]
        {
            assert_eq!(AddressBook::new(pools.clone(), asked).interface_addresses().len(), usize::from(held) + 1);
        }
    }

    #[test]
    fn a_moved_pool_is_shown() {
        let pools = Pools::choose(None, 0, &nets(&["198.18.0.0/15"]), &[], None).unwrap();
        let book = AddressBook::new(pools, 1);
        assert_eq!(book.conflicts()[0].kind, ConflictKind::Pool);
        assert_eq!(book.own().anchor_v4, Ipv4Addr::new(10, 253, 0, 1));
    }

    #[test]
    fn tunnels_keep_what_they_have_when_the_file_changes_around_them() {
        let mut book = book();
        let facts = HostFacts::default();
        let us = TunnelId::new(7);
        book.assign(UK, &assignment("10.100.0.2/16"), &facts);
        let lease = book.assign(FR, &assignment("10.101.0.2/16"), &facts);
        book.set_tunnels(&[(us, 9), (FR, 1)]);
        assert_eq!(
            book.interface_addresses(),
            nets(&["198.18.0.1/32", "10.101.0.2/32", "198.18.1.10/32", "198.18.1.2/32"])
        );
        assert_eq!((book.entry(UK), book.bind_v4(UK)), (None, None));
        assert_eq!(book.assign(FR, &assignment("10.101.0.2/16"), &facts), lease);
        assert_eq!(book.tunnels(), [us, FR]);
    }

    #[test]
    fn a_tunnel_that_is_presented_under_its_bind_address_follows_it_to_another_number() {
        let mut book = book();
        book.assign(UK, &dual("192.168.1.7/24", "fd00::2/64"), &on_lan("192.168.1.0/24"));
        book.set_tunnels(&[(UK, 5)]);
        let entry = book.entry(UK).unwrap();
        assert_eq!((entry.bind_v4, entry.presented_v4), ([198, 18, 1, 6].into(), Some([198, 18, 1, 6].into())));
        assert_eq!(entry.presented_v6, Some("fd00::2".parse().unwrap()));
    }

    #[test]
    fn a_second_mention_and_a_number_beyond_the_pool_are_left_out() {
        let mut book = book();
        let us = TunnelId::new(7);
        book.set_tunnels(&[(UK, 3), (UK, 4), (FR, 3), (us, MAX_TUNNELS)]);
        assert_eq!(book.tunnels(), [UK]);
        assert_eq!(book.assign(us, &assignment("10.9.0.2/24"), &HostFacts::default()), LeaseId::NONE);
        book.set_tunnels(&[(us, MAX_TUNNELS - 1)]);
        assert_eq!(book.bind_v4(us), Some(book.pools().bind_v4(MAX_TUNNELS - 1)));
    }
}
