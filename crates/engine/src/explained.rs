//! `explain --json` (contract.md section 3) as values: where a flow goes, why, and why not elsewhere. Made by the fleet
//! from what the router says.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A flow that is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowQuery {
    /// Destination.
    pub to: IpAddr,
    /// Destination port.
    pub port: Option<u16>,
    /// IP protocol number.
    pub proto: u8,
    /// Source that the program bound to; `None`: it did not bind.
    pub from: Option<IpAddr>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// What was asked.
    pub flow: FlowShown,
    /// Name of a tunnel, `direct` or `block`; `None`: it is left to the host, or the default tunnel is not known yet.
    pub via: Option<String>,
    /// What decided.
    pub by: Because,
    /// `up`, `held` or `refused`.
    pub state: String,
    /// The source of its packets.
    pub source: Option<SourceShown>,
    /// Why it is refused, where no rule says `block`: a sentence.
    pub refused: Option<String>,
    /// Why nowhere else.
    pub not: Vec<NotShown>,
    /// Flows to this destination that are there now, with the tunnel that each has.
    pub live: Vec<LiveShown>,
}

/// A flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowShown {
    /// `tcp`, `udp`, `icmp` or a number.
    pub proto: String,
    /// Destination.
    pub to: IpAddr,
    /// Destination port.
    pub port: Option<u16>,
    /// Source that the program bound to.
    pub from: Option<IpAddr>,
}

/// What decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Because {
    /// `rule`, `source`, `claim`, `default` or `fallback`.
    pub kind: String,
    /// Name of the rule, where it has one.
    pub name: Option<String>,
    /// The rule's place, the claimed prefix, or a sentence.
    pub what: String,
}

/// The source of a flow's packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceShown {
    /// As the program has it.
    pub seen: IpAddr,
    /// As it leaves; `None` where the tunnel has no address of that family now.
    pub sent: Option<IpAddr>,
}

/// Where it does not go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotShown {
    /// Name of a tunnel, `direct` or `block`; `None`: left to the host.
    pub via: Option<String>,
    /// What would have decided.
    pub by: Because,
    /// A sentence.
    pub why: String,
}

/// A flow that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveShown {
    /// `tcp`, `udp`, `icmp` or a number.
    pub proto: String,
    /// `address:port` as the program has it.
    pub seen: String,
    /// `address:port` as the tunnel's server sees it.
    pub sent: String,
    /// `address:port` of the other end.
    pub remote: String,
    /// Name of its tunnel.
    pub via: String,
}
