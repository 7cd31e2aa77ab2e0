//! The bounds on everything that a file or a server may say: constants only, each with its unit and reason. Where
//! they are obeyed is in the parsers; `tests/limits.rs` tries each one just below, at, and just above.

use std::time::Duration;

/// 256 KiB: a whole `.ovpn` file or mrvpn.toml, inline blocks included. OpenVPN 3 has the same bound.
pub const CONFIG_FILE: usize = 256 * 1024;

/// 4 KiB: one line of a file outside inline blocks, line end not counted.
pub const LINE: usize = 4 * 1024;

/// 16 words in one line or pushed option; what follows is dropped without an error, as OpenVPN does
/// (openvpn-protocol.md section 11.1).
pub const WORDS: usize = 16;

/// 256 bytes: one word (openvpn-protocol.md section 11.1).
pub const WORD: usize = 256;

/// 64 `remote` lines in one profile, as OpenVPN up to 2.5 had it.
pub const REMOTES: usize = 64;

/// 64 entries of `bypass` in one tunnel: as many as a profile has remotes.
pub const BYPASSES: usize = 64;

/// 1 MiB: a file that a profile names (certificate, key, password).
pub const NAMED_FILE: usize = 1024 * 1024;

/// 64 KiB: one control message. OpenVPN 2 makes pieces of 1 KiB, OpenVPN 3 servers may send longer ones.
pub const PUSH_MESSAGE: usize = 64 * 1024;

/// 768 KiB: all parts of one push together, as in OpenVPN 3.
pub const PUSH_TOTAL: usize = 768 * 1024;

/// 4,096 routes in one tunnel.
pub const ROUTES: usize = 4_096;

/// 8 DNS servers in one tunnel.
pub const DNS_SERVERS: usize = 8;

/// 64 search domains in one tunnel.
pub const DOMAINS: usize = 64;

/// 253 bytes: a domain name as text.
pub const DOMAIN: usize = 253;

/// 63 bytes: one label of a domain name.
pub const LABEL: usize = 63;

/// 576 bytes: the smallest MTU inside a tunnel; what is below is raised to it. A pushed MTU of 1 has crashed clients.
pub const TUN_MTU_MIN: u16 = 576;

/// 9,000 bytes: the largest MTU inside a tunnel; what is above is lowered to it.
pub const TUN_MTU_MAX: u16 = 9_000;

/// 1,280 bytes: below this MTU there is no IPv6 in the tunnel (RFC 8200 section 5).
pub const TUN_MTU_IPV6: u16 = 1_280;

/// 1,500 bytes: OpenVPN's default `tun-mtu`.
pub const TUN_MTU_DEFAULT: u16 = 1_500;

/// 1 s: the shortest `ping` and `ping-restart`.
pub const TIMER_MIN: Duration = Duration::from_secs(1);

/// 24 h: the longest `ping` and `ping-restart`, as OpenVPN 2.7.6 has it.
pub const TIMER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// 60 s: a handshake in all; `hand-window` may only shorten it.
pub const HANDSHAKE: Duration = Duration::from_secs(60);

/// 256 bytes: foreign text in an error or a log line, after escaping.
pub const FOREIGN_TEXT: usize = 256;

/// 64 notes on pushed options that were not taken; the rest is counted in one line.
pub const NOTES: usize = 64;

/// 4,096 bytes: an `auth-token`. OpenVPN 2 makes them shorter than 200.
pub const AUTH_TOKEN: usize = 4_096;

/// 290 bytes: the shortest wrapped key of tls-crypt-v2, one without metadata (openvpn-protocol.md section 2.5).
pub const WRAPPED_KEY_MIN: usize = 290;

/// 1,024 bytes: the longest wrapped key of tls-crypt-v2 (`tls_crypt.h`).
pub const WRAPPED_KEY_MAX: usize = 1_024;

/// 60 s: the first answer of a server; longer times than that of the whole handshake have no effect.
pub const CONNECT_TIMEOUT_MAX: Duration = HANDSHAKE;

/// 24 bits: the largest `peer-id`.
pub const PEER_ID: u32 = 0x00ff_ffff;
