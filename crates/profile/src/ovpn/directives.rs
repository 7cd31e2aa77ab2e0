//! Directives that no part of a profile takes: ignored, with what holds instead, or refused, with the mend
//! (openvpn-protocol.md sections 11.6 and 11.7). Those that are used are with their part.

use super::judgement::Fate;

/// What becomes of such a directive; `None` if it is not in these lists.
pub(super) fn fate(name: &str) -> Option<Fate> {
    if name.starts_with("management") {
        return Some(Fate::ignored("mrvpn has a control socket of its own, and opens no other"));
    }
    if name.starts_with("http-proxy") {
        return Some(not_yet("proxies", "remove the line if the server can be reached without the proxy"));
    }
    let ignored = IGNORED.iter().find(|(_, names)| names.contains(&name)).map(|(why, _)| Fate::ignored(why));
    ignored.or_else(|| {
        let refused = REFUSED.iter().find(|(_, _, names)| names.contains(&name));
        refused.map(|(why, hint, _)| Fate::refused(*why, *hint))
    })
}

/// Whether a directive is known though it never has an inline block.
pub(super) fn is_used_in_a_line(name: &str) -> bool {
    USED_IN_A_LINE.contains(&name)
}

fn not_yet(what: &str, hint: &str) -> Fate {
    Fate::refused(format!("{what} are not in this version"), hint)
}

type Names = &'static [&'static str];

/// Why a directive is ignored, and the directives.
const IGNORED: &[(&str, Names)] = &[
    (
        "no program of a profile is ever run; mrvpn sets addresses, routes and DNS itself",
        &[
            "up",
            "down",
            "down-pre",
            "up-delay",
            "up-restart",
            "route-up",
            "route-pre-down",
            "ipchange",
            "tls-verify",
            "auth-user-pass-verify",
            "client-connect",
            "client-disconnect",
            "client-crresponse",
            "learn-address",
            "tls-crypt-v2-verify",
            "dns-updown",
            "iproute",
            "script-security",
            "tls-export-cert",
        ],
    ),
    (
        "mrvpn writes only where its own settings say, and keeps its own rights",
        &[
            "log",
            "log-append",
            "status",
            "status-version",
            "writepid",
            "tmp-dir",
            "cd",
            "chroot",
            "user",
            "group",
            "setcon",
            "replay-persist",
            "ifconfig-pool-persist",
            "syslog",
            "daemon",
            "inetd",
        ],
    ),
    (
        "how much is logged is mrvpn's own setting",
        &[
            "verb",
            "mute",
            "mute-replay-warnings",
            "machine-readable-output",
            "suppress-timestamps",
            "errors-to-stderr",
            "show-net-up",
            "echo",
            "parameter",
            "ifconfig-nowarn",
            "opt-verify",
            "disable-occ",
            "gremlin",
        ],
    ),
    (
        "mrvpn keeps its interface and keys over reconnects by itself",
        &[
            "persist-key",
            "persist-tun",
            "persist-local-ip",
            "persist-remote-ip",
            "single-session",
            "tls-exit",
            "ping-timer-rem",
            "preresolve",
            "nice",
            "mlock",
            "fast-io",
            "txqueuelen",
            "prng",
            "service",
            "pause-exit",
            "disable-dco",
            "compat-mode",
            "key-method",
            "tun-ipv6",
        ],
    ),
    (
        "mrvpn tries again for ever, at its own pace",
        &["resolv-retry", "connect-retry", "connect-retry-max", "tls-timeout", "remote-random-hostname"],
    ),
    (
        "each tunnel has a socket of its own with a port that the system chooses",
        &[
            "nobind",
            "bind",
            "local",
            "lport",
            "float",
            "multihome",
            "bind-dev",
            "socket-flags",
            "tcp-nodelay",
            "sndbuf",
            "rcvbuf",
            "mark",
            "passtos",
            "mtu-disc",
            "tcp-queue-limit",
        ],
    ),
    ("data keys are made as the server says", &["force-tls-key-material-export"]),
    ("the password is kept in memory alone, since new keys and new connections need it", &["auth-nocache"]),
    (
        "TLS 1.2 and 1.3 are spoken with modern ciphers alone",
        &["tls-cipher", "tls-ciphersuites", "tls-groups", "ecdh-curve", "dh"],
    ),
    (
        "ciphers are always agreed with the server, and none has a variable key",
        &["ncp-disable", "keysize", "allow-compression", "comp-noadapt", "replay-window"],
    ),
    (
        "segment sizes are fitted to each tunnel's path by mrvpn itself",
        &["mssfix", "tun-mtu-max", "tun-mtu-extra", "link-mtu", "max-packet-size", "shaper"],
    ),
    (
        "routes are claims of a tunnel, and mrvpn sets them itself",
        &["route-metric", "route-delay", "route-method", "max-routes", "allow-pull-fqdn", "ifconfig-noexec"],
    ),
    ("ending a tunnel by time is not in this version", &["inactive", "session-timeout"]),
    ("encrypted keys are not in this version", &["askpass"]),
    ("a token is never kept in a file", &["auth-token", "auth-token-user"]),
    (
        "it is for Windows",
        &[
            "block-outside-dns",
            "register-dns",
            "ip-win32",
            "dhcp-renew",
            "dhcp-release",
            "dhcp-pre-release",
            "tap-sleep",
            "windows-driver",
            "win-sys",
            "allow-nonadmin",
        ],
    ),
    ("it is for servers", &["ifconfig-ipv6-pool", "ifconfig-pool", "auth-gen-token", "auth-gen-token-secret"]),
];

