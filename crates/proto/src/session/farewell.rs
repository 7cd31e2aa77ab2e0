//! How a session ends so that the server counts it no longer (openvpn-protocol.md section 10.3): by our own decision or
//! the user's it is told, by EXIT inside TLS or by a message inside the data channel. Why it ended is `end.rs`.

use mrvpn_clock::Moment;
use mrvpn_profile::Transport;

use super::{EndReason, Event, Phase, Session};
use crate::limits;

const EXIT: &[u8] = b"EXIT\0";

impl Session {
    /// Leaves: tells the server where it can be told, by EXIT (whose acknowledgement is waited for, 1 s at most) or by
    /// [`Event::ExitNotify`]. Over TCP the end of the stream tells it. [`Event::Ended`] follows with
    /// [`EndReason::Closed`].
    pub fn close(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Closing { .. }) || self.has_ended() {
            return;
        }
        if self.says_exit() && self.current.channel.write(EXIT).is_ok() {
            self.phase = Phase::Closing { until: now + limits::EXIT_WAIT };
            return self.flush(now);
        }
        if self.leaves_by_data() {
            self.events.push_back(Event::ExitNotify);
        }
        self.end(EndReason::Closed, now);
    }

    /// Whether the server hears EXIT: TLS is up, and it is not known to be one that does not understand it. One from
    /// before 2.6 that is left before its push only logs it.
    fn says_exit(&self) -> bool {
        let understood = match &self.phase {
            Phase::Up(up) => up.cc_exit && !up.renewals.server_has_begun(),
            Phase::Connecting | Phase::Push(_) => true,
            Phase::Closing { .. } | Phase::Ended => false,
        };
        understood && self.current.has_tls() && self.config.transport == Transport::Udp
    }

    /// Whether the message inside the data channel is to be sent: where the profile or the server wants it, or EXIT
    /// cannot be said because a new key is being negotiated.
    fn leaves_by_data(&self) -> bool {
        match &self.phase {
            Phase::Up(up) => up.exit_notify || (up.cc_exit && self.config.transport == Transport::Udp),
            Phase::Connecting | Phase::Push(_) | Phase::Closing { .. } | Phase::Ended => false,
        }
    }

    /// Ends the session, once. What TLS still wants to say (an alert) and acknowledgements go out with the last flush.
    pub(super) fn end(&mut self, reason: EndReason, now: Moment) {
        let reason = match self.phase {
            Phase::Ended => return,
            // Whatever comes now, leaving was the user's wish.
            Phase::Closing { .. } => EndReason::Closed,
            Phase::Connecting | Phase::Push(_) | Phase::Up(_) => reason,
        };
        if reason.is_our_decision() && self.says_exit() {
            // Where TLS cannot say it any more, nothing is lost: the session is over in any case.
            let _ = self.current.channel.write(EXIT);
        }
        // Before the server's reset nobody is there to hear TLS.
        if self.peer.is_some() {
            self.current.channel.collect();
            self.flush(now);
        }
        self.phase = Phase::Ended;
        self.events.push_back(Event::Ended(reason));
    }

    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// EXIT, and all before it, was acknowledged.
    pub(super) fn finish_closing(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Closing { .. }) && self.current.channel.is_quiet() {
            self.end(EndReason::Closed, now);
        }
    }
}
