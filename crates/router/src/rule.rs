//! A rule of the user: a match and a target. All fields must match, an empty list matches anything, a list means any
//! of. The first rule of the file that matches decides.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::TunnelId;

/// One `[[rule]]`, names already resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Shown by status and explain.
    pub name: Option<String>,
    /// Destination prefixes.
    pub to: Vec<IpNet>,
    /// Source prefixes, as the app bound them.
    pub from: Vec<IpNet>,
    /// IP protocol numbers.
    pub proto: Vec<u8>,
    /// Destination ports; with ports a rule matches TCP, UDP, SCTP and DCCP only.
    pub port: Vec<PortRange>,
    /// Where a match goes.
    pub via: Target,
}

/// A field of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Field {
    /// `to`.
    To,
    /// `from`.
    From,
    /// `proto`.
    Proto,
    /// `port`.
    Port,
}

impl Field {
    /// All fields.
    pub const ALL: [Self; 4] = [Self::To, Self::From, Self::Proto, Self::Port];
}

/// Ports `first..=last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port, not below `first`.
    pub last: u16,
}

/// Where a matching flow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Through this tunnel, or nowhere.
    Tunnel(TunnelId),
    /// As if mrvpn did not run.
    Direct,
    /// Nowhere; refused at once.
    Block,
}
