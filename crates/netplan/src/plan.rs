//! What should exist on the host, and the steps that lead there. Values with a version: a journal holds exactly these.
//! The order of steps is in [`mod@crate::diff`], what they do is the host's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use mrvpn_router::PortRange;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::capture::{self, Capture, PlanInput, fenced};
use crate::firewall::{Firewall, Setting};
use crate::limits::{MAX_BYPASS, MAX_POLICY_RULES, MAX_RUNS};
use crate::offload_set::OffloadSet;
use crate::scope::Scope;

/// Version of [`Plan`] and [`Step`] as written to a journal.
pub const PLAN_VERSION: u32 = 2;

/// Everything of ours that should exist on the host, but for the device itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_VERSION`] of the program that made it.
    pub version: u32,
    /// Whose it is.
    pub scope: Scope,
    /// Kernel settings that it needs, sorted.
    pub settings: Vec<Setting>,
    /// nftables tables.
    pub firewall: Option<Firewall>,
    /// Addresses of the interface, in order: the first one is the source of programs that do not bind.
    pub addresses: Vec<PlannedAddress>,
    /// Routes in tables of ours, sorted.
    pub routes: Vec<RouteSpec>,
    /// Policy rules, sorted.
    pub rules: Vec<PolicyRule>,
}

/// An address of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlannedAddress {
    /// With prefix length as on the host.
    pub address: IpNet,
    /// Preferred lifetime 0: used only by who binds to it. IPv6 addresses of tunnels (design, decision 4).
    pub deprecated: bool,
}

/// The user's rules cannot be made into policy rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// More alternations than there are priorities.
    #[error(
        "the rules change {runs} times between `direct` and a tunnel or `block`, at most {MAX_RUNS} are possible before the last rule with `from`, `proto` or `port`; put rules with `to` alone after it, and rules with the same answer beside each other"
    )]
    TooManyRuns {
        /// How many there are.
        runs: usize,
    },
    /// More combinations than the kernel should walk for each lookup.
    #[error(
        "the rules with `from`, `proto` or `port` and those before them make {rules} policy rules, at most {MAX_POLICY_RULES} are possible; put rules with `to` alone after the last of these, or join prefixes and ports"
    )]
    TooManyRules {
        /// How many there are.
        rules: usize,
    },
    /// More prefixes under `bypass` than the kernel should walk for each lookup.
    #[error(
        "the tunnels together name {bypass} networks under `bypass`, at most {MAX_BYPASS} are possible; join them into wider ones"
    )]
    TooManyBypasses {
        /// How many there are.
        bypass: usize,
    },
}

/// What should exist.
///
/// # Errors
/// The user's rules, or what is bypassed, need more policy rules than there is room for.
pub fn plan(input: &PlanInput<'_>) -> Result<Plan, PlanError> {
    let mut capture = capture::compile(input)?;
    capture.routes.sort();
    capture.routes.dedup();
    capture.rules.sort();
    capture.rules.dedup();
    let presented = |address: IpNet| {
        let deprecated = input.book.is_deprecated(address.addr());
        PlannedAddress { address, deprecated }
    };
    Ok(Plan {
        version: PLAN_VERSION,
        scope: input.scope.clone(),
        settings: input.facts.strict_reverse_path.then_some(Setting::SourceValidMark).into_iter().collect(),
        firewall: Some(firewall(input, &capture)),
        addresses: input.book.interface_addresses().into_iter().map(presented).collect(),
        routes: capture.routes,
        rules: capture.rules,
    })
}

fn firewall(input: &PlanInput<'_>, capture: &Capture) -> Firewall {
    let mut addresses: Vec<IpAddr> = input.book.interface_addresses().iter().map(IpNet::addr).collect();
    addresses.sort();
    let mut others: Vec<String> = input.facts.engines.iter().filter_map(|engine| engine.device.clone()).collect();
    others.sort();
    Firewall {
        table: input.scope.firewall.clone(),
        device: input.scope.device.clone(),
        others,
        mark: input.mark,
        addresses,
        inbound: input.inbound.to_vec(),
        fence: fenced::fence(input.scope, capture, &input.facts.foreign_rules),
    }
}

impl Plan {
    /// The plan of a host on which nothing of `scope` exists.
    #[must_use]
    pub fn empty(scope: &Scope) -> Self {
        Self {
            version: PLAN_VERSION,
            scope: scope.clone(),
            settings: Vec::new(),
            firewall: None,
            addresses: Vec::new(),
            routes: Vec::new(),
            rules: Vec::new(),
        }
    }
}

/// A TUN device to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// Name, 15 bytes at most.
    pub name: String,
    /// MTU in bytes; 1500 always (design, decision 11).
    pub mtu: u16,
    /// Number of queues, one a lane.
    pub queues: u16,
    /// Which of the queue's offloads are asked for; less than all only to prove that nothing depends on them.
    pub offload: OffloadSet,
    /// It stays when its engine is killed, so that what is routed into it goes nowhere else.
    pub persistent: bool,
}

/// Address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Whether `net` is of this family.
    #[must_use]
    pub const fn has(self, net: &IpNet) -> bool {
        matches!((self, net), (Self::V4, IpNet::V4(_)) | (Self::V6, IpNet::V6(_)))
    }

    /// The family of `net`.
    #[must_use]
    pub const fn of(net: &IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }

    /// The prefix of length 0.
    #[must_use]
    pub const fn everything(self) -> IpNet {
        match self {
            Self::V4 => IpNet::new_assert(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            Self::V6 => IpNet::new_assert(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
        }
    }
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
    /// Largest packet in bytes that is sent this way, where it is less than the device's.
    pub mtu: Option<u16>,
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
    /// Replaces nftables tables by others, at once: `None` is none.
    SetFirewall {
        /// What stood before.
        from: Option<Box<Firewall>>,
        /// What stands after.
        to: Option<Box<Firewall>>,
    },
    /// Makes a kernel setting what is needed.
    HoldSetting(Setting),
    /// Makes it what it was, unless another engine holds it or someone else has changed it since.
    ReleaseSetting(Setting),
}

impl Step {
    /// The step that takes this one back.
    #[must_use]
    pub fn undo(&self) -> Self {
        match self.clone() {
            Self::AddAddress { device, address, deprecated } => Self::RemoveAddress { device, address, deprecated },
            Self::RemoveAddress { device, address, deprecated } => Self::AddAddress { device, address, deprecated },
            Self::AddRoute(route) => Self::RemoveRoute(route),
            Self::RemoveRoute(route) => Self::AddRoute(route),
            Self::AddRule(rule) => Self::RemoveRule(rule),
            Self::RemoveRule(rule) => Self::AddRule(rule),
            Self::SetFirewall { from, to } => Self::SetFirewall { from: to, to: from },
            Self::HoldSetting(setting) => Self::ReleaseSetting(setting),
            Self::ReleaseSetting(setting) => Self::HoldSetting(setting),
        }
    }
}
