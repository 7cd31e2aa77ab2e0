//! The driver and its host: what stands before anything is dialled, what is put back, an interface that is made anew, an end
//! at any moment.

mod driver_support;

use std::time::{Duration, Instant};

use driver_support::*;
use mrvpn_engine::{Command, EngineError};
use mrvpn_netplan::model::Verdict;
use mrvpn_netplan::{HostError, OnLink, Plan, Probe, Scope, Step};

fn with_rule() -> mrvpn_engine::EngineConfig {
    let mut config = config(&["uk", "fr"]);
    config.rules = vec![rule("203.0.113.0/24", 0)];
    config
}

#[tokio::test]
async fn the_host_is_looked_at_before_anything_is_made_and_memory_is_kept_before_the_plan() {
    let world = World::new();
    let engine = Engine::standing(&world, with_rule()).await;
    let done = world.state().done.clone();
    assert_eq!(done[..4], [Done::Facts, Done::Sessions, Done::Standing, Done::Watch]);
    let place = |wanted: &dyn Fn(&Done) -> bool| done.iter().position(wanted).unwrap();
    let (open, kept) = (place(&|done| *done == Done::Open), place(&|done| *done == Done::Remember));
    let first = place(&|done| matches!(done, Done::Step(_)));
    assert!(kept < first && open < first, "{done:?}");
    assert!(world.state().memory.as_ref().is_some_and(|memory| memory.tunnels.contains_key("uk")));
    engine.end().await.0.unwrap();
    assert!(world.is_clean());
}

// proves: F-21
#[tokio::test]
async fn what_others_take_away_or_add_is_put_right_within_half_a_second() {
    let (world, scope) = (World::new(), Scope::first());
    let engine = Engine::standing(&world, with_rule()).await;
    let wanted = world.standing(&scope);
    assert!(!wanted.rules.is_empty() && !wanted.routes.is_empty() && wanted.firewall.is_some());
    let changes: [fn(&mut State); 5] = [
        |state| state.model.rules.clear(),
        |state| state.model.routes.clear(),
        |state| state.model.addresses.clear(),
        |state| state.model.firewall = None,
        |state| state.model.rules[0].priority += 1,
    ];
    for change in changes {
        world.others(change);
        assert_ne!(world.standing(&scope), wanted);
        let took = until(|| world.standing(&scope) == wanted).await;
        assert!(took < Duration::from_millis(500), "{took:?}");
        rest(&world).await;
    }
    engine.end().await.0.unwrap();
    assert!(world.is_clean());
}

#[tokio::test]
async fn changes_of_its_own_and_of_no_concern_cost_a_look_and_no_more() {
    let world = World::new();
    let engine = Engine::standing(&world, with_rule()).await;
    let (looks, done) = (world.looks(), world.state().model.log.len());
    rest(&world).await;
    assert_eq!(world.looks(), looks, "nothing has changed");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        world.others(|_| {});
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    rest(&world).await;
    let looks = world.looks() - looks;
    assert!((2..=6).contains(&looks), "{looks} looks in a second of changes without end");
    assert_eq!(world.state().model.log.len(), done, "there was nothing to be done");
    engine.end().await.0.unwrap();
}

#[tokio::test]
async fn a_network_that_comes_or_goes_is_followed() {
    let world = World::new();
    let engine = Engine::standing(&world, with_rule()).await;
    assert!(engine.status().await.lan.is_empty());
    let on_link = || OnLink { net: "192.168.7.0/24".parse().unwrap(), device: "eth0".to_owned() };
    world.others(|state| state.model.facts.on_link = vec![on_link()]);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(engine.status().await.lan, ["192.168.7.0/24"]);
    world.others(|state| state.model.facts.on_link.clear());
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(engine.status().await.lan.is_empty());
    engine.end().await.0.unwrap();
}

