//! A simulated network with the real protocol on it: one virtual clock, one seed, no threads, no real time, so that a run
//! repeats exactly. It needs no root and touches nothing of the machine. Real servers in real namespaces are the rest of
//! this crate.

pub mod net; // datagrams that are lost, late, doubled, damaged
pub mod seed; // everything random follows from a number

pub use net::{Counts, Delivered, Fate, Network, Noise, Odds};
pub use seed::Dice;
