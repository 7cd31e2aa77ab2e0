//! The address book under random lives of tunnels: assignments, reconnects, releases, in any order.

#![allow(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use mrvpn_netplan::{AddressBook, HostFacts, OnLink, Pools};
use mrvpn_profile::{Assignment, Ipv4Assignment, Ipv6Assignment, Keepalive, ProtocolFlags};
use mrvpn_router::{LeaseId, TunnelId};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const TUNNELS: u16 = 4;
/// Few, so that they collide: with each other, with the LAN, with our own pool.
const ADDRESSES: [&str; 6] =
    ["10.8.0.2/24", "10.8.0.3/24", "10.8.0.2/16", "192.168.1.7/24", "198.18.0.1/24", "198.18.1.2/32"];

/// The same of IPv6; a tunnel may have none.
const ADDRESSES_V6: [Option<&str>; 6] =
    [None, None, Some("fd00::2/64"), Some("fd00::3/64"), Some("2001:db8:1::7/64"), Some("2001:2:0:1::1:2/128")];

#[derive(Clone, Debug)]
enum Happening {
    Assigned(TunnelId, &'static str, Option<&'static str>),
    Released(TunnelId),
}

fn happening() -> impl Strategy<Value = Happening> {
    let tunnel = || (0..TUNNELS).prop_map(TunnelId::new);
    prop_oneof![
        4 => (tunnel(), select(ADDRESSES.as_slice()), select(ADDRESSES_V6.as_slice()))
            .prop_map(|(tunnel, v4, v6)| Happening::Assigned(tunnel, v4, v6)),
        1 => tunnel().prop_map(Happening::Released),
    ]
}

fn facts() -> HostFacts {
    let lan = |net: &str| OnLink { net: net.parse().unwrap(), device: String::from("eth0") };
    HostFacts { on_link: vec![lan("192.168.1.0/24"), lan("2001:db8:1::/64")], ..HostFacts::default() }
}

proptest! {
    #[test]
    fn every_source_names_one_tunnel_and_stands_on_the_interface(happenings in vec(happening(), 1..30)) {
        let mut book = AddressBook::new(Pools::choose(None, &[]).unwrap(), TUNNELS);
        for happening in happenings {
            happen(&mut book, &happening);
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
            for tunnel in (0..TUNNELS).map(TunnelId::new) {
                prop_assert_eq!(book.sources()[&IpAddr::V4(book.bind_v4(tunnel))], tunnel);
                if let Some(presented) = book.entry(tunnel).and_then(|entry| entry.presented_v4) {
                    prop_assert_eq!(book.sources()[&IpAddr::V4(presented)], tunnel);
                }
                if let Some(presented) = book.entry(tunnel).and_then(|entry| entry.presented_v6) {
                    prop_assert_eq!(book.sources()[&IpAddr::V6(presented)], tunnel);
                }
            }
        }
    }

    #[test]
    fn a_lease_lasts_as_long_as_the_address_and_how_it_is_presented_with_it(happenings in vec(happening(), 1..30)) {
        let mut book = AddressBook::new(Pools::choose(None, &[]).unwrap(), TUNNELS);
        let mut held: BTreeMap<TunnelId, Held> = BTreeMap::new();
        let mut used = BTreeSet::new();
        for happening in happenings {
            happen(&mut book, &happening);
            let (Happening::Assigned(tunnel, ..) | Happening::Released(tunnel)) = happening;
            let Some(entry) = book.entry(tunnel) else {
                held.remove(&tunnel);
                continue;
            };
            let assigned = (entry.assigned_v4.map(|net| net.addr()), entry.assigned_v6.map(|net| net.addr()));
            let now = (assigned, entry.lease, (entry.presented_v4, entry.presented_v6));
            match held.insert(tunnel, now) {
                Some(before) if before.0 == now.0 => prop_assert_eq!(before, now),
                Some(_) | None => prop_assert!(used.insert(entry.lease) && entry.lease != LeaseId::NONE),
            }
        }
    }

    #[test]
    fn whoever_is_not_presented_as_assigned_stands_under_conflicts(happenings in vec(happening(), 1..30)) {
        let mut book = AddressBook::new(Pools::choose(None, &[]).unwrap(), TUNNELS);
        happenings.iter().for_each(|happening| happen(&mut book, happening));
        for tunnel in (0..TUNNELS).map(TunnelId::new) {
            let Some(entry) = book.entry(tunnel) else { continue };
            let assigned = entry.assigned_v4.unwrap().addr();
            let moved = entry.presented_v4 != Some(assigned);
            let shown = book.conflicts().iter().any(|conflict| {
                conflict.what == assigned.to_string() && conflict.tunnels.last() == Some(&tunnel)
            });
            // A tunnel whose assigned address is its own bind address is both.
            prop_assert!(moved == shown || assigned == entry.bind_v4, "{:?}", book.conflicts());
            let Some(assigned) = entry.assigned_v6.map(|net| net.addr()) else { continue };
            let moved = entry.presented_v6 != Some(assigned);
            let shown = book.conflicts().iter().any(|conflict| {
                conflict.what == assigned.to_string() && conflict.tunnels.last() == Some(&tunnel)
            });
            prop_assert!(moved == shown || assigned == entry.bind_v6, "{:?}", book.conflicts());
        }
    }
}

/// What was assigned, the lease, what is presented.
type Held = (Both, LeaseId, Both);
type Both = (Option<Ipv4Addr>, Option<Ipv6Addr>);

fn happen(book: &mut AddressBook, happening: &Happening) {
    match happening {
        Happening::Assigned(tunnel, v4, v6) => {
            let ipv6 = v6.map(|address| Ipv6Assignment { address: address.parse().unwrap(), gateway: None });
            book.assign(*tunnel, &Assignment { ipv6, ..assignment(v4) }, &facts());
        }
        Happening::Released(tunnel) => book.release(*tunnel),
    }
}

fn assignment(address: &str) -> Assignment {
    Assignment {
        ipv4: Some(Ipv4Assignment { address: address.parse().unwrap(), gateway: None }),
        ipv6: None,
        routes: Vec::new(),
        redirect_gateway: None,
        dns: Vec::new(),
        search_domains: Vec::new(),
        tun_mtu: 1500,
        block_ipv6: false,
        keepalive: Keepalive::default(),
        peer_id: None,
        cipher: None,
        protocol_flags: ProtocolFlags::default(),
        auth_token: None,
        explicit_exit_notify: None,
        session_timeout: None,
        skipped: Vec::new(),
    }
}
