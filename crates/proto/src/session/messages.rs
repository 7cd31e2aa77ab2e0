//! Reactions to what the server says inside TLS (openvpn-protocol.md sections 9.2, 9.3 and 9.5).

use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_profile::{AuthToken, push};

use super::negotiation::Step;
use super::{EndReason, Event, Phase, Session};
use crate::control_text::{AuthFailure, AuthRefusal, ControlText, strings};
use crate::limits;

impl Session {
    pub(super) fn take_strings(&mut self, record: &[u8], now: Moment) {
        for text in strings(record) {
            if !matches!(self.phase, Phase::Push(_) | Phase::Up(_)) {
                return;
            }
            self.take_text(ControlText::parse(text), now);
        }
    }

    fn take_text(&mut self, text: ControlText, now: Moment) {
        match text {
            ControlText::AuthFailed(refusal) => self.refuse_login(refusal, now),
            ControlText::AuthPending(wait) => self.wait_for_login(wait),
            ControlText::PushReply(part) if matches!(self.phase, Phase::Push(_)) => self.take_push_part(part, now),
            // Once the tunnel is up repeated and later ones change nothing but the token (section 8.2).
            ControlText::PushReply(part) => {
                if let Some(token) = push::auth_token(&self.config.pull, &[part]) {
                    self.take_token(token);
                }
            }
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
        let (Phase::Push(_), Step::Done { since }) = (&self.phase, &self.current.step) else { return };
        let wait = wait.unwrap_or(self.config.hand_window).min(limits::AUTH_PENDING);
        self.current.deadline = self.current.deadline.max(*since + wait);
    }

    /// From now on this is sent instead of the password. The user of an earlier one stays, where this names none.
    pub(super) fn take_token(&mut self, token: AuthToken) {
        let user = token.user.or_else(|| self.token.as_ref().and_then(|token| token.user.clone()));
        let token = AuthToken { token: token.token, user };
        self.token = Some(token.clone());
        self.events.push_back(Event::Token(token));
    }

    /// A refusal of who we are. Where a token was sent it is that which is refused, whatever the server's words: one that
    /// was restarted knows none of them (section 9.3).
    pub(super) fn refuse_login(&mut self, refusal: AuthRefusal, now: Moment) {
        let AuthRefusal { kind, reason } = refusal;
        let about_login = match kind {
            AuthFailure::Refused | AuthFailure::SessionExpired | AuthFailure::Challenge => true,
            AuthFailure::Temporary { .. } | AuthFailure::NoSharedCipher => false,
        };
        if self.token_sent && about_login {
            return self.end(EndReason::TokenRefused { reason }, now);
        }
        self.end(EndReason::AuthFailed { reason, kind }, now);
    }
}
