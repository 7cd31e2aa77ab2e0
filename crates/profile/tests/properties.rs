//! What must hold for any bytes: no panic, escaped messages, the same verdict however a text is spaced and quoted.

use mrvpn_profile::ovpn::{NoFiles, parse};
use mrvpn_profile::profile::{PullFilter, PullFilterAction};
use mrvpn_profile::push::{PushError, assignment, continuation};
use mrvpn_profile::syntax::words;
use mrvpn_profile::{PullOptions, Route, RouteVia, StaticKey, escape::escape, name::TunnelName, pull_filter};
use proptest::collection::vec;
use proptest::prelude::*;

const PROFILE: &str = "client\nremote a.example 1194 udp\nauth-user-pass\nroute 10.0.0.0 255.0.0.0\ncipher AES-256-GCM\n\
    keepalive 10 60\nsetenv opt tun-mtu 1400\npull-filter ignore \"route \"\n<ca>\n-----BEGIN CERTIFICATE-----\nMAMCAQU=\n\
    -----END CERTIFICATE-----\n</ca>\n";

const PUSH: &str = "PUSH_REPLY,redirect-gateway def1 ipv6,dns server 1 address 10.8.0.1 [fd00:8::1]:5353,route 172.16.0.0 \
    255.240.0.0 vpn_gateway 5,route-ipv6 2001:db8::/32,route-gateway 10.8.0.1,topology subnet,ping 10,ifconfig-ipv6 \
    fd00:8::1000/64 fd00:8::1,ifconfig 10.8.0.2 255.255.255.0,peer-id 0,cipher AES-256-GCM,protocol-flags tls-ekm";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_panic_the_lexer_or_a_parser(bytes in vec(any::<u8>(), 0..2_000)) {
        let _ = words(&bytes);
        let _ = continuation(&bytes);
        let _ = parse(&bytes, &mut NoFiles);
        let _ = StaticKey::from_text(&bytes);
        let _ = assignment(&PullOptions::default(), &[bytes.clone(), [b"PUSH_REPLY,".as_slice(), &bytes].concat()]);
    }

    #[test]
    fn no_flipped_or_missing_byte_of_a_real_text_panics(at in 0_usize..2_000, flip: u8, text in ".{0,40}") {
        let _ = parse(&damaged(PROFILE, at, flip), &mut NoFiles);
        let _ = parse(&PROFILE.as_bytes()[..at % PROFILE.len()], &mut NoFiles);
        let _ = assignment(&PullOptions::default(), &[damaged(PUSH, at, flip)]);
        let _ = assignment(&PullOptions::default(), &[PUSH.as_bytes()[..at % PUSH.len()].to_vec()]);
        let _ = parse(format!("{PROFILE}{text}").as_bytes(), &mut NoFiles);
        let _ = assignment(&PullOptions::default(), &[format!("{PUSH},{text}").into_bytes()]);
    }

    #[test]
    fn options_with_odd_parameters_never_panic(name in option_name(), parameters in vec(parameter(), 0..6)) {
        let option = format!("{name} {}", parameters.join(" "));
        let _ = assignment(&PullOptions::default(), &[format!("PUSH_REPLY,{option}").into_bytes()]);
        let _ = parse(format!("{PROFILE}{option}\n").as_bytes(), &mut NoFiles);
    }

    // proves: T-36
    #[test]
    fn whatever_is_pushed_what_goes_past_the_tunnel_is_what_the_users_file_says(
        pushed in vec((option_name(), vec(parameter(), 0..5)), 0..12),
        also in vec("route(-ipv6)? (10.0.0.0|fd00::/8|0.0.0.0|net_gateway) (0.0.0.0|255.0.0.0|net_gateway) (net_gateway)?", 0..4),
    ) {
        let own = parse(format!("{PROFILE}route 203.0.113.9 255.255.255.255 net_gateway\n").as_bytes(), &mut NoFiles);
        let own = own.unwrap().profile.pull;
        let options = pushed.into_iter().map(|(name, parameters)| format!("{name} {}", parameters.join(" ")));
        let options: Vec<String> = options.chain(also).collect();
        let message = format!("PUSH_REPLY,{}", options.join(","));
        let Ok(got) = assignment(&own, &[message.into_bytes()]) else { return Ok(()) };
        let outside = |routes: &[Route]| -> Vec<Route> {
            routes.iter().copied().filter(|route| route.via == RouteVia::Direct).collect()
        };
        prop_assert_eq!(outside(&got.routes), outside(&own.routes));
    }

    // proves: T-33
    #[test]
    fn what_was_assigned_prints_and_parses_to_the_same(local: u32, bits in 8_u8..=32, net: u32, net_bits in 0_u8..=32) {
        let mask = |bits: u8| std::net::Ipv4Addr::from_bits(u32::MAX.checked_shl(u32::from(32 - bits)).unwrap_or(0));
        let text = format!(
            "PUSH_REPLY,topology subnet,ifconfig {} {},route {} {}",
            std::net::Ipv4Addr::from_bits(local), mask(bits), std::net::Ipv4Addr::from_bits(net), mask(net_bits),
        );
        let Ok(got) = assignment(&PullOptions::default(), &[text.into_bytes()]) else { return Ok(()) };
        let address = got.ipv4.unwrap().address;
        prop_assert_eq!((address.addr().to_bits(), address.prefix_len()), (local, bits));
        prop_assert_eq!(address.to_string().parse(), Ok(address));
        for route in got.routes {
            prop_assert_eq!(route.net.trunc(), route.net);
            prop_assert_eq!(route.net.to_string().parse(), Ok(route.net));
        }
    }

    // proves: T-43
    #[test]
    fn another_spacing_or_quoting_gives_the_same_words(plain in vec("[a-z0-9./:!-]{1,12}", 1..10), style in vec(0_u8..4, 10)) {
        let dressed: Vec<String> = plain.iter().zip(&style).map(|(word, style)| match style {
            0 => word.clone(),
            1 => format!("'{word}'"),
            2 => format!("\"{word}\""),
            _ => format!("  {word}  "),
        }).collect();
        prop_assert_eq!(words(dressed.join(" ").as_bytes()).unwrap(), plain);
    }

    // proves: T-43
    #[test]
    fn another_quoting_of_a_push_gives_the_same_assignment(style in vec(0_u8..4, 64)) {
        let mut style = style.into_iter().cycle();
        let dressed = PUSH.trim_start_matches("PUSH_REPLY,").split(',').map(|option| {
            let dress = |word: &str| match style.next() {
                Some(1) => format!("'{word}'"),
                Some(2) => format!("\"{word}\""),
                Some(3) => format!(" {word}  "),
                _ => word.to_owned(),
            };
            option.split_whitespace().map(dress).collect::<Vec<_>>().join(" ")
        });
        let dressed = format!("PUSH_REPLY,{}", dressed.collect::<Vec<_>>().join(","));
        let mut plain = assignment(&PullOptions::default(), &[PUSH.as_bytes().to_vec()]).unwrap();
        let mut other = assignment(&PullOptions::default(), &[dressed.into_bytes()]).unwrap();
        // Notes show an option as it was written.
        plain.skipped.clear();
        other.skipped.clear();
        prop_assert_eq!(plain, other);
    }

    // proves: T-43
    #[test]
    fn no_spacing_or_quoting_or_case_of_a_parameter_gets_past_the_filters_or_into_them(
        filters in vec((filter_action(), vec(filter_word(), 1..4), any::<bool>()), 0..4),
        option in vec(option_word(), 1..5),
        styles in vec(0_u8..5, 24),
        upper in any::<bool>(),
    ) {
        let mut styles = styles.into_iter().cycle();
        let filters: Vec<PullFilter> = filters.into_iter().map(|(action, words, whole)| {
            let plain = words.join(" ") + if whole { " " } else { "" };
            let plain = PullFilter::parse(action, &plain).unwrap();
            // A blank at the end of a filter has a meaning of its own.
            let text = dressed(&words, &mut styles).trim_end().to_owned() + if whole { " " } else { "" };
            let other = PullFilter::parse(action, &text).unwrap();
            assert_eq!(plain, other, "{text}");
            other
        }).collect();
        let mut words_of_it: Vec<String> = option.iter().map(ToString::to_string).collect();
        let plain = pull_filter::verdict(&filters, &words_of_it);
        if upper {
            words_of_it.iter_mut().skip(1).for_each(|word| word.make_ascii_uppercase());
        }
        let text = dressed(&words_of_it, &mut styles);
        prop_assert_eq!(pull_filter::verdict(&filters, &words(text.as_bytes()).unwrap()), plain, "{}", text);
        // The same through a whole push: refused, left out, or taken.
        let own = PullOptions { filters, ..PullOptions::default() };
        let pushed = |option: &str| {
            let got = assignment(&own, &[format!("PUSH_REPLY,{option}").into_bytes()]);
            got.map(|got| got.skipped.iter().any(|left| left.why.contains("pull-filter")))
        };
        match plain {
            PullFilterAction::Reject => prop_assert!(matches!(pushed(&text), Err(PushError::Rejected { .. })), "{}", text),
            PullFilterAction::Ignore => prop_assert_eq!(pushed(&text), Ok(true), "{}", text),
            PullFilterAction::Accept => prop_assert_ne!(pushed(&text), Ok(true), "{}", text),
        }
    }

    #[test]
    fn escaped_text_is_printable_and_short(bytes in vec(any::<u8>(), 0..1_000)) {
        let shown = escape(&bytes);
        prop_assert!(shown.len() <= 256 && shown.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
    }

    // proves: T-55
    #[test]
    fn any_file_name_gives_a_name_that_may_be_written(path in "\\PC{0,60}") {
        let name = TunnelName::from_file_name(&path, &[]);
        prop_assert_eq!(TunnelName::parse(name.as_str()), Ok(name.clone()));
        let second = TunnelName::from_file_name(&path, std::slice::from_ref(&name));
        prop_assert_eq!(TunnelName::parse(second.as_str()), Ok(second.clone()));
        prop_assert_ne!(second, name);
    }
}

