//! The options string that both sides show each other (openvpn-protocol.md section 7.3; OpenVPN `options.c`,
//! `options_string`). A server compares it with its own and only logs what differs, except `cipher`.

use mrvpn_profile::{Cipher, Digest, KeyDirection, Transport, Wrap};

/// The client's options string for a tun device of MTU 1500.
#[must_use]
pub fn client_options(wrap: &Wrap, transport: Transport, fallback: Option<Cipher>, digest: Digest) -> String {
    // IPv6 outside has the same names.
    let (proto, frame) = match transport {
        Transport::Udp => ("proto UDPv4", 0),
        Transport::Tcp => ("proto TCPv4_CLIENT", 2),
    };
    let link_mtu = link_mtu(TUN_MTU, fallback, digest) + frame;
    let mut items = vec![
        String::from("V4"),
        String::from("dev-type tun"),
        format!("link-mtu {link_mtu}"),
        format!("tun-mtu {TUN_MTU}"),
        String::from(proto),
    ];
    items.extend(key_direction(wrap));
    items.extend(cipher_items(fallback, digest));
    if matches!(wrap, Wrap::TlsAuth { .. }) {
        items.push(String::from("tls-auth"));
    }
    items.push(String::from("key-method 2"));
    items.push(String::from("tls-client"));
    items.join(",")
}

const TUN_MTU: usize = 1_500;

/// The size that the oldest versions would have computed: header, packet id, IV, HMAC or tag, padding. Without a
/// cipher it stands for BF-CBC, OpenVPN's placeholder.
fn link_mtu(tun_mtu: usize, cipher: Option<Cipher>, digest: Digest) -> usize {
    const HEADER: usize = 1;
    const AEAD: usize = 4 + 16 + 12 + 16;
    const BF_CBC: usize = 8 + 8 + 4;
    let crypto = match cipher {
        Some(Cipher::Aes128Gcm | Cipher::Aes256Gcm | Cipher::ChaCha20Poly1305) => AEAD,
        None => BF_CBC + digest.len(),
    };
    tun_mtu + HEADER + crypto
}

fn key_direction(wrap: &Wrap) -> Option<String> {
    match wrap {
        Wrap::TlsAuth { direction: KeyDirection::Normal, .. } => Some(String::from("keydir 0")),
        Wrap::TlsAuth { direction: KeyDirection::Inverse, .. } => Some(String::from("keydir 1")),
        Wrap::TlsAuth { direction: KeyDirection::Both, .. }
        | Wrap::None
        | Wrap::TlsCrypt { .. }
        | Wrap::TlsCryptV2 { .. } => None,
    }
}

fn cipher_items(cipher: Option<Cipher>, digest: Digest) -> Vec<String> {
    match cipher {
        Some(cipher) => vec![
            format!("cipher {cipher}"),
            String::from("auth [null-digest]"),
            format!("keysize {}", cipher.key_len() * 8),
        ],
        None => vec![format!("auth {}", digest.name()), String::from("keysize 128")],
    }
}

#[cfg(test)]
mod tests {
    use mrvpn_profile::StaticKey;

    use super::*;

    #[test]
    fn the_string_is_the_one_that_openvpn_sends() {
        let key = StaticKey::from_bytes(vec![0; 256]).unwrap();
        let wrap = Wrap::TlsAuth { key, direction: KeyDirection::Inverse, digest: Digest::Sha256 };
        assert_eq!(
            client_options(&wrap, Transport::Udp, None, Digest::Sha256),
            "V4,dev-type tun,link-mtu 1553,tun-mtu 1500,proto UDPv4,keydir 1,auth SHA256,keysize 128,tls-auth,\
             key-method 2,tls-client"
        );
    }

    #[test]
    fn link_mtu_counts_as_the_oldest_versions_did() {
        assert_eq!(link_mtu(1_500, None, Digest::Sha1), 1_541);
        assert_eq!(link_mtu(1_500, None, Digest::Sha512), 1_585);
        assert_eq!(link_mtu(1_500, Some(Cipher::Aes256Gcm), Digest::Sha1), 1_549);
        assert_eq!(link_mtu(1_400, Some(Cipher::Aes256Gcm), Digest::Sha1), 1_449);
    }
}
