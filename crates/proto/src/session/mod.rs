//! One client session, from the first reset to its end: a state machine without I/O. It speaks to the server through
//! control packets only; data packets never pass here (see `data/`).
//!
//! Straight line: [`Session::handle_control`] (`intake.rs`) judges a datagram and hands its message to the
//! negotiation (`negotiation.rs`) it belongs to; `handshake.rs` goes from TLS over the key exchange to `push.rs` (the
//! first time) or `renewal.rs` (later keys); `messages.rs` reacts to what the server says; `timers.rs` has the
//! deadlines; `farewell.rs` ends it.

mod end;
mod event;
mod farewell;
mod handshake;
mod intake;
mod messages;
mod negotiate;
mod negotiation;
mod push;
mod renewal;
mod timers;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::AuthToken;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};

use crate::channel::{Channel, Wire};
use crate::config::SessionConfig;
use crate::ids::SessionId;
use crate::limits;
use crate::opcode::KeyId;
use crate::tls::{Tls, TlsConnector, TlsError};
use crate::wrappers::Wrappers;
use crate::wrapping::Side;
use negotiate::Negotiated;
use negotiation::{Negotiation, random_source};
use push::Push;
use renewal::Renewals;

pub use end::{EndReason, Fault, ProtocolError, Unsupported};
pub use event::{Established, Event, Stage, Timer};

/// A client session.
///
/// `handle_*` and the commands take the outside world in, `poll_*` gives it out. After each `handle_*` call and command
/// `poll_transmit` and `poll_event` until they return `None`; then `poll_timeout` is later than the moment handed in
/// last (or `None` once the session has ended). `now` never goes back.
pub struct Session {
    config: SessionConfig,
    connector: Arc<dyn TlsConnector>,
    random: ChaCha20Rng,
    /// Calendar time and moment of the beginning.
    epoch: (WallTime, Moment),
    wrappers: Wrappers,
    own: SessionId,
    /// The server's session id, once its reset came.
    peer: Option<SessionId>,
    /// The newest negotiation: the one that is on, else the last that was.
    current: Negotiation,
    /// The one before, while the server has not answered our wish for a new one.
    previous: Option<Negotiation>,
    phase: Phase,
    /// A token that the server gave, or an earlier session had: sent instead of the password.
    token: Option<AuthToken>,
    /// Whether the last login was by token.
    token_sent: bool,
    /// When something authentic came last.
    last_heard: Moment,
    answered: bool,
    /// When everything was sent again last because the server has changed its session id.
    hastened: Option<Moment>,
    outbox: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
}

/// What the session knows in each stage.
#[derive(Debug)]
enum Phase {
    /// The first negotiation is on.
    Connecting,
    /// Both key exchange messages are through; PUSH_REPLY is waited for.
    Push(Push),
    /// The tunnel carries traffic.
    Up(Box<Up>),
    Closing {
        until: Moment,
    },
    Ended,
}

/// The tunnel carries traffic.
#[derive(Debug)]
struct Up {
    ping_restart: Option<Duration>,
    cc_exit: bool,
    exit_notify: bool,
    agreed: Negotiated,
    renewals: Renewals,
}

impl Session {
    /// A session whose first packet waits to be polled.
    ///
    /// `connector` makes the TLS client of this and of every later negotiation. `seed` makes session id and randoms: use
    /// a fresh one for each session, from the system's random source. `wall` is the calendar time now; that of later
    /// negotiations follows from it and the moments that pass, so that a clock set wrong meanwhile costs no tunnel.
    ///
    /// # Errors
    /// [`TlsError`] where the connector can make no TLS client.
    pub fn new(
        config: SessionConfig,
        connector: Arc<dyn TlsConnector>,
        seed: [u8; 32],
        wall: WallTime,
        now: Moment,
    ) -> Result<Self, TlsError> {
        let mut random = ChaCha20Rng::from_seed(seed);
        let own = random_session_id(&mut random);
        let tls = connector.connect(wall)?;
        Ok(Self::begin(config, connector, tls, (random, own), (wall, now)))
    }

