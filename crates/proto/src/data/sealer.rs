//! Seals packets in place, in the very buffer that is sent: header, packet id and tag go into the 24 bytes in front of
//! the inner packet (openvpn-protocol.md section 6.2). It allocates nothing and copies nothing.

use std::fmt;

use aws_lc_rs::aead::Aad;

use super::keys::DirectionKey;
use super::usage::Usage;
use crate::ids::PeerId;
use crate::limits;
use crate::opcode::{KeyId, Opcode};

/// The sending half of a data key. One counter; nobody else may seal under the same key.
pub struct Sealer {
    key: DirectionKey,
    /// Opcode, key id and peer id.
    header: [u8; 4],
    /// Id of the next packet; `None` when all are used.
    next: Option<u32>,
    usage: Usage,
}

/// Why a packet was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No byte of a packet behind the headroom, or a stride that has none.
    #[error("a frame must be longer than its headroom")]
    Short,
    /// The key is used up: a new session must bring another.
    #[error("the data key is used up")]
    Worn,
}

impl Sealer {
    /// Bytes in front of the inner packet: opcode, key id and peer id (4), packet id (4), tag (16). The datagram begins
    /// with the first of them.
    pub const HEADROOM: usize = 24;

    /// Bytes of the additional data: header and packet id.
    const AD: usize = 8;

    pub(super) fn new(key: DirectionKey, key_id: KeyId, peer_id: PeerId) -> Self {
        let [a, b, c] = peer_id.bytes();
        let usage = Usage::new(key.cipher);
        Self { key, header: [Opcode::DataV2.with_key(key_id), a, b, c], next: Some(1), usage }
    }

    /// The cipher of its key.
    #[must_use]
    pub const fn cipher(&self) -> mrvpn_profile::Cipher {
        self.key.cipher
    }

    /// Seals one packet: `frame` is [`Self::HEADROOM`] bytes of room and the inner packet; afterwards all of it is the
    /// datagram.
    ///
    /// # Errors
    /// [`SealError::Short`], [`SealError::Worn`]; the frame is then not to be sent.
    pub fn seal(&mut self, frame: &mut [u8]) -> Result<(), SealError> {
        let Some((room, packet)) = frame.split_first_chunk_mut::<{ Self::HEADROOM }>() else {
            return Err(SealError::Short);
        };
        if packet.is_empty() {
            return Err(SealError::Short);
        }
        let packet_id = self.take_id()?.to_be_bytes();
        let mut ad = [0; Self::AD];
        ad[..4].copy_from_slice(&self.header);
        ad[4..].copy_from_slice(&packet_id);
        self.usage.count(packet.len());
        let sealed = self.key.key.seal_in_place_separate_tag(self.key.nonce(packet_id), Aad::from(ad), packet);
        let tag = sealed.map_err(|_| SealError::Worn)?;
        room[..Self::AD].copy_from_slice(&ad);
        room[Self::AD..].copy_from_slice(tag.as_ref());
        Ok(())
    }

    /// Seals frames that lie back to back, each `stride` bytes long, the last maybe shorter: what one UDP GSO send takes.
    ///
    /// # Errors
    /// As [`Self::seal`]; the frames up to the one that failed are sealed, and none of them is to be sent.
    pub fn seal_train(&mut self, frames: &mut [u8], stride: usize) -> Result<(), SealError> {
        if stride <= Self::HEADROOM {
            return Err(SealError::Short);
        }
        frames.chunks_mut(stride).try_for_each(|frame| self.seal(frame))
    }

    /// Whether the key should be replaced soon: past packet id 0xFF000000 or 7/8 of what AES-GCM allows.
    #[must_use]
    pub const fn worn(&self) -> bool {
        self.usage.is_worn()
            || match self.next {
                Some(next) => next >= limits::DATA_PACKET_ID_WORN,
                None => true,
            }
    }

    #[cfg(any(test, feature = "test-peer"))]
    pub(super) fn age(&mut self, next: u32, spent: u64) {
        self.next = Some(next);
        self.usage.age(spent);
    }

    fn take_id(&mut self) -> Result<u32, SealError> {
        if self.usage.is_spent() {
            return Err(SealError::Worn);
        }
        let id = self.next.ok_or(SealError::Worn)?;
        self.next = id.checked_add(1);
        Ok(id)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("cipher", &self.key.cipher).field("next", &self.next).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use mrvpn_profile::Cipher;

    use super::*;
    use crate::data::DataKeys;
    use crate::key_block::KeyBlock;
    use crate::wrapping::Side;

    fn sealer(next: u32) -> Sealer {
        let block = KeyBlock::from_bytes([7; KeyBlock::LEN]);
        let peer_id = PeerId::new(1).unwrap();
        let keys = DataKeys::new(&block, Side::Client, Cipher::Aes256Gcm, KeyId::FIRST, peer_id);
        Sealer { next: Some(next), ..keys.sealer }
    }

    // proves: T-14
    #[test]
    fn a_key_is_worn_from_the_id_that_openvpn_renegotiates_at() {
        let trigger = limits::DATA_PACKET_ID_WORN;
        for (next, worn) in [(1, false), (trigger - 1, false), (trigger, true), (trigger + 1, true)] {
            assert_eq!(sealer(next).worn(), worn, "{next:#x}");
        }
    }

    // proves: T-14
    #[test]
    fn an_id_never_comes_twice() {
        let mut sealer = sealer(u32::MAX);
        let mut frame = [0; 30];
        assert_eq!(sealer.seal(&mut frame), Ok(()));
        assert_eq!(frame[4..8], [0xff; 4]);
        for _ in 0..3 {
            assert_eq!(sealer.seal(&mut [0; 30]), Err(SealError::Worn));
        }
        assert!(sealer.worn());
    }
}
