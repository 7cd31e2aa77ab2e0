//! Reloads while everything runs: what did not change goes on, what is broken changes nothing, what is printed is what is
//! done, and no moment of it lets a packet out in clear.

#![allow(clippy::unwrap_used, reason = "a test whose world cannot be built has failed")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use mrvpn_testbed::{
    Background, ClearWatch, Farm, Knocks, Mrvpn, PROTOS, ServerOptions, World, Wrapping, ask,
    mrvpn::{tunnel, tunnels},
    wait_until,
};
use serde_json::Value;

/// Tunnels in all; the second half changes with each reload.
const TUNNELS: u8 = 10;
const UNCHANGED: u8 = 5;

/// Reloads under traffic.
const RELOADS: usize = 200;

// proves: F-25, T-84, I-1
#[test]
fn two_hundred_reloads_of_half_of_ten_tunnels_cost_the_others_nothing() {
    let world = World::new(0);
    let farm = farm(&world);
    let mut engine = Mrvpn::up(&world, &config(&world, &farm, 0));
    let before = engine.wait(|status| tunnels(status).len() == usize::from(TUNNELS));
    let watch = ClearWatch::new(&world, &["10.110.1.0/24", "10.110.2.0/24", "10.110.4.0/23", "203.0.113.10/32"]);
    watch.expect_closed_now();
    let doors: Vec<&str> = farm.fields().iter().take(5).map(|field| field.inner.as_str()).collect();
    let knocks =
        Knocks::start(&world.client, &[doors.as_slice(), &["203.0.113.10"]].concat(), None, 20, &world.scratch);
    // Longer than 200 reloads take on a busy machine of two cores (27 s seen).
    let length = Duration::from_secs(50);
    let probes: Vec<Background> = fields(&farm).map(|field| field.probe(&world, 200, length)).collect();
    let begun = Instant::now();
    let mut said: BTreeMap<String, usize> = BTreeMap::new();
    for number in 1..=RELOADS {
        let _ = config(&world, &farm, number);
        let output = engine.run(&["reload"]);
        assert_eq!(output.status.code(), Some(0), "reload {number}: {output:?}\n{}", engine.log());
        for line in text(&output.stdout).lines() {
            *said.entry(line.split(':').next().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let seen = watch.read();
        assert_eq!((seen.leaked, seen.forged), (0, 0), "reload {number}: {seen:?}");
    }
    let took = begun.elapsed();
    eprintln!("{RELOADS} reloads in {took:?}: {said:?}");
    assert!(took < length, "the probes ran all the time: {took:?}");
    for what in ["added", "removed", "connects again", "changed, its session stays", "the rules are others"] {
        assert!(said.get(what) >= Some(&(RELOADS / 4)), "{what}: {said:?}");
    }
    for (probe, field) in probes.into_iter().zip(fields(&farm)) {
        let seen = probe.finish(length + Duration::from_secs(10));
        assert_eq!((&seen["lost"], &seen["twice"]), (&0.into(), &0.into()), "{}: {seen}", field.name);
    }
    let knocks = knocks.finish();
    assert!(knocks["udp"].as_u64() > Some(1000), "{knocks}");
    let after = engine.wait(|status| tunnels(status).iter().all(|tunnel| tunnel["state"] == "up"));
    for field in fields(&farm) {
        let (then, now) = (tunnel(&before, &field.name), tunnel(&after, &field.name));
        for key in ["state", "since", "assigned", "presented", "bind", "connect_ms"] {
            assert_eq!(then[key], now[key], "{}: {key}", field.name);
        }
        assert!(now["rx_bytes"].as_u64() > Some(100_000), "its counters go on: {now}");
        let logins = field.server.log().matches("Peer Connection Initiated").count();
        assert_eq!(logins, 1, "{}: its server has seen one client\n{}", field.name, field.server.log());
    }
    assert_eq!(before["since"], after["since"]);
    for field in farm.fields() {
        let there = tunnels(&after).iter().any(|tunnel| tunnel["name"] == field.name.as_str());
        let answer = ask(&world.client, PROTOS[0], &field.inner, None);
        assert_eq!(answer.is("farm", &field.client), there, "{}: {answer:?}\n{after:#}", field.name);
    }
    engine.down();
}

// proves: T-84
#[test]
fn a_broken_file_changes_nothing_and_what_new_rules_forbid_is_reset() {
    let world = World::new(0);
    let farm = Farm::new(&world, (0..3).map(|_| ServerOptions::new(Wrapping::None)).collect());
    let good = file(&farm, 3, |_| String::new()) + "\n[[rule]]\nto = [\"203.0.113.10/32\"]\nvia = \"t1\"\n";
    let path = world.scratch.write("mrvpn.toml", &good);
    let mut engine = Mrvpn::up(&world, &["-c", &path.display().to_string()]);
    let before = settled(&engine.wait(|status| status["state"] == "up"));
    let rules = world.client.run("ip", &["rule"]);

    // Each is refused with file and line, by the dry run too, and nothing changes.
    let open = world.scratch.write("open.auth", "alice\nsecret\n");
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    world.scratch.write("broken.ovpn", "client\ndev tun\nremote 192.0.2.18 2001\nno-such-directive 7\n");
    let lines = good.lines().count();
    for (more, names) in [
        ("[[rule]\n", format!("mrvpn.toml:{}", lines + 1)),
        ("[[rule]]\nto = [\"10.0.0.0/8\"]\nvia = \"nowhere\"\n", format!("mrvpn.toml:{}", lines + 3)),
        ("[[rule]]\nto = [\"10.0.0.0/99\"]\nvia = \"t1\"\n", format!("mrvpn.toml:{}", lines + 2)),
        ("[[rule]]\ntoo = [\"10.0.0.0/8\"]\nvia = \"t1\"\n", format!("mrvpn.toml:{}", lines + 2)),
        ("[[tunnel]]\nname = \"new\"\nprofile = \"missing.ovpn\"\n", String::from("missing.ovpn")),
        ("[[tunnel]]\nname = \"new\"\nprofile = \"broken.ovpn\"\n", String::from("broken.ovpn:4")),
        ("[[tunnel]]\nname = \"t1\"\nprofile = \"t2.ovpn\"\n", format!("mrvpn.toml:{}", lines + 1)),
        ("[[tunnel]]\nname = \"new\"\nprofile = \"t2.ovpn\"\ncredentials = \"open.auth\"\n", String::from("open.auth")),
    ] {
        world.scratch.write("mrvpn.toml", &(good.clone() + more));
        for words in [&["reload"][..], &["reload", "--dry-run"]] {
            let output = engine.run(words);
            let told = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{more}: {output:?}");
            assert!(told.contains(&names) && output.stdout.is_empty(), "{more}: {names} is named: {told}");
        }
        assert_eq!(settled(&engine.status()), before, "{more}");
        assert_eq!(world.client.run("ip", &["rule"]), rules, "{more}");
    }

    // What the dry run prints is what is then done.
    let new = good.clone() + "\n[[rule]]\nto = [\"203.0.113.20/32\"]\nproto = [\"udp\"]\nvia = \"t2\"\n";
    world.scratch.write("mrvpn.toml", &new);
    let printed = text(&engine.run(&["reload", "--dry-run"]).stdout);
    assert_eq!(settled(&engine.status()), before, "a dry run changes nothing");
    assert_eq!(world.client.run("ip", &["rule"]), rules);
    let done = steps(&engine);
    let output = engine.run(&["reload"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), String::from("the rules are others\n")));
    let done: Vec<String> = steps(&engine).split_off(done.len());
    let printed: Vec<&str> = printed.lines().collect();
    assert_eq!(
        printed.len(),
        done.len() + 1,
        "the steps and a line that the rules are others: {printed:#?}\n{done:#?}"
    );
    assert!(printed.iter().any(|line| line.contains("203.0.113.20")), "{printed:#?}");
    let rules = world.client.run("ip", &["rule"]);
    assert!(rules.contains("to 203.0.113.20 ") && rules.contains("ipproto udp"), "{rules}");
    assert_eq!(text(&engine.run(&["reload", "--dry-run"]).stdout), "nothing would change\n");
    assert_eq!(text(&engine.run(&["reload"]).stdout), "nothing has changed\n");

    // A connection that the new rules forbid is reset at once; its neighbour goes on.
    let stream = |place: usize, seconds: u64| {
        let to = &farm.fields()[place].inner;
        Background::stream(&world.client, to, None, Duration::from_secs(seconds), &world.scratch)
    };
    let (forbidden, allowed) = (stream(0, 20), stream(1, 3));
    std::thread::sleep(Duration::from_millis(500));
    let block = "\n[[rule]]\nto = [\"10.110.1.1/32\"]\nproto = [\"tcp\"]\nvia = \"block\"\n";
    world.scratch.write("mrvpn.toml", &(good.clone() + block));
    let begun = Instant::now();
    let output = engine.run(&["reload"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let ended = forbidden.finish(Duration::from_secs(2));
    assert!(["ConnectionReset", "ConnectionRefused"].iter().any(|word| ended["error"] == *word), "{ended}");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(allowed.finish(Duration::from_secs(10))["error"], Value::Null);
    let refused = ask(&world.client, PROTOS[0], &farm.fields()[0].inner, None);
    assert_eq!(refused.error.as_deref(), Some("ConnectionRefused"), "{refused:?}");
    assert_eq!(ask(&world.client, PROTOS[1], &farm.fields()[0].inner, None).region.as_deref(), Some("farm"));
    engine.down();
}

/// The unchanged tunnels.
fn fields(farm: &Farm) -> impl Iterator<Item = &mrvpn_testbed::Field> {
    farm.fields().iter().take(usize::from(UNCHANGED))
}

fn farm(world: &World) -> Farm {
    Farm::new(world, (0..TUNNELS).map(|_| ServerOptions::new(Wrapping::None)).collect())
}

/// The file of a reload: the first five tunnels as ever, each of the others changed in its own way, other rules.
fn config(world: &World, farm: &Farm, number: usize) -> Vec<String> {
    let changed = |place: usize| {
        let name = &farm.fields()[place].name;
        match place {
            // Another profile: its session begins anew.
            5 => rewritten(world, name, &format!("reneg-sec {}", 3601 + number)),
            6 => rewritten(world, name, if number.is_multiple_of(2) { "" } else { "explicit-exit-notify 2" }),
            // Another list of what may come in: its session stays.
            7 => format!("accept = [\"tcp/{}\"]\n", 7100 + number),
            8 => format!("accept = [\"udp/{}\"]\n", 7100 + number),
            _ => String::new(),
        }
    };
    // The last one is there every other time.
    let count = TUNNELS - u8::from(!number.is_multiple_of(2));
    let mut text = file(farm, count, changed);
    let via = if number.is_multiple_of(2) { "t1" } else { "t2" };
    text += &format!("\n[[rule]]\nto = [\"203.0.113.10/32\"]\nvia = \"{via}\"\n");
    text += &format!("\n[[rule]]\nto = [\"203.0.113.{}/32\"]\nport = [7000]\nvia = \"t3\"\n", 100 + number % 100);
    text += &format!("\n[[rule]]\nto = [\"198.51.100.{}/32\"]\nvia = \"direct\"\n", 1 + number % 3);
    let path = world.scratch.write("mrvpn.toml", &text);
    vec![String::from("-c"), path.display().to_string()]
}

/// `[[tunnel]]` of the first so many, each with the lines that are its own.
fn file(farm: &Farm, count: u8, own: impl Fn(usize) -> String) -> String {
    let tunnel = |place: usize| {
        let name = &farm.fields()[place].name;
        format!("[[tunnel]]\nname = \"{name}\"\nprofile = \"{name}.ovpn\"\n{}", own(place))
    };
    (0..usize::from(count)).map(tunnel).collect()
}

/// Writes a tunnel's profile with one line more than at the beginning; no line of the file.
fn rewritten(world: &World, name: &str, line: &str) -> String {
    let path = world.scratch.path().join(format!("{name}.ovpn"));
    let text = std::fs::read_to_string(&path).unwrap();
    let own =
        |text: &str| text.lines().take_while(|line| *line != "# changed").map(|line| format!("{line}\n")).collect();
    let kept: String = own(&text);
    world.scratch.write(&format!("{name}.ovpn"), &format!("{kept}# changed\n{line}\n"));
    String::new()
}

/// A status without what moves by itself.
fn settled(status: &Value) -> Value {
    let mut status = status.clone();
    if let Some(all) = status["tunnels"].as_array_mut() {
        for tunnel in all {
            for key in ["rx_bytes", "tx_bytes", "drops"] {
                tunnel[key] = Value::Null;
            }
        }
    }
    status
}

/// The steps on the host that an engine has logged.
fn steps(engine: &Mrvpn) -> Vec<String> {
    // The log is written by then: the command that asked for the steps has been answered.
    wait_until("the log", Duration::from_secs(1), || Some(engine.log()))
        .lines()
        .filter(|line| line.contains("network step"))
        .map(String::from)
        .collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
