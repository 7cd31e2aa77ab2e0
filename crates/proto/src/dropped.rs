//! Why a datagram was dropped. Not an error: anyone can send one, and a drop changes nothing. What ends a session is
//! `session/end.rs`.

/// Why [`crate::Session::handle_control`] dropped a datagram, having changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Dropped {
    /// Cut off, or empty.
    #[error("the packet is too short")]
    Short,
    /// Longer than any control packet ([`crate::limits::CONTROL_DATAGRAM`]).
    #[error("the packet is too long for a control packet")]
    Long,
    /// A data packet: those go to an `Opener`.
    #[error("a data packet was given to the control channel")]
    Data,
    /// An opcode that is unknown, or that a server never sends.
    #[error("a server does not send packets of this opcode")]
    Opcode,
    /// A key id without a TLS session.
    #[error("no TLS session has this key id")]
    KeyId,
    /// The wrapper's tag is wrong: another key, another direction, or damage.
    #[error("the packet does not authenticate")]
    Forged,
    /// Seen before, or too old, by the wrapper's packet id.
    #[error("the packet is a replay")]
    Replayed,
    /// More acknowledgements than [`crate::limits::ACKS`].
    #[error("the packet has too many acknowledgements")]
    TooManyAcks,
    /// The sender's session id is not that of our server.
    #[error("the packet is of another server session")]
    WrongSession,
    /// It acknowledges messages of another client.
    #[error("the packet is for another client session")]
    WrongPeer,
    /// A reset with a message id other than 0, or that does not acknowledge ours, or a late one.
    #[error("the reset does not fit")]
    Reset,
    /// A message id ahead of the window.
    #[error("the message is ahead of the window")]
    Ahead,
    /// The session is over.
    #[error("the session is over")]
    Ended,
    /// A server takes no further client now: [`crate::limits`] and its own.
    #[error("the server takes no further client now")]
    Crowded,
}

impl Dropped {
    /// A short name for counters and status.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Short => "control-short",
            Self::Long => "control-long",
            Self::Data => "control-data",
            Self::Opcode => "control-opcode",
            Self::KeyId => "control-key-id",
            Self::Forged => "control-forged",
            Self::Replayed => "control-replayed",
            Self::TooManyAcks => "control-acks",
            Self::WrongSession => "control-wrong-session",
            Self::WrongPeer => "control-wrong-peer",
            Self::Reset => "control-reset",
            Self::Ahead => "control-ahead",
            Self::Ended => "control-ended",
            Self::Crowded => "control-crowded",
        }
    }
}
