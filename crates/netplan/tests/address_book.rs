//! The address book under random lives: assignments, reconnects, releases, networks that the host comes to and leaves,
//! tunnels that come, go and change places in the file; in any order.

#![allow(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use mrvpn_netplan::{AddressBook, Entry, HostFacts, Resolution};
use mrvpn_profile::{Assignment, Ipv4Assignment, Ipv6Assignment};
use mrvpn_router::{LeaseId, TunnelId};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use support::{on_lan, pools};

/// Numbers with holes.
const TUNNELS: [TunnelId; 5] =
    [TunnelId::new(0), TunnelId::new(2), TunnelId::new(3), TunnelId::new(7), TunnelId::new(40)];

/// Few, so that they collide: with each other, with the LAN, with our own pool. A tunnel may have none.
const ADDRESSES: [Option<&str>; 8] = [
    None,
    Some("10.8.0.2/24"),
    Some("10.8.0.3/24"),
    Some("10.8.0.2/16"),
    Some("10.8.0.2/32"),
    Some("192.168.1.7/24"),
    Some("198.18.0.1/24"),
    Some("198.18.1.3/32"),
];
const ADDRESSES_V6: [Option<&str>; 6] =
    [None, None, Some("fd00::2/64"), Some("fd00::3/64"), Some("2001:db8:1::7/64"), Some("2001:2:0:1::1:2/128")];

/// Networks that the host is on, by turns.
const PLACES: [&[&str]; 4] =
    [&["192.168.1.0/24", "2001:db8:1::/64"], &[], &["10.8.0.0/24"], &["192.168.0.0/16", "fd00::/64"]];

#[derive(Clone, Debug)]
enum Happening {
    Assigned(TunnelId, Option<&'static str>, Option<&'static str>),
    Released(TunnelId),
    /// The host is there now.
    Moved(&'static [&'static str]),
    /// These tunnels there are, in this order.
    File(Vec<TunnelId>),
}

fn happening() -> impl Strategy<Value = Happening> {
    let tunnel = || select(TUNNELS.as_slice());
    let file = subsequence(TUNNELS.to_vec(), 1..=TUNNELS.len()).prop_shuffle();
    prop_oneof![
        8 => (tunnel(), select(ADDRESSES.as_slice()), select(ADDRESSES_V6.as_slice()))
            .prop_map(|(tunnel, v4, v6)| Happening::Assigned(tunnel, v4, v6)),
        2 => tunnel().prop_map(Happening::Released),
        2 => select(PLACES.as_slice()).prop_map(Happening::Moved),
        2 => file.prop_map(Happening::File),
    ]
}

/// A book and what is around it.
struct World {
    book: AddressBook,
    facts: HostFacts,
}

impl World {
    fn new() -> Self {
        let mut book = AddressBook::new(pools(), 0);
        book.set_tunnels(&TUNNELS.map(|tunnel| (tunnel, bind(tunnel))));
        Self { book, facts: on_lan(PLACES[0]) }
    }

    fn happen(&mut self, happening: &Happening) {
        match happening {
            Happening::Assigned(tunnel, v4, v6) => {
                self.book.assign(*tunnel, &assignment(*v4, *v6), &self.facts);
            }
            Happening::Released(tunnel) => self.book.release(*tunnel),
            Happening::Moved(place) => {
                self.facts = on_lan(place);
                let before = self.entries();
                let changed = self.book.handle_facts(&self.facts);
                assert_eq!(changed, self.entries() != before);
            }
            Happening::File(tunnels) => {
                self.book.set_tunnels(&tunnels.iter().map(|tunnel| (*tunnel, bind(*tunnel))).collect::<Vec<_>>());
            }
        }
    }

    fn entries(&self) -> BTreeMap<TunnelId, Entry> {
        TUNNELS.iter().filter_map(|tunnel| Some((*tunnel, *self.book.entry(*tunnel)?))).collect()
    }
}

/// Not the number of the tunnel.
fn bind(tunnel: TunnelId) -> u16 {
    50 - tunnel.number()
}

fn assignment(v4: Option<&str>, v6: Option<&str>) -> Assignment {
    Assignment {
        ipv4: v4.map(|address| Ipv4Assignment { address: address.parse().unwrap(), gateway: None }),
        ipv6: v6.map(|address| Ipv6Assignment { address: address.parse().unwrap(), gateway: None }),
        ..support::assigned("10.0.0.2/24")
    }
}