// proves: T-53
#[test]
fn bombs_of_256_kib_come_to_an_end() {
    for part in [
        "'",
        "\"",
        "<a>\n",
        "<a>\n</a>\n",
        "\\",
        "remote a\n",
        "x y\n",
        "\n",
        " ",
        "route 1.1.1.1\n",
        "\0",
        "-----BEGIN A-----\n",
    ] {
        let text = part.repeat(256 * 1024 / part.len());
        let _ = parse(text.as_bytes(), &mut NoFiles);
        let pem = format!("remote a\n<ca>\n{}</ca>\n", part.repeat(200 * 1024 / part.len()));
        let _ = parse(pem.as_bytes(), &mut NoFiles);
    }
}

fn damaged(text: &str, at: usize, flip: u8) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let at = at % bytes.len();
    bytes[at] ^= flip;
    bytes
}

/// The words as one line: plain, in single or double quotes, with blanks around, or in quotes with blanks around.
fn dressed(words: &[String], styles: &mut impl Iterator<Item = u8>) -> String {
    let dress = |word: &String| match styles.next() {
        Some(1) => format!("'{word}'"),
        Some(2) => format!("\"{word}\""),
        Some(3) => format!(" {word}   "),
        Some(4) => format!("  '{word}' "),
        _ => word.clone(),
    };
    words.iter().map(dress).collect::<Vec<_>>().join(" ")
}

