//! Where to connect: `remote` and the lines that give it port and protocol (openvpn-protocol.md section 11.4). Names
//! are not looked up here.

use std::net::IpAddr;

use super::judgement::{Fate, Judgement};
use crate::escape::escape;
use crate::profile::Family;
use crate::{Remote, Transport, address, limits};

/// What the file said about it.
#[derive(Debug, Default)]
pub(super) struct Remotes {
    lines: Vec<RemoteLine>,
    protocol: Option<Protocol>,
    only: Option<Transport>,
    port: Option<u16>,
    random: bool,
}

#[derive(Debug)]
struct RemoteLine {
    host: String,
    port: Option<u16>,
    protocol: Option<Protocol>,
    line: u32,
}

#[derive(Clone, Copy, Debug)]
struct Protocol {
    transport: Transport,
    family: Option<Family>,
}

impl Remotes {
    pub(super) fn take(&mut self, name: &str, parameters: &[&str], line: u32) -> Option<Fate> {
        Some(match (name, parameters) {
            ("remote", [host, rest @ ..]) => self.remote(host, rest, line).unwrap_or_else(|fate| fate),
            ("remote", []) => Fate::wrong("it needs a host", "write `remote HOST PORT`"),
            ("remote-random", _) => {
                self.random = true;
                Fate::Used
            }
            ("proto", _) => keep(protocol(parameters), &mut self.protocol),
            ("proto-force", ["udp", ..]) => keep(Ok(Transport::Udp), &mut self.only),
            ("proto-force", ["tcp", ..]) => keep(Ok(Transport::Tcp), &mut self.only),
            ("proto-force", _) => Fate::wrong("it is udp or tcp", "write `proto-force udp`"),
            ("port" | "rport", _) => keep(port(parameters), &mut self.port),
            _ => return None,
        })
    }

    fn remote(&mut self, host: &str, rest: &[&str], line: u32) -> Result<Fate, Fate> {
        let fate = judge_host(host)?;
        let port = rest.first().map(|text| port(&[text])).transpose()?;
        let protocol = rest.get(1).map(|text| protocol(&[text])).transpose()?;
        if self.lines.len() >= limits::REMOTES {
            return Err(Fate::refused("more than 64 remotes", "keep the 64 that matter"));
        }
        self.lines.push(RemoteLine { host: host.to_owned(), port, protocol, line });
        Ok(fate)
    }

    /// The remotes in order, and whether they are to be shuffled. TCP ones are kept, for whoever can speak it.
    pub(super) fn finish(self, judgement: &mut Judgement) -> (Vec<Remote>, bool) {
        let default = self.protocol.unwrap_or(Protocol { transport: Transport::Udp, family: None });
        let port = self.port.unwrap_or(DEFAULT_PORT);
        let remotes = self.lines.into_iter().map(|line| line.decide(default, port));
        let remotes: Vec<Remote> =
            remotes.filter(|remote| self.only.is_none_or(|only| remote.transport == only)).collect();
        check_transports(&remotes, judgement);
        (remotes, self.random)
    }
}

impl RemoteLine {
    fn decide(self, default: Protocol, port: u16) -> Remote {
        let Protocol { transport, family } = self.protocol.unwrap_or(default);
        Remote { host: self.host, port: self.port.unwrap_or(port), transport, family, line: self.line }
    }
}

fn check_transports(remotes: &[Remote], judgement: &mut Judgement) {
    let Some(first) = remotes.first() else {
        if judgement.refused.iter().all(|noted| noted.directive != "remote") {
            judgement.refuse(0, "remote", "the profile names no server to connect to", "add a line `remote HOST PORT`");
        }
        return;
    };
    if remotes.iter().all(|remote| remote.transport == Transport::Tcp) {
        let hint = "get the provider's UDP profile, or add a `remote HOST PORT udp` line";
        judgement.refuse(first.line, "remote", "all its servers are by TCP, and TCP is not in this version", hint);
        return;
    }
    for remote in remotes.iter().filter(|remote| remote.transport == Transport::Tcp) {
        judgement.ignore(remote.line, "remote", "TCP is not in this version: this server is skipped");
    }
}

/// Whether a host can be connected to at all; names are looked up later.
fn judge_host(host: &str) -> Result<Fate, Fate> {
    let shown = escape(host.as_bytes());
    let Some(ip) = address::ip(host) else {
        if address::domain(host).is_some() && !looks_like_an_address(host) {
            return Ok(if host == "localhost" { loopback() } else { Fate::Used });
        }
        let hint = "write a host name, or an IPv4 or IPv6 address without brackets and without interface";
        return Err(Fate::wrong(format!("`{shown}` is no name and no address of a server"), hint));
    };
    let hint = "write the address that the provider gave";
    if in_pool(ip) {
        return Err(Fate::refused(format!("{ip} is of the range from which mrvpn takes its own addresses"), hint));
    }
    match ip {
        _ if ip.is_loopback() => Ok(loopback()),
        _ if ip.is_multicast() || ip.is_unspecified() || ip == IpAddr::from([255; 4]) => {
            Err(Fate::refused(format!("{ip} is no address of a server"), hint))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => Ok(Fate::Used),
    }
}

fn loopback() -> Fate {
    let why = "it is on this machine, as with a wrapper such as stunnel; \
               name the wrapper's own server by `route ADDRESS 255.255.255.255 net_gateway`";
    Fate::UsedBut(why.to_owned())
}

/// A name whose last label is a number would be read as an address elsewhere, as `10.1` is.
fn looks_like_an_address(host: &str) -> bool {
    host.rsplit('.').next().is_some_and(|label| address::number(label).is_some())
}

fn in_pool(ip: IpAddr) -> bool {
    POOLS.iter().filter_map(|pool| address::prefix(pool)).any(|pool| pool.contains(&ip))
}

fn port(parameters: &[&str]) -> Result<u16, Fate> {
    let port = parameters.first().and_then(|text| address::number(text)).and_then(|port| u16::try_from(port).ok());
    port.filter(|port| *port > 0)
        .ok_or_else(|| Fate::wrong("the port is no number from 1 to 65535", "correct the port"))
}

fn protocol(parameters: &[&str]) -> Result<Protocol, Fate> {
    let word = parameters.first().copied().unwrap_or_default();
    let (transport, family) = match word {
        "udp" => (Transport::Udp, None),
        "udp4" => (Transport::Udp, Some(Family::V4)),
        "udp6" => (Transport::Udp, Some(Family::V6)),
        "tcp" | "tcp-client" => (Transport::Tcp, None),
        "tcp4" | "tcp4-client" => (Transport::Tcp, Some(Family::V4)),
        "tcp6" | "tcp6-client" => (Transport::Tcp, Some(Family::V6)),
        other => {
            let why = format!("`{}` is no protocol of a client", escape(other.as_bytes()));
            return Err(Fate::wrong(why, "use udp, udp4, udp6, tcp, tcp4 or tcp6"));
        }
    };
    Ok(Protocol { transport, family })
}

fn keep<T>(value: Result<T, Fate>, slot: &mut Option<T>) -> Fate {
    match value {
        Ok(value) => {
            *slot = Some(value);
            Fate::Used
        }
        Err(fate) => fate,
    }
}

/// 1194: OpenVPN's registered port.
const DEFAULT_PORT: u16 = 1194;

/// The pools of anchor, bind and virtual addresses (RFC 2544 and RFC 5180, for benchmarks, never public).
const POOLS: [&str; 2] = ["198.18.0.0/15", "2001:2::/48"];
