//! What a server tells its owner, and what the owner answers.

use std::fmt;
use std::net::SocketAddr;

use mrvpn_profile::Secret;

use crate::data::DataKeys;
use crate::ids::PeerId;
use crate::opcode::KeyId;
use crate::tls::TlsError;

/// A client of one server: the peer id that is pushed to it, by which the data path finds it. A number is given again as
/// late as possible, but never while [`ServerEvent::Gone`] of the one before waits to be polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub(super) u32);

impl ClientId {
    /// The number, 24 bits.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The same as in data packets.
    #[must_use]
    pub fn peer_id(self) -> PeerId {
        PeerId::new(self.0).expect("numbers are given out within 24 bits")
    }
}

impl From<PeerId> for ClientId {
    /// The client that a data packet names: it need not exist.
    fn from(peer: PeerId) -> Self {
        Self(peer.get())
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What happened with a client.
#[derive(Debug)]
pub enum ServerEvent {
    /// It is there: it has shown that its address is its own. Comes once, first.
    Began {
        /// From where.
        from: SocketAddr,
    },
    /// It wants in, or sends its login again for a new key: [`super::Server::admit`] or [`super::Server::refuse`] it.
    Login(Box<LoginRequest>),
    /// A data key is there: for the data path. The first comes when the push goes out, later ones when the client has
    /// acknowledged the negotiation; they seal from [`DataKeys::seal_after`] on, or sooner once they have opened a packet.
    Keys(Box<DataKeys>),
    /// The data key of this id opens nothing any more: for the data path.
    Retire(KeyId),
    /// The push has arrived: packets may flow.
    Up,
    /// It leaves, by EXIT; [`Self::Gone`] follows 5 s later, as packets may still come.
    ExitNotify,
    /// What else it said, such as `PUSH_REQUEST`. Foreign text, without control characters.
    Said(String),
    /// It is gone. Comes once, last.
    Gone(Gone),
}

/// What a client says of itself. Foreign text, not escaped; what is no UTF-8 is replaced.
#[derive(Debug)]
pub struct LoginRequest {
    /// From where.
    pub from: SocketAddr,
    /// The user; empty where it sent none.
    pub user: String,
    /// The password; empty where it sent none.
    pub password: Secret<String>,
    /// Common name of its certificate, where one was asked for.
    pub common_name: Option<String>,
    /// The peer info: lines `KEY=VALUE`.
    pub peer_info: String,
    /// Its options string.
    pub options: String,
    /// Whether it is in already and negotiates a new key.
    pub renewal: bool,
}

/// What is pushed to a client that is let in. Of a renewal nothing is pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Push {
    /// Options besides peer id, cipher, protocol flags and tun MTU, which the server negotiates itself. None may hold a
    /// comma.
    pub options: Vec<String>,
    /// Exactly these messages instead, each beginning with `PUSH_REPLY`: cipher, peer id and flags are then taken out of
    /// them, whatever the client can.
    pub whole: Option<Vec<String>>,
}

/// The last word to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// `RESTART`: come again. With what follows the comma, such as `[N]`; may be empty.
    Restart(String),
    /// `HALT`: do not come again; as `Restart`.
    Halt(String),
    /// `EXIT`: this server leaves.
    Exit,
    /// Nothing.
    Silent,
}

/// Why a client is gone. Foreign text in it is escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// It was not up in time, or a later negotiation was not over in time.
    #[error("the handshake was not over in time")]
    Handshake,
    /// TLS failed, its certificate included.
    #[error(transparent)]
    Tls(TlsError),
    /// It broke the protocol within TLS.
    #[error("the client broke the protocol: {0}")]
    Protocol(&'static str),
    /// The owner refused it.
    #[error("the client was refused")]
    Refused,
    /// It takes none of our data ciphers, or no data packets with peer ids.
    #[error("the client has no data channel in common with this server")]
    NoSharedCipher,
    /// It said EXIT.
    #[error("the client has left")]
    Exit,
    /// Nothing was heard of it.
    #[error("nothing was heard of the client")]
    PingRestart,
    /// It came again from the same address.
    #[error("the client has begun another session")]
    Replaced,
    /// The owner sent it away.
    #[error("the client was sent away")]
    Disconnected,
    /// Its stream has ended.
    #[error("the client's stream has ended")]
    Closed,
}

/// Why [`super::Server::handle_timeout`] wants to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerTimer {
    /// An unacknowledged message goes again.
    Retransmit,
    /// A handshake fails.
    Handshake,
    /// A client counts as gone.
    PingRestart,
    /// The last word is no longer waited for.
    Farewell,
    /// A new data key is due.
    Renewal,
    /// An old data key ends.
    Retire,
}
