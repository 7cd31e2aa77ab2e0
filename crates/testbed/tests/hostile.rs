//! The hostile-server kit, row by row: in each test the scripts of some rows of threats-and-faults.md, each under several
//! seeds of noise, while three honest tunnels must not notice. It needs no root. Very many seeds: `mrvpn-sim --hostile`.

#![expect(unsafe_code, reason = "a counting allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeSet;

use mrvpn_testbed::sim::hostile::{HostileScenario, all};
use mrvpn_testbed::sim::{Scenario as _, run_one};

thread_local! {
    /// Bytes that this thread holds.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is the system allocator's work; counting touches only a thread's own cell, which needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = HELD.try_with(|held| held.set(held.get().wrapping_add(layout.size())));
        // SAFETY: handed on as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| held.set(held.get().wrapping_sub(layout.size())));
        // SAFETY: handed on as it came.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn held() -> usize {
    HELD.with(Cell::get)
}

/// Rounds of noise on the hostile server's link: none, OpenVPN 3's own test noise, loss.
const ROUNDS: u64 = 3;

/// What the engine holds when nothing is done to it.
fn calm() -> u64 {
    let scenario = HostileScenario::of(&["calm"], held);
    let runs = (0..2).filter_map(|seed| run_one(&scenario, seed, false).ok());
    runs.map(|trace| trace.tallies["bytes held"]).max().expect("nothing happens there")
}

#[track_caller]
fn plays(rows: &[&str]) {
    let scenario = HostileScenario::of(rows, held);
    let (count, calm) = (scenario.len() as u64, calm());
    let mut failed = Vec::new();
    for seed in 0..count * ROUNDS {
        let script = scenario.generate(seed)[0];
        let name = script.name;
        match run_one(&scenario, seed, seed % 7 == 0) {
            Ok(trace) => {
                let (answered, held) = (trace.tallies["probes answered"], trace.tallies["bytes held"]);
                assert!(answered >= 100, "{name}: {answered} probes");
                if held > calm + script.growth {
                    failed.push(format!("{name} (seed {seed}): the engine holds {held} bytes, {calm} without it"));
                }
            }
            Err(violation) => failed.push(format!("{name} (seed {seed}): {violation}")),
        }
    }
    assert!(count > 0 && failed.is_empty(), "{} of {}:\n{}", failed.len(), count * ROUNDS, failed.join("\n"));
}

#[test]
fn there_are_sixty_scripts_and_each_has_its_own_name() {
    let names: BTreeSet<&str> = all().iter().map(|script| script.name).collect();
    assert_eq!(names.len(), all().len());
    assert!(names.len() >= 60, "{}", names.len());
}

// proves: T-01, T-02, T-03, T-04, T-06, T-15, I-8
#[test]
fn strangers_without_keys_change_nothing() {
    plays(&["T-01", "T-02", "T-03", "T-04", "T-06", "T-15"]);
}

// proves: T-12, T-13
#[test]
fn a_server_cannot_push_a_weak_cipher_or_compression() {
    plays(&["T-12", "T-13"]);
}

// proves: T-23, T-30, T-31, T-40, I-6, I-9
#[test]
fn what_a_server_says_is_bounded_and_shown_escaped() {
    plays(&["T-23", "T-30", "T-31", "T-40"]);
}

// proves: T-32, T-33, T-34, T-42, T-43
#[test]
fn a_push_of_any_content_is_refused_or_tamed() {
    plays(&["T-32", "T-33", "T-34", "T-42", "T-43"]);
}

// proves: T-36, T-37, I-1, I-2
#[test]
fn what_is_pushed_reaches_neither_the_host_nor_other_tunnels() {
    plays(&["T-36", "T-37", "T-38"]);
}

// proves: T-39
#[test]
fn tokens_are_capped_and_a_refused_one_gives_way_to_the_password() {
    plays(&["T-39"]);
}

// proves: T-35, T-41, T-48
#[test]
fn sessions_that_a_server_ends_again_and_again_cost_its_own_tunnel_alone() {
    plays(&["T-35", "T-41", "T-48"]);
}

// proves: T-44, T-45, T-46, I-3, I-4
#[test]
fn what_nobody_asked_for_never_reaches_the_host() {
    plays(&["T-44", "T-45", "T-46"]);
}
