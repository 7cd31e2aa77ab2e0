//! Why a push is refused as a whole, and what to do. A single option that is wrong is no error (`notes.rs`).

/// Why a whole push is refused. It is the server's fault, or a wish of the profile that the server does not meet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// Another control message.
    #[error("the message is no PUSH_REPLY")]
    NotAReply,
    /// More than 64 KiB in one message or 768 KiB in all.
    #[error("the server pushed more than 64 KiB in a message or 768 KiB in all")]
    TooLong,
    /// NUL, control characters or bad UTF-8.
    #[error("the server pushed a message with control characters or text that is not UTF-8")]
    Unprintable,
    /// A `pull-filter reject` fits.
    #[error("the server pushed `{option}`, which a pull-filter of the profile rejects")]
    Rejected {
        /// The option, escaped.
        option: String,
    },
    /// The tunnel's own address cannot be one.
    #[error("the server pushed `{option}`: {why}")]
    Address {
        /// The option, escaped.
        option: String,
        /// What is wrong.
        why: String,
    },
    /// A framing of data packets that this version does not speak.
    #[error("the server pushed `{option}`, and compression and its framing are not in this version")]
    Compression {
        /// The option, escaped.
        option: String,
    },
    /// Keys would not match the server's.
    #[error("the server pushed `{option}`: {why}")]
    Keys {
        /// The option, escaped.
        option: String,
        /// What is wrong.
        why: String,
    },
}

impl PushError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NotAReply => "this is a fault of mrvpn: please report it",
            Self::TooLong => "ask the operator of the server to push fewer options",
            Self::Unprintable => "ask the operator of the server to remove such characters from its `push` lines",
            Self::Rejected { .. } => "remove the `pull-filter reject` line, or use `pull-filter ignore`",
            Self::Address { .. } => "ask the operator to check `server`, `topology` and `ifconfig-push` of the server",
            Self::Compression { .. } => "ask the operator to remove `compress` and `comp-lzo` from the server",
            Self::Keys { .. } => "ask the operator of the server which versions of OpenVPN it is meant for",
        }
    }
}
