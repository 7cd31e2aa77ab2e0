//! Why a session ended, whose fault it is, and what to do: from this follow the error shown to the user, the exit code
//! and whether the tunnel tries again (contract.md section 3).

use mrvpn_profile::Cipher;
use mrvpn_profile::push::PushError;

use super::Stage;
use crate::control_text::{AuthFailure, Farewell};
use crate::key_method::KeyMethodError;
use crate::tls::TlsError;

/// Why a session ended. Foreign text in it is escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndReason {
    /// Nothing came from the server within `hand-window`.
    #[error("the server did not answer")]
    NoAnswer,
    /// The server answered, but the handshake was not over within `hand-window`; the stage it stopped at.
    #[error("the handshake was not over in time; it stopped at the stage {0}")]
    HandshakeTimeout(Stage),
    /// TLS failed, the server's certificate included.
    #[error(transparent)]
    Tls(TlsError),
    /// The server refused who we are.
    #[error("the server refused the login{}", shown(reason.as_deref()))]
    AuthFailed {
        /// The server's own words.
        reason: Option<String>,
        /// Of which kind.
        kind: AuthFailure,
    },
    /// The server refused the token of an earlier login. Nobody's fault: the password will do.
    #[error("the server refused the token of an earlier login{}", shown(reason.as_deref()))]
    TokenRefused {
        /// The server's own words.
        reason: Option<String>,
    },
    /// User and password do not fit into the key exchange message ([`crate::limits::KEY_EXCHANGE`]).
    #[error("user and password are too long to be sent")]
    LoginTooLong,
    /// What the server pushed cannot be used.
    #[error("the server's configuration cannot be used")]
    Push(#[source] PushError),
    /// The server's data cipher is not one of ours.
    #[error("the server uses data cipher {}, the profile allows {}", server.as_deref().unwrap_or("(none named)"), list(allowed))]
    Cipher {
        /// What the server named, if anything.
        server: Option<String>,
        /// What the profile allows.
        allowed: Vec<Cipher>,
    },
    /// The server does not speak what this version needs.
    #[error("not in this version: {0}")]
    Unsupported(Unsupported),
    /// Nothing authentic came for the time of `ping-restart`.
    #[error("nothing was heard of the server for the time of `ping-restart`")]
    PingRestart,
    /// The server asked for a reconnect.
    #[error("the server asked for a restart{}", shown(Some(&farewell.text)))]
    ServerRestart {
        /// Its words and wishes.
        farewell: Farewell,
    },
    /// The server asked us to stop for good.
    #[error("the server ended the session for good{}", shown(Some(&farewell.text)))]
    ServerHalt {
        /// Its words.
        farewell: Farewell,
    },
    /// The server has left.
    #[error("the server has shut down")]
    ServerExit,
    /// The server broke the protocol.
    #[error("the server broke the protocol")]
    Protocol(#[source] ProtocolError),
    /// [`crate::Session::close`] was called.
    #[error("the session was closed")]
    Closed,
}

/// What a server lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// It pushed no `peer-id`.
    #[error("this server pushed no peer-id (needs OpenVPN 2.4 with P_DATA_V2)")]
    NoPeerId,
    /// It pushed `aead-epoch`, which was not offered.
    #[error("this server insists on the epoch data format")]
    AeadEpoch,
}

/// How a server broke the protocol, within TLS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Its key exchange message is none.
    #[error(transparent)]
    KeyMethod(#[from] KeyMethodError),
    /// A control message above [`crate::limits::CONTROL_MESSAGE`].
    #[error("a control message is longer than 64 KiB")]
    MessageTooLong,
    /// A push above [`crate::limits::PUSH`].
    #[error("the server pushed more than 768 KiB")]
    PushTooLong,
}

/// Whose fault an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The profile must change.
    Profile,
    /// The user must give something else: user, password.
    User,
    /// The server, or who runs it.
    Server,
    /// Something on the way.
    Network,
    /// Nobody: it was asked for.
    Caller,
}

