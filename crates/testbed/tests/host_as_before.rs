//! After `down`, each signal, and a kill with a later `down`, the host is as if mrvpn had never run.

use mrvpn_testbed::{HostSnapshot, Mrvpn, PROTOS, REGIONS, World, ask};
use rustix::process::Signal;

/// A way to end an engine.
type End = fn(Mrvpn);

/// A rule of each kind, so that there is something to take away.
const RULES: &str = r#"
[[rule]]
to = ["203.0.113.10/32"]
port = ["7000-7010"]
via = "us"

[[rule]]
to = ["203.0.113.20/32"]
via = "direct"
"#;

#[test]
fn the_host_is_as_before_after_down_and_after_each_signal() {
    every_end(0);
}

#[test]
fn the_host_is_as_before_with_rp_filter_2_as_well() {
    every_end(2);
}

fn every_end(rp_filter: u8) {
    let world = world(rp_filter);
    let before = HostSnapshot::take(&world.client);
    let ends: [(&str, End); 4] = [
        ("down", Mrvpn::down),
        ("Ctrl-C", |engine| engine.end_by(Signal::INT)),
        ("SIGTERM", |engine| engine.end_by(Signal::TERM)),
        ("a closed terminal", |engine| engine.end_by(Signal::HUP)),
    ];
    for (name, end) in ends {
        let mut engine = Mrvpn::up(&world, &world.write_config(RULES));
        engine.wait(|status| status["default"]["via"] == "fr");
        for region in REGIONS {
            let answer = ask(&world.client, PROTOS[0], region.inner, None);
            assert!(answer.is(region.name, region.client), "{name}: {answer:?}\n{}", engine.log());
        }
        assert_ne!(before, HostSnapshot::take(&world.client), "there is something to take away");
        end(engine);
        let after = HostSnapshot::take(&world.client);
        assert_eq!(before.difference(&after), "", "after {name}");
    }
    assert!(ask(&world.client, PROTOS[1], "203.0.113.10", None).is("internet", "192.168.1.2"));
}

#[test]
fn a_signal_while_tunnels_are_still_connecting_leaves_the_host_as_before() {
    let world = world(0);
    let before = HostSnapshot::take(&world.client);
    for wait_ms in [0, 5, 20, 60, 150] {
        let engine = Mrvpn::start(&world, &world.write_config(RULES));
        std::thread::sleep(std::time::Duration::from_millis(100 + wait_ms));
        engine.end_by(Signal::TERM);
        assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "", "after {wait_ms} ms");
    }
}

#[test]
fn down_cleans_up_after_a_killed_engine_and_nothing_claimed_goes_clear_meanwhile() {
    let world = world(0);
    let before = HostSnapshot::take(&world.client);
    let mut engine = Mrvpn::up(&world, &world.write_config(RULES));
    engine.wait(|status| status["default"]["via"] == "fr");
    engine.kill();
    for address in [REGIONS[0].inner, "198.51.100.10"] {
        let answer = ask(&world.client, PROTOS[0], address, None);
        assert_eq!(answer.region, None, "{address} stays closed: {answer:?}");
    }
    let output = engine.run(&["down"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "");
}

#[test]
fn a_second_up_of_the_same_instance_is_refused_and_disturbs_nothing() {
    let world = world(0);
    let mut engine = Mrvpn::up(&world, &world.write_config(RULES));
    let status = engine.wait(|status| status["state"] == "up");
    let config = world.scratch.path().join("mrvpn.toml").display().to_string();
    let second = engine.run(&["up", "-c", &config]);
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&engine.pid().to_string()), "it says which process has it: {said}");
    assert_eq!(engine.status()["since"], status["since"]);
    engine.down();
}

fn world(rp_filter: u8) -> World {
    let mut world = World::new(rp_filter);
    world.start_servers(|region, options| match region.name {
        "fr" => options.push("redirect-gateway def1"),
        "uk" => options.push("route 198.51.100.0 255.255.255.0").push("route-ipv6 2001:db8:99::/48"),
        _ => options,
    });
    world
}
