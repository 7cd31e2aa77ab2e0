//! Where to connect: `remote` and the lines that give it port and protocol (openvpn-protocol.md section 11.4). Names
//! are not looked up here.

use std::net::IpAddr;
use std::time::Duration;

use super::judgement::{Fate, Judgement, Noted};
use crate::escape::escape;
use crate::profile::Family;
use crate::{Remote, Transport, address, limits};

/// What the file said about it.
#[derive(Debug, Default)]
pub(super) struct Remotes {
    lines: Vec<RemoteLine>,
    connect_timeout: Option<Duration>,
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
            ("connect-timeout" | "server-poll-timeout", _) => self.take_timeout(parameters),
            _ => return None,
        })
    }

    fn remote(&mut self, host: &str, rest: &[&str], line: u32) -> Result<Fate, Fate> {
        judge_host(host)?;
        let port = rest.first().map(|text| port(&[text])).transpose()?;
        let protocol = rest.get(1).map(|text| protocol(&[text])).transpose()?;
        if self.lines.len() >= limits::REMOTES {
            return Err(too_many());
        }
        self.lines.push(RemoteLine { host: host.to_owned(), port, protocol, line });
        Ok(Fate::Used)
    }

    fn take_timeout(&mut self, parameters: &[&str]) -> Fate {
        let Some(seconds) = parameters.first().and_then(|text| address::number(text)) else {
            return Fate::wrong("it needs a number of seconds", "write for example `connect-timeout 10`");
        };
        let time = Duration::from_secs(seconds);
        let taken = time.clamp(limits::TIMER_MIN, limits::CONNECT_TIMEOUT_MAX);
        self.connect_timeout = Some(taken);
        if taken == time { Fate::Used } else { Fate::UsedBut(format!("taken as {} s", taken.as_secs())) }
    }

    /// What is said so far of port, protocol and time: the defaults of a block that begins now.
    pub(super) fn defaults(&self) -> Self {
        let Self { protocol, port, connect_timeout, .. } = *self;
        Self { protocol, port, connect_timeout, ..Self::default() }
    }

    /// How many `remote` lines there are.
    pub(super) const fn count(&self) -> usize {
        self.lines.len()
    }

    pub(super) const fn connect_timeout(&self) -> Option<Duration> {
        self.connect_timeout
    }

    /// The first server, with the time that belongs to it alone.
    pub(super) fn first(self) -> Option<Remote> {
        let connect_timeout = self.connect_timeout;
        self.decide().into_iter().next().map(|remote| Remote { connect_timeout, ..remote })
    }

    /// The servers in order, and whether they are to be shuffled. Where there are `blocks`, lines outside of them do not
    /// count.
    pub(super) fn finish(self, blocks: Option<Vec<Remote>>, judgement: &mut Judgement) -> (Vec<Remote>, bool) {
        let (only, random) = (self.only, self.random);
        let lines = self.decide();
        let mut remotes = match blocks {
            None => lines,
            Some(blocks) => {
                let why = "the servers of the <connection> blocks count, and lines outside of them do not";
                for line in &lines {
                    judgement.overrule(line.line, "remote", why);
                    judgement.warn(line.line, "remote", why, "");
                }
                blocks
            }
        };
        remotes.retain(|remote| only.is_none_or(|only| remote.transport == only));
        check_servers(&remotes, judgement);
        (remotes, random)
    }

    fn decide(self) -> Vec<Remote> {
        let default = self.protocol.unwrap_or(Protocol { transport: Transport::Udp, family: None });
        let port = self.port.unwrap_or(DEFAULT_PORT);
        self.lines.into_iter().map(|line| line.decide(default, port)).collect()
    }
}

impl RemoteLine {
    fn decide(self, default: Protocol, port: u16) -> Remote {
        let Protocol { transport, family } = self.protocol.unwrap_or(default);
        Remote {
            host: self.host,
            port: self.port.unwrap_or(port),
            transport,
            family,
            connect_timeout: None,
            wrap: None,
            line: self.line,
        }
    }
}

fn check_servers(remotes: &[Remote], judgement: &mut Judgement) {
    let said = |noted: &Noted| matches!(noted.directive.as_str(), "remote" | "connection");
    if remotes.is_empty() && !judgement.refused.iter().any(said) {
        judgement.refuse(0, "remote", "the profile names no server to connect to", "add a line `remote HOST PORT`");
    }
}

/// More than 64 servers.
pub(super) fn too_many() -> Fate {
    Fate::refused("more than 64 remotes", "keep the 64 that matter")
}

/// A server on this machine is a wrapper's listening end. Where the wrapper itself connects to must not go into the
/// tunnel, and nothing but the user can say where that is.
pub(super) fn warn_of_loopback(remotes: &[Remote], judgement: &mut Judgement) {
    let local = |host: &str| host == "localhost" || address::ip(host).is_some_and(|ip| ip.is_loopback());
    for remote in remotes.iter().filter(|remote| local(&remote.host)) {
        judgement.warn(remote.line, "remote", ON_THIS_MACHINE, ON_THIS_MACHINE_HINT);
    }
}

/// Whether a host can be connected to at all; names are looked up later.
fn judge_host(host: &str) -> Result<(), Fate> {
    let Some(ip) = address::ip(host) else {
        if address::domain(host).is_some() && !looks_like_an_address(host) {
            return Ok(());
        }
        let hint = "write a host name, or an IPv4 or IPv6 address without brackets and without interface";
        let shown = escape(host.as_bytes());
        return Err(Fate::wrong(format!("`{shown}` is no name and no address of a server"), hint));
    };
    let hint = "write the address that the provider gave";
    if in_pool(ip) {
        return Err(Fate::refused(format!("{ip} is of the range from which mrvpn takes its own addresses"), hint));
    }
    if ip.is_multicast() || ip.is_unspecified() || ip == IpAddr::from([255; 4]) {
        return Err(Fate::refused(format!("{ip} is no address of a server"), hint));
    }
    Ok(())
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

/// Why a server on this machine is warned of. A tunnel that has `bypass` in mrvpn.toml needs no such warning.
pub const ON_THIS_MACHINE: &str =
    "the server is on this machine, as with a wrapper such as stunnel, whose own packets could end in the tunnel";
const ON_THIS_MACHINE_HINT: &str = "name the address that the wrapper connects to, by `bypass` in mrvpn.toml or by \
                                    `route ADDRESS 255.255.255.255 net_gateway` in the profile";

/// 1194: OpenVPN's registered port.
const DEFAULT_PORT: u16 = 1194;

/// The pools of anchor, bind and virtual addresses (RFC 2544 and RFC 5180, for benchmarks, never public).
const POOLS: [&str; 2] = ["198.18.0.0/15", "2001:2::/48"];
