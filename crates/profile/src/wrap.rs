//! How control packets are wrapped, as the profile says it (openvpn-protocol.md section 2).

use crate::{Digest, StaticKey};

/// `key-direction`, or the second word of `tls-auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyDirection {
    /// No direction: both sides use the first slot.
    Both,
    /// `0`: sends with the first slot, receives with the second.
    Normal,
    /// `1`, the usual client: sends with the second slot, receives with the first.
    Inverse,
}

/// The wrapping of the control channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrap {
    /// None: packets travel bare.
    None,
    /// `tls-auth`: an HMAC of digest `auth`.
    TlsAuth {
        /// The shared key.
        key: StaticKey,
        /// Which slots of it.
        direction: KeyDirection,
        /// Option `auth`.
        digest: Digest,
    },
    /// `tls-crypt`: encrypted and authenticated.
    TlsCrypt {
        /// The shared key.
        key: StaticKey,
    },
    /// `tls-crypt-v2`: as `tls-crypt`, with a key of this client alone (section 2.5).
    TlsCryptV2 {
        /// The client's key, Kc.
        key: StaticKey,
        /// The same key sealed for the server, WKc: 290 to 1,024 bytes that only the server can read. The client
        /// appends it to its first packets.
        wrapped: Vec<u8>,
    },
}