impl EndReason {
    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NoAnswer | Self::HandshakeTimeout(_) | Self::PingRestart => Fault::Network,
            Self::Tls(error) => tls_fault(error),
            Self::AuthFailed { kind, .. } => match kind {
                AuthFailure::Refused | AuthFailure::Challenge => Fault::User,
                AuthFailure::SessionExpired | AuthFailure::Temporary { .. } => Fault::Server,
                AuthFailure::NoSharedCipher => Fault::Profile,
            },
            Self::LoginTooLong => Fault::User,
            Self::Cipher { .. } => Fault::Profile,
            Self::TokenRefused { .. }
            | Self::Push(_)
            | Self::Unsupported(_)
            | Self::ServerRestart { .. }
            | Self::ServerHalt { .. }
            | Self::ServerExit
            | Self::Protocol(_) => Fault::Server,
            Self::Closed => Fault::Caller,
        }
    }

    /// Whether trying again as before can only fail the same way: someone has to change something first.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Tls(error) => error.is_certificate() && !matches!(error, TlsError::NotYetValid { .. }),
            Self::AuthFailed { kind, .. } => match kind {
                AuthFailure::Refused | AuthFailure::Challenge | AuthFailure::NoSharedCipher => true,
                AuthFailure::SessionExpired | AuthFailure::Temporary { .. } => false,
            },
            Self::LoginTooLong
            | Self::Push(_)
            | Self::Cipher { .. }
            | Self::Unsupported(_)
            | Self::ServerHalt { .. }
            | Self::Closed => true,
            Self::NoAnswer
            | Self::HandshakeTimeout(_)
            | Self::TokenRefused { .. }
            | Self::PingRestart
            | Self::ServerRestart { .. }
            | Self::ServerExit
            | Self::Protocol(_) => false,
        }
    }

    /// Whether it is we who leave, so that the server must be told: it neither refused us nor left itself.
    pub(super) const fn is_our_decision(&self) -> bool {
        match self {
            Self::HandshakeTimeout(_)
            | Self::Push(_)
            | Self::Cipher { .. }
            | Self::Unsupported(_)
            | Self::PingRestart
            | Self::Protocol(_) => true,
            Self::NoAnswer
            | Self::Tls(_)
            | Self::AuthFailed { .. }
            | Self::TokenRefused { .. }
            | Self::LoginTooLong
            | Self::ServerRestart { .. }
            | Self::ServerHalt { .. }
            | Self::ServerExit
            | Self::Closed => false,
        }
    }

    /// A short name for scripts, never changed.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoAnswer => "no-answer",
            Self::HandshakeTimeout(stage) => match stage {
                Stage::Push => "push-timeout",
                Stage::KeyExchange => "key-exchange-timeout",
                Stage::Reset | Stage::Tls | Stage::Up | Stage::Closing | Stage::Ended => "tls-timeout",
            },
            Self::Tls(error) => tls_code(error),
            Self::AuthFailed { kind, .. } => match kind {
                AuthFailure::Refused => "auth-refused",
                AuthFailure::SessionExpired => "auth-session-expired",
                AuthFailure::Temporary { .. } => "auth-temporary",
                AuthFailure::Challenge => "auth-challenge",
                AuthFailure::NoSharedCipher => "no-shared-cipher",
            },
            Self::TokenRefused { .. } => "token-refused",
            Self::LoginTooLong => "login-too-long",
            Self::Push(_) => "push-refused",
            Self::Cipher { .. } => "no-shared-cipher",
            Self::Unsupported(Unsupported::NoPeerId) => "server-too-old",
            Self::Unsupported(Unsupported::AeadEpoch) => "server-protocol",
            Self::PingRestart => "ping-timeout",
            Self::ServerRestart { .. } => "server-restart",
            Self::ServerHalt { .. } => "server-halt",
            Self::ServerExit => "server-exit",
            Self::Protocol(_) => "server-protocol",
            Self::Closed => "closed",
        }
    }

    /// The stage of contract.md section 3.
    #[must_use]
    pub const fn stage(&self) -> &'static str {
        match self {
            Self::NoAnswer => "no-answer",
            Self::HandshakeTimeout(stage) => match stage {
                Stage::Push => "push",
                Stage::KeyExchange => "auth",
                Stage::Reset | Stage::Tls | Stage::Up | Stage::Closing | Stage::Ended => "tls",
            },
            Self::Tls(error) if error.is_certificate() => "certificate",
            Self::Tls(_) => "tls",
            Self::AuthFailed { kind: AuthFailure::NoSharedCipher, .. } => "push",
            Self::AuthFailed { .. } | Self::TokenRefused { .. } | Self::LoginTooLong => "auth",
            Self::Push(_) | Self::Cipher { .. } | Self::Unsupported(_) | Self::Protocol(_) => "push",
            Self::PingRestart
            | Self::ServerRestart { .. }
            | Self::ServerHalt { .. }
            | Self::ServerExit
            | Self::Closed => "ended",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &str {
        match self {
            Self::NoAnswer => {
                "the server is down or blocked, or tls-auth/tls-crypt key, key-direction or `auth` differ from the \
                 server's: it is silent then"
            }
            Self::HandshakeTimeout(stage) => match stage {
                Stage::KeyExchange => {
                    "a server that refuses our certificate, or wants user and password and gets none, just goes silent: \
                     check `cert` and `key`, give credentials"
                }
                Stage::Push => "the server's check of the login takes too long: ask its operator",
                Stage::Reset | Stage::Tls | Stage::Up | Stage::Closing | Stage::Ended => {
                    "packets are lost on the way, or the server refused our certificate without a word: check `cert` \
                     and `key`"
                }
            },
            Self::Tls(error) => tls_hint(error),
            Self::AuthFailed { kind, .. } => match kind {
                AuthFailure::Refused => "check user and password, and whether the account allows another session",
                AuthFailure::SessionExpired => "the next attempt uses the password again",
                AuthFailure::Temporary { .. } => "the server asks to try again later",
                AuthFailure::Challenge => "one-time codes are not in this version",
                AuthFailure::NoSharedCipher => "add a cipher of the server to `data-ciphers`",
            },
            Self::TokenRefused { .. } => "the next attempt uses the password again",
            Self::LoginTooLong => "a stock server takes at most 127 bytes of each",
            Self::Push(error) => error.hint(),
            Self::Cipher { .. } => {
                "add the server's cipher to `data-ciphers`, if it is AES-128-GCM, AES-256-GCM or CHACHA20-POLY1305"
            }
            Self::Unsupported(Unsupported::NoPeerId) => "the server needs OpenVPN 2.4 or later",
            Self::Unsupported(Unsupported::AeadEpoch) => "it was not offered: ask the server's operator",
            Self::PingRestart => "the server is gone or the way to it is cut: it is tried again",
            Self::ServerRestart { .. } | Self::ServerExit => "it is tried again",
            Self::ServerHalt { .. } => "the server's operator ended this session",
            Self::Protocol(_) => "the server may be no OpenVPN server, or one with a fault: ask its operator",
            Self::Closed => "",
        }
    }
}