/// Why a directive is refused, what to do, and the directives.
const REFUSED: &[(&str, &str, Names)] = &[
    (
        "it would load code into the program",
        "remove the line; mrvpn needs no plugin",
        &["plugin", "engine", "providers", "pkcs11-providers", "pkcs11-private-mode"],
    ),
    ("a profile is one file", "put the content of the other file in here", &["config"]),
    (
        "mrvpn is a client",
        "use the profile of a client",
        &[
            "tls-server",
            "server",
            "server-ipv6",
            "server-bridge",
            "push",
            "push-reset",
            "push-remove",
            "client-config-dir",
            "ccd-exclusive",
            "client-to-client",
            "duplicate-cn",
            "max-clients",
            "iroute",
            "iroute-ipv6",
            "verify-client-cert",
            "username-as-common-name",
            "port-share",
        ],
    ),
    (
        "static key mode has no forward secrecy and is not in this version",
        "ask the operator for a TLS server",
        &["secret"],
    ),
    (
        "a packet could be sent twice or read by others",
        "remove the line here and at the server",
        &["no-replay", "no-iv"],
    ),
    (
        "this check of the server's certificate is not in this version, and leaving it out would be unsafe",
        "use `remote-cert-tls server`, `verify-x509-name` or `peer-fingerprint` in its place",
        &["crl-verify", "verify-hash", "x509-username-field", "x509-track"],
    ),
    ("a directory of CAs is not in this version", "name the one CA by `ca`", &["capath"]),
    (
        "this form of a key is not in this version",
        "convert it: `openssl pkcs12 -in file.p12 -nodes`, and put the parts into <ca>, <cert> and <key>",
        &[
            "pkcs12",
            "cryptoapicert",
            "pkcs11-id",
            "pkcs11-cert-private",
            "pkcs11-pin-cache",
            "pkcs11-protected-authentication",
        ],
    ),
    (
        "`fragment` is not in this version, and both sides must have it",
        "ask the operator to remove `fragment`",
        &["fragment"],
    ),
    (
        "proxies are not in this version",
        "remove the line if the server can be reached without the proxy",
        &["socks-proxy", "socks-proxy-retry"],
    ),
    (
        "one-time codes are not in this version",
        "remove the line if the server takes user and password alone",
        &["static-challenge"],
    ),
    (
        "address translation inside the tunnel is not in this version",
        "remove the line if the addresses of the far side can be used as they are",
        &["client-nat"],
    ),
];

const USED_IN_A_LINE: [&str; 12] = [
    "remote",
    "proto",
    "port",
    "client",
    "dev",
    "cipher",
    "data-ciphers",
    "auth",
    "route",
    "dhcp-option",
    "setenv",
    "verify-x509-name",
];
