//! What a session tells its owner: stages, timers, events. Why it ended is `end.rs`.

use std::fmt;

use mrvpn_profile::{Assignment, AuthToken, Cipher};

use super::EndReason;
use crate::data::DataKeys;
use crate::opcode::KeyId;

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The reset was sent; no answer yet.
    Reset,
    /// The TLS handshake is on.
    Tls,
    /// TLS is up; both sides exchange options and credentials.
    KeyExchange,
    /// The server's PUSH_REPLY is waited for.
    Push,
    /// The tunnel carries traffic.
    Up,
    /// EXIT was sent; its acknowledgement is waited for.
    Closing,
    /// Over.
    Ended,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "reset",
            Self::Tls => "TLS",
            Self::KeyExchange => "key exchange",
            Self::Push => "push",
            Self::Up => "up",
            Self::Closing => "closing",
            Self::Ended => "ended",
        })
    }
}

/// Why [`super::Session::handle_timeout`] wants to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// An unacknowledged message goes again.
    Retransmit,
    /// PUSH_REQUEST is sent.
    PushRequest,
    /// The handshake fails.
    Handshake,
    /// The server counts as gone.
    PingRestart,
    /// EXIT is no longer waited for.
    Exit,
    /// A new data key is due (`reneg-sec`).
    Renewal,
    /// An old data key ends (`tran-window`).
    Retire,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The server's first fitting packet came.
    Reached,
    /// A data key is there: for the lane. The first comes before [`Event::Established`]; each renegotiation brings
    /// another, which opens at once and seals by [`DataKeys::seal_after`].
    Keys(Box<DataKeys>),
    /// The data key of this id opens nothing any more: for the lane.
    Retire(KeyId),
    /// The tunnel is up.
    Established(Box<Established>),
    /// The server gave a token, or a new one: for the next session's [`crate::SessionConfig::token`]. It is kept in
    /// memory alone.
    Token(AuthToken),
    /// Something that the server wants shown, escaped.
    Info(String),
    /// The lane should send [`crate::OCC_EXIT`]: this server does not take EXIT on the control channel.
    ExitNotify,
    /// The session is over. Comes once, last.
    Ended(EndReason),
}

/// What a tunnel that has come up is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Established {
    /// What the server assigned.
    pub assignment: Assignment,
    /// The data cipher in use.
    pub cipher: Cipher,
    /// What the user should know, such as a certificate that was not marked as a server's.
    pub warnings: Vec<String>,
}
