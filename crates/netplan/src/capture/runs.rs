//! The user's rules that the kernel must look at one by one: those up to the last with `from`, `proto` or `port`.
//! Neighbours with the same answer form a run; a run has one priority, inside which order does not matter.

use ipnet::IpNet;
use mrvpn_router::Rule;

use super::{Answer, line};
use crate::limits::{MAX_POLICY_RULES, MAX_RUNS};
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

/// The policy rules for `rules`, at priorities from `first`.
///
/// # Errors
/// More than [`MAX_RUNS`] runs.
pub(crate) fn policy_rules(
    rules: &[&Rule],
    family: Family,
    first: u32,
    table: u32,
    nop: u32,
) -> Result<Vec<PolicyRule>, PlanError> {
    let runs: Vec<&[&Rule]> = rules.chunk_by(|one, next| Answer::of(one.via) == Answer::of(next.via)).collect();
    if runs.len() > MAX_RUNS {
        return Err(PlanError::TooManyRuns { runs: runs.len() });
    }
    let mut lines = Vec::new();
    for (priority, run) in (first..).zip(runs) {
        let mut of_run: Vec<PolicyRule> =
            run.iter().flat_map(|rule| expand(rule, family, of_answer(rule, priority, family, table, nop))).collect();
        of_run.sort();
        of_run.dedup();
        lines.extend(of_run);
    }
    Ok(lines)
}

/// # Errors
/// More than [`MAX_POLICY_RULES`].
pub(crate) const fn check_number(rules: usize) -> Result<(), PlanError> {
    if rules > MAX_POLICY_RULES { Err(PlanError::TooManyRules { rules }) } else { Ok(()) }
}

/// The line of a rule's answer, still without its match. What is left alone is not asked whether this host sends it: the
/// answer to a packet that went direct must pass the reverse path check of `rp_filter` 1.
fn of_answer(rule: &Rule, priority: u32, family: Family, table: u32, nop: u32) -> PolicyRule {
    match Answer::of(rule.via) {
        Answer::In => PolicyRule { local: true, ..line(priority, family, RuleAction::Lookup(table)) },
        Answer::Out => line(priority, family, RuleAction::Goto(nop)),
    }
}

/// Every combination of a rule's lists: a policy rule has one of each.
fn expand(rule: &Rule, family: Family, line: PolicyRule) -> Vec<PolicyRule> {
    let mut lines = Vec::new();
    let protocols = protocols(rule);
    for from in of_family(&rule.from, family) {
        for to in of_family(&rule.to, family) {
            for proto in any_of(&protocols) {
                for port in any_of(&rule.port) {
                    lines.push(PolicyRule { from, to, proto, port, ..line.clone() });
                }
            }
        }
    }
    lines
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
fn of_family(nets: &[IpNet], family: Family) -> Vec<Option<IpNet>> {
    if nets.is_empty() {
        return vec![None];
    }
    let own = nets.iter().filter(|net| family.has(net));
    own.map(|net| (net.prefix_len() > 0).then(|| net.trunc())).collect()
}

fn any_of<T: Copy>(list: &[T]) -> Vec<Option<T>> {
    if list.is_empty() { vec![None] } else { list.iter().copied().map(Some).collect() }
}
