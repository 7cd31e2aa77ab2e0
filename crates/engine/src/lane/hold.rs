//! Packets that wait for their tunnel: at most [`HOLD_PACKETS`] a tunnel, until the moment that the router says. They
//! are presented to the router again when the policy changes or the moment has come; what then happens is the router's
//! decision. Nothing here forwards or refuses.

use std::collections::{BTreeMap, VecDeque};

use mrvpn_clock::Moment;
use mrvpn_router::{Offload, TunnelId};

use super::limits::{HOLD_BYTES, HOLD_PACKETS};

/// One packet as it was read, not yet translated.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) packet: Vec<u8>,
    pub(crate) offload: Offload,
}

/// The waiting packets of all tunnels. `None` stands for flows whose default tunnel is not decided yet.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    waiting: BTreeMap<Option<TunnelId>, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    packets: VecDeque<Held>,
    bytes: usize,
    until: Moment,
}

impl Holds {
    /// Keeps a copy of `packet` until `until`; `false` when this tunnel has no more room.
    pub(crate) fn keep(&mut self, tunnel: Option<TunnelId>, packet: &[u8], offload: Offload, until: Moment) -> bool {
        let waiting = self.waiting.entry(tunnel).or_insert_with(|| Waiting::new(until));
        let room = waiting.packets.len() < HOLD_PACKETS && waiting.bytes + packet.len() <= HOLD_BYTES;
        if room {
            waiting.bytes += packet.len();
            waiting.until = waiting.until.min(until);
            waiting.packets.push_back(Held { packet: packet.to_vec(), offload });
        }
        room
    }

    /// The packets whose time has come and those of tunnels that `also` names, in the order in which they came.
    pub(crate) fn take(&mut self, now: Moment, also: impl Fn(Option<TunnelId>) -> bool) -> Vec<Held> {
        let due = |(tunnel, waiting): (&Option<TunnelId>, &Waiting)| {
            (waiting.until <= now || also(*tunnel)).then_some(*tunnel)
        };
        let due: Vec<_> = self.waiting.iter().filter_map(due).collect();
        due.iter().filter_map(|tunnel| self.waiting.remove(tunnel)).flat_map(|waiting| waiting.packets).collect()
    }

    /// The earliest end of a wait.
    pub(crate) fn poll_timeout(&self) -> Option<Moment> {
        self.waiting.values().map(|waiting| waiting.until).min()
    }
}

impl Waiting {
    const fn new(until: Moment) -> Self {
        Self { packets: VecDeque::new(), bytes: 0, until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UK: Option<TunnelId> = Some(TunnelId::new(0));
    const FR: Option<TunnelId> = Some(TunnelId::new(1));
    const LATER: Moment = Moment::from_nanos(1_000_000_000);
    const NOW: Moment = Moment::from_nanos(1);

    fn keep(holds: &mut Holds, tunnel: Option<TunnelId>, packet: &[u8]) -> bool {
        holds.keep(tunnel, packet, Offload::NONE, LATER)
    }

    #[test]
    fn one_tunnel_holds_64_packets_and_no_more() {
        let mut holds = Holds::default();
        for number in 0..HOLD_PACKETS {
            assert!(keep(&mut holds, UK, &[u8::try_from(number).unwrap()]));
        }
        assert!(!keep(&mut holds, UK, &[0]));
        assert!(keep(&mut holds, FR, &[0]), "another tunnel has room of its own");
    }

    #[test]
    fn one_tunnel_holds_512_kib_and_no_more() {
        let mut holds = Holds::default();
        assert!(keep(&mut holds, UK, &vec![0; HOLD_BYTES - 1]));
        assert!(keep(&mut holds, UK, &[0]));
        assert!(!keep(&mut holds, UK, &[0]));
    }

    #[test]
    fn packets_come_back_in_order_when_their_time_has_come_or_the_policy_changes() {
        let mut holds = Holds::default();
        for number in 0..3 {
            keep(&mut holds, UK, &[number]);
        }
        assert_eq!(holds.poll_timeout(), Some(LATER));
        assert!(holds.take(NOW, |_| false).is_empty());
        let order: Vec<u8> = holds.take(NOW, |_| true).iter().map(|held| held.packet[0]).collect();
        assert_eq!(order, [0, 1, 2]);
        keep(&mut holds, UK, &[9]);
        assert_eq!(holds.take(LATER, |_| false).len(), 1);
        assert_eq!(holds.poll_timeout(), None);
    }
}
