//! One tunnel: one OpenVPN session after another, kept alive. A value without I/O: it asks for names, sockets and
//! packets to be sent by [`Ask`]s, and is told what came of them. What its addresses mean on the host is the fleet's
//! matter, its data packets are the lane's.

mod ask; // what it wants done, and its states
mod dial; // from a name to a running session
mod end; // what follows the end of a session
mod login; // password, token, refusals
mod race; // several addresses at once
#[cfg(test)]
mod tests;

pub use ask::{Ask, Change, OpenFailure, TunnelState};

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::Transport;
use mrvpn_proto::{DataKeys, EndReason, Established, Event, Session, Stage, TlsConnector};
use mrvpn_router::TunnelId;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::attempt::Attempt;
use crate::backoff::Backoff;
use crate::config::TunnelConfig;
use crate::error::TunnelError;
use crate::lane::Carried;
use crate::remotes::Remotes;
use login::Login;
use race::Race;

/// 1 s: how often it is looked whether enough was carried for new keys. At 10 Gbit/s that is a gigabyte late.
const LOOK: Duration = Duration::from_secs(1);

/// The TLS engine of one tunnel; the reason as text where its certificates cannot be used.
pub type Connector = Result<Arc<dyn TlsConnector>, String>;

/// What the tunnel is doing. Each variant holds what is known only then.
enum Phase {
    /// Not yet told to dial.
    Idle,
    /// A pause between tries.
    Waiting { until: Moment },
    /// The resolver was asked.
    Resolving,
    /// Addresses of one remote are tried; no server has answered yet.
    Racing(Box<Race>),
    /// A server has answered.
    Running(Box<Running>),
    /// Refused; tried again at `retry_at`, if ever.
    Failed { retry_at: Option<Moment> },
    /// Told to end, and ended.
    Stopped,
}

/// A session whose server has answered.
struct Running {
    attempt: Attempt,
    session: Session,
    remote: SocketAddr,
    started: Moment,
    up_since: Option<Moment>,
    /// When what was carried is to be looked at again, where keys are renewed by it.
    look_at: Option<Moment>,
    closing: bool,
}

/// One tunnel.
pub struct Tunnel {
    id: TunnelId,
    config: Arc<TunnelConfig>,
    connector: Connector,
    remotes: Option<Remotes>,
    backoff: Backoff,
    login: Login,
    rng: ChaCha8Rng,
    phase: Phase,
    last_attempt: Attempt,
    since: Moment,
    shown: TunnelState,
    was_up: bool,
    settled: bool,
    established: Option<Box<Established>>,
    connect_time: Option<Duration>,
    last_remote: Option<(SocketAddr, Transport)>,
    error: Option<TunnelError>,
    asks: VecDeque<Ask>,
    changes: VecDeque<Change>,
}

impl Tunnel {
    /// A tunnel that does nothing until [`Tunnel::dial`].
    #[must_use]
    pub fn new(
        id: TunnelId,
        config: impl Into<Arc<TunnelConfig>>,
        connector: Connector,
        seed: [u8; 32],
        now: Moment,
    ) -> Self {
        let config = config.into();
        let mut rng = ChaCha8Rng::from_seed(seed);
        let remotes = Remotes::new(&config.profile.remotes, config.profile.remote_random, || rng.next_u32());
        Self {
            id,
            login: Login::new(config.profile.auth_retry),
            config,
            connector,
            remotes,
            backoff: Backoff::default(),
            rng,
            phase: Phase::Idle,
            last_attempt: Attempt::default(),
            since: now,
            shown: TunnelState::Connecting,
            was_up: false,
            settled: false,
            established: None,
            connect_time: None,
            last_remote: None,
            error: None,
            asks: VecDeque::new(),
            changes: VecDeque::new(),
        }
    }

    /// Counts its attempts on from `last`: what comes late of an earlier tunnel of this number is none of them.
    #[must_use]
    pub fn counting_from(mut self, last: Attempt) -> Self {
        self.last_attempt = last;
        self
    }

