//! A server that dies and comes back: its flows are refused and never go elsewhere, the tunnel returns by itself, and the
//! others lose nothing.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mrvpn_testbed::{
    Answer, Background, FR, Mrvpn, PROTOS, REGIONS, UK, US, World, ask,
    mrvpn::{tunnel, tunnels},
};

// proves: T-70, I-2, I-4
#[test]
fn a_killed_server_has_its_flows_refused_comes_back_by_name_and_costs_the_others_nothing() {
    let mut world = World::new(0);
    world.start_servers(|_, options| options);
    let mut arguments = world.write_profiles();
    let by_name = world.write_profile("uk", &world.profile(UK).remote(&UK.host_name()));
    arguments[0] = format!("uk={}", by_name.display());
    let mut engine = Mrvpn::up(&world, &arguments);
    let others = [(FR, probe(&world, FR.inner)), (US, probe(&world, US.inner))];
    let busy = Background::stream(&world.client, UK.inner, None, Duration::from_secs(20), &world.scratch);
    assert!(ask(&world.client, PROTOS[0], UK.inner, None).is("uk", UK.client));
    // The standing connection is well under way: one that only waits for its server's first word is silent, and may live.
    std::thread::sleep(Duration::from_millis(500));

    world.kill_server(UK);
    engine.wait_tunnel("uk", "reconnecting", Duration::from_secs(8));
    let (noticed, noticed_unix_ms) = (Instant::now(), unix_ms());
    for proto in PROTOS {
        let refused = ask(&world.client, proto, UK.inner, None);
        assert!(is_refused(&refused), "{proto:?}: {refused:?}\n{}", engine.log());
    }
    assert!(noticed.elapsed() < Duration::from_secs(3), "two questions refused after {:?}", noticed.elapsed());
    let ended = busy.finish(Duration::from_secs(5));
    assert!(ended["error"].is_string(), "{ended}");
    let after = ended["ended_unix_ms"].as_u64().unwrap().saturating_sub(noticed_unix_ms);
    // It is told when packets wait no longer, 1 s after the loss; TCP's own next try may be 0.2 s x 2^4 = 3.2 s away.
    assert!(after < 2000, "the standing connection was refused {after} ms after `reconnecting`: {ended}");
    let status = engine.status();
    assert_eq!(status["state"], "reconnecting", "{status:#}");
    assert!(tunnel(&status, "uk")["routes"].to_string().contains(UK.prefix), "a claim outlives its tunnel's state");

    world.restart_server(UK);
    engine.wait_tunnel("uk", "up", Duration::from_secs(15));
    for proto in PROTOS {
        assert!(ask(&world.client, proto, UK.inner, None).is("uk", UK.client));
    }
    for (region, probe) in others {
        let seen = probe.finish(Duration::from_secs(40));
        assert_eq!((&seen["lost"], &seen["twice"]), (&0.into(), &0.into()), "{}: {seen}", region.name);
        assert_eq!(seen["regions"][region.name], seen["sent"], "{seen}");
    }
    let counters = world.internet_counters();
    assert_eq!((counters.packets("inner"), counters.packets("inner_source")), (0, 0), "{counters:?}");
    engine.down();
}

// proves: T-70, I-2
#[test]
fn a_thousand_flows_of_a_tunnel_that_dies_go_nowhere_else() {
    let mut world = World::new(2);
    world.start_servers(|region, options| match region.name {
        "uk" => options.push("route 198.51.100.0 255.255.255.0"),
        "fr" => options.push("redirect-gateway def1"),
        _ => options.push("route 198.51.100.0 255.255.255.0"),
    });
    let mut engine = Mrvpn::up(&world, &world.write_profiles());
    engine.wait(|status| status["default"]["via"] == "fr");
    let time = Duration::from_secs(16);
    let flows = Background::flows(&world.client, "198.51.100.10", 1000, time, &world.scratch);
    std::thread::sleep(Duration::from_secs(1));
    world.kill_server(UK);
    engine.wait_tunnel("uk", "reconnecting", Duration::from_secs(8));
    std::thread::sleep(Duration::from_secs(2));
    world.restart_server(UK);
    engine.wait_tunnel("uk", "up", Duration::from_secs(15));
    let seen = flows.finish(time + Duration::from_secs(10));
    assert_eq!((&seen["answered"], &seen["mixed"]), (&1000.into(), &0.into()), "{seen}");
    let regions: Vec<&String> = seen["regions"].as_object().unwrap().keys().collect();
    assert_eq!(regions, ["uk"], "{seen}");
    assert!(seen["refused"].as_u64() > Some(0), "{seen}");
    assert_eq!(world.internet_counters().packets("public"), 0);
    engine.down();
}

#[test]
fn the_default_stays_with_its_tunnel_while_that_is_down() {
    let mut world = World::new(0);
    world.start_servers(|region, options| if region == US { options } else { options.push("redirect-gateway def1") });
    let mut engine = Mrvpn::up(&world, &world.write_profiles());
    engine.wait(|status| status["default"]["via"] == "uk");
    world.kill_server(UK);
    engine.wait_tunnel("uk", "reconnecting", Duration::from_secs(8));
    for proto in PROTOS {
        let answer = ask(&world.client, proto, "203.0.113.20", None);
        assert!(is_refused(&answer), "neither fr nor in clear: {answer:?}");
    }
    assert_eq!(engine.status()["default"]["via"], "uk");
    assert_eq!(world.internet_counters().packets("public"), 0);
    world.restart_server(UK);
    engine.wait(|status| tunnels(status).iter().all(|tunnel| tunnel["state"] == "up"));
    assert!(ask(&world.client, PROTOS[1], "203.0.113.20", None).is("uk", UK.client));
    for region in REGIONS {
        assert_eq!(world.region_counters(region).packets("strange"), 0);
    }
    engine.down();
}

/// A thousand questions a second for longer than the whole story takes.
fn probe(world: &World, to: &str) -> Background {
    Background::probe(&world.client, to, None, 1000, Duration::from_secs(14), &world.scratch)
}

/// Not answered, and told so within 2 s instead of left waiting.
fn is_refused(answer: &Answer) -> bool {
    answer.region.is_none() && answer.error.as_deref() != Some("TimedOut") && answer.after < Duration::from_secs(2)
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
    u64::try_from(now.as_millis()).expect("milliseconds fit for half a billion years")
}
