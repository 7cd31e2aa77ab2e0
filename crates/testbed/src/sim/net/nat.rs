//! Address translation in front of one node, as a home router does it: a flow keeps its outside port until the translation
//! forgets it, and only the far end of that flow is let in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// The translation of one node.
#[derive(Debug)]
pub(super) struct Nat {
    outside: IpAddr,
    /// Outside ports by flow: the node's socket and the far end.
    ports: BTreeMap<(SocketAddr, SocketAddr), u16>,
    /// Addresses that it had before.
    former: BTreeSet<IpAddr>,
    /// Never used twice, so that a late packet to a forgotten flow reaches nobody.
    next: u16,
}

/// The first outside port.
const FIRST: u16 = 20_000;

impl Nat {
    pub(super) const fn new(outside: IpAddr) -> Self {
        Self { outside, ports: BTreeMap::new(), former: BTreeSet::new(), next: FIRST }
    }

    /// The address that others see now.
    pub(super) const fn outside(&self) -> IpAddr {
        self.outside
    }

    /// Whether this address is or was the node's.
    pub(super) fn has_stood_for(&self, address: IpAddr) -> bool {
        self.outside == address || self.former.contains(&address)
    }

    pub(super) fn forget(&mut self) {
        self.ports.clear();
    }

    pub(super) fn move_to(&mut self, outside: IpAddr) {
        self.former.insert(self.outside);
        self.former.remove(&outside);
        self.outside = outside;
        self.forget();
    }

    /// What others see of a flow of the node.
    pub(super) fn outward(&mut self, from: SocketAddr, to: SocketAddr) -> SocketAddr {
        let port = self.ports.entry((from, to)).or_insert_with(|| {
            let port = self.next;
            self.next = self.next.checked_add(1).unwrap_or(FIRST);
            port
        });
        SocketAddr::new(self.outside, *port)
    }

    /// The node's socket that a datagram from `from` to our `to` is for; `None` where it belongs to no flow.
    pub(super) fn inward(&self, to: SocketAddr, from: SocketAddr) -> Option<SocketAddr> {
        if to.ip() != self.outside {
            return None;
        }
        let mut flows = self.ports.iter().filter(|((_, far), port)| **port == to.port() && *far == from);
        flows.next().map(|((inside, _), _)| *inside)
    }
}
