//! PUSH_REPLY: what real servers sent, and what a hostile one might.

use std::time::Duration;

use mrvpn_profile::assignment::PushedCipher;
use mrvpn_profile::profile::{PullFilter, PullFilterAction};
use mrvpn_profile::push::{Continuation, PushError, assignment, auth_token, continuation};
use mrvpn_profile::{
    Assignment, Cipher, Ipv4Assignment, Keepalive, ProtocolFlags, PullOptions, RedirectGateway, Route, RouteVia,
    Topology,
};
use serde_json::Value;

#[test]
fn net30_gives_a_single_address_and_its_peer_as_gateway() {
    let got = sample("topology net30, server 10.8.0.0/24").unwrap();
    assert_eq!(got.ipv4, ipv4("10.8.0.6/32", Some("10.8.0.5")));
    assert_eq!(nets(&got), ["10.8.0.1/32"]);
    assert_eq!(got.keepalive, keepalive(Some(10), Some(60)));
    assert_eq!((got.peer_id, got.tun_mtu), (Some(0), 1500));
    assert_eq!(got.cipher, Some(PushedCipher::Known(Cipher::Aes256Gcm)));
    let all = ProtocolFlags { cc_exit: true, tls_ekm: true, dyn_tls_crypt: true, aead_epoch: true };
    assert_eq!(got.protocol_flags, all);
    assert_eq!(got.skipped, []);
}

#[test]
fn p2p_gives_a_single_address() {
    let got = sample("topology p2p").unwrap();
    assert_eq!(got.ipv4, ipv4("10.8.0.4/32", Some("10.8.0.1")));
}

