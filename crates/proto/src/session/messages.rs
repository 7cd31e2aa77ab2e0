//! Reactions to what the server says inside TLS (openvpn-protocol.md sections 9.2 and 9.3).

use std::time::Duration;

use mrvpn_clock::Moment;

use super::{EndReason, Event, Phase, Session};
use crate::control_text::{ControlText, strings};
use crate::limits;

impl Session {
    pub(super) fn take_strings(&mut self, record: &[u8], now: Moment) {
        for text in strings(record) {
            self.take_text(ControlText::parse(text), now);
            if matches!(self.phase, Phase::Ended) {
                return;
            }
        }
    }

    fn take_text(&mut self, text: ControlText, now: Moment) {
        match text {
            ControlText::AuthFailed(refusal) => {
                self.end(EndReason::AuthFailed { reason: refusal.reason, kind: refusal.kind }, now);
            }
            ControlText::AuthPending(wait) => self.wait_for_login(wait),
            // Repeated and later ones change nothing once the tunnel is up (section 8.2).
            ControlText::PushReply(part) => self.take_push_part(part, now),
            ControlText::Restart(farewell) => self.end(EndReason::ServerRestart { farewell }, now),
            ControlText::Halt(farewell) => self.end(EndReason::ServerHalt { farewell }, now),
            ControlText::Exit => self.end(EndReason::ServerExit, now),
            ControlText::Info(text) => self.events.push_back(Event::Info(text)),
            ControlText::Unknown(_) => {}
        }
    }

    /// A second factor is waited for: the handshake may take as long as the server says, 10 min at most, and never less
    /// than it would.
    fn wait_for_login(&mut self, wait: Option<Duration>) {
        let Phase::Push(push) = &self.phase else { return };
        let wait = wait.unwrap_or(self.config.hand_window).min(limits::AUTH_PENDING);
        self.deadline = self.deadline.max(push.since + wait);
    }
}
