//! The user's rules that the kernel must look at one by one: those up to the last with `from`, `proto` or `port`.
//! Neighbours with the same answer form a run; a run has one priority, inside which order does not matter.

use std::collections::BTreeSet;

use ipnet::IpNet;
use mrvpn_router::{PortRange, Rule};

use super::{Answer, line};
use crate::limits::{MAX_COMBINATIONS, MAX_POLICY_RULES, MAX_RUNS};
use crate::plan::{Family, PlanError, PolicyRule, RuleAction};

/// Protocols that have ports: TCP, UDP, DCCP, SCTP (IANA protocol numbers).
const WITH_PORTS: [u8; 4] = [6, 17, 33, 132];

/// The rules of one family: those that need policy rules, then those that are prefixes alone.
#[derive(Clone, Debug)]
pub(crate) struct Split<'a> {
    pub(crate) selective: Vec<&'a Rule>,
    pub(crate) by_prefix: Vec<&'a Rule>,
}

/// Splits `rules` for one family: without those of the other family alone, and without what follows a rule that matches
/// everything, which no packet reaches.
pub(crate) fn split(rules: &[Rule], family: Family) -> Split<'_> {
    let mut selective: Vec<&Rule> = Vec::new();
    for rule in rules.iter().filter(|rule| reaches(rule, family)) {
        selective.push(rule);
        if matches_everything(rule, family) {
            break;
        }
    }
    let last = selective.iter().rposition(|rule| !by_prefix_alone(rule));
    let by_prefix = selective.split_off(last.map_or(0, |last| last + 1));
    Split { selective, by_prefix }
}

/// Where lines of the user's rules go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    /// The priority of the first run.
    pub(crate) first: u32,
    /// Where what is captured is looked up.
    pub(crate) table: u32,
    /// Where what is left alone goes on.
    pub(crate) nop: u32,
}

/// The policy rules of both families, IPv4 first.
///
/// # Errors
/// More than [`MAX_RUNS`] runs in a family, more than [`MAX_POLICY_RULES`] together.
pub(crate) fn policy_rules(rules: &[Rule], places: Places) -> Result<[Vec<PolicyRule>; 2], PlanError> {
    let split = [Family::V4, Family::V6].map(|family| (family, split(rules, family).selective));
    let combinations = |(family, rules): &(Family, Vec<&Rule>)| {
        let each = rules.iter().map(|rule| Lists::of(rule, *family).combinations());
        each.fold(0, usize::saturating_add)
    };
    let most = split.iter().map(combinations).fold(0, usize::saturating_add);
    if most > MAX_COMBINATIONS {
        return Err(PlanError::TooManyRules { rules: most });
    }
    let [(_, v4), (_, v6)] = &split;
    let lines = [of_family(v4, Family::V4, places)?, of_family(v6, Family::V6, places)?];
    check_number(lines.iter().map(Vec::len).sum())?;
    Ok(lines)
}

/// The policy rules for `rules` of one family.
fn of_family(rules: &[&Rule], family: Family, places: Places) -> Result<Vec<PolicyRule>, PlanError> {
    let runs: Vec<&[&Rule]> = rules.chunk_by(|one, next| Answer::of(one.via) == Answer::of(next.via)).collect();
    if runs.len() > MAX_RUNS {
        return Err(PlanError::TooManyRuns { runs: runs.len() });
    }
    let mut lines = Vec::new();
    for (priority, run) in (places.first..).zip(runs) {
        let expanded = |rule: &&Rule| Lists::of(rule, family).expand(&of_answer(rule, priority, family, places));
        let mut of_run: Vec<PolicyRule> = run.iter().flat_map(expanded).collect();
        of_run.sort();
        of_run.dedup();
        lines.extend(of_run);
    }
    Ok(lines)
}

/// # Errors
/// More than [`MAX_POLICY_RULES`].
const fn check_number(rules: usize) -> Result<(), PlanError> {
    if rules > MAX_POLICY_RULES { Err(PlanError::TooManyRules { rules }) } else { Ok(()) }
}

/// The line of a rule's answer, still without its match. What is left alone is not asked whether this host sends it: the
/// answer to a packet that went direct must pass the reverse path check of `rp_filter` 1.
fn of_answer(rule: &Rule, priority: u32, family: Family, places: Places) -> PolicyRule {
    match Answer::of(rule.via) {
        Answer::In => PolicyRule { local: true, ..line(priority, family, RuleAction::Lookup(places.table)) },
        Answer::Out => line(priority, family, RuleAction::Goto(places.nop)),
    }
}

/// What one rule lists, each once, with `None` for "any": a policy rule has one of each.
struct Lists {
    from: Vec<Option<IpNet>>,
    to: Vec<Option<IpNet>>,
    proto: Vec<Option<u8>>,
    port: Vec<Option<PortRange>>,
}

impl Lists {
    fn of(rule: &Rule, family: Family) -> Self {
        Self {
            from: nets(&rule.from, family),
            to: nets(&rule.to, family),
            proto: any_of(&protocols(rule)),
            port: any_of(&rule.port),
        }
    }

    fn combinations(&self) -> usize {
        let lengths = [self.from.len(), self.to.len(), self.proto.len(), self.port.len()];
        lengths.into_iter().fold(1, usize::saturating_mul)
    }

    /// Every combination.
    fn expand(&self, line: &PolicyRule) -> Vec<PolicyRule> {
        let mut lines = Vec::with_capacity(self.combinations());
        for &from in &self.from {
            for &to in &self.to {
                for &proto in &self.proto {
                    for &port in &self.port {
                        lines.push(PolicyRule { from, to, proto, port, ..line.clone() });
                    }
                }
            }
        }
        lines
    }
}

/// With ports a rule matches only protocols that have them.
fn protocols(rule: &Rule) -> Vec<u8> {
    match (rule.port.is_empty(), rule.proto.is_empty()) {
        (true, _) => rule.proto.clone(),
        (false, true) => WITH_PORTS.to_vec(),
        (false, false) => rule.proto.iter().copied().filter(|proto| WITH_PORTS.contains(proto)).collect(),
    }
}

/// Whether a packet of this family can match at all.
fn reaches(rule: &Rule, family: Family) -> bool {
    let some = |nets: &[IpNet]| nets.is_empty() || nets.iter().any(|net| family.has(net));
    let possible = rule.port.is_empty() || !protocols(rule).is_empty();
    some(&rule.to) && some(&rule.from) && possible
}

fn by_prefix_alone(rule: &Rule) -> bool {
    let selects = rule.from.iter().any(|net| net.prefix_len() > 0) || !rule.proto.is_empty() || !rule.port.is_empty();
    !selects
}

fn matches_everything(rule: &Rule, family: Family) -> bool {
    by_prefix_alone(rule) && (rule.to.is_empty() || rule.to.contains(&family.everything()))
}

/// `None` alone for an empty list, which matches anything; a prefix of length 0 does too.
fn nets(nets: &[IpNet], family: Family) -> Vec<Option<IpNet>> {
    if nets.is_empty() {
        return vec![None];
    }
    let own = nets.iter().filter(|net| family.has(net));
    each_once(own.map(|net| (net.prefix_len() > 0).then(|| net.trunc())))
}

fn any_of<T: Copy + Ord>(list: &[T]) -> Vec<Option<T>> {
    if list.is_empty() { vec![None] } else { each_once(list.iter().copied().map(Some)) }
}

fn each_once<T: Ord>(list: impl Iterator<Item = T>) -> Vec<T> {
    list.collect::<BTreeSet<T>>().into_iter().collect()
}
