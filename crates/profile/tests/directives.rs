//! Every directive that openvpn-protocol.md sections 11.6 and 11.7 list is judged: used, ignored with what holds instead,
//! or refused with the mend. None is unknown.

use mrvpn_profile::ovpn::{FileWanted, Files, Judgement, parse};
use mrvpn_profile::{PullOptions, Secret};

/// What is acted upon.
const USED: &[&str] = &[
    "client",
    "pull",
    "tls-client",
    "mode p2p",
    "dev tun",
    "dev tun7",
    "dev-type tun",
    "topology subnet",
    "remote a.example 1194 udp",
    "remote-random",
    "proto udp",
    "proto-force udp",
    "port 1194",
    "rport 1194",
    "connect-timeout 10",
    "server-poll-timeout 10",
    "ca ca.crt",
    "cert client.crt",
    "extra-certs more.crt",
    "key client.key",
    "tls-version-min 1.2",
    "tls-version-max 1.3",
    "remote-cert-tls server",
    "remote-cert-ku a0",
    "remote-cert-eku 1.3.6.1.5.5.7.3.1",
    "ns-cert-type server",
    "verify-x509-name a.example name",
    "peer-fingerprint 00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10:11:12:13:14:15:16:17:18:19:1a:1b:1c:1d:1e:1f",
    "key-direction 1",
    "hand-window 60",
    "tran-window 3600",
    "reneg-sec 3600",
    "reneg-bytes 0",
    "reneg-pkts 0",
    "data-ciphers AES-256-GCM",
    "ncp-ciphers AES-256-GCM",
    "data-ciphers-fallback AES-256-GCM",
    "cipher AES-256-GCM",
    "auth SHA256",
    "tun-mtu 1500",
    "keepalive 10 60",
    "ping 10",
    "ping-restart 60",
    "ping-exit 60",
    "explicit-exit-notify",
    "ifconfig 10.8.0.2 10.8.0.1",
    "ifconfig-ipv6 fd00::2/64 fd00::1",
    "route 10.0.0.0 255.0.0.0",
    "route-ipv6 fd00::/8",
    "route-gateway 10.8.0.1",
    "route-nopull",
    "route-noexec",
    "redirect-gateway def1",
    "block-ipv6",
    "dhcp-option DNS 10.8.0.1",
    "dns search-domains a.example",
    "pull-filter ignore route",
    "push-peer-info",
    "auth-user-pass",
    "auth-retry nointeract",
    "ignore-unknown-option frob",
    "setenv FORWARD_COMPATIBLE 1",
    "setenv CLIENT_CERT 0",
    "setenv PUSH_PEER_INFO",
    "setenv SERVER_POLL_TIMEOUT 4",
];

/// What is passed over.
const IGNORED: &[&str] = &[
    "remote-random-hostname",
    "setenv REMOTE_RANDOM_HOSTNAME",
    "lport 0",
    "local 192.0.2.1",
    "bind",
    "nobind",
    "float",
    "resolv-retry infinite",
    "connect-retry 5",
    "connect-retry-max 3",
    "socket-flags TCP_NODELAY",
    "tcp-nodelay",
    "sndbuf 0",
    "rcvbuf 0",
    "mark 1",
    "passtos",
    "persist-remote-ip",
    "persist-local-ip",
    "preresolve",
    "askpass",
    "tls-cipher x",
    "tls-ciphersuites x",
    "tls-groups x",
    "ecdh-curve x",
    "tls-cert-profile legacy",
    "tls-timeout 2",
    "tls-exit",
    "single-session",
    "force-tls-key-material-export",
    "cipher AES-256-CBC",
    "keysize 256",
    "comp-noadapt",
    "allow-compression no",
    "mssfix 1450",
    "tun-mtu-max 1600",
    "tun-mtu-extra 32",
    "link-mtu 1500",
    "mtu-disc yes",
    "max-packet-size 1400",
    "replay-window 64",
    "mute-replay-warnings",
    "ncp-disable",
    "ping-timer-rem",
    "inactive 600",
    "session-timeout 600",
    "route-metric 5",
    "route-delay 2",
    "route-method exe",
    "redirect-private",
    "block-outside-dns",
    "allow-pull-fqdn",
    "max-routes 100",
    "auth-nocache",
    "auth-token x",
    "auth-token-user x",
    // Of no use here.
    "verb 3",
    "mute 20",
    "persist-key",
    "persist-tun",
    "fast-io",
    "txqueuelen 100",
    "nice 5",
    "mlock",
    "suppress-timestamps",
    "machine-readable-output",
    "prng none",
    "disable-dco",
    "disable-occ",
    "opt-verify",
    "ifconfig-nowarn",
    "show-net-up",
    "tap-sleep 1",
    "ip-win32 dynamic",
    "register-dns",
    "dhcp-release",
    "dhcp-renew",
    "service x",
    "pause-exit",
    "tun-ipv6",
    "key-method 2",
    "compat-mode 2.4.0",
    "windows-driver wintun",
    "dev-node x",
    "setenv UV_X y",
    "setenv IV_GUI_VER x",
    "setenv USERNAME x",
    "setenv FRIENDLY_NAME x",
    "setenv ALLOW_PASSWORD_SAVE 1",
    "setenv X y",
    "setenv-safe X y",
    // What runs programs.
    "up x",
    "down x",
    "down-pre",
    "up-delay",
    "up-restart",
    "route-up x",
    "route-pre-down x",
    "ipchange x",
    "tls-verify x",
    "auth-user-pass-verify x via-env",
    "client-connect x",
    "client-disconnect x",
    "client-crresponse x",
    "learn-address x",
    "tls-crypt-v2-verify x",
    "dns-updown x",
    "iproute x",
    "script-security 2",
    "tls-export-cert x",
    // What reads or writes files, or changes the process.
    "cd x",
    "chroot x",
    "user x",
    "group x",
    "setcon x",
    "writepid x",
    "log x",
    "log-append x",
    "status x",
    "replay-persist x",
    "tmp-dir x",
    "syslog",
    "daemon",
    "ifconfig-pool-persist x",
    // What opens a control port.
    "management 127.0.0.1 7505",
    "management-hold",
    "management-client-auth",
];

