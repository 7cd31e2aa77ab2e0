//! Opens packets in place (openvpn-protocol.md sections 6.2, 6.5 and 6.7): authenticates first, then asks the replay
//! window. A packet that fails costs nothing but the look at it.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::fmt;

use aws_lc_rs::aead::Aad;
use mrvpn_clock::Moment;

use super::keys::DirectionKey;
use super::usage::Usage;
use crate::ids::PacketId;
use crate::limits;
use crate::opcode::{KeyId, Opcode};
use crate::replay::ReplayWindow;

/// The receiving half of a data key, with its replay window.
pub struct Opener {
    key: DirectionKey,
    first_byte: u8,
    window: ReplayWindow<{ limits::DATA_REPLAY_WINDOW }>,
    usage: Usage,
    forgeries: u64,
}

/// Why a data packet was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum OpenError {
    /// Shorter than header and tag.
    #[error("the data packet is too short")]
    Short,
    /// It does not authenticate under this key, or is no P_DATA_V2 packet of this key id.
    #[error("the data packet does not authenticate")]
    Forged,
    /// Authentic, but its id came before or is too old.
    #[error("the data packet is a replay")]
    Replayed,
    /// Authentic, but without a byte of payload.
    #[error("the data packet is empty")]
    Empty,
    /// The key is used up: 2^36 forged packets, or all that AES-GCM allows.
    #[error("the data key is used up")]
    Worn,
}

const AD: usize = 8;
const TAG: usize = 16;

impl Opener {
    pub(super) fn new(key: DirectionKey, key_id: KeyId) -> Self {
        let usage = Usage::new(key.cipher);
        let first_byte = Opcode::DataV2.with_key(key_id);
        Self { key, first_byte, window: ReplayWindow::new(), usage, forgeries: 0 }
    }

    /// Opens `datagram` in place and returns the inner packet within it.
    ///
    /// # Errors
    /// [`OpenError`]; the bytes of a refused datagram may be overwritten, nothing else has changed (but the count of
    /// forgeries).
    pub fn open<'a>(&mut self, datagram: &'a mut [u8], now: Moment) -> Result<&'a mut [u8], OpenError> {
        let (ad, rest) = datagram.split_first_chunk_mut::<AD>().ok_or(OpenError::Short)?;
        let (tag, sealed) = rest.split_first_chunk_mut::<TAG>().ok_or(OpenError::Short)?;
        if self.forgeries >= limits::FORGERIES || self.usage.is_spent() {
            return Err(OpenError::Worn);
        }
        let [first, _, _, _, id @ ..] = *ad;
        if first != self.first_byte {
            return Err(OpenError::Forged);
        }
        let opened = self.key.key.open_in_place_separate_tag(self.key.nonce(id), Aad::from(*ad), tag, sealed);
        let Ok(packet) = opened else {
            self.forgeries = self.forgeries.saturating_add(1);
            return Err(OpenError::Forged);
        };
        let id = PacketId::new(u32::from_be_bytes(id)).ok_or(OpenError::Replayed)?;
        if !self.window.accept(id, now) {
            return Err(OpenError::Replayed);
        }
        self.usage.count(packet.len());
        if packet.is_empty() { Err(OpenError::Empty) } else { Ok(packet) }
    }

    #[cfg(any(test, feature = "test-peer"))]
    pub(super) fn age(&mut self, spent: u64) {
        self.usage.age(spent);
    }

    /// Whether the key should be replaced soon: 7/8 of what AES-GCM allows were opened.
    #[must_use]
    pub const fn worn(&self) -> bool {
        self.usage.is_worn() || self.forgeries >= limits::FORGERIES / 2
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener")
            .field("cipher", &self.key.cipher)
            .field("window", &self.window)
            .field("forgeries", &self.forgeries)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use mrvpn_profile::Cipher;

    use super::super::{DataKeys, Sealer};
    use super::*;
    use crate::ids::PeerId;
    use crate::key_block::KeyBlock;
    use crate::wrapping::Side;

    fn keys(cipher: Cipher) -> (Sealer, Opener) {
        let block = KeyBlock::from_bytes([7; KeyBlock::LEN]);
        let keys = |side| DataKeys::new(&block, side, cipher, KeyId::FIRST, PeerId::new(1).unwrap());
        (keys(Side::Client).sealer, keys(Side::Server).opener)
    }

    /// What becomes of one more good packet.
    fn open(sealer: &mut Sealer, opener: &mut Opener) -> Result<usize, OpenError> {
        let mut frame = [7; Sealer::HEADROOM + 32];
        sealer.seal(&mut frame).unwrap();
        opener.open(&mut frame, Moment::default()).map(|inner| inner.len())
    }

    // proves: T-14
    #[test]
    fn a_key_that_opened_all_it_may_opens_no_more() {
        for (spent, expected) in [(limits::GCM_USAGE - 1, Ok(32)), (limits::GCM_USAGE, Err(OpenError::Worn))] {
            let (mut sealer, mut opener) = keys(Cipher::Aes256Gcm);
            opener.age(spent);
            assert_eq!(open(&mut sealer, &mut opener), expected, "{spent}");
        }
        let (mut sealer, mut opener) = keys(Cipher::ChaCha20Poly1305);
        opener.age(u64::MAX);
        assert_eq!(open(&mut sealer, &mut opener), Ok(32), "this cipher has no such limit");
    }

    // proves: T-05, T-14
    #[test]
    fn a_key_that_was_guessed_at_too_often_opens_no_more() {
        let (mut sealer, mut opener) = keys(Cipher::ChaCha20Poly1305);
        opener.forgeries = limits::FORGERIES - 1;
        assert_eq!(open(&mut sealer, &mut opener), Ok(32));
        let mut forged = [7; Sealer::HEADROOM + 32];
        sealer.seal(&mut forged).unwrap();
        forged[Sealer::HEADROOM] ^= 1;
        assert_eq!(opener.open(&mut forged, Moment::default()), Err(OpenError::Forged));
        assert_eq!(open(&mut sealer, &mut opener), Err(OpenError::Worn));
    }

    // proves: T-14
    #[test]
    fn a_key_is_replaced_at_seven_eighths_of_its_use_or_half_of_its_forgeries() {
        let half = limits::FORGERIES / 2;
        for (spent, forgeries, worn) in [
            (0, 0, false),
            (limits::GCM_USAGE_WORN, half - 1, false),
            (limits::GCM_USAGE_WORN + 1, 0, true),
            (0, half, true),
            (0, half + 1, true),
            (limits::GCM_USAGE_WORN + 1, half, true),
        ] {
            let (_, mut opener) = keys(Cipher::Aes256Gcm);
            opener.age(spent);
            opener.forgeries = forgeries;
            assert_eq!(opener.worn(), worn, "{spent} {forgeries}");
        }
    }

    // proves: I-11
    #[test]
    fn keys_are_shown_by_their_cipher_alone() {
        let (sealer, opener) = keys(Cipher::Aes256Gcm);
        assert_eq!(format!("{sealer:?}"), "Sealer { cipher: Aes256Gcm, next: Some(1), .. }");
        let shown = format!("{opener:?}");
        assert!(shown.starts_with("Opener { cipher: Aes256Gcm, window: ") && shown.ends_with("forgeries: 0, .. }"));
        assert!(!shown.contains("7, 7"), "{shown}");
    }
}
