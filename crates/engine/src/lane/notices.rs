//! What a lane notices beside its packets and says once, or seldom: a queue that is gone or down, sockets that fail, keys
//! that are worn, outer packets that come back. What follows from it is the control side's.

use mrvpn_clock::Moment;
use mrvpn_router::{DropReason, TunnelId};

use super::{Carrier, Lane, LaneReport, SocketError, limits, loops};

impl Lane {
    /// The TUN does not exist any more: it is neither read nor spoken of until there is another.
    pub(crate) fn lose_queue(&mut self) {
        if !std::mem::replace(&mut self.queue_gone, true) {
            self.reports.push(LaneReport::QueueGone);
        }
    }

    /// The TUN is there and takes nothing: someone has set it down. Said twice a second at most.
    pub(crate) fn stall_queue(&mut self, now: Moment) {
        if self.queue_told.is_none_or(|until| until <= now) {
            self.queue_told = Some(now + limits::ERROR_PAUSE);
            self.reports.push(LaneReport::QueueDown);
        }
    }

    /// The [`super::LaneIo`] has another queue, in place of one that was gone: flows, keys and what waits live on with it.
    pub fn take_up_queue(&mut self) {
        self.queue_gone = false;
        self.queue_told = None;
    }

    /// Whether a packet of the TUN is an outer packet of a tunnel that has come back. It is dropped and its tunnel named.
    pub(crate) fn has_come_back(&mut self, packet: &[u8]) -> bool {
        if !self.watches_loops {
            return false;
        }
        let Some(payload) = loops::udp_payload(packet) else { return false };
        let sent = |carrier: &Option<Carrier>| carrier.as_ref().is_some_and(|carrier| carrier.has_sent(payload));
        let Some(index) = self.carriers.iter().position(sent) else { return false };
        let tunnel = TunnelId::new(u16::try_from(index).unwrap_or(u16::MAX));
        self.count(tunnel, DropReason::Loop, 1);
        self.tell_loop(tunnel);
        true
    }

    fn tell_loop(&mut self, tunnel: TunnelId) {
        let Some(carrier) = self.carrier(tunnel) else { return };
        if !std::mem::replace(&mut carrier.loop_reported, true) {
            let attempt = carrier.attempt;
            self.reports.push(LaneReport::Loop { tunnel, attempt });
        }
    }

    /// A socket failed. A datagram socket's errors are reported at most twice a second and change nothing; the end of a
    /// stream is reported once.
    pub(crate) fn socket_failed(&mut self, tunnel: TunnelId, error: SocketError, now: Moment) {
        let Some(carrier) = self.carrier(tunnel) else { return };
        match error {
            SocketError::Passing(error) if carrier.may_report_error(now) => {
                self.reports.push(LaneReport::SocketError { tunnel, error });
            }
            SocketError::Ended(error) if !std::mem::replace(&mut carrier.end_reported, true) => {
                let attempt = carrier.attempt;
                self.reports.push(LaneReport::StreamEnded { tunnel, attempt, error });
            }
            SocketError::Passing(_) | SocketError::Ended(_) => {}
        }
    }

    /// Says once a key that it must be replaced.
    pub(crate) fn key_worn(&mut self, tunnel: TunnelId) {
        let Some(carrier) = self.carrier(tunnel) else { return };
        if !std::mem::replace(&mut carrier.worn_reported, true) {
            let attempt = carrier.attempt;
            self.reports.push(LaneReport::KeyWorn { tunnel, attempt });
        }
    }
}
