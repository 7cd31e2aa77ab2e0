//! What sockets, the resolver and the lane report goes to the fleet, or to whoever has asked for it.

use std::os::fd::AsFd;

use mrvpn_clock::Moment;
use mrvpn_netplan::Host;
use mrvpn_router::{DropReason, LiveFlow, TunnelId};

use super::outer::{Arrival, Arrived};
use super::questions::Question;
use super::{Driver, Resolved, clock};
use crate::event::EventKind;
use crate::lane::LaneReport;
use crate::tunnel::Tunnel;

impl<H> Driver<H>
where
    H: Host + Send + 'static,
    H::Queue: AsFd,
{
    pub(super) fn resolved(&mut self, resolved: Resolved) {
        self.fleet.handle_resolved(resolved.tunnel, &resolved.host, resolved.answer, clock::now());
    }

    pub(super) fn arrive(&mut self, arrived: Arrived) {
        let Arrived { tunnel, attempt, arrival } = arrived;
        let now = clock::now();
        if !self.outers.is_alive(tunnel, attempt) {
            return;
        }
        match arrival {
            Arrival::Datagram(datagram) => {
                let taken = self.fleet.handle_datagram(tunnel, attempt, &datagram, now);
                self.note_control(tunnel, taken);
            }
            Arrival::PortRefused => self.fleet.handle_port_refused(tunnel, attempt, now),
            Arrival::Connected(stream) => {
                if self.outers.connected(tunnel, attempt, stream) {
                    self.fleet.handle_opened(tunnel, attempt, Ok(()), clock::wall(), now);
                }
            }
            Arrival::NotConnected(why) => self.fleet.handle_opened(tunnel, attempt, Err(why), clock::wall(), now),
            Arrival::StreamEnded(how) => self.fleet.handle_stream_ended(tunnel, attempt, how, now),
        }
    }

    /// What the lane reports, or that it is no more.
    pub(super) fn heard(&mut self, report: Option<LaneReport>) {
        match report {
            Some(report) => self.hear(report),
            None => self.lane_ended(),
        }
    }

    /// A fault of our own: sockets and keys are gone with the lane. What is claimed stays held, for the interface stays;
    /// another lane takes it up, and the tunnels connect anew.
    fn lane_ended(&mut self) {
        tracing::error!("a fault of mrvpn itself ended the data path: it begins anew");
        let now = clock::now();
        self.stop_lane();
        self.upkeep.lost(now);
        for (tunnel, attempt) in self.outers.with_lane() {
            self.fleet.handle_stream_ended(tunnel, attempt, std::io::ErrorKind::BrokenPipe, now);
        }
    }

    fn hear(&mut self, report: LaneReport) {
        let now = clock::now();
        match report {
            LaneReport::Control { tunnel, datagram } => {
                let taken = self.fleet.handle_control(tunnel, &datagram, now);
                self.note_control(tunnel, taken);
            }
            LaneReport::PeerExit { tunnel, attempt } => self.fleet.handle_peer_exit(tunnel, attempt, now),
            LaneReport::KeyWorn { tunnel, attempt } => self.fleet.handle_key_worn(tunnel, attempt, now),
            LaneReport::StreamEnded { tunnel, attempt, error } => {
                self.fleet.handle_stream_ended(tunnel, attempt, error, now);
            }
            LaneReport::Loop { tunnel, attempt } => {
                if self.outers.is_alive(tunnel, attempt) {
                    self.fleet.tunnel_loop(tunnel, now);
                }
            }
            LaneReport::Flows { question, flows } => {
                if let Some(question) = self.questions.take(question) {
                    self.explain(question, &flows, now);
                }
            }
            LaneReport::Dropping => self.bursts.begin(now),
            // A hint that anyone on the way can forge: a session that is up lives on until it is silent.
            LaneReport::SocketError { tunnel, error } => {
                tracing::debug!(tunnel = self.name_of(tunnel), %error, "the tunnel's socket");
            }
            LaneReport::QueueDown => self.upkeep.ring(now),
            LaneReport::QueueGone => {
                tracing::warn!("someone has deleted the interface {}: it is made anew", self.scope.device);
                self.upkeep.lost(now);
            }
        }
    }

    /// Counts a control packet that no session took.
    fn note_control(&self, tunnel: TunnelId, taken: bool) {
        if !taken && let Some(lane) = &self.lane {
            lane.counters.count(Some(tunnel), DropReason::Control);
        }
    }

    /// Questions for which the lane was too slow are answered without it.
    pub(super) fn answer_overdue(&mut self, now: Moment) {
        while let Some(question) = self.questions.overdue(now) {
            self.explain(question, &[], now);
        }
    }

    pub(super) fn explain(&self, question: Question, flows: &[LiveFlow], now: Moment) {
        // Whoever asked may be gone.
        let _ = question.answer.send(self.fleet.explain(&question.query, flows, now));
    }

    pub(super) fn tell_bursts(&mut self, now: Moment) {
        let Some(lane) = &self.lane else { return };
        let bursts = self.bursts.look(&lane.counters, self.fleet.tunnels().map(Tunnel::id), now);
        for burst in bursts {
            let tunnel = burst.tunnel.and_then(|id| self.name_of(id));
            let reason = burst.reason.name().to_owned();
            self.events.tell(EventKind::DropBurst { tunnel, reason, count: burst.count });
        }
    }

    fn name_of(&self, id: TunnelId) -> Option<String> {
        self.fleet.tunnels().find(|tunnel| tunnel.id() == id).map(|tunnel| tunnel.config().name.clone())
    }
}
