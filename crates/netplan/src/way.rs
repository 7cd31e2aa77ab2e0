//! The way of one packet through policy rules and routing tables, walked as Linux does: the one place where that is written
//! down. [`Plan::way`] asks what a plan would do, `model.rs` what stands on a host in memory. Which lines there are is
//! `capture.rs`'s; what the kernel keeps before any of ours, such as this host's own addresses, is not here.

use std::net::{IpAddr, Ipv4Addr};

use crate::plan::{Family, Plan, PolicyRule, RouteKind, RouteSpec, RuleAction};

/// What a routing decision looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Source; `None` where the program has not bound and none is chosen yet.
    pub from: Option<IpAddr>,
    /// Destination.
    pub to: IpAddr,
    /// IP protocol number.
    pub proto: u8,
    /// Destination port.
    pub port: Option<u16>,
    /// Firewall mark.
    pub mark: u32,
    /// Whether this host sends it; else it is forwarded.
    pub local: bool,
}

/// Where a packet goes, and by which line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way<'a> {
    /// A route of ours takes it: into the interface, or nowhere where that is gone.
    Taken(&'a RouteSpec),
    /// A policy rule lets it go past the others.
    LetOut(&'a PolicyRule),
    /// A `throw` of ours lets it go.
    Thrown(&'a RouteSpec),
    /// No line of ours is for it.
    Unmatched,
}

impl Way<'_> {
    /// Whether the engine gets it, or would if it ran.
    #[must_use]
    pub const fn is_captured(&self) -> bool {
        match self {
            Self::Taken(_) => true,
            Self::LetOut(_) | Self::Thrown(_) | Self::Unmatched => false,
        }
    }
}

impl Plan {
    /// Where a packet goes on a host on which this plan stands, and nothing of others before it.
    #[must_use]
    pub fn way(&self, probe: &Probe) -> Way<'_> {
        walk(&self.rules, self.routes.iter(), probe)
    }
}

/// Walks `rules`, which are sorted by priority, and looks up in `routes`.
pub(crate) fn walk<'a>(
    rules: &'a [PolicyRule],
    routes: impl Iterator<Item = &'a RouteSpec> + Clone,
    probe: &Probe,
) -> Way<'a> {
    let (mut from, mut way) = (0, Way::Unmatched);
    for rule in rules {
        if rule.priority < from || !matches(rule, probe) {
            continue;
        }
        match rule.action {
            RuleAction::Lookup(table) => match look_up(routes.clone(), table, probe.to) {
                Some(route) if route.kind == RouteKind::Throw => way = Way::Thrown(route),
                Some(route) => return Way::Taken(route),
                None => {}
            },
            // Linux passes over a goto whose target is not there.
            RuleAction::Goto(target) if has_rule_at(rules, target, rule.family) => {
                (from, way) = (target, Way::LetOut(rule));
            }
            RuleAction::Goto(_) | RuleAction::Nop => {}
        }
    }
    way
}

/// Longest prefix, then lowest metric.
fn look_up<'a>(routes: impl Iterator<Item = &'a RouteSpec>, table: u32, to: IpAddr) -> Option<&'a RouteSpec> {
    let fits = routes.filter(|route| route.table == table && route.prefix.contains(&to));
    fits.max_by_key(|route| (route.prefix.prefix_len(), std::cmp::Reverse(route.metric)))
}

fn has_rule_at(rules: &[PolicyRule], priority: u32, family: Family) -> bool {
    rules.iter().any(|rule| rule.priority == priority && rule.family == family)
}

fn matches(rule: &PolicyRule, probe: &Probe) -> bool {
    let family = if probe.to.is_ipv4() { Family::V4 } else { Family::V6 };
    rule.family == family
        && (!rule.local || probe.local)
        && rule.from.is_none_or(|net| source(probe).is_some_and(|from| net.contains(&from)))
        && rule.to.is_none_or(|net| net.contains(&probe.to))
        && rule.proto.is_none_or(|proto| proto == probe.proto)
        && rule.port.is_none_or(|range| probe.port.is_some_and(|port| (range.first..=range.last).contains(&port)))
        && rule.mark.is_none_or(|(mark, mask)| probe.mark & mask == mark)
}

/// What is compared with `from`: an IPv4 lookup without a source has 0.0.0.0, an IPv6 lookup has none.
fn source(probe: &Probe) -> Option<IpAddr> {
    probe.from.or_else(|| probe.to.is_ipv4().then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
}
