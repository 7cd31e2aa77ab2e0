//! Reports on their way to the control side. Control datagrams are bounded a tunnel, so that a flood at one tunnel's
//! port costs the others nothing; all other reports are rare by their nature. It decides nothing about them.

use std::collections::VecDeque;

use mrvpn_router::TunnelId;

use super::LaneReport;
use super::limits::CONTROL_QUEUED;

/// Reports in the order in which they happened.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    queue: VecDeque<LaneReport>,
    /// Control datagrams in the queue, by tunnel.
    control: Vec<usize>,
}

impl Reports {
    /// Queues a copy of a control datagram; `false` when its tunnel has no more room.
    pub(crate) fn control(&mut self, tunnel: TunnelId, datagram: &[u8]) -> bool {
        let queued = self.queued(tunnel);
        let room = *queued < CONTROL_QUEUED;
        if room {
            *queued += 1;
            self.queue.push_back(LaneReport::Control { tunnel, datagram: datagram.to_vec() });
        }
        room
    }

    /// Queues any other report, unless it is there already.
    pub(crate) fn push(&mut self, report: LaneReport) {
        if !self.queue.contains(&report) {
            self.queue.push_back(report);
        }
    }

    /// The next report.
    pub(crate) fn poll(&mut self) -> Option<LaneReport> {
        let report = self.queue.pop_front()?;
        if let LaneReport::Control { tunnel, .. } = &report {
            *self.queued(*tunnel) -= 1;
        }
        Some(report)
    }

    fn queued(&mut self, tunnel: TunnelId) -> &mut usize {
        if self.control.len() <= tunnel.index() {
            self.control.resize(tunnel.index() + 1, 0);
        }
        &mut self.control[tunnel.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::Attempt;

    const UK: TunnelId = TunnelId::new(0);
    const FR: TunnelId = TunnelId::new(1);
    const PEER_EXIT: LaneReport = LaneReport::PeerExit { tunnel: UK, attempt: Attempt::new(1) };

    #[test]
    fn a_flood_at_one_tunnel_leaves_room_for_another() {
        let mut reports = Reports::default();
        for _ in 0..CONTROL_QUEUED {
            assert!(reports.control(UK, &[1]));
        }
        assert!(!reports.control(UK, &[1]));
        assert!(reports.control(FR, &[2]));
        reports.poll();
        assert!(reports.control(UK, &[3]), "room comes back");
    }

    #[test]
    fn the_same_report_is_queued_once() {
        let mut reports = Reports::default();
        reports.push(PEER_EXIT);
        reports.push(PEER_EXIT);
        assert_eq!(reports.poll(), Some(PEER_EXIT));
        assert_eq!(reports.poll(), None);
    }
}
