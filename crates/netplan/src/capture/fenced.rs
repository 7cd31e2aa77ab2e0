//! Capture as a [`Fence`]: the same policy rules and the same table, in the same order, as lists for a firewall. Neighbours
//! of one priority that differ in one prefix alone become one line. In front stand the policy rules of others that come
//! before ours: what they send on its way is theirs.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::Capture;
use crate::fence::{Fence, FenceLine};
use crate::host::{ForeignRule, ForeignWay};
use crate::limits::MAX_FOREIGN_LINES;
use crate::plan::{PolicyRule, RouteKind, RuleAction};
use crate::scope::Scope;
use crate::spans::Spans;

/// What is refused by other interfaces where `capture`, sorted, stands: nothing, where what others take before us may be anything.
pub(crate) fn fence(scope: &Scope, capture: &Capture, foreign: &[ForeignRule]) -> Fence {
    let Some(mut lines) = of_others(scope, foreign) else { return Fence::default() };
    let (sources, rules): (Vec<PolicyRule>, Vec<PolicyRule>) =
        capture.rules.iter().cloned().partition(|rule| is_source(scope, rule));
    lines.extend(of_ours(scope, &rules));
    let sources = Spans::of(sources.iter().filter_map(|rule| rule.from));
    Fence { sources, lines, held: held(scope, capture) }
}

/// The table CLAIMS.
fn held(scope: &Scope, capture: &Capture) -> Spans {
    let routes = capture.routes.iter().filter(|route| route.table == scope.table_claims());
    // Each route into the device has an `unreachable` twin, which says the same.
    Spans::of_longest(routes.filter_map(|route| match route.kind {
        RouteKind::Device(_) => Some((route.prefix, true)),
        RouteKind::Throw => Some((route.prefix, false)),
        RouteKind::Unreachable => None,
    }))
}

/// A line that captures what comes from an address of ours, whoever sends it.
fn is_source(scope: &Scope, rule: &PolicyRule) -> bool {
    rule.from.is_some() && !rule.local && rule.action == RuleAction::Lookup(scope.table_all())
}

/// Policy rules as lines, those of one priority joined.
fn of_ours(scope: &Scope, rules: &[PolicyRule]) -> Vec<FenceLine> {
    let told = rules.iter().filter(|rule| is_told(scope, rule));
    let told: Vec<PolicyRule> = told.map(|rule| PolicyRule { from: seen(rule.from), ..rule.clone() }).collect();
    let mut runs: Vec<Vec<Joined<'_>>> = Vec::new();
    for of_run in told.chunk_by(|one, next| one.priority == next.priority) {
        let mut run: Vec<Joined<'_>> = Vec::new();
        for rule in of_run {
            match run.iter_mut().rev().find(|joined| joined.takes(rule)) {
                Some(joined) => joined.take(rule),
                None => run.push(Joined::of(rule)),
            }
        }
        runs.push(run);
    }
    let refuses = |rule: &PolicyRule| rule.action == RuleAction::Lookup(scope.table_all());
    runs.into_iter().flatten().map(|joined| joined.line(refuses)).collect()
}

/// Marked sockets are never asked, the table of claims stands behind all lines; a line of the user's that captures by
/// source does not hold who has not bound, and on its way out that cannot be seen.
fn is_told(scope: &Scope, rule: &PolicyRule) -> bool {
    match rule.action {
        RuleAction::Lookup(table) => table == scope.table_all() && rule.from.is_none(),
        RuleAction::Goto(_) => rule.mark.is_none(),
        RuleAction::Nop => false,
    }
}

/// A source that can be looked for. Where it takes in 0.0.0.0 the kernel takes it for that of who has not bound.
fn seen(from: Option<IpNet>) -> Option<IpNet> {
    from.filter(|net| !net.contains(&IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
}

/// Rules that differ in the destination alone, or in the source where they have no destination.
struct Joined<'a> {
    first: &'a PolicyRule,
    from: Vec<IpNet>,
    to: Vec<IpNet>,
}

impl<'a> Joined<'a> {
    fn of(rule: &'a PolicyRule) -> Self {
        Self { first: rule, from: rule.from.into_iter().collect(), to: rule.to.into_iter().collect() }
    }

    fn takes(&self, rule: &PolicyRule) -> bool {
        let first = self.first;
        let rest = |rule: &PolicyRule| (rule.family, rule.proto, rule.port, rule.action);
        let by_destination = rule.to.is_some() && first.to.is_some() && rule.from == first.from;
        let by_source = [rule, first].iter().all(|one| one.to.is_none() && one.from.is_some());
        rest(rule) == rest(first) && (by_destination || by_source)
    }

    fn take(&mut self, rule: &PolicyRule) {
        if rule.to.is_some() {
            self.to.extend(rule.to);
        } else {
            self.from.extend(rule.from);
        }
    }

    fn line(self, refuses: impl Fn(&PolicyRule) -> bool) -> FenceLine {
        let Self { first, from, to } = self;
        let spans = |nets: Vec<IpNet>| (!nets.is_empty()).then(|| Spans::of(nets));
        FenceLine {
            family: first.family,
            from: spans(from),
            to: spans(to),
            proto: first.proto,
            port: first.port,
            mark: None,
            device: None,
            refuses: refuses(first),
        }
    }
}

/// What policy rules of others before ours take; `None` where that may be anything.
fn of_others(scope: &Scope, foreign: &[ForeignRule]) -> Option<Vec<FenceLine>> {
    let before = foreign.iter().filter(|rule| rule.priority < scope.rule_priority);
    let mut lines = Vec::new();
    for rule in before {
        match &rule.way {
            // Whoever has such a mark or source is led elsewhere, wherever that is by now.
            ForeignWay::Anywhere | ForeignWay::Routes(_) if selects(rule) => lines.push(line_of(rule)),
            ForeignWay::Anywhere => return None,
            ForeignWay::Routes(routes) => lines.extend(by_routes(rule, routes)),
        }
    }
    (lines.len() <= MAX_FOREIGN_LINES).then_some(lines)
}

/// Whether it asks for something that a packet has, and not for its way alone.
const fn selects(rule: &ForeignRule) -> bool {
    rule.from.is_some() || rule.to.is_some() || rule.proto.is_some() || rule.port.is_some() || rule.mark.is_some()
}

fn line_of(rule: &ForeignRule) -> FenceLine {
    let spans = |net: Option<IpNet>| net.map(|net| Spans::of([net]));
    FenceLine {
        family: rule.family,
        from: spans(seen(rule.from)),
        to: spans(rule.to),
        proto: rule.proto,
        port: rule.port,
        mark: rule.mark,
        device: None,
        refuses: false,
    }
}

/// A line an interface that its table leads to.
fn by_routes(rule: &ForeignRule, routes: &[(IpNet, String)]) -> Vec<FenceLine> {
    let mut devices: Vec<&String> = routes.iter().map(|(_, device)| device).collect();
    devices.sort();
    devices.dedup();
    let led = |device: &String| Spans::of(routes.iter().filter(|(_, name)| name == device).map(|(net, _)| *net));
    let line = |device: &String| FenceLine { to: Some(led(device)), device: Some(device.clone()), ..line_of(rule) };
    devices.into_iter().map(line).collect()
}
