//! How much a data key has been used (openvpn-protocol.md section 6.6; OpenVPN `crypto.c`, `aead_usage_limit`): AES-GCM
//! loses its promise after 2^36 blocks and packets, and a packet id must never come twice.

use mrvpn_profile::Cipher;

use crate::limits;

/// Blocks and packets under one key, counted where the cipher has a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    spent: u64,
    limited: bool,
}

impl Usage {
    pub(super) const fn new(cipher: Cipher) -> Self {
        let limited = match cipher {
            Cipher::Aes128Gcm | Cipher::Aes256Gcm => true,
            Cipher::ChaCha20Poly1305 => false,
        };
        Self { spent: 0, limited }
    }

    #[cfg(any(test, feature = "test-peer"))]
    pub(super) const fn age(&mut self, spent: u64) {
        self.spent = spent;
    }

    /// Counts one packet of `len` bytes: its 16-byte blocks, begun ones included, and itself.
    pub(super) fn count(&mut self, len: usize) {
        let blocks = u64::try_from(len.div_ceil(16)).unwrap_or(u64::MAX);
        self.spent = self.spent.saturating_add(blocks).saturating_add(1);
    }

    /// Past 7/8 of the limit.
    pub(super) const fn is_worn(self) -> bool {
        self.limited && self.spent > limits::GCM_USAGE_WORN
    }

    /// At the limit: the key must do no more.
    pub(super) const fn is_spent(self) -> bool {
        self.limited && self.spent >= limits::GCM_USAGE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(spent: u64, cipher: Cipher) -> Usage {
        Usage { spent, ..Usage::new(cipher) }
    }

    // proves: T-14
    #[test]
    fn a_gcm_key_wears_at_seven_eighths_and_ends_at_the_limit() {
        let cases = [
            (limits::GCM_USAGE_WORN, false, false),
            (limits::GCM_USAGE_WORN + 1, true, false),
            (limits::GCM_USAGE - 1, true, false),
            (limits::GCM_USAGE, true, true),
        ];
        for (count, worn, over) in cases {
            let usage = spent(count, Cipher::Aes256Gcm);
            assert_eq!((usage.is_worn(), usage.is_spent()), (worn, over), "{count}");
        }
        assert!(!spent(u64::MAX, Cipher::ChaCha20Poly1305).is_worn());
    }

    #[test]
    fn begun_blocks_count_whole() {
        let mut usage = Usage::new(Cipher::Aes128Gcm);
        usage.count(1_600);
        assert_eq!(usage.spent, 101);
        usage.count(1);
        assert_eq!(usage.spent, 103);
    }
}
