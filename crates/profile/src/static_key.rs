//! The 256-byte static key of tls-auth and tls-crypt (openvpn-protocol.md section 2.1; OpenVPN `crypto.c`,
//! `read_key_file`), and its text form.

use zeroize::Zeroizing;

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

    /// Reads the text form: what stands before the begin line is ignored, then hexadecimal digits in either case with
    /// blanks between them, then the end line.
    ///
    /// # Errors
    ///
    /// No begin or end line, something else than digits between them, or not exactly 256 bytes.
    pub fn from_text(text: &[u8]) -> Result<Self, StaticKeyError> {
        let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        lines.find(|line| *line == BEGIN).ok_or(StaticKeyError::NoBegin)?;
        // One digit more than fits is enough to know that there are too many; the buffer never grows.
        let mut digits = Zeroizing::new(Vec::with_capacity(MOST_DIGITS));
        for line in lines {
            if line == END {
                return Self::from_digits(&digits);
            }
            for byte in line.iter().filter(|byte| !byte.is_ascii_whitespace()) {
                let digit = char::from(*byte).to_digit(16).ok_or(StaticKeyError::NotHex)?;
                if digits.len() < MOST_DIGITS {
                    digits.push(u8::try_from(digit).unwrap_or_default());
                }
            }
        }
        Err(StaticKeyError::NoEnd)
    }

    fn from_digits(digits: &[u8]) -> Result<Self, StaticKeyError> {
        let bytes: Vec<u8> =
            digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | digit)).collect();
        let key = Secret::new(bytes);
        let fits = digits.len() == Self::LEN.saturating_mul(2);
        fits.then_some(Self(key)).ok_or(StaticKeyError::Length)
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

/// Why a text is no static key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StaticKeyError {
    /// The begin line is missing.
    #[error("the line -----BEGIN OpenVPN Static key V1----- is missing")]
    NoBegin,
    /// The end line is missing.
    #[error("the line -----END OpenVPN Static key V1----- is missing")]
    NoEnd,
    /// Something else than hexadecimal digits.
    #[error("the key holds something else than hexadecimal digits")]
    NotHex,
    /// Too short or too long.
    #[error("the key has not exactly 256 bytes (512 hexadecimal digits)")]
    Length,
}

const BEGIN: &[u8] = b"-----BEGIN OpenVPN Static key V1-----";
const END: &[u8] = b"-----END OpenVPN Static key V1-----";

/// One digit more than a key has.
const MOST_DIGITS: usize = StaticKey::LEN * 2 + 1;

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
