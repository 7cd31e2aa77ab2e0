//! mrvpn.toml as a user would write it, right and wrong.

use std::time::Duration;

use mrvpn_profile::config::{Accept, Config, ConfigError, DnsMode, Ports, Strategy, Via, parse};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Strategy as _;

const WHOLE: &str = r#"
[engine]
interface = "vpn0"
strategy = "alias"
anchor = true
fallback = "auto"
establish_limit_ms = 5000
lan = "allow"
credentials = "account.auth"
mark = "0x4d000000/0xff000000"
rule_priority = 5400
alias_pool = "10.253.0.0/16"

[dns]
mode = "off"

[[tunnel]]
name = "uk"
profile = "uk.ovpn"
credentials = "uk.auth"
default = true
strict_server = true
accept = ["tcp/51413", "udp/1000-2000"]
bypass = ["203.0.113.9", "2001:db8:9::/48"]

[[tunnel]]
name = "fr"
profile = "fr.ovpn"

[[rule]]
name = "intranet"
to = ["10.101.0.0/16", "192.0.2.7", "2001:db8::/32"]
from = "198.18.1.1"
proto = ["tcp", 132]
port = [443, "8000-8999"]
via = "fr"

[[rule]]
proto = "icmp"
via = "direct"

[[rule]]
via = "block"
"#;

