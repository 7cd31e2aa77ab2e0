//! Why TLS failed, named so that the user knows what to do: whose certificate, which time, which name.

use mrvpn_clock::WallTime;

/// Why a TLS session failed. Foreign text in it is escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The server's certificate is not signed by the profile's `ca`.
    #[error("wrong CA: the server's certificate (`{subject}`) is not signed by the profile's `ca`")]
    UnknownIssuer {
        /// Subject of the server's certificate.
        subject: String,
    },
    /// A certificate of the chain, or the CA's, has expired.
    #[error("the certificate `{subject}` has expired (unix time {not_after}; now {now})", now = now.unix(), not_after = not_after.unix())]
    Expired {
        /// Whose.
        subject: String,
        /// When.
        not_after: WallTime,
        /// By this clock.
        now: WallTime,
    },
    /// A certificate of the chain, or the CA's, is not valid yet; more often this machine's clock is wrong.
    #[error("the certificate `{subject}` is not valid yet (unix time {not_before}; now {now})", now = now.unix(), not_before = not_before.unix())]
    NotYetValid {
        /// Whose.
        subject: String,
        /// From when on.
        not_before: WallTime,
        /// By this clock.
        now: WallTime,
    },
    /// It may not be used for a server, or not as the profile demands.
    #[error("the server's certificate is not for this purpose: {0}")]
    WrongPurpose(&'static str),
    /// `verify-x509-name` does not fit.
    #[error("the server's certificate names `{got}`, the profile expects `{expected}`")]
    WrongName {
        /// What the profile says.
        expected: String,
        /// What the certificate says.
        got: String,
    },
    /// `peer-fingerprint` does not fit.
    #[error("the server's certificate has fingerprint {0}, which the profile does not list")]
    WrongFingerprint(String),
    /// `strict_server`: nothing in the certificate says that it is a server's.
    #[error("the server's certificate is not marked as a server's, and `strict_server` demands it")]
    NotMarkedAsServer,
    /// A NUL or control character in a name.
    #[error("a name in the server's certificate has control characters")]
    BadName,
    /// More certificates than [`crate::limits::CHAIN_DEPTH`].
    #[error("the server's chain of certificates is too long")]
    ChainTooLong,
    /// A path length, CA flag or other rule of the chain is broken, or its algorithm is too weak.
    #[error("the server's certificate chain is not acceptable: {0}")]
    BadChain(String),
    /// It cannot be parsed.
    #[error("the server's certificate cannot be read: {0}")]
    BadCertificate(String),
    /// The server refused us.
    #[error("the server ended TLS: {0}")]
    Alert(String),
    /// The server broke the TLS protocol, or has nothing in common with us.
    #[error("TLS failed: {0}")]
    Protocol(String),
    /// More than [`crate::limits::TLS_FLIGHT`] bytes before the handshake ended.
    #[error("the server sent more than 64 KiB before TLS was up")]
    FlightTooLong,
    /// The server closed the TLS session.
    #[error("the server closed the TLS session")]
    Closed,
}

impl TlsError {
    /// Whether it is about the server's certificate, and so the same at every attempt.
    #[must_use]
    pub const fn is_certificate(&self) -> bool {
        match self {
            Self::UnknownIssuer { .. }
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::WrongPurpose(_)
            | Self::WrongName { .. }
            | Self::WrongFingerprint(_)
            | Self::NotMarkedAsServer
            | Self::BadName
            | Self::ChainTooLong
            | Self::BadChain(_)
            | Self::BadCertificate(_) => true,
            Self::Alert(_) | Self::Protocol(_) | Self::FlightTooLong | Self::Closed => false,
        }
    }
}

/// Why no TLS client can be made of a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsSetupError {
    /// Neither `ca` nor `peer-fingerprint`.
    #[error("the profile has no usable `ca` and no `peer-fingerprint`: nothing says which server to trust")]
    NoTrust,
    /// A certificate of `ca` cannot be used.
    #[error("certificate {number} of `ca` cannot be used: {why}")]
    BadCa {
        /// Its place in the block, from 1.
        number: usize,
        /// Why.
        why: String,
    },
    /// `cert` without `key`, or `key` without `cert`.
    #[error("the profile has only one of `cert` and `key`")]
    HalfIdentity,
    /// `cert` or `key` cannot be used, or they do not belong together.
    #[error("the profile's `cert` and `key` cannot be used: {0}")]
    BadIdentity(String),
    /// `tls-version-min 1.3` with `tls-version-max 1.2`.
    #[error("the profile allows no TLS version")]
    NoVersion,
}
