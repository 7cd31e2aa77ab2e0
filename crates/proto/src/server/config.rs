//! What a server is told, as decided. Certificates go into the `TlsAcceptor`, what is pushed to a client into the
//! owner's answer to its login.

use std::time::Duration;

use mrvpn_profile::{Cipher, Digest, KeyDirection, StaticKey, Wrap};

use super::ServerKey;
use crate::limits;

/// What one server is told.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Wrapping of control packets.
    pub wrap: ServerWrap,
    /// Whether packets travel alone or in streams.
    pub transport: ServerTransport,
    /// Data ciphers, the best first (`data-ciphers`): the first one that a client takes is used (section 7.2).
    pub ciphers: Vec<Cipher>,
    /// The options string (`options_string.rs`); clients only log what differs.
    pub options: String,
    /// Whether keys come from the TLS exporter where the client can (`tls-ekm`).
    pub exporter: bool,
    /// Whether renegotiations have dynamic tls-crypt where the client can.
    pub dynamic_wrap: bool,
    /// Whether the push comes without PUSH_REQUEST where the client wishes, as from 2.6.
    pub unasked_push: bool,
    /// The tun MTU that is pushed to clients that say theirs.
    pub tun_mtu: Option<u16>,
    /// Time from a client's first packet until it is up (`hand-window`).
    pub handshake: Duration,
    /// Time from the end of one negotiation to the next (`reneg-sec`); up to a tenth less at random. `None`: clients
    /// alone begin them.
    pub renewal: Option<Duration>,
    /// How long the key before opens packets (`tran-window`).
    pub tran_window: Duration,
    /// A client of which nothing authentic came for so long is gone. What is pushed as `ping-restart` should be half of
    /// it, as `keepalive` has it.
    pub ping_restart: Option<Duration>,
    /// Clients at once, half-open ones included; at most 2^24 - 1.
    pub clients: u32,
    /// Clients that have shown the cookie and are not up yet, at once.
    pub half_open: usize,
    /// Answers to resets that were not followed by a session (`connect-freq-initial`): so many in so much time. `None`: no
    /// limit.
    pub resets: Option<(u32, Duration)>,
}

/// How a server wraps control packets.
#[derive(Clone, Debug)]
pub enum ServerWrap {
    /// Not at all.
    None,
    /// By `tls-auth`.
    TlsAuth {
        /// The shared key.
        key: StaticKey,
        /// The direction in the clients' profiles; the server's is the other one.
        direction: KeyDirection,
        /// Option `auth`.
        digest: Digest,
    },
    /// By `tls-crypt`.
    TlsCrypt {
        /// The shared key.
        key: StaticKey,
    },
    /// By `tls-crypt-v2`: each client brings its own key. Over UDP as with `force-cookie`: clients before 2.6 get no
    /// answer.
    TlsCryptV2 {
        /// What opens the clients' keys.
        server_key: ServerKey,
    },
}

/// How packets come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerTransport {
    /// Each alone (UDP): nothing is kept of a client before it has shown that its address is its own.
    Datagram,
    /// In streams (TCP), one for each address: the stream has shown that.
    Stream,
}

impl ServerConfig {
    /// A server like OpenVPN 2.6 with default options.
    #[must_use]
    pub fn new(wrap: ServerWrap, transport: ServerTransport) -> Self {
        let proto = match transport {
            ServerTransport::Datagram => "UDPv4",
            ServerTransport::Stream => "TCPv4_SERVER",
        };
        Self {
            wrap,
            transport,
            ciphers: Cipher::DEFAULT.to_vec(),
            options: format!("V4,dev-type tun,link-mtu 1549,tun-mtu 1500,proto {proto},key-method 2,tls-server"),
            exporter: true,
            dynamic_wrap: true,
            unasked_push: true,
            tun_mtu: Some(1_500),
            handshake: limits::HANDSHAKE,
            renewal: Some(Duration::from_secs(3_600)),
            tran_window: Duration::from_secs(3_600),
            ping_restart: Some(Duration::from_secs(120)),
            clients: 1_024,
            half_open: 256,
            resets: Some((100, Duration::from_secs(10))),
        }
    }
}

impl ServerWrap {
    /// The wrapping of one client in the words of its profile, once its first packet is here: with tls-crypt-v2 its key
    /// stands behind it.
    pub(super) fn of_client(&self, datagram: &[u8]) -> Option<Wrap> {
        match self {
            Self::None => Some(Wrap::None),
            Self::TlsAuth { key, direction, digest } => {
                Some(Wrap::TlsAuth { key: key.clone(), direction: *direction, digest: *digest })
            }
            Self::TlsCrypt { key } => Some(Wrap::TlsCrypt { key: key.clone() }),
            Self::TlsCryptV2 { server_key } => {
                let (key, wrapped) = server_key.open_behind(datagram)?;
                Some(Wrap::TlsCryptV2 { key, wrapped: wrapped.to_vec() })
            }
        }
    }

    pub(super) const fn has_client_keys(&self) -> bool {
        matches!(self, Self::TlsCryptV2 { .. })
    }
}
