//! One tunnel: one OpenVPN session after another, kept alive. A value without I/O: it asks for names, sockets and
//! datagrams to be sent by [`Ask`]s, and is told what came of them. What its addresses mean on the host is the fleet's
//! matter, its data packets are the lane's.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_proto::{DataKeys, EndReason, Established, Event, Session, SessionConfig, Stage, TlsConnector};
use mrvpn_router::TunnelId;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::backoff::Backoff;
use crate::config::TunnelConfig;
use crate::error::TunnelError;
use crate::remotes::Remotes;

/// 10 s: a server that has not answered by then is reported, and the next address is tried (contract.md section 1).
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// 30 s: a session that lasted this long makes the next retry an immediate one.
const LASTED: Duration = Duration::from_secs(30);
/// 60 s: how long a refused certificate waits; it may be mended at the server, and hammering helps nobody.
const CERTIFICATE_PAUSE: Duration = Duration::from_secs(60);

/// What a tunnel wants done.
#[derive(Debug)]
pub enum Ask {
    /// Look this name up; answer with [`Tunnel::handle_resolved`].
    Resolve {
        /// The name.
        host: String,
    },
    /// Open a fresh connected socket; answer with [`Tunnel::handle_opened`].
    Open {
        /// Where to.
        remote: SocketAddr,
    },
    /// Send this datagram to the server.
    Transmit(Vec<u8>),
    /// Hand the socket and these keys to the lane.
    Adopt {
        /// The first data keys.
        keys: Box<DataKeys>,
        /// Interval of keepalive pings.
        ping: Option<Duration>,
    },
    /// Let the lane tell the server that we leave.
    ExitNotify,
    /// Close the socket, wherever it is, and forget the keys.
    Close,
}

/// What the fleet must know.
#[derive(Debug)]
pub enum Change {
    /// The server assigned; the tunnel is up.
    Established(Box<Established>),
    /// The session ended and the tunnel tries again.
    Lost,
    /// The tunnel does not try again by itself.
    Failed {
        /// Whether the server refused user and password.
        auth: bool,
    },
    /// It was closed.
    Closed,
}

/// The state of a tunnel as `status` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelState {
    /// On its way up for the first time.
    Connecting,
    /// TLS is up; user, password and push are under way.
    Authenticating,
    /// It was up and is on its way again.
    Reconnecting,
    /// It carries packets.
    Up,
    /// It was refused.
    Failed,
    /// It was told to end.
    Stopped,
}

impl TunnelState {
    /// The word in `status --json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Authenticating => "authenticating",
            Self::Reconnecting => "reconnecting",
            Self::Up => "up",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

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
    /// A socket was asked for.
    Opening { remote: SocketAddr },
    /// A session runs.
    Running(Box<Running>),
    /// Refused; tried again at `retry_at`, if ever.
    Failed { retry_at: Option<Moment> },
    /// Told to end, and ended.
    Stopped,
}

struct Running {
    session: Session,
    remote: SocketAddr,
    started: Moment,
    up_since: Option<Moment>,
    closing: bool,
}

/// One tunnel.
pub struct Tunnel {
    id: TunnelId,
    config: TunnelConfig,
    connector: Connector,
    remotes: Option<Remotes>,
    backoff: Backoff,
    rng: ChaCha8Rng,
    phase: Phase,
    since: Moment,
    shown: TunnelState,
    was_up: bool,
    settled: bool,
    refused_port: bool,
    established: Option<Box<Established>>,
    connect_time: Option<Duration>,
    last_remote: Option<SocketAddr>,
    error: Option<TunnelError>,
    asks: VecDeque<Ask>,
    changes: VecDeque<Change>,
}

impl Tunnel {
    /// A tunnel that does nothing until [`Tunnel::dial`].
    #[must_use]
    pub fn new(id: TunnelId, config: TunnelConfig, connector: Connector, seed: [u8; 32], now: Moment) -> Self {
        let mut rng = ChaCha8Rng::from_seed(seed);
        let remotes = Remotes::new(&config.profile.remotes, config.profile.remote_random, || rng.next_u32());
        Self {
            id,
            config,
            connector,
            remotes,
            backoff: Backoff::default(),
            rng,
            phase: Phase::Idle,
            since: now,
            shown: TunnelState::Connecting,
            was_up: false,
            settled: false,
            refused_port: false,
            established: None,
            connect_time: None,
            last_remote: None,
            error: None,
            asks: VecDeque::new(),
            changes: VecDeque::new(),
        }
    }