/// What refuses the file.
const REFUSED: &[&str] = &[
    "plugin x",
    "engine x",
    "providers x",
    "pkcs11-providers x",
    "dev tap",
    "dev-type tap",
    "dev-node unix:x",
    "mode server",
    "tls-server",
    "server 10.8.0.0 255.255.255.0",
    "server-bridge",
    "secret x",
    "no-replay",
    "no-iv",
    "cipher none",
    "auth none",
    "verify-hash x",
    "crl-verify x",
    "x509-username-field x",
    "tls-cert-profile suiteb",
    "client-nat snat 10.0.0.0 255.0.0.0 10.1.0.0",
    "capath x",
    "pkcs12 x",
    "http-proxy a.example 3128",
    "http-proxy-option AGENT x",
    "socks-proxy a.example 1080",
    "comp-lzo no",
    "compress",
    "fragment 1300",
    "static-challenge x 1",
    "config x",
    "setenv GENERIC_CONFIG 1",
    "ifconfig 127.0.0.1 255.0.0.0",
];

// proves: T-50, T-51
#[test]
fn every_directive_of_the_lists_is_judged_as_they_say() {
    for (directives, kind) in [(USED, "used"), (IGNORED, "ignored"), (REFUSED, "refused")] {
        for directive in directives {
            let judgement = judged(directive);
            let said = |noted: &[mrvpn_profile::ovpn::Noted]| noted.iter().any(|noted| noted.line == LINE);
            let got = [("used", said(&judgement.used)), ("ignored", said(&judgement.ignored))];
            let got = got.into_iter().chain([("refused", said(&judgement.refused))]);
            let got: Vec<&str> = got.filter(|(_, said)| *said).map(|(kind, _)| kind).collect();
            assert_eq!(got, [kind], "{directive}: {judgement:?}");
        }
    }
}

#[test]
fn what_is_ignored_has_a_reason_and_what_is_refused_a_mend() {
    for directive in IGNORED {
        let judgement = judged(directive);
        let noted = judgement.ignored.iter().find(|noted| noted.line == LINE).unwrap();
        assert!(noted.why.len() > 15, "{directive}: {noted}");
        assert!(judgement.refused.is_empty(), "{directive}");
    }
    for directive in REFUSED {
        let judgement = judged(directive);
        let noted = judgement.refused.iter().find(|noted| noted.line == LINE).unwrap();
        assert!(!noted.why.contains("unknown") && !noted.hint.is_empty(), "{directive}: {noted}");
    }
}

#[test]
fn a_misspelt_directive_has_the_one_that_was_meant() {
    for (misspelt, meant) in [
        ("remtoe a.example", Some("`remote`")),
        ("auth-user-pas", Some("`auth-user-pass`")),
        ("persist_tun", Some("`persist-tun`")),
        ("Verb 3", Some("`verb`")),
        ("completely-unknown-thing", None),
        ("x", None),
    ] {
        let judgement = judged(misspelt);
        let noted = judgement.refused.iter().find(|noted| noted.line == LINE).unwrap();
        assert_eq!(noted.hint.contains("did you mean"), meant.is_some(), "{noted}");
        assert!(noted.hint.contains(meant.unwrap_or("ignore-unknown-option")), "{noted}");
    }
    let conflict = judged("<<<<<<< HEAD");
    assert!(conflict.refused[0].why.contains("merge conflict"));
}

