//! Policy rules from one plan to another, sorted into the parts that have their own places in the order of
//! [`mod@crate::diff`]. Which rules there are is `capture.rs`'s.

use std::collections::BTreeSet;

use crate::plan::{Family, Plan, PolicyRule, RuleAction, Step};

/// Steps by their place in the order.
#[derive(Default)]
pub(super) struct RuleSteps {
    /// Lines that do nothing are taken away first, and added in their places like those that were never there.
    pub(super) useless: Vec<Step>,
    /// The `nop`, then the way of the engine's own sockets to it: before anything is captured.
    pub(super) frame_added: Vec<Step>,
    /// What is captured whoever sends it: to and from addresses of ours.
    pub(super) ours_added: Vec<Step>,
    /// The user's rules, what is bypassed, DHCP.
    pub(super) users_added: Vec<Step>,
    /// The line that looks the claims up, where no plan has it any more.
    pub(super) claims_removed: Vec<Step>,
    /// The same line where it is new, once its table is what it shall be.
    pub(super) claims_added: Vec<Step>,
    pub(super) users_removed: Vec<Step>,
    pub(super) ours_removed: Vec<Step>,
    /// After everything that hangs on it.
    pub(super) frame_removed: Vec<Step>,
}

/// What a line is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Nop,
    Sockets,
    Ours,
    Users,
    Claims,
}

impl RuleSteps {
    pub(super) fn between(from: &Plan, to: &Plan) -> Self {
        let useless: BTreeSet<&PolicyRule> = from.rules.iter().filter(|rule| is_useless(from, rule)).collect();
        let old: BTreeSet<&PolicyRule> = from.rules.iter().filter(|rule| !useless.contains(rule)).collect();
        let new: BTreeSet<&PolicyRule> = to.rules.iter().collect();
        let mut steps = Self { useless: useless.iter().copied().map(remove).collect(), ..Self::default() };
        steps.add(to, new.difference(&old).copied());
        steps.remove(to, old.difference(&new).copied());
        steps
    }

    /// First match first: lowest priority. Sets are sorted by it.
    fn add<'a>(&mut self, to: &Plan, rules: impl Iterator<Item = &'a PolicyRule>) {
        let mut sockets = Vec::new();
        for rule in rules {
            let place = match Part::of(to, rule) {
                Part::Nop => &mut self.frame_added,
                Part::Sockets => &mut sockets,
                Part::Ours => &mut self.ours_added,
                Part::Users => &mut self.users_added,
                Part::Claims => &mut self.claims_added,
            };
            place.push(Step::AddRule(rule.clone()));
        }
        self.frame_added.extend(sockets);
    }

    /// Last match first: highest priority; of equal ones what lets go before what captures, since which of them the
    /// kernel meets first cannot be told.
    fn remove<'a>(&mut self, to: &Plan, rules: impl Iterator<Item = &'a PolicyRule>) {
        let mut rules: Vec<&PolicyRule> = rules.collect();
        rules.sort_by_key(|rule| (std::cmp::Reverse(rule.priority), is_lookup(rule)));
        let (mut nop, mut early) = (Vec::new(), Vec::new());
        let misplaced = rules.iter().any(|rule| Part::of(to, rule) == Part::Claims && looks_up(to, rule.family));
        for rule in rules {
            let place = match Part::of(to, rule) {
                Part::Nop => &mut nop,
                Part::Sockets => &mut self.frame_removed,
                Part::Ours => &mut self.ours_removed,
                // A line between the user's: what of theirs lets go must be gone before what the table answers changes.
                Part::Users if misplaced && !is_lookup(rule) => &mut early,
                Part::Users => &mut self.users_removed,
                Part::Claims if looks_up(to, rule.family) => &mut self.users_removed,
                Part::Claims => &mut self.claims_removed,
            };
            place.push(remove(rule));
        }
        self.frame_removed.extend(nop);
        self.claims_removed.extend(early);
    }
}

impl Part {
    fn of(plan: &Plan, rule: &PolicyRule) -> Self {
        match rule.action {
            RuleAction::Nop => Self::Nop,
            RuleAction::Goto(_) if rule.mark.is_some() => Self::Sockets,
            RuleAction::Goto(_) => Self::Users,
            RuleAction::Lookup(table) if table == plan.scope.table_claims() => Self::Claims,
            RuleAction::Lookup(_) if rule.local => Self::Users,
            RuleAction::Lookup(_) => Self::Ours,
        }
    }
}

/// The kernel passes over a `goto` whose target is not there. All such lines would begin to let go at once when the
/// target is added, whether what stands before them is there already or not.
fn is_useless(plan: &Plan, rule: &PolicyRule) -> bool {
    match rule.action {
        RuleAction::Goto(target) => {
            !plan.rules.iter().any(|other| other.priority == target && other.family == rule.family)
        }
        RuleAction::Lookup(_) | RuleAction::Nop => false,
    }
}

/// Whether `plan` looks the claims of a family up at all.
fn looks_up(plan: &Plan, family: Family) -> bool {
    plan.rules.iter().any(|rule| rule.family == family && Part::of(plan, rule) == Part::Claims)
}

fn is_lookup(rule: &PolicyRule) -> bool {
    matches!(rule.action, RuleAction::Lookup(_))
}

fn remove(rule: &PolicyRule) -> Step {
    Step::RemoveRule(rule.clone())
}
