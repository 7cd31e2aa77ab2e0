//! `.ovpn` files as providers write them, right, odd and hostile.

use std::time::Duration;

use mrvpn_profile::ovpn::{FileWanted, Files, Judgement, NoFiles, Parsed, ProfileError, parse};
use mrvpn_profile::profile::{Family, PeerName, PrivateKeyFormat};
use mrvpn_profile::{
    AuthRetry, AuthUserPass, Cipher, Digest, KeyDirection, RedirectGateway, Renewal, RouteVia, Secret, StaticKey,
    Transport, Wrap, static_key::KeySlot,
};
use serde_json::Value;

#[test]
fn a_whole_profile_is_read() {
    let text = format!(
        "\u{feff}# a comment \r\nclient\r\ndev tun\r\nproto udp\r\nremote lon.example 1194\r\nremote 192.0.2.1 443 tcp\r\n\
         remote 2001:db8::1 1195 udp6\r\nremote-random\r\nnobind\r\nremote-cert-tls server\r\nauth SHA256\r\ncipher AES-256-GCM\r\n\
         data-ciphers AES-128-GCM:?AES-256-CBC:CHACHA20-POLY1305\r\nkey-direction 1\r\nkeepalive 10 60\r\nverb 3\r\n\
         redirect-gateway def1\r\nroute 10.1.0.0 255.255.0.0\r\nroute 203.0.113.9 255.255.255.255 net_gateway\r\n\
         hand-window 30\r\nexplicit-exit-notify\r\npush-peer-info\r\ntun-mtu 1400\r\n{CA}{CERT}{KEY}<tls-auth>\r\n{}</tls-auth>\r\n",
        static_key()
    );
    let Parsed { profile, judgement } = parse(text.as_bytes(), &mut NoFiles).unwrap();
    let hosts: Vec<_> =
        profile.remotes.iter().map(|r| (r.host.as_str(), r.port, r.transport, r.family, r.line)).collect();
    let expected = [
        ("lon.example", 1194, Transport::Udp, None, 5),
        ("192.0.2.1", 443, Transport::Tcp, None, 6),
        ("2001:db8::1", 1195, Transport::Udp, Some(Family::V6), 7),
    ];
    assert_eq!(hosts, expected);
    assert!(profile.remote_random && profile.push_peer_info && profile.tls.remote_cert_tls_server);
    assert_eq!(profile.auth, Digest::Sha256);
    assert_eq!(profile.data_ciphers, [Cipher::Aes128Gcm, Cipher::ChaCha20Poly1305]);
    assert_eq!((profile.tls.ca.len(), profile.tls.cert.len()), (1, 1));
    assert_eq!(profile.tls.key.as_ref().unwrap().format, PrivateKeyFormat::Pkcs8);
    assert_eq!(profile.auth_user_pass, AuthUserPass::No);
    assert_eq!(profile.hand_window, Duration::from_secs(30));
    assert_eq!((profile.explicit_exit_notify, profile.pull.explicit_exit_notify), (Some(1), Some(1)));
    let Wrap::TlsAuth { key, direction, digest } = &profile.wrap else { panic!("tls-auth") };
    assert_eq!((*direction, *digest), (KeyDirection::Inverse, Digest::Sha256));
    assert_eq!(key.cipher(KeySlot::First)[..2], [0xab, 0xab]);
    assert_eq!(profile.pull.redirect_gateway, Some(RedirectGateway { ipv4: true, ipv6: false }));
    let routes: Vec<_> = profile.pull.routes.iter().map(|route| (route.net.to_string(), route.via)).collect();
    assert_eq!(routes, [("10.1.0.0/16".into(), RouteVia::Tunnel), ("203.0.113.9/32".into(), RouteVia::Direct)]);
    assert_eq!(profile.pull.keepalive.ping_restart, Some(Duration::from_secs(60)));
    assert_eq!(profile.pull.tun_mtu, Some(1400));
    assert!(lines(&judgement, "remote").is_empty(), "TCP is spoken too");
    assert!(judgement.ignored.iter().any(|noted| noted.directive == "verb" && noted.line == 16));
}

#[test]
fn what_is_missing_has_its_default() {
    let profile = accepted("remote a.example").profile;
    assert_eq!((profile.remotes[0].port, profile.remotes[0].transport), (1194, Transport::Udp));
    assert_eq!(profile.data_ciphers, Cipher::DEFAULT);
    assert_eq!((profile.data_ciphers_fallback, profile.auth, profile.wrap), (None, Digest::Sha1, Wrap::None));
    assert_eq!(profile.hand_window, Duration::from_secs(60));
    assert_eq!(profile.auth_user_pass, AuthUserPass::Ask);
}

#[test]
fn port_and_proto_lines_hold_for_remotes_without_their_own() {
    let profile = accepted("remote a.example\nremote b.example 7\nport 99\nproto udp4").profile;
    let got: Vec<_> = profile.remotes.iter().map(|remote| (remote.port, remote.family)).collect();
    assert_eq!(got, [(99, Some(Family::V4)), (7, Some(Family::V4))]);
    let forced = accepted("remote a.example 1 tcp\nremote b.example 2 udp\nproto-force udp").profile;
    assert_eq!(forced.remotes.len(), 1);
}

