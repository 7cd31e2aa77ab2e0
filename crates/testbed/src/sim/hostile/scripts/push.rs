//! What a server pushes: T-12, T-13, T-31 to T-38, T-42, T-43.

use std::time::Duration;

use mrvpn_netplan::model::Verdict;

use super::Script;
use crate::sim::hostile::arena::{Arena, HOSTILE, honest};

const SECOND: Duration = Duration::from_secs(1);

pub(super) const SCRIPTS: [Script; 26] = [
    Script::new("ciphers-outside-the-list", &["T-12"], |arena| {
        for cipher in
            ["BF-CBC", "DES-CBC", "DES-EDE3-CBC", "RC2-CBC", "none", "AES-256-CBC", "CAMELLIA-256-CBC", "null"]
        {
            whole(arena, &format!("cipher {cipher},protocol-flags cc-exit tls-ekm,peer-id 0"));
            refused(arena, "no-shared-cipher");
        }
    }),
    Script::new("compression-of-every-kind", &["T-13"], |arena| {
        for kind in ["comp-lzo yes", "comp-lzo", "compress lzo", "compress lz4", "compress lz4-v2", "comp-lzo adaptive"]
        {
            extra(arena, &[kind]);
            refused(arena, "push-refused");
        }
    }),
    Script::new("shell-words-as-domains", &["T-32"], |arena| {
        let names =
            ["x;id", "$(id)", "`id`", "a b", "a\"b", "a'b", "-a", "a..b", "..", "a/b", "a|b", "ä.example", "a\\b"];
        let options: Vec<String> = names
            .iter()
            .flat_map(|name| {
                ["DOMAIN", "DOMAIN-SEARCH", "ADAPTER_DOMAIN_SUFFIX"].map(|kind| format!("dhcp-option {kind} {name}"))
            })
            .chain(names.iter().map(|name| format!("dns search-domains {name}")))
            .chain(["dhcp-option DOMAIN".to_owned(), "dns search-domains".to_owned()])
            .collect();
        extra(arena, &options);
        arena.come_up();
        let odd = domains(arena).into_iter().find(|name| !is_name(name));
        arena.must(odd.is_none(), "T-32", || format!("the domain {odd:?} is taken"));
        arena.expect_talk();
    }),
    Script::new("endless-domains-and-servers", &["T-31", "T-32", "T-38"], |arena| {
        let many: Vec<String> = (0..400)
            .flat_map(|n| {
                [format!("dhcp-option DOMAIN-SEARCH d{n}.example"), format!("dhcp-option DNS 9.9.{}.9", n % 250)]
            })
            .collect();
        extra(arena, &many);
        arena.come_up();
        let (names, servers) = (domains(arena).len(), arena.status().dns.len());
        arena.must(names <= 64 && servers <= 8, "T-31", || format!("{names} domains, {servers} servers"));
        arena.expect_talk();
    }),
    Script::new("names-that-are-too-long", &["T-32"], |arena| {
        let long =
            [format!("dhcp-option DOMAIN {}", "a".repeat(64)), format!("dhcp-option DOMAIN {}", "a.".repeat(140))];
        extra(arena, &long);
        arena.come_up();
        let odd = domains(arena).into_iter().find(|name| !is_name(name));
        arena.must(odd.is_none(), "T-32", || format!("the domain {odd:?} is taken"));
    }),
    Script::new("families-that-do-not-fit", &["T-33"], |arena| {
        let options = [
            "route fd00::1 255.255.255.0",
            "route-ipv6 10.0.0.0/8",
            "route-ipv6 ::ffff:10.0.0.0/104",
            "route 10.9.0.0 255.0.255.0",
            "route 10.9.0.0 0.0.0.255",
            "route 10.9.0.7 255.255.255.0",
            "route 10.9.0.0/33",
            "route",
            "route-ipv6 fd00::/129",
            "dhcp-option DNS 300.1.1.1",
            "dhcp-option DNS6 10.0.0.1",
            "route 010.9.0.0 255.255.0.0",
            "route 10.9 255.255.0.0",
            "route 0x0a090000 255.255.0.0",
        ];
        extra(arena, &options);
        arena.come_up();
        arena.expect_talk();
    }),
    Script::new("addresses-that-cannot-be-one", &["T-33", "T-37"], |arena| {
        for ifconfig in [
            "0.0.0.0 255.255.255.0",
            "127.0.0.1 255.0.0.0",
            "224.0.0.5 255.255.255.0",
            "255.255.255.255 255.255.255.0",
            "10.9.0.255 255.255.255.0",
            "10.9.0.2 255.0.255.0",
            "fd00::2 255.255.255.0",
            "10.9.0.2",
            "10.9.0 255.255.255.0",
        ] {
            with_address(arena, ifconfig);
            arena.open();
            let code = settles(arena);
            let up = arena.is_up();
            arena.must(!up && code == Some("push-refused"), "T-37", || {
                format!("ifconfig {ifconfig}: {code:?}, up {up}")
            });
            arena.verb(mrvpn_engine::driver::TunnelVerb::Stop);
        }
    }),
    Script::new("the-address-of-another-tunnel", &["T-37"], |arena| with_legal(arena, "10.8.0.2 255.255.255.0")),
    Script::new("the-address-of-the-anchor", &["T-37"], |arena| with_legal(arena, "198.18.0.1 255.255.255.0")),
    Script::new("an-address-of-the-local-network", &["T-37"], |arena| with_legal(arena, "192.168.1.20 255.255.255.0")),
    Script::new("the-address-of-the-host", &["T-37"], |arena| with_legal(arena, "192.168.1.10 255.255.255.0")),
    Script::new("sizes-that-cannot-be", &["T-34"], |arena| {
        for mtu in ["0", "1", "68", "575", "70000", "-1", "18446744073709551616", "x", "1279", "9001"] {
            extra(
                arena,
                &[format!("tun-mtu {mtu}"), "mssfix 0".to_owned(), "fragment 1".to_owned(), "link-mtu 1".to_owned()],
            );
            arena.verb(mrvpn_engine::driver::TunnelVerb::Stop);
            arena.open();
            let code = settles(arena);
            if arena.is_up() {
                let taken = arena.status().mtu;
                let fits = taken.is_some_and(|taken| (576..=9_000).contains(&taken));
                arena.must(fits, "T-34", || format!("tun-mtu {mtu} is taken as {taken:?}"));
                arena.expect_talk();
            } else {
                arena.must(code == Some("push-refused"), "T-34", || format!("tun-mtu {mtu}: {code:?}"));
            }
        }
    }),
    Script::new("pings-that-cannot-be", &["T-35"], |arena| {
        for (ping, restart) in
            [("0", "0"), ("-1", "-1"), ("1000000000000000000", "1"), ("10", "1"), ("1", "1"), ("x", "y")]
        {
            let mut push = honest(HOSTILE);
            push.options.retain(|option| !option.starts_with("ping"));
            push.options.extend([format!("ping {ping}"), format!("ping-restart {restart}"), "inactive 1".to_owned()]);
            arena.server().push = push;
            arena.server().ping = SECOND;
            arena.verb(mrvpn_engine::driver::TunnelVerb::Stop);
            arena.come_up();
            let before = arena.sent.1;
            arena.pass(5 * SECOND);
            // 10 packets of its flow a second.
            let sent = arena.sent.1 - before;
            arena.must(sent <= 80, "T-35", || format!("ping {ping}: {sent} packets in 5 s"));
            arena.expect_talk();
        }
    }),
    Script::new("routes-to-what-is-not-theirs", &["T-36"], |arena| {
        let options = [
            "route 192.168.1.0 255.255.255.0",
            "route 192.168.1.20 255.255.255.255",
            "route 192.168.1.1 255.255.255.255",
            "route 127.0.0.0 255.0.0.0",
            "route 224.0.0.0 240.0.0.0",
            "route 169.254.0.0 255.255.0.0",
            "route 198.18.0.1 255.255.255.255",
            "route 192.0.2.4 255.255.255.255",
            "route 255.255.255.255 255.255.255.255",
        ];
        extra(arena, &options);
        arena.come_up();
        for local in [[192, 168, 1, 20], [192, 168, 1, 1]] {
            let way = arena.way(local);
            arena.must(way == Verdict::Clear, "T-36", || format!("{local:?} goes to {way:?}"));
        }
        arena.expect_talk();
    }),
    Script::new("routes-of-another-tunnel", &["T-36"], |arena| {
        // The longest wins, and of equal ones the tunnel that stands first in the file.
        extra(
            arena,
            &[
                "route 203.0.113.0 255.255.255.255",
                "route 203.0.113.1 255.255.255.255",
                "route 203.0.113.0 255.255.255.0",
            ],
        );
        arena.come_up();
        arena.expect_talk();
        arena.pass(2 * SECOND);
    }),
    Script::new("all-of-the-net", &["T-36"], |arena| {
        extra(
            arena,
            &["route 0.0.0.0 0.0.0.0", "route 0.0.0.0 128.0.0.0", "route 128.0.0.0 128.0.0.0", "redirect-gateway def1"],
        );
        arena.come_up();
        arena.expect_talk();
        arena.pass(2 * SECOND);
        let way = arena.way([192, 168, 1, 20]);
        arena.must(way == Verdict::Clear, "T-36", || format!("the local network goes to {way:?}"));
    }),
    Script::new("an-order-to-send-in-clear", &["T-36"], |arena| {
        extra(
            arena,
            &[
                "route 203.0.113.0 255.255.255.0 net_gateway",
                "route 203.0.113.3 255.255.255.255 net_gateway",
                "redirect-gateway local def1 block-local",
            ],
        );
        arena.come_up();
        arena.expect_talk();
        arena.pass(2 * SECOND);
    }),
    Script::new("five-thousand-routes", &["T-31", "T-36"], |arena| {
        let routes: Vec<String> =
            (0..5_000).map(|n| format!("route 10.{}.{}.0 255.255.255.0", 16 + n / 256, n % 256)).collect();
        extra(arena, &routes);
        arena.come_up();
        let count = arena.status().routes.len();
        arena.must(count <= 4_100, "T-31", || format!("{count} routes"));
        arena.expect_talk();
    })
    // 4,096 of them are taken.
    .growth(4 << 20),
    Script::new("name-servers-that-are-here", &["T-38"], |arena| {
        extra(
            arena,
            &[
                "dhcp-option DNS 127.0.0.1",
                "dhcp-option DNS 192.168.1.1",
                "dhcp-option DNS 0.0.0.0",
                "dns server 0 address 127.0.0.53",
                "dhcp-option DNS6 ::1",
            ],
        );
        arena.come_up();
        let way = arena.way([192, 168, 1, 1]);
        arena.must(way == Verdict::Clear, "T-38", || format!("the local network goes to {way:?}"));
        arena.expect_talk();
    }),
    Script::new("options-that-run-or-load", &["T-42"], |arena| {
        extra(arena, &OUTSIDE);
        arena.come_up();
        let warned = !arena.status().warnings.is_empty();
        arena.must(warned, "T-42", || "what was left out is not told".to_owned());
        arena.expect_talk();
    }),
    Script::new("ten-thousand-unknown-options", &["T-31", "T-42"], |arena| {
        let many: Vec<String> = (0..10_000).map(|n| format!("setenv-safe v{n} {}", "z".repeat(40))).collect();
        extra(arena, &many);
        arena.come_up();
        arena.expect_talk();
    }),
    Script::new("filters-dodged-by-spaces-and-quotes", &["T-43"], |arena| {
        let dodges = [
            "route   10.9.0.0   255.255.0.0",
            " route 10.9.0.0 255.255.0.0",
            "\"route\" 10.9.0.0 255.255.0.0",
            "route \"10.9.0.0\" 255.255.0.0",
            "'route' '10.9.0.0' '255.255.0.0'",
            "rou\"te\" 10.9.0.0 255.255.0.0",
            "route\t10.9.0.0\t255.255.0.0",
            "route \\10.9.0.0 255.255.0.0",
        ];
        for dodge in dodges {
            extra(arena, &[dodge]);
            arena.verb(mrvpn_engine::driver::TunnelVerb::Stop);
            arena.open();
            settles(arena);
            let way = arena.way([10, 9, 0, 1]);
            arena.must(way == Verdict::Clear, "T-43", || format!("{dodge:?} dodges the filter: {way:?}"));
        }
    })
    .profile("pull-filter ignore \"route 10.9\""),
    Script::new("control-bytes-in-the-push", &["T-30", "T-33"], |arena| {
        for text in ["route 10.9.0.0\x1b[2J 255.255.0.0", "x\ny", "dhcp-option DOMAIN a\rb", "\u{202e}", "echo \x07"] {
            extra(arena, &[text]);
            arena.verb(mrvpn_engine::driver::TunnelVerb::Stop);
            arena.open();
            settles(arena);
        }
    }),
    Script::new("a-peer-id-and-a-cipher-that-are-none", &["T-33"], |arena| {
        for odd in [
            "peer-id -1",
            "peer-id 16777216",
            "peer-id x",
            "peer-id 1 2",
            "protocol-flags aead-epoch",
            "key-derivation none",
        ] {
            whole(arena, &format!("cipher AES-256-GCM,{odd}"));
            arena.verb(mrvpn_engine::driver::TunnelVerb::Stop);
            arena.open();
            settles(arena);
        }
    }),
    Script::new("an-empty-push-and-one-of-commas", &["T-31", "T-33"], |arena| {
        for messages in [
            "PUSH_REPLY",
            "PUSH_REPLY,",
            "PUSH_REPLY,,,,,,,",
            "PUSH_REPLYx",
            "PUSH_REPLY,push-continuation 1",
            "PUSH_REPLY,push-continuation 9",
        ] {
            arena.server().push.whole = Some(vec![messages.to_owned()]);
            arena.verb(mrvpn_engine::driver::TunnelVerb::Stop);
            arena.open();
            arena.pass(3 * SECOND);
        }
    }),
    Script::new("the-same-thing-said-against-itself", &["T-33", "T-37"], |arena| {
        extra(
            arena,
            &[
                "topology net30",
                "topology p2p",
                "topology subnet",
                "ping 1",
                "ping 9",
                "cipher AES-128-GCM",
                "route-gateway 127.0.0.1",
                "route-gateway 10.8.0.5",
            ],
        );
        arena.open();
        settles(arena);
    }),
];

