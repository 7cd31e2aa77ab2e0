//! One client and one server of the real protocol over a link on which everything goes wrong: the smallest simulation.
//! What the two are and what happens to them follows from a seed (`plan.rs`, `action.rs`); `run.rs` carries it out and
//! judges after every step; `client.rs` and `server.rs` are what stands around the protocol's two halves, `probe.rs` the
//! packets that go through the tunnel, `stranger.rs` somebody on the way without keys. Many tunnels, the router and the
//! host are `world.rs`.
//!
//! When all faults have stopped, the tunnel must be up within a bound, lose nothing any more, and both sides must have
//! forgotten all sessions but that one.

mod action;
mod client;
mod client_keys;
mod ends;
mod plan;
mod plant;
mod probe;
mod run;
mod server;
mod stranger;

use super::dialogue::Dialogue;
use super::runner::{Scenario, Trace, Violation};
use ends::Ends;

pub use action::{Action, What};
pub use plan::{Plan, Wrapping};
pub use plant::Plant;

/// One client and one server, by the seed alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pair;

impl Scenario for Pair {
    type Action = Action;

    fn name(&self) -> &'static str {
        "pair"
    }

    fn generate(&self, seed: u64) -> Vec<Action> {
        action::generate(seed, Plan::of(seed).length)
    }

    fn run(&self, seed: u64, actions: &[Action], dialogue: &mut Dialogue) -> Result<Trace, Violation> {
        run::run(&Plan::of(seed), &Ends::scripted(seed), actions, dialogue)
    }
}

/// The same over real TLS. Its randomness is its own: a seed's outcome is always the same, its trace is not.
pub struct PairOverTls(Ends);

impl PairOverTls {
    /// With certificates made for it.
    ///
    /// # Errors
    /// Why there are none.
    pub fn new() -> Result<Self, String> {
        Ends::real().map(Self)
    }
}

impl Scenario for PairOverTls {
    type Action = Action;

    fn name(&self) -> &'static str {
        "tls"
    }

    fn generate(&self, seed: u64) -> Vec<Action> {
        Pair.generate(seed)
    }

    fn run(&self, seed: u64, actions: &[Action], dialogue: &mut Dialogue) -> Result<Trace, Violation> {
        run::run(&Plan::of(seed), &self.0, actions, dialogue)
    }
}

impl Plan {
    /// Carries out these actions with a client and a server of this kind.
    ///
    /// # Errors
    /// [`Violation`]
    pub fn run(&self, actions: &[Action], dialogue: &mut Dialogue) -> Result<Trace, Violation> {
        run::run(self, &Ends::scripted(self.seed), actions, dialogue)
    }
}