#[test]
fn tcp_is_spoken_in_every_spelling() {
    for (word, family) in [
        ("tcp", None),
        ("tcp-client", None),
        ("tcp4", Some(Family::V4)),
        ("tcp4-client", Some(Family::V4)),
        ("tcp6", Some(Family::V6)),
        ("tcp6-client", Some(Family::V6)),
    ] {
        for text in [format!("proto {word}\nremote a.example 443"), format!("remote a.example 443 {word}")] {
            let Parsed { profile, judgement } = accepted(&text);
            assert_eq!((profile.remotes[0].transport, profile.remotes[0].family), (Transport::Tcp, family), "{text}");
            assert!(lines(&judgement, "remote").is_empty() && lines(&judgement, "proto").is_empty());
        }
    }
    for word in ["tcp-server", "tcp4-server", "udp5", ""] {
        refused(&format!("remote a.example 443 \"{word}\""));
    }
}

#[test]
fn the_first_answer_is_waited_for_as_long_as_the_file_says() {
    assert_eq!(accepted("remote a.example").profile.connect_timeout, None);
    for (text, seconds) in [
        ("connect-timeout 20", 20),
        ("server-poll-timeout 4", 4),
        ("setenv SERVER_POLL_TIMEOUT 4", 4),
        ("connect-timeout 0", 1),
        ("connect-timeout 60", 60),
        ("connect-timeout 61", 60),
    ] {
        let profile = accepted(&format!("remote a.example\n{text}")).profile;
        assert_eq!(profile.connect_timeout, Some(Duration::from_secs(seconds)), "{text}");
        assert_eq!(profile.remotes[0].connect_timeout, None);
    }
    refused("remote a.example\nconnect-timeout soon");
}

#[test]
fn new_keys_are_made_when_the_file_says() {
    let renewal = |text: &str| accepted(&format!("remote a.example\n{text}")).profile.renewal;
    let hour = Some(Duration::from_secs(3_600));
    assert_eq!(renewal(""), Renewal::default());
    assert_eq!((renewal("").reneg_sec, renewal("").tran_window), (hour, Duration::from_secs(3_600)));
    assert_eq!(renewal("reneg-sec 0").reneg_sec, None);
    assert_eq!(renewal("reneg-sec 4 2").reneg_sec, Some(Duration::from_secs(4)));
    assert_eq!(renewal("reneg-bytes 64000000").reneg_bytes, Some(64_000_000));
    assert_eq!(renewal("reneg-pkts 0").reneg_pkts, None);
    assert_eq!(renewal("tran-window 60").tran_window, Duration::from_secs(60));
    assert_eq!(renewal("tran-window 999999").tran_window, Duration::from_secs(86_400));
    for bad in ["reneg-sec", "reneg-sec x", "reneg-bytes -1", "reneg-pkts", "tran-window x"] {
        refused(&format!("remote a.example\n{bad}"));
    }
}

#[test]
fn what_follows_a_refused_password_is_read_and_nothing_else_is_taken_for_it() {
    let retry = |text: &str| accepted(&format!("remote a.example\n{text}")).profile.auth_retry;
    assert_eq!(retry(""), AuthRetry::None);
    assert_eq!(retry("auth-retry nointeract"), AuthRetry::NoInteract);
    assert_eq!(retry("auth-retry interact"), AuthRetry::Interact);
    assert_eq!(retry("auth-retry none\nauth-nocache"), AuthRetry::None);
    refused("remote a.example\nauth-retry always");
    let judgement = accepted("remote a.example\nauth-nocache").judgement;
    assert_eq!(lines(&judgement, "auth-nocache"), [head() + 2]);
}

const BLOCKS: &str = "proto tcp\nport 443\nconnect-timeout 7\nremote plain.example\n<connection>\nremote a.example\n\
                      </connection>\nport 99\n<connection>\n  remote b.example 1194 udp\n  connect-timeout 3\n  nobind\n\
                      explicit-exit-notify 2\n</connection>\nremote-random";

#[test]
fn blocks_hold_a_server_each_with_what_was_said_before_them() {
    let Parsed { profile, judgement } = accepted(BLOCKS);
    let got: Vec<_> = profile.remotes.iter().map(|r| (r.host.as_str(), r.port, r.transport, r.line)).collect();
    let (first, second) = (head() + 6, head() + 10);
    assert_eq!(got, [("a.example", 443, Transport::Tcp, first), ("b.example", 1194, Transport::Udp, second)]);
    let times: Vec<_> = profile.remotes.iter().map(|r| r.connect_timeout.unwrap().as_secs()).collect();
    assert_eq!(times, [7, 3]);
    assert!(profile.remote_random && profile.remotes.iter().all(|r| r.wrap.is_none()));
    assert_eq!(profile.explicit_exit_notify, Some(2));
    assert_eq!(lines(&judgement, "remote"), [head() + 4], "the line outside of the blocks");
    assert!(
        judgement.warnings.iter().any(|warning| (warning.line, warning.directive.as_str()) == (head() + 4, "remote"))
    );
    assert!(judgement.used.iter().all(|noted| noted.line != head() + 4));
    assert_eq!(lines(&judgement, "nobind"), [head() + 12]);
}

