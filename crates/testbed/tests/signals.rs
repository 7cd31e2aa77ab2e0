//! A stop by signal at any moment: the engine ends soon, servers are told, the host is as before. Signals one at a time in
//! known states are in `host_as_before.rs`, kills in `crash.rs`.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use mrvpn_testbed::{
    FR, HostSnapshot, Mrvpn, Process, Random, Region, ServerOptions, UK, World, mrvpn::tunnels, unique_name,
    usual_wrapping,
};
use rustix::process::Signal;

/// Moments at which a signal comes (threats-and-faults.md, F-34).
const MOMENTS: usize = 200;

/// How long an end may take (threats-and-faults.md, F-34).
const LIMIT: Duration = Duration::from_secs(2);

/// How long an end without a goodbye may take on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(1);

const SIGNALS: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

const RULES: [&str; 2] = ["", "\n[[rule]]\nto = [\"203.0.113.10/32\"]\nport = [\"7000-7010\"]\nvia = \"uk\"\n"];

/// What the engine is about when the signal comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Starting,
    Running,
    Reloading,
    Restarting,
    /// One of the servers does not answer.
    Trying,
}

const STATES: [State; 4] = [State::Starting, State::Running, State::Reloading, State::Restarting];

// proves: F-34, I-10
#[test]
fn a_signal_at_any_moment_ends_all_within_two_seconds_tells_the_servers_and_leaves_the_host_as_before() {
    let mut world = world();
    let before = HostSnapshot::take(&world.client);
    let mut engine = Mrvpn::up(&world, &config(&world, 0));
    let begun = Instant::now();
    let connected = engine.wait(all_up)["tunnels"][0]["connect_ms"].clone();
    engine.down_for_now();
    let up = Duration::from_millis(connected.as_u64().unwrap_or(50)) + Duration::from_millis(60);
    let (mut random, mut slowest) = (Random::seeded("signals"), Duration::ZERO);
    let mut ended: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..MOMENTS {
        let state = if number < MOMENTS * 9 / 10 { STATES[number % STATES.len()] } else { State::Trying };
        if number == MOMENTS * 9 / 10 {
            told(&world, UK);
            world.kill_server(UK);
        }
        let signal = SIGNALS[number / STATES.len() % SIGNALS.len()];
        let delay = match state {
            State::Starting => random.time_below(up * 2),
            State::Running | State::Reloading | State::Restarting | State::Trying => {
                random.time_below(Duration::from_millis(60))
            }
        };
        engine.start_again(&world, &config(&world, number % 2));
        let command = bring_to(&mut engine, &world, state, number);
        std::thread::sleep(delay);
        let (sent, stood) = (Instant::now(), is_there(&world));
        engine.signal(signal);
        let code = engine.wait_end(Duration::from_secs(10));
        let took = sent.elapsed();
        drop(command);
        slowest = slowest.max(took);
        let moment = format!("moment {number}: {state:?}, {signal:?} after {delay:?}");
        assert!(took < LIMIT, "{moment}: ended after {took:?}\n{}", engine.log());
        // A signal may come before the program has begun to listen for it; then nothing was made yet.
        let class = if code.is_none() { "at once" } else { "in good order" };
        assert!(code == Some(0) || (code.is_none() && !stood), "{moment}: {code:?}\n{}", engine.log());
        assert!(!is_there(&world), "{moment}: {}\n{}", left(&world), engine.log());
        if number % 10 == 0 {
            assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "", "{moment}");
        }
        *ended.entry(format!("{state:?} {class}")).or_default() += 1;
    }
    eprintln!("{ended:#?}\nslowest end {slowest:?}, all after {:?}", begun.elapsed());
    assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "");
    told(&world, FR);
    let running = ["Running in good order", "Reloading in good order", "Restarting in good order"];
    assert!(running.iter().all(|class| ended.get(*class) == Some(&(MOMENTS * 9 / 40))), "{ended:?}");
}

