//! The steps from one plan to another, in an order in which each packet is treated as before or as after the change at
//! every moment between: what both plans capture is never let go, what neither captures is never taken, and the engine's
//! own sockets never enter the device. The first plan is what was read from the host, so that the same steps repair what
//! others took away, take over what a killed engine left half made, and tear down. How steps are carried out is `host`'s.
//!
//! Why the order is enough. What decides about a packet is a list: policy rules by priority, and in a table the longest
//! prefix, then the lowest metric. The first match decides. New lines are added *first match first* (lowest priority,
//! longest prefix), old ones removed *last match first*. While lines are added, all old ones stand; so the first match is
//! the old one, or a new one before it, and the first new one to be added that matches is the one that decides in the end.
//! While lines are removed it is the same, read backwards. The table of claims is one line of the list: it changes after
//! the new policy rules have been added and before the old ones are removed, so that a packet that goes from a rule to a
//! claim or back is held by one of them throughout.
//!
//! Where a moment of refusal cannot be avoided it is taken in place of a moment in clear: a route that only differs in
//! device or MTU is replaced while its `unreachable` twin stands.
//!
//! The fence of the firewall refuses what the lines capture. It is loosened before they change, to what both plans refuse,
//! and tightened after, so that it never refuses what they let go.

mod addresses; // those of the interface, the first one first
mod firewall; // loosened first, tightened last
mod routes; // of one table
mod rules; // policy rules, by what they are for

use crate::plan::{Plan, RouteSpec, Step};
use addresses::AddressSteps;
use firewall::FirewallSteps;
use routes::RouteSteps;
use rules::RuleSteps;

/// The steps that make `to` of `from`, which may be any part of any plan of the same scope. Empty when nothing changes;
/// what did not change is not touched.
#[must_use]
pub fn diff(from: &Plan, to: &Plan) -> Vec<Step> {
    let rules = RuleSteps::between(from, to);
    let claims = to.scope.table_claims();
    let all = routes_of(from, to, |route| route.table != claims);
    let table = routes_of(from, to, |route| route.table == claims);
    let addresses = AddressSteps::between(from, to);
    let firewall = FirewallSteps::between(from, to);
    let parts = [
        held(from, to),
        firewall.first,
        rules.useless,
        rules.frame_added,
        all.added,
        rules.ours_added,
        addresses.added,
        rules.users_added,
        rules.claims_removed,
        table.added,
        table.removed,
        rules.claims_added,
        rules.users_removed,
        addresses.removed,
        rules.ours_removed,
        all.removed,
        rules.frame_removed,
        firewall.last,
        released(from, to),
    ];
    parts.into_iter().flatten().collect()
}

fn routes_of(from: &Plan, to: &Plan, of: impl Fn(&&RouteSpec) -> bool) -> RouteSteps {
    let old: Vec<&RouteSpec> = from.routes.iter().filter(&of).collect();
    let new: Vec<&RouteSpec> = to.routes.iter().filter(&of).collect();
    RouteSteps::between(&old, &new)
}

/// Settings, before anything is captured that hangs on them.
fn held(from: &Plan, to: &Plan) -> Vec<Step> {
    let held = to.settings.iter().filter(|setting| !from.settings.contains(setting));
    held.copied().map(Step::HoldSetting).collect()
}

/// Those that are not needed any more, once nothing hangs on them.
fn released(from: &Plan, to: &Plan) -> Vec<Step> {
    let settings = from.settings.iter().filter(|setting| !to.settings.contains(setting));
    settings.copied().map(Step::ReleaseSetting).collect()
}