#[test]
fn a_block_may_have_a_wrapping_of_its_own() {
    let own = |kind: &str| format!("<{kind}>\n{}</{kind}>", static_key());
    let text = format!(
        "{}\nkey-direction 1\n<connection>\nremote a.example\n{}\n</connection>\n<connection>\nremote b.example\n\
         key-direction 0\n{}\n</connection>\n<connection>\nremote c.example\n</connection>",
        own("tls-auth"),
        own("tls-crypt"),
        own("tls-auth")
    );
    let profile = accepted(&text).profile;
    assert!(matches!(profile.wrap, Wrap::TlsAuth { direction: KeyDirection::Inverse, .. }));
    let [a, b, c] = &profile.remotes[..] else { panic!("three servers") };
    assert!(matches!(a.wrap, Some(Wrap::TlsCrypt { .. })));
    assert!(matches!(b.wrap, Some(Wrap::TlsAuth { direction: KeyDirection::Normal, .. })));
    assert_eq!(c.wrap, None);
    let both = format!("<connection>\nremote a\n{}\n{}\n</connection>", own("tls-auth"), own("tls-crypt"));
    refused(&both);
}

#[test]
fn a_block_of_no_server_of_two_or_of_other_things_is_refused_with_its_line() {
    let error = refused("<connection>\nport 1\n</connection>");
    assert_eq!((error.line, error.message.contains("no server")), (Some(head() + 1), true));
    let block = |text: &str| format!("<connection>\nremote a.example\n{text}\n</connection>");
    for bad in [
        "remote b.example",
        "client",
        "up x",
        "route 10.0.0.0 255.0.0.0",
        "frob",
        "remote-random",
        "fragment 1300",
        "socks-proxy x",
        "<ca>\n</ca>",
        "<connection>",
        "connect-timeout",
        "key-direction 2",
        "'",
    ] {
        let parsed = parse(with_head(&block(bad)).as_bytes(), &mut NoFiles);
        let Err(error) = parsed else {
            assert_eq!(bad, "up x", "only what is never run is passed over");
            continue;
        };
        assert_eq!(error.line, Some(head() + 3), "{bad}: {error}");
        assert!(!error.hint.is_empty());
    }
    let may_be_unknown = format!("ignore-unknown-option frob\n{}", block("frob 1"));
    assert_eq!(accepted(&may_be_unknown).profile.remotes.len(), 1);
    assert_eq!(refused("<connection>\nremote 224.0.0.1\n</connection>").line, Some(head() + 2));
}

#[test]
fn a_profile_has_64_servers_at_most_in_blocks_too() {
    let blocks = |count: usize| "<connection>\nremote a.example\n</connection>\n".repeat(count);
    assert_eq!(accepted(&blocks(63)).profile.remotes.len(), 63);
    assert_eq!(accepted(&blocks(64)).profile.remotes.len(), 64);
    assert_eq!(refused(&blocks(65)).line, Some(head() + 1 + 64 * 3));
}

#[test]
fn a_client_key_of_openvpn_is_read_with_its_sealed_copy() {
    for vector in vectors()["tls_crypt_v2"]["keys"].as_array().unwrap() {
        let payload = hex(vector["client_key_file_payload"].as_str().unwrap());
        let profile = accepted(&client_key(&payload, "client")).profile;
        let Wrap::TlsCryptV2 { key, wrapped } = profile.wrap else { panic!("{vector}") };
        assert_eq!(key, StaticKey::from_bytes(hex(vector["Kc"].as_str().unwrap())).unwrap());
        assert_eq!(wrapped, hex(vector["WKc"].as_str().unwrap()));
        assert_eq!(wrapped.len() as u64, vector["WKc_len"].as_u64().unwrap());
    }
}

#[test]
fn a_client_key_of_a_wrong_length_is_refused() {
    let payload = |wrapped: usize| {
        let mut payload = vec![7; 256 + wrapped];
        let length = u16::try_from(wrapped).unwrap().to_be_bytes();
        let end = payload.len();
        payload[end - 2..].copy_from_slice(&length);
        payload
    };
    for (wrapped, taken) in [(2, false), (289, false), (290, true), (299, true), (1_024, true), (1_025, false)] {
        let parsed = parse(with_head(&client_key(&payload(wrapped), "client")).as_bytes(), &mut NoFiles);
        assert_eq!(parsed.is_ok(), taken, "{wrapped}");
    }
    // The last two bytes are its length.
    let mut odd = payload(299);
    odd[554] ^= 1;
    for bad in [&odd[..], &odd[..100], &[]] {
        let error = refused(&client_key(bad, "client"));
        assert!(error.message.contains("damaged"), "{error}");
    }
    assert!(refused(&client_key(&payload(299), "server")).message.contains("of a server"));
    let text = client_key(&payload(299), "client");
    assert!(refused(&format!("{text}\n<tls-crypt>\n{}</tls-crypt>", static_key())).message.contains("as well"));
    refused("remote a.example\n<tls-crypt-v2>\nx\n</tls-crypt-v2>");
}

