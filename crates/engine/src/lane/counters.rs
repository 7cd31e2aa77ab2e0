//! What a lane has carried and dropped, readable from everywhere while it runs. The lane adds once a batch, never once
//! a packet; whoever reads (status, the session's timers) takes no lock that the lane would wait for. Why a packet is
//! dropped is decided elsewhere: here it is only counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use mrvpn_clock::Moment;
use mrvpn_router::{self as router, DropReason, TunnelId};

/// Counters of all tunnels of one lane, and of packets that belong to no tunnel.
#[derive(Debug, Default)]
pub struct Counters {
    tunnels: RwLock<Vec<Arc<TunnelCounters>>>,
    unassigned: Drops,
}

/// What a tunnel has sealed and opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Bytes inside, pings and packets that were then not forwarded included.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
}

/// Counters of one tunnel.
#[derive(Debug, Default)]
pub(crate) struct TunnelCounters {
    rx_bytes: AtomicU64,
    tx_bytes: AtomicU64,
    carried_bytes: AtomicU64,
    carried_packets: AtomicU64,
    /// Nanoseconds of the moment; 0 is never.
    last_heard: AtomicU64,
    drops: Drops,
}

/// One counter a reason.
#[derive(Debug, Default)]
struct Drops([AtomicU64; DropReason::ALL.len()]);