proptest! {
    #[test]
    fn every_source_names_one_tunnel_and_stands_on_the_interface(happenings in vec(happening(), 1..40)) {
        let mut world = World::new();
        for happening in happenings {
            world.happen(&happening);
            let book = &world.book;
            let on_interface = book.interface_addresses();
            let unique: BTreeSet<&IpNet> = on_interface.iter().collect();
            prop_assert_eq!(unique.len(), on_interface.len());
            prop_assert_eq!(on_interface[0], IpNet::from(IpAddr::V4(book.own().anchor_v4)));
            let sources: BTreeSet<IpNet> = book.sources().into_keys().map(IpNet::from).collect();
            let anchors = [IpAddr::V4(book.own().anchor_v4), IpAddr::V6(book.own().anchor_v6)];
            let others = on_interface.iter().filter(|net| !anchors.contains(&net.addr())).copied();
            prop_assert_eq!(sources, others.collect::<BTreeSet<_>>());
            prop_assert!(!on_interface.contains(&IpNet::from(IpAddr::V4(book.own().engine_v4))));
            prop_assert!(!on_interface.contains(&IpNet::from(IpAddr::V6(book.own().engine_v6))));
            for tunnel in book.tunnels() {
                prop_assert_eq!(book.bind_v4(*tunnel), Some(book.pools().bind_v4(bind(*tunnel))));
                let entry = book.entry(*tunnel);
                let v4 = entry.and_then(|entry| entry.presented_v4).map(IpAddr::V4);
                let v6 = entry.and_then(|entry| entry.presented_v6).map(IpAddr::V6);
                for address in [book.bind_v4(*tunnel).map(IpAddr::V4), v4, v6].into_iter().flatten() {
                    prop_assert_eq!(book.sources()[&address], *tunnel);
                }
            }
        }
    }

    // proves: T-37
    #[test]
    fn what_is_presented_is_never_the_lans_nor_of_the_pool_unless_it_is_the_tunnels_own_bind_address(
        happenings in vec(happening(), 1..40),
    ) {
        let mut world = World::new();
        for happening in happenings {
            world.happen(&happening);
            for entry in world.entries().values() {
                let v4 = entry.presented_v4.filter(|address| *address != entry.bind_v4).map(IpAddr::V4);
                let v6 = entry.presented_v6.filter(|address| *address != entry.bind_v6).map(IpAddr::V6);
                for address in v4.into_iter().chain(v6) {
                    prop_assert!(!world.facts.has(address), "{address} is of the LAN");
                    prop_assert!(world.book.pools().shared().iter().all(|pool| !pool.contains(&address)));
                }
                prop_assert_eq!(entry.presented_v4.is_some(), entry.assigned_v4.is_some());
                prop_assert_eq!(entry.presented_v6.is_some(), entry.assigned_v6.is_some());
            }
        }
    }

    #[test]
    fn what_happens_to_one_tunnel_changes_nothing_of_the_others(happenings in vec(happening(), 1..40)) {
        let mut world = World::new();
        for happening in happenings {
            let before = world.entries();
            world.happen(&happening);
            let after = world.entries();
            let stays = |tunnel: &TunnelId| match &happening {
                Happening::Assigned(one, ..) | Happening::Released(one) => tunnel != one,
                Happening::File(tunnels) => tunnels.contains(tunnel),
                Happening::Moved(_) => false,
            };
            for tunnel in TUNNELS.iter().filter(|tunnel| stays(tunnel)) {
                prop_assert_eq!(before.get(tunnel), after.get(tunnel), "{:?}", happening);
            }
            let is_named = |tunnel: &TunnelId| world.book.tunnels().contains(tunnel);
            prop_assert!(after.keys().all(is_named));
        }
    }

    #[test]
    fn a_lease_lasts_as_long_as_the_address_and_a_presented_address_only_gives_way_to_the_bind_address(
        happenings in vec(happening(), 1..40),
    ) {
        let mut world = World::new();
        let mut used = BTreeSet::new();
        for happening in happenings {
            let before = world.entries();
            world.happen(&happening);
            for (tunnel, now) in world.entries() {
                let inner = |entry: &Entry| {
                    (entry.assigned_v4.map(|net| net.addr()), entry.assigned_v6.map(|net| net.addr()))
                };
                match before.get(&tunnel).filter(|before| inner(before) == inner(&now)) {
                    Some(before) => {
                        prop_assert_eq!(before.lease, now.lease);
                        prop_assert!(now.presented_v4 == before.presented_v4 || now.presented_v4 == Some(now.bind_v4));
                        prop_assert!(now.presented_v6 == before.presented_v6 || now.presented_v6 == Some(now.bind_v6));
                    }
                    None => prop_assert!(used.insert(now.lease) && now.lease != LeaseId::NONE),
                }
            }
        }
    }

    #[test]
    fn whoever_is_not_presented_as_assigned_stands_under_conflicts(happenings in vec(happening(), 1..40)) {
        let mut world = World::new();
        happenings.iter().for_each(|happening| world.happen(happening));
        for (tunnel, entry) in world.entries() {
            let v4 = entry.assigned_v4.map(|net| (IpAddr::V4(net.addr()), entry.presented_v4.map(IpAddr::V4), IpAddr::V4(entry.bind_v4)));
            let v6 = entry.assigned_v6.map(|net| (IpAddr::V6(net.addr()), entry.presented_v6.map(IpAddr::V6), IpAddr::V6(entry.bind_v6)));
            for (assigned, presented, bind) in v4.into_iter().chain(v6) {
                let shown = world.book.conflicts().iter().any(|conflict| {
                    let resolution = Resolution::PresentedAs { tunnel, address: bind };
                    conflict.what == assigned.to_string() && conflict.resolution == resolution
                });
                // A tunnel whose assigned address is its own bind address is both.
                prop_assert!((presented != Some(assigned)) == shown || assigned == bind, "{:?}", world.book.conflicts());
            }
            let nothing = world.book.conflicts().iter().any(|conflict| conflict.resolution == Resolution::CarriesNothing { tunnel });
            prop_assert_eq!(nothing, entry.assigned_v4.is_none() && entry.assigned_v6.is_none());
        }
    }
}
