//! tls-crypt: everything behind the head and the replay fields is encrypted, all of it authenticated
//! (openvpn-protocol.md section 2.3; OpenVPN `tls_crypt.c`). Cipher and digest are fixed.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{constant_time, hmac};
use mrvpn_profile::StaticKey;
use mrvpn_profile::static_key::KeySlot;

use super::Side;
use super::tls_auth::{replay_fields, stamp};
use crate::control::ControlHead;
use crate::dropped::Dropped;
use crate::reader::Reader;
use crate::replay::Stamp;

/// The keys of both directions.
#[derive(Clone)]
pub(super) struct TlsCrypt {
    send: Arc<Keys>,
    receive: Arc<Keys>,
}

struct Keys {
    hmac: hmac::Key,
    cipher: EncryptingKey,
}

const TAG: usize = 32;
const IV: usize = 16;

impl TlsCrypt {
    /// Packet id, time and tag.
    pub(super) const OVERHEAD: usize = 8 + TAG;

    pub(super) fn new(key: &StaticKey, side: Side) -> Self {
        let (send, receive) = match side {
            Side::Client => (KeySlot::Second, KeySlot::First),
            Side::Server => (KeySlot::First, KeySlot::Second),
        };
        Self { send: Arc::new(Keys::new(key, send)), receive: Arc::new(Keys::new(key, receive)) }
    }

    pub(super) fn wrap(&self, head: ControlHead, mut body: Vec<u8>, stamp: Stamp, out: &mut Vec<u8>) {
        let head = head.bytes();
        let replay = replay_fields(stamp);
        let tag = self.send.tag(&head, &replay, &body);
        self.send.apply_keystream(tag.as_ref(), &mut body);
        out.extend_from_slice(&head);
        out.extend_from_slice(&replay);
        out.extend_from_slice(tag.as_ref());
        out.extend_from_slice(&body);
    }

    pub(super) fn unwrap(&self, head: ControlHead, rest: &[u8]) -> Result<(Vec<u8>, Stamp), Dropped> {
        let mut reader = Reader::new(rest);
        let replay: [u8; 8] = reader.array().ok_or(Dropped::Short)?;
        let claimed = reader.take(TAG).ok_or(Dropped::Short)?;
        let mut body = reader.rest().to_vec();
        self.receive.apply_keystream(claimed, &mut body);
        let expected = self.receive.tag(&head.bytes(), &replay, &body);
        constant_time::verify_slices_are_equal(claimed, expected.as_ref()).map_err(|_| Dropped::Forged)?;
        Ok((body, stamp(replay)?))
    }
}

impl Keys {
    #[expect(clippy::expect_used, reason = "a slot of a static key always has 64 bytes, and AES-256 takes any 32")]
    fn new(key: &StaticKey, slot: KeySlot) -> Self {
        let cipher = key.cipher(slot).get(..32).expect("a cipher slot has 64 bytes");
        let hmac = key.hmac(slot).get(..32).expect("an HMAC slot has 64 bytes");
        let cipher = UnboundCipherKey::new(&AES_256, cipher).expect("32 bytes are an AES-256 key");
        Self {
            hmac: hmac::Key::new(hmac::HMAC_SHA256, hmac),
            cipher: EncryptingKey::ctr(cipher).expect("AES-256 has a counter mode"),
        }
    }

    fn tag(&self, head: &[u8; ControlHead::LEN], replay: &[u8; 8], body: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.hmac);
        context.update(head);
        context.update(replay);
        context.update(body);
        context.sign()
    }

    /// AES-256-CTR, its counter block begun by the first half of the tag; the same for both directions.
    #[expect(clippy::expect_used, reason = "counter mode with an IV of 16 bytes takes any number of bytes")]
    fn apply_keystream(&self, tag: &[u8], bytes: &mut [u8]) {
        let iv: [u8; IV] = tag.first_chunk().copied().expect("a tag has 32 bytes");
        let context = EncryptionContext::Iv128(FixedLength::from(iv));
        self.cipher.less_safe_encrypt(bytes, context).expect("counter mode takes any length");
    }
}

impl fmt::Debug for TlsCrypt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsCrypt")
    }
}
