//! From a name to a running session: the current remote is resolved, its addresses are raced, and the first whose server
//! answers goes on. What follows when none does is `end.rs`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::Remote;
use mrvpn_proto::{EndReason, Event, Session, SessionConfig};
use rand_core::RngCore as _;

use super::race::{Candidate, Race};
use super::{Ask, OpenFailure, Phase, Running, Tunnel};
use crate::attempt::Attempt;
use crate::error::TunnelError;

/// 10 s: a server that has not answered by then is reported (contract.md section 1), and given up unless the profile has
/// a `connect-timeout` of its own.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What became of one address.
enum Fallen {
    /// Its socket could not be opened.
    NotOpened(OpenFailure),
    /// The server took the stream and ended it.
    StreamEnded(io::ErrorKind),
    /// No answer within its time.
    Silent,
    /// Its session gave up.
    Ended(EndReason),
}

impl Tunnel {
    /// Begins with the current remote.
    pub(super) fn attempt(&mut self, now: Moment) {
        if let Err(why) = &self.connector {
            return self.fail(TunnelError::bad_certificates(why, now), None, false, now);
        }
        let Some(remotes) = self.remotes.as_ref() else {
            return self.fail(TunnelError::no_remote(now), None, false, now);
        };
        if remotes.literal().is_none() {
            self.phase = Phase::Resolving;
            self.asks.push_back(Ask::Resolve { host: remotes.current().host.clone() });
            self.note_state(now);
        } else {
            self.race("is not of the family that `proto` asks for", now);
        }
    }

    pub(super) fn resolved(&mut self, answer: Result<Vec<IpAddr>, String>, now: Moment) {
        let Some(remotes) = self.remotes.as_mut() else { return };
        let (found, why) = match answer {
            Ok(addresses) => (addresses, "has no address that fits".to_owned()),
            Err(why) => (Vec::new(), why),
        };
        remotes.learn(found);
        self.race(&why, now);
    }

    /// Starts the race for the current remote; `why` says why it has no address, should it have none.
    fn race(&mut self, why: &str, now: Moment) {
        let Some(remotes) = self.remotes.as_ref() else { return };
        let (entry, addresses) = (remotes.current().clone(), remotes.untried());
        if addresses.is_empty() {
            return self.give_up_remote(TunnelError::unknown_host(&entry.host, why, now), now, now);
        }
        let limit = entry.connect_timeout.or(self.config.profile.connect_timeout).unwrap_or(ANSWER_LIMIT);
        self.phase = Phase::Racing(Box::new(Race::new(entry, addresses, limit, now)));
        self.launch(now);
        self.note_state(now);
    }

    /// Dials the next address, if it is time for one.
    pub(super) fn launch(&mut self, now: Moment) {
        let Phase::Racing(race) = &mut self.phase else { return };
        let attempt = self.last_attempt.next();
        let Some(remote) = race.launch(attempt, now) else { return };
        let transport = race.entry.transport;
        self.last_attempt = attempt;
        self.last_remote = Some((remote, transport));
        self.asks.push_back(Ask::Open { attempt, remote, transport });
    }

    pub(super) fn opened(&mut self, attempt: Attempt, outcome: Result<(), OpenFailure>, wall: WallTime, now: Moment) {
        let Phase::Racing(race) = &mut self.phase else { return };
        let Some(candidate) = race.candidate(attempt) else { return };
        let remote = candidate.remote;
        if let Err(failure) = outcome {
            return self.fall(attempt, Fallen::NotOpened(failure), now);
        }
        let entry = race.entry.clone();
        match self.new_session(&entry, remote, wall, now) {
            Ok(session) => {
                if let Phase::Racing(race) = &mut self.phase
                    && let Some(candidate) = race.candidate(attempt)
                {
                    candidate.session = Some(session);
                }
                self.drain_candidate(attempt, now);
            }
            Err(why) => {
                self.asks.push_back(Ask::Close);
                self.fail(TunnelError::bad_certificates(&why, now), None, false, now);
            }
        }
    }

    fn new_session(
        &mut self,
        entry: &Remote,
        remote: SocketAddr,
        wall: WallTime,
        now: Moment,
    ) -> Result<Session, String> {
        let connector = self.connector.clone()?;
        let mut config =
            SessionConfig::from_profile(&self.config.profile, self.config.credentials.clone(), remote.is_ipv6());
        config.transport = entry.transport;
        config.token = self.login.token();
        if let Some(wrap) = &entry.wrap {
            config.wrap = wrap.clone();
        }
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        Session::new(config, connector, seed, wall, now).map_err(|error| error.to_string())
    }

    /// A packet for one of the racing sessions. The first that is taken decides the race.
    pub(super) fn race_datagram(&mut self, attempt: Attempt, datagram: &[u8], now: Moment) -> bool {
        let Phase::Racing(race) = &mut self.phase else { return false };
        let session = race.candidate(attempt).and_then(|candidate| candidate.session.as_mut());
        let Some(session) = session else { return false };
        let taken = session.handle_control(datagram, now).is_ok();
        if session.answered() {
            self.win(attempt, now);
        } else {
            self.drain_candidate(attempt, now);
        }
        taken
    }

