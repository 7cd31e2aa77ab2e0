//! Claims outlive their tunnel's state: what a server claimed is refused while its tunnel is down, after a restart of the
//! engine too, and goes nowhere else; only the user lets it go. No rule in the file helps here but where one is named.
//! Claims that a killed engine leaves closed are elsewhere: see `host_as_before.rs`.

use std::{thread, time::Duration};

use mrvpn_testbed::{
    CLIENT, FR, Mrvpn, PROTOS, REGIONS, Region, ServerOptions, UK, US, World, ask, mrvpn::tunnel, usual_wrapping,
    wait_until,
};
use serde_json::Value;

/// Inside what uk's server pushes, in both families; nothing else claims it.
const PUSHED: [&str; 2] = ["198.51.100.10", "2001:db8:99::10"];

/// What only a default has.
const UNNAMED: &str = "203.0.113.20";

/// How long a refusal may take: packets of a tunnel that is not up are held for a second at most.
const TOLD: Duration = Duration::from_millis(1800);

// proves: I-1
#[test]
fn a_pushed_route_is_refused_while_its_tunnel_is_down_and_after_a_restart_of_the_engine() {
    for rp_filter in [0, 1, 2] {
        let (mut world, case) = (World::new(rp_filter), format!("rp_filter {rp_filter}"));
        world.start_servers(|region, options| if region == UK { pushing(options) } else { goodbye(options) });
        let profiles = world.write_profiles();
        let mut engine = Mrvpn::up(&world, &profiles);
        carried(&world, &PUSHED, "uk", &case);
        assert_eq!(clear(&world), 0);

        world.dismiss_server(UK);
        engine.wait_tunnel("uk", "reconnecting", Duration::from_secs(8));
        refused(&world, &PUSHED, &format!("reconnecting, {case}"));
        assert_eq!(clear(&world), 0, "{case}");

        // mrvpn does not run: nothing is held.
        engine.down_for_now();
        assert!(ask(&world.client, PROTOS[0], PUSHED[0], None).is("internet", CLIENT), "{case}");
        let in_the_open = clear(&world);
        assert!(in_the_open > 0);

        // It runs again and has not heard of uk's server; a question asked at once is refused as one asked later.
        engine.start_again(&world, &profiles);
        capture_stands(&world);
        let status = engine.wait(|status| tunnel(status, "uk")["state"] == "connecting");
        let routes = tunnel(&status, "uk")["routes"].to_string();
        assert!(routes.contains("198.51.100.0/24"), "{case}: {status:#}");
        refused(&world, &PUSHED, &format!("before the first answer, {case}"));
        refused(&world, &[UK.inner], &format!("its own network, {case}"));
        engine.wait_tunnel("fr", "up", Duration::from_secs(10));
        carried(&world, &[FR.inner], "fr", &case);
        refused(&world, &PUSHED, &format!("still without an answer, {case}"));
        assert_eq!(clear(&world), in_the_open, "nothing more went in clear, {case}");

        world.restart_server(UK);
        engine.wait_tunnel("uk", "up", Duration::from_secs(20));
        carried(&world, &PUSHED, "uk", &case);
        assert_eq!(clear(&world), in_the_open, "{case}");
        engine.down();
        nothing_strange(&world);
    }
}

// proves: I-1
#[test]
fn neither_the_default_nor_the_clear_gets_what_a_tunnel_that_is_not_up_yet_claimed() {
    for rp_filter in [0, 2] {
        let (mut world, case) = (World::new(rp_filter), format!("rp_filter {rp_filter}"));
        world.start_servers(usual);
        let config = world.write_config("");
        let mut engine = Mrvpn::up(&world, &config);
        engine.wait(|status| status["default"]["via"] == "fr");
        carried(&world, &PUSHED, "uk", &case);
        carried(&world, &[UNNAMED], "fr", &case);

        // With uk's server away: its claims are refused, the default works as soon as fr is up.
        world.dismiss_server(UK);
        engine.down_for_now();
        let before = clear(&world);
        engine.start_again(&world, &config);
        engine.wait(|status| status["default"]["via"] == "fr" && tunnel(status, "fr")["state"] == "up");
        carried(&world, &[UNNAMED], "fr", &case);
        refused(&world, &PUSHED, &format!("uk's, not the default's, {case}"));

        // With the default's server away too: what is its own is refused, and uk's as before.
        world.dismiss_server(FR);
        engine.down_for_now();
        engine.start_again(&world, &config);
        capture_stands(&world);
        refused(&world, &[UNNAMED], &format!("at once, {case}"));
        let status = engine.wait(|status| tunnel(status, "us")["state"] == "up");
        refused(&world, &[UNNAMED, PUSHED[0], PUSHED[1], UK.inner, FR.inner], &format!("{case}: {status:#}"));
        carried(&world, &[US.inner], "us", &case);
        assert_eq!(clear(&world), before, "nothing in clear, {case}");

        world.restart_server(FR);
        engine.wait_tunnel("fr", "up", Duration::from_secs(20));
        engine.wait(|status| status["default"]["via"] == "fr");
        carried(&world, &[UNNAMED], "fr", &case);
        refused(&world, &PUSHED, &case);
        assert_eq!(clear(&world), before, "{case}");
        engine.down();
        nothing_strange(&world);
    }
}

