//! A session's configuration, as decided. What the user wrote is `mrvpn_profile::Profile`; certificates go into the
//! `TlsConnector`, not here.

use std::time::Duration;

use mrvpn_profile::{AuthToken, Cipher, Credentials, Digest, Profile, PullOptions, Renewal, Transport, Wrap};

use crate::limits;

/// What one session is told.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Wrapping of control packets.
    pub wrap: Wrap,
    /// The outer transport. Control packets have the same size in both; over TCP nothing is said when a session ends,
    /// since the stream's end says it.
    pub transport: Transport,
    /// Whether the outer packets are IPv6: their header is 20 bytes longer, control packets that much shorter.
    pub ipv6_outside: bool,
    /// User and password. A stock server takes 127 bytes of each at most and refuses longer ones by name.
    pub credentials: Option<Credentials>,
    /// A token of an earlier session ([`crate::Event::Token`]), sent instead of the password. Where the server refuses
    /// it the session ends with [`crate::EndReason::TokenRefused`]: the next one takes the password.
    pub token: Option<AuthToken>,
    /// Accepted data ciphers, in order (`data-ciphers`).
    pub ciphers: Vec<Cipher>,
    /// Cipher for a server that names none (`data-ciphers-fallback`).
    pub fallback: Option<Cipher>,
    /// Option `auth`, for the options string.
    pub digest: Digest,
    /// What pushed options are added to.
    pub pull: PullOptions,
    /// Time from the first packet to the end of the handshake, 60 s at most (`hand-window`).
    pub hand_window: Duration,
    /// When new keys are made without the server's asking, and how long old ones open packets.
    pub renewal: Renewal,
    /// `explicit-exit-notify` of the profile: the server is told when the session is closed.
    pub explicit_exit_notify: Option<u32>,
    /// mrvpn's version as `0.1.0`, for IV_VER.
    pub version: String,
}

impl SessionConfig {
    /// What `profile` says, with the credentials that were found for it: over UDP and without a token, which are fields
    /// to set.
    #[must_use]
    pub fn from_profile(profile: &Profile, credentials: Option<Credentials>, ipv6_outside: bool) -> Self {
        Self {
            wrap: profile.wrap.clone(),
            transport: Transport::Udp,
            ipv6_outside,
            credentials,
            token: None,
            ciphers: profile.data_ciphers.clone(),
            fallback: profile.data_ciphers_fallback,
            digest: profile.auth,
            pull: profile.pull.clone(),
            hand_window: profile.hand_window.min(limits::HANDSHAKE),
            renewal: profile.renewal,
            explicit_exit_notify: profile.explicit_exit_notify,
            version: String::from(env!("CARGO_PKG_VERSION")),
        }
    }
}
