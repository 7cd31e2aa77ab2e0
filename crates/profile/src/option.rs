//! One option that a server may push, and that a file may hold too, as a typed value (openvpn-protocol.md sections 8.3
//! to 8.7). Read once, here, for both; what follows from a value is decided by whoever asked: `push.rs` skips what is
//! wrong, `ovpn/` refuses the file.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;

use crate::address::{self, number};
use crate::assignment::{ProtocolFlags, PushedCipher, Topology};
use crate::escape::escape;
use crate::{Cipher, Secret, limits};

/// An option with its meaning.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Meaning {
    Ifconfig {
        local: Ipv4Addr,
        other: Ipv4Addr,
    },
    IfconfigIpv6 {
        local: Ipv6Addr,
        bits: u8,
        remote: Option<Ipv6Addr>,
    },
    Topology(Topology),
    Route(RouteOption),
    RouteGateway(Ipv4Addr),
    RedirectGateway {
        ipv6: bool,
        not_ipv4: bool,
        odd_flag: Option<String>,
    },
    BlockIpv6,
    DhcpDns(IpAddr),
    /// `DOMAIN`: the last one counts.
    DhcpDomain(String),
    /// `DOMAIN-SEARCH`: each one counts.
    DhcpSearch(String),
    DnsServer {
        priority: i8,
        part: DnsPart,
    },
    DnsSearch(Vec<String>),
    PeerId(u32),
    Cipher(PushedCipher),
    ProtocolFlags(ProtocolFlags),
    Ping(Option<Duration>),
    PingRestart(Option<Duration>),
    TunMtu(u16),
    SessionTimeout(Option<Duration>),
    ExitNotify(u32),
    AuthToken(Secret<String>),
    AuthTokenUser(String),
    /// Data would travel in a framing that this version does not speak.
    Compression,
    /// Known, and nothing follows from it.
    Nothing,
    /// Known, and not acted upon, for this reason.
    NotUsed(&'static str),
}

/// A `route` or `route-ipv6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteOption {
    pub(crate) net: IpNet,
    pub(crate) gateway: Gateway,
    /// Host bits were set and are zero now.
    pub(crate) masked: bool,
}

/// The gateway word of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gateway {
    /// The tunnel, whatever address in it was named.
    Tunnel,
    /// `net_gateway`: outside of the tunnel.
    Net,
}

/// One line of `dns server N`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DnsPart {
    /// Its addresses, and whether some were left out because they name another port than 53.
    Addresses { taken: Vec<IpAddr>, other_port: bool },
    /// `resolve-domains`: this server is for these alone.
    Domains,
    /// Something that changes nothing.
    Nothing,
    /// DoH, DoT and `dnssec yes`: a plain question would not be what was asked for.
    Unserved,
}

/// Why an option has no meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not an option that a server may push.
    Unknown,
    /// Its parameters are wrong.
    Wrong(String),
    /// It is essential, and its parameters are wrong.
    Fatal(String),
}

/// What `route-nopull` tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Routes and DNS.
    RouteOrDns,
    /// All others.
    Other,
}

/// The class of option `name` (openvpn-protocol.md section 8.3, classes R and D).
pub(crate) fn class(name: &str) -> Class {
    match name {
        "route" | "route-ipv6" | "route-metric" | "route-delay" | "redirect-gateway" | "redirect-private"
        | "block-ipv6" | "client-nat" | "dhcp-option" | "dns" => Class::RouteOrDns,
        name if WINDOWS.contains(&name) => Class::RouteOrDns,
        _ => Class::Other,
    }
}