#[test]
fn tunnel_stop_lets_go_what_the_server_claimed_says_who_has_it_and_start_takes_it_back() {
    for rp_filter in [0, 1, 2] {
        let (mut world, case) = (World::new(rp_filter), format!("rp_filter {rp_filter}"));
        world.start_servers(usual);
        let rule = "[[rule]]\nname = \"mine\"\nto = [\"203.0.113.10/32\"]\nvia = \"uk\"\n";
        let mut engine = Mrvpn::up(&world, &world.write_config(rule));
        engine.wait(|status| status["default"]["via"] == "fr");
        carried(&world, &PUSHED[..1], "uk", &case);
        carried(&world, &["203.0.113.10"], "uk", &case);

        let said = verb(&engine, "stop", "uk");
        assert!(said.contains("198.51.100.0/24") && said.contains("fr"), "{said}");
        assert_eq!(engine.wait_tunnel("uk", "stopped", Duration::from_secs(3))["error"], Value::Null);
        carried(&world, &PUSHED[..1], "fr", &case);
        refused(&world, &["203.0.113.10"], &format!("what a rule gives to it is kept, {case}"));
        refused(&world, &["203.0.113.10"], &format!("and stays so, {case}"));

        // The default is let go as well: nobody else offers, so the host has it, and it is said.
        let said = verb(&engine, "stop", "fr");
        assert!(said.contains("default: none"), "{said}");
        carried(&world, &[UNNAMED, PUSHED[0]], "internet", &case);
        refused(&world, &["203.0.113.10"], &case);
        let in_the_open = clear(&world);

        let said = verb(&engine, "start", "uk");
        assert!(said.contains("uk"), "{said}");
        engine.wait_tunnel("uk", "up", Duration::from_secs(10));
        carried(&world, &PUSHED[..1], "uk", &case);
        carried(&world, &["203.0.113.10"], "uk", &case);
        verb(&engine, "start", "fr");
        engine.wait_tunnel("fr", "up", Duration::from_secs(10));
        engine.wait(|status| status["default"]["via"] == "fr");
        carried(&world, &[UNNAMED], "fr", &case);
        assert_eq!(clear(&world), in_the_open, "taken back as soon as it is started, {case}");
        engine.down();
        nothing_strange(&world);
    }
}

