//! Which cipher and peer id hold, once the push is whole (openvpn-protocol.md sections 5.5 and 7.1; OpenVPN
//! `ssl_ncp.c`, `init.c`). A server cannot choose outside the profile's list.

use mrvpn_profile::assignment::PushedCipher;
use mrvpn_profile::escape::escape;
use mrvpn_profile::{Assignment, Cipher};

use super::{EndReason, Unsupported};
use crate::config::SessionConfig;
use crate::ids::PeerId;
use crate::key_method::ServerMessage;

/// What was agreed, once, for every key of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Negotiated {
    pub(super) cipher: Cipher,
    pub(super) peer_id: PeerId,
    pub(super) derivation: Derivation,
}

/// How key material is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Derivation {
    /// By the TLS exporter: the server pushed `tls-ekm`.
    Exporter,
    /// From the randoms of both key exchange messages: every other server.
    Prf,
}

pub(super) fn decide(
    config: &SessionConfig,
    server: &ServerMessage,
    assignment: &Assignment,
) -> Result<Negotiated, EndReason> {
    let flags = assignment.protocol_flags;
    if flags.aead_epoch {
        return Err(EndReason::Unsupported(Unsupported::AeadEpoch));
    }
    let derivation = if flags.tls_ekm { Derivation::Exporter } else { Derivation::Prf };
    let peer_id = assignment.peer_id.and_then(PeerId::new).ok_or(EndReason::Unsupported(Unsupported::NoPeerId))?;
    Ok(Negotiated { cipher: cipher(config, server, assignment)?, peer_id, derivation })
}

/// The pushed cipher, else the one of the server's options string, else the profile's fallback.
fn cipher(config: &SessionConfig, server: &ServerMessage, assignment: &Assignment) -> Result<Cipher, EndReason> {
    let refused = |name: Option<String>| EndReason::Cipher { server: name, allowed: config.ciphers.clone() };
    let named = match (&assignment.cipher, server.option("cipher")) {
        (Some(PushedCipher::Known(cipher)), _) => *cipher,
        (Some(PushedCipher::Unknown(name)), _) => return Err(refused(Some(name.clone()))),
        (None, Some(name)) => Cipher::by_name(name).ok_or_else(|| refused(Some(escape(name.as_bytes()))))?,
        (None, None) => return config.fallback.ok_or_else(|| refused(None)),
    };
    if config.ciphers.contains(&named) || config.fallback == Some(named) {
        Ok(named)
    } else {
        Err(refused(Some(String::from(named.name()))))
    }
}