/// Reads one option.
pub(crate) fn read(words: &[String]) -> Result<Meaning, Fault> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some((name, parameters)) = words.split_first() else { return Ok(Meaning::Nothing) };
    match *name {
        "ifconfig" => ifconfig(parameters),
        "ifconfig-ipv6" => ifconfig_ipv6(parameters),
        "topology" => topology(parameters),
        "route" => route(parameters),
        "route-ipv6" => route_ipv6(parameters),
        "route-gateway" => route_gateway(parameters),
        "redirect-gateway" => Ok(redirect_gateway(parameters)),
        "block-ipv6" => Ok(Meaning::BlockIpv6),
        "dhcp-option" => dhcp_option(parameters),
        "dns" => dns(parameters),
        "peer-id" => peer_id(parameters),
        "cipher" => cipher(parameters),
        "protocol-flags" => protocol_flags(parameters),
        "key-derivation" => key_derivation(parameters),
        "ping" => Ok(Meaning::Ping(timer(parameters)?)),
        "ping-restart" | "ping-exit" => Ok(Meaning::PingRestart(timer(parameters)?)),
        "tun-mtu" => tun_mtu(parameters),
        "session-timeout" => Ok(Meaning::SessionTimeout(seconds(parameters)?)),
        "explicit-exit-notify" => exit_notify(parameters),
        "auth-token" => auth_token(parameters),
        "auth-token-user" => auth_token_user(parameters),
        "compress" | "comp-lzo" => Ok(Meaning::Compression),
        other => without_effect(other),
    }
}

fn ifconfig(parameters: &[&str]) -> Result<Meaning, Fault> {
    let [local, other, ..] = parameters else { return Err(Fault::Fatal(String::from("it needs two addresses"))) };
    match (address::ipv4(local), address::ipv4(other)) {
        (Some(local), Some(other)) => Ok(Meaning::Ifconfig { local, other }),
        (None, _) => Err(not_an("IPv4 address", local, Fault::Fatal)),
        (Some(_), None) => Err(not_an("IPv4 address or netmask", other, Fault::Fatal)),
    }
}

fn ifconfig_ipv6(parameters: &[&str]) -> Result<Meaning, Fault> {
    let [local, rest @ ..] = parameters else { return Err(Fault::Fatal(String::from("it needs an address"))) };
    let Some((local, bits)) = address::ipv6_prefix(local) else {
        return Err(not_an("IPv6 address with prefix length", local, Fault::Fatal));
    };
    let remote = match rest.first() {
        None => None,
        Some(text) => Some(address::ipv6(text).ok_or_else(|| not_an("IPv6 address", text, Fault::Fatal))?),
    };
    Ok(Meaning::IfconfigIpv6 { local, bits, remote })
}

fn topology(parameters: &[&str]) -> Result<Meaning, Fault> {
    match parameters.first() {
        Some(&"subnet") => Ok(Meaning::Topology(Topology::Subnet)),
        Some(&"net30") => Ok(Meaning::Topology(Topology::Net30)),
        Some(&"p2p") => Ok(Meaning::Topology(Topology::P2p)),
        Some(_) | None => Err(wrong("it is one of subnet, net30, p2p")),
    }
}

/// `route net [mask [gateway [metric]]]`.
fn route(parameters: &[&str]) -> Result<Meaning, Fault> {
    let net = *parameters.first().ok_or_else(|| wrong("it needs a network"))?;
    if is_special(net) {
        return Ok(Meaning::NotUsed("routes to the gateways and the server itself stand already"));
    }
    let Some(net) = address::ipv4(net) else {
        return Err(not_an("IPv4 network (host names and IPv6 are not taken here)", net, Fault::Wrong));
    };
    let bits = match given(parameters.get(1)) {
        None => 32,
        Some(text) => {
            let mask = address::ipv4(text).ok_or_else(|| not_an("netmask", text, Fault::Wrong))?;
            address::mask_bits(mask).ok_or_else(|| not_an("netmask without holes", text, Fault::Wrong))?
        }
    };
    let network = address::network4(net, bits);
    let in_tunnel = |text: &str| address::ipv4(text).is_some();
    finish_route(network, given(parameters.get(2)), given(parameters.get(3)), in_tunnel)
}

/// `route-ipv6 net/bits [gateway [metric]]`.
fn route_ipv6(parameters: &[&str]) -> Result<Meaning, Fault> {
    let net = *parameters.first().ok_or_else(|| wrong("it needs a network"))?;
    let Some((net, bits)) = address::ipv6_prefix(net) else {
        return Err(not_an("IPv6 network (host names and IPv4 are not taken here)", net, Fault::Wrong));
    };
    let network = address::network6(net, bits);
    let in_tunnel = |text: &str| address::ipv6(text).is_some();
    finish_route(network, given(parameters.get(1)), given(parameters.get(2)), in_tunnel)
}

