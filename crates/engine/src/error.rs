//! What went wrong with one tunnel, in the words of contract.md section 3: a code that never changes meaning, the stage,
//! what happened and what to do. Made from a session's end or from dialling; shown by `status` and `up`.

use std::io::ErrorKind;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_proto::EndReason;

use crate::tunnel::OpenFailure;

/// The error of one tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelError {
    /// Stable code, listed in `docs/errors.md`.
    pub code: &'static str,
    /// `name`, `route`, `socket`, `no-answer`, `wrap`, `tls`, `certificate`, `auth`, `push`, `address` or `ended`.
    pub stage: &'static str,
    /// What happened; foreign text in it is escaped.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// When.
    pub at: Moment,
    /// When the tunnel tries again; `None` when it does not.
    pub retry_at: Option<Moment>,
}

impl TunnelError {
    /// From the end of a session.
    #[must_use]
    pub fn from_end(reason: &EndReason, at: Moment) -> Self {
        Self {
            code: reason.code(),
            stage: reason.stage(),
            message: with_causes(reason),
            hint: reason.hint().to_owned(),
            at,
            retry_at: None,
        }
    }

    /// No answer of the server for as long as it had.
    #[must_use]
    pub fn no_answer(remote: &str, refused: bool, limit: Duration, at: Moment) -> Self {
        let (message, hint) = if refused {
            (
                format!("{remote} refuses the port: nothing listens there"),
                "check host, port and protocol of `remote`, and that the server runs",
            )
        } else {
            (
                format!("no answer from {remote} for {} s", limit.as_secs()),
                "the server is down or blocked, or the tls-auth/tls-crypt key, `key-direction` or `auth` digest is not \
                 the server's (a server says nothing to a wrong key)",
            )
        };
        Self { code: "no-answer", stage: "no-answer", message, hint: hint.to_owned(), at, retry_at: None }
    }

    /// The remote's name has no address.
    #[must_use]
    pub fn unknown_host(host: &str, why: &str, at: Moment) -> Self {
        Self {
            code: "unknown-host",
            stage: "name",
            message: format!("{host}: {why}"),
            hint: "check the spelling of `remote` and that this machine's resolver answers".to_owned(),
            at,
            retry_at: None,
        }
    }

    /// Its socket could not be opened: no way to the address, or nobody takes the stream.
    #[must_use]
    pub fn not_opened(remote: &str, failure: &OpenFailure, at: Moment) -> Self {
        if failure.kind == ErrorKind::ConnectionRefused {
            return Self::no_answer(remote, true, Duration::ZERO, at);
        }
        Self {
            code: "no-route",
            stage: "route",
            message: format!("{remote}: {}", failure.why),
            hint: "this machine has no way to that address: check its network".to_owned(),
            at,
            retry_at: None,
        }
    }

    /// The TCP stream to the server is over.
    #[must_use]
    pub fn connection_lost(remote: &str, how: ErrorKind, at: Moment) -> Self {
        let known = [
            (ErrorKind::UnexpectedEof, "the server closed the connection"),
            (ErrorKind::InvalidData, "the server sent what is no OpenVPN packet"),
            (ErrorKind::ConnectionReset, "the connection was reset"),
            (ErrorKind::TimedOut, "the connection timed out"),
        ];
        let why = known.iter().find(|(kind, _)| *kind == how).map_or("the connection broke", |(_, why)| why);
        Self {
            code: "connection-lost",
            stage: "ended",
            message: format!("{remote}: {why}"),
            hint:
                "it is tried again; where this is all that ever happens, the port is not an OpenVPN server's, or the \
                   tls-auth/tls-crypt key is not the server's (over TCP a server hangs up on a wrong key)"
                    .to_owned(),
            at,
            retry_at: None,
        }
    }

    /// User and password are needed and nobody gave them.
    #[must_use]
    pub fn needs_credentials(name: &str, at: Moment) -> Self {
        Self {
            code: "needs-credentials",
            stage: "auth",
            message: format!("{name} asks for a user and a password"),
            hint: "give them with `--credentials FILE` (two lines, mode 0600), or start `mrvpn up` on a terminal"
                .to_owned(),
            at,
            retry_at: None,
        }
    }

    /// The profile has no remote.
    #[must_use]
    pub fn no_remote(at: Moment) -> Self {
        Self {
            code: "no-remote",
            stage: "socket",
            message: "the profile has no `remote`".to_owned(),
            hint: "add a line `remote HOST PORT`".to_owned(),
            at,
            retry_at: None,
        }
    }

    /// The certificate options of the profile cannot be used.
    #[must_use]
    pub fn bad_certificates(why: &str, at: Moment) -> Self {
        Self {
            code: "profile-certificates",
            stage: "certificate",
            message: why.to_owned(),
            hint: "check `ca`, `cert` and `key` of the profile".to_owned(),
            at,
            retry_at: None,
        }
    }

    /// A fault of our own in this tunnel's work.
    #[must_use]
    pub fn internal(at: Moment) -> Self {
        Self {
            code: "internal",
            stage: "ended",
            message: "a fault of mrvpn itself ended this session".to_owned(),
            hint:
                "it is tried again, and the other tunnels are not concerned; please report it with what `mrvpn logs` \
                   says"
                    .to_owned(),
            at,
            retry_at: None,
        }
    }

    /// What was sent to the server came back into the interface.
    #[must_use]
    pub fn looped(remote: &str, at: Moment) -> Self {
        Self {
            code: "loop",
            stage: "route",
            message: format!("what is sent to {remote} comes back into the tunnel"),
            hint: "`remote` is a local wrapper (as stunnel) whose own connection is captured: name the address that it \
                   connects to with `bypass` of this tunnel, or by a line `route ADDRESS 255.255.255.255 net_gateway` in \
                   the profile, then `mrvpn tunnel start`"
                .to_owned(),
            at,
            retry_at: None,
        }
    }
}

/// An error with its causes, as one line: what cannot be used, and what of it.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
