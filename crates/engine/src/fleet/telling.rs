//! What the fleet tells as it happens: states, addresses, conflicts, each change once. How things are is `report.rs`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use mrvpn_netplan::{Entry, Plan};
use mrvpn_router::TunnelId;

use super::report::{conflict_status, error_status};
use super::{Fleet, Request};
use crate::event::EventKind;
use crate::status::ConflictStatus;

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Told {
    addresses: BTreeMap<TunnelId, Addresses>,
    conflicts: BTreeSet<(String, Vec<String>, String, String)>,
}

/// The addresses of one tunnel, IPv4 and IPv6.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Addresses {
    name: String,
    families: [Option<Address>; 2],
}

/// As assigned, and as it stands on the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Address {
    assigned: IpNet,
    presented: IpNet,
}

impl Fleet {
    pub(super) fn event(&mut self, what: EventKind) {
        self.requests.push_back(Request::Event(what));
    }

    /// Tells the state of a tunnel, if it or its error is another than was told last.
    pub(super) fn tell_state(&mut self, id: TunnelId) {
        let clocks = self.clocks;
        let Some(runner) = self.runners.get_mut(&id) else { return };
        let now = (runner.shown(), runner.tunnel.error().map(|error| error.code));
        if runner.told.replace(now) == Some(now) {
            return;
        }
        let config = runner.tunnel.config();
        let error = runner.tunnel.error().map(|error| error_status(error, &config.file, clocks));
        let what = EventKind::TunnelState { tunnel: config.name.clone(), state: now.0.name().to_owned(), error };
        self.event(what);
    }

    /// Tells addresses and conflicts that are new, and addresses that are gone.
    pub(super) fn tell(&mut self) {
        self.tell_addresses();
        self.tell_conflicts();
    }

    fn tell_addresses(&mut self) {
        let known = self.roster.in_order().map(|(id, member)| {
            let families = self.roster.book.entry(id).map(addresses).unwrap_or_default();
            (id, Addresses { name: member.config.name.clone(), families })
        });
        let now: BTreeMap<TunnelId, Addresses> = known.collect();
        let before = std::mem::replace(&mut self.told.addresses, now.clone());
        for (id, old) in &before {
            let new = now.get(id).filter(|new| new.name == old.name);
            let families = new.map(|new| new.families).unwrap_or_default();
            self.tell_change(&old.name, old.families, families);
        }
        for (id, new) in &now {
            if before.get(id).is_none_or(|old| old.name != new.name) {
                self.tell_change(&new.name, [None, None], new.families);
            }
        }
    }

    fn tell_change(&mut self, name: &str, before: [Option<Address>; 2], after: [Option<Address>; 2]) {
        let tunnel = || name.to_owned();
        for pair in before.into_iter().zip(after) {
            match pair {
                (None, Some(new)) => self.event(EventKind::AddressAssigned {
                    tunnel: tunnel(),
                    address: new.assigned.to_string(),
                    presented: new.presented.to_string(),
                }),
                (Some(old), Some(new)) if old != new => self.event(EventKind::AddressChanged {
                    tunnel: tunnel(),
                    before: old.assigned.to_string(),
                    address: new.assigned.to_string(),
                    presented: new.presented.to_string(),
                }),
                (Some(old), None) => {
                    self.event(EventKind::AddressRemoved { tunnel: tunnel(), address: old.assigned.to_string() });
                }
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
    }

    fn tell_conflicts(&mut self) {
        let conflicts: Vec<ConflictStatus> =
            self.conflicts().map(|conflict| conflict_status(conflict, |id| self.name_of(id))).collect();
        let key = |shown: &ConflictStatus| {
            let ConflictStatus { kind, tunnels, what, resolution } = shown.clone();
            (kind, tunnels, what, resolution)
        };
        let now: BTreeSet<_> = conflicts.iter().map(key).collect();
        let before = std::mem::replace(&mut self.told.conflicts, now);
        for conflict in conflicts {
            if !before.contains(&key(&conflict)) {
                let ConflictStatus { kind, tunnels, what, resolution } = conflict;
                self.event(EventKind::Conflict { kind, tunnels, what, resolution });
            }
        }
    }

    /// Tells that the interface is there and carries routes.
    pub(super) fn tell_interface(&mut self, plan: &Plan) {
        self.event(EventKind::InterfaceEstablished {
            name: plan.scope.device.clone(),
            generation: 1,
            addresses: plan.addresses.iter().map(|planned| planned.address.to_string()).collect(),
        });
    }
}

fn addresses(entry: &Entry) -> [Option<Address>; 2] {
    let address = |assigned: Option<IpNet>, presented: Option<IpAddr>| {
        Some(Address { assigned: assigned?, presented: IpNet::from(presented?) })
    };
    [
        address(entry.assigned_v4.map(IpNet::V4), entry.presented_v4.map(IpAddr::V4)),
        address(entry.assigned_v6.map(IpNet::V6), entry.presented_v6.map(IpAddr::V6)),
    ]
}
