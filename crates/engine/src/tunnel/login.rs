//! With what a tunnel logs in: the password, or a token that a server gave for it; and what follows a refusal
//! (threats-and-faults.md, F-29). Which tunnels share an account is the fleet's matter.

use std::time::Duration;

use mrvpn_profile::{AuthRetry, AuthToken};
use mrvpn_proto::EndReason;
use mrvpn_proto::control_text::AuthFailure;

/// `auth-retry nointeract`: pauses before the second and the third login.
const PAUSES: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(60)];

/// The login of one tunnel.
#[derive(Debug)]
pub(super) struct Login {
    retry: AuthRetry,
    token: Option<AuthToken>,
    refused: usize,
    /// Whether the password was tried at once instead of a token since a session lasted.
    hurried: bool,
}

impl Login {
    pub(super) const fn new(retry: AuthRetry) -> Self {
        Self { retry, token: None, refused: 0, hurried: false }
    }

    /// What to send instead of the password.
    pub(super) fn token(&self) -> Option<AuthToken> {
        self.token.clone()
    }

    /// A server gave a token.
    pub(super) fn take_token(&mut self, token: AuthToken) {
        self.token = Some(token);
    }

    /// A server took the login.
    pub(super) const fn accepted(&mut self) {
        self.refused = 0;
    }

    /// A session ended: forgets a token that is no good any more. Returns whether the password is to be tried instead of it.
    pub(super) fn ended(&mut self, reason: &EndReason) -> bool {
        is_about_a_token(reason) && self.token.take().is_some()
    }

    /// Whether the password may be tried at once: that happens once until a session lasts again. A server that gives a token
    /// with each login and refuses it at once must not have us log in for ever without a pause.
    pub(super) const fn may_hurry(&mut self) -> bool {
        !std::mem::replace(&mut self.hurried, true)
    }

    /// A session lasted.
    pub(super) const fn lasted(&mut self) {
        self.hurried = false;
    }

    /// The password was refused: the pause before the next try, if there is to be one.
    pub(super) fn next_try(&mut self) -> Option<Duration> {
        let again = match self.retry {
            AuthRetry::NoInteract => PAUSES.get(self.refused).copied(),
            // There is nobody to be asked while the engine runs.
            AuthRetry::None | AuthRetry::Interact => None,
        };
        self.refused = self.refused.saturating_add(1);
        again
    }
}

/// Whether an end is a refusal of user and password.
pub(super) const fn is_refusal(reason: &EndReason) -> bool {
    matches!(reason, EndReason::AuthFailed { kind: AuthFailure::Refused, .. })
}

const fn is_about_a_token(reason: &EndReason) -> bool {
    matches!(reason, EndReason::TokenRefused { .. } | EndReason::AuthFailed { kind: AuthFailure::SessionExpired, .. })
}