const fn tls_fault(error: &TlsError) -> Fault {
    match error {
        TlsError::UnknownIssuer { .. }
        | TlsError::WrongName { .. }
        | TlsError::WrongFingerprint(_)
        | TlsError::NotMarkedAsServer
        | TlsError::Alert(_) => Fault::Profile,
        TlsError::Expired { .. }
        | TlsError::NotYetValid { .. }
        | TlsError::WrongPurpose(_)
        | TlsError::BadName
        | TlsError::ChainTooLong
        | TlsError::BadChain(_)
        | TlsError::BadCertificate(_)
        | TlsError::Protocol(_)
        | TlsError::FlightTooLong
        | TlsError::Closed => Fault::Server,
    }
}

const fn tls_code(error: &TlsError) -> &'static str {
    match error {
        TlsError::UnknownIssuer { .. } => "wrong-ca",
        TlsError::Expired { .. } => "certificate-expired",
        TlsError::NotYetValid { .. } => "certificate-not-yet-valid",
        TlsError::WrongPurpose(_) | TlsError::NotMarkedAsServer => "certificate-purpose",
        TlsError::WrongName { .. } => "certificate-name",
        TlsError::WrongFingerprint(_) => "certificate-fingerprint",
        TlsError::BadName | TlsError::ChainTooLong | TlsError::BadChain(_) | TlsError::BadCertificate(_) => {
            "certificate-refused"
        }
        TlsError::Alert(_) => "tls-refused",
        TlsError::Protocol(_) | TlsError::FlightTooLong | TlsError::Closed => "tls-failed",
    }
}

