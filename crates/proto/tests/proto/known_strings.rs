//! Known answers about texts and sizes: the options string, what a data packet adds, challenges.

use mrvpn_profile::{Cipher, Digest, Transport, Wrap};
use mrvpn_proto::Sealer;
use mrvpn_proto::control_text::{AuthFailure, ControlText};
use mrvpn_proto::options_string::client_options;

use crate::known::{number, text, vector};

fn link_mtu(transport: Transport, cipher: Option<Cipher>, digest: Digest) -> u32 {
    let options = client_options(&Wrap::None, transport, cipher, digest);
    options.split(',').find_map(|item| item.strip_prefix("link-mtu ")).unwrap().parse().unwrap()
}

#[test]
fn the_options_string_counts_as_openvpn_counts() {
    let seen = vector("occ_link_mtu")["seen_on_the_wire_tun_mtu_1500"].clone();
    for case in seen.as_array().unwrap() {
        let transport = if text(case, "proto") == "tcp" { Transport::Tcp } else { Transport::Udp };
        let digest = Digest::by_name(text(case, "auth")).unwrap();
        assert_eq!(link_mtu(transport, None, digest), number(case, "link_mtu"), "{case}");
    }
    // The unit test's MTU is 100 smaller.
    let cases = vector("occ_link_mtu")["tls_client"].as_array().unwrap().clone();
    let plain = cases.iter().find(|case| text(case, "cipher") == "AES-256-GCM" && case.get("fragment").is_none());
    let expected = number(plain.unwrap(), "link_mtu") + 100;
    assert_eq!(link_mtu(Transport::Udp, Some(Cipher::Aes256Gcm), Digest::Sha1), expected);
}

#[test]
fn a_data_packet_is_as_much_longer_as_openvpn_counts_for_mssfix() {
    let case = vector("mssfix")["vectors"][0].clone();
    assert_eq!((text(&case, "cipher"), case["data_v2"].as_bool()), ("AES-256-GCM", Some(true)));
    let (ip_and_tcp, header, packet_id, tag) = (40, 4, 4, 16);
    assert_eq!(text(&case, "mss"), format!("mssfix - {header} - {packet_id} - {tag} - {ip_and_tcp}"));
    assert_eq!(Sealer::HEADROOM, header + packet_id + tag);
}

#[test]
fn a_challenge_is_told_apart_from_a_refusal_and_shows_its_question_alone() {
    let known = vector("challenge")["dynamic_crv1"].clone();
    let ControlText::AuthFailed(refusal) = ControlText::parse(text(&known, "auth_failed").as_bytes()) else {
        panic!("{known}");
    };
    assert_eq!(refusal.kind, AuthFailure::Challenge);
    assert_eq!(refusal.reason.as_deref(), Some(text(&known, "challenge")));
    assert!(!format!("{refusal:?}").contains(text(&known, "state_id")));
}