#[test]
fn a_full_push_is_read_whole() {
    let got = sample("subnet, IPv6, redirect-gateway, dns, routes, auth token").unwrap();
    assert_eq!(got.ipv4, ipv4("10.8.0.2/24", Some("10.8.0.1")));
    let ipv6 = got.ipv6.unwrap();
    assert_eq!(
        (ipv6.address.to_string(), ipv6.gateway.unwrap().to_string()),
        ("fd00:8::1000/64".into(), "fd00:8::1".into())
    );
    assert_eq!(nets(&got), ["172.16.0.0/12", "2001:db8::/32"]);
    assert_eq!(got.redirect_gateway, Some(RedirectGateway { ipv4: true, ipv6: true }));
    assert_eq!(got.dns, ["10.8.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(got.search_domains, ["corp.example"]);
    assert!(got.block_ipv6);
    assert_eq!(got.explicit_exit_notify, Some(1));
    let token = got.auth_token.as_ref().unwrap();
    assert!(token.token.expose().starts_with("SESS_ID_AT_") && token.user.is_none());
    assert!(!format!("{got:?}").contains("SESS_ID"), "a token is never shown");
}

fn token(own: &PullOptions, options: &str) -> Option<(String, Option<String>)> {
    let message = format!("PUSH_REPLY,{options}").into_bytes();
    let pushed = assignment(own, std::slice::from_ref(&message)).expect("a push that is taken");
    // What comes later gives the same as what came first.
    assert_eq!(auth_token(own, &[message]), pushed.auth_token);
    pushed.auth_token.map(|got| (got.token.expose().clone(), got.user))
}

// proves: T-39
#[test]
fn a_token_is_taken_up_to_its_limit_and_none_is_shown() {
    let own = PullOptions::default();
    let long = |len: usize| "t".repeat(len);
    for (len, taken) in [(1, true), (256, true), (257, true), (4095, true), (4096, true), (4097, false)] {
        let got = token(&own, &format!("auth-token {},ping 10", long(len)));
        assert_eq!(got, taken.then(|| (long(len), None)), "{len}");
    }
    let message = format!("PUSH_REPLY,auth-token {}", long(4097)).into_bytes();
    let refused = assignment(&own, &[message]).unwrap();
    assert_eq!(refused.skipped.len(), 1);
    assert_eq!(refused.skipped[0].option, "auth-token ***");
    assert_eq!(token(&own, "auth-token"), None);
    assert_eq!(token(&own, "auth-token \"\""), None);
    assert_eq!(token(&own, "auth-token-user dXNlcg=="), None, "a user without a token is nothing");
}

// proves: T-39
#[test]
fn a_token_may_bring_its_user_in_base64_without_control_characters() {
    let own = PullOptions::default();
    let with = |user: &str| token(&own, &format!("auth-token-user {user},auth-token T1")).unwrap().1;
    assert_eq!(with("dXNlcg=="), Some(String::from("user")));
    // Empty, no base64, a line end, a NUL, no UTF-8.
    for bad in ["\"\"", "dXNlcg", "dXMKZXI=", "dQB1", "/////w=="] {
        assert_eq!(with(bad), None, "{bad}");
    }
    let message = b"PUSH_REPLY,auth-token T\x01".to_vec();
    assert_eq!(auth_token(&own, std::slice::from_ref(&message)), None);
    assert_eq!(assignment(&own, &[message]), Err(PushError::Unprintable));
}

#[test]
fn the_newest_token_counts_and_a_filter_holds_for_later_ones_too() {
    let own = PullOptions::default();
    let messages = [b"PUSH_REPLY,auth-token T1".to_vec(), b"PUSH_REPLY,auth-token T2,route nonsense".to_vec()];
    assert_eq!(auth_token(&own, &messages).unwrap().token.expose(), "T2");
    assert_eq!(auth_token(&own, &[b"PUSH_REPLY,ping 10".to_vec()]), None);
    assert_eq!(auth_token(&own, &[b"RESTART,auth-token T1".to_vec()]), None);
    let filter = PullFilter::parse(PullFilterAction::Ignore, "auth-token").unwrap();
    let filtered = PullOptions { filters: vec![filter], ..PullOptions::default() };
    assert_eq!(token(&filtered, "auth-token T1"), None);
}

#[test]
fn ipv6_without_its_own_options_is_read() {
    let got = sample("subnet, IPv6, compress migrate, client without compression").unwrap();
    assert_eq!(got.ipv6.unwrap().address.to_string(), "fd00:8::1000/64");
    assert!(!got.protocol_flags.aead_epoch && got.protocol_flags.tls_ekm);
}

#[test]
fn compression_framing_refuses_the_push_by_name() {
    let error = sample("subnet, compress stub-v2").unwrap_err();
    assert_eq!(error, PushError::Compression { option: String::from("compress stub-v2") });
    for option in ["compress", "compress lz4", "comp-lzo", "comp-lzo no", "comp-lzo yes"] {
        assert!(matches!(push(&[option]), Err(PushError::Compression { .. })), "{option}");
    }
}

#[test]
fn a_push_in_parts_is_one_push() {
    let messages = messages("40 pushed routes (continuation)");
    assert_eq!(continuation(&messages[0]), Continuation::More);
    assert_eq!(continuation(&messages[1]), Continuation::Last);
    assert_eq!(continuation(b"PUSH_REPLY"), Continuation::Last);
    let got = assignment(&PullOptions::default(), &messages).unwrap();
    assert_eq!(got.routes.len(), 40);
    assert_eq!(nets(&got)[39], "10.20.40.0/24");
    assert_eq!(got.ipv4, ipv4("10.8.0.2/24", Some("10.8.0.1")));
}

#[test]
fn an_empty_push_assigns_nothing_and_breaks_nothing() {
    let got = assignment(&PullOptions::default(), &[b"PUSH_REPLY".to_vec()]).unwrap();
    assert_eq!((got.ipv4, got.ipv6, got.tun_mtu), (None, None, 1500));
    assert_eq!(push(&["", " ", ""]).unwrap().skipped, []);
}

#[test]
fn lists_are_added_to_the_profile_and_scalars_replace_it() {
    let own = PullOptions {
        routes: vec![route("10.1.0.0/16", RouteVia::Tunnel), route("10.2.0.0/16", RouteVia::Direct)],
        dns: vec!["10.1.0.53".parse().unwrap()],
        keepalive: keepalive(Some(5), Some(20)),
        tun_mtu: Some(1400),
        topology: Some(Topology::Subnet),
        ..PullOptions::default()
    };
    let text = ["route 10.3.0.0 255.255.0.0", "route 10.2.0.0 255.255.0.0", "dhcp-option DNS 10.3.0.53", "ping 10"];
    let got = push_over(&own, &text).unwrap();
    let tunnel = RouteVia::Tunnel;
    assert_eq!(got.routes, [own.routes[0], own.routes[1], route("10.3.0.0/16", tunnel)]);
    assert_eq!(got.dns.len(), 2);
    assert_eq!((got.keepalive, got.tun_mtu), (keepalive(Some(10), Some(20)), 1400));
    let got = push_over(&own, &["ifconfig 10.8.0.2 255.255.255.0", "tun-mtu 1300"]).unwrap();
    assert_eq!((got.ipv4, got.tun_mtu), (ipv4("10.8.0.2/24", None), 1300));
}

#[test]
fn a_mask_in_net30_is_read_as_a_mask() {
    let got = push(&["ifconfig 10.8.0.2 255.255.255.0"]).unwrap();
    assert_eq!(got.ipv4, ipv4("10.8.0.2/24", None));
    assert_eq!(got.skipped.len(), 1);
    let got = push(&["topology subnet", "route-gateway 10.8.0.1", "ifconfig 10.8.0.2 255.255.255.0"]).unwrap();
    assert_eq!(got.ipv4, ipv4("10.8.0.2/24", Some("10.8.0.1")));
}

// proves: T-37
#[test]
fn an_address_that_is_no_hosts_refuses_the_push() {
    for address in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.8.0.2", "224.0.0.1", "239.255.255.255", "255.255.255.255"] {
        for option in [format!("ifconfig {address} 10.8.0.1"), format!("ifconfig {address} 255.255.255.0")] {
            assert!(matches!(push(&[&option]), Err(PushError::Address { .. })), "{option}");
        }
    }
    for option in
        ["ifconfig-ipv6 ::/64", "ifconfig-ipv6 ::1/64 ::2", "ifconfig-ipv6 ff02::1/64", "ifconfig-ipv6 fd00::1/0"]
    {
        assert!(matches!(push(&[option]), Err(PushError::Address { .. })), "{option}");
    }
    assert!(push(&["topology subnet", "ifconfig 10.8.0.255 255.255.255.0"]).is_err());
}

// proves: T-37
#[test]
fn an_address_that_is_in_use_elsewhere_is_taken_as_it_is() {
    // The anchor's, one of a usual LAN, another tunnel's: the address book settles them.
    for address in ["198.18.0.1", "192.168.1.10", "10.8.0.2"] {
        let got = push(&["topology subnet", &format!("ifconfig {address} 255.255.255.0")]).unwrap();
        assert_eq!((got.ipv4, got.skipped.len()), (ipv4(&format!("{address}/24"), None), 0), "{address}");
    }
}

// proves: T-33
#[test]
fn an_address_of_the_wrong_family_or_a_mask_with_holes_is_refused() {
    for option in [
        "ifconfig fd00::1 fd00::2",
        "ifconfig ::ffff:10.8.0.2 10.8.0.1",
        "ifconfig 10.8.0.2",
        "ifconfig 10.8.0.2 host.example",
        "ifconfig-ipv6 10.8.0.2/64 10.8.0.1",
        "ifconfig-ipv6 ::ffff:10.8.0.2/128 fd00::1",
        "ifconfig-ipv6 fd00::1/129",
        "ifconfig-ipv6 fd00::1/+64",
    ] {
        assert!(matches!(push(&[option]), Err(PushError::Address { .. })), "{option}");
    }
    for mask in ["255.0.255.0", "255.255.255.1", "0.0.0.0", "128.0.0.0", "10.8.0.1"] {
        let option = format!("ifconfig 10.8.0.2 {mask}");
        assert!(matches!(push(&["topology subnet", &option]), Err(PushError::Address { .. })), "{option}");
    }
}

// proves: T-33
#[test]
fn a_wrong_route_is_left_out_and_host_bits_are_masked_and_said() {
    for option in [
        "route ::ffff:10.0.0.0",
        "route fd00:: ffff::",
        "route 10.0.0.0 255.0.255.0",
        "route 10.0.0.0/8",
        "route www.example.com",
        "route 10.0.0.0 255.0.0.0 fd00::1",
        "route 10.0.0.0 255.0.0.0 vpn_gateway x",
        "route",
        "route-ipv6 10.0.0.0/8",
        "route-ipv6 ::ffff:10.0.0.0/104",
        "route-ipv6 fd00::/129",
        "dhcp-option DNS 10.0.0",
        "dhcp-option DNS6 10.0.0.1",
        "dhcp-option DNS ::ffff:10.0.0.1",
        "route-gateway fd00::1",
        "peer-id 16777216",
        "peer-id -1",
        "tun-mtu x",
        "ping x",
    ] {
        let got = push(&[option]).unwrap();
        assert_eq!((got.routes.len(), got.dns.len(), got.peer_id), (0, 0, None), "{option}");
        assert_eq!(got.skipped.len(), 1, "{option}");
    }
    let got = push(&["route 10.1.2.3 255.255.255.0", "route-ipv6 fd00::5/64"]).unwrap();
    assert_eq!(nets(&got), ["10.1.2.0/24", "fd00::/64"]);
    assert!(got.skipped[0].why.contains("taken as 10.1.2.0/24"));
}

// proves: T-36
#[test]
fn a_server_claims_nothing_outside_its_own_reach() {
    for option in [
        "route 10.0.0.0 255.0.0.0 net_gateway",
        "route net_gateway",
        "route remote_host",
        "route 127.0.0.0 255.0.0.0",
        "route 224.0.0.0 240.0.0.0",
        "route 169.254.0.0 255.255.0.0",
        "route-ipv6 ::1/128",
        "route-ipv6 fe80::/64",
        "route-ipv6 ff00::/8",
        "route-ipv6 fd00::/8 net_gateway",
        "dhcp-option DNS 127.0.0.1",
    ] {
        let got = push(&[option]).unwrap();
        assert_eq!((got.routes.len(), got.dns.len()), (0, 0), "{option}");
        assert_eq!(got.skipped.len(), 1, "{option}");
    }
}

// proves: T-36
#[test]
fn a_pushed_route_is_a_claim_of_this_tunnel_and_nothing_else_whatever_it_names() {
    let own = PullOptions { routes: vec![route("203.0.113.9/32", RouteVia::Direct)], ..PullOptions::default() };
    for (option, net) in [
        // The LAN, the addresses of the host itself, the server's own, another tunnel's, by whatever gateway.
        ("route 192.168.1.0 255.255.255.0", "192.168.1.0/24"),
        ("route 192.168.1.0 255.255.255.0 192.168.1.1", "192.168.1.0/24"),
        ("route 192.168.1.0 255.255.255.0 vpn_gateway 0", "192.168.1.0/24"),
        ("route 198.18.0.0 255.254.0.0", "198.18.0.0/15"),
        ("route 198.18.0.1", "198.18.0.1/32"),
        ("route 192.0.2.1", "192.0.2.1/32"),
        ("route 10.99.0.0 255.255.0.0", "10.99.0.0/16"),
        ("route-ipv6 2001:2::/48", "2001:2::/48"),
        ("route-ipv6 fd00:99::/48 fd00::1", "fd00:99::/48"),
    ] {
        let got = push_over(&own, &[option]).unwrap();
        assert_eq!(got.routes, [own.routes[0], route(net, RouteVia::Tunnel)], "{option}");
        assert_eq!((got.redirect_gateway, got.skipped.len()), (None, 0), "{option}");
    }
}

// proves: T-36
#[test]
fn a_server_cannot_send_traffic_around_its_tunnel_nor_undo_what_the_user_keeps_outside() {
    let own = PullOptions { routes: vec![route("203.0.113.0/24", RouteVia::Direct)], ..PullOptions::default() };
    for option in [
        "route 203.0.0.0 255.255.0.0 net_gateway",
        "route 203.0.0.0 255.255.0.0 'net_gateway' 1",
        "route 0.0.0.0 0.0.0.0 net_gateway",
        "route 203.0.113.0 255.255.255.0 net_gateway",
        "route-ipv6 2001:db8::/32 net_gateway",
        "route-ipv6 ::/0 net_gateway_ipv6",
        "route 10.0.0.0 255.0.0.0 NET_GATEWAY",
        "route 10.0.0.0 255.0.0.0 remote_host",
        "route net_gateway 255.255.255.255 net_gateway",
    ] {
        let got = push_over(&own, &[option]).unwrap();
        assert_eq!((&got.routes, got.redirect_gateway), (&own.routes, None), "{option}");
        assert_eq!(got.skipped.len(), 1, "{option}");
    }
    // The same prefix as the user's stays outside; a longer one inside it is a claim, and who wins is decided elsewhere.
    let got = push_over(&own, &["route 203.0.113.0 255.255.255.0", "route 0.0.0.0 0.0.0.0"]).unwrap();
    assert_eq!(got.routes, own.routes);
    assert_eq!(got.redirect_gateway, Some(RedirectGateway { ipv4: true, ipv6: false }));
}

#[test]
fn a_route_for_everything_is_the_offer_of_a_default() {
    let got = push(&["route 0.0.0.0 0.0.0.0", "route-ipv6 2000::/3"]).unwrap();
    assert_eq!((got.routes.len(), got.redirect_gateway), (0, Some(RedirectGateway { ipv4: true, ipv6: true })));
}

#[test]
fn flags_of_redirect_gateway_add_up() {
    let both = push(&["redirect-gateway def1", "redirect-gateway ipv6 bypass-dhcp"]).unwrap();
    assert_eq!(both.redirect_gateway, Some(RedirectGateway { ipv4: true, ipv6: true }));
    let six = push(&["redirect-gateway ipv6 !ipv4"]).unwrap();
    assert_eq!(six.redirect_gateway, Some(RedirectGateway { ipv4: false, ipv6: true }));
    let odd = push(&["redirect-gateway def1 frob ipv6"]).unwrap();
    assert_eq!(odd.redirect_gateway, Some(RedirectGateway { ipv4: true, ipv6: false }));
    assert_eq!(odd.skipped.len(), 1);
    assert_eq!(push(&["redirect-private def1"]).unwrap().redirect_gateway, None);
}

// proves: T-34
#[test]
fn an_mtu_is_clamped() {
    for (pushed, taken) in [
        ("0", 576),
        ("1", 576),
        ("575", 576),
        ("576", 576),
        ("577", 577),
        ("8999", 8999),
        ("9000", 9000),
        ("9001", 9000),
        ("70000", 9000),
        ("99999999999999999999", 9000),
    ] {
        assert_eq!(push(&[&format!("tun-mtu {pushed}")]).unwrap().tun_mtu, taken, "{pushed}");
    }
    assert!(push(&["tun-mtu 1279"]).unwrap().block_ipv6);
    assert!(!push(&["tun-mtu 1280"]).unwrap().block_ipv6);
}

// proves: T-35
#[test]
fn times_are_clamped_and_fit_each_other() {
    let day = 86_400;
    for (ping, restart, taken) in [
        ("0", "60", (None, Some(60))),
        ("10", "0", (Some(10), None)),
        ("10", "5", (Some(10), Some(20))),
        ("1", "1", (Some(1), Some(2))),
        ("86399", "0", (Some(86_399), None)),
        ("86400", "0", (Some(day), None)),
        ("86401", "0", (Some(day), None)),
        ("1000000000000000000", "1000000000000000000", (Some(day / 2), Some(day))),
        ("-5", "-5", (None, None)),
        ("10", "86401", (Some(10), Some(day))),
    ] {
        let got = push(&[&format!("ping {ping}"), &format!("ping-restart {restart}")]).unwrap();
        assert_eq!(got.keepalive, keepalive(taken.0, taken.1), "{ping} {restart}");
    }
    assert_eq!(push(&["session-timeout 1"]).unwrap().session_timeout, Some(Duration::from_secs(1)));
}

// proves: T-30
#[test]
fn control_bytes_refuse_the_whole_message() {
    for bad in
        [&b"PUSH_REPLY,route 10.0.0.0\0"[..], b"PUSH_REPLY,echo \x1b[2J", b"PUSH_REPLY,echo \xff", b"PUSH_REPLY,a\tb"]
    {
        let got = assignment(&PullOptions::default(), &[bad.to_vec()]);
        assert_eq!(got, Err(PushError::Unprintable), "{bad:?}");
    }
    for other in [&b"AUTH_FAILED"[..], b"PUSH_REPLYX", b""] {
        assert_eq!(assignment(&PullOptions::default(), &[other.to_vec()]), Err(PushError::NotAReply));
    }
}

// proves: T-42
#[test]
fn what_is_not_on_the_list_is_left_out_and_noted() {
    for option in [
        "setenv X y",
        "up /bin/sh",
        "route-up x",
        "reneg-sec 5",
        "auth SHA1",
        "tls-cipher x",
        "mssfix 5",
        "--route 10.0.0.0",
    ] {
        let got = push(&[option]).unwrap();
        assert_eq!(got.skipped.len(), 1, "{option}");
        assert_eq!(got.routes, [], "{option}");
    }
    for quiet in ["tun-ipv6", "echo hello", "verb 3", "persist-tun", "sndbuf 0"] {
        assert_eq!(push(&[quiet]).unwrap().skipped, [], "{quiet}");
    }
}

#[test]
fn keys_that_would_not_match_refuse_the_push() {
    assert!(matches!(push(&["protocol-flags tls-ekm frob"]), Err(PushError::Keys { .. })));
    assert!(matches!(push(&["key-derivation prf2"]), Err(PushError::Keys { .. })));
    assert!(push(&["key-derivation tls-ekm"]).unwrap().protocol_flags.tls_ekm);
    assert_eq!(push(&["cipher BF-CBC"]).unwrap().cipher, Some(PushedCipher::Unknown(String::from("BF-CBC"))));
}

#[test]
fn route_nopull_keeps_the_address_and_leaves_routes_and_dns_out() {
    let own = PullOptions { route_nopull: true, ..PullOptions::default() };
    let text = ["redirect-gateway", "route 10.0.0.0", "dhcp-option DNS 10.0.0.1", "ifconfig 10.8.0.6 10.8.0.5"];
    let got = push_over(&own, &text).unwrap();
    assert_eq!((got.routes.len(), got.dns.len(), got.redirect_gateway), (0, 0, None));
    assert_eq!(got.ipv4, ipv4("10.8.0.6/32", Some("10.8.0.5")));
    assert_eq!(got.skipped.len(), 3);
}

#[test]
fn the_first_pull_filter_that_fits_decides() {
    let own = filters(&[
        (PullFilterAction::Accept, "route 10."),
        (PullFilterAction::Ignore, "route"),
        (PullFilterAction::Reject, "redirect-gateway"),
    ]);
    let got = push_over(&own, &["route 10.0.0.0 255.0.0.0", "route 172.16.0.0 255.240.0.0"]).unwrap();
    assert_eq!(nets(&got), ["10.0.0.0/8"]);
    assert!(matches!(push_over(&own, &["redirect-gateway def1"]), Err(PushError::Rejected { .. })));
}

// proves: T-43
#[test]
fn another_spacing_or_quoting_gives_the_same_verdict() {
    let own = filters(&[(PullFilterAction::Ignore, "dhcp-option DNS"), (PullFilterAction::Reject, "route 10.66")]);
    for name in ["dhcp-option", "'dhcp-option'", "\"dhcp-option\"", "  dhcp-option  "] {
        for kind in ["DNS", "'DNS'", "\"DNS\"", "  DNS "] {
            assert_eq!(push_over(&own, &[&format!("{name} {kind} 10.0.0.1")]).unwrap().dns.len(), 0, "{name} {kind}");
        }
    }
    for option in ["route 10.66.0.0", "  route   10.66.0.0", "'route' \"10.66.0.0\"", "\"route\" 10.66.0.0 # x"] {
        assert!(matches!(push_over(&own, &[option]), Err(PushError::Rejected { .. })), "{option}");
    }
}

// proves: T-32
#[test]
fn domains_are_harmless_or_left_out() {
    let got = push(&["dhcp-option DOMAIN x;id", "dhcp-option DOMAIN-SEARCH a..b", "dns search-domains $(id)"]).unwrap();
    assert_eq!((got.search_domains.len(), got.skipped.len()), (0, 3));
    let got =
        push(&["dhcp-option DOMAIN a.example", "dhcp-option DOMAIN b.example", "dhcp-option DOMAIN-SEARCH c.example"]);
    assert_eq!(got.unwrap().search_domains, ["b.example", "c.example"]);
}

// proves: T-32
#[test]
fn no_letter_outside_of_names_gets_into_a_domain_in_any_of_the_three_forms() {
    // `dns search-domains` counts beside a `dns server` alone.
    let forms = ["dhcp-option DOMAIN", "dhcp-option DOMAIN-SEARCH", "dns server 1 address 10.8.0.1,dns search-domains"];
    for code in (0x20_u32..0x7f).chain([0xa0, 0xe9, 0x430, 0x3002, 0xff0e, 0x1_f600]) {
        let letter = char::from_u32(code).unwrap();
        if letter == ',' {
            continue; // ends the option
        }
        let harmless = letter.is_ascii_alphanumeric() || "._-".contains(letter);
        for form in forms {
            // Quoted by what is not itself a quote, and a backslash twice, so that the letter is part of the word.
            let option = match letter {
                '\'' => format!("{form} \"a{letter}b.example\""),
                _ => format!("{form} 'a{letter}b.example'"),
            };
            let got = push(&[&option]).unwrap();
            let expected = if harmless { vec![format!("a{letter}b.example")] } else { vec![] };
            assert_eq!((&got.search_domains, got.skipped.len()), (&expected, usize::from(!harmless)), "{option}");
        }
    }
    for empty in [
        "dhcp-option DOMAIN",
        "dhcp-option DOMAIN ''",
        "dhcp-option DOMAIN-SEARCH .",
        "dns search-domains",
        "dns search-domains ''",
    ] {
        let got = push(&[empty]).unwrap();
        assert_eq!((got.search_domains.len(), got.skipped.len()), (0, 1), "{empty}");
    }
}

// proves: T-32
#[test]
fn one_bad_name_in_a_list_leaves_out_that_list_and_nothing_else() {
    let got = push(&["dns search-domains a.example x;id b.example", "dhcp-option DOMAIN-SEARCH c.example"]).unwrap();
    assert_eq!((got.search_domains, got.skipped.len()), (vec![String::from("c.example")], 1));
}

// proves: T-32
#[test]
fn the_users_own_domain_stays_whatever_part_of_it_a_server_pushes_or_stops_to_push() {
    let own = PullOptions { search_domains: vec![String::from("corp.example")], ..PullOptions::default() };
    let domains = |options: &[&str]| push_over(&own, options).unwrap().search_domains;
    assert_eq!(domains(&["dhcp-option DOMAIN-SEARCH example"]), ["corp.example", "example"]);
    assert_eq!(domains(&["dhcp-option DOMAIN-SEARCH corp.example"]), ["corp.example"]);
    assert_eq!(domains(&["dhcp-option DOMAIN-SEARCH corp"]), ["corp.example", "corp"]);
    assert_eq!(domains(&["echo"]), ["corp.example"]);
}

#[test]
fn the_lowest_dns_server_that_can_be_served_is_used() {
    let got = push(&[
        "dhcp-option DNS 10.0.0.1",
        "dns server 1 address 10.0.0.3",
        "dns server -1 address 10.0.0.2",
        "dns server -1 transport DoT",
        "dns server 5 address 10.0.0.5:5353 10.0.0.6:53 [fd00::1]:53",
    ])
    .unwrap();
    assert_eq!(got.dns, ["10.0.0.3".parse::<std::net::IpAddr>().unwrap()]);
}

#[test]
fn every_error_says_what_to_do() {
    for error in [PushError::NotAReply, PushError::TooLong, PushError::Unprintable] {
        assert!(!error.hint().is_empty() && !error.to_string().is_empty());
    }
}

// proves: T-31
#[test]
fn notes_on_left_out_options_are_bounded() {
    let many: Vec<&str> = std::iter::repeat_n("frob", 10_000).collect();
    let got = push(&many).unwrap();
    assert_eq!(got.skipped.len(), 65);
    assert_eq!(got.skipped[64].why, "9936 more options were left out");
}

fn push(options: &[&str]) -> Result<Assignment, PushError> {
    push_over(&PullOptions::default(), options)
}

fn push_over(own: &PullOptions, options: &[&str]) -> Result<Assignment, PushError> {
    assignment(own, &[format!("PUSH_REPLY,{}", options.join(",")).into_bytes()])
}

fn messages(setup: &str) -> Vec<Vec<u8>> {
    let vectors: Value = serde_json::from_str(include_str!("vectors/openvpn.json")).expect("the vectors are JSON");
    let samples = vectors["push_reply_samples"]["vectors"].as_array().expect("a list");
    let sample = samples.iter().find(|sample| sample["setup"] == setup).expect("the sample is there");
    let messages = sample["messages"].as_array().expect("a list");
    messages.iter().map(|message| message.as_str().expect("a text").as_bytes().to_vec()).collect()
}

fn sample(setup: &str) -> Result<Assignment, PushError> {
    assignment(&PullOptions::default(), &messages(setup))
}

fn ipv4(address: &str, gateway: Option<&str>) -> Option<Ipv4Assignment> {
    let address = address.parse().expect("a prefix");
    Some(Ipv4Assignment { address, gateway: gateway.map(|text| text.parse().expect("an address")) })
}

fn nets(assignment: &Assignment) -> Vec<String> {
    assignment.routes.iter().map(|route| route.net.to_string()).collect()
}

fn route(net: &str, via: RouteVia) -> Route {
    Route { net: net.parse().expect("a prefix"), via }
}

fn keepalive(ping: Option<u64>, restart: Option<u64>) -> Keepalive {
    Keepalive { ping: ping.map(Duration::from_secs), ping_restart: restart.map(Duration::from_secs) }
}

fn filters(list: &[(PullFilterAction, &str)]) -> PullOptions {
    let parse = |(action, text): &(PullFilterAction, &str)| PullFilter::parse(*action, text).expect("a filter");
    PullOptions { filters: list.iter().map(parse).collect(), ..PullOptions::default() }
}
