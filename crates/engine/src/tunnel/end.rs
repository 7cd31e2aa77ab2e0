//! What follows the end of a session, or of a race that nobody won: who is tried next, when, and whether at all.

use std::io;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_proto::EndReason;
use mrvpn_proto::control_text::{Advance, AuthFailure};

use super::login::is_refusal;
use super::{Ask, Change, Phase, Tunnel};
use crate::error::TunnelError;

/// 30 s: a session that lasted this long makes the next retry an immediate one.
const LASTED: Duration = Duration::from_secs(30);
/// 60 s: how long a refused certificate waits; it may be mended at the server, and hammering helps nobody.
const CERTIFICATE_PAUSE: Duration = Duration::from_secs(60);
/// 500 ms: from one remote of the list to the next at least, so that a list of dead ones is no hammer
/// (threats-and-faults.md, F-14).
const NEXT_REMOTE: Duration = Duration::from_millis(500);
/// 10 min: the longest pause that a server may ask for.
const LONGEST_WISH: Duration = Duration::from_secs(600);

impl Tunnel {
    /// No address of the current remote led to a server: the next remote, at once within one round of the list.
    pub(super) fn give_up_remote(&mut self, error: TunnelError, begun: Moment, now: Moment) {
        let all = self.remotes.as_mut().is_none_or(super::Remotes::next);
        let pause = if all { self.next_pause() } else { (begun + NEXT_REMOTE).since(now) };
        self.wait(error, pause, true, now);
    }

    /// The outer stream is over.
    pub(super) fn lose_stream(&mut self, how: io::ErrorKind, now: Moment) {
        let Phase::Running(running) = &self.phase else { return };
        let (remote, closing, was_up) = (running.remote, running.closing, running.up_since);
        self.asks.push_back(Ask::Close);
        if closing {
            return self.stop(now);
        }
        self.note_duration(was_up, now);
        if was_up.is_none() {
            self.leave_address();
        }
        let pause = self.next_pause();
        self.wait(TunnelError::connection_lost(&remote.to_string(), how, now), pause, true, now);
    }

    /// The session is over.
    pub(super) fn ended(&mut self, reason: &EndReason, now: Moment) {
        let Phase::Running(running) = &self.phase else { return };
        let (closing, was_up) = (running.closing, running.up_since);
        self.asks.push_back(Ask::Close);
        if closing || matches!(reason, EndReason::Closed) {
            return self.stop(now);
        }
        self.note_duration(was_up, now);
        let error = TunnelError::from_end(reason, now);
        if self.login.ended(reason) {
            let pause = if self.login.may_hurry() { Duration::ZERO } else { self.next_pause() };
            return self.wait(error, pause, true, now);
        }
        if is_refusal(reason)
            && let Some(pause) = self.login.next_try()
        {
            return self.wait(error, pause, false, now);
        }
        if reason.is_final() {
            let auth = matches!(reason, EndReason::AuthFailed { .. });
            let retry_at = (error.stage == "certificate").then(|| now + CERTIFICATE_PAUSE);
            return self.fail(error, retry_at, auth, now);
        }
        let least = self.obey_wish(reason, was_up.is_some());
        let pause = self.next_pause().max(least);
        self.wait(error, pause, true, now);
    }

    /// Moves on in the list of remotes as the server wishes, or by one address where the session never came up. Returns
    /// the pause that the server asked for.
    fn obey_wish(&mut self, reason: &EndReason, was_up: bool) -> Duration {
        let (advance, pause) =
            if let EndReason::AuthFailed { kind: AuthFailure::Temporary { backoff, advance }, .. } = reason {
                (advance.unwrap_or(Advance::Address), backoff.unwrap_or_default())
            } else if matches!(reason, EndReason::ServerRestart { farewell } if farewell.next_server) {
                (Advance::Remote, Duration::ZERO)
            } else {
                (if was_up { Advance::No } else { Advance::Address }, Duration::ZERO)
            };
        match advance {
            Advance::No => {}
            Advance::Address => self.leave_address(),
            Advance::Remote => self.leave_remote(),
        }
        pause.min(LONGEST_WISH)
    }

    /// The address in use is not dialled again before its remote's others, or the next remote.
    fn leave_address(&mut self) {
        let (Some(remotes), Some((remote, _))) = (self.remotes.as_mut(), self.last_remote) else { return };
        remotes.fail(remote.ip());
        if remotes.untried().is_empty() {
            self.leave_remote();
        }
    }

    fn leave_remote(&mut self) {
        if let Some(remotes) = self.remotes.as_mut() {
            remotes.next();
        }
    }

    /// A session that lasted makes the next retry an immediate one.
    fn note_duration(&mut self, up_since: Option<Moment>, now: Moment) {
        if up_since.is_some_and(|since| now.since(since) >= LASTED) {
            self.backoff.reset();
            self.login.lasted();
        }
    }

    fn next_pause(&mut self) -> Duration {
        self.backoff.next(rand_core::RngCore::next_u32(&mut self.rng))
    }

    /// Tries again after a pause. `login_open`: whether another tunnel of the account may log in meanwhile.
    pub(super) fn wait(&mut self, mut error: TunnelError, pause: Duration, login_open: bool, now: Moment) {
        let until = now + pause;
        error.retry_at = Some(until);
        tracing::info!(tunnel = %self.config.name, code = error.code, "{}", error.message);
        self.settled = true;
        self.error = Some(error);
        self.phase = Phase::Waiting { until };
        self.changes.push_back(Change::Lost { login_open });
        self.note_state(now);
    }

    /// Does not try again by itself, other than at `retry_at`.
    pub(super) fn fail(&mut self, mut error: TunnelError, retry_at: Option<Moment>, auth: bool, now: Moment) {
        error.retry_at = retry_at;
        tracing::warn!(tunnel = %self.config.name, code = error.code, "{}", error.message);
        self.settled = true;
        self.error = Some(error);
        self.phase = Phase::Failed { retry_at };
        self.changes.push_back(Change::Failed { auth });
        self.note_state(now);
    }

    pub(super) fn stop(&mut self, now: Moment) {
        self.phase = Phase::Stopped;
        self.changes.push_back(Change::Closed);
        self.note_state(now);
    }
}