    /// The same tunnel made anew after a fault of our own in its work, of which nothing but what it is and how often it
    /// failed is believed. All its sockets are to be closed, and it tries again after a pause.
    #[must_use]
    pub fn made_anew(self, seed: [u8; 32], now: Moment) -> Self {
        let Self { id, config, connector, backoff, was_up, last_attempt, .. } = self;
        let mut fresh = Self::new(id, config, connector, seed, now).counting_from(last_attempt);
        fresh.backoff = backoff;
        fresh.was_up = was_up;
        fresh.asks.push_back(Ask::Close);
        let pause = fresh.backoff.next(fresh.rng.next_u32());
        fresh.wait(TunnelError::internal(now), pause, true, now);
        fresh
    }

    /// Begins to connect. Nothing happens where the tunnel is past that.
    pub fn dial(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Idle) {
            self.attempt(now);
        }
    }

    /// What the resolver found for the name `host`; an error text where nothing. An answer to an older question is passed
    /// over, unless it is about the same name.
    pub fn handle_resolved(&mut self, host: &str, answer: Result<Vec<IpAddr>, String>, now: Moment) {
        if matches!(self.phase, Phase::Resolving) && self.remote_name() == Some(host) {
            self.resolved(answer, now);
        }
    }

    /// Whether the socket that was asked for is open. `wall` is the time by which certificates are judged.
    pub fn handle_opened(&mut self, attempt: Attempt, outcome: Result<(), OpenFailure>, wall: WallTime, now: Moment) {
        self.opened(attempt, outcome, wall, now);
        self.note_state(now);
    }

    /// The socket of this attempt, which was asked for, has to wait for its turn: no time of it runs until
    /// [`Tunnel::begin`]. Its tunnel asks for no other one meanwhile.
    pub fn postpone(&mut self, attempt: Attempt) {
        if let Phase::Racing(race) = &mut self.phase {
            race.postpone(attempt);
        }
    }

    /// The socket of this attempt is being opened now.
    pub fn begin(&mut self, attempt: Attempt, now: Moment) {
        if let Phase::Racing(race) = &mut self.phase {
            race.begin(attempt, now);
        }
    }

    /// A control packet that came by a socket which is not the lane's. Returns whether a session took it.
    pub fn handle_datagram(&mut self, attempt: Attempt, datagram: &[u8], now: Moment) -> bool {
        match &mut self.phase {
            Phase::Racing(_) => self.race_datagram(attempt, datagram, now),
            Phase::Running(running) if running.attempt == attempt => self.handle_control(datagram, now),
            Phase::Running(_)
            | Phase::Idle
            | Phase::Waiting { .. }
            | Phase::Resolving
            | Phase::Failed { .. }
            | Phase::Stopped => false,
        }
    }

    /// A control packet that the lane received. Returns whether the session took it.
    pub fn handle_control(&mut self, datagram: &[u8], now: Moment) -> bool {
        let Phase::Running(running) = &mut self.phase else { return false };
        let taken = running.session.handle_control(datagram, now).is_ok();
        self.drain(now);
        taken
    }

    /// The TCP stream of an attempt is over: by the server's wish, or by a fault on the way.
    pub fn handle_stream_ended(&mut self, attempt: Attempt, how: io::ErrorKind, now: Moment) {
        self.stream_ended(attempt, how, now);
        self.note_state(now);
    }

    /// The lane authenticated a data packet at this moment.
    pub fn heard(&mut self, at: Moment) {
        if let Phase::Running(running) = &mut self.phase {
            running.session.heard(at);
        }
    }

    /// What the lane has sealed and opened for this tunnel. To be told before [`Tunnel::handle_timeout`]; where keys are
    /// renewed by it, that is wanted once a second.
    pub fn carried(&mut self, carried: Carried, now: Moment) {
        let wishes = self.config.profile.renewal;
        if let Phase::Running(running) = &mut self.phase {
            running.session.carried(carried.bytes, carried.packets, now);
            let counts = wishes.reneg_bytes.is_some() || wishes.reneg_pkts.is_some();
            running.look_at = counts.then(|| now + LOOK);
            self.drain(now);
        }
    }

    /// The network reported that nothing listens at the remote's port. A hint only: anyone can forge it.
    pub fn handle_port_refused(&mut self, attempt: Attempt, now: Moment) {
        if let Phase::Racing(race) = &mut self.phase {
            race.note_refused(attempt, now);
            self.launch(now);
        }
    }

    /// The server said in the data channel that it leaves.
    pub fn handle_peer_exit(&mut self, attempt: Attempt, now: Moment) {
        if self.carries(attempt) {
            self.ended(&EndReason::ServerExit, now);
            self.note_state(now);
        }
    }

    /// The data keys are nearly used up.
    pub fn handle_key_worn(&mut self, attempt: Attempt, now: Moment) {
        if let Phase::Running(running) = &mut self.phase
            && running.attempt == attempt
        {
            running.session.renegotiate(now);
            self.drain(now);
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Moment) {
        match &mut self.phase {
            Phase::Waiting { until } | Phase::Failed { retry_at: Some(until) } if *until <= now => self.attempt(now),
            Phase::Racing(_) => self.race_timeout(now),
            Phase::Running(running) => {
                running.look_at = running.look_at.filter(|at| *at > now);
                running.session.handle_timeout(now);
                self.drain(now);
            }
            Phase::Idle | Phase::Waiting { .. } | Phase::Resolving | Phase::Failed { .. } | Phase::Stopped => {}
        }
    }

    /// When [`Tunnel::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Waiting { until } => Some(*until),
            Phase::Failed { retry_at } => *retry_at,
            Phase::Racing(race) => race.poll_timeout().into_iter().chain(self.silence_due()).min(),
            Phase::Running(running) => {
                running.session.poll_timeout().map(|(at, _)| at).into_iter().chain(running.look_at).min()
            }
            Phase::Idle | Phase::Resolving | Phase::Stopped => None,
        }
    }

    /// The next thing to be done for this tunnel.
    pub fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    /// The next thing that the fleet must know.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Ends the tunnel for good, telling the server.
    pub fn close(&mut self, now: Moment) {
        match &mut self.phase {
            Phase::Running(running) => {
                running.closing = true;
                running.session.close(now);
                self.drain(now);
            }
            Phase::Racing(_) => {
                self.asks.push_back(Ask::Close);
                self.stop(now);
            }
            Phase::Stopped => {}
            Phase::Idle | Phase::Waiting { .. } | Phase::Resolving | Phase::Failed { .. } => self.stop(now),
        }
    }

    /// Ends a pause between two tries.
    pub fn hurry(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Waiting { .. }) {
            self.attempt(now);
            self.note_state(now);
        }
    }

    /// Its own outer packets came back into the interface: trying again as before would only do the same.
    pub fn handle_loop(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Running(_) | Phase::Racing(_)) {
            let remote = self.last_remote.map(|(remote, _)| remote.to_string()).unwrap_or_default();
            self.asks.push_back(Ask::Close);
            self.fail(TunnelError::looped(&remote, now), None, false, now);
        }
    }

    /// Refuses the tunnel from outside: another tunnel of the same account was refused, or credentials are missing.
    pub fn refuse(&mut self, error: TunnelError, now: Moment) {
        if matches!(self.phase, Phase::Idle | Phase::Waiting { .. }) {
            self.fail(error, None, false, now);
        }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> TunnelId {
        self.id
    }

    /// What it was told to be.
    #[must_use]
    pub fn config(&self) -> &TunnelConfig {
        &self.config
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> TunnelState {
        match &self.phase {
            Phase::Stopped => TunnelState::Stopped,
            Phase::Failed { .. } => TunnelState::Failed,
            Phase::Running(running) if running.up_since.is_some() => TunnelState::Up,
            Phase::Running(running)
                if !self.was_up && matches!(running.session.stage(), Stage::KeyExchange | Stage::Push) =>
            {
                TunnelState::Authenticating
            }
            Phase::Idle | Phase::Waiting { .. } | Phase::Resolving | Phase::Racing(_) | Phase::Running(_) => {
                if self.was_up { TunnelState::Reconnecting } else { TunnelState::Connecting }
            }
        }
    }

    /// Since when it is in that state.
    #[must_use]
    pub fn since(&self) -> Moment {
        self.since
    }

    /// Whether it has connected or failed once in this run.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether it waits to be told to dial.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Its error, if it has one.
    #[must_use]
    pub fn error(&self) -> Option<&TunnelError> {
        self.error.as_ref()
    }

    /// What the server of the last session that came up pushed.
    #[must_use]
    pub fn established(&self) -> Option<&Established> {
        self.established.as_deref()
    }

    /// The address in use, or last used, and by which transport.
    #[must_use]
    pub fn remote(&self) -> Option<(SocketAddr, Transport)> {
        self.last_remote
    }

    /// The host of the remote in use, or to be dialled next, as the profile has it.
    #[must_use]
    pub fn remote_name(&self) -> Option<&str> {
        self.remotes.as_ref().map(|remotes| remotes.current().host.as_str())
    }

    /// The number of its last attempt.
    #[must_use]
    pub fn last_attempt(&self) -> Attempt {
        self.last_attempt
    }

    /// From the first datagram of the last session to its assignment.
    #[must_use]
    pub fn connect_time(&self) -> Option<Duration> {
        self.connect_time
    }

    /// Whether the lane carries the session of this attempt.
    fn carries(&self, attempt: Attempt) -> bool {
        matches!(&self.phase, Phase::Running(running) if running.attempt == attempt && running.up_since.is_some())
    }

    /// Takes out all that the session has to say. Events first: keys must reach the lane before a datagram that
    /// follows them.
    fn drain(&mut self, now: Moment) {
        let mut keys = None;
        loop {
            let Phase::Running(running) = &mut self.phase else { return self.note_state(now) };
            let attempt = running.attempt;
            while let Some(datagram) = running.session.poll_transmit() {
                self.asks.push_back(Ask::Transmit { attempt, datagram });
            }
            let Some(event) = running.session.poll_event() else { break };
            match event {
                Event::Reached => {}
                Event::Keys(fresh) if running.up_since.is_some() => self.asks.push_back(Ask::Install { keys: fresh }),
                Event::Keys(fresh) => keys = Some(fresh),
                Event::Retire(key_id) => self.asks.push_back(Ask::Retire { key_id }),
                Event::Token(token) => self.login.take_token(token),
                Event::Established(established) => self.come_up(established, keys.take(), now),
                Event::Info(text) => tracing::info!(tunnel = %self.config.name, "the server says: {text}"),
                Event::ExitNotify => self.asks.push_back(Ask::ExitNotify),
                Event::Ended(reason) => {
                    self.ended(&reason, now);
                    break;
                }
            }
        }
        self.note_state(now);
    }

    fn come_up(&mut self, established: Box<Established>, keys: Option<Box<DataKeys>>, now: Moment) {
        let (Phase::Running(running), Some(keys)) = (&mut self.phase, keys) else { return };
        running.up_since = Some(now);
        let attempt = running.attempt;
        self.connect_time = Some(now.since(running.started));
        self.was_up = true;
        self.settled = true;
        self.error = None;
        self.login.accepted();
        if let Some(remotes) = self.remotes.as_mut() {
            remotes.came_up();
        }
        self.asks.push_back(Ask::Adopt { attempt, keys, ping: established.assignment.keepalive.ping });
        self.established = Some(established.clone());
        self.changes.push_back(Change::Established(established));
    }

    fn note_state(&mut self, now: Moment) {
        let state = self.state();
        if state != self.shown {
            self.shown = state;
            self.since = now;
        }
    }
}
