//! Commands against a running engine: one tunnel at a time, and what is told of it: events, logs, status as it changes.
//! Who may ask is in `who_may.rs`, whole files in `reloads.rs`.

#![allow(clippy::unwrap_used, reason = "a test whose world cannot be built has failed")]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use mrvpn_testbed::{
    Background, FR, Mrvpn, PROTOS, Process, Region, UK, US, World, ask,
    mrvpn::{tunnel, tunnels},
    unique_name, wait_until,
};
use serde_json::Value;

const RULES: &str = "\n[[rule]]\nname = \"films\"\nto = [\"203.0.113.10/32\"]\nvia = \"uk\"\n";

#[test]
fn one_tunnel_is_stopped_started_restarted_added_and_removed_and_the_others_are_not_touched() {
    let mut world = World::new(0);
    world.start_servers(|region, options| match region.name {
        "uk" => options.push("route 198.51.100.0 255.255.255.0"),
        _ => options,
    });
    // us comes later.
    let [uk, fr, us] = world.write_profiles().try_into().unwrap_or_default();
    let file = |argument: &str| argument.split_once('=').map(|(_, path)| path.to_owned()).unwrap_or_default();
    let tunnel_of =
        |name: &str, argument: &str| format!("[[tunnel]]\nname = \"{name}\"\nprofile = \"{}\"\n", file(argument));
    let config = world.scratch.write("mrvpn.toml", &(tunnel_of("uk", &uk) + &tunnel_of("fr", &fr) + RULES));
    let mut engine = Mrvpn::up(&world, &["-c", &config.display().to_string()]);
    let first = tunnel(&engine.status(), "fr");
    let mut events = background(&world, &engine, &["events", "--json"]);
    let mut watch = background(&world, &engine, &["status", "--watch", "--json"]);
    wait_until("the first document", Duration::from_secs(2), || (!watch.stdout().is_empty()).then_some(()));
    let length = Duration::from_secs(6);
    let probe = Background::probe(&world.client, FR.inner, None, 500, length, &world.scratch);
    let begun = Instant::now();

    // Stopped: what rules give to it stays its own and is refused, what its server claimed is let go.
    let said = done(&engine, &["tunnel", "stop", "uk"]);
    assert!(said.starts_with("uk is stopped"), "{said}");
    assert_eq!(engine.wait_tunnel("uk", "stopped", Duration::from_secs(3))["assigned"], serde_json::json!([]));
    let held = ask(&world.client, PROTOS[0], "203.0.113.10", None);
    assert_eq!((held.region, held.error.as_deref()), (None, Some("ConnectionRefused")), "a rule's is refused");
    let let_go = ask(&world.client, PROTOS[0], "198.51.100.10", None);
    assert!(let_go.is("internet", "192.168.1.2"), "a claim is let go: {let_go:?}");
    assert!(done(&engine, &["tunnel", "stop", "uk"]).contains("already"));
    assert!(world.server(UK).log().contains("exit message received"), "its server was told");

    // Who watches sees changes that last a moment, each as a document of its own.
    std::thread::sleep(Duration::from_millis(200));

    // Started: its claims come back with it.
    assert!(done(&engine, &["tunnel", "start", "uk"]).contains("uk connects"));
    engine.wait_tunnel("uk", "up", Duration::from_secs(5));
    for address in ["203.0.113.10", "198.51.100.10", UK.inner] {
        let answer = ask(&world.client, PROTOS[0], address, None);
        assert!(answer.is("uk", UK.client), "{address}: {answer:?}");
    }
    assert!(done(&engine, &["tunnel", "start", "uk"]).contains("up already"));
    let since = tunnel(&engine.status(), "uk")["since"].clone();
    std::thread::sleep(Duration::from_millis(1100));
    done(&engine, &["tunnel", "restart", "uk"]);
    engine.wait_for(Duration::from_secs(5), |status| {
        let uk = tunnel(status, "uk");
        uk["state"] == "up" && uk["since"] != since
    });

    // Added, and removed: not while a rule names it.
    let said = done(&engine, &["tunnel", "add", &us]);
    assert!(said.contains("us") && said.contains("mrvpn.toml"), "it says that the file does not have it: {said}");
    let added = engine.wait_tunnel("us", "up", Duration::from_secs(5));
    assert_eq!(added["assigned"][0], "10.102.0.2/24");
    assert!(ask(&world.client, PROTOS[1], US.inner, None).is("us", US.client));
    assert_eq!(tunnels(&engine.status()).len(), 3);
    let refused = engine.run(&["tunnel", "remove", "uk"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(text(&refused.stderr).contains("films"), "the rule is named: {refused:?}");
    // Who watches sees changes that last a moment.
    std::thread::sleep(Duration::from_millis(200));
    let said = done(&engine, &["tunnel", "remove", "us"]);
    assert!(said.starts_with("us"), "{said}");
    engine.wait(|status| tunnel(status, "us").is_null());
    assert!(ask(&world.client, PROTOS[1], US.inner, None).is("internet", "192.168.1.2"), "nothing claims it any more");
    for verb in ["start", "stop", "restart", "remove"] {
        let output = engine.run(&["tunnel", verb, "nobody"]);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{output:?}");
        assert!(text(&output.stderr).contains("uk, fr"), "it says which there are: {output:?}");
    }
    assert_eq!(engine.run(&["tunnel", "add", "uk=nowhere.ovpn"]).status.code(), Some(2));
    assert!(begun.elapsed() < length, "the probe ran all the time: {:?}", begun.elapsed());
    let seen = probe.finish(length + Duration::from_secs(5));
    assert_eq!((&seen["lost"], &seen["twice"]), (&0.into(), &0.into()), "{seen}");
    let now = tunnel(&engine.status(), "fr");
    assert_eq!((&now["since"], &now["state"]), (&first["since"], &first["state"]));

    logs(&engine);
    engine.down_for_now();
    // Those who follow end with the engine.
    assert!(events.wait_end(Duration::from_secs(3)).success(), "{}", events.log());
    assert_eq!(watch.wait_end(Duration::from_secs(3)).code(), Some(3), "{}", watch.log());
    check_events(&lines(&events));
    check_documents(&lines(&watch));
}

/// The log of all, and of one tunnel.
fn logs(engine: &Mrvpn) {
    let output = engine.run(&["logs"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let all = text(&output.stdout);
    for region in [UK, FR, US] {
        let of_one = text(&engine.run(&["logs", "fr"]).stdout);
        assert!(of_one.lines().count() > 0 && of_one.lines().all(|line| all.contains(line)), "{of_one}");
        assert!(!of_one.contains(" uk") && !of_one.contains("us is"), "{of_one}");
        assert!(all.contains(region.name), "{}: {all}", region.name);
    }
    let unknown = engine.run(&["logs", "nobody"]);
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    assert!(text(&unknown.stderr).contains("uk, fr"), "{unknown:?}");
}

fn check_events(events: &[Value]) {
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["n"].as_u64()).collect();
    let first = numbers[0];
    assert_eq!(numbers, (first..first + events.len() as u64).collect::<Vec<_>>(), "numbered without gaps");
    assert!(events.iter().all(|event| event["at"].as_str().is_some_and(|at| at.ends_with('Z'))), "{events:#?}");
    let states = |region: Region| {
        let of_it = events.iter().filter(|event| event["event"] == "tunnel-state" && event["tunnel"] == region.name);
        of_it.filter_map(|event| event["state"].as_str()).collect::<Vec<_>>()
    };
    assert_eq!(states(FR).into_iter().filter(|state| *state == "up").count(), 0, "nothing happened to fr");
    assert_eq!(states(UK).into_iter().filter(|state| *state == "up").count(), 2, "{events:#?}");
    assert!(states(UK).contains(&"stopped") && states(UK).contains(&"connecting"), "{events:#?}");
    assert_eq!(states(US).into_iter().filter(|state| *state == "up").count(), 1, "{events:#?}");
    let assigned = events.iter().find(|event| event["event"] == "address-assigned" && event["tunnel"] == "us");
    let assigned = assigned.unwrap_or_else(|| panic!("{events:#?}"));
    assert_eq!(assigned["address"], "10.102.0.2/24", "with the length that its server pushed: {assigned}");
    assert_eq!(assigned["presented"], "10.102.0.2/32", "{assigned}");
    assert!(events.iter().any(|event| event["event"] == "address-removed" && event["tunnel"] == "us"), "{events:#?}");
}

/// A document for each change: no two that follow one another are the same, and the last one says that nothing is up.
fn check_documents(documents: &[Value]) {
    for pair in documents.windows(2) {
        assert_ne!(pair[0], pair[1]);
    }
    // Changes that follow one another at once may be one.
    let states: BTreeSet<&str> = documents.iter().filter_map(|one| one["tunnels"][0]["state"].as_str()).collect();
    assert!(states.is_superset(&BTreeSet::from(["up", "stopped"])), "{states:?}");
    assert!(documents.iter().any(|one| one["tunnels"][2]["name"] == "us"), "us was seen");
    let (last, others) = documents.split_last().unwrap();
    assert_eq!(*last, serde_json::json!({"state": "down", "tunnels": []}));
    assert!(others.iter().all(|one| one["schema"] == 1));
}

fn background(world: &World, engine: &Mrvpn, words: &[&str]) -> Process {
    Process::start(&unique_name(), engine.command(words), world.scratch.path())
}

fn lines(process: &Process) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    process.stdout().lines().map(parse).collect()
}

/// Runs a command that must succeed; its one sentence.
#[track_caller]
fn done(engine: &Mrvpn, words: &[&str]) -> String {
    let output = engine.run(words);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}\n{}", engine.log());
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
