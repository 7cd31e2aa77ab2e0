//! One negotiation: a channel and how far the two sides are on it, from the reset over TLS to the exchanged key exchange
//! messages (openvpn-protocol.md section 3.4). The first one of a session and every later one are alike; what follows
//! from its end is `push.rs` and `renewal.rs`.

use std::fmt;

use mrvpn_clock::Moment;
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore as _;
use zeroize::Zeroizing;

use super::Stage;
use crate::channel::Channel;
use crate::key_method::KeySource;
use crate::limits;
use crate::tls::TlsError;

pub(super) struct Negotiation {
    pub(super) channel: Channel,
    pub(super) step: Step,
    /// Our randoms of this negotiation.
    pub(super) source: KeySource,
    pub(super) began: Moment,
    /// When it fails.
    pub(super) deadline: Moment,
    /// Bytes of TLS taken while the handshake was on.
    tls_in: usize,
}

/// How far a negotiation is.
#[derive(Debug)]
pub(super) enum Step {
    /// Our reset is out; the server's has not come.
    Reset,
    /// The TLS handshake is on.
    Tls,
    /// Our key exchange message is out; the server's is waited for.
    KeyExchange {
        /// When TLS came up: AUTH_PENDING counts from here.
        since: Moment,
        /// The beginning of a message that came in several records.
        begun: Vec<u8>,
    },
    /// Both messages are through: what comes now are strings.
    Done {
        /// When TLS came up.
        since: Moment,
    },
    /// TLS has failed, and the tunnel goes on until another negotiation replaces this one.
    Broken,
}

impl Negotiation {
    pub(super) fn new(channel: Channel, source: KeySource, began: Moment, deadline: Moment) -> Self {
        Self { channel, step: Step::Reset, source, began, deadline, tls_in: 0 }
    }

    /// Whether nothing of TLS has come.
    pub(super) fn has_only_a_reset(&self) -> bool {
        matches!(self.step, Step::Tls) && self.tls_in == 0 && self.channel.has_only_a_reset()
    }

    /// The server's reset has come: TLS may speak.
    pub(super) fn begin_tls(&mut self) {
        if matches!(self.step, Step::Reset) {
            self.step = Step::Tls;
            self.channel.collect();
        }
    }

    /// Hands bytes of the server to TLS, within what a handshake may take.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        if matches!(self.step, Step::Tls) {
            self.tls_in = self.tls_in.saturating_add(bytes.len());
            if self.tls_in > limits::TLS_FLIGHT {
                return Err(TlsError::FlightTooLong);
            }
        }
        self.channel.read(bytes)
    }

    /// Whether TLS is up and our key exchange message is due.
    pub(super) fn awaits_key_exchange(&self) -> bool {
        matches!(self.step, Step::Tls) && !self.channel.tls().is_handshaking()
    }

    /// How far it is, in the words of a session that comes up.
    pub(super) const fn stage(&self) -> Stage {
        match self.step {
            Step::Reset => Stage::Reset,
            Step::Tls | Step::Broken => Stage::Tls,
            Step::KeyExchange { .. } | Step::Done { .. } => Stage::KeyExchange,
        }
    }

    /// Whether TLS is up, so that the server hears what is said in it.
    pub(super) const fn has_tls(&self) -> bool {
        match self.step {
            Step::KeyExchange { .. } | Step::Done { .. } => true,
            Step::Reset | Step::Tls | Step::Broken => false,
        }
    }
}

/// Fresh randoms.
pub(super) fn random_source(random: &mut ChaCha20Rng) -> KeySource {
    let mut source = KeySource { pre_master: Zeroizing::new([0; 48]), random1: [0; 32], random2: [0; 32] };
    random.fill_bytes(source.pre_master.as_mut_slice());
    random.fill_bytes(&mut source.random1);
    random.fill_bytes(&mut source.random2);
    source
}

impl fmt::Debug for Negotiation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Negotiation")
            .field("channel", &self.channel)
            .field("step", &self.step)
            .field("began", &self.began)
            .field("deadline", &self.deadline)
            .field("tls_in", &self.tls_in)
            .finish_non_exhaustive()
    }
}
