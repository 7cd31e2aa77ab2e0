//! mrvpn.toml as written: every key checked, every value typed, with line numbers. No file is opened, no default is
//! chosen and no profile is read here; the engine turns this into what runs. A key that exists but is not built yet is
//! refused as "not in this version", never passed over.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

mod engine; // [engine] and [dns]
mod rule; // [[rule]]
mod table; // one table of the file: keys, values, lines
mod tunnel; // [[tunnel]]
mod unreachable; // rules that no flow can reach

use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use crate::limits;
use crate::name::TunnelName;
use table::{Key, Lines, Table};
pub use unreachable::{Unreachable, unreachable};

/// A whole mrvpn.toml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[engine]`.
    pub engine: Engine,
    /// `[dns]`.
    pub dns: Dns,
    /// `[[tunnel]]`, in the order of the file; at least one, names unique.
    pub tunnels: Vec<Tunnel>,
    /// `[[rule]]`, in the order of the file.
    pub rules: Vec<Rule>,
}

/// `[engine]`: `None` where the file says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engine {
    /// `interface`: 1 to 15 of `a-z A-Z 0-9 _ . -`.
    pub interface: Option<String>,
    /// `strategy`.
    pub strategy: Option<Strategy>,
    /// `establish_limit_ms`: up to 10 minutes.
    pub establish_limit: Option<Duration>,
    /// `credentials`: a path, relative to the file.
    pub credentials: Option<Located<String>>,
    /// `mark`: mark and mask, the mark not zero and inside the mask.
    pub mark: Option<(u32, u32)>,
    /// `rule_priority`: the first of a hundred, 1 to 32,666 (`main` is asked at 32,766).
    pub rule_priority: Option<u32>,
    /// `alias_pool`: a network of /16 or shorter, host bits zero.
    pub alias_pool: Option<Ipv4Net>,
}

/// `strategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// `auto`: what suits the host.
    Auto,
    /// `alias`: one TUN to which addresses are added.
    Alias,
}

/// `[dns]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// `mode`.
    pub mode: Option<DnsMode>,
}

/// `dns.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsMode {
    /// `auto`: whatever this version does for names.
    Auto,
    /// `off`: the host's resolver is never touched.
    Off,
}

/// One `[[tunnel]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// `name`.
    pub name: TunnelName,
    /// `profile`: a path, relative to the file.
    pub profile: Located<String>,
    /// `credentials`: a path, relative to the file.
    pub credentials: Option<Located<String>>,
    /// `default`.
    pub default: bool,
    /// `strict_server`.
    pub strict_server: bool,
    /// `accept`: new connections from the far side that are let in; none by default.
    pub accept: Vec<Accept>,
    /// `bypass`: outer addresses of a local wrapper (stunnel), left to the host; prefixes of either family, host bits
    /// zero, 64 at most and never a whole family.
    pub bypass: Vec<IpNet>,
    /// Line of `[[tunnel]]`.
    pub line: u32,
}

/// One `[[rule]]`: all fields must match, a list means any of, an empty list matches anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `name`.
    pub name: Option<String>,
    /// `to`: prefixes of either family, host bits zero.
    pub to: Vec<IpNet>,
    /// `from`: prefixes of either family, host bits zero.
    pub from: Vec<IpNet>,
    /// `proto`: IP protocol numbers; `icmp` is that of each family.
    pub proto: Vec<u8>,
    /// `port`: of the destination.
    pub port: Vec<Ports>,
    /// `via`.
    pub via: Via,
    /// Line of `[[rule]]`.
    pub line: u32,
}

/// One entry of `accept`, as in `tcp/51413` or `udp/1000-2000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    /// IP protocol number: 6 (TCP) or 17 (UDP).
    pub proto: u8,
    /// Ports of this host.
    pub ports: Ports,
}

/// Ports `first..=last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// First port.
    pub first: u16,
    /// Last port, not below `first`.
    pub last: u16,
}

/// `via`, resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The tunnel at this place of [`Config::tunnels`].
    Tunnel(usize),
    /// `direct`.
    Direct,
    /// `block`.
    Block,
}

/// A value with its line in the file, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub line: u32,
}

/// What is wrong with a configuration file; always its writer's to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// Line in the file, from 1; `None` where the file as a whole is meant.
    pub line: Option<u32>,
    /// What is wrong; text of the file is escaped.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Reads a whole mrvpn.toml.
///
/// # Errors
///
/// The first thing that is wrong: not TOML, an unknown key, a value out of range, a name that is not there, or a key
/// that is not in this version.
pub fn parse(text: &str) -> Result<Config, ConfigError> {
    if text.len() > limits::CONFIG_FILE {
        return Err(ConfigError {
            line: None,
            message: String::from("the file is larger than 256 KiB"),
            hint: String::from("this is not a configuration of mrvpn; see `mrvpn.toml` in the documentation"),
        });
    }
    let lines = Lines::of(text);
    let document = lines.document(text)?;
    let root = Table::root(document.get_ref(), &lines);
    root.check_keys(KEYS)?;
    let engine =
        root.table("engine", "[engine]")?.map_or_else(|| Ok(Engine::default()), |table| engine::engine(&table))?;
    let dns = root.table("dns", "[dns]")?.map_or_else(|| Ok(Dns::default()), |table| engine::dns(&table))?;
    let tunnels = tunnel::tunnels(&root.tables("tunnel", "[[tunnel]]")?)?;
    let rules = rule::rules(&root.tables("rule", "[[rule]]")?, &tunnels)?;
    Ok(Config { engine, dns, tunnels, rules })
}

const KEYS: &[(&str, Key)] = &[
    ("engine", Key::Built),
    ("dns", Key::Built),
    ("tunnel", Key::Built),
    ("rule", Key::Built),
    ("lan", Key::NotYet("hosts behind this machine are never touched")),
    ("group", Key::NotYet("name a single tunnel in `via`")),
];
