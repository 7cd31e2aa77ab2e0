//! Capture: which packets the host hands to the engine, compiled once to policy rules and routes in tables of our own.
//! It asks *in or out* and nothing else; which tunnel a captured packet takes is the router's `pick`, which goes through
//! the same order (design, section 4). The user's rules up to the last one with `from`, `proto` or `port` become policy
//! rules (`runs.rs`); later ones are prefixes alone and become routes beside the claims (`table.rs`).
//!
//! The lines, at priorities from P (5300):
//!
//! ```text
//! P      fwmark MARK goto P+99        the engine's own sockets
//! P+4    to POOLS lookup ALL          our own and virtual addresses
//! P+5    from SOURCE lookup ALL       anchor and bind (a line for all), presented: always, forwarded ones too
//! P+6    from OTHERS goto P+99        addresses of engines beside this one
//! P+6    to BYPASS goto P+99          outer addresses of local wrappers
//! P+10.. the user's rules, in runs    in: `iif lo lookup ALL`; out: `goto P+99`
//! P+29   DHCP goto P+99               only where the LAN is blocked
//! P+30   iif lo lookup CLAIMS         claims, default; the LAN, `net_gateway` routes, other engines' pools and claims as `throw`
//! P+99   nop                          rules of others and `main` follow
//! ```
//!
//! What lets out has no `iif lo`: the answer to a packet that went direct must pass the reverse path check of
//! `rp_filter` 1, which asks for a packet that no program sends.

use std::collections::BTreeSet;

use ipnet::IpNet;
use mrvpn_router::{Claim, Defaults, PortRange, Rule, Target};

use crate::address_book::AddressBook;
use crate::firewall::FourTuple;
use crate::host::HostFacts;
use crate::limits::MAX_BYPASS;
use crate::plan::{Family, PlanError, PolicyRule, RouteKind, RouteSpec, RuleAction};
use crate::scope::Scope;

pub(crate) mod fenced; // the same as lists for a firewall
pub(crate) mod runs; // the user's rules that need policy rules
pub(crate) mod table; // the table CLAIMS

/// Metric of a route into the device; lower than every other of ours.
pub const METRIC_DEVICE: u32 = 1024;
/// Metric of a `throw`: a route into the device of the same prefix wins while one replaces the other.
pub const METRIC_THROW: u32 = 2048;
/// Metric of the `unreachable` twin under each route into the device, the highest that nothing else uses (as tried in
/// threats-and-faults, fail-closed routing): what stays when the device is gone.
pub const METRIC_UNREACHABLE: u32 = 4_278_198_272;

/// 1,428 bytes: what is left of a path of 1,500 behind the outer headers over IPv6 (40, UDP 8, data channel 24). Linux
/// keeps what "packet too big" says with the route of the *bound* source (ALL), where an unbound socket that was routed by
/// CLAIMS never looks again, so an unbound sender must fit from the beginning. IPv4 packets are fragmented by the engine.
pub const ROUTE_MTU_V6: u16 = 1_428;

/// How many priorities an engine has.
pub const PRIORITIES: u32 = 100;
/// Where among them the line is that looks the claims up.
pub const CLAIMS_OFFSET: u32 = 30;

/// Where among the priorities the lines of [`PlanInput::bypass`] are, and those of other engines' addresses: behind those of
/// our own addresses.
const BYPASS_OFFSET: u32 = 6;
/// Destination ports of DHCP and DHCPv6 servers.
const DHCP_PORTS: [(Family, u16); 2] = [(Family::V4, 67), (Family::V6, 547)];
/// IP protocol number of UDP.
const UDP: u8 = 17;

/// Everything that capture and the plan follow from.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// Whose plan it is: the device, the priorities from P on, the tables.
    pub scope: &'a Scope,
    /// Mark and mask of the engine's own sockets.
    pub mark: (u32, u32),
    /// Addresses.
    pub book: &'a AddressBook,
    /// The user's rules, in the order of the file.
    pub rules: &'a [Rule],
    /// What stands of all tunnels' claims ([`crate::effective`]).
    pub claims: &'a [Claim],
    /// The default, a family.
    pub defaults: Defaults,
    /// What the host looks like.
    pub facts: &'a HostFacts,
    /// Whether on-link private networks are left alone.
    pub lan_allowed: bool,
    /// Connections that came in and stood before anything was captured.
    pub inbound: &'a [FourTuple],
    /// What is left to the host whatever the rules say: outer addresses of local wrappers (`bypass`). Packets from an
    /// address of ours are captured all the same.
    pub bypass: &'a [IpNet],
    /// What files leave to the host beside the claims ([`crate::left_to_host`]): the longest prefix decides. Of equal
    /// ones the user's stands above a server's: a rule or a route of a profile captures, what was pushed does not. They
    /// are no bypass, since some files say "everything but my tunnel" with four of them.
    pub outside: &'a [IpNet],
}

/// Whether a packet goes to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Captured: through a tunnel, or refused by the engine.
    In,
    /// Left to the host.
    Out,
}

impl Answer {
    pub(crate) const fn of(target: Target) -> Self {
        match target {
            Target::Tunnel(_) | Target::Block => Self::In,
            Target::Direct => Self::Out,
        }
    }
}

/// The lines of both families.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capture {
    pub(crate) routes: Vec<RouteSpec>,
    pub(crate) rules: Vec<PolicyRule>,
}

impl PlanInput<'_> {
    fn at(&self, offset: u32) -> u32 {
        self.scope.rule_priority.saturating_add(offset)
    }
}

