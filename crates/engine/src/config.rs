//! What the engine is told to run: contents, never paths. Whoever starts it (the program, a test) has read and parsed
//! every file with its own rights.

use std::net::Ipv4Addr;

use ipnet::IpNet;
use mrvpn_netplan::{OffloadSet, Scope};
use mrvpn_profile::config::Accept;
use mrvpn_profile::{Credentials, Profile};
use mrvpn_router::Rule;

/// A whole configuration, as decided.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineConfig {
    /// Shown by `status`: the path of mrvpn.toml, if one was given.
    pub config_path: Option<String>,
    /// Which engine of its network namespace this is: device, priorities, tables. The same for the whole run.
    pub scope: Scope,
    /// The interface, where the user named one; what stands is in `scope`.
    pub interface: Option<String>,
    /// Mark and mask of the engine's own sockets.
    pub mark: (u32, u32),
    /// `establish_limit_ms`: how long a later offer of the default waits for earlier tunnels.
    pub establish_limit: std::time::Duration,
    /// The address pool (`alias_pool`), where the user chose one: /15 or shorter than /17.
    pub alias_pool: Option<Ipv4Addr>,
    /// Whether on-link private networks are left alone.
    pub lan_allowed: bool,
    /// Which TUN and UDP offloads are asked for; less than all only to prove that nothing depends on them.
    pub offload: OffloadSet,
    /// Tunnels in the order of the file, names unique.
    pub tunnels: Vec<TunnelConfig>,
    /// Rules in the order of the file; a [`mrvpn_router::TunnelId`] in them is a place in `tunnels`.
    pub rules: Vec<Rule>,
    /// What the user should know of the whole, to be shown by `status`.
    pub warnings: Vec<String>,
}

/// One tunnel, as decided.
#[derive(Clone, Debug, PartialEq)]
pub struct TunnelConfig {
    /// Its name: `[a-z0-9-]{1,32}`.
    pub name: String,
    /// The profile's file, escaped, for messages.
    pub file: String,
    /// The parsed profile.
    pub profile: Profile,
    /// User and password, wherever they came from; `None` where none is needed or none could be had.
    pub credentials: Option<Credentials>,
    /// `default = true`.
    pub default: bool,
    /// `strict_server = true`.
    pub strict_server: bool,
    /// New connections from the far side that are let in.
    pub accept: Vec<Accept>,
    /// Outer addresses of a local wrapper, left to the host (`bypass`).
    pub bypass: Vec<IpNet>,
    /// Warnings of the profile, to be shown by `status`.
    pub warnings: Vec<String>,
}

impl EngineConfig {
    /// The defaults of contract.md section 2, without tunnels and rules.
    #[must_use]
    pub fn new() -> Self {
        Self {
            config_path: None,
            scope: Scope::first(),
            interface: None,
            mark: (0x4d00_0000, 0xff00_0000),
            establish_limit: std::time::Duration::from_secs(10),
            alias_pool: None,
            lan_allowed: true,
            offload: OffloadSet::ALL,
            tunnels: Vec::new(),
            rules: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self::new()
    }
}