// proves: T-54
#[test]
fn remotes_that_cannot_be_servers_are_refused_and_loopback_is_noted() {
    for host in ["224.0.0.1", "ff02::1", "0.0.0.0", "255.255.255.255", "::", "198.18.0.1", "198.19.3.4", "2001:2::5"] {
        assert_eq!(refused(&format!("remote {host}")).line, Some(head() + 1), "{host}");
    }
    for host in ["a/b", "*.example", "[2001:db8::1]", "fe80::1%eth0", "10.1", "\"\"", "-\u{1b}", "::ffff:1.2.3.4"] {
        assert_eq!(refused(&format!("remote {host}")).line, Some(head() + 1), "{host}");
    }
    for host in ["127.0.0.1", "::1", "localhost"] {
        let judgement = accepted(&format!("remote {host}")).judgement;
        let warning = judgement.warnings.iter().find(|warning| warning.line == head() + 1).unwrap();
        assert!(warning.hint.contains("`bypass`") && warning.hint.contains("net_gateway"), "{host}");
        let answered = format!("remote {host}\nroute 203.0.113.9 255.255.255.255 net_gateway");
        let warnings = accepted(&answered).judgement.warnings;
        assert!(warnings.iter().all(|warning| warning.directive != "remote"), "{host}");
    }
}

// proves: T-50
#[test]
fn directives_that_run_programs_are_ignored_with_their_line() {
    for directive in [
        "up /etc/openvpn/update-resolv-conf",
        "down x",
        "route-up x",
        "route-pre-down x",
        "ipchange x",
        "tls-verify x",
        "auth-user-pass-verify x via-env",
        "client-connect x",
        "learn-address x",
        "iproute x",
        "dns-updown x",
        "script-security 2",
        "setenv PATH /tmp",
        "setenv-safe X y",
        "management 127.0.0.1 7505",
        "management-query-passwords",
    ] {
        let name = directive.split(' ').next().unwrap();
        let judgement = accepted(&format!("remote a.example\n{directive}")).judgement;
        assert_eq!(lines(&judgement, name), [head() + 2], "{directive}");
        assert!(judgement.used.iter().all(|noted| noted.directive != name), "{directive}");
    }
}

// proves: T-50
#[test]
fn directives_that_load_code_refuse_the_file() {
    for directive in [
        "plugin /tmp/x.so",
        "engine dynamic",
        "providers legacy",
        "pkcs11-providers /tmp/x.so",
        "dev-node unix:/bin/sh",
    ] {
        let error = refused(&format!("remote a.example\n{directive}"));
        assert_eq!(error.line, Some(head() + 2), "{directive}");
        assert!(!error.hint.is_empty(), "{directive}");
    }
    let hidden = refused("remote a.example\nsetenv opt plugin /tmp/x.so\nignore-unknown-option plugin");
    assert_eq!(hidden.line, Some(head() + 2));
    refused("remote a.example\nignore-unknown-option plugin\nplugin x");
}

// proves: T-51
#[test]
fn directives_that_write_are_ignored_with_their_line() {
    for directive in [
        "log /x",
        "log-append /x",
        "status /x 5",
        "writepid /x",
        "tmp-dir /x",
        "cd /x",
        "chroot /x",
        "user nobody",
        "daemon",
    ] {
        let name = directive.split(' ').next().unwrap();
        let judgement = accepted(&format!("remote a.example\n{directive}")).judgement;
        assert_eq!(lines(&judgement, name), [head() + 2], "{directive}");
    }
}

#[test]
fn what_would_change_meaning_or_safety_is_refused() {
    for directive in [
        "tls-crypt-v2 x",
        "fragment 1300",
        "comp-lzo no",
        "comp-lzo",
        "compress",
        "compress lz4",
        "crl-verify x",
        "verify-hash aa",
        "x509-username-field x",
        "pkcs12 x",
        "capath x",
        "http-proxy a 8080",
        "socks-proxy a 1080",
        "dev tap",
        "dev tap0",
        "dev-type tap",
        "secret x",
        "mode server",
        "server 10.0.0.0 255.0.0.0",
        "tls-server",
        "no-replay",
        "no-iv",
        "cipher none",
        "auth none",
        "data-ciphers AES-256-CBC:BF-CBC",
        "static-challenge code 1",
        "client-nat snat 1.1.1.1 255.255.255.255 2.2.2.2",
        "config other.ovpn",
        "remote-cert-tls client",
        "tls-version-max 1.1",
        "setenv GENERIC_CONFIG 1",
        "auth-user-pass username-only",
    ] {
        let error = refused(&format!("remote a.example\n{directive}"));
        assert_eq!(error.line, Some(head() + 2), "{directive}");
        assert!(!error.hint.is_empty(), "{directive}");
        assert!(!error.judgement.refused.is_empty());
    }
}

