//! Many tunnels in one simulated world in which everything goes wrong: fixed seeds, one fresh seed, seeds that failed once, and
//! faults planted on purpose, one an invariant, which must be found. It needs no root. Very many seeds: `cargo xtask sim`.

use std::time::Duration;

use mrvpn_testbed::Random;
use mrvpn_testbed::sim::world::{Plant, WorldScenario, storm};
use mrvpn_testbed::sim::{Seeds, judge, run_many, run_one};

/// Worlds as they are.
const WORLD: WorldScenario = WorldScenario { plant: None };

// proves: I-1, I-2, I-3, I-4, I-5, I-6, I-7, I-8, I-9, I-12, I-13, T-41
#[test]
fn what_must_hold_holds_in_the_worlds_of_many_seeds() {
    let report = run_many(&WORLD, Seeds { repeat_each: 10, ..Seeds::new(0, 12) }, |_| {});
    assert!(report.failures.is_empty(), "{}", report.failures[0]);
    // Runs in which nothing happens prove nothing.
    for (what, least) in [
        ("asked", 50_000),
        ("must", 30_000),
        ("arrived", 30_000),
        ("answered", 30_000),
        ("refused", 2_000),
        ("clear", 2_000),
        ("accepted", 3),
        ("forged", 100),
        ("sessions", 50),
        ("between", 5_000),
    ] {
        let count = report.tallies.get(what).copied().unwrap_or(0);
        assert!(count >= least, "{what}: {count} of at least {least}: {:?}", report.tallies);
    }
}

#[test]
fn a_fresh_seed_passes() {
    // Seeds that end with 99 last a day.
    let seed = Random::seeded("world").below(1_000_000) * 100;
    judge(&WORLD, seed, false).unwrap_or_else(|failure| panic!("{failure}"));
}

/// The invariants that fail in some of a few worlds with this fault.
fn found(plant: Plant) -> Vec<&'static str> {
    let scenario = WorldScenario { plant: Some(plant) };
    let repeat = plant == Plant::HangsOnClock;
    (0..4).filter_map(|seed| run_one(&scenario, seed, repeat).err()).map(|violation| violation.invariant).collect()
}

#[track_caller]
fn finds(plant: Plant, invariant: &str) {
    let found = found(plant);
    assert!(found.contains(&invariant), "{plant:?}: {found:?}");
}

#[test]
fn a_captured_packet_that_leaves_in_clear_is_found() {
    finds(Plant::CapturedLeavesClear, "I-1");
}

#[test]
fn a_packet_in_the_wrong_tunnel_is_found() {
    finds(Plant::WrongTunnel, "I-2");
}

#[test]
fn a_source_that_is_not_translated_is_found() {
    finds(Plant::UntranslatedSource, "I-3");
}

#[test]
fn an_answer_at_the_wrong_address_and_a_packet_that_nobody_asked_for_are_found() {
    finds(Plant::WrongArrival, "I-4");
    finds(Plant::UnaskedArrives, "I-4");
}

#[test]
fn an_engine_that_never_rests_and_one_that_panics_are_found() {
    finds(Plant::NeverRests, "I-6");
    finds(Plant::Panics, "I-6");
}

#[test]
fn a_tunnel_that_does_not_come_back_is_found() {
    finds(Plant::ReconnectWithheld, "I-7");
}

#[test]
fn a_lost_and_a_late_packet_of_a_tunnel_that_nothing_was_done_to_are_found() {
    finds(Plant::OthersPacketLost, "I-8");
    finds(Plant::OthersPacketLate, "I-8");
}

#[test]
fn packets_that_wait_for_too_long_are_found() {
    finds(Plant::UnboundedWait, "I-9");
}

#[test]
fn a_packet_that_is_taken_twice_is_found() {
    finds(Plant::Replayed, "I-12");
}

#[test]
fn a_run_that_hangs_on_the_machines_clock_is_found() {
    finds(Plant::HangsOnClock, "I-13");
}

// A thousand (F-26) take a minute of a core; here the burst is spent all the same.
#[test]
fn hundreds_of_tunnels_that_flap_together_are_up_again_within_a_minute_and_hammer_nobody() {
    let flapping = storm::flap(320).unwrap();
    assert!(flapping.all_up <= Duration::from_secs(60), "{flapping:?}");
    let after_the_burst = flapping.begun.iter().skip_while(|begun| **begun <= 50).skip(1);
    assert!(after_the_burst.clone().all(|begun| *begun <= 51), "{flapping:?}");
}

// proves: T-35
#[test]
fn ten_thousand_sessions_that_a_server_ends_at_once_are_one_attempt_a_second_at_most() {
    let endings = storm::endings(10_000).unwrap();
    assert!(endings.sessions >= 10_000 && endings.most_per_second <= 1, "{endings:?}");
}

#[test]
fn a_killed_servers_programs_are_answered_when_ping_restart_is_over_and_the_others_notice_nothing() {
    let gaps: Vec<Duration> = (0..20).map(|seed| storm::gap_of_a_killed_server(seed).unwrap()).collect();
    // `ping-restart 5`, a handshake, and 50 ms from one packet to the next.
    assert!(gaps.iter().all(|gap| *gap <= Duration::from_millis(5_300)), "{gaps:?}");
}

// proves: T-83, I-8
#[test]
fn a_tunnel_that_is_used_to_the_full_costs_seven_others_nothing() {
    let must = storm::saturated(500, Duration::from_secs(6)).unwrap();
    assert!(must > 1_000, "{must}");
}
