//! The steps from one plan to another, in an order in which nothing that both plans capture is left to the host for a
//! moment, and the engine's own sockets never enter the device.
//!
//! Why the order is enough: lookups go through places in a fixed order (priorities, then longest prefix, then metric).
//! A packet that both plans capture meets a line that captures it before any that lets it go, in each of them. So lines
//! that capture are added before lines that let go, and removed after them: at each moment the first of the two
//! capturing lines stands before every line that lets go. Where nothing is captured yet the exceptions come first
//! instead, and the line that looks the claims up last, so that the LAN is never captured for a moment.

use std::collections::BTreeSet;

use crate::capture::METRIC_DEVICE;
use crate::plan::{Plan, PlannedAddress, PolicyRule, RouteKind, RouteSpec, RuleAction, Step};

/// The steps that make `to` of `from`. Empty when nothing changes; what did not change is not touched.
#[must_use]
pub fn diff(from: &Plan, to: &Plan) -> Vec<Step> {
    if from.rules.is_empty() {
        return build(from, to);
    }
    if to.rules.is_empty() {
        return build(to, from).iter().rev().map(Step::undo).collect();
    }
    change(from, to)
}

/// From nothing captured: everything is prepared, then switched on.
fn build(from: &Plan, to: &Plan) -> Vec<Step> {
    let mut steps = surroundings(from, to);
    steps.extend(removals(from, to));
    let new = Difference::between(from, to);
    steps.extend(new.rules(is_frame));
    steps.extend(new.routes(|_| true));
    steps.extend(new.rules(is_always_in));
    steps.extend(new.addresses());
    steps.extend(new.rules(|rule| is_out(rule) && !is_frame(rule)));
    steps.extend(new.rules(|rule| is_in(rule) && !is_always_in(rule)));
    steps
}

/// From one capture to another: make before break.
fn change(from: &Plan, to: &Plan) -> Vec<Step> {
    let new = Difference::between(from, to);
    let mut steps = surroundings(from, to);
    steps.extend(new.rules(is_frame));
    steps.extend(new.rules(is_always_in));
    steps.extend(new.addresses());
    steps.extend(new.routes(|route| route.metric == METRIC_DEVICE));
    steps.extend(new.routes(|route| route.kind == RouteKind::Unreachable));
    steps.extend(new.rules(|rule| is_in(rule) && !is_always_in(rule)));
    steps.extend(new.routes(|route| route.kind == RouteKind::Throw));
    steps.extend(new.rules(|rule| is_out(rule) && !is_frame(rule)));
    steps.extend(removals(from, to));
    steps.extend(released(from, to));
    steps
}

/// Settings and firewall: before anything is captured that hangs on them.
fn surroundings(from: &Plan, to: &Plan) -> Vec<Step> {
    let held = to.settings.iter().filter(|setting| !from.settings.contains(setting));
    let mut steps: Vec<Step> = held.copied().map(Step::HoldSetting).collect();
    if to.firewall.is_some() && from.firewall != to.firewall {
        let boxed = |plan: &Plan| plan.firewall.clone().map(Box::new);
        steps.push(Step::SetFirewall { from: boxed(from), to: boxed(to) });
    }
    steps
}

/// The same that is not needed any more, once nothing hangs on it.
fn released(from: &Plan, to: &Plan) -> Vec<Step> {
    let gone = from.firewall.as_ref().filter(|_| to.firewall.is_none());
    let gone = gone.map(|firewall| Step::SetFirewall { from: Some(Box::new(firewall.clone())), to: None });
    let settings = from.settings.iter().filter(|setting| !to.settings.contains(setting));
    gone.into_iter().chain(settings.copied().map(Step::ReleaseSetting)).collect()
}

/// What `from` has and `to` has not: taken away in the reverse order. A twin goes before its route into the device, or
/// what a wider route still captures would be refused for a moment.
fn removals(from: &Plan, to: &Plan) -> Vec<Step> {
    let old = Difference::between(to, from);
    let mut steps = old.rules(is_frame);
    steps.extend(old.rules(is_always_in));
    steps.extend(old.addresses());
    steps.extend(old.routes(|route| route.metric == METRIC_DEVICE));
    steps.extend(old.routes(|route| route.kind == RouteKind::Unreachable));
    steps.extend(old.rules(|rule| is_in(rule) && !is_always_in(rule)));
    steps.extend(old.routes(|route| route.kind == RouteKind::Throw));
    steps.extend(old.rules(|rule| is_out(rule) && !is_frame(rule)));
    steps.iter().rev().map(Step::undo).collect()
}

/// What one plan has beyond another, as steps that add it.
struct Difference<'a> {
    device: &'a str,
    addresses: Vec<PlannedAddress>,
    routes: Vec<&'a RouteSpec>,
    rules: Vec<&'a PolicyRule>,
}

impl<'a> Difference<'a> {
    fn between(without: &Plan, with: &'a Plan) -> Self {
        let same_device = without.scope.device == with.scope.device;
        let addresses: BTreeSet<_> = without.addresses.iter().filter(|_| same_device).collect();
        let routes: BTreeSet<_> = without.routes.iter().collect();
        let rules: BTreeSet<_> = without.rules.iter().collect();
        Self {
            device: &with.scope.device,
            addresses: with.addresses.iter().filter(|address| !addresses.contains(address)).copied().collect(),
            routes: with.routes.iter().filter(|route| !routes.contains(route)).collect(),
            rules: with.rules.iter().filter(|rule| !rules.contains(rule)).collect(),
        }
    }

    fn addresses(&self) -> Vec<Step> {
        let add = |planned: &PlannedAddress| Step::AddAddress {
            device: String::from(self.device),
            address: planned.address,
            deprecated: planned.deprecated,
        };
        self.addresses.iter().map(add).collect()
    }

    fn routes(&self, wanted: impl Fn(&RouteSpec) -> bool) -> Vec<Step> {
        self.routes.iter().filter(|route| wanted(route)).map(|route| Step::AddRoute((*route).clone())).collect()
    }

    /// A `nop` comes before the lines that go to it: the kernel passes over a `goto` whose target is not there.
    fn rules(&self, wanted: impl Fn(&PolicyRule) -> bool) -> Vec<Step> {
        let mut rules: Vec<&PolicyRule> = self.rules.iter().filter(|rule| wanted(rule)).copied().collect();
        rules.sort_by_key(|rule| rule.action != RuleAction::Nop);
        rules.into_iter().map(|rule| Step::AddRule(rule.clone())).collect()
    }
}

/// The `nop` and the way of the engine's own sockets to it: there before anything is captured, gone after.
fn is_frame(rule: &PolicyRule) -> bool {
    rule.action == RuleAction::Nop || rule.mark.is_some()
}

/// Captured whoever sends it: from or to addresses of ours.
fn is_always_in(rule: &PolicyRule) -> bool {
    is_in(rule) && !rule.local
}

fn is_in(rule: &PolicyRule) -> bool {
    matches!(rule.action, RuleAction::Lookup(_))
}

fn is_out(rule: &PolicyRule) -> bool {
    matches!(rule.action, RuleAction::Goto(_) | RuleAction::Nop)
}
