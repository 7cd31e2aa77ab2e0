//! Every bound of `limits.rs` that is not proved beside its parser: just below, at, and just above.

use mrvpn_profile::ovpn::{self, NoFiles};
use mrvpn_profile::push::{PushError, assignment};
use mrvpn_profile::syntax::words;
use mrvpn_profile::{Assignment, PullOptions};

const PROFILE: &str = "client\nremote a.example\nauth-user-pass\n<ca>\n-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n</ca>\n";

// proves: T-53
#[test]
fn a_profile_has_256_kib_at_most() {
    let padded = |len: usize| format!("{PROFILE}<ca>\n{}\n</ca>\n{PROFILE}", "x".repeat(len - 2 * PROFILE.len() - 12));
    assert_eq!(padded(256 * 1024).len(), 256 * 1024);
    assert!(accepted(&padded(256 * 1024 - 1)));
    assert!(accepted(&padded(256 * 1024)));
    assert!(!accepted(&padded(256 * 1024 + 1)));
}

// proves: T-53
#[test]
fn a_line_has_4_kib_at_most_outside_of_inline_blocks() {
    let commented = |len: usize| format!("{PROFILE}#{}\n", "x".repeat(len - 1));
    assert!(accepted(&commented(4 * 1024 - 1)));
    assert!(accepted(&commented(4 * 1024)));
    assert!(!accepted(&commented(4 * 1024 + 1)));
    let inside = format!("{PROFILE}<ca>\n{}\n</ca>\n{PROFILE}", "x".repeat(8 * 1024));
    assert!(accepted(&inside));
}

#[test]
fn a_line_has_16_words_and_the_rest_is_dropped() {
    let count = |words_in: usize| words("w ".repeat(words_in).as_bytes()).unwrap().len();
    assert_eq!([count(15), count(16), count(17)], [15, 16, 16]);
}

#[test]
fn a_word_has_256_bytes_at_most() {
    let fits = |len: usize| words("w".repeat(len).as_bytes()).is_ok();
    assert_eq!([fits(255), fits(256), fits(257)], [true, true, false]);
}

// proves: T-53
#[test]
fn a_profile_has_64_remotes_at_most() {
    let with = |remotes: usize| format!("{PROFILE}{}", "remote b.example 1194\n".repeat(remotes - 1));
    let count =
        |remotes: usize| ovpn::parse(with(remotes).as_bytes(), &mut NoFiles).map(|got| got.profile.remotes.len());
    assert_eq!(count(63), Ok(63));
    assert_eq!(count(64), Ok(64));
    assert_eq!(count(65).unwrap_err().line, Some(8 + 64));
    assert!(count(10_000).is_err());
}

// proves: T-31
#[test]
fn a_message_has_64_kib_and_a_push_768_kib_at_most() {
    let message = |len: usize| {
        let mut message = b"PUSH_REPLY,echo ".to_vec();
        message.resize(len, b'x');
        message
    };
    assert!(push(&[message(64 * 1024 - 1)]).is_ok());
    assert!(push(&[message(64 * 1024)]).is_ok());
    assert_eq!(push(&[message(64 * 1024 + 1)]), Err(PushError::TooLong));
    let parts = |last: usize| {
        let mut parts = vec![message(64 * 1024); 11];
        parts.push(message(last));
        parts
    };
    assert!(push(&parts(64 * 1024 - 1)).is_ok());
    assert!(push(&parts(64 * 1024)).is_ok());
    let mut more = parts(64 * 1024 - 16);
    more.push(message(17));
    assert_eq!(push(&more), Err(PushError::TooLong));
}

// proves: T-31
#[test]
fn a_tunnel_has_4096_routes_8_dns_servers_and_64_domains_at_most() {
    let routes = |count: usize| {
        let got = options(count, |n| format!("route 10.{}.{}.0 255.255.255.0", n / 256, n % 256));
        (got.routes.len(), got.skipped.len())
    };
    assert_eq!([routes(4095), routes(4096), routes(4097)], [(4095, 0), (4096, 0), (4096, 1)]);
    assert_eq!(routes(9000), (4096, 1));
    let servers = |count: usize| options(count, |n| format!("dhcp-option DNS 10.0.0.{n}")).dns.len();
    assert_eq!([servers(7), servers(8), servers(9)], [7, 8, 8]);
    let domains =
        |count: usize| options(count, |n| format!("dhcp-option DOMAIN-SEARCH d{n}.example")).search_domains.len();
    assert_eq!([domains(63), domains(64), domains(65)], [63, 64, 64]);
}

#[test]
fn a_peer_id_has_24_bits() {
    let id = |n: u32| options(1, |_| format!("peer-id {n}")).peer_id;
    assert_eq!([id(16_777_214), id(16_777_215), id(16_777_216)], [Some(16_777_214), Some(16_777_215), None]);
}

fn accepted(text: &str) -> bool {
    ovpn::parse(text.as_bytes(), &mut NoFiles).is_ok()
}

fn push(messages: &[Vec<u8>]) -> Result<Assignment, PushError> {
    assignment(&PullOptions::default(), messages)
}

/// `count` options in messages of a hundred each.
fn options(count: usize, option: impl Fn(usize) -> String) -> Assignment {
    let all: Vec<String> = (0..count).map(option).collect();
    let messages: Vec<Vec<u8>> =
        all.chunks(100).map(|part| format!("PUSH_REPLY,{}", part.join(",")).into_bytes()).collect();
    push(&messages).expect("a push within bounds")
}