fn finish_route(
    network: Option<(IpNet, bool)>,
    gateway: Option<&str>,
    metric: Option<&str>,
    in_tunnel: impl Fn(&str) -> bool,
) -> Result<Meaning, Fault> {
    let (net, masked) = network.ok_or_else(|| wrong("the prefix length is too large"))?;
    let gateway = match gateway {
        None | Some("vpn_gateway") => Gateway::Tunnel,
        Some("net_gateway" | "net_gateway_ipv6") => Gateway::Net,
        Some(text) if in_tunnel(text) => Gateway::Tunnel,
        Some(text) => return Err(not_an("gateway of this family", text, Fault::Wrong)),
    };
    if let Some(metric) = metric.filter(|metric| number(metric).is_none()) {
        return Err(not_an("metric", metric, Fault::Wrong));
    }
    Ok(Meaning::Route(RouteOption { net, gateway, masked }))
}

fn route_gateway(parameters: &[&str]) -> Result<Meaning, Fault> {
    let text = *parameters.first().ok_or_else(|| wrong("it needs an address"))?;
    if text == "dhcp" {
        return Ok(Meaning::NotUsed("`dhcp` is for tap devices"));
    }
    let gateway = address::ipv4(text).filter(|gateway| is_host(*gateway));
    gateway.map(Meaning::RouteGateway).ok_or_else(|| not_an("IPv4 address of a host", text, Fault::Wrong))
}

/// Flags before an unknown one count, as in OpenVPN (openvpn-protocol.md section 8.5).
fn redirect_gateway(parameters: &[&str]) -> Meaning {
    let (mut ipv6, mut not_ipv4) = (false, false);
    for flag in parameters {
        match *flag {
            "ipv6" => ipv6 = true,
            "!ipv4" => not_ipv4 = true,
            "def1" | "local" | "autolocal" | "bypass-dhcp" | "bypass-dns" | "block-local" => {}
            odd => return Meaning::RedirectGateway { ipv6, not_ipv4, odd_flag: Some(escape(odd.as_bytes())) },
        }
    }
    Meaning::RedirectGateway { ipv6, not_ipv4, odd_flag: None }
}

fn dhcp_option(parameters: &[&str]) -> Result<Meaning, Fault> {
    let (kind, value) = match parameters {
        [kind, value, ..] => (*kind, *value),
        [kind] => (*kind, ""),
        [] => return Err(wrong("it needs a type")),
    };
    match kind {
        "DNS" => dns_address(address::ip(value), value).map(Meaning::DhcpDns),
        "DNS6" => dns_address(address::ipv6(value).map(IpAddr::V6), value).map(Meaning::DhcpDns),
        "DOMAIN" | "ADAPTER_DOMAIN_SUFFIX" => domain(value).map(Meaning::DhcpDomain),
        "DOMAIN-SEARCH" => domain(value).map(Meaning::DhcpSearch),
        _ => Ok(Meaning::NotUsed("mrvpn has no use for this type")),
    }
}

fn dns(parameters: &[&str]) -> Result<Meaning, Fault> {
    match parameters {
        ["search-domains", domains @ ..] if !domains.is_empty() => {
            domains.iter().map(|text| domain(text)).collect::<Result<_, _>>().map(Meaning::DnsSearch)
        }
        ["server", priority, key, values @ ..] => {
            let priority = priority.parse().map_err(|_| not_an("priority (-128 to 127)", priority, Fault::Wrong))?;
            Ok(Meaning::DnsServer { priority, part: dns_part(key, values)? })
        }
        _ => Err(wrong("it begins with `search-domains` or `server N`")),
    }
}

