//! The race for one remote: its addresses are dialled one after the other, a quarter of a second apart, without waiting for
//! the ones before (RFC 8305). The first whose server answers wins, and the others end before anything but their reset
//! has left: no server ever sees a second login. It is a value and asks for nothing itself; `tunnel.rs` does.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_profile::Remote;
use mrvpn_proto::Session;

use crate::attempt::Attempt;
use crate::error::TunnelError;

/// 250 ms: how long one address has before the next is dialled too (RFC 8305, section 8, "Connection Attempt Delay").
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// The addresses of one remote on their way.
pub(super) struct Race {
    /// The remote.
    pub(super) entry: Remote,
    /// When it began.
    pub(super) begun: Moment,
    /// How long each address has to answer.
    limit: Duration,
    waiting: VecDeque<SocketAddr>,
    next_at: Moment,
    candidates: Vec<Candidate>,
    /// Why the last one fell out.
    pub(super) error: Option<TunnelError>,
    /// Whether it was said that nobody answers.
    pub(super) silence_shown: bool,
}

/// One address being tried.
pub(super) struct Candidate {
    /// Its socket.
    pub(super) attempt: Attempt,
    /// Where to.
    pub(super) remote: SocketAddr,
    /// Since when; `None` while it waits for its turn.
    pub(super) started: Option<Moment>,
    /// Its session, once the socket is open.
    pub(super) session: Option<Session>,
    /// The network said that nothing listens there: anyone can say so.
    pub(super) refused: bool,
}

impl Race {
    /// A race for `addresses`, none of which is dialled yet. Each has `limit` to answer.
    pub(super) fn new(entry: Remote, addresses: Vec<SocketAddr>, limit: Duration, now: Moment) -> Self {
        Self {
            entry,
            begun: now,
            limit,
            waiting: addresses.into(),
            next_at: now,
            candidates: Vec::new(),
            error: None,
            silence_shown: false,
        }
    }

    /// The next address, if it is time for one; it runs as `attempt` from now on.
    pub(super) fn launch(&mut self, attempt: Attempt, now: Moment) -> Option<SocketAddr> {
        if self.next_at > now || self.is_postponed() {
            return None;
        }
        let remote = self.waiting.pop_front()?;
        self.next_at = now + NEXT_ADDRESS;
        self.candidates.push(Candidate { attempt, remote, started: Some(now), session: None, refused: false });
        Some(remote)
    }

    /// An address waits for its turn.
    pub(super) fn postpone(&mut self, attempt: Attempt) {
        if let Some(candidate) = self.candidate(attempt) {
            candidate.started = None;
        }
    }

    /// Its turn has come. The race begins with the first one.
    pub(super) fn begin(&mut self, attempt: Attempt, now: Moment) {
        if !self.has_begun() {
            self.begun = now;
        }
        if let Some(candidate) = self.candidate(attempt) {
            candidate.started = Some(now);
            self.next_at = now + NEXT_ADDRESS;
        }
    }

    /// Whether an address was dialled yet.
    pub(super) fn has_begun(&self) -> bool {
        self.error.is_some() || self.candidates.iter().any(|candidate| candidate.started.is_some())
    }

    fn is_postponed(&self) -> bool {
        self.candidates.iter().any(|candidate| candidate.started.is_none())
    }

    /// Someone says that nothing listens at this address: the next one need not wait.
    pub(super) fn note_refused(&mut self, attempt: Attempt, now: Moment) {
        if let Some(candidate) = self.candidate(attempt) {
            candidate.refused = true;
            self.next_at = self.next_at.min(now);
        }
    }

    /// One address being tried.
    pub(super) fn candidate(&mut self, attempt: Attempt) -> Option<&mut Candidate> {
        self.candidates.iter_mut().find(|candidate| candidate.attempt == attempt)
    }

    /// All of them.
    pub(super) fn candidates(&mut self) -> &mut [Candidate] {
        &mut self.candidates
    }

    /// Takes one out; the next address need not wait for it.
    pub(super) fn remove(&mut self, attempt: Attempt, now: Moment) -> Option<Candidate> {
        let place = self.candidates.iter().position(|candidate| candidate.attempt == attempt)?;
        self.next_at = self.next_at.min(now);
        Some(self.candidates.swap_remove(place))
    }

    /// One whose time is over.
    pub(super) fn overdue(&self, now: Moment) -> Option<Attempt> {
        let over = |candidate: &&Candidate| candidate.started.is_some_and(|at| at + self.limit <= now);
        self.candidates.iter().find(over).map(|candidate| candidate.attempt)
    }

    /// Whether nobody is left to win it.
    pub(super) fn is_lost(&self) -> bool {
        self.candidates.is_empty() && self.waiting.is_empty()
    }

    /// The attempts that still run.
    pub(super) fn attempts(&self) -> Vec<Attempt> {
        self.candidates.iter().map(|candidate| candidate.attempt).collect()
    }

    /// How long each address has.
    pub(super) const fn limit(&self) -> Duration {
        self.limit
    }

    /// The address that has been tried the longest, and whether it is said to refuse.
    pub(super) fn first(&self) -> Option<(SocketAddr, bool)> {
        let first = self.candidates.iter().min_by_key(|candidate| candidate.attempt)?;
        Some((first.remote, first.refused))
    }

    /// When something is to be done.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        let next = (!self.waiting.is_empty() && !self.is_postponed()).then_some(self.next_at);
        let over = self.candidates.iter().filter_map(|candidate| Some(candidate.started? + self.limit));
        let sessions = self.candidates.iter().filter_map(|candidate| candidate.session.as_ref()?.poll_timeout());
        next.into_iter().chain(over).chain(sessions.map(|(at, _)| at)).min()
    }
}
