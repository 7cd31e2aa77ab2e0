//! What the client says of itself in the key exchange (openvpn-protocol.md sections 5.2 and 5.3; OpenVPN `ssl.c`,
//! `push_peer_info`). Only what is implemented is announced: a server then pushes nothing else.

use mrvpn_profile::Cipher;

/// Bits of IV_PROTO that this version stands by.
pub mod iv_proto {
    /// Takes a peer id and P_DATA_V2.
    pub const DATA_V2: u32 = 1 << 1;
    /// Wants PUSH_REPLY without asking.
    pub const REQUEST_PUSH: u32 = 1 << 2;
    /// Derives data keys by the TLS exporter.
    pub const TLS_KEY_EXPORT: u32 = 1 << 3;
    /// Understands keywords in AUTH_PENDING.
    pub const AUTH_PENDING_KW: u32 = 1 << 4;
    /// Understands EXIT on the control channel.
    pub const CC_EXIT_NOTIFY: u32 = 1 << 7;
    /// Understands AUTH_FAILED,TEMP.
    pub const AUTH_FAIL_TEMP: u32 = 1 << 8;
    /// Wraps renegotiations by dynamic tls-crypt.
    pub const DYN_TLS_CRYPT: u32 = 1 << 9;
    /// All of them.
    pub const OURS: u32 =
        DATA_V2 | REQUEST_PUSH | TLS_KEY_EXPORT | AUTH_PENDING_KW | CC_EXIT_NOTIFY | AUTH_FAIL_TEMP | DYN_TLS_CRYPT;
}

/// Bytes of the largest inner packet: the TUN's MTU, which never changes (IV_MTU; a 2.6 server pushes its own up to
/// this).
pub const MTU: u16 = 1_500;

/// The peer info of mrvpn `version` that accepts `ciphers`, in this order.
#[must_use]
pub fn peer_info(version: &str, ciphers: &[Cipher]) -> String {
    let gcm = [Cipher::Aes128Gcm, Cipher::Aes256Gcm].iter().all(|cipher| ciphers.contains(cipher));
    let ncp = if gcm { "IV_NCP=2\n" } else { "" };
    let names: Vec<&str> = ciphers.iter().map(|cipher| cipher.name()).collect();
    format!(
        "IV_VER=mrvpn-{version}\nIV_PLAT=linux\nIV_TCPNL=1\nIV_MTU={MTU}\n{ncp}IV_CIPHERS={}\nIV_PROTO={}\n",
        names.join(":"),
        iv_proto::OURS
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_implemented_is_announced() {
        assert_eq!(iv_proto::OURS, 926);
        let all = peer_info("0.1.0", &Cipher::DEFAULT);
        assert_eq!(
            all,
            "IV_VER=mrvpn-0.1.0\nIV_PLAT=linux\nIV_TCPNL=1\nIV_MTU=1500\nIV_NCP=2\n\
             IV_CIPHERS=AES-256-GCM:AES-128-GCM:CHACHA20-POLY1305\nIV_PROTO=926\n"
        );
    }

    #[test]
    fn ncp_needs_both_gcm_ciphers() {
        assert!(!peer_info("0.1.0", &[Cipher::Aes256Gcm]).contains("IV_NCP"));
    }
}
