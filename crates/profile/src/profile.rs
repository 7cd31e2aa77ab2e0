//! The typed profile: what an `.ovpn` file says, after every default is chosen. Parsing is in `ovpn.rs`; what a
//! server may push on top of it is `assignment.rs`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;

use crate::{Cipher, Digest, Secret, Wrap};

/// A parsed `.ovpn` file: all that a session and the address book need, files already read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Where to connect, in order: 1 to 64.
    pub remotes: Vec<Remote>,
    /// `remote-random`: shuffle the list once.
    pub remote_random: bool,
    /// Control channel wrapping, where a remote has none of its own.
    pub wrap: Wrap,
    /// Certificates and what is asked of the server's.
    pub tls: TlsOptions,
    /// Whether and whence user and password come.
    pub auth_user_pass: AuthUserPass,
    /// Accepted data ciphers, in order; never empty.
    pub data_ciphers: Vec<Cipher>,
    /// `data-ciphers-fallback`, where this version speaks it.
    pub data_ciphers_fallback: Option<Cipher>,
    /// Option `auth` (default SHA1).
    pub auth: Digest,
    /// What pushed options are added to.
    pub pull: PullOptions,
    /// `hand-window`: 60 s unless said otherwise, 1 s to 60 s.
    pub hand_window: Duration,
    /// `connect-timeout`, `server-poll-timeout`: how long the first answer of a server is waited for, 1 s to 60 s; `None`
    /// where the file says nothing.
    pub connect_timeout: Option<Duration>,
    /// When new keys are made, and how long the old ones open packets.
    pub renewal: Renewal,
    /// `auth-retry`.
    pub auth_retry: AuthRetry,
    /// `explicit-exit-notify`, if given.
    pub explicit_exit_notify: Option<u32>,
    /// `push-peer-info`.
    pub push_peer_info: bool,
}

/// One `remote`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// A name, or an address as text.
    pub host: String,
    /// Port, default 1194.
    pub port: u16,
    /// UDP or TCP.
    pub transport: Transport,
    /// `udp4`, `udp6`, ...: only this family; `None` for either.
    pub family: Option<Family>,
    /// `connect-timeout` of its `<connection>` block; `None`: that of the profile.
    pub connect_timeout: Option<Duration>,
    /// Wrapping of its `<connection>` block; `None`: that of the profile.
    pub wrap: Option<Wrap>,
    /// Line in the file, from 1.
    pub line: u32,
}

/// When a new key replaces the old one (openvpn-protocol.md section 10.4). The server has times of its own, and the
/// earlier one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// `reneg-sec`: after this time since the last negotiation; 1 h unless said otherwise, `None` where off.
    pub reneg_sec: Option<Duration>,
    /// `reneg-bytes`: after this many bytes in both directions; `None` where off, as by default.
    pub reneg_bytes: Option<u64>,
    /// `reneg-pkts`: after this many packets in both directions; `None` where off, as by default.
    pub reneg_pkts: Option<u64>,
    /// `tran-window`: how long the old key still opens packets; 1 h unless said otherwise, 1 s to 24 h.
    pub tran_window: Duration,
}

impl Default for Renewal {
    fn default() -> Self {
        let hour = Duration::from_secs(3_600);
        Self { reneg_sec: Some(hour), reneg_bytes: None, reneg_pkts: None, tran_window: hour }
    }
}

/// `auth-retry`: what follows when the server refuses user and password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthRetry {
    /// `none`: the tunnel has failed.
    #[default]
    None,
    /// `nointeract`: the same is tried again, after pauses.
    NoInteract,
    /// `interact`: the user is asked again.
    Interact,
}

/// Outer transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

/// Address family of a remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Certificates, keys and checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// `ca`: certificates in DER.
    pub ca: Vec<Vec<u8>>,
    /// `cert` and `extra-certs`: own chain in DER, leaf first; empty where the profile has none.
    pub cert: Vec<Vec<u8>>,
    /// `key`: own private key in DER (PKCS#8, PKCS#1 or SEC1).
    pub key: Option<PrivateKey>,
    /// `remote-cert-tls server`.
    pub remote_cert_tls_server: bool,
    /// `remote-cert-ku`: masks, one of which must fit; `Some(vec![])` means the extension must exist.
    pub remote_cert_ku: Option<Vec<u8>>,
    /// `remote-cert-eku`: an OID in dotted form.
    pub remote_cert_eku: Option<String>,
    /// `ns-cert-type server`.
    pub ns_cert_type_server: bool,
    /// `verify-x509-name`.
    pub verify_x509_name: Option<PeerName>,
    /// `peer-fingerprint`: SHA-256 of allowed leaves. Without `ca` the chain is not verified at all.
    pub peer_fingerprints: Vec<[u8; 32]>,
    /// `tls-version-min 1.3`: TLS 1.2 is refused.
    pub tls13_only: bool,
    /// `tls-version-max 1.2`: TLS 1.3 is not offered.
    pub tls12_only: bool,
}