// proves: F-16
#[tokio::test]
async fn a_deleted_interface_is_back_within_a_second_with_all_that_was_on_it() {
    let (world, scope) = (World::new(), Scope::first());
    let engine = Engine::standing(&world, with_rule()).await;
    let wanted = world.standing(&scope);
    let since = engine.status().await.since;
    for _ in 0..3 {
        world.delete_device(&scope.device);
        let took = until(|| world.standing(&scope) == wanted).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    assert_eq!(engine.status().await.since, since, "it is the same engine");
    engine.end().await.0.unwrap();
    assert!(world.is_clean());
}

// proves: F-16
#[tokio::test]
async fn an_interface_that_is_deleted_again_and_again_is_made_anew_without_end_but_not_all_the_time() {
    let (world, scope) = (World::new(), Scope::first());
    let engine = Engine::standing(&world, with_rule()).await;
    world.state().opened.clear();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(900) {
        if world.state().model.devices.contains(&scope.device) {
            world.delete_device(&scope.device);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let opened = world.state().opened.len();
    assert_eq!(opened, 5, "within ten seconds");
    let took = until(|| world.state().model.devices.contains(&scope.device)).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    engine.end().await.0.unwrap();
    assert!(world.is_clean());
}

// proves: F-16
#[tokio::test]
async fn while_the_interface_is_away_what_is_claimed_is_refused_and_it_comes_when_it_can() {
    let (world, scope) = (World::new(), Scope::first());
    let engine = Engine::standing(&world, with_rule()).await;
    let wanted = world.standing(&scope);
    let to = std::net::IpAddr::from([203, 0, 113, 10]);
    let probe = Probe { from: None, to, proto: 6, port: Some(443), mark: 0, local: true };
    assert_eq!(world.state().model.route(&probe), Verdict::Device(scope.device.clone()));
    world.state().refuse_open = 2;
    world.delete_device(&scope.device);
    until(|| world.state().refuse_open == 0).await;
    assert_eq!(world.state().model.route(&probe), Verdict::Unreachable);
    until(|| world.standing(&scope) == wanted).await;
    engine.end().await.0.unwrap();
}

#[tokio::test]
async fn a_fault_in_the_data_path_ends_neither_the_engine_nor_what_is_held() {
    let (world, scope) = (World::new(), Scope::first());
    let engine = Engine::standing(&world, with_rule()).await;
    let wanted = world.standing(&scope);
    let opened = world.state().opened.len();
    let log = world.state().model.log.len();
    world.send(FAULT);
    until(|| world.state().opened.len() == opened + 1).await;
    rest(&world).await;
    assert_eq!((world.standing(&scope), world.state().model.log.len()), (wanted, log), "the host is not touched");
    world.send(FAULT);
    until(|| world.state().opened.len() == opened + 2).await;
    assert_eq!(engine.status().await.tunnels.len(), 2);
    engine.end().await.0.unwrap();
    assert!(world.is_clean());
}

// proves: F-34
#[tokio::test]
async fn an_end_at_any_moment_takes_two_seconds_at_most_and_leaves_nothing() {
    for millis in (0..60).map(|round| round * 3) {
        let world = World::new();
        world.state().pace = Duration::from_millis(1);
        let engine = Engine::start(&world, with_rule());
        tokio::time::sleep(Duration::from_millis(millis)).await;
        let (outcome, took) = engine.end().await;
        outcome.unwrap();
        assert!(took < Duration::from_secs(2), "after {millis} ms it took {took:?}");
        assert!(world.is_clean(), "after {millis} ms: {:?}", world.state().done);
    }
}

#[tokio::test]
async fn an_end_while_the_interface_is_away_leaves_nothing() {
    let (world, scope) = (World::new(), Scope::first());
    let engine = Engine::standing(&world, with_rule()).await;
    world.state().refuse_open = 1_000;
    world.delete_device(&scope.device);
    tokio::time::sleep(Duration::from_millis(100)).await;
    engine.end().await.0.unwrap();
    assert!(world.is_clean());
}

#[tokio::test]
async fn a_first_plan_that_fails_ends_the_engine_and_leaves_the_host_as_it_was() {
    for step in 0..12 {
        let world = World::new();
        world.state().model.fail_after = Some(step);
        let engine = Engine::start(&world, with_rule());
        let outcome = tokio::time::timeout(PATIENCE, engine.task).await.unwrap().unwrap();
        assert!(matches!(outcome, Err(EngineError::Plan(_))), "{outcome:?}");
        assert!(world.is_clean(), "step {step}: {:?}", world.state().done);
    }
}

#[tokio::test]
async fn an_interface_that_is_not_ours_ends_the_engine_and_is_left_alone() {
    let world = World::new();
    world.state().refuse_open = 1;
    let engine = Engine::start(&world, with_rule());
    let outcome = tokio::time::timeout(PATIENCE, engine.task).await.unwrap().unwrap();
    assert!(matches!(outcome, Err(EngineError::Host(HostError::System { .. }))), "{outcome:?}");
    assert!(!world.state().done.contains(&Done::Close), "it was never ours");
}

/// The host as an engine leaves it that is killed.
async fn killed(scope: &Scope) -> World {
    let world = World::new();
    let engine = Engine::standing(&world, with_rule()).await;
    let model = world.state().model.clone();
    let (outcome, _) = engine.end().await;
    assert!(outcome.is_ok(), "{outcome:?}");
    let after = World::new();
    after.state().model = model;
    assert_ne!(after.standing(scope), Plan::empty(scope));
    after
}

// proves: F-19
#[tokio::test]
async fn what_a_killed_engine_left_is_taken_over_without_an_open_moment() {
    let scope = Scope::first();
    let world = killed(&scope).await;
    let (before, log) = (world.standing(&scope), world.state().model.log.len());
    let engine = Engine::standing(&world, with_rule()).await;
    assert_eq!(world.standing(&scope), before);
    let steps = world.state().model.log[log..].to_vec();
    assert_eq!(steps, [], "all of it was as it should be");
    engine.end().await.0.unwrap();
    assert!(world.is_clean());
}

#[tokio::test]
async fn a_start_that_fails_leaves_closed_what_a_killed_engine_left() {
    let scope = Scope::first();
    let world = killed(&scope).await;
    let before = world.standing(&scope);
    let mut other = config(&["uk", "fr"]);
    other.rules = vec![rule("198.51.100.0/24", 0)];
    world.state().model.fail_after = Some(2);
    let engine = Engine::start(&world, other);
    let outcome = tokio::time::timeout(PATIENCE, engine.task).await.unwrap().unwrap();
    assert!(matches!(outcome, Err(EngineError::Plan(_))), "{outcome:?}");
    assert_eq!(world.standing(&scope), before);
    assert!(!world.state().done.contains(&Done::Close));
}

#[tokio::test]
async fn an_end_that_comes_before_the_host_was_looked_at_changes_nothing() {
    let world = World::new();
    world.state().pace = Duration::from_millis(100);
    let engine = Engine::start(&world, with_rule());
    let (outcome, took) = engine.end().await;
    outcome.unwrap();
    assert!(took < Duration::from_secs(1));
    assert!(!world.state().done.iter().any(|done| matches!(done, Done::Open | Done::Step(_))));
}

#[tokio::test]
async fn a_memory_that_cannot_be_kept_is_said_once_and_the_engine_runs() {
    let world = World::new();
    world.state().refuse_save = true;
    let engine = Engine::standing(&world, with_rule()).await;
    engine.reload(config(&["uk", "de"]), false).await.unwrap();
    let warnings = engine.status().await.warnings;
    assert_eq!(warnings.iter().filter(|warning| warning.contains("the disk is full")).count(), 1, "{warnings:?}");
    engine.end().await.0.unwrap();
}

#[tokio::test]
async fn a_network_that_cannot_be_watched_is_said_and_the_engine_runs() {
    let world = World::new();
    world.state().refuse_watch = true;
    let engine = Engine::standing(&world, with_rule()).await;
    let warnings = engine.status().await.warnings;
    assert!(warnings.iter().any(|warning| warning.contains("not noticed")), "{warnings:?}");
    engine.end().await.0.unwrap();
    assert!(world.is_clean());
}

#[tokio::test]
async fn a_plan_that_fails_in_the_run_is_shown_and_carried_out_when_it_can_be() {
    let (world, scope) = (World::new(), Scope::first());
    let engine = Engine::standing(&world, with_rule()).await;
    let mut other = with_rule();
    other.rules.push(rule("198.51.100.0/24", 1));
    world.state().model.fail_after = Some(0);
    let reloaded = engine.reload(other, false).await.unwrap();
    assert!(reloaded.steps.is_empty());
    assert!(reloaded.notes.iter().any(|note| note.contains("could not be changed")), "{:?}", reloaded.notes);
    let held = || world.standing(&scope).routes.iter().any(|route| route.prefix.to_string() == "198.51.100.0/24");
    until(held).await;
    engine.end().await.0.unwrap();
    assert!(world.is_clean());
}

#[tokio::test]
async fn an_engine_that_ends_takes_rules_away_before_the_interface() {
    let world = World::new();
    let engine = Engine::standing(&world, with_rule()).await;
    world.state().done.clear();
    engine.commands.send(Command::Shutdown).await.unwrap();
    engine.task.await.unwrap().unwrap();
    let done = world.state().done.clone();
    let last = done.iter().rposition(|done| matches!(done, Done::Step(Step::RemoveRule(_)))).unwrap();
    assert!(last < done.iter().position(|done| *done == Done::Close).unwrap());
}
