//! The 256 bytes of key material of one data key, how they are made, and who uses which part (openvpn-protocol.md
//! sections 5.4 to 5.6; OpenVPN `ssl.c`, `generate_key_expansion`). The keys made from it are in `data/keys.rs`.

use std::fmt;

use zeroize::Zeroizing;

use crate::ids::SessionId;
use crate::key_method::{KeySource, ServerMessage};
use crate::prf::tls1_prf;
use crate::tls::{Tls, TlsError};
use crate::wrapping::Side;

/// 256 bytes of key material.
#[derive(Clone)]
pub struct KeyBlock(Zeroizing<[u8; Self::LEN]>);

/// The label of the exporter (`ssl.h`, EXPORT_KEY_DATA_LABEL).
const LABEL: &str = "EXPORTER-OpenVPN-datakeys";

/// The labels of the derivation without exporter (`ssl.c`, KEY_EXPANSION_ID), each without a NUL.
const MASTER_LABEL: &[u8] = b"OpenVPN master secret";
const EXPANSION_LABEL: &[u8] = b"OpenVPN key expansion";

impl KeyBlock {
    /// Length in bytes.
    pub const LEN: usize = 256;

    /// Wraps given bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The material that a finished TLS session exports (section 5.5).
    ///
    /// # Errors
    /// [`TlsError`] where the session cannot export.
    pub fn export(tls: &dyn Tls) -> Result<Self, TlsError> {
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        tls.export(LABEL, bytes.as_mut_slice())?;
        Ok(Self(bytes))
    }

    /// The material that follows from the key exchange messages of both sides, for servers that do not export (section
    /// 5.4). `own` and `server_id` are the session ids of client and server.
    #[must_use]
    pub fn derive(client: &KeySource, own: SessionId, server: &ServerMessage, server_id: SessionId) -> Self {
        let mut master = Zeroizing::new([0; 48]);
        let seed = [MASTER_LABEL, &client.random1, &server.random1].concat();
        tls1_prf(client.pre_master.as_slice(), &seed, master.as_mut_slice());
        let seed = [EXPANSION_LABEL, &client.random2, &server.random2, own.bytes(), server_id.bytes()].concat();
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        tls1_prf(master.as_slice(), &seed, bytes.as_mut_slice());
        Self(bytes)
    }

    /// The half by which `sender` seals: 64 bytes for the cipher key, 64 for the HMAC key or implicit IV.
    #[must_use]
    pub fn half(&self, sender: Side) -> KeyHalf<'_> {
        let (client, server) = self.0.split_at(Self::LEN / 2);
        let (cipher, hmac) = match sender {
            Side::Client => client,
            Side::Server => server,
        }
        .split_at(Self::LEN / 4);
        KeyHalf { cipher, hmac }
    }
}

impl fmt::Debug for KeyBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyBlock(***)")
    }
}

/// The material of one direction.
#[derive(Clone, Copy)]
pub struct KeyHalf<'a> {
    /// Cipher slot: the key is its beginning.
    pub cipher: &'a [u8],
    /// HMAC slot: its first 8 bytes are the implicit IV of an AEAD key.
    pub hmac: &'a [u8],
}

impl fmt::Debug for KeyHalf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHalf(***)")
    }
}