/// What no server may push: all of it runs, loads, writes or listens.
const OUTSIDE: [&str; 24] = [
    "up /bin/sh",
    "down /bin/sh",
    "route-up /bin/sh",
    "ipchange x",
    "tls-verify x",
    "plugin x.so",
    "script-security 3",
    "setenv PATH /tmp",
    "setenv LD_PRELOAD x.so",
    "iproute x",
    "management 127.0.0.1 1",
    "engine x",
    "providers x",
    "log /etc/passwd",
    "status /etc/passwd",
    "writepid /x",
    "cd /",
    "chroot /",
    "remote 203.0.113.9",
    "ca /etc/passwd",
    "auth-user-pass /etc/shadow",
    "config x",
    "dev tap",
    "data-ciphers none",
];

/// The honest push with more options.
fn extra(arena: &mut Arena<'_>, options: &[impl ToString]) {
    let mut push = honest(HOSTILE);
    push.options.extend(options.iter().map(ToString::to_string));
    arena.server().push = push;
}

/// The honest push with these options in place of what the session negotiates.
fn whole(arena: &mut Arena<'_>, options: &str) {
    let mut push = honest(HOSTILE);
    push.whole = Some(vec![format!("PUSH_REPLY,{},{options}", push.options.join(","))]);
    arena.server().push = push;
}