const fn tls_hint(error: &TlsError) -> &'static str {
    match error {
        TlsError::UnknownIssuer { .. } => "take the `ca` of this server: ask its operator for a current profile",
        TlsError::Expired { .. } => "ask the server's operator to renew it; or this machine's clock is wrong",
        TlsError::NotYetValid { .. } => "set this machine's clock",
        TlsError::WrongPurpose(_) => "ask the server's operator for a certificate with server usage",
        TlsError::WrongName { .. } => "correct `verify-x509-name`, if this really is the server that is meant",
        TlsError::WrongFingerprint(_) => "add it to `peer-fingerprint`, if this really is the server that is meant",
        TlsError::NotMarkedAsServer => "ask the server's operator for a certificate with server usage",
        TlsError::BadName | TlsError::ChainTooLong | TlsError::BadChain(_) | TlsError::BadCertificate(_) => {
            "ask the server's operator for another certificate"
        }
        TlsError::Alert(_) => "the server refused our certificate or our TLS version: check `cert` and `key`",
        TlsError::Protocol(_) | TlsError::FlightTooLong | TlsError::Closed => {
            "is this port an OpenVPN server's? If it is, ask its operator which TLS versions it allows"
        }
    }
}

fn shown(text: Option<&str>) -> String {
    match text {
        None | Some("") => String::new(),
        Some(text) => format!(": {text}"),
    }
}

fn list(ciphers: &[Cipher]) -> String {
    ciphers.iter().map(|cipher| cipher.name()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_kind() -> Vec<EndReason> {
        let farewell = Farewell::default();
        let refused = |kind| EndReason::AuthFailed { reason: None, kind };
        let stages = [Stage::Tls, Stage::KeyExchange, Stage::Push].map(EndReason::HandshakeTimeout);
        let tls = [
            TlsError::UnknownIssuer { subject: String::new() },
            TlsError::WrongPurpose(""),
            TlsError::WrongFingerprint(String::new()),
            TlsError::NotMarkedAsServer,
            TlsError::BadName,
            TlsError::ChainTooLong,
            TlsError::Alert(String::new()),
            TlsError::FlightTooLong,
            TlsError::Closed,
        ];
        let mut all = vec![
            EndReason::NoAnswer,
            refused(AuthFailure::Refused),
            refused(AuthFailure::SessionExpired),
            refused(AuthFailure::Temporary { backoff: None, advance: None }),
            refused(AuthFailure::Challenge),
            refused(AuthFailure::NoSharedCipher),
            EndReason::LoginTooLong,
            EndReason::Push(PushError::TooLong),
            EndReason::Cipher { server: None, allowed: Vec::new() },
            EndReason::Unsupported(Unsupported::NoPeerId),
            EndReason::TokenRefused { reason: None },
            EndReason::Unsupported(Unsupported::AeadEpoch),
            EndReason::PingRestart,
            EndReason::ServerRestart { farewell: farewell.clone() },
            EndReason::ServerHalt { farewell },
            EndReason::ServerExit,
            EndReason::Protocol(ProtocolError::PushTooLong),
        ];
        all.extend(stages);
        all.extend(tls.map(EndReason::Tls));
        all
    }

    #[test]
    fn every_end_says_at_which_stage_of_the_contract_it_was_and_what_to_do() {
        let stages = ["no-answer", "wrap", "tls", "certificate", "auth", "push", "ended"];
        for reason in every_kind() {
            assert!(stages.contains(&reason.stage()), "{reason:?}");
            assert!(!reason.hint().is_empty() && !reason.to_string().is_empty(), "{reason:?}");
            assert!(reason.code().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{reason:?}");
        }
    }

    #[test]
    fn what_the_user_or_the_profile_must_mend_is_final() {
        for reason in every_kind() {
            let someone_must_act = matches!(reason.fault(), Fault::User | Fault::Profile);
            let is_alert = matches!(reason, EndReason::Tls(TlsError::Alert(_)));
            assert!(!someone_must_act || reason.is_final() || is_alert, "{reason:?}");
        }
    }
}