#[test]
fn every_key_that_is_built_is_read() {
    let config = parse(WHOLE).unwrap();
    let engine = &config.engine;
    assert_eq!(engine.interface.as_deref(), Some("vpn0"));
    assert_eq!(engine.strategy, Some(Strategy::Alias));
    assert_eq!(engine.establish_limit, Some(Duration::from_secs(5)));
    assert_eq!(engine.credentials.as_ref().unwrap().value, "account.auth");
    assert_eq!(engine.mark, Some((0x4d00_0000, 0xff00_0000)));
    assert_eq!(engine.rule_priority, Some(5400));
    assert_eq!(engine.alias_pool, Some("10.253.0.0/16".parse().unwrap()));
    assert_eq!(config.dns.mode, Some(DnsMode::Off));
    let uk = &config.tunnels[0];
    assert_eq!((uk.name.as_str(), uk.profile.value.as_str(), uk.profile.line, uk.line), ("uk", "uk.ovpn", 19, 17));
    assert!(uk.default && uk.strict_server && !config.tunnels[1].default);
    assert_eq!(
        uk.accept,
        [
            Accept { proto: 6, ports: Ports { first: 51413, last: 51413 } },
            Accept { proto: 17, ports: Ports { first: 1000, last: 2000 } }
        ]
    );
    assert!(config.tunnels[1].accept.is_empty());
    assert_eq!(uk.bypass, ["203.0.113.9/32", "2001:db8:9::/48"].map(|net| net.parse().unwrap()));
    assert!(config.tunnels[1].bypass.is_empty());
    assert_eq!(config.rules[1].proto, [1, 58], "icmp of both families");
    let rule = &config.rules[0];
    assert_eq!(rule.name.as_deref(), Some("intranet"));
    assert_eq!(rule.to, ["10.101.0.0/16", "192.0.2.7/32", "2001:db8::/32"].map(|net| net.parse().unwrap()));
    assert_eq!(rule.from, ["198.18.1.1/32".parse().unwrap()]);
    assert_eq!(rule.proto, [6, 132]);
    assert_eq!(rule.port, [Ports { first: 443, last: 443 }, Ports { first: 8000, last: 8999 }]);
    assert_eq!((rule.via, rule.line), (Via::Tunnel(1), 30));
    assert_eq!(config.rules.iter().map(|rule| rule.via).collect::<Vec<_>>()[1..], [Via::Direct, Via::Block]);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_its_neighbour() {
    let error = wrong("[engine]\ninteface = \"x\"\n");
    assert_eq!((error.line, error.hint.as_str()), (Some(2), "did you mean `interface`?"));
    assert_eq!(error.message, "unknown key `inteface` in [engine]");
    assert_eq!(wrong("\n[engin]\n").hint, "did you mean `engine`?");
    assert_eq!(rule_error("via = \"fr\"\nprot = \"tcp\"").hint, "did you mean `proto`?");
}

#[test]
fn what_is_not_built_yet_is_refused_and_says_so() {
    for (text, line) in [
        ("[engine]\nguard = true\n", 2),
        ("[engine]\nguard = false\n", 2),
        ("[engine]\nestablish = \"first\"\n", 2),
        ("[engine]\nstrategy = \"per-tunnel\"\n", 2),
        ("[engine]\nanchor = false\n", 2),
        ("[engine]\nfallback = \"block\"\n", 2),
        ("[engine]\nlan = \"block\"\n", 2),
        ("[engine]\nvirtual_pool = \"198.19.0.0/16\"\n", 2),
        ("[lan]\ninterfaces = [\"br0\"]\n", 1),
        ("[[group]]\nname = \"europe\"\n", 1),
        ("[[tunnel]]\nname = \"uk\"\nprofile = \"x\"\nallow_insecure = [\"sha1\"]\n", 4),
    ] {
        let error = wrong(text);
        assert!(error.message.contains("not in this version"), "{text}: {error}");
        assert_eq!(error.line, Some(line), "{text}");
    }
    for key in ["uid = 1", "app = \"x\"", "cgroup = \"x\"", "domain = \"x\"", "in = \"br0\""] {
        let error = rule_error(&format!("via = \"uk\"\n{key}"));
        assert!(error.message.contains("not in this version"), "{key}: {error}");
        assert_eq!(error.line, Some(6), "{key}");
    }
}

#[test]
fn a_rule_names_a_tunnel_that_is_there() {
    let error = rule_error("via = \"ukk\"");
    assert_eq!((error.line, error.hint.as_str()), (Some(5), "did you mean \"uk\"?"));
    assert!(rule_error("to = \"10.0.0.0/8\"").message.contains("without `via`"));
}

#[test]
fn what_is_let_in_names_a_protocol_and_ports() {
    for bad in ["tcp", "tcp/0", "icmp/1", "6/80", "tcp/80-79", "tcp/65536", "tcp/80,81", "tcp/", "/80", ""] {
        let error = wrong(&format!("[[tunnel]]\nname = \"uk\"\nprofile = \"x\"\naccept = [\"{bad}\"]\n"));
        assert_eq!(error.line, Some(4), "{bad}: {error}");
        assert!(error.hint.contains("tcp/51413"), "{bad}");
    }
    let empty = wrong("[[tunnel]]\nname = \"uk\"\nprofile = \"x\"\naccept = []\n");
    assert!(empty.message.contains("empty"), "{empty}");
}

#[test]
fn a_bypass_names_addresses_and_never_all_of_them() {
    let with = |value: &str| parse(&format!("{TUNNEL}bypass = {value}\n"));
    assert_eq!(with("\"127.0.0.1\"").unwrap().tunnels[0].bypass, ["127.0.0.1/32".parse().unwrap()]);
    for bad in [
        "\"0.0.0.0/0\"",
        "\"::/0\"",
        "[\"203.0.113.9\", \"::/0\"]",
        "\"203.0.113.9/24\"",
        "\"host.example\"",
        "[]",
        "9",
    ] {
        let error = with(bad).expect_err("no bypass");
        assert_eq!(error.line, Some(4), "{bad}: {error}");
        assert!(!error.hint.is_empty(), "{bad}");
    }
    let many =
        |count: usize| with(&format!("[{}]", "\"203.0.113.9\", ".repeat(count))).map(|got| got.tunnels[0].bypass.len());
    assert_eq!((many(63), many(64)), (Ok(63), Ok(64)));
    assert!(many(65).unwrap_err().message.contains("64"));
}

#[test]
fn values_out_of_range_are_refused_with_their_line() {
    for bad in [
        "to = []",
        "to = \"10.0.0.1/8\"",
        "to = \"10.0.0.0/33\"",
        "to = 5",
        "to = \"example.com\"",
        "to = \"::ffff:10.0.0.1\"",
        "to = \"2001:db8::1/32\"",
        "proto = \"gre\"",
        "proto = 256",
        "port = 0",
        "port = 65536",
        "port = \"9-8\"",
        "port = \"1-2-3\"",
        "port = true",
        "name = \"\"",
    ] {
        assert_eq!(rule_error(&format!("via = \"uk\"\n{bad}")).line, Some(6), "{bad}");
    }
    for bad in [
        "interface = \"a/b\"",
        "interface = \"sixteen-letters0\"",
        "interface = \"\"",
        "mark = \"0x1/0x2\"",
        "mark = \"0/0\"",
        "rule_priority = 0",
        "rule_priority = 32667",
        "establish_limit_ms = 600001",
        "establish_limit_ms = -1",
        "alias_pool = \"10.253.0.0/17\"",
        "alias_pool = \"10.253.1.0/16\"",
        "strategy = true",
        "credentials = \"\"",
    ] {
        assert_eq!(wrong(&format!("[engine]\n{bad}\n")).line, Some(2), "{bad}");
    }
    let port_without = rule_error("via = \"uk\"\nproto = \"icmp\"\nport = 5");
    assert!(port_without.message.contains("no ports"));
}

// proves: T-55
#[test]
fn names_of_tunnels_are_checked_and_unique() {
    for bad in ["UK", "a/b", "direct", "", "a\\u001b[0m"] {
        let text = format!("[[tunnel]]\nname = \"{bad}\"\nprofile = \"x.ovpn\"\n");
        let error = wrong(&text);
        assert_eq!(error.line, Some(2), "{bad}");
        assert!(error.message.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
    }
    let twice = format!("{TUNNEL}{TUNNEL}");
    assert!(wrong(&twice).message.contains("the first is in line 1"));
}

#[test]
fn an_empty_file_says_what_to_add() {
    assert!(wrong("").hint.contains("[[tunnel]]"));
    assert_eq!(wrong("[engine\n").line, Some(1));
    assert!(wrong("tunnel = 5").hint.contains("[[tunnel]]"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_panics(text in "\\PC*", bytes in vec(any::<u8>(), 0..500), cut in 0..WHOLE.len(), flip: u8) {
        let _ = parse(&text);
        let _ = parse(&String::from_utf8_lossy(&bytes));
        let _ = parse(&WHOLE[..cut]);
        let mut bytes = WHOLE.as_bytes().to_vec();
        bytes[cut] ^= flip;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _ = parse(text);
        }
    }

    #[test]
    fn no_value_of_any_kind_panics_and_each_error_is_printable(key in any_key(), value in any_value()) {
        for table in ["[engine]", "[dns]", "[[tunnel]]", "[[rule]]\nvia = \"uk\""] {
            for text in [format!("{table}\n{key} = {value}\n"), format!("{TUNNEL}{key} = {value}\n{table}\n{key} = {value}\n")] {
                if let Err(error) = parse(&text) {
                    let shown = format!("{error}{}", error.hint);
                    prop_assert!(shown.bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "{}", shown);
                }
            }
        }
    }
}

fn any_key() -> impl proptest::strategy::Strategy<Value = String> {
    let keys = [
        "name",
        "profile",
        "credentials",
        "accept",
        "bypass",
        "to",
        "from",
        "proto",
        "port",
        "via",
        "mark",
        "mode",
        "rule_priority",
        "alias_pool",
        "interface",
        "strategy",
        "establish_limit_ms",
        "default",
        "lan",
    ];
    prop_oneof![prop::sample::select(keys.to_vec()).prop_map(str::to_owned), "[a-z_]{1,9}"]
}

fn any_value() -> impl proptest::strategy::Strategy<Value = String> {
    let leaf = prop_oneof![
        "\\PC{0,20}",
        "[0-9]{1,25}",
        "-?[0-9]{1,3}\\.[0-9]{1,3}",
        "\"[0-9a-f:./-]{0,20}\"",
        "\"[^\"\\\\]{0,20}\"",
        Just(String::from("true")),
        Just(String::from("1979-05-27T07:32:00Z")),
        Just(String::from("{ a = 1 }")),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(", "))))
}

const TUNNEL: &str = "[[tunnel]]\nname = \"uk\"\nprofile = \"uk.ovpn\"\n";

fn wrong(text: &str) -> ConfigError {
    parse(text).expect_err("the text is wrong")
}

/// The error of one rule after one tunnel; its first line is line 5.
fn rule_error(rule: &str) -> ConfigError {
    wrong(&format!("{TUNNEL}[[rule]]\n{rule}\n"))
}

#[test]
fn a_file_over_256_kib_is_refused() {
    let padded = |len: usize| format!("{TUNNEL}#{}", "x".repeat(len - TUNNEL.len() - 1));
    let read = |len: usize| -> Result<Config, ConfigError> { parse(&padded(len)) };
    assert!(read(256 * 1024 - 1).is_ok() && read(256 * 1024).is_ok());
    assert!(read(256 * 1024 + 1).is_err());
}
