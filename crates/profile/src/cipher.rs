//! Data-channel ciphers and message digests by their OpenVPN names.

use std::fmt;

/// An AEAD cipher of the data channel that this version speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cipher {
    /// AES-128-GCM.
    Aes128Gcm,
    /// AES-256-GCM.
    Aes256Gcm,
    /// CHACHA20-POLY1305.
    ChaCha20Poly1305,
}

impl Cipher {
    /// OpenVPN's default `data-ciphers`, in its order (`options.c`).
    pub const DEFAULT: [Self; 3] = [Self::Aes256Gcm, Self::Aes128Gcm, Self::ChaCha20Poly1305];

    /// The cipher of this OpenVPN name, upper or lower case; `None` where this version does not speak it.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let wanted = name.to_ascii_uppercase();
        match wanted.as_str() {
            "AES-128-GCM" | "ID-AES128-GCM" => Some(Self::Aes128Gcm),
            "AES-256-GCM" | "ID-AES256-GCM" => Some(Self::Aes256Gcm),
            "CHACHA20-POLY1305" => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    /// The name as OpenVPN writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "AES-128-GCM",
            Self::Aes256Gcm => "AES-256-GCM",
            Self::ChaCha20Poly1305 => "CHACHA20-POLY1305",
        }
    }

    /// Key length in bytes.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The digest of option `auth`: it makes the HMAC of tls-auth (and of CBC data packets, which this version does not
/// speak).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// SHA1, OpenVPN's default.
    Sha1,
    /// SHA256.
    Sha256,
    /// SHA384.
    Sha384,
    /// SHA512.
    Sha512,
}

impl Digest {
    /// The digest of this OpenVPN name, upper or lower case.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "SHA1" | "SHA-1" | "RSA-SHA1" => Some(Self::Sha1),
            "SHA256" | "SHA2-256" | "SHA-256" | "RSA-SHA256" => Some(Self::Sha256),
            "SHA384" | "SHA2-384" | "SHA-384" | "RSA-SHA384" => Some(Self::Sha384),
            "SHA512" | "SHA2-512" | "SHA-512" | "RSA-SHA512" => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The name as OpenVPN writes it in the options string.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
        }
    }

    /// Length of the digest in bytes.
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Never: a digest has bytes. (Beside [`Digest::len`].)
    #[must_use]
    pub const fn is_empty(self) -> bool {
        false
    }
}
