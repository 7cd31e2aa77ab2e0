//! Who may ask a running engine, and what: by the kernel's word of who calls. And that those who only waste its time waste
//! nobody else's.

#![allow(clippy::unwrap_used, reason = "a test whose world cannot be built has failed")]

use std::{
    process::Output,
    time::{Duration, Instant},
};

use mrvpn_testbed::{
    Background, Mrvpn, PROTOS, Process, ServerOptions, UK, World, ask, helper,
    mrvpn::{User, become_user, for_all, tunnel},
    usual_wrapping,
};
use rustix::process::Signal;

/// Who has typed `sudo mrvpn up`.
const STARTER: User<'_> = User { uid: 1000, groups: &[] };

/// The group that may do all, and someone in it.
const GROUP: u32 = 977;
const MEMBER: User<'_> = User { uid: 2000, groups: &[100, GROUP] };

const STRANGERS: [User<'_>; 2] = [User { uid: 65_534, groups: &[] }, User { uid: 2001, groups: &[0, 4, 27] }];

const CHANGES: [&[&str]; 6] = [
    &["down"],
    &["reload"],
    &["reload", "--dry-run"],
    &["tunnel", "stop", "uk"],
    &["tunnel", "restart", "uk"],
    &["tunnel", "remove", "uk"],
];

// proves: T-60
#[test]
fn who_typed_sudo_may_look_the_group_may_do_all_and_strangers_nothing() {
    let world = world();
    world.client.etc("group", "root:x:0:\nadm:x:4:\nsudo:x:27:\nusers:x:100:\n");
    let profile = world.write_profile("uk", &world.profile(UK));
    let mut engine = Mrvpn::start_by_sudo(&world, &[format!("uk={}", profile.display())], STARTER.uid);
    let before = engine.wait_tunnel("uk", "up", Duration::from_secs(10));
    let run = |engine: &Mrvpn, user: User<'_>, words: &[&str]| engine.run_as(user, words, &world.scratch);

    for words in [&["status"][..], &["status", "--json"], &["explain", UK.inner], &["logs"], &["logs", "uk"]] {
        let output = run(&engine, STARTER, words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
        assert!(text(&output.stdout).contains("uk"), "{words:?}: {output:?}");
    }
    for words in CHANGES {
        let told = refused(&run(&engine, STARTER, words), words);
        assert!(told.contains("status, explain, events, logs"), "{words:?}: it says what is allowed: {told}");
        assert!(told.contains("groupadd"), "{words:?}: there is no such group yet: {told}");
    }
    for stranger in STRANGERS {
        for words in CHANGES.into_iter().chain([&["status"][..], &["explain", UK.inner], &["events"], &["logs"]]) {
            refused(&run(&engine, stranger, words), words);
        }
    }
    // A group of that name that the caller is not in, then one that he is in: no engine needs to be started again.
    world.client.etc("group", "root:x:0:\nadm:x:4:\nusers:x:100:\nmrvpn:x:500:\n");
    std::thread::sleep(Duration::from_millis(1100));
    let told = refused(&run(&engine, MEMBER, &["down"]), &["down"]);
    assert!(!told.contains("groupadd"), "{told}");
    world.client.etc("group", &format!("root:x:0:\nmrvpn:x:{GROUP}:\n"));
    std::thread::sleep(Duration::from_millis(1100));
    for stranger in STRANGERS {
        refused(&run(&engine, stranger, &["status"]), &["status"]);
    }
    let now = tunnel(&engine.status(), "uk");
    assert_eq!((&now["since"], &now["state"]), (&before["since"], &before["state"]), "nobody has changed anything");

    // A file is read by who asks, with rights of his own: the engine's do not help.
    let output = run(&engine, MEMBER, &["tunnel", "add", &format!("two={}", profile.display())]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("ermission denied"), "{output:?}");
    let output = run(&engine, MEMBER, &["tunnel", "restart", "uk"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let again = engine.wait_tunnel("uk", "up", Duration::from_secs(10));
    assert_ne!(again["since"], before["since"]);
    let output = run(&engine, MEMBER, &["down"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(engine.wait_end(Duration::from_secs(5)), Some(0));
}

// proves: T-60
#[test]
fn a_thousand_half_open_clients_disturb_nothing() {
    let world = world();
    let profile = world.write_profile("uk", &world.profile(UK));
    let mut engine = Mrvpn::start_by_sudo(&world, &[format!("uk={}", profile.display())], STARTER.uid);
    let before = engine.wait_tunnel("uk", "up", Duration::from_secs(10));
    let stop = world.scratch.path().join("half-open.stop");
    let socket = format!("/run/mrvpn/{}/control.sock", engine.instance());
    let program = for_all(&helper(), &world.scratch);
    let half_open = |user: User<'_>, count: u32| {
        let mut command = world.client.command("setpriv");
        command.args(&become_user(user)[1..]).arg(&program).args(["half-open", "--socket", &socket]);
        command.args(["--count", &count.to_string(), "--stop", &stop.display().to_string()]);
        Process::start(&format!("half-open-{}", user.uid), command, world.scratch.path())
    };
    let length = Duration::from_secs(5);
    let probe = Background::probe(&world.client, UK.inner, None, 1000, length, &world.scratch);
    let mut clients = [half_open(STRANGERS[0], 700), half_open(STARTER, 300)];
    let (begun, mut slowest, mut asked) = (Instant::now(), Duration::ZERO, 0);
    while begun.elapsed() < length - Duration::from_millis(500) {
        for user in [User { uid: 0, groups: &[] }, STARTER] {
            let at = Instant::now();
            let output = engine.run_as(user, &["status", "--json"], &world.scratch);
            assert_eq!(output.status.code(), Some(0), "user {}: {output:?}\n{}", user.uid, engine.log());
            slowest = slowest.max(at.elapsed());
            asked += 1;
        }
    }
    std::fs::write(&stop, "").unwrap();
    for client in &mut clients {
        assert!(client.wait_end(Duration::from_secs(5)).success(), "{}", client.log());
        eprint!("{}", client.stdout());
    }
    let seen: Vec<serde_json::Value> =
        clients.iter().map(|client| serde_json::from_str(&client.stdout()).unwrap()).collect();
    let opened: u64 = seen.iter().filter_map(|seen| seen["opened"].as_u64()).sum();
    assert!(opened > 1000, "{seen:?}");
    eprintln!("{asked} times status, slowest {slowest:?}");
    assert!(asked > 20 && slowest < Duration::from_secs(1), "{asked} times, slowest {slowest:?}");
    let probed = probe.finish(Duration::from_secs(10));
    assert_eq!((&probed["lost"], &probed["twice"]), (&0.into(), &0.into()), "{probed}");
    assert_eq!(tunnel(&engine.status(), "uk")["since"], before["since"]);
    assert!(ask(&world.client, PROTOS[0], UK.inner, None).is("uk", UK.client));
    engine.signal(Signal::TERM);
    assert_eq!(engine.wait_end(Duration::from_secs(5)), Some(0));
}

/// Refused with the group to join and the line to type; what was said.
#[track_caller]
fn refused(output: &Output, words: &[&str]) -> String {
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{words:?}: {output:?}");
    assert!(told.contains("sudo usermod -aG mrvpn $USER") && told.contains("the group mrvpn"), "{words:?}: {told}");
    told
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn world() -> World {
    let mut world = World::new(0);
    world.start_server(UK, ServerOptions::new(usual_wrapping(UK)));
    world
}