    /// A session with a given session id and TLS client, for recorded conversations: it makes no second one.
    #[cfg(any(test, feature = "test-peer"))]
    #[must_use]
    pub fn with_id(config: SessionConfig, tls: Box<dyn Tls>, own: SessionId, wall: WallTime, now: Moment) -> Self {
        struct NoMore;
        impl TlsConnector for NoMore {
            fn connect(&self, _wall: WallTime) -> Result<Box<dyn Tls>, TlsError> {
                Err(TlsError::Protocol(String::from("a recorded session has one TLS client")))
            }
        }
        Self::begin(config, Arc::new(NoMore), tls, (ChaCha20Rng::from_seed([0; 32]), own), (wall, now))
    }

    fn begin(
        config: SessionConfig,
        connector: Arc<dyn TlsConnector>,
        tls: Box<dyn Tls>,
        (mut random, own): (ChaCha20Rng, SessionId),
        (wall, now): (WallTime, Moment),
    ) -> Self {
        let source = random_source(&mut random);
        let deadline = now + config.hand_window.min(limits::HANDSHAKE);
        let mut session = Self {
            wrappers: Wrappers::new(&config.wrap, Side::Client, wall),
            own,
            peer: None,
            current: Negotiation::new(Channel::first(tls), source, now, deadline),
            previous: None,
            phase: Phase::Connecting,
            token: config.token.clone(),
            token_sent: false,
            last_heard: now,
            answered: false,
            hastened: None,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            epoch: (wall, now),
            connector,
            random,
            config,
        };
        let reset = session.wrappers.of(KeyId::FIRST).client_reset();
        session.current.channel.send_reset(reset, now);
        session.flush(now);
        session
    }

    /// The next datagram for the server.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outbox.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How far the session is. It is up while later keys are negotiated, too.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match self.phase {
            Phase::Connecting => self.current.stage(),
            Phase::Push(_) => Stage::Push,
            Phase::Up(_) => Stage::Up,
            Phase::Closing { .. } => Stage::Closing,
            Phase::Ended => Stage::Ended,
        }
    }

    /// Whether anything fitting has come from the server.
    #[must_use]
    pub const fn answered(&self) -> bool {
        self.answered
    }

    /// The session id that our packets carry.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.own
    }

    /// Tells that the lane authenticated a data packet at the moment `at`.
    pub fn heard(&mut self, at: Moment) {
        self.last_heard = self.last_heard.max(at);
    }

    /// The negotiation of this key id.
    fn negotiation(&mut self, key_id: KeyId) -> Option<&mut Negotiation> {
        if self.current.channel.key_id() == key_id {
            return Some(&mut self.current);
        }
        self.previous.as_mut().filter(|previous| previous.channel.key_id() == key_id)
    }

    /// Puts everything that is due into the outbox.
    fn flush(&mut self, now: Moment) {
        let mut wire = Wire {
            wrappers: &mut self.wrappers,
            own: self.own,
            peer: self.peer,
            ipv6_outside: self.config.ipv6_outside,
            outbox: &mut self.outbox,
        };
        if let Some(previous) = &mut self.previous {
            previous.channel.flush(&mut wire, now);
        }
        self.current.channel.flush(&mut wire, now);
    }
}

fn random_session_id(random: &mut ChaCha20Rng) -> SessionId {
    loop {
        let mut bytes = [0; SessionId::LEN];
        random.fill_bytes(&mut bytes);
        if let Some(id) = SessionId::new(bytes) {
            return id;
        }
    }
}

/// All state but secrets; two sessions that print the same behave the same as far as datagrams can change them.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("wrappers", &self.wrappers)
            .field("own", &self.own)
            .field("peer", &self.peer)
            .field("current", &self.current)
            .field("previous", &self.previous)
            .field("phase", &self.phase)
            .field("last_heard", &self.last_heard)
            .field("answered", &self.answered)
            .field("hastened", &self.hastened)
            .field("outbox", &self.outbox)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}