/// A private key in DER with its encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateKey {
    /// Which encoding `der` has.
    pub format: PrivateKeyFormat,
    /// The bytes.
    pub der: Secret<Vec<u8>>,
}

/// Encoding of a private key, by its PEM label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivateKeyFormat {
    /// `PRIVATE KEY`.
    Pkcs8,
    /// `RSA PRIVATE KEY`.
    Pkcs1,
    /// `EC PRIVATE KEY`.
    Sec1,
}

/// `verify-x509-name NAME [type]`: byte-exact, case-sensitive, no wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerName {
    /// `subject` (the default): the whole subject in OpenVPN's form.
    Subject(String),
    /// `name`: the common name.
    CommonName(String),
    /// `name-prefix`: the common name begins with this.
    CommonNamePrefix(String),
}

/// Whether the profile asks for user and password, and where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthUserPass {
    /// Not asked for.
    No,
    /// Asked for, to be had elsewhere (`--credentials`, mrvpn.toml, a prompt).
    Ask,
    /// In the profile, inline or in a file it names that was there.
    Given(Credentials),
}

/// A user and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password.
    pub password: Secret<String>,
}

/// What the profile itself says about addresses, routes, DNS and timers, to which a push is added
/// (openvpn-protocol.md section 8.2: lists are added, scalars replaced).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullOptions {
    /// `route` and `route-ipv6` of the file: claims that stand before the first connection.
    pub routes: Vec<Route>,
    /// `redirect-gateway` of the file.
    pub redirect_gateway: Option<RedirectGateway>,
    /// `route-nopull`: pushed routes and DNS are skipped.
    pub route_nopull: bool,
    /// `pull-filter`, in order.
    pub filters: Vec<PullFilter>,
    /// `keepalive`, `ping`, `ping-restart`.
    pub keepalive: Keepalive,
    /// `tun-mtu`, default 1500.
    pub tun_mtu: Option<u16>,
    /// `topology`, where the file says one.
    pub topology: Option<crate::Topology>,
    /// `dhcp-option DNS` and `dns server` addresses of the file.
    pub dns: Vec<IpAddr>,
    /// Search domains of the file.
    pub search_domains: Vec<String>,
    /// `route-gateway` of the file.
    pub route_gateway: Option<Ipv4Addr>,
    /// `ifconfig` of the file (rare with a pulling client).
    pub ifconfig: Option<(Ipv4Addr, Ipv4Addr)>,
    /// `ifconfig-ipv6` of the file.
    pub ifconfig_ipv6: Option<(Ipv6Addr, u8)>,
    /// `explicit-exit-notify` of the file.
    pub explicit_exit_notify: Option<u32>,
    /// `block-ipv6` of the file.
    pub block_ipv6: bool,
}

/// One `pull-filter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullFilter {
    /// What happens to an option that fits.
    pub action: PullFilterAction,
    /// The words that an option must begin with, after parsing; the last one may be a prefix of the option's word.
    pub text: Vec<String>,
}

/// What a `pull-filter` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullFilterAction {
    /// Take the option.
    Accept,
    /// Leave it out.
    Ignore,
    /// Leave it out and restart the session.
    Reject,
}

/// A network that is to be reached through the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network, host bits zero.
    pub net: IpNet,
    /// Through what.
    pub via: RouteVia,
}

/// The gateway word of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteVia {
    /// The tunnel (whatever gateway address was named: a tun device has one peer).
    Tunnel,
    /// `net_gateway`, only in the user's own file: this prefix stays outside.
    Direct,
}

/// `redirect-gateway`: the offer to be the default gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedirectGateway {
    /// IPv4 (off with `!ipv4`).
    pub ipv4: bool,
    /// IPv6 (flag `ipv6`).
    pub ipv6: bool,
}

/// `ping` and `ping-restart`; `None` where off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// A ping is sent after this time without sending: 1 s to 24 h.
    pub ping: Option<Duration>,
    /// The session restarts when nothing authentic came for this time: at least twice `ping`, at most 24 h.
    pub ping_restart: Option<Duration>,
}
