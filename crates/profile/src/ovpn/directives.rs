//! Directives that no part of a profile takes: ignored, with what holds instead, or refused, with the mend
//! (openvpn-protocol.md sections 11.6 and 11.7). Those that are used are with their part.

use super::judgement::Fate;
use super::pull::SHARED;
use crate::nearest::nearest;

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

/// Whether a directive is taken by some part of a profile.
pub(super) fn is_used(name: &str) -> bool {
    USED.contains(&name) || SHARED.contains(&name)
}

/// The directive that a misspelt one was probably meant to be.
pub(super) fn meant(name: &str) -> Option<&'static str> {
    let listed = IGNORED.iter().map(|(_, names)| *names).chain(REFUSED.iter().map(|(_, _, names)| *names));
    nearest(name, listed.chain([USED, SHARED.as_slice()]).flatten().copied())
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
            "dns-updown",
            "iproute",
            "script-security",
        ],
    ),
    (
        "no program of a profile is ever run; mrvpn checks the server's certificate itself, as `ca`, \
         `remote-cert-tls` and `verify-x509-name` say",
        &["tls-verify", "tls-export-cert"],
    ),
    (
        "no program of a profile is ever run, and this one is for servers",
        &[
            "auth-user-pass-verify",
            "client-connect",
            "client-disconnect",
            "client-crresponse",
            "learn-address",
            "tls-crypt-v2-verify",
        ],
    ),
    (
        "mrvpn writes no file that a profile names; `mrvpn status` shows what stands",
        &["log", "log-append", "status", "status-version", "syslog"],
    ),
    (
        "mrvpn writes only where its own settings say",
        &["writepid", "tmp-dir", "replay-persist", "ifconfig-pool-persist"],
    ),
    ("paths in a profile are relative to the profile itself", &["cd"]),
    ("mrvpn keeps the rights and the root directory that it was started with", &["chroot", "user", "group", "setcon"]),
    ("whether mrvpn runs in the background is said on its command line", &["daemon", "inetd"]),
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
        ],
    ),
    (
        "mrvpn keeps its interface, keys and addresses over reconnects by itself",
        &["persist-key", "persist-tun", "persist-local-ip", "persist-remote-ip"],
    ),
    ("mrvpn's own process and queues are not a profile's to set", &["nice", "mlock", "fast-io", "txqueuelen", "prng"]),
    ("mrvpn starts a session anew where OpenVPN would end its process", &["single-session", "tls-exit", "remap-usr1"]),
    ("the time counts from the first answer of the server in any case", &["ping-timer-rem"]),
    (
        "it changes nothing in what mrvpn speaks",
        &[
            "key-method",
            "tun-ipv6",
            "disable-dco",
            "disable-occ",
            "opt-verify",
            "compat-mode",
            "compat-names",
            "no-name-remapping",
            "gremlin",
        ],
    ),
    ("mrvpn tries again for ever, at its own pace", &["resolv-retry", "connect-retry", "connect-retry-max"]),
    ("mrvpn sends again what is not answered, at its own pace", &["tls-timeout"]),
    ("the server's name is looked up as it stands", &["remote-random-hostname", "preresolve"]),
    (
        "each tunnel has a socket of its own with a port that the system chooses",
        &["nobind", "bind", "local", "lport", "multihome", "bind-dev"],
    ),
    (
        "packets are taken from the server's address alone; when this host's own address changes, mrvpn opens a new \
         socket",
        &["float"],
    ),
    (
        "mrvpn sets up its sockets itself",
        &["socket-flags", "tcp-nodelay", "sndbuf", "rcvbuf", "passtos", "tcp-queue-limit", "bcast-buffers"],
    ),
    ("the mark of mrvpn's own packets is `mark` in mrvpn.toml", &["mark"]),
    ("data keys are made as the server says", &["force-tls-key-material-export"]),
    ("the password is kept in memory alone, since new keys and new connections need it", &["auth-nocache"]),
    (
        "TLS 1.2 and 1.3 are spoken with modern ciphers alone",
        &["tls-cipher", "tls-ciphersuites", "tls-groups", "ecdh-curve", "dh"],
    ),
    (
        "data ciphers are always agreed with the server, and none of them has a variable key",
        &["ncp-disable", "keysize"],
    ),
    ("mrvpn never compresses", &["allow-compression", "comp-noadapt"]),
    ("replays are always refused, by a window of mrvpn's own", &["replay-window"]),
    (
        "packet sizes are fitted to each tunnel's path by mrvpn itself",
        &["mssfix", "tun-mtu-max", "tun-mtu-extra", "link-mtu", "max-packet-size", "mtu-disc", "mtu-test"],
    ),
    ("limiting what is sent is not in this version", &["shaper"]),
    (
        "routes are claims of a tunnel, and mrvpn sets them itself",
        &["route-metric", "route-delay", "route-method", "ifconfig-noexec"],
    ),
    ("a tunnel may have 4096 routes", &["max-routes"]),
    ("names in routes that a server pushes are never looked up", &["allow-pull-fqdn"]),
    ("a tunnel has one peer, so its gateway is not needed", &["route-ipv6-gateway"]),
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
            "service",
            "pause-exit",
        ],
    ),
    ("it is for Ethernet tunnels (tap)", &["lladdr"]),
    (
        "it is for servers",
        &[
            "ifconfig-ipv6-pool",
            "ifconfig-pool",
            "auth-gen-token",
            "auth-gen-token-secret",
            "auth-user-pass-optional",
            "stale-routes-check",
            "hash-size",
            "connect-freq",
            "connect-freq-initial",
            "max-routes-per-client",
        ],
    ),
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
            "tls-crypt-v2-max-age",
        ],
    ),
    (
        "OpenVPN itself no longer has this check of the server's name, and leaving it out would be unsafe",
        "write `verify-x509-name NAME name` in its place",
        &["tls-remote"],
    ),
    (
        "static key mode has no forward secrecy and is not in this version",
        "ask the operator for a TLS server",
        &["secret"],
    ),
    ("packets that an attacker sends again would be let in", "remove the line here and at the server", &["no-replay"]),
    ("data could be read by others", "remove the line here and at the server", &["no-iv"]),
    (
        "this check of the server's certificate is not in this version, and leaving it out would be unsafe",
        "use `remote-cert-tls server`, `verify-x509-name` or `peer-fingerprint` in its place",
        &["verify-hash", "x509-username-field", "x509-track"],
    ),
    (
        "lists of revoked certificates are not in this version, and leaving one out would be unsafe",
        "remove it only if a server whose certificate was revoked may be trusted; `verify-x509-name` narrows that down",
        &["crl-verify"],
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

/// Directives that a part of a profile takes, for those who misspell them; beside those of [`SHARED`].
const USED: Names = &[
    "setenv",
    "setenv-safe",
    "push-peer-info",
    "ignore-unknown-option",
    "client",
    "pull",
    "tls-client",
    "mode",
    "dev",
    "dev-type",
    "dev-node",
    "remote",
    "remote-random",
    "proto",
    "proto-force",
    "port",
    "rport",
    "connect-timeout",
    "server-poll-timeout",
    "connection",
    "auth-user-pass",
    "auth-retry",
    "tls-auth",
    "tls-crypt",
    "tls-crypt-v2",
    "key-direction",
    "ca",
    "cert",
    "extra-certs",
    "key",
    "remote-cert-tls",
    "ns-cert-type",
    "remote-cert-ku",
    "remote-cert-eku",
    "verify-x509-name",
    "peer-fingerprint",
    "tls-version-min",
    "tls-version-max",
    "tls-cert-profile",
    "cipher",
    "data-ciphers",
    "data-ciphers-fallback",
    "ncp-ciphers",
    "auth",
    "keepalive",
    "hand-window",
    "reneg-sec",
    "reneg-bytes",
    "reneg-pkts",
    "tran-window",
    "pull-filter",
    "route-nopull",
    "route-noexec",
];
