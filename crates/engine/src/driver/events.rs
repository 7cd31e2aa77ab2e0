//! Events on their way to whoever listens: numbered, with the time of the calendar, and bursts of dropped packets made of
//! what the counters say. Who keeps the last of them for those who come later is the program.

use std::collections::BTreeMap;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_router::{DropReason, TunnelId};
use tokio::sync::broadcast;

use super::clock;
use crate::event::{Event, EventKind};
use crate::lane::Counters;

/// 1 s: over so long packets that are dropped are counted.
const WINDOW: Duration = Duration::from_secs(1);
/// More packets than these, of one tunnel and for one reason, are a burst.
const BURST: u64 = 100;

/// Sends events.
pub(super) struct Events {
    listeners: broadcast::Sender<Event>,
    sent: u64,
}

impl Events {
    pub(super) const fn new(listeners: broadcast::Sender<Event>) -> Self {
        Self { listeners, sent: 0 }
    }

    /// Tells everyone who listens, if anyone does.
    pub(super) fn tell(&mut self, what: EventKind) {
        self.sent += 1;
        let at = clock::pair().rfc3339(clock::now());
        let _ = self.listeners.send(Event { n: self.sent, at, what });
    }
}

/// What was dropped since the last look.
#[derive(Default)]
pub(super) struct Bursts {
    seen: BTreeMap<(Option<TunnelId>, DropReason), u64>,
    due: Option<Moment>,
}

/// Packets that were dropped within a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Burst {
    pub(super) tunnel: Option<TunnelId>,
    pub(super) reason: DropReason,
    pub(super) count: u64,
}

impl Bursts {
    /// Packets are dropped: how many it becomes is seen a second later.
    pub(super) fn begin(&mut self, now: Moment) {
        self.due.get_or_insert(now + WINDOW);
    }

    /// When to look.
    pub(super) const fn poll_timeout(&self) -> Option<Moment> {
        self.due
    }

    /// The bursts of the second that is over, if one is.
    pub(super) fn look(
        &mut self,
        counters: &Counters,
        tunnels: impl Iterator<Item = TunnelId>,
        now: Moment,
    ) -> Vec<Burst> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.due = None;
        let mut bursts = Vec::new();
        for tunnel in tunnels.map(Some).chain([None]) {
            for reason in DropReason::ALL {
                let counted = counters.drops(tunnel, *reason);
                let count = self.raise(tunnel, *reason, counted);
                if count > BURST {
                    bursts.push(Burst { tunnel, reason: *reason, count });
                }
            }
        }
        bursts
    }

    /// Notes a counter, and says how much more it is than the last time. One that is less has begun anew.
    fn raise(&mut self, tunnel: Option<TunnelId>, reason: DropReason, counted: u64) -> u64 {
        let before = self.seen.get(&(tunnel, reason)).copied().unwrap_or(0);
        if counted != before {
            self.seen.insert((tunnel, reason), counted);
        }
        if counted < before { counted } else { counted - before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UK: TunnelId = TunnelId::new(0);

    fn at(millis: u64) -> Moment {
        Moment::default() + Duration::from_millis(millis)
    }

    #[test]
    fn more_than_a_hundred_packets_within_a_second_are_a_burst_told_once() {
        for (count, told) in [(99, false), (100, false), (101, true)] {
            let (mut bursts, counters) = (Bursts::default(), Counters::default());
            counters.add_drops(Some(UK), DropReason::TunnelDown, 1_000);
            bursts.begin(at(0));
            bursts.look(&counters, [UK].into_iter(), at(1_000));
            bursts.begin(at(2_000));
            counters.add_drops(Some(UK), DropReason::TunnelDown, count);
            counters.add_drops(None, DropReason::Unclaimed, 5);
            assert_eq!(bursts.look(&counters, [UK].into_iter(), at(2_999)), [], "the second is not over");
            let seen = bursts.look(&counters, [UK].into_iter(), at(3_000));
            let burst = Burst { tunnel: Some(UK), reason: DropReason::TunnelDown, count };
            assert_eq!(seen, if told { vec![burst] } else { Vec::new() }, "{count}");
            assert_eq!(
                (bursts.look(&counters, [UK].into_iter(), at(9_000)), bursts.poll_timeout()),
                (Vec::new(), None)
            );
        }
    }

    #[test]
    fn counters_that_begin_anew_are_no_burst_of_the_tunnel_before() {
        let (mut bursts, counters) = (Bursts::default(), Counters::default());
        counters.add_drops(Some(UK), DropReason::Forged, 500);
        bursts.begin(at(0));
        assert_eq!(bursts.look(&counters, [UK].into_iter(), at(1_000)).len(), 1);
        counters.forget(UK);
        counters.add_drops(Some(UK), DropReason::Forged, 20);
        bursts.begin(at(1_500));
        assert_eq!(bursts.look(&counters, [UK].into_iter(), at(2_500)), []);
    }
}
