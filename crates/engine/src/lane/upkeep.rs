//! What a lane sends of itself: datagrams of the session, messages within the data channel, pings. No packet of anyone is
//! among it, so that what is lost of it is sent again by who wanted it. Packets are `datapath.rs`'s.

use mrvpn_clock::Moment;
use mrvpn_proto::{PING, Sealer};
use mrvpn_router::{DropReason, TunnelId};

use super::{Lane, LaneIo, Train, limits};

impl Lane {
    /// Queues a datagram for the next turn. A full queue drops it: the session sends it again.
    pub(super) fn post(&mut self, tunnel: TunnelId, datagram: Vec<u8>) {
        if self.outbox.len() < limits::OUTBOX {
            self.outbox.push_back((tunnel, datagram));
        } else {
            self.count(tunnel, DropReason::ControlFull, 1);
        }
    }

    /// Queues a message within the data channel for the next turn.
    pub(super) fn post_sealed(&mut self, tunnel: TunnelId, message: &[u8], now: Moment) {
        let Some(carrier) = self.carrier(tunnel) else { return };
        let mut frame = vec![0; Sealer::HEADROOM];
        frame.extend_from_slice(message);
        match carrier.keys.sealer(now).seal(&mut frame) {
            Ok(()) => self.post(tunnel, frame),
            Err(_) => self.key_worn(tunnel),
        }
    }

    pub(super) fn send_outbox(&mut self, io: &mut impl LaneIo, now: Moment) {
        while let Some((tunnel, datagram)) = self.outbox.pop_front() {
            self.send_single(io, tunnel, &datagram, now);
        }
    }

    /// Sends one datagram of the connection itself. It is no packet of anyone: when it is lost, it is sent again.
    fn send_single(&mut self, io: &mut impl LaneIo, tunnel: TunnelId, datagram: &[u8], now: Moment) {
        if let Err(error) = io.send(tunnel, &Train::single(datagram)) {
            return self.socket_failed(tunnel, error, now);
        }
        if let Some(carrier) = self.carrier(tunnel) {
            carrier.keepalive.sent(now);
            carrier.note_sent(datagram);
        }
    }

    pub(super) fn send_pings(&mut self, io: &mut impl LaneIo, now: Moment) {
        if self.next_ping.is_none_or(|due| due > now) {
            return;
        }
        for index in 0..self.carriers.len() {
            let tunnel = TunnelId::new(u16::try_from(index).unwrap_or(u16::MAX));
            if self.carrier(tunnel).is_some_and(|carrier| carrier.keepalive.due().is_some_and(|due| due <= now)) {
                self.ping(io, tunnel, now);
            }
        }
        self.next_ping = self.carriers.iter().flatten().filter_map(|carrier| carrier.keepalive.due()).min();
    }

    /// Sends a ping. The next is due one interval later even if the socket does not take this one.
    fn ping(&mut self, io: &mut impl LaneIo, tunnel: TunnelId, now: Moment) {
        let Some(carrier) = self.carrier(tunnel) else { return };
        carrier.keepalive.sent(now);
        let mut frame = [0; Sealer::HEADROOM + PING.len()];
        frame[Sealer::HEADROOM..].copy_from_slice(&PING);
        match carrier.keys.sealer(now).seal(&mut frame) {
            Ok(()) => self.send_single(io, tunnel, &frame, now),
            Err(_) => self.key_worn(tunnel),
        }
    }
}
