//! What one server assigned: the profile's own options with everything pushed laid over them. Made once a session,
//! when the last part of PUSH_REPLY is there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};

use crate::{Cipher, Keepalive, RedirectGateway, Route, Secret};

/// All that one server pushed, checked and typed.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The IPv4 address of this tunnel.
    pub ipv4: Option<Ipv4Assignment>,
    /// The IPv6 address of this tunnel.
    pub ipv6: Option<Ipv6Assignment>,
    /// Networks to be reached through this tunnel (4,096 at most), the profile's own first.
    pub routes: Vec<Route>,
    /// The offer to be the default gateway.
    pub redirect_gateway: Option<RedirectGateway>,
    /// DNS servers (8 at most).
    pub dns: Vec<IpAddr>,
    /// Search domains (64 at most).
    pub search_domains: Vec<String>,
    /// MTU inside the tunnel: 576 to 9,000.
    pub tun_mtu: u16,
    /// `block-ipv6`.
    pub block_ipv6: bool,
    /// `ping` and `ping-restart`, pushed ones before the profile's.
    pub keepalive: Keepalive,
    /// `peer-id`, 24 bits; `None` where none was pushed.
    pub peer_id: Option<u32>,
    /// `cipher`, where one was pushed.
    pub cipher: Option<PushedCipher>,
    /// `protocol-flags`.
    pub protocol_flags: ProtocolFlags,
    /// `auth-token`, where one was pushed.
    pub auth_token: Option<AuthToken>,
    /// `explicit-exit-notify`.
    pub explicit_exit_notify: Option<u32>,
    /// `inactive`, `session-timeout` and their like, where this version acts on them.
    pub session_timeout: Option<Duration>,
    /// Pushed options that were left out, with the reason; foreign text is escaped.
    pub skipped: Vec<SkippedOption>,
}

/// A token that stands for user and password from now on (openvpn-protocol.md section 9.5). Kept in memory alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthToken {
    /// `auth-token`: sent as the password; 1 to 4,096 bytes without control characters.
    pub token: Secret<String>,
    /// `auth-token-user`: sent as the user; `None`: the user as before.
    pub user: Option<String>,
}

/// A pushed `cipher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushedCipher {
    /// One that this version speaks.
    Known(Cipher),
    /// Another name, escaped, for the error message.
    Unknown(String),
}

/// An IPv4 address as assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Assignment {
    /// Address with the prefix length that belongs to it: the subnet's with topology `subnet`, else /32.
    pub address: Ipv4Net,
    /// Gateway for routes: `route-gateway`, else the peer of net30 and p2p.
    pub gateway: Option<Ipv4Addr>,
}

/// An IPv6 address as assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Assignment {
    /// Address with prefix length.
    pub address: Ipv6Net,
    /// The remote end.
    pub gateway: Option<Ipv6Addr>,
}

/// `topology`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// `net30`, OpenVPN's default for a client that is told nothing.
    Net30,
    /// `p2p`.
    P2p,
    /// `subnet`.
    Subnet,
}

/// Words of `protocol-flags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProtocolFlags {
    /// `cc-exit`: EXIT over the control channel.
    pub cc_exit: bool,
    /// `tls-ekm`: data keys by the TLS exporter.
    pub tls_ekm: bool,
    /// `dyn-tls-crypt`: renegotiations have a wrapping of their own.
    pub dyn_tls_crypt: bool,
    /// `aead-epoch` (never offered by this version).
    pub aead_epoch: bool,
}

/// A pushed option that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedOption {
    /// The option, escaped and cut at 256 bytes.
    pub option: String,
    /// Why.
    pub why: String,
}
