//! The 256-byte static key of tls-auth and tls-crypt (openvpn-protocol.md section 2.1; OpenVPN `crypto.c`,
//! `read_key_file`).

use crate::Secret;

/// 256 bytes: two slots of 64 bytes cipher key and 64 bytes HMAC key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticKey(Secret<Vec<u8>>);

impl StaticKey {
    /// Length of the whole key in bytes.
    pub const LEN: usize = 256;

    /// Takes exactly 256 bytes; `None` for any other length.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let key = Secret::new(bytes);
        (key.expose().len() == Self::LEN).then_some(Self(key))
    }

    /// The cipher key of `slot` (0 or 1): 64 bytes.
    #[must_use]
    pub fn cipher(&self, slot: KeySlot) -> &[u8] {
        self.part(slot.offset())
    }

    /// The HMAC key of `slot` (0 or 1): 64 bytes.
    #[must_use]
    pub fn hmac(&self, slot: KeySlot) -> &[u8] {
        self.part(slot.offset().saturating_add(64))
    }

    fn part(&self, offset: usize) -> &[u8] {
        self.0.expose().get(offset..offset.saturating_add(64)).unwrap_or(&[])
    }
}

/// One of the two slots of a static key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySlot {
    /// Bytes 0 to 127.
    First,
    /// Bytes 128 to 255.
    Second,
}

impl KeySlot {
    const fn offset(self) -> usize {
        match self {
            Self::First => 0,
            Self::Second => 128,
        }
    }
}