// proves: F-34
#[test]
fn a_second_signal_ends_at_once_and_down_cleans_up() {
    let world = world();
    let before = HostSnapshot::take(&world.client);
    let mut engine = Mrvpn::up(&world, &config(&world, 1));
    // Both wait for a program that stands still, so that it cannot have ended between the two.
    engine.signal(Signal::STOP);
    engine.signal(Signal::TERM);
    engine.signal(Signal::INT);
    let begun = Instant::now();
    engine.signal(Signal::CONT);
    let code = engine.wait_end(Duration::from_secs(5));
    assert!(code == Some(1) && begun.elapsed() < AT_ONCE, "{code:?} after {:?}\n{}", begun.elapsed(), engine.log());
    assert!(engine.log().contains("`mrvpn down` cleans up"), "{}", engine.log());
    assert!(is_there(&world), "there is something to clean up");
    let output = engine.run(&["down"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "", "{output:?}");
}

fn bring_to(engine: &mut Mrvpn, world: &World, state: State, number: usize) -> Option<Process> {
    let begin = |engine: &Mrvpn, words: &[&str]| {
        Some(Process::start(&unique_name(), engine.command(words), world.scratch.path()))
    };
    match state {
        State::Starting => None,
        State::Running => {
            engine.wait(all_up);
            None
        }
        State::Reloading => {
            engine.wait(all_up);
            let _ = config(world, 1 - number % 2);
            begin(engine, &["reload"])
        }
        State::Restarting => {
            engine.wait(all_up);
            begin(engine, &["tunnel", "restart", "uk"])
        }
        State::Trying => {
            engine.wait_tunnel("fr", "up", Duration::from_secs(5));
            None
        }
    }
}

fn all_up(status: &serde_json::Value) -> bool {
    tunnels(status).iter().all(|tunnel| tunnel["state"] == "up")
}

/// Whether anything of an engine is on the host.
fn is_there(world: &World) -> bool {
    !left(world).is_empty()
}

/// Rules, routes, tables and devices of engines.
fn left(world: &World) -> String {
    let client = &world.client;
    let routes = ["-4", "-6"].map(|family| {
        client.try_run("ip", &[family, "route", "show", "table", "all", "proto", "77"]).unwrap_or_default()
    });
    let rules = client.run("ip", &["rule"]).lines().filter(|line| line.contains("proto 77")).collect::<String>();
    let links = client.run("ip", &["-o", "link"]).lines().filter(|line| line.contains("mrvpn")).collect::<String>();
    let tables = client.run("nft", &["list", "tables"]).lines().filter(|line| line.contains("mrvpn_")).collect();
    [routes.concat(), rules, links, tables].concat()
}

/// A server whose clients have all said goodbye: it lost none by silence.
#[track_caller]
fn told(world: &World, region: Region) {
    // The server's own limit for silence is four seconds.
    std::thread::sleep(Duration::from_secs(5));
    let log = world.server(region).log();
    // Who is gone before the handshake is over (`UNDEF`) has no channel for a goodbye.
    let is_lost = |line: &&str| line.contains("Inactivity timeout") && !line.contains("[UNDEF]");
    let silent: Vec<&str> = log.lines().filter(is_lost).collect();
    assert_eq!(silent, Vec::<&str>::new(), "{}", region.name);
    assert!(log.matches("exit message received").count() > MOMENTS / 2, "{}: {log}", region.name);
}

fn world() -> World {
    let mut world = World::new(0);
    for region in [UK, FR] {
        let options = ServerOptions::new(usual_wrapping(region));
        let options = if region == FR { options.push("redirect-gateway def1") } else { options };
        world.start_server(region, options);
    }
    world
}

fn config(world: &World, file: usize) -> Vec<String> {
    let tunnel = |region: Region| {
        let path = world.write_profile(region.name, &world.profile(region));
        format!("[[tunnel]]\nname = \"{}\"\nprofile = \"{}\"\n", region.name, path.display())
    };
    let text: String = [UK, FR].into_iter().map(tunnel).collect();
    let path = world.scratch.write("mrvpn.toml", &(text + RULES[file]));
    vec![String::from("-c"), path.display().to_string()]
}
