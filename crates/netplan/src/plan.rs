//! What should exist on the host, and the steps that lead there. Values with a version: a journal holds exactly these.

use ipnet::IpNet;
use mrvpn_router::PortRange;
use serde::{Deserialize, Serialize};

/// A TUN device to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// Name, 15 bytes at most.
    pub name: String,
    /// MTU in bytes; 1500 always (design, decision 11).
    pub mtu: u16,
    /// Number of queues, one a lane.
    pub queues: u16,
    /// Whether checksum and segmentation offload are asked for; off only to prove that nothing depends on them.
    pub offload: bool,
}

/// Address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A route in a table of ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouteSpec {
    /// Table number.
    pub table: u32,
    /// Destination; a default route is /0.
    pub prefix: IpNet,
    /// What happens to what matches.
    pub kind: RouteKind,
    /// Metric; lower wins.
    pub metric: u32,
}

/// What a route does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RouteKind {
    /// Into this device.
    Device(String),
    /// Out of the table: the next policy rule decides.
    Throw,
    /// Refused by the kernel: what stays when the device is gone.
    Unreachable,
}

/// A policy rule of ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PolicyRule {
    /// Priority; lower comes first.
    pub priority: u32,
    /// Family.
    pub family: Family,
    /// Only packets that this host sends (`iif lo`).
    pub local: bool,
    /// Source prefix.
    pub from: Option<IpNet>,
    /// Destination prefix.
    pub to: Option<IpNet>,
    /// IP protocol.
    pub proto: Option<u8>,
    /// Destination ports.
    pub port: Option<PortRange>,
    /// Firewall mark and mask.
    pub mark: Option<(u32, u32)>,
    /// What a match does.
    pub action: RuleAction,
}

/// What a policy rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RuleAction {
    /// Looks the destination up in this table.
    Lookup(u32),
    /// Goes on at this priority.
    Goto(u32),
    /// Nothing: a place to go on from.
    Nop,
}

/// One change of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Adds an address to a device; `deprecated` ones are used only by who binds to them (preferred lifetime 0).
    AddAddress {
        /// Device.
        device: String,
        /// Address with prefix length as on the host.
        address: IpNet,
        /// Preferred lifetime 0.
        deprecated: bool,
    },
    /// Removes it.
    RemoveAddress {
        /// Device.
        device: String,
        /// Address.
        address: IpNet,
        /// As it was added.
        deprecated: bool,
    },
    /// Adds a route.
    AddRoute(RouteSpec),
    /// Removes it.
    RemoveRoute(RouteSpec),
    /// Adds a policy rule.
    AddRule(PolicyRule),
    /// Removes it.
    RemoveRule(PolicyRule),
}
