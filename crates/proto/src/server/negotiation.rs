//! One negotiation as the server sees it: a channel and how far the client is on it, from the resets over TLS to the
//! exchanged key exchange messages and the owner's word (openvpn-protocol.md section 3.4). `session/negotiation.rs` is
//! the client's.

use std::fmt;

use mrvpn_clock::Moment;
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore as _;

use crate::channel::Channel;
use crate::key_method::{KeyMethodError, ReceivedClientMessage, ServerMessage};
use crate::limits;
use crate::tls::TlsError;

pub(super) struct Negotiation {
    pub(super) channel: Channel,
    pub(super) step: Step,
    pub(super) began: Moment,
    /// When it fails.
    pub(super) deadline: Moment,
    /// Our randoms of it.
    random: [[u8; 32]; 2],
    /// The client's message, once it is there.
    message: Option<ReceivedClientMessage>,
    /// Bytes of TLS taken while the handshake was on.
    tls_in: usize,
}

/// How far a negotiation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Our reset is out; the client's has not come.
    Reset,
    /// TLS is on; the client's message is waited for.
    Tls,
    /// Both messages are through; the owner's word is waited for.
    Login,
    /// The owner lets it in.
    Admitted,
    /// The key is there.
    Done,
}

impl Negotiation {
    pub(super) fn new(channel: Channel, step: Step, random: &mut ChaCha20Rng, began: Moment, deadline: Moment) -> Self {
        let mut randoms = [[0; 32]; 2];
        randoms.iter_mut().for_each(|bytes| random.fill_bytes(bytes));
        Self { channel, step, began, deadline, random: randoms, message: None, tls_in: 0 }
    }

    /// The client's reset has come: it may speak.
    pub(super) fn begin_tls(&mut self) {
        if self.step == Step::Reset {
            self.step = Step::Tls;
        }
    }

    /// Hands bytes of the client to TLS, within what a handshake may take.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        if self.channel.tls().is_handshaking() {
            self.tls_in = self.tls_in.saturating_add(bytes.len());
            if self.tls_in > limits::TLS_FLIGHT {
                return Err(TlsError::FlightTooLong);
            }
        }
        self.channel.read(bytes)
    }

    /// Takes the client's key exchange message: one record, as by a stock server.
    pub(super) fn take_message(&mut self, record: &[u8]) -> Result<(), KeyMethodError> {
        self.message = Some(ReceivedClientMessage::parse(record)?);
        self.step = Step::Login;
        Ok(())
    }

    pub(super) const fn message(&self) -> Option<&ReceivedClientMessage> {
        self.message.as_ref()
    }

    /// What our own message says.
    pub(super) fn own_message(&self, options: &str) -> ServerMessage {
        let [random1, random2] = self.random;
        ServerMessage { random1, random2, options: options.as_bytes().to_vec() }
    }
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