#[test]
fn an_unknown_directive_is_refused_unless_the_file_says_otherwise() {
    let error = refused("remote a.example\nfrob 1");
    assert_eq!((error.line, error.message.as_str()), (Some(head() + 2), "`frob`: unknown directive"));
    for text in [
        "ignore-unknown-option frob other\nfrob 1",
        "setenv FORWARD_COMPATIBLE 1\nfrob 1",
        "setenv opt frob 1",
        "setenv opt tun-mtu x",
    ] {
        let judgement = accepted(&format!("remote a.example\n{text}")).judgement;
        assert!(judgement.ignored.iter().any(|noted| noted.why.contains("left out")), "{text}");
    }
    let optional = accepted("remote a.example\nsetenv opt tun-mtu 1300").profile;
    assert_eq!(optional.pull.tun_mtu, Some(1300));
    refused("remote a.example\nfrob 1\nignore-unknown-option frob");
}

#[test]
fn a_cbc_cipher_beside_the_default_list_is_ignored() {
    let Parsed { profile, judgement } = accepted("remote a.example\ncipher AES-256-CBC");
    assert_eq!((profile.data_ciphers, profile.data_ciphers_fallback), (Cipher::DEFAULT.to_vec(), None));
    assert_eq!(lines(&judgement, "cipher"), [head() + 2]);
    let known = accepted("remote a.example\ncipher aes-128-gcm").profile;
    assert_eq!(known.data_ciphers_fallback, Some(Cipher::Aes128Gcm));
    let default = accepted("remote a.example\ndata-ciphers CHACHA20-POLY1305:DEFAULT").profile;
    assert_eq!(default.data_ciphers, [Cipher::ChaCha20Poly1305, Cipher::Aes256Gcm, Cipher::Aes128Gcm]);
}

#[test]
fn a_list_of_ciphers_means_what_openvpn_takes_it_for() {
    let ncp = &vectors()["ncp"];
    let cases = ["list_normalisation", "default_expansion"].map(|name| ncp[name].as_array().unwrap().clone()).concat();
    let mut checked = 0;
    for case in cases {
        // Lists that OpenVPN refuses are read as far as they are known, with a warning.
        let (Some(list), Some(meant)) = (case["in"].as_str(), case["out"].as_str()) else { continue };
        let spoken: Vec<Cipher> = meant.split(':').filter_map(Cipher::by_name).collect();
        if spoken.is_empty() {
            refused(&format!("remote a.example\ndata-ciphers {list}"));
            continue;
        }
        let profile = accepted(&format!("remote a.example\ndata-ciphers {list}")).profile;
        assert_eq!(profile.data_ciphers, spoken, "{case}");
        checked += 1;
    }
    assert_eq!(checked, 9);
    assert_eq!(ncp["default_expansion"][0]["out"], Cipher::DEFAULT.map(Cipher::name).join(":"));
}

#[test]
fn tls_auth_with_a_digest_of_another_version_is_refused_and_alone_it_is_ignored() {
    accepted("remote a.example\nauth WHIRLPOOL");
    let text = format!("remote a.example\nauth WHIRLPOOL\n<tls-auth>\n{}</tls-auth>", static_key());
    assert_eq!(refused(&text).line, Some(head() + 2));
}

#[test]
fn key_direction_comes_from_either_place_and_inline_beats_a_file() {
    let inline = format!("remote a.example\ntls-auth ta.key 1\n<tls-auth>\n{}</tls-auth>", static_key());
    let Wrap::TlsAuth { direction, .. } = accepted(&inline).profile.wrap else { panic!("tls-auth") };
    assert_eq!(direction, KeyDirection::Inverse);
    let after = format!("remote a.example\n<tls-auth>\n{}</tls-auth>\ntls-auth ta.key 0", static_key());
    let Wrap::TlsAuth { direction, .. } = accepted(&after).profile.wrap else { panic!("tls-auth") };
    assert_eq!(direction, KeyDirection::Normal);
    let none = format!("remote a.example\n<tls-auth>\n{}</tls-auth>", static_key());
    let Wrap::TlsAuth { direction, .. } = accepted(&none).profile.wrap else { panic!("tls-auth") };
    assert_eq!(direction, KeyDirection::Both);
    let both = format!("{after}\n<tls-crypt>\n{}</tls-crypt>", static_key());
    refused(&both);
    let crypt = format!("remote a.example\n<tls-crypt>\n{}</tls-crypt>", static_key());
    assert!(matches!(accepted(&crypt).profile.wrap, Wrap::TlsCrypt { .. }));
}

