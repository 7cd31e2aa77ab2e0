//! A server that is replaced by another one while flows run: with another pool, another cipher, another wrapping of its data.
//! Flows of the old lease end at once and are felt by the program; new ones use the new lease.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mrvpn_testbed::{
    Background, FR, Mrvpn, PROTOS, Region, ServerOptions, Transport, UK, World, Wrapping, ask, mrvpn::tunnel,
};

/// uk after its operator has renumbered it; the regions' shared address stays asked through it.
const RENUMBERED: Region = Region {
    network: ("10.103.7.0", "255.255.255.0"),
    prefix: "10.103.7.0/24",
    inner: "10.103.7.1",
    client: "10.103.7.2",
    ..UK
};

/// A route that both pools push, so that a flow's destination stays while its address goes.
const ROUTE: &str = "route 198.51.100.0 255.255.255.0";

// proves: F-22, F-28, I-4
#[test]
fn a_server_with_another_pool_ends_the_flows_of_the_old_lease_and_takes_new_ones() {
    let mut world = World::new(0);
    world.start_servers(|region, options| if region == UK { options.push(ROUTE) } else { options });
    let mut engine = Mrvpn::up(&world, &world.write_profiles());
    let to = "198.51.100.10";
    let other = Background::probe(&world.client, FR.inner, None, 500, Duration::from_secs(12), &world.scratch);
    let busy = Background::stream(&world.client, to, None, Duration::from_secs(25), &world.scratch);
    let bound = Background::stream(&world.client, to, Some(UK.client), Duration::from_secs(25), &world.scratch);
    assert!(ask(&world.client, PROTOS[0], to, None).is("uk", UK.client));

    world.replace_server(RENUMBERED, ServerOptions::new(Wrapping::None).push(ROUTE));
    let status = engine.wait_for(Duration::from_secs(20), |status| {
        let uk = tunnel(status, "uk");
        uk["state"] == "up" && uk["assigned"].to_string().contains(RENUMBERED.client)
    });
    let known = unix_ms();
    assert_eq!(tunnel(&status, "uk")["presented"], serde_json::json!(["10.103.7.2/32"]), "{status:#}");
    for stream in [busy, bound] {
        let ended = stream.finish(Duration::from_secs(6));
        assert!(ended["error"].is_string(), "{ended}");
        let after = ended["ended_unix_ms"].as_u64().unwrap().saturating_sub(known);
        // It is told at its next packet; TCP has been sending again into the void, at last after 3.2 s.
        assert!(after < 3500, "it was told {after} ms after the new lease: {ended}");
    }
    for proto in PROTOS {
        for from in [None, Some(RENUMBERED.client)] {
            let answer = ask(&world.client, proto, to, from);
            assert!(
                answer.is("uk", RENUMBERED.client),
                "{proto:?} {to} from {from:?}: {answer:?}\n{:#}",
                engine.status()
            );
        }
    }
    assert!(ask(&world.client, PROTOS[0], RENUMBERED.inner, None).is("uk", RENUMBERED.client));
    let seen = other.finish(Duration::from_secs(20));
    assert_eq!((&seen["lost"], &seen["twice"]), (&0.into(), &0.into()), "the other tunnel lost nothing: {seen}");
    let internet = world.internet_counters();
    assert_eq!((internet.packets("inner_source"), internet.packets("public")), (0, 0), "{internet:?}");
    engine.down();
}

// proves: F-28
#[test]
fn a_server_that_comes_back_with_another_cipher_topology_or_ca_is_followed_or_named() {
    let mut world = World::new(0);
    let cipher = |name: &str| ServerOptions::new(Wrapping::None).line(&format!("data-ciphers {name}"));
    world.start_server(UK, cipher("AES-256-GCM"));
    let path = world.write_profile("uk", &world.profile(UK));
    let mut engine = Mrvpn::up(&world, &[format!("uk={}", path.display())]);
    assert_eq!(tunnel(&engine.status(), "uk")["cipher"], "AES-256-GCM");

    world.replace_server(UK, cipher("CHACHA20-POLY1305"));
    engine.wait_for(Duration::from_secs(20), |status| {
        let uk = tunnel(status, "uk");
        uk["state"] == "up" && uk["cipher"] == "CHACHA20-POLY1305"
    });
    for proto in PROTOS {
        assert!(ask(&world.client, proto, UK.inner, None).is("uk", UK.client));
    }

    // An old topology: the client is given one of four addresses, and its peer.
    world.replace_server(UK, cipher("AES-128-GCM").line("topology net30"));
    engine.wait_for(Duration::from_secs(20), |status| {
        let uk = tunnel(status, "uk");
        uk["state"] == "up" && uk["cipher"] == "AES-128-GCM"
    });
    for proto in PROTOS {
        assert_eq!(ask(&world.client, proto, UK.inner, None).region.as_deref(), Some("uk"), "{:#}", engine.status());
    }

    world.pki.make("otherca", mrvpn_testbed::Fault::OtherCa);
    world.replace_server(UK, ServerOptions::new(Wrapping::None).identity("otherca"));
    let failed = engine.wait_for(Duration::from_secs(20), |status| tunnel(status, "uk")["error"]["code"] == "wrong-ca");
    assert_eq!(tunnel(&failed, "uk")["error"]["stage"], "certificate", "{failed:#}");
    engine.down();
}

// proves: F-05
#[test]
fn a_server_by_tcp_that_vanishes_is_noticed_by_its_silence_and_by_its_reset() {
    let mut world = World::new(0);
    let tcp = || ServerOptions::new(Wrapping::TlsCrypt).transport(Transport::Tcp);
    world.start_server(UK, tcp());
    let profile = world.profile(UK).transport(Transport::Tcp).wrapping(Wrapping::TlsCrypt);
    let path = world.write_profile("uk", &profile);
    let mut engine = Mrvpn::up(&world, &[format!("uk={}", path.display())]);
    assert!(ask(&world.client, PROTOS[0], UK.inner, None).is("uk", UK.client));

    // Killed: the kernel of the server says so at once.
    world.kill_server(UK);
    engine.wait_tunnel("uk", "reconnecting", Duration::from_secs(2));
    world.restart_server(UK);
    engine.wait_tunnel("uk", "up", Duration::from_secs(15));
    assert!(ask(&world.client, PROTOS[0], UK.inner, None).is("uk", UK.client));

    // Cut off: nothing says so, and the kernel's own limit is minutes.
    world.internet.ip("link set to-uk down");
    engine.wait_tunnel("uk", "reconnecting", Duration::from_secs(6));
    world.internet.ip("link set to-uk up");
    engine.wait_tunnel("uk", "up", Duration::from_secs(20));
    assert!(ask(&world.client, PROTOS[1], UK.inner, None).is("uk", UK.client));
    engine.down();
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
    u64::try_from(now.as_millis()).expect("milliseconds fit for half a billion years")
}
