//! What a client can, from its peer info and options string, and what follows for its data channel (openvpn-protocol.md
//! sections 5.2, 5.3 and 7.2; OpenVPN `ssl_ncp.c`, `ncp_get_best_cipher`).

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use mrvpn_profile::Cipher;

use crate::key_method::ReceivedClientMessage;
use crate::peer_info::iv_proto;

/// What a client can.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Abilities {
    proto: u32,
    ciphers: Vec<Cipher>,
    /// Whether it takes a cipher that is pushed.
    pub(super) takes_cipher: bool,
    /// Whether it takes a tun MTU that is pushed.
    pub(super) takes_mtu: bool,
}

impl Abilities {
    pub(super) fn of(message: &ReceivedClientMessage) -> Self {
        let info = String::from_utf8_lossy(&message.peer_info);
        let value = |key: &str| info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let number = |key: &str| value(key).and_then(|text| text.parse().ok()).unwrap_or(0_u32);
        let listed = value("IV_CIPHERS");
        let negotiates = number("IV_NCP") >= 2;
        let ciphers = match listed {
            Some(list) => list.split(':').filter_map(Cipher::by_name).collect(),
            None if negotiates => vec![Cipher::Aes256Gcm, Cipher::Aes128Gcm],
            None => option_cipher(&message.options).into_iter().collect(),
        };
        Self {
            proto: number("IV_PROTO"),
            ciphers,
            takes_cipher: listed.is_some() || negotiates,
            takes_mtu: value("IV_MTU").is_some(),
        }
    }

    pub(super) const fn can(&self, bit: u32) -> bool {
        self.proto & bit != 0
    }

    /// The first of `wanted` that the client takes, if its packets carry peer ids at all.
    pub(super) fn choose(&self, wanted: &[Cipher]) -> Option<Cipher> {
        if !self.can(iv_proto::DATA_V2) {
            return None;
        }
        wanted.iter().copied().find(|cipher| self.ciphers.contains(cipher))
    }
}

fn option_cipher(options: &[u8]) -> Option<Cipher> {
    let text = std::str::from_utf8(options).ok()?;
    text.split(',').find_map(|item| Cipher::by_name(item.strip_prefix("cipher ")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abilities(peer_info: &str, options: &str) -> Abilities {
        Abilities::of(&ReceivedClientMessage {
            randoms: Vec::new(),
            options: options.as_bytes().to_vec(),
            user: Vec::new(),
            password: Vec::new(),
            peer_info: peer_info.as_bytes().to_vec(),
        })
    }

    #[test]
    fn the_servers_order_decides_among_the_ciphers_of_the_client() {
        let best = |info: &str, options: &str, wanted: &[Cipher]| abilities(info, options).choose(wanted);
        let all = Cipher::DEFAULT;
        let listed = "IV_CIPHERS=CHACHA20-POLY1305:AES-128-GCM:NONSENSE\nIV_PROTO=2\n";
        assert_eq!(best(listed, "", &all), Some(Cipher::Aes128Gcm));
        assert_eq!(best(listed, "", &[Cipher::Aes256Gcm]), None);
        assert_eq!(best("IV_NCP=2\nIV_PROTO=2\n", "", &all), Some(Cipher::Aes256Gcm));
        assert_eq!(best("IV_PROTO=2\n", "V4,cipher AES-128-GCM", &all), Some(Cipher::Aes128Gcm));
        assert_eq!(best("IV_NCP=2\n", "", &all), None, "no peer ids");
        assert_eq!(best("", "", &all), None);
    }
}
