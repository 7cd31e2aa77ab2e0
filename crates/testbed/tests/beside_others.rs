//! What mrvpn leaves alone: unclaimed traffic, the rules of other programs, forwarded packets, the LAN.

use mrvpn_testbed::{FR, Mrvpn, PROTOS, Proto, REGIONS, UK, UNCLAIMED, World, ask, run_helper};

#[test]
fn with_no_default_offered_unclaimed_traffic_goes_as_if_nothing_ran() {
    for rp_filter in [0, 2] {
        let mut world = World::new(rp_filter);
        world.start_servers(|_, options| options);
        let engine = Mrvpn::up(&world, &world.write_profiles());
        let before: Vec<u64> = REGIONS.map(|region| world.region_counters(region).packets("expected")).into();
        for proto in PROTOS {
            for address in [UNCLAIMED, "203.0.113.10", "192.168.1.1"] {
                assert!(ask(&world.client, proto, address, None).is("internet", "192.168.1.2"), "{proto:?} {address}");
            }
        }
        for (region, before) in REGIONS.into_iter().zip(before) {
            let counters = world.region_counters(region);
            assert_eq!(counters.packets("expected"), before, "nothing unclaimed enters {}", region.name);
            assert_eq!(counters.packets("strange"), 0);
        }
        engine.down();
    }
}

#[test]
fn the_policy_rules_of_others_are_obeyed_for_what_nothing_claims() {
    let mut world = World::new(2);
    world.start_servers(|_, options| options);
    world.client.ip(&format!("rule add pref 6000 to {UNCLAIMED} prohibit"));
    let alone = ask(&world.client, Proto::Tcp, UNCLAIMED, None);
    let engine = Mrvpn::up(&world, &world.write_profiles());
    let beside = ask(&world.client, Proto::Tcp, UNCLAIMED, None);
    assert!(alone.error.is_some(), "{alone:?}");
    assert_eq!((alone.region, alone.error), (beside.region, beside.error));
    engine.down();
}

#[test]
fn a_forwarded_packet_of_a_container_is_not_captured() {
    for rp_filter in [0, 2] {
        let mut world = World::new(rp_filter);
        world.start_servers(|region, options| match region.name {
            "uk" => options.push("route 203.0.113.10 255.255.255.255"),
            "fr" => options.push("redirect-gateway def1"),
            _ => options,
        });
        let mut engine = Mrvpn::up(&world, &world.write_profiles());
        engine.wait(|status| status["default"]["via"] == "fr");
        for proto in PROTOS {
            for address in ["203.0.113.10", "203.0.113.20"] {
                let answer = ask(&world.guest, proto, address, None);
                assert!(answer.is("internet", "192.168.50.2"), "{proto:?} {address}: {answer:?}");
            }
            assert!(ask(&world.client, proto, "203.0.113.10", None).is("uk", UK.client));
            assert!(ask(&world.client, proto, "203.0.113.20", None).is("fr", FR.client));
        }
        assert!(world.internet_counters().packets("forwarded") > 0);
        engine.down();
    }
}

// proves: T-79
#[test]
fn multicast_and_broadcast_stay_on_the_lan_while_a_default_tunnel_is_up() {
    let mut world = World::new(0);
    world.start_servers(|_, options| options.push("redirect-gateway def1"));
    let mut engine = Mrvpn::up(&world, &world.write_profiles());
    engine.wait(|status| status["default"]["via"] == "uk");
    let before = world.internet_counters().packets("multicast");
    for to in ["224.0.0.251:5353", "239.255.255.250:1900", "224.0.0.252:5355", "255.255.255.255:67"] {
        let sent = run_helper(&world.client, "send", &["--to", to, "--count", "3"]);
        assert_eq!(sent["errors"], 0, "{to}");
    }
    assert_eq!(world.internet_counters().packets("multicast"), before + 12, "all reached the LAN");
    // A program that binds a tunnel's address does not make them leave through it either.
    let _ = run_helper(&world.client, "send", &["--to", "224.0.0.251:5353", "--from", UK.client, "--count", "3"]);
    let _ = run_helper(&world.client, "send", &["--to", "10.100.255.255:137", "--count", "3"]);
    for region in REGIONS {
        let counters = world.region_counters(region);
        assert_eq!((counters.packets("multicast"), counters.packets("multicast6")), (0, 0), "{}", region.name);
        assert_eq!(counters.packets("strange"), 0, "{}", region.name);
    }
    for proto in PROTOS {
        assert!(
            ask(&world.client, proto, "192.168.1.1", None).is("internet", "192.168.1.2"),
            "the LAN stays reachable"
        );
    }
    engine.down();
}