#[test]
fn a_static_key_has_exactly_256_bytes() {
    let with = |digits: usize| {
        format!(
            "remote a.example\n<tls-crypt>\n-----BEGIN OpenVPN Static key V1-----\n{}\n-----END OpenVPN Static key V1-----\n</tls-crypt>",
            "aB".repeat(digits / 2) + &"c".repeat(digits % 2)
        )
    };
    accepted(&with(512));
    for digits in [0, 510, 511, 513, 514, 10_000] {
        assert_eq!(refused(&with(digits)).line, Some(head() + 2), "{digits}");
    }
    refused(
        "remote a.example\n<tls-crypt>\n-----BEGIN OpenVPN Static key V1-----\nzz\n-----END OpenVPN Static key V1-----\n</tls-crypt>",
    );
    refused("remote a.example\n<tls-crypt>\naa\n</tls-crypt>");
}

#[test]
fn pem_may_be_indented_with_text_between_and_several_certificates() {
    let text = format!(
        "client\nremote a.example\nauth-user-pass\n<ca>\nsubject=CN=x\n  {}\nnotes: here\n{}</ca>\n",
        CERTIFICATE.replace('\n', "\r\n  "),
        CERTIFICATE
    );
    assert_eq!(parse(text.as_bytes(), &mut NoFiles).unwrap().profile.tls.ca, [DER, DER]);
}

#[test]
fn keys_of_three_forms_are_read_and_encrypted_ones_refused_with_the_line_to_type() {
    for (label, format) in [
        ("PRIVATE KEY", PrivateKeyFormat::Pkcs8),
        ("RSA PRIVATE KEY", PrivateKeyFormat::Pkcs1),
        ("EC PRIVATE KEY", PrivateKeyFormat::Sec1),
    ] {
        let profile = accepted(&format!("remote a.example\n{CERT}{}", key_block(label, ""))).profile;
        let key = profile.tls.key.unwrap();
        assert_eq!((key.format, key.der.expose().as_slice()), (format, DER));
        assert!(!format!("{key:?}").contains("48"), "a key does not print");
    }
    let old = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n";
    for block in [key_block("ENCRYPTED PRIVATE KEY", ""), key_block("RSA PRIVATE KEY", old)] {
        let error = refused(&format!("remote a.example\n{CERT}{block}"));
        assert!(error.hint.contains("openssl pkey"), "{}", error.hint);
        assert_eq!(error.line, Some(head() + 7));
    }
    refused(&format!("remote a.example\n{CERT}{}", key_block("DSA PRIVATE KEY", "")));
    refused(&format!("remote a.example\n{CERT}<key>\nnothing\n</key>"));
}

#[test]
fn a_damaged_certificate_is_refused_with_its_line() {
    for pem in [
        "x",
        "-----BEGIN CERTIFICATE-----\nMAMC",
        "-----BEGIN CERTIFICATE-----\nMAMC\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----",
    ] {
        let text = format!("client\nauth-user-pass\nremote a.example\n<ca>\n{pem}\n</ca>\n");
        assert_eq!(parse(text.as_bytes(), &mut NoFiles).unwrap_err().line, Some(4), "{pem}");
    }
}

#[test]
fn a_certificate_goes_with_its_key() {
    assert!(refused(&format!("remote a.example\n{CERT}")).to_string().contains("without its `key`"));
    assert!(refused(&format!("remote a.example\n{KEY}")).to_string().contains("without its certificate"));
}

#[test]
fn someone_must_be_trusted_and_something_must_be_proved() {
    let no_ca = parse(b"client\nremote a.example\nauth-user-pass\n", &mut NoFiles).unwrap_err();
    assert!(no_ca.to_string().contains("no `ca`") && no_ca.line.is_none());
    let no_proof = parse(format!("client\nremote a.example\n{CA}").as_bytes(), &mut NoFiles).unwrap_err();
    assert!(no_proof.hint.contains("auth-user-pass"));
    let none = parse(format!("client\nauth-user-pass\n{CA}").as_bytes(), &mut NoFiles).unwrap_err();
    assert!(none.to_string().contains("no server"));
    let print = (0..32).map(|n| format!("{n:02x}")).collect::<Vec<_>>().join(":");
    let pinned =
        format!("client\nremote a.example\nauth-user-pass\n<peer-fingerprint>\n{print}\n</peer-fingerprint>\n");
    let pinned = parse(pinned.as_bytes(), &mut NoFiles).unwrap();
    assert_eq!(pinned.profile.tls.peer_fingerprints[0][31], 31);
    assert!(pinned.judgement.warnings.is_empty());
}

#[test]
fn a_profile_that_any_certificate_of_its_ca_satisfies_is_warned_of() {
    let warned = |line: &str| {
        let warnings = accepted(&format!("remote a.example\n{line}")).judgement.warnings;
        warnings.iter().any(|warning| warning.hint == "add `remote-cert-tls server`")
    };
    assert!(warned(""));
    for line in [
        "remote-cert-tls server",
        "verify-x509-name x name",
        "ns-cert-type server",
        "remote-cert-eku 1.3.6.1.5.5.7.3.1",
    ] {
        assert!(!warned(line), "{line}");
    }
}

