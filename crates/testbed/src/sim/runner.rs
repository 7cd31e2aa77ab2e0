//! What a simulated run is, whatever is simulated: a list of actions that follows from a seed, carried out in virtual time,
//! judged after every step. Running very many of them on all cores is `runner/many.rs`; what is told of one that failed
//! `runner/failure.rs`, after `shrink.rs` has taken away all that it does not need. Scenarios are `pair.rs` and
//! `world.rs`.

mod caught;
mod failure;
mod many;
mod trace;

use std::fmt::{self, Debug};

use mrvpn_clock::Moment;

use super::dialogue::Dialogue;

pub use failure::Failure;
pub use many::{Progress, Report, Seeds, run_many};
pub use trace::{Trace, TraceHash};

/// Something that is simulated.
pub trait Scenario: Sync {
    /// What is done to it, and when: faults, and what users and servers do.
    type Action: Clone + Debug;

    /// A word for it, for command lines and output.
    fn name(&self) -> &'static str;

    /// What is done in the run of this seed.
    fn generate(&self, seed: u64) -> Vec<Self::Action>;

    /// Carries out these actions, which are those of the seed or, while a failure is shrunk, some of them in the same
    /// order. The same seed and actions give the same trace. Who says what goes into the dialogue, which is off while
    /// all is well.
    ///
    /// # Errors
    /// [`Violation`]: something that must hold always does not.
    fn run(&self, seed: u64, actions: &[Self::Action], dialogue: &mut Dialogue) -> Result<Trace, Violation>;
}

/// Something that must hold always did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which of threats-and-faults.md section 1, as `I-12`; a shrunk run fails by the same one.
    pub invariant: &'static str,
    /// What was seen instead.
    pub what: String,
    /// When, on the virtual clock.
    pub at: Moment,
}

impl Violation {
    /// That `invariant` does not hold.
    #[must_use]
    pub fn new(invariant: &'static str, what: impl Into<String>, at: Moment) -> Self {
        Self { invariant, what: what.into(), at }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.invariant, self.at, self.what)
    }
}

/// Carries out a run of a scenario; a panic in it is a violation of I-6. A run that repeats is made twice and must leave
/// the same trace (I-13).
///
/// # Errors
/// As [`Scenario::run`].
pub fn run_one<S: Scenario>(scenario: &S, seed: u64, repeat: bool) -> Result<Trace, Violation> {
    let actions = scenario.generate(seed);
    let once = || caught::run(scenario, seed, &actions, &mut Dialogue::off());
    let trace = once()?;
    if repeat {
        let again = once()?;
        if again.hash != trace.hash {
            let what = format!("the same seed left the traces {:016x} and {:016x}", trace.hash, again.hash);
            return Err(Violation::new("I-13", what, trace.end));
        }
    }
    Ok(trace)
}

/// As [`run_one`], and where it fails, all that helps to understand it.
///
/// # Errors
/// [`Failure`], whose text is made to be read.
pub fn judge<S: Scenario>(scenario: &S, seed: u64, repeat: bool) -> Result<Trace, Box<Failure>> {
    run_one(scenario, seed, repeat).map_err(|violation| Box::new(Failure::explain(scenario, seed, violation)))
}
