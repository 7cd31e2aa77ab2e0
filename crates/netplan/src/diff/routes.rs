//! Routes of a table from one plan to another: the longest prefix is added first and removed last. A kernel has one route
//! a prefix and metric: one that differs in the rest is replaced. When the table changes is [`mod@crate::diff`]'s.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::plan::{RouteSpec, Step};

/// By what the kernel tells routes apart.
type Key = (u32, IpNet, u32);

/// Steps, first those that add, then those that remove.
pub(super) struct RouteSteps {
    pub(super) added: Vec<Step>,
    pub(super) removed: Vec<Step>,
}

impl RouteSteps {
    pub(super) fn between(old: &[&RouteSpec], new: &[&RouteSpec]) -> Self {
        let standing: BTreeMap<Key, &RouteSpec> = old.iter().map(|route| (key(route), *route)).collect();
        let wanted: BTreeSet<Key> = new.iter().map(|route| key(route)).collect();
        let mut added: Vec<(&RouteSpec, Option<&RouteSpec>)> = new
            .iter()
            .map(|route| (*route, standing.get(&key(route)).copied()))
            .filter(|(route, standing)| *standing != Some(route))
            .collect();
        // Within a prefix: the route before its twin, so that nothing is refused for a moment; what is replaced after
        // what is new, so that one of the two stands.
        added.sort_by_key(|(route, replaced)| {
            (Reverse(route.prefix.prefix_len()), route.prefix, replaced.is_some(), route.metric)
        });
        let mut removed: Vec<&RouteSpec> = old.iter().filter(|route| !wanted.contains(&key(route))).copied().collect();
        removed.sort_by_key(|route| (route.prefix.prefix_len(), route.prefix, Reverse(route.metric)));
        Self {
            added: added.into_iter().flat_map(|(route, replaced)| add(route, replaced)).collect(),
            removed: removed.into_iter().cloned().map(Step::RemoveRoute).collect(),
        }
    }
}

fn add(route: &RouteSpec, replaced: Option<&RouteSpec>) -> impl Iterator<Item = Step> {
    let removed = replaced.cloned().map(Step::RemoveRoute);
    removed.into_iter().chain(std::iter::once(Step::AddRoute(route.clone())))
}

fn key(route: &RouteSpec) -> Key {
    (route.table, route.prefix, route.metric)
}