fn dns_part(key: &str, values: &[&str]) -> Result<DnsPart, Fault> {
    match (key, values) {
        ("address", [_, ..]) => server_addresses(values),
        ("resolve-domains", [_, ..]) => {
            values.iter().try_for_each(|text| domain(text).map(drop))?;
            Ok(DnsPart::Domains)
        }
        ("transport", ["plain"]) | ("dnssec", ["no" | "optional"]) | ("sni", [_]) => Ok(DnsPart::Nothing),
        ("transport", ["DoH" | "DoT"]) | ("dnssec", ["yes"]) => Ok(DnsPart::Unserved),
        _ => Err(wrong("this property of a server, or its value, is unknown")),
    }
}

fn server_addresses(values: &[&str]) -> Result<DnsPart, Fault> {
    let mut taken = Vec::new();
    let mut other_port = false;
    for text in values {
        let (host, port) = host_and_port(text)?;
        let address = dns_address(address::ip(host), text)?;
        if port == DNS_PORT { taken.push(address) } else { other_port = true }
    }
    Ok(DnsPart::Addresses { taken, other_port })
}

/// IPv4 with or without port, IPv6, or IPv6 in brackets with port.
fn host_and_port(text: &str) -> Result<(&str, &str), Fault> {
    match (text.strip_prefix('['), text.split_once(':')) {
        (Some(rest), _) => rest.split_once("]:").ok_or_else(|| not_an("DNS address", text, Fault::Wrong)),
        (None, Some((host, port))) if !port.contains(':') => Ok((host, port)),
        (None, _) => Ok((text, DNS_PORT)),
    }
}

fn dns_address(address: Option<IpAddr>, text: &str) -> Result<IpAddr, Fault> {
    let address = address.ok_or_else(|| not_an("address of a DNS server", text, Fault::Wrong))?;
    match address::unroutable(&IpNet::from(address)) {
        None => Ok(address),
        Some(why) => Err(Fault::Wrong(format!("{address} cannot be asked through a tunnel: {why}"))),
    }
}

fn domain(text: &str) -> Result<String, Fault> {
    address::domain(text).ok_or_else(|| not_an("domain name of harmless characters", text, Fault::Wrong))
}

fn peer_id(parameters: &[&str]) -> Result<Meaning, Fault> {
    let id = parameters.first().and_then(|text| number(text)).and_then(|id| u32::try_from(id).ok());
    let id = id.filter(|id| *id <= limits::PEER_ID);
    id.map(Meaning::PeerId).ok_or_else(|| wrong("it is a number up to 16777215"))
}

fn cipher(parameters: &[&str]) -> Result<Meaning, Fault> {
    let name = *parameters.first().ok_or_else(|| wrong("it needs a name"))?;
    let unknown = || PushedCipher::Unknown(escape(name.as_bytes()));
    Ok(Meaning::Cipher(Cipher::by_name(name).map_or_else(unknown, PushedCipher::Known)))
}

/// An unknown flag is fatal: it may change keys or format, so that nothing would be readable.
fn protocol_flags(parameters: &[&str]) -> Result<Meaning, Fault> {
    let mut flags = ProtocolFlags::default();
    for flag in parameters {
        match *flag {
            "cc-exit" => flags.cc_exit = true,
            "tls-ekm" => flags.tls_ekm = true,
            "dyn-tls-crypt" => flags.dyn_tls_crypt = true,
            "aead-epoch" => flags.aead_epoch = true,
            odd => return Err(Fault::Fatal(format!("flag `{}` is unknown", escape(odd.as_bytes())))),
        }
    }
    Ok(Meaning::ProtocolFlags(flags))
}

/// The older form of `protocol-flags tls-ekm`.
fn key_derivation(parameters: &[&str]) -> Result<Meaning, Fault> {
    match parameters.first() {
        Some(&"tls-ekm") => Ok(Meaning::ProtocolFlags(ProtocolFlags { tls_ekm: true, ..ProtocolFlags::default() })),
        Some(_) | None => Err(Fault::Fatal(String::from("only `tls-ekm` is known"))),
    }
}

/// Seconds from 1 s to 24 h, clamped; 0 is off.
fn timer(parameters: &[&str]) -> Result<Option<Duration>, Fault> {
    Ok(seconds(parameters)?.map(|time| time.clamp(limits::TIMER_MIN, limits::TIMER_MAX)))
}

