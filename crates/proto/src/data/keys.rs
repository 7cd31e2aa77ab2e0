//! The two halves of one data key, made from a key block. Sealing is `sealer.rs`, opening `opener.rs`.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use mrvpn_clock::Moment;
use mrvpn_profile::Cipher;

use super::{Opener, Sealer};
use crate::ids::PeerId;
use crate::key_block::{KeyBlock, KeyHalf};
use crate::opcode::KeyId;
use crate::wrapping::Side;

/// One data key: for the lane that owns the tunnel.
#[derive(Debug)]
pub struct DataKeys {
    /// Which packets it opens.
    pub key_id: KeyId,
    /// When it seals: from this moment on, or sooner once it has opened a packet; until then the key before it does.
    /// The server cannot open with it any sooner than it has finished its own side of the negotiation. A first key,
    /// and one whose predecessor is retired, seals at once.
    pub seal_after: Moment,
    /// For what goes out.
    pub sealer: Sealer,
    /// For what comes in.
    pub opener: Opener,
}

impl DataKeys {
    /// The keys of `side`, which seal at once.
    #[must_use]
    pub fn new(block: &KeyBlock, side: Side, cipher: Cipher, key_id: KeyId, peer_id: PeerId) -> Self {
        let other = match side {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        };
        Self {
            key_id,
            seal_after: Moment::default(),
            sealer: Sealer::new(DirectionKey::new(block.half(side), cipher), key_id, peer_id),
            opener: Opener::new(DirectionKey::new(block.half(other), cipher), key_id),
        }
    }

    /// The same keys as they are after long use: `next` is the id of the next packet, `spent` the blocks and packets
    /// so far in both directions.
    #[cfg(any(test, feature = "test-peer"))]
    #[must_use]
    pub fn aged(mut self, next: u32, spent: u64) -> Self {
        self.sealer.age(next, spent);
        self.opener.age(spent);
        self
    }
}

/// Cipher key and implicit IV of one direction.
pub(super) struct DirectionKey {
    pub(super) key: LessSafeKey,
    pub(super) cipher: Cipher,
    implicit_iv: [u8; 8],
}

impl DirectionKey {
    fn new(half: KeyHalf<'_>, cipher: Cipher) -> Self {
        let algorithm = match cipher {
            Cipher::Aes128Gcm => &AES_128_GCM,
            Cipher::Aes256Gcm => &AES_256_GCM,
            Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        let key = half.cipher.get(..cipher.key_len()).expect("a cipher slot has 64 bytes");
        let key = UnboundKey::new(algorithm, key).expect("the key has the cipher's length");
        let implicit_iv = half.hmac.first_chunk().copied().expect("an HMAC slot has 64 bytes");
        Self { key: LessSafeKey::new(key), cipher, implicit_iv }
    }

    /// The nonce of a packet: its id, then the implicit IV (section 6.2).
    pub(super) fn nonce(&self, packet_id: [u8; 4]) -> Nonce {
        let [a, b, c, d] = packet_id;
        let [e, f, g, h, i, j, k, l] = self.implicit_iv;
        Nonce::assume_unique_for_key([a, b, c, d, e, f, g, h, i, j, k, l])
    }
}
