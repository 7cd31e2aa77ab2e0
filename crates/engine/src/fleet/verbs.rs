//! What the user does to one tunnel: start, stop, restart. The others are not touched. Stopping lets go what the tunnel's
//! server claimed, and the answer says who carries it now (`carried.rs`).

use mrvpn_clock::Moment;
use mrvpn_router::TunnelId;

use super::Fleet;
use super::carried::handed_over;
use super::runner::{HOLD, Then};
use crate::driver::{Refused, TunnelVerb};
use crate::tunnel::TunnelState;

impl Fleet {
    /// Does `verb` to the tunnel `name` and says in a sentence what holds now.
    ///
    /// # Errors
    /// There is no such tunnel.
    pub fn tunnel_verb(&mut self, name: &str, verb: TunnelVerb, now: Moment) -> Result<String, Refused> {
        let id = self.roster.find(name).ok_or_else(|| self.unknown(name))?;
        self.version = self.version.wrapping_add(1);
        let sentence = match verb {
            TunnelVerb::Start => self.start(id, now),
            TunnelVerb::Stop => self.stop(id, now),
            TunnelVerb::Restart => self.restart(id, now),
        };
        Ok(format!("{name} {sentence}"))
    }

    fn start(&mut self, id: TunnelId, now: Moment) -> String {
        let Some(runner) = self.runners.get_mut(&id) else { return "is not there".to_owned() };
        match runner.state() {
            TunnelState::Stopped | TunnelState::Failed => {
                self.launch(id, now);
                "connects".to_owned()
            }
            TunnelState::Up => "is up already".to_owned(),
            TunnelState::Connecting | TunnelState::Authenticating | TunnelState::Reconnecting => {
                self.with(id, now, |tunnel| tunnel.hurry(now));
                "is connecting already".to_owned()
            }
        }
    }

    /// Begins with a tunnel that was stopped or has failed, once its last session is over.
    fn launch(&mut self, id: TunnelId, now: Moment) {
        self.roster.start(id);
        self.accounts.forgive(id);
        self.begin_after_end(id, now);
    }

    fn stop(&mut self, id: TunnelId, now: Moment) -> String {
        if self.roster.member(id).is_some_and(|member| member.stopped) {
            return "is stopped already".to_owned();
        }
        let before = std::sync::Arc::clone(&self.policy);
        self.roster.stop(id);
        self.unremembered = true;
        if let Some(runner) = self.runners.get_mut(&id) {
            runner.then = Then::Stay;
        }
        self.roster.book.release(id);
        // First nobody is sent through it, then it goes.
        self.decide_or_note(now);
        self.with(id, now, |tunnel| tunnel.close(now));
        format!("is stopped{}", handed_over(&before, &self.policy, id, |id| self.name_of(id)))
    }

    fn restart(&mut self, id: TunnelId, now: Moment) -> String {
        self.launch(id, now);
        "disconnects and connects again".to_owned()
    }

    fn begin_after_end(&mut self, id: TunnelId, now: Moment) {
        let Some(runner) = self.runners.get_mut(&id) else { return };
        runner.then = Then::Begin;
        runner.hold_until = now + HOLD;
        self.decide_or_note(now);
        let ended = self.runners.get(&id).is_some_and(|runner| runner.tunnel.state() == TunnelState::Stopped);
        if ended {
            self.go_on(id, now);
        } else {
            self.with(id, now, |tunnel| tunnel.close(now));
        }
        self.tell_state(id);
    }

    /// The name is no tunnel's; those that it may be a slip of are named first.
    fn unknown(&self, name: &str) -> Refused {
        let mut names: Vec<&str> = self.roster.in_order().map(|(_, member)| member.config.name.as_str()).collect();
        let hint = match mrvpn_profile::nearest(name, names.iter().copied()) {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => {
                let more = names.len().saturating_sub(NAMED);
                names.truncate(NAMED);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("the tunnels are {}{more}", names.join(", "))
            }
        };
        Refused { message: format!("there is no tunnel {}", mrvpn_profile::escape(name.as_bytes())), hint }
    }
}

/// Names of tunnels that one hint lists.
const NAMED: usize = 16;