#[test]
fn a_claim_goes_with_the_push_that_replaces_it_and_with_the_tunnel_that_leaves_the_file() {
    let mut world = World::new(0);
    world.start_servers(usual);
    let mut engine = Mrvpn::up(&world, &world.write_config(""));
    engine.wait(|status| status["default"]["via"] == "fr");
    carried(&world, &PUSHED[..1], "uk", "pushed");

    // The server comes back and pushes nothing more: the claim is its own until then and nobody's after it.
    world.dismiss_server(UK);
    engine.wait_tunnel("uk", "reconnecting", Duration::from_secs(8));
    refused(&world, &PUSHED[..1], "reconnecting");
    world.start_server(UK, goodbye(ServerOptions::new(usual_wrapping(UK))));
    engine.wait_tunnel("uk", "up", Duration::from_secs(20));
    carried(&world, &PUSHED[..1], "fr", "pushed no more");

    // It pushes again, and the tunnel leaves the file.
    world.dismiss_server(UK);
    engine.wait_tunnel("uk", "reconnecting", Duration::from_secs(8));
    world.start_server(UK, pushing(ServerOptions::new(usual_wrapping(UK))));
    engine.wait_tunnel("uk", "up", Duration::from_secs(20));
    carried(&world, &PUSHED[..1], "uk", "pushed again");
    let _ = world.write_config("");
    let path = world.scratch.path().join("mrvpn.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let _ = world.scratch.write("mrvpn.toml", &text.replace("[[tunnel]]\nname = \"uk\"\nprofile = \"uk.ovpn\"\n", ""));
    let output = engine.run(&["reload"]);
    assert!(output.status.success(), "{output:?}");
    carried(&world, &[PUSHED[0], UK.inner], "fr or nobody", "uk has left the file");
    assert_eq!(tunnel(&engine.status(), "uk"), Value::Null);

    // Nor does it come back by memory.
    engine.down_for_now();
    engine.up_again(&world, &[String::from("-c"), path.display().to_string()]);
    engine.wait(|status| status["default"]["via"] == "fr");
    carried(&world, &PUSHED[..1], "fr", "forgotten");
    engine.down();
}

/// uk pushes routes, fr offers to be the default, us does neither.
fn usual(region: Region, options: ServerOptions) -> ServerOptions {
    match region.name {
        "uk" => pushing(options),
        "fr" => goodbye(options).push("redirect-gateway def1"),
        _ => goodbye(options),
    }
}

/// It tells its clients when it ends, so that no test waits for their timers.
fn goodbye(options: ServerOptions) -> ServerOptions {
    options.line("explicit-exit-notify 1")
}

fn pushing(options: ServerOptions) -> ServerOptions {
    goodbye(options)
        .line(&format!("server-ipv6 {}", UK.six.0))
        .push("route 198.51.100.0 255.255.255.0")
        .push("route-ipv6 2001:db8:99::/48")
}

/// Each is answered by the region, or by nobody else.
#[track_caller]
fn carried(world: &World, all: &[&str], by: &str, case: &str) {
    for to in all {
        for proto in PROTOS {
            let answer = ask(&world.client, proto, to, None);
            assert!(
                answer.region.as_deref().is_some_and(|region| by == region)
                    || (by == "fr or nobody" && answer.region.as_deref().is_none_or(|region| region == "fr")),
                "{case}: {to} is {by}'s, {proto:?}: {answer:?}"
            );
        }
    }
}

/// Each is refused, and told so: not answered by anybody, not left waiting. All are asked at once: a tunnel that is not up
/// yet holds its packets for a while.
#[track_caller]
fn refused(world: &World, all: &[&str], case: &str) {
    let asked = all.iter().flat_map(|to| PROTOS.map(|proto| (*to, proto)));
    let answers: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> =
            asked.map(|(to, proto)| (to, scope.spawn(move || ask(&world.client, proto, to, None)))).collect();
        asking.into_iter().map(|(to, answer)| (to, answer.join().expect("no question panics"))).collect()
    });
    for (to, answer) in answers {
        assert_eq!(answer.region, None, "{case}: {to}: {answer:?}");
        assert_ne!(answer.error.as_deref(), Some("TimedOut"), "{case}: {to}: {answer:?}");
        assert!(answer.after < TOLD, "{case}: {to}: {answer:?}");
    }
}

/// Waits for the policy rule that captures claims; what is known of before is in its table with it.
#[track_caller]
fn capture_stands(world: &World) {
    wait_until("the rule that captures", Duration::from_secs(5), || {
        world.client.run("ip", &["rule"]).contains("5330:").then_some(())
    });
}

/// Packets to addresses of the regions that left the client in clear.
fn clear(world: &World) -> u64 {
    let counters = world.internet_counters();
    ["inner", "public", "inner6", "public6", "inner_source", "inner_source6"]
        .map(|name| counters.packets(name))
        .iter()
        .sum()
}

#[track_caller]
fn verb(engine: &Mrvpn, verb: &str, name: &str) -> String {
    let output = engine.run(&["tunnel", verb, name]);
    assert!(output.status.success(), "tunnel {verb} {name}: {output:?}\n{}", engine.log());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn nothing_strange(world: &World) {
    for region in REGIONS {
        assert_eq!(world.region_counters(region).packets("strange"), 0, "{}", region.name);
    }
}
