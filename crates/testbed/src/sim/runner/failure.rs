//! What is told of a run that failed: its seed, the shortest list of actions that still fails, and who said what.

use std::fmt;

use super::{Scenario, Violation, caught};
use crate::sim::dialogue::Dialogue;
use crate::sim::shrink::shrink;

/// A run that failed, made to be read.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The scenario's name.
    pub scenario: &'static str,
    /// The seed: add it to the list of the scenario's tests.
    pub seed: u64,
    /// What the shrunk run violates; where nothing could be taken away, the run itself.
    pub violation: Violation,
    /// How many actions the seed has.
    pub actions: usize,
    /// Those that are needed.
    pub needed: Vec<String>,
    /// The last that was said in the shrunk run.
    pub dialogue: String,
}

impl Failure {
    /// Shrinks the run of this seed, which failed, and lets it speak.
    pub(super) fn explain<S: Scenario>(scenario: &S, seed: u64, violation: Violation) -> Self {
        let actions = scenario.generate(seed);
        let fails = |actions: &[S::Action]| {
            let outcome = caught::run(scenario, seed, actions, &mut Dialogue::off());
            outcome.is_err_and(|other| other.invariant == violation.invariant)
        };
        let needed = shrink(&actions, fails);
        let mut dialogue = Dialogue::on();
        let shown = caught::run(scenario, seed, &needed, &mut dialogue).err();
        Self {
            scenario: scenario.name(),
            seed,
            // A trace that differs from run to run may not fail the third time.
            violation: shown.unwrap_or(violation),
            actions: actions.len(),
            needed: needed.iter().map(|action| format!("{action:?}")).collect(),
            dialogue: dialogue.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} seed {}: {}", self.scenario, self.seed, self.violation)?;
        writeln!(f, "\n{} of {} actions are needed:", self.needed.len(), self.actions)?;
        for action in &self.needed {
            writeln!(f, "    {action}")?;
        }
        writeln!(f, "\nwho said what:\n{}", self.dialogue)?;
        write!(f, "again: cargo xtask sim --{} 1 --from {}", self.scenario, self.seed)
    }
}
