//! What the address book shows under `conflicts`: pools that moved, tunnels presented under their bind addresses and why,
//! tunnels without any address, networks of assigned addresses that overlap. It settles nothing; that was done when the
//! address was assigned. Conflicts of routes are `standing.rs`'s.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use mrvpn_router::TunnelId;

use super::{AddressBook, Clash, Entry, Holding};
use crate::conflict::{Conflict, ConflictKind, Resolution};
use crate::nesting::{self, Owned};

impl AddressBook {
    pub(super) fn find_conflicts(&self) -> Vec<Conflict> {
        let mut conflicts = self.pool_conflicts();
        conflicts.extend(self.in_order().flat_map(|(tunnel, holding)| self.address_conflicts(tunnel, holding)));
        let networks: Vec<Owned> =
            self.in_order().flat_map(|(tunnel, holding)| networks(tunnel, &holding.entry)).collect();
        conflicts.extend(nesting::conflicts(&networks));
        conflicts
    }

    fn pool_conflicts(&self) -> Vec<Conflict> {
        let moved = |skipped: &Ipv4Net| Conflict {
            kind: ConflictKind::Pool,
            tunnels: Vec::new(),
            what: skipped.to_string(),
            resolution: Resolution::PoolMoved { to: self.pools.base() },
        };
        self.pools.skipped().iter().map(moved).collect()
    }

    fn address_conflicts(&self, tunnel: TunnelId, holding: &Holding) -> Vec<Conflict> {
        let entry = &holding.entry;
        let v4 = entry.assigned_v4.map(|net| (IpAddr::V4(net.addr()), IpAddr::V4(entry.bind_v4), holding.clash_v4));
        let v6 = entry.assigned_v6.map(|net| (IpAddr::V6(net.addr()), IpAddr::V6(entry.bind_v6), holding.clash_v6));
        if v4.is_none() && v6.is_none() {
            return vec![no_address(tunnel)];
        }
        let families = [v4, v6].into_iter().flatten();
        let conflict = |(assigned, bind, clash)| Some(self.address_conflict(tunnel, assigned, bind, clash?));
        families.filter_map(conflict).collect()
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
}

fn no_address(tunnel: TunnelId) -> Conflict {
    let resolution = Resolution::CarriesNothing { tunnel };
    Conflict { kind: ConflictKind::Address, tunnels: vec![tunnel], what: String::from("no address"), resolution }
}

/// The networks of an entry that hold more than its own address.
fn networks(tunnel: TunnelId, entry: &Entry) -> Vec<Owned> {
    let v4 = entry.assigned_v4.map(|net| IpNet::V4(net.trunc()));
    let v6 = entry.assigned_v6.map(|net| IpNet::V6(net.trunc()));
    let wide = |net: &IpNet| net.prefix_len() < net.max_prefix_len();
    v4.into_iter().chain(v6).filter(wide).map(|net| Owned { net, tunnel, elsewhere: false }).collect()
}
