//! The deadlines of a client, each with its reason.

use mrvpn_clock::Moment;

use super::client::{Client, Phase};
use super::event::{Gone, ServerTimer};
use super::negotiation::Step;
use super::shared::Shared;

impl Client {
    /// When something is due next; `None` once it is gone.
    pub(super) fn due(&self, shared: &Shared) -> Option<(Moment, ServerTimer)> {
        let resend = self.current.channel.due().map(|due| (due, ServerTimer::Retransmit));
        let phase = match &self.phase {
            Phase::Handshake { .. } | Phase::Push(_) | Phase::Pushed(..) => {
                vec![(self.current.deadline, ServerTimer::Handshake)]
            }
            Phase::Up(..) => self.up_timeouts(shared),
            Phase::Closing { until, .. } => vec![(*until, ServerTimer::Farewell)],
            Phase::Gone(_) => return None,
        };
        phase.into_iter().chain(resend).min()
    }

    fn up_timeouts(&self, shared: &Shared) -> Vec<(Moment, ServerTimer)> {
        let Phase::Up(_, renewals) = &self.phase else { return Vec::new() };
        let ping = shared.config.ping_restart.map(|wait| (self.last_heard + wait, ServerTimer::PingRestart));
        let retire = renewals.older.map(|(_, end)| (end, ServerTimer::Retire));
        let renewal = match self.current.step {
            Step::Done => renewals.due.map(|due| (due, ServerTimer::Renewal)),
            Step::Reset | Step::Tls | Step::Login | Step::Admitted => {
                Some((self.current.deadline, ServerTimer::Handshake))
            }
        };
        ping.into_iter().chain(retire).chain(renewal).collect()
    }

    /// Does all that is due at `now`.
    pub(super) fn take_timeout(&mut self, shared: &mut Shared, now: Moment) {
        match &self.phase {
            Phase::Handshake { .. } | Phase::Push(_) | Phase::Pushed(..) => {
                if now >= self.current.deadline {
                    self.vanish(Gone::Handshake);
                }
            }
            Phase::Up(..) => self.check_up(shared, now),
            Phase::Closing { until, .. } if now >= *until => self.finish_closing(),
            Phase::Closing { .. } | Phase::Gone(_) => {}
        }
    }

    fn check_up(&mut self, shared: &mut Shared, now: Moment) {
        if shared.config.ping_restart.is_some_and(|wait| now >= self.last_heard + wait) {
            return self.vanish(Gone::PingRestart);
        }
        self.retire(shared, now);
        let may_renew = self.may_renew();
        let Phase::Up(_, renewals) = &self.phase else { return };
        let due = renewals.due.is_some_and(|due| due <= now);
        if may_renew && due {
            self.begin_renewal(shared, now);
        } else if !may_renew && now >= self.current.deadline {
            self.vanish(Gone::Handshake);
        }
    }
}
