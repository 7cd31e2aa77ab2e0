//! A simulated network with the real protocol on it: one virtual clock, one seed, no threads, no real time, so that a run
//! repeats exactly. It needs no root and touches nothing of the machine. Real servers in real namespaces are the rest of
//! this crate.

mod apps; // programs of the world's host
pub mod dialogue; // who said what, in a run that failed
pub mod hostile; // servers and strangers that mean harm
mod hosts; // the world's host
pub mod net; // datagrams that are lost, late, doubled, damaged
mod oracle; // what must hold in a world
pub mod pair; // one client and one server
pub mod plant; // faults on purpose, which must be found
mod reference; // where each packet must go, said once more
pub mod runner; // very many runs, and what is told of one that failed
pub mod seed; // everything random follows from a number
mod shrink; // the shortest list of actions that still fails
pub mod world; // many tunnels in which everything goes wrong

pub use dialogue::Dialogue;
pub use net::{Counts, Delivered, Fate, Network, Noise, Odds};
pub use pair::Pair;
pub use runner::{Failure, Report, Scenario, Seeds, Trace, TraceHash, Violation, judge, run_many, run_one};
pub use seed::Dice;
pub use world::WorldScenario;