    /// A server has answered. The others are dropped before this session says anything more.
    fn win(&mut self, attempt: Attempt, now: Moment) {
        let Phase::Racing(race) = &mut self.phase else { return };
        let Some(Candidate { remote, started: Some(started), session: Some(session), .. }) = race.remove(attempt, now)
        else {
            return;
        };
        let others = race.attempts();
        self.last_remote = Some((remote, race.entry.transport));
        self.asks.extend(others.into_iter().map(|attempt| Ask::Drop { attempt }));
        if let Some(remotes) = self.remotes.as_mut() {
            remotes.answered(remote.ip());
        }
        let running = Running { attempt, session, remote, started, up_since: None, look_at: None, closing: false };
        self.phase = Phase::Running(Box::new(running));
        self.drain(now);
    }

    /// Takes out what a racing session has to say: resets, or that it gives up.
    fn drain_candidate(&mut self, attempt: Attempt, now: Moment) {
        let Phase::Racing(race) = &mut self.phase else { return };
        let session = race.candidate(attempt).and_then(|candidate| candidate.session.as_mut());
        let Some(session) = session else { return };
        while let Some(datagram) = session.poll_transmit() {
            self.asks.push_back(Ask::Transmit { attempt, datagram });
        }
        let end = std::iter::from_fn(|| session.poll_event()).find_map(|event| match event {
            Event::Ended(reason) => Some(reason),
            // Nothing else can happen before a server has answered.
            Event::Reached
            | Event::Keys(_)
            | Event::Retire(_)
            | Event::Token(_)
            | Event::Established(_)
            | Event::Info(_)
            | Event::ExitNotify => None,
        });
        if let Some(reason) = end {
            self.fall(attempt, Fallen::Ended(reason), now);
        }
    }

    pub(super) fn race_timeout(&mut self, now: Moment) {
        while let Phase::Racing(race) = &mut self.phase {
            let Some(attempt) = race.overdue(now) else { break };
            self.fall(attempt, Fallen::Silent, now);
        }
        let Phase::Racing(race) = &mut self.phase else { return };
        for session in race.candidates().iter_mut().filter_map(|candidate| candidate.session.as_mut()) {
            session.handle_timeout(now);
        }
        for attempt in race.attempts() {
            self.drain_candidate(attempt, now);
        }
        self.launch(now);
        self.show_silence(now);
        self.note_state(now);
    }

    pub(super) fn stream_ended(&mut self, attempt: Attempt, how: io::ErrorKind, now: Moment) {
        match &self.phase {
            Phase::Racing(_) => self.fall(attempt, Fallen::StreamEnded(how), now),
            Phase::Running(running) if running.attempt == attempt => self.lose_stream(how, now),
            Phase::Running(_)
            | Phase::Idle
            | Phase::Waiting { .. }
            | Phase::Resolving
            | Phase::Failed { .. }
            | Phase::Stopped => {}
        }
    }

    /// One address falls out of the race; the last one ends it.
    fn fall(&mut self, attempt: Attempt, how: Fallen, now: Moment) {
        let Phase::Racing(race) = &mut self.phase else { return };
        let limit = race.limit();
        let Some(candidate) = race.remove(attempt, now) else { return };
        self.asks.push_back(Ask::Drop { attempt });
        if let Some(remotes) = self.remotes.as_mut() {
            remotes.fail(candidate.remote.ip());
        }
        let remote = candidate.remote.to_string();
        let error = match how {
            Fallen::NotOpened(failure) => TunnelError::not_opened(&remote, &failure, now),
            Fallen::StreamEnded(how) => TunnelError::connection_lost(&remote, how, now),
            Fallen::Silent => TunnelError::no_answer(&remote, candidate.refused, limit, now),
            Fallen::Ended(reason) => TunnelError::from_end(&reason, now),
        };
        if race.is_lost() {
            let begun = race.begun;
            return self.give_up_remote(error, begun, now);
        }
        race.error = Some(error);
        self.launch(now);
    }

    /// When it is to be said that nobody answers, though it goes on.
    pub(super) fn silence_due(&self) -> Option<Moment> {
        let Phase::Racing(race) = &self.phase else { return None };
        (!race.silence_shown && race.has_begun()).then(|| race.begun + ANSWER_LIMIT)
    }

    /// Says that nobody answers, once a race.
    fn show_silence(&mut self, now: Moment) {
        if self.silence_due().is_none_or(|due| due > now) {
            return;
        }
        let Phase::Racing(race) = &mut self.phase else { return };
        race.silence_shown = true;
        let silent = race
            .first()
            .map(|(remote, refused)| TunnelError::no_answer(&remote.to_string(), refused, ANSWER_LIMIT, now));
        self.error = race.error.clone().or(silent);
        self.settled = true;
        self.changes.push_back(super::Change::Lost { login_open: true });
    }
}