    /// Begins to connect. Nothing happens where the tunnel is past that.
    pub fn dial(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Idle) {
            self.attempt(now);
        }
    }

    /// What the resolver found for the name that was asked; an error text where nothing.
    pub fn handle_resolved(&mut self, answer: Result<Vec<IpAddr>, String>, now: Moment) {
        if !matches!(self.phase, Phase::Resolving) {
            return;
        }
        let Some(remotes) = self.remotes.as_mut() else { return };
        let (found, why) = match answer {
            Ok(addresses) => (addresses, "has no address that fits".to_owned()),
            Err(why) => (Vec::new(), why),
        };
        remotes.learn(found);
        match remotes.pick() {
            Some(remote) => self.open(remote, now),
            None => {
                let error = TunnelError::unknown_host(&remotes.current().host, &why, now);
                self.try_again(error, now);
            }
        }
    }

    /// Whether the socket that was asked for is open.
    pub fn handle_opened(&mut self, outcome: Result<(), String>, wall: WallTime, now: Moment) {
        let Phase::Opening { remote } = self.phase else { return };
        if let Err(why) = outcome {
            let error = TunnelError::no_socket(&remote.to_string(), &why, now);
            self.asks.push_back(Ask::Close);
            return self.try_again(error, now);
        }
        let connected = match &self.connector {
            Ok(connector) => connector.connect(wall).map_err(|error| error.to_string()),
            Err(why) => Err(why.clone()),
        };
        match connected {
            Ok(tls) => {
                let seed = self.draw_seed();
                self.run(Session::new(self.session_config(remote), tls, seed, wall, now), remote, now);
            }
            Err(error) => {
                let error = TunnelError::bad_certificates(&error, now);
                self.asks.push_back(Ask::Close);
                self.fail(error, None, false, now);
            }
        }
    }

    /// A control datagram from the server. Returns whether the session took it.
    pub fn handle_control(&mut self, datagram: &[u8], now: Moment) -> bool {
        let Phase::Running(running) = &mut self.phase else { return false };
        let taken = running.session.handle_control(datagram, now).is_ok();
        self.drain(now);
        taken
    }

    /// The lane authenticated a data packet at this moment.
    pub fn heard(&mut self, at: Moment) {
        if let Phase::Running(running) = &mut self.phase {
            running.session.heard(at);
        }
    }

    /// The socket reported that nothing listens at the remote's port. A hint only: anyone can forge it.
    pub fn handle_port_refused(&mut self) {
        self.refused_port = true;
    }

    /// The server said in the data channel that it leaves.
    pub fn handle_peer_exit(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Running(_)) {
            self.ended(EndReason::ServerExit, now);
        }
    }

    /// A data key is used up: a new session makes new ones.
    pub fn handle_key_worn(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Running(_)) {
            self.ended(EndReason::Renegotiation, now);
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Moment) {
        match &mut self.phase {
            Phase::Waiting { until } | Phase::Failed { retry_at: Some(until) } if *until <= now => self.attempt(now),
            Phase::Running(running) => {
                running.session.handle_timeout(now);
                self.drain(now);
                self.check_answer(now);
            }
            Phase::Idle
            | Phase::Waiting { .. }
            | Phase::Resolving
            | Phase::Opening { .. }
            | Phase::Failed { .. }
            | Phase::Stopped => {}
        }
    }

    /// When [`Tunnel::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Waiting { until } => Some(*until),
            Phase::Failed { retry_at } => *retry_at,
            Phase::Running(running) => {
                let session = running.session.poll_timeout().map(|(at, _)| at);
                let answer = (!running.session.answered()).then_some(running.started + ANSWER_LIMIT);
                session.into_iter().chain(answer).min()
            }
            Phase::Idle | Phase::Resolving | Phase::Opening { .. } | Phase::Stopped => None,
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
            Phase::Opening { .. } => {
                self.asks.push_back(Ask::Close);
                self.stop(now);
            }
            Phase::Stopped => {}
            Phase::Idle | Phase::Waiting { .. } | Phase::Resolving | Phase::Failed { .. } => self.stop(now),
        }
    }

    /// Refuses the tunnel from outside: another tunnel of the same account was refused, or credentials are missing.
    pub fn refuse(&mut self, error: TunnelError, now: Moment) {
        if matches!(self.phase, Phase::Idle | Phase::Waiting { .. }) {
            self.fail(error, None, false, now);
        }
    }

    /// Its place.
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
            Phase::Idle | Phase::Waiting { .. } | Phase::Resolving | Phase::Opening { .. } | Phase::Running(_) => {
                if self.was_up {
                    TunnelState::Reconnecting
                } else {
                    TunnelState::Connecting
                }
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

    /// The address in use, or last used.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        self.last_remote
    }

    /// From the first datagram of the last session to its assignment.
    #[must_use]
    pub fn connect_time(&self) -> Option<Duration> {
        self.connect_time
    }

    fn attempt(&mut self, now: Moment) {
        if let Err(why) = &self.connector {
            return self.fail(TunnelError::bad_certificates(why, now), None, false, now);
        }
        let Some(remotes) = self.remotes.as_ref() else {
            return self.fail(TunnelError::no_remote(now), None, false, now);
        };
        if remotes.literal().is_none() {
            self.phase = Phase::Resolving;
            self.asks.push_back(Ask::Resolve { host: remotes.current().host.clone() });
        } else if let Some(remote) = remotes.pick() {
            return self.open(remote, now);
        } else {
            let error =
                TunnelError::unknown_host(&remotes.current().host, "is not of the family that `proto` asks for", now);
            return self.try_again(error, now);
        }
        self.note_state(now);
    }

    fn open(&mut self, remote: SocketAddr, now: Moment) {
        self.refused_port = false;
        self.last_remote = Some(remote);
        self.phase = Phase::Opening { remote };
        self.asks.push_back(Ask::Open { remote });
        self.note_state(now);
    }

    fn session_config(&self, remote: SocketAddr) -> SessionConfig {
        SessionConfig::from_profile(&self.config.profile, self.config.credentials.clone(), remote.is_ipv6())
    }

    fn draw_seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        seed
    }

    fn run(&mut self, session: Session, remote: SocketAddr, now: Moment) {
        self.phase =
            Phase::Running(Box::new(Running { session, remote, started: now, up_since: None, closing: false }));
        self.drain(now);
    }

    /// Takes out all that the session has to say. Events first: keys must reach the lane before a datagram that
    /// follows them.
    fn drain(&mut self, now: Moment) {
        let mut keys = None;
        loop {
            let Phase::Running(running) = &mut self.phase else { return self.note_state(now) };
            while let Some(datagram) = running.session.poll_transmit() {
                self.asks.push_back(Ask::Transmit(datagram));
            }
            let Some(event) = running.session.poll_event() else { break };
            match event {
                Event::Reached => self.refused_port = false,
                Event::Keys(fresh) => keys = Some(fresh),
                Event::Established(established) => self.come_up(established, keys.take(), now),
                Event::Info(text) => tracing::info!(tunnel = %self.config.name, "the server says: {text}"),
                Event::ExitNotify => self.asks.push_back(Ask::ExitNotify),
                Event::Ended(reason) => {
                    self.ended(reason, now);
                    break;
                }
            }
        }
        self.note_state(now);
    }

    fn come_up(&mut self, established: Box<Established>, keys: Option<Box<DataKeys>>, now: Moment) {
        let (Phase::Running(running), Some(keys)) = (&mut self.phase, keys) else { return };
        running.up_since = Some(now);
        self.connect_time = Some(now.since(running.started));
        self.was_up = true;
        self.settled = true;
        self.error = None;
        self.asks.push_back(Ask::Adopt { keys, ping: established.assignment.keepalive.ping });
        self.established = Some(established.clone());
        self.changes.push_back(Change::Established(established));
    }

    fn check_answer(&mut self, now: Moment) {
        let Phase::Running(running) = &self.phase else { return };
        if running.session.answered() || running.closing || now < running.started + ANSWER_LIMIT {
            return;
        }
        let error = TunnelError::no_answer(&running.remote.to_string(), self.refused_port, now);
        self.asks.push_back(Ask::Close);
        self.advance();
        self.try_again(error, now);
    }

    fn advance(&mut self) {
        if let Some(remotes) = self.remotes.as_mut() {
            remotes.advance();
        }
    }

    fn ended(&mut self, reason: EndReason, now: Moment) {
        let Phase::Running(running) = &self.phase else { return };
        let (closing, up_since) = (running.closing, running.up_since);
        self.asks.push_back(Ask::Close);
        if closing || matches!(reason, EndReason::Closed) {
            return self.stop(now);
        }
        if up_since.is_some_and(|since| now.since(since) >= LASTED) {
            self.backoff.reset();
        }
        let error = TunnelError::from_end(&reason, now);
        if reason.is_final() {
            let auth = matches!(reason, EndReason::AuthFailed { .. });
            let retry_at = (error.stage == "certificate").then(|| now + CERTIFICATE_PAUSE);
            return self.fail(error, retry_at, auth, now);
        }
        if up_since.is_none() {
            self.advance();
        }
        self.try_again(error, now);
    }

    fn try_again(&mut self, mut error: TunnelError, now: Moment) {
        let until = now + self.backoff.next(self.rng.next_u32());
        error.retry_at = Some(until);
        tracing::info!(tunnel = %self.config.name, code = error.code, "{}", error.message);
        self.settled = true;
        self.error = Some(error);
        self.phase = Phase::Waiting { until };
        self.changes.push_back(Change::Lost);
        self.note_state(now);
    }

    fn fail(&mut self, mut error: TunnelError, retry_at: Option<Moment>, auth: bool, now: Moment) {
        error.retry_at = retry_at;
        tracing::warn!(tunnel = %self.config.name, code = error.code, "{}", error.message);
        self.settled = true;
        self.error = Some(error);
        self.phase = Phase::Failed { retry_at };
        self.changes.push_back(Change::Failed { auth });
        self.note_state(now);
    }

    fn stop(&mut self, now: Moment) {
        self.phase = Phase::Stopped;
        self.changes.push_back(Change::Closed);
        self.note_state(now);
    }

    fn note_state(&mut self, now: Moment) {
        let state = self.state();
        if state != self.shown {
            self.shown = state;
            self.since = now;
        }
    }
}
