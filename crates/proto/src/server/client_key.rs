//! The server key of tls-crypt-v2: seals the keys of clients, so that each can bring its own along, and opens them again
//! (openvpn-protocol.md section 2.5; OpenVPN `tls_crypt.c`, `tls_crypt_v2_wrap_client_key`). How packets are wrapped by
//! such a key is `wrapping/tls_crypt_v2.rs`.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{constant_time, hmac};
use mrvpn_profile::StaticKey;
use mrvpn_profile::static_key::KeySlot;
use zeroize::Zeroizing;

use crate::limits;

/// The server key of tls-crypt-v2: 128 bytes, of which 64 are used.
#[derive(Clone)]
pub struct ServerKey(Arc<Keys>);

struct Keys {
    cipher: EncryptingKey,
    hmac: hmac::Key,
}

const TAG: usize = 32;
/// Bytes of the length at the end.
const LENGTH: usize = 2;

impl ServerKey {
    /// Length in bytes.
    pub const LEN: usize = 128;

    /// Takes the bytes of a key file.
    #[expect(clippy::expect_used, reason = "AES-256 takes any 32 bytes and has a counter mode")]
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let (cipher, hmac) = bytes.split_at(Self::LEN / 2);
        let half = |slot: &[u8]| slot.first_chunk::<32>().copied().map(Zeroizing::new).unwrap_or_default();
        let cipher = UnboundCipherKey::new(&AES_256, half(cipher).as_slice()).expect("32 bytes are an AES-256 key");
        Self(Arc::new(Keys {
            cipher: EncryptingKey::ctr(cipher).expect("AES-256 has a counter mode"),
            hmac: hmac::Key::new(hmac::HMAC_SHA256, half(hmac).as_slice()),
        }))
    }

    /// Seals a client's key with `metadata` (a byte of type, then what it says: 734 bytes at most, the rest is cut).
    #[must_use]
    pub fn seal(&self, key: &StaticKey, metadata: &[u8]) -> Vec<u8> {
        const METADATA: usize = limits::WRAPPED_KEY - TAG - StaticKey::LEN - LENGTH;
        let metadata = metadata.get(..METADATA).unwrap_or(metadata);
        let mut inner = Zeroizing::new(Vec::with_capacity(limits::WRAPPED_KEY));
        for slot in [KeySlot::First, KeySlot::Second] {
            inner.extend_from_slice(key.cipher(slot));
            inner.extend_from_slice(key.hmac(slot));
        }
        inner.extend_from_slice(metadata);
        let len = TAG.saturating_add(inner.len()).saturating_add(LENGTH);
        let len = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
        let tag = self.0.tag(len, &inner);
        self.0.apply_keystream(tag.as_ref(), &mut inner);
        [tag.as_ref(), &inner, &len].concat()
    }

    /// Opens a sealed key.
    #[must_use]
    pub fn open(&self, wrapped: &[u8]) -> Option<StaticKey> {
        let (rest, len) = wrapped.split_last_chunk::<LENGTH>()?;
        if usize::from(u16::from_be_bytes(*len)) != wrapped.len() || wrapped.len() > limits::WRAPPED_KEY {
            return None;
        }
        let (tag, sealed) = rest.split_first_chunk::<TAG>()?;
        let mut inner = Zeroizing::new(sealed.to_vec());
        self.0.apply_keystream(tag, &mut inner);
        constant_time::verify_slices_are_equal(tag, self.0.tag(*len, &inner).as_ref()).ok()?;
        StaticKey::from_bytes(inner.get(..StaticKey::LEN)?.to_vec())
    }

    /// Finds the sealed key behind a packet and opens it.
    pub(super) fn open_behind<'a>(&self, datagram: &'a [u8]) -> Option<(StaticKey, &'a [u8])> {
        let len = usize::from(u16::from_be_bytes(*datagram.last_chunk::<LENGTH>()?));
        let wrapped = datagram.get(datagram.len().checked_sub(len)?..)?;
        Some((self.open(wrapped)?, wrapped))
    }
}

impl Keys {
    fn tag(&self, len: [u8; LENGTH], inner: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.hmac);
        context.update(&len);
        context.update(inner);
        context.sign()
    }

    /// AES-256-CTR, its counter block begun by the first half of the tag; the same for both directions.
    #[expect(clippy::expect_used, reason = "counter mode with an IV of 16 bytes takes any number of bytes")]
    fn apply_keystream(&self, tag: &[u8], bytes: &mut [u8]) {
        let iv: [u8; 16] = tag.first_chunk().copied().expect("a tag has 32 bytes");
        let context = EncryptionContext::Iv128(FixedLength::from(iv));
        self.cipher.less_safe_encrypt(bytes, context).expect("counter mode takes any length");
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerKey(***)")
    }
}