/// Compiles the lines.
///
/// # Errors
/// The rules need more runs or policy rules than there is room for, or too much is bypassed.
pub(crate) fn compile(input: &PlanInput<'_>) -> Result<Capture, PlanError> {
    check_bypass(input.bypass)?;
    let scope = input.scope;
    let places = runs::Places { first: input.at(10), table: scope.table_all(), nop: scope.nop() };
    let mut capture = Capture { rules: runs::policy_rules(input.rules, places)?.concat(), routes: Vec::new() };
    for family in [Family::V4, Family::V6] {
        capture.rules.extend(frame(input, family));
        capture.routes.extend(everything(input, family));
        capture.routes.extend(table::claims_table(input, family, &runs::split(input.rules, family).by_prefix));
    }
    Ok(capture)
}

/// Whether the user's rules can be captured beside what is bypassed, whatever else is: for who judges a file without a
/// host.
///
/// # Errors
/// They need more runs or policy rules than there is room for.
pub fn can_be_captured(rules: &[Rule], bypass: &[IpNet]) -> Result<(), PlanError> {
    check_bypass(bypass)?;
    runs::policy_rules(rules, runs::Places { first: 0, table: 0, nop: 0 }).map(|_| ())
}

fn check_bypass(bypass: &[IpNet]) -> Result<(), PlanError> {
    let bypass = bypass.iter().map(IpNet::trunc).collect::<BTreeSet<_>>().len();
    if bypass > MAX_BYPASS { Err(PlanError::TooManyBypasses { bypass }) } else { Ok(()) }
}

/// The lines that are there whatever the user's rules are.
fn frame(input: &PlanInput<'_>, family: Family) -> Vec<PolicyRule> {
    let all = RuleAction::Lookup(input.scope.table_all());
    let leave = RuleAction::Goto(input.scope.nop());
    let mut lines = vec![
        PolicyRule { mark: Some(input.mark), ..line(input.at(0), family, leave) },
        PolicyRule {
            local: true,
            ..line(input.at(CLAIMS_OFFSET), family, RuleAction::Lookup(input.scope.table_claims()))
        },
        line(input.scope.nop(), family, RuleAction::Nop),
    ];
    let to = input.book.pools().networks().into_iter().filter(|net| family.has(net));
    lines.extend(to.map(|net| PolicyRule { to: Some(net), ..line(input.at(4), family, all) }));
    let from = sources(input.book).into_iter().filter(|net| family.has(net));
    lines.extend(from.map(|net| PolicyRule { from: Some(net), ..line(input.at(5), family, all) }));
    let bypass: BTreeSet<IpNet> = input.bypass.iter().map(IpNet::trunc).filter(|net| family.has(net)).collect();
    lines.extend(
        bypass.into_iter().map(|net| PolicyRule { to: Some(net), ..line(input.at(BYPASS_OFFSET), family, leave) }),
    );
    lines.extend(
        sources_beside(input, family)
            .into_iter()
            .map(|net| PolicyRule { from: Some(net), ..line(input.at(BYPASS_OFFSET), family, leave) }),
    );
    if !input.lan_allowed {
        lines.extend(dhcp_port(family).map(|port| PolicyRule {
            local: true,
            proto: Some(UDP),
            port: Some(PortRange { first: port, last: port }),
            ..line(input.at(29), family, leave)
        }));
    }
    lines
}

/// Sources whose packets are always captured: where anchor and bind addresses lie, and the presented addresses of servers.
/// The engine's own address is among them, and on no interface.
fn sources(book: &AddressBook) -> Vec<IpNet> {
    let single = book.pools().of_single();
    let elsewhere = |address: &IpNet| !single.iter().any(|net| net.contains(address));
    single.into_iter().chain(book.interface_addresses().into_iter().filter(elsewhere)).collect()
}

/// What is bound to an address of an engine beside this one is that engine's, whatever is claimed here. Where both have the
/// same address, the line before this one has taken it.
fn sources_beside(input: &PlanInput<'_>, family: Family) -> BTreeSet<IpNet> {
    let sources = input.facts.engines.iter().flat_map(|engine| &engine.sources);
    sources.map(|address| IpNet::from(*address)).filter(|net| family.has(net)).collect()
}

fn dhcp_port(family: Family) -> Option<u16> {
    DHCP_PORTS.into_iter().find(|(of, _)| *of == family).map(|(_, port)| port)
}

/// Table ALL: a default route into the device, and what stays without it.
fn everything(input: &PlanInput<'_>, family: Family) -> [RouteSpec; 2] {
    into_device(&input.scope.device, input.scope.table_all(), family.everything())
}

/// A route into the device with its `unreachable` twin.
pub(crate) fn into_device(device: &str, table: u32, prefix: IpNet) -> [RouteSpec; 2] {
    let kind = RouteKind::Device(String::from(device));
    let mtu = matches!(prefix, IpNet::V6(_)).then_some(ROUTE_MTU_V6);
    [
        RouteSpec { table, prefix, kind, metric: METRIC_DEVICE, mtu },
        RouteSpec { table, prefix, kind: RouteKind::Unreachable, metric: METRIC_UNREACHABLE, mtu: None },
    ]
}

/// A policy rule without any match.
pub(crate) const fn line(priority: u32, family: Family, action: RuleAction) -> PolicyRule {
    PolicyRule { priority, family, local: false, from: None, to: None, proto: None, port: None, mark: None, action }
}