fn with_address(arena: &mut Arena<'_>, ifconfig: &str) {
    let mut push = honest(HOSTILE);
    push.options.retain(|option| !option.starts_with("ifconfig"));
    push.options.push(format!("ifconfig {ifconfig}"));
    arena.server().push = push;
}

/// An address that collides with another's is legal: both tunnels work.
fn with_legal(arena: &mut Arena<'_>, ifconfig: &str) {
    with_address(arena, ifconfig);
    arena.come_up();
    arena.expect_talk();
    arena.pass(2 * SECOND);
    let way = arena.way([192, 168, 1, 21]);
    arena.must(way == Verdict::Clear, "T-37", || format!("the local network goes to {way:?}"));
}

/// It is started and refused with this code.
fn refused(arena: &mut Arena<'_>, code: &str) {
    arena.open();
    arena.expect_code(code);
    arena.verb(mrvpn_engine::driver::TunnelVerb::Stop);
}

/// It comes up or ends with an error, whose code is returned.
fn settles(arena: &mut Arena<'_>) -> Option<&'static str> {
    arena.until(Duration::from_secs(150), |arena| arena.is_up() || arena.code().is_some());
    arena.code()
}

fn domains(arena: &Arena<'_>) -> Vec<String> {
    arena
        .tunnel()
        .and_then(|tunnel| tunnel.established())
        .map(|now| now.assignment.search_domains.clone())
        .unwrap_or_default()
}

fn is_name(name: &str) -> bool {
    let label = |label: &str| (1..=63).contains(&label.len());
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.len() <= 253 && name.bytes().all(letter) && name.trim_end_matches('.').split('.').all(label)
}