#[test]
fn checks_of_the_servers_certificate_are_read() {
    let tls = |line: &str| accepted(&format!("remote a.example\n{line}")).profile.tls;
    let name = |line: &str| tls(line).verify_x509_name.unwrap();
    assert_eq!(name("verify-x509-name CN=a.example"), PeerName::Subject("CN=a.example".into()));
    assert_eq!(name("verify-x509-name \"C=US, CN=x\" subject"), PeerName::Subject("C=US, CN=x".into()));
    assert_eq!(name("verify-x509-name *.hide.me name"), PeerName::CommonName("*.hide.me".into()));
    assert_eq!(name("verify-x509-name Server name-prefix"), PeerName::CommonNamePrefix("Server".into()));
    assert_eq!(tls("remote-cert-ku a0 88").remote_cert_ku, Some(vec![0xa0, 0x88]));
    assert_eq!(tls("remote-cert-ku").remote_cert_ku, Some(vec![]));
    let usage = tls("remote-cert-eku \"TLS Web Server Authentication\"").remote_cert_eku;
    assert_eq!(usage.as_deref(), Some("1.3.6.1.5.5.7.3.1"));
    assert!(tls("tls-version-min 1.3").tls13_only && tls("tls-version-max 1.2").tls12_only);
    refused("remote a.example\ntls-version-min 1.3\ntls-version-max 1.2");
    refused("remote a.example\nverify-x509-name x frob");
}

#[test]
fn user_and_password_stand_inline_or_in_a_file_or_are_asked_for() {
    let given = |parsed: Parsed| match parsed.profile.auth_user_pass {
        AuthUserPass::Given(credentials) => (credentials.user, credentials.password.expose().clone()),
        AuthUserPass::No | AuthUserPass::Ask => panic!("given"),
    };
    let inline = accepted("remote a.example\n<auth-user-pass>\nann\n pass word \r\n</auth-user-pass>");
    assert_eq!(given(inline), ("ann".into(), " pass word ".into()));
    let text = format!("client\nremote a.example\n{CA}auth-user-pass a.auth\n");
    let file = parse(text.as_bytes(), &mut OneFile("a.auth", b"bob\r\nsecret\r\n".to_vec())).unwrap();
    assert_eq!(given(file), ("bob".into(), "secret".into()));
    let absent = parse(text.as_bytes(), &mut NoFiles).unwrap();
    assert_eq!(absent.profile.auth_user_pass, AuthUserPass::Ask);
    assert!(absent.judgement.warnings.iter().any(|warning| warning.hint.contains("asked for")));
    let half = accepted("remote a.example\n<auth-user-pass>\nann\n</auth-user-pass>");
    assert_eq!(half.profile.auth_user_pass, AuthUserPass::Ask);
}

// proves: T-52
#[test]
fn files_are_read_by_the_caller_alone_and_a_refusal_has_its_line() {
    let text = "client\nremote a.example\nauth-user-pass\nca ../../etc/shadow\n";
    let error = parse(text.as_bytes(), &mut NoFiles).unwrap_err();
    assert_eq!(error.line, Some(4));
    let got = parse(text.as_bytes(), &mut OneFile("../../etc/shadow", CERTIFICATE.as_bytes().to_vec())).unwrap();
    assert_eq!(got.profile.tls.ca, [DER]);
    let sized = |len: usize| {
        let mut content = CERTIFICATE.as_bytes().to_vec();
        content.resize(len, b'\n');
        parse(text.as_bytes(), &mut OneFile("../../etc/shadow", content)).is_ok()
    };
    assert!(sized(1024 * 1024 - 1) && sized(1024 * 1024) && !sized(1024 * 1024 + 1));
}

#[test]
fn a_missing_client_line_is_a_warning() {
    let parsed = parse(format!("remote a.example\nauth-user-pass\n{CA}").as_bytes(), &mut NoFiles).unwrap();
    assert!(parsed.judgement.warnings.iter().any(|warning| warning.why.contains("`client`")));
    accepted("pull\ntls-client\nremote a.example\ndev tun5");
    accepted("remote a.example\ndev vpn\ndev-type tun");
    refused("remote a.example\ndev vpn");
}

#[test]
fn routes_of_the_file_are_claims_or_stay_outside() {
    let pull = |text: &str| accepted(&format!("remote a.example\n{text}")).profile.pull;
    assert_eq!(pull("route 0.0.0.0 0.0.0.0").redirect_gateway, Some(RedirectGateway { ipv4: true, ipv6: false }));
    assert_eq!(pull("route remote_host 255.255.255.255 net_gateway").routes, []);
    assert_eq!(pull("route 127.0.0.0 255.0.0.0").routes, []);
    assert!(pull("route-nopull\npull-filter ignore \"dhcp-option DNS\"").route_nopull);
    assert_eq!(pull("dhcp-option DNS 10.0.0.1\ndhcp-option DOMAIN a.example").search_domains, ["a.example"]);
    for bad in [
        "route 10.0.0.0 255.0.255.0",
        "route www.example.com",
        "route-ipv6 ::ffff:0:0/96x",
        "pull-filter frob x",
        "keepalive 0 5",
    ] {
        assert_eq!(refused(&format!("remote a.example\n{bad}")).line, Some(head() + 2), "{bad}");
    }
}