fn filter_action() -> impl Strategy<Value = PullFilterAction> {
    prop::sample::select(vec![PullFilterAction::Accept, PullFilterAction::Ignore, PullFilterAction::Reject])
}

/// Beginnings of the words below, and whole ones.
fn filter_word() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "route",
        "route-ipv6",
        "rou",
        "dhcp-option",
        "DNS",
        "dns",
        "10.",
        "10.66.0.0",
        "fd00",
        "e",
    ])
    .prop_map(String::from)
}

fn option_word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "route",
        "route-ipv6",
        "dhcp-option",
        "DNS",
        "DNS6",
        "10.66.0.0",
        "10.8.0.1",
        "fd00::1",
        "fd00:66::/32",
        "echo",
    ])
}

fn option_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "ifconfig",
        "ifconfig-ipv6",
        "topology",
        "route",
        "route-ipv6",
        "route-gateway",
        "redirect-gateway",
        "dhcp-option",
        "dns",
        "peer-id",
        "cipher",
        "protocol-flags",
        "ping",
        "ping-restart",
        "tun-mtu",
        "session-timeout",
        "remote",
        "proto",
        "port",
        "keepalive",
        "verify-x509-name",
        "remote-cert-ku",
        "peer-fingerprint",
        "data-ciphers",
        "auth",
        "pull-filter",
        "setenv",
        "hand-window",
        "tls-auth",
        "key-direction",
        "explicit-exit-notify",
        "dev",
    ])
}

fn parameter() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "10.0.0.1",
            "255.255.0.0",
            "fd00::1/64",
            "::ffff:1.2.3.4",
            "server",
            "DNS",
            "search-domains",
            "address",
            "1",
            "-1",
            "0",
            "99999999999999999999999",
            "net_gateway",
            "default",
            "[::1]:53",
            "opt",
            "''",
            "ignore",
            "a:b",
            "/",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,12}",
    ]
}