impl Drops {
    fn add(&self, reason: DropReason, count: u64) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn get(&self, reason: DropReason) -> u64 {
        self.0.get(reason as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

/// What of the router's counts has been added to the shared ones.
#[derive(Debug, Default)]
pub(crate) struct Published {
    tunnels: Vec<[u64; DropReason::ALL.len()]>,
    unassigned: [u64; DropReason::ALL.len()],
}

impl Published {
    /// Adds to `counters` what `drops` has more than the last time, for tunnels `0..tunnels` and for none.
    pub(crate) fn update(&mut self, drops: &router::Drops, tunnels: usize, counters: &Counters) {
        self.tunnels.resize(tunnels.max(self.tunnels.len()), [0; DropReason::ALL.len()]);
        let mut assigned = [0; DropReason::ALL.len()];
        for (number, known) in (0..u16::MAX).zip(&mut self.tunnels) {
            let tunnel = TunnelId::new(number);
            let now = DropReason::ALL.iter().map(|reason| drops.of_tunnel(tunnel, *reason));
            raise(known, now, &mut assigned, |reason, more| counters.add_drops(Some(tunnel), reason, more));
        }
        let of_none =
            DropReason::ALL.iter().zip(assigned).map(|(reason, of_tunnels)| drops.total(*reason) - of_tunnels);
        raise(&mut self.unassigned, of_none, &mut [0; DropReason::ALL.len()], |reason, more| {
            counters.add_drops(None, reason, more);
        });
    }
}

/// Brings `known` up to `now`, adds that to `sum`, and tells `add` how much more it is.
fn raise(known: &mut [u64], now: impl Iterator<Item = u64>, sum: &mut [u64], add: impl Fn(DropReason, u64)) {
    for (((reason, known), now), sum) in DropReason::ALL.iter().zip(known).zip(now).zip(sum) {
        if now > *known {
            add(*reason, now - *known);
        }
        *known = now;
        *sum += now;
    }
}

impl Counters {
    /// Bytes of packets that came from the server and went to the interface, without the tunnel's own headers.
    #[must_use]
    pub fn rx_bytes(&self, tunnel: TunnelId) -> u64 {
        self.read(tunnel, |counters| counters.rx_bytes.load(Ordering::Relaxed))
    }

    /// Bytes of packets that were sent to the server, without the tunnel's own headers.
    #[must_use]
    pub fn tx_bytes(&self, tunnel: TunnelId) -> u64 {
        self.read(tunnel, |counters| counters.tx_bytes.load(Ordering::Relaxed))
    }

    /// What the tunnel has sealed and opened in all its sessions, both directions together.
    #[must_use]
    pub fn carried(&self, tunnel: TunnelId) -> Carried {
        let tunnels = self.tunnels.read().unwrap_or_else(PoisonError::into_inner);
        tunnels.get(tunnel.index()).map(|counters| counters.carried()).unwrap_or_default()
    }

    /// When the last authentic data packet of the tunnel's present session came; `None` before the first.
    #[must_use]
    pub fn last_heard(&self, tunnel: TunnelId) -> Option<Moment> {
        let nanos = self.read(tunnel, |counters| counters.last_heard.load(Ordering::Relaxed));
        (nanos > 0).then(|| Moment::from_nanos(nanos))
    }

    /// Packets that were not forwarded for this reason, of a tunnel or of none.
    #[must_use]
    pub fn drops(&self, tunnel: Option<TunnelId>, reason: DropReason) -> u64 {
        match tunnel {
            Some(tunnel) => self.read(tunnel, |counters| counters.drops.get(reason)),
            None => self.unassigned.get(reason),
        }
    }

    /// Counts one packet that was not forwarded; for those that are judged outside of the lane.
    pub fn count(&self, tunnel: Option<TunnelId>, reason: DropReason) {
        self.add_drops(tunnel, reason, 1);
    }

    /// Begins a tunnel's counters at 0 again: its number belongs to another tunnel now.
    pub(crate) fn forget(&self, tunnel: TunnelId) {
        let tunnels = self.tunnels.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counters) = tunnels.get(tunnel.index()) {
            counters.forget();
        }
    }

    /// Counts `count` packets that were not forwarded.
    pub(crate) fn add_drops(&self, tunnel: Option<TunnelId>, reason: DropReason, count: u64) {
        match tunnel {
            Some(tunnel) => self.tunnel(tunnel).drops.add(reason, count),
            None => self.unassigned.add(reason, count),
        }
    }

    /// The counters of one tunnel, made if there are none yet.
    pub(crate) fn tunnel(&self, tunnel: TunnelId) -> Arc<TunnelCounters> {
        if let Some(known) = self.tunnels.read().unwrap_or_else(PoisonError::into_inner).get(tunnel.index()) {
            return Arc::clone(known);
        }
        let mut tunnels = self.tunnels.write().unwrap_or_else(PoisonError::into_inner);
        while tunnels.len() <= tunnel.index() {
            tunnels.push(Arc::default());
        }
        Arc::clone(&tunnels[tunnel.index()])
    }

    fn read(&self, tunnel: TunnelId, value: impl Fn(&TunnelCounters) -> u64) -> u64 {
        let tunnels = self.tunnels.read().unwrap_or_else(PoisonError::into_inner);
        tunnels.get(tunnel.index()).map_or(0, |counters| value(counters))
    }
}

impl TunnelCounters {
    fn forget(&self) {
        let Self { rx_bytes, tx_bytes, carried_bytes, carried_packets, last_heard, drops } = self;
        let sums = [rx_bytes, tx_bytes, carried_bytes, carried_packets, last_heard];
        sums.into_iter().chain(&drops.0).for_each(|counter| counter.store(0, Ordering::Relaxed));
    }

    /// A new session: nothing of it has been heard yet.
    pub(crate) fn begin_session(&self) {
        self.last_heard.store(0, Ordering::Relaxed);
    }

    /// What the tunnel has carried by now.
    pub(crate) fn carried(&self) -> Carried {
        Carried {
            bytes: self.carried_bytes.load(Ordering::Relaxed),
            packets: self.carried_packets.load(Ordering::Relaxed),
        }
    }

    /// Shows what the tunnel has carried by now.
    pub(crate) fn carry(&self, carried: Carried) {
        self.carried_bytes.store(carried.bytes, Ordering::Relaxed);
        self.carried_packets.store(carried.packets, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        add(&self.rx_bytes, bytes);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        add(&self.tx_bytes, bytes);
    }

    pub(crate) fn heard(&self, now: Moment) {
        self.last_heard.store(now.as_nanos(), Ordering::Relaxed);
    }
}

/// Only the lane writes these, so that reading and storing is an addition.
fn add(counter: &AtomicU64, bytes: usize) {
    let before = counter.load(Ordering::Relaxed);
    counter.store(before.wrapping_add(bytes as u64), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    const UK: TunnelId = TunnelId::new(0);
    const FR: TunnelId = TunnelId::new(7);

    #[test]
    fn each_tunnel_and_none_have_counters_of_their_own() {
        let counters = Counters::default();
        counters.count(Some(FR), DropReason::Forged);
        counters.count(None, DropReason::Unclaimed);
        counters.tunnel(UK).sent(1400);
        assert_eq!(counters.drops(Some(FR), DropReason::Forged), 1);
        assert_eq!(counters.drops(Some(UK), DropReason::Forged), 0);
        assert_eq!(counters.drops(None, DropReason::Unclaimed), 1);
        assert_eq!((counters.tx_bytes(UK), counters.rx_bytes(UK)), (1400, 0));
    }

    #[test]
    fn a_new_session_has_not_been_heard() {
        let counters = Counters::default();
        assert_eq!(counters.last_heard(UK), None);
        counters.tunnel(UK).heard(Moment::from_nanos(5));
        assert_eq!(counters.last_heard(UK), Some(Moment::from_nanos(5)));
        counters.tunnel(UK).begin_session();
        assert_eq!(counters.last_heard(UK), None);
    }

    #[test]
    fn a_number_that_belongs_to_another_tunnel_begins_at_0() {
        let counters = Counters::default();
        for tunnel in [UK, FR] {
            counters.count(Some(tunnel), DropReason::Forged);
            counters.tunnel(tunnel).sent(1400);
            counters.tunnel(tunnel).received(1400);
            counters.tunnel(tunnel).heard(Moment::from_nanos(5));
            counters.tunnel(tunnel).carry(Carried { bytes: 2, packets: 1 });
        }
        counters.forget(UK);
        assert_eq!((counters.tx_bytes(UK), counters.rx_bytes(UK), counters.last_heard(UK)), (0, 0, None));
        assert_eq!((counters.carried(UK), counters.drops(Some(UK), DropReason::Forged)), (Carried::default(), 0));
        assert_eq!((counters.tx_bytes(FR), counters.drops(Some(FR), DropReason::Forged)), (1400, 1));
    }

    #[test]
    fn every_reason_has_a_counter() {
        let counters = Counters::default();
        for reason in DropReason::ALL {
            counters.count(None, *reason);
        }
        assert!(DropReason::ALL.iter().all(|reason| counters.drops(None, *reason) == 1));
    }
}