fn seconds(parameters: &[&str]) -> Result<Option<Duration>, Fault> {
    let time = parameters.first().and_then(|text| number(text)).ok_or_else(|| wrong("it needs a number of seconds"))?;
    Ok((time > 0).then(|| Duration::from_secs(time.min(u64::from(u32::MAX)))))
}

fn tun_mtu(parameters: &[&str]) -> Result<Meaning, Fault> {
    let mtu = parameters.first().and_then(|text| number(text)).ok_or_else(|| wrong("it needs a number of bytes"))?;
    let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
    Ok(Meaning::TunMtu(mtu.clamp(limits::TUN_MTU_MIN, limits::TUN_MTU_MAX)))
}

fn exit_notify(parameters: &[&str]) -> Result<Meaning, Fault> {
    let times = parameters.first().map_or(Some(1), |text| number(text));
    let times = times.ok_or_else(|| wrong("it is a number of messages"))?;
    Ok(Meaning::ExitNotify(u32::try_from(times).unwrap_or(u32::MAX).min(MAX_EXIT_NOTIFY)))
}

/// The token as it stands; its length is bounded by the lexer.
fn auth_token(parameters: &[&str]) -> Result<Meaning, Fault> {
    let token = parameters.first().filter(|token| !token.is_empty()).ok_or_else(|| wrong("it is empty"))?;
    Ok(Meaning::AuthToken(Secret::new((*token).to_owned())))
}

/// The user in base64: text without control characters.
fn auth_token_user(parameters: &[&str]) -> Result<Meaning, Fault> {
    let user = parameters.first().and_then(|text| STANDARD.decode(text).ok());
    let user = user.and_then(|bytes| String::from_utf8(bytes).ok());
    let user = user.filter(|user| !user.is_empty() && !user.chars().any(char::is_control));
    user.map(Meaning::AuthTokenUser).ok_or_else(|| wrong("it is no user in base64"))
}

fn without_effect(name: &str) -> Result<Meaning, Fault> {
    match name {
        "redirect-private" | "route-metric" | "route-delay" | "tun-ipv6" | "ping-timer-rem" | "echo" | "parameter"
        | "verb" | "mute" | "persist-tun" | "persist-key" | "push-continuation" | "sndbuf" | "rcvbuf"
        | "socket-flags" | "setenv-safe" | "shaper" => Ok(Meaning::Nothing),
        "client-nat" => Ok(Meaning::NotUsed("address translation by the server's order is not in this version")),
        "inactive" => Ok(Meaning::NotUsed("ending an idle tunnel is not in this version")),
        "route-ipv6-gateway" => Ok(Meaning::NotUsed("a tunnel has one peer, so its gateway is not needed")),
        name if WINDOWS.contains(&name) => Ok(Meaning::NotUsed("it is for Windows")),
        _ => Err(Fault::Unknown),
    }
}

/// The options of class D that mean something on Windows alone.
const WINDOWS: [&str; 7] =
    ["block-outside-dns", "register-dns", "ip-win32", "dhcp-renew", "dhcp-release", "dhcp-pre-release", "tap-sleep"];

const DNS_PORT: &str = "53";

/// 10 messages: more only hold up the end of a session.
const MAX_EXIT_NOTIFY: u32 = 10;

/// Words that stand for an address known only to a running client.
fn is_special(text: &str) -> bool {
    matches!(text, "vpn_gateway" | "net_gateway" | "remote_host")
}

fn is_host(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast())
}

/// A parameter that is there and is not the word `default`.
fn given<'a>(parameter: Option<&&'a str>) -> Option<&'a str> {
    parameter.copied().filter(|text| *text != "default")
}

fn wrong(why: &str) -> Fault {
    Fault::Wrong(why.to_owned())
}

fn not_an(what: &str, text: &str, fault: impl Fn(String) -> Fault) -> Fault {
    fault(format!("`{}` is no {what}", escape(text.as_bytes())))
}