#[test]
fn the_last_of_two_scalars_wins() {
    let profile =
        accepted("remote a.example\ntun-mtu 1300\nport 5\ntun-mtu 1200\nport 6\nauth SHA1\nauth SHA512").profile;
    assert_eq!((profile.pull.tun_mtu, profile.remotes[0].port, profile.auth), (Some(1200), 6, Digest::Sha512));
}

#[test]
fn hand_window_is_clamped_and_said() {
    for (given, taken) in [("0", 1), ("1", 1), ("59", 59), ("60", 60), ("61", 60), ("99999999999999999999", 60)] {
        let profile = accepted(&format!("remote a.example\nhand-window {given}")).profile;
        assert_eq!(profile.hand_window, Duration::from_secs(taken), "{given}");
    }
}

// proves: T-53
#[test]
fn broken_syntax_is_refused_with_its_line_and_the_rest_is_still_judged() {
    let error = refused("remote a.example\nlog C:\\temp\nfrob\n</ca>\n<cert>\nnever closed");
    let lines: Vec<u32> = error.judgement.refused.iter().map(|noted| noted.line).collect();
    assert_eq!(lines, [head() + 2, head() + 3, head() + 4, head() + 5]);
    assert!(refused("remote a.example\n<<<<<<< HEAD").line.is_some());
    refused("remote a.example\nremote b\0.example");
}

#[test]
fn text_of_the_file_is_escaped_in_messages() {
    for text in ["\u{202e}frob 1", "remote a.example frob\u{e9}", "proto \u{200f}", "cipher \u{e9}", "dev \u{e9}"] {
        let parsed = parse(text.as_bytes(), &mut NoFiles);
        let error = parsed.unwrap_err();
        let judgement = &error.judgement;
        let noted = judgement.used.iter().chain(&judgement.ignored).chain(&judgement.refused);
        let noted = noted.chain(&judgement.warnings);
        let texts = noted.flat_map(|noted| [&noted.directive, &noted.why, &noted.hint]);
        assert!(texts.into_iter().all(|text| text.is_ascii()), "{text}: {judgement:?}");
    }
}

/// Reads one file and refuses the others.
struct OneFile(&'static str, Vec<u8>);

impl Files for OneFile {
    fn read(&mut self, wanted: &FileWanted) -> Result<Secret<Vec<u8>>, String> {
        if wanted.path == self.0 { Ok(Secret::new(self.1.clone())) } else { Err(String::from("it is not there")) }
    }
}

/// The smallest text that is taken for a certificate: a DER sequence of one integer.
const DER: &[u8] = &[0x30, 3, 2, 1, 5];
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n";
const CA: &str = "<ca>\n-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n</ca>\n";
const CERT: &str = "<cert>\n-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n</cert>\n";
const KEY: &str = "<key>\n-----BEGIN PRIVATE KEY-----\nMAMCAQU=\n-----END PRIVATE KEY-----\n</key>\n";

fn key_block(label: &str, header: &str) -> String {
    format!("<key>\n-----BEGIN {label}-----\n{header}MAMCAQU=\n-----END {label}-----\n</key>\n")
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/openvpn.json")).expect("the vectors are JSON")
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("two digits")).collect()
}

/// A remote and a key file of tls-crypt-v2 that holds `payload`.
fn client_key(payload: &[u8], side: &str) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(payload);
    let label = format!("OpenVPN tls-crypt-v2 {side} key");
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("base64 is ASCII")).collect();
    format!(
        "remote a.example\n<tls-crypt-v2>\n-----BEGIN {label}-----\n{}\n-----END {label}-----\n</tls-crypt-v2>",
        lines.join("\n")
    )
}

fn static_key() -> String {
    format!(
        "# comment\n-----BEGIN OpenVPN Static key V1-----\n{}-----END OpenVPN Static key V1-----\n",
        format!("{}\n", "aB".repeat(16)).repeat(16)
    )
}

/// `text` after a client's usual lines, which are [`head`] in number.
fn with_head(text: &str) -> String {
    format!("client\nauth-user-pass\n{CA}{text}\n")
}

fn head() -> u32 {
    7
}

fn accepted(text: &str) -> Parsed {
    parse(with_head(text).as_bytes(), &mut NoFiles).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> ProfileError {
    parse(with_head(text).as_bytes(), &mut NoFiles).err().unwrap_or_else(|| panic!("accepted: {text}"))
}

/// The lines in which `directive` was ignored.
fn lines(judgement: &Judgement, directive: &str) -> Vec<u32> {
    judgement.ignored.iter().filter(|noted| noted.directive == directive).map(|noted| noted.line).collect()
}