// proves: T-37
#[test]
fn an_address_of_the_tunnel_that_is_no_hosts_refuses_the_file() {
    for option in [
        "ifconfig 0.0.0.0 10.8.0.1",
        "ifconfig 0.1.2.3 10.8.0.1",
        "ifconfig 127.0.0.1 10.8.0.1",
        "ifconfig 224.0.0.1 10.8.0.1",
        "ifconfig 255.255.255.255 10.8.0.1",
        "ifconfig-ipv6 ::/64",
        "ifconfig-ipv6 ::1/64",
        "ifconfig-ipv6 ff02::1/64",
    ] {
        assert_eq!(judged(option).refused[0].line, LINE, "{option}");
    }
}

// proves: T-36
#[test]
fn net_gateway_in_the_users_own_file_is_kept_outside_and_said_so() {
    for (option, shown) in [
        ("route 203.0.113.9 255.255.255.255 net_gateway", "203.0.113.9/32 goes past the tunnel, in clear"),
        ("route 203.0.113.9 255.255.255.0 net_gateway", "host bits are set: 203.0.113.0/24 goes past the tunnel"),
        ("route-ipv6 2001:db8::/32 net_gateway", "2001:db8::/32 goes past the tunnel, in clear"),
    ] {
        let judgement = judged(option);
        let warning = judgement.warnings.iter().find(|warning| warning.line == LINE).unwrap();
        assert!(warning.why.contains(shown), "{warning}");
        assert!(judgement.ignored.is_empty() && judgement.refused.is_empty());
    }
}

#[test]
fn a_file_that_is_no_text_of_utf8_or_too_long_has_one_error() {
    let wide: Vec<u8> = "client\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for text in
        [[b"\xff\xfe".as_slice(), &wide].concat(), [b"\xfe\xff".as_slice(), &wide].concat(), vec![b'x'; 262_145]]
    {
        let error = parse(&text, &mut Anything).unwrap_err();
        assert_eq!((error.line, error.judgement.refused.len(), error.judgement.warnings.len()), (None, 1, 0));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_not_listed_as_used() {
    let text = "client\nremote a.example\nauth-user-pass\nca gone.crt\n";
    let judgement = parse(text.as_bytes(), &mut Nothing).unwrap_err().judgement;
    assert_eq!(judgement.refused[0].why, "`gone.crt`: it is not there");
    assert!(judgement.used.iter().all(|noted| noted.directive != "ca"));
    assert_eq!(judgement.refused.len(), 1, "that there is no `ca` follows from it");
}

#[test]
fn two_profiles_are_equal_where_they_say_the_same() {
    let profile = |text: &str| parse(text.as_bytes(), &mut Anything).unwrap().profile;
    let text = format!("{HEAD}cert client.crt\nkey client.key\n");
    assert_eq!(profile(&text), profile(&text));
    assert_ne!(profile(&text), profile(&format!("{text}ping 5\n")));
    assert_eq!(PullOptions::default(), PullOptions::default());
}

/// The judgement of a profile whose last line but a few is `directive`.
fn judged(directive: &str) -> Judgement {
    // A certificate goes with its key.
    let pair = match directive.split(' ').next() {
        Some("cert" | "extra-certs") => "key client.key\ncert client.crt\n",
        Some("key") => "cert client.crt\n",
        _ => "",
    };
    let text = format!("{HEAD}{directive}\n{pair}");
    match parse(text.as_bytes(), &mut Anything) {
        Ok(parsed) => parsed.judgement,
        Err(error) => *error.judgement,
    }
}

const HEAD: &str = "client\nremote a.example\nauth-user-pass\nremote-cert-tls server\nca ca.crt\n";
const LINE: u32 = 6;

/// Gives every file the contents that its directive needs.
struct Anything;

impl Files for Anything {
    fn read(&mut self, wanted: &FileWanted) -> Result<Secret<Vec<u8>>, String> {
        let label = if wanted.directive == "key" { "PRIVATE KEY" } else { "CERTIFICATE" };
        let pem = format!("-----BEGIN {label}-----\nMAMCAQU=\n-----END {label}-----\n");
        Ok(Secret::new(pem.into_bytes()))
    }
}

/// Has no file.
struct Nothing;

impl Files for Nothing {
    fn read(&mut self, _wanted: &FileWanted) -> Result<Secret<Vec<u8>>, String> {
        Err(String::from("it is not there"))
    }
}
