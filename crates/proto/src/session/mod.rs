//! One client session, from the first reset to its end: a state machine without I/O. It speaks to the server through
//! control packets only; data packets never pass here (see `data/`).
//!
//! Straight line: [`Session::handle_control`] (`intake.rs`) judges a datagram, takes its acknowledgements and message,
//! and hands TLS bytes to `handshake.rs`, which goes from TLS over the key exchange to the push; `messages.rs` reacts to
//! what the server says; `outlet.rs` cuts what TLS wants to send into packets; `timers.rs` has the deadlines.

mod end;
mod event;
mod handshake;
mod intake;
mod messages;
mod negotiate;
mod outlet;
mod timers;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use zeroize::Zeroizing;

use crate::config::SessionConfig;
use crate::ids::SessionId;
use crate::key_method::{KeySource, ServerMessage};
use crate::limits;
use crate::opcode::Opcode;
use crate::reliable::{AckBook, ReceiveWindow, SendQueue};
use crate::tls::Tls;
use crate::wrapping::{Side, Wrapper};

pub use end::{EndReason, Fault, ProtocolError, Unsupported};
pub use event::{Established, Event, Stage, Timer};
#[cfg(any(test, feature = "test-peer"))]
pub(crate) use outlet::payload_size;

/// A client session.
///
/// `handle_*` and the commands take the outside world in, `poll_*` gives it out. After each `handle_*` call
/// `poll_transmit` and `poll_event` until they return `None`; then `poll_timeout` is later than the moment handed in
/// last (or `None` once the session has ended). `now` never goes back.
pub struct Session {
    config: SessionConfig,
    wrapper: Wrapper,
    own: SessionId,
    /// The server's session id, once its reset came.
    peer: Option<SessionId>,
    send: SendQueue,
    receive: ReceiveWindow,
    acks: AckBook,
    tls: Box<dyn Tls>,
    /// Bytes of TLS that found no room in the send window yet.
    tls_out: Vec<u8>,
    /// Bytes of TLS taken while the handshake was on.
    tls_in: usize,
    source: KeySource,
    phase: Phase,
    /// When the handshake fails.
    deadline: Moment,
    /// When something authentic came last.
    last_heard: Moment,
    answered: bool,
    outbox: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
}

/// What the session knows in each stage.
#[derive(Debug)]
enum Phase {
    Reset,
    Tls,
    KeyExchange(KeyExchange),
    Push(Push),
    Up(Up),
    Closing { until: Moment },
    Ended,
}

/// Our key exchange message is out; the server's is waited for.
#[derive(Debug)]
struct KeyExchange {
    since: Moment,
    /// The beginning of a message that came in several records.
    begun: Vec<u8>,
}

/// Both key exchange messages are through; PUSH_REPLY is waited for.
#[derive(Debug)]
struct Push {
    /// When TLS came up: AUTH_PENDING counts from here.
    since: Moment,
    server: ServerMessage,
    parts: Vec<Vec<u8>>,
    total: usize,
    next_request: Moment,
}

/// The tunnel carries traffic.
#[derive(Debug)]
struct Up {
    ping_restart: Option<Duration>,
    cc_exit: bool,
    exit_notify: bool,
}

impl Session {
    /// A session whose first packet waits to be polled.
    ///
    /// `seed` makes session id and randoms: use a fresh one for each session, from the system's random source. `wall`
    /// is the calendar time now. `tls` is a fresh client.
    #[must_use]
    pub fn new(config: SessionConfig, tls: Box<dyn Tls>, seed: [u8; 32], wall: WallTime, now: Moment) -> Self {
        let mut random = ChaCha20Rng::from_seed(seed);
        let own = random_session_id(&mut random);
        Self::with_session_id(config, tls, own, random_source(&mut random), wall, now)
    }

    /// A session with a given session id and no randoms, for recorded conversations.
    #[cfg(any(test, feature = "test-peer"))]
    #[must_use]
    pub fn with_id(config: SessionConfig, tls: Box<dyn Tls>, own: SessionId, wall: WallTime, now: Moment) -> Self {
        let source = KeySource { pre_master: Zeroizing::new([0; 48]), random1: [0; 32], random2: [0; 32] };
        Self::with_session_id(config, tls, own, source, wall, now)
    }

    fn with_session_id(
        config: SessionConfig,
        tls: Box<dyn Tls>,
        own: SessionId,
        source: KeySource,
        wall: WallTime,
        now: Moment,
    ) -> Self {
        let mut session = Self {
            wrapper: Wrapper::new(&config.wrap, Side::Client, wall),
            own,
            peer: None,
            send: SendQueue::default(),
            receive: ReceiveWindow::new(),
            acks: AckBook::default(),
            tls,
            tls_out: Vec::new(),
            tls_in: 0,
            source,
            phase: Phase::Reset,
            deadline: now + config.hand_window.min(limits::HANDSHAKE),
            last_heard: now,
            answered: false,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            config,
        };
        session.send.push(Opcode::HardResetClientV2, Vec::new(), now);
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

    /// How far the session is.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match self.phase {
            Phase::Reset => Stage::Reset,
            Phase::Tls => Stage::Tls,
            Phase::KeyExchange(_) => Stage::KeyExchange,
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

    /// Leaves: tells the server where it can be told, by EXIT (whose acknowledgement is waited for, 1 s at most) or by
    /// [`Event::ExitNotify`]. [`Event::Ended`] follows with [`EndReason::Closed`].
    pub fn close(&mut self, now: Moment) {
        match &self.phase {
            Phase::Up(up) if up.cc_exit => {
                if self.tls.write_plaintext(b"EXIT\0").is_err() {
                    return self.end(EndReason::Closed, now);
                }
                self.phase = Phase::Closing { until: now + limits::EXIT_WAIT };
                self.tls.write_tls(&mut self.tls_out);
                self.flush(now);
            }
            Phase::Up(up) => {
                if up.exit_notify {
                    self.events.push_back(Event::ExitNotify);
                }
                self.end(EndReason::Closed, now);
            }
            Phase::Reset | Phase::Tls | Phase::KeyExchange(_) | Phase::Push(_) => self.end(EndReason::Closed, now),
            Phase::Closing { .. } | Phase::Ended => {}
        }
    }

    /// Ends the session, once. What TLS still wants to say (an alert) and acknowledgements go out with the last flush.
    fn end(&mut self, reason: EndReason, now: Moment) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        // Before the server's reset nobody is there to hear TLS.
        if self.peer.is_some() {
            self.tls.write_tls(&mut self.tls_out);
            self.flush(now);
        }
        self.phase = Phase::Ended;
        self.events.push_back(Event::Ended(reason));
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

fn random_source(random: &mut ChaCha20Rng) -> KeySource {
    let mut source = KeySource { pre_master: Zeroizing::new([0; 48]), random1: [0; 32], random2: [0; 32] };
    random.fill_bytes(source.pre_master.as_mut_slice());
    random.fill_bytes(&mut source.random1);
    random.fill_bytes(&mut source.random2);
    source
}

/// All state but secrets; two sessions that print the same behave the same as far as datagrams can change them.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("wrapper", &self.wrapper)
            .field("own", &self.own)
            .field("peer", &self.peer)
            .field("send", &self.send)
            .field("receive", &self.receive)
            .field("acks", &self.acks)
            .field("handshaking", &self.tls.is_handshaking())
            .field("tls_out", &self.tls_out.len())
            .field("tls_in", &self.tls_in)
            .field("phase", &self.phase)
            .field("deadline", &self.deadline)
            .field("last_heard", &self.last_heard)
            .field("answered", &self.answered)
            .field("outbox", &self.outbox)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}
