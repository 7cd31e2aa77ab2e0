//! How a client ends: by its own EXIT, by the owner's word, by an error, in silence (openvpn-protocol.md section 10.3).

use mrvpn_clock::Moment;

use super::client::{Client, Phase};
use super::event::{Farewell, Gone, ServerEvent};
use super::shared::Shared;
use crate::limits;

impl Client {
    /// The client says EXIT. It may say it again, and data may still come.
    pub(super) fn take_exit(&mut self, shared: &mut Shared, now: Moment) {
        self.tell(shared, ServerEvent::ExitNotify);
        self.phase = Phase::Closing { until: now + limits::SERVER_FAREWELL, why: Gone::Exit, lingers: true };
    }

    /// The owner refuses it.
    pub(super) fn refuse(&mut self, text: &str, now: Moment) {
        self.say(text.as_bytes());
        self.leave(Gone::Refused, now);
    }

    /// The owner sends it away.
    pub(super) fn disconnect(&mut self, farewell: &Farewell, now: Moment) {
        let with = |word: &str, rest: &str| if rest.is_empty() { String::from(word) } else { format!("{word},{rest}") };
        let text = match farewell {
            Farewell::Restart(rest) => with("RESTART", rest),
            Farewell::Halt(rest) => with("HALT", rest),
            Farewell::Exit => String::from("EXIT"),
            Farewell::Silent => return self.vanish(Gone::Disconnected),
        };
        self.say(text.as_bytes());
        self.leave(Gone::Disconnected, now);
    }

    /// Ends it once all that was said is acknowledged, 5 s from now at the latest.
    pub(super) fn leave(&mut self, why: Gone, now: Moment) {
        if matches!(self.phase, Phase::Closing { .. } | Phase::Gone(_)) {
            return;
        }
        self.current.channel.collect();
        self.phase = Phase::Closing { until: now + limits::SERVER_FAREWELL, why, lingers: false };
        if self.current.channel.is_quiet() {
            self.finish_closing();
        }
    }

    /// Ends it now.
    pub(super) fn vanish(&mut self, why: Gone) {
        if self.gone().is_none() {
            self.phase = Phase::Gone(why);
        }
    }

    pub(super) fn finish_closing(&mut self) {
        if let Phase::Closing { why, .. } = &self.phase {
            self.phase = Phase::Gone(why.clone());
        }
    }
}
