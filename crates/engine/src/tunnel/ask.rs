//! What a tunnel wants done, what it tells the fleet, and the words for its state. Values only.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mrvpn_profile::Transport;
use mrvpn_proto::{DataKeys, Established, KeyId};

use crate::attempt::Attempt;

/// What a tunnel wants done.
#[derive(Debug)]
pub enum Ask {
    /// The number is another tunnel's from now on: what was counted for it is not this one's.
    Fresh,
    /// Look this name up; answer with [`super::Tunnel::handle_resolved`].
    Resolve {
        /// The name.
        host: String,
    },
    /// Open a fresh connected socket; answer with [`super::Tunnel::handle_opened`]. Several may be open at once.
    Open {
        /// Names the socket from now on.
        attempt: Attempt,
        /// Where to.
        remote: SocketAddr,
        /// UDP or TCP.
        transport: Transport,
    },
    /// Send this packet to the server.
    Transmit {
        /// Through which socket.
        attempt: Attempt,
        /// The packet, without the length that goes before it in a stream.
        datagram: Vec<u8>,
    },
    /// Hand the socket and these keys to the lane.
    Adopt {
        /// Which socket.
        attempt: Attempt,
        /// The first data keys.
        keys: Box<DataKeys>,
        /// Interval of keepalive pings.
        ping: Option<Duration>,
    },
    /// The lane is to use these keys as well.
    Install {
        /// Newer data keys of the session that the lane carries.
        keys: Box<DataKeys>,
    },
    /// The lane is to forget a key.
    Retire {
        /// Which.
        key_id: KeyId,
    },
    /// Let the lane tell the server that we leave.
    ExitNotify,
    /// Close this socket, which is not the lane's.
    Drop {
        /// Which.
        attempt: Attempt,
    },
    /// Close all sockets, wherever they are, and forget the keys.
    Close,
}

/// Why a socket was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFailure {
    /// Its kind.
    pub kind: io::ErrorKind,
    /// The system's words.
    pub why: String,
}

impl From<io::Error> for OpenFailure {
    fn from(error: io::Error) -> Self {
        Self { kind: error.kind(), why: error.to_string() }
    }
}

/// What the fleet must know.
#[derive(Debug)]
pub enum Change {
    /// The server assigned; the tunnel is up.
    Established(Box<Established>),
    /// The session ended, or no server was reached, and the tunnel tries again.
    Lost {
        /// Whether another tunnel may try the same user and password meanwhile.
        login_open: bool,
    },
    /// The tunnel does not try again by itself.
    Failed {
        /// Whether the server refused user and password.
        auth: bool,
    },
    /// It was closed.
    Closed,
}

/// The state of a tunnel as `status` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelState {
    /// On its way up for the first time.
    Connecting,
    /// TLS is up; user, password and push are under way.
    Authenticating,
    /// It was up and is on its way again.
    Reconnecting,
    /// It carries packets.
    Up,
    /// It was refused.
    Failed,
    /// It was told to end.
    Stopped,
}

impl TunnelState {
    /// The word in `status --json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Authenticating => "authenticating",
            Self::Reconnecting => "reconnecting",
            Self::Up => "up",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}
