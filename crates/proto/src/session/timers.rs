//! The deadlines of a session, each with its reason.

use mrvpn_clock::Moment;

use super::{EndReason, Phase, Session, Timer};
use crate::limits;

impl Session {
    /// When to call [`Self::handle_timeout`], and why; `None` once the session has ended.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Moment, Timer)> {
        let phase = match &self.phase {
            Phase::Reset | Phase::Tls | Phase::KeyExchange(_) => Some((self.deadline, Timer::Handshake)),
            Phase::Push(push) => {
                Some(earlier((self.deadline, Timer::Handshake), (push.next_request, Timer::PushRequest)))
            }
            Phase::Up(up) => up.ping_restart.map(|wait| (self.last_heard + wait, Timer::PingRestart)),
            Phase::Closing { until } => Some((*until, Timer::Exit)),
            Phase::Ended => return None,
        };
        let resend = self.send.due().map(|due| (due, Timer::Retransmit));
        match (phase, resend) {
            (Some(phase), Some(resend)) => Some(earlier(phase, resend)),
            (one, other) => one.or(other),
        }
    }

    /// Does all that is due at `now`. To call it early is harmless.
    pub fn handle_timeout(&mut self, now: Moment) {
        match &mut self.phase {
            Phase::Reset | Phase::Tls | Phase::KeyExchange(_) => self.check_deadline(now),
            Phase::Push(push) if now < self.deadline => {
                if now >= push.next_request {
                    push.next_request = now + limits::PUSH_REQUEST_INTERVAL;
                    self.request_push(now);
                }
            }
            Phase::Push(_) => self.check_deadline(now),
            Phase::Up(up) => {
                if up.ping_restart.is_some_and(|wait| now >= self.last_heard + wait) {
                    self.end(EndReason::PingRestart, now);
                }
            }
            Phase::Closing { until } => {
                if now >= *until {
                    self.end(EndReason::Closed, now);
                }
            }
            Phase::Ended => {}
        }
        if !matches!(self.phase, Phase::Ended) {
            self.flush(now);
        }
    }

    fn check_deadline(&mut self, now: Moment) {
        if now < self.deadline {
            return;
        }
        let reason = if self.answered { EndReason::HandshakeTimeout(self.stage()) } else { EndReason::NoAnswer };
        self.end(reason, now);
    }

    /// Asks for the push: needed by servers that do not push unasked, and if their push was lost on their side.
    fn request_push(&mut self, now: Moment) {
        match self.tls.write_plaintext(b"PUSH_REQUEST\0") {
            Ok(()) => self.tls.write_tls(&mut self.tls_out),
            Err(error) => self.end(EndReason::Tls(error), now),
        }
    }
}

fn earlier(one: (Moment, Timer), other: (Moment, Timer)) -> (Moment, Timer) {
    if other.0 < one.0 { other } else { one }
}
