//! The deadlines of a session, each with its reason.

use mrvpn_clock::Moment;

use super::{EndReason, Phase, Session, Timer};
use crate::limits;

impl Session {
    /// When to call [`Self::handle_timeout`], and why; `None` once the session has ended.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Moment, Timer)> {
        let handshake = (self.current.deadline, Timer::Handshake);
        let phase = match &self.phase {
            Phase::Connecting => Some(handshake),
            Phase::Push(push) => Some(earlier(handshake, (push.next_request, Timer::PushRequest))),
            Phase::Up(up) => up.ping_restart.map(|wait| (self.last_heard + wait, Timer::PingRestart)),
            Phase::Closing { until } => Some((*until, Timer::Exit)),
            Phase::Ended => return None,
        };
        let channels = self.previous.iter().chain([&self.current]);
        let resend = channels.filter_map(|negotiation| negotiation.channel.due()).map(|due| (due, Timer::Retransmit));
        phase.into_iter().chain(resend).chain(self.renewal_timeouts()).reduce(earlier)
    }

    /// Does all that is due at `now`. To call it early is harmless.
    pub fn handle_timeout(&mut self, now: Moment) {
        match &mut self.phase {
            Phase::Connecting => self.check_deadline(now),
            Phase::Push(push) if now < self.current.deadline => {
                if now >= push.next_request {
                    push.next_request = now + limits::PUSH_REQUEST_INTERVAL;
                    self.request_push(now);
                }
            }
            Phase::Push(_) => self.check_deadline(now),
            Phase::Up(up) => {
                if up.ping_restart.is_some_and(|wait| now >= self.last_heard + wait) {
                    self.end(EndReason::PingRestart, now);
                } else {
                    self.check_renewal(now);
                }
            }
            Phase::Closing { until } => {
                if now >= *until {
                    self.end(EndReason::Closed, now);
                }
            }
            Phase::Ended => {}
        }
        if !self.has_ended() {
            self.flush(now);
        }
    }

    fn check_deadline(&mut self, now: Moment) {
        if now < self.current.deadline {
            return;
        }
        let reason = if self.answered { EndReason::HandshakeTimeout(self.stage()) } else { EndReason::NoAnswer };
        self.end(reason, now);
    }
}

fn earlier(one: (Moment, Timer), other: (Moment, Timer)) -> (Moment, Timer) {
    if other.0 < one.0 { other } else { one }
}
