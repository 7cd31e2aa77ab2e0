//! Ports of ended leases: for a while nobody gets them, so that a late packet of the last lease finds no flow of the next
//! (T-74). Which port a new flow gets is `ports.rs`'s.

use std::collections::{HashMap, VecDeque};

use ahash::RandomState;
use mrvpn_clock::Moment;

use crate::flow::{Inside, OutsideKey};
use crate::limits;

/// The ports that rest, each with whose it was.
#[derive(Debug)]
pub(crate) struct Resting {
    ports: HashMap<OutsideKey, (Moment, Inside), RandomState>,
    order: VecDeque<(Moment, OutsideKey)>,
}

impl Resting {
    /// None yet; `seeds` key the hash.
    pub(crate) fn new(seeds: [u64; 4]) -> Self {
        let [a, b, c, d] = seeds;
        Self { ports: HashMap::with_hasher(RandomState::with_seeds(a, b, c, d)), order: VecDeque::new() }
    }

    /// Puts a port to rest. `key` is that of no lease.
    pub(crate) fn rest(&mut self, key: OutsideKey, inside: Inside, now: Moment) {
        self.wake(now);
        if self.order.len() >= limits::PORTS_RESTING
            && let Some((since, oldest)) = self.order.pop_front()
        {
            self.forget(&oldest, since);
        }
        self.ports.insert(key, (now, inside));
        self.order.push_back((now, key));
    }

    /// Whose the port was, if it rests.
    pub(crate) fn owner(&self, key: &OutsideKey, now: Moment) -> Option<Inside> {
        let (since, inside) = self.ports.get(key)?;
        (now.since(*since) < limits::PORT_REST).then_some(*inside)
    }

    /// Forgets those that have rested long enough.
    fn wake(&mut self, now: Moment) {
        while let Some((since, key)) = self.order.front().copied().filter(|at| now.since(at.0) >= limits::PORT_REST) {
            self.order.pop_front();
            self.forget(&key, since);
        }
    }

    /// One that was put to rest again since stays.
    fn forget(&mut self, key: &OutsideKey, since: Moment) {
        if self.ports.get(key).is_some_and(|port| port.0 == since) {
            self.ports.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::flow::{Protocol, Remote};
    use crate::{LeaseId, TunnelId};

    const START: Moment = Moment::from_nanos(1_000_000_000_000);

    #[test]
    fn as_many_ports_rest_as_the_limit_says() {
        for count in [limits::PORTS_RESTING - 1, limits::PORTS_RESTING, limits::PORTS_RESTING + 1] {
            let mut resting = Resting::new([1; 4]);
            (0..count).for_each(|number| resting.rest(key(number), inside(), START));
            assert_eq!(resting.owner(&key(0), START).is_some(), count <= limits::PORTS_RESTING);
            assert!(resting.owner(&key(count - 1), START).is_some());
            assert_eq!(resting.ports.len(), count.min(limits::PORTS_RESTING));
        }
    }

    #[test]
    fn a_port_rests_for_its_time_and_anew_when_it_is_put_to_rest_again() {
        let mut resting = Resting::new([1; 4]);
        resting.rest(key(1), inside(), START);
        let half = START + limits::PORT_REST / 2;
        resting.rest(key(1), inside(), half);
        assert_eq!(resting.owner(&key(1), START + limits::PORT_REST), Some(inside()));
        assert_eq!(resting.owner(&key(1), half + limits::PORT_REST), None);
        resting.rest(key(2), inside(), half + limits::PORT_REST);
        assert_eq!((resting.ports.len(), resting.order.len()), (1, 1));
    }

    fn key(number: usize) -> OutsideKey {
        let address = IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap()));
        OutsideKey::outside(TunnelId::new(0), LeaseId::NONE, Protocol::Udp, Remote { address, port: 53 }, 4000)
    }

    fn inside() -> Inside {
        Inside { address: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 4000 }
    }
}
