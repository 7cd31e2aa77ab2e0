//! Which way a flow takes: by rule, by the address it is bound to, by pushed route, by default. Each region and "internet"
//! answer at the same addresses, so the name in the answer is the way. Run with `rp_filter` 0 and 2.

use mrvpn_testbed::{FR, Mrvpn, PROTOS, REGIONS, UK, US, World, ask, mrvpn::tunnel, ping};

/// Rules of the tests: one address through us, one port of another refused, one port of another direct.
const RULES: &str = r#"
[[rule]]
name = "the rule"
to = ["203.0.113.10/32"]
via = "us"
"#;

/// By rule.
const RULED: &str = "203.0.113.10";
/// By uk's pushed route.
const PUSHED: &str = "198.51.100.10";
/// By default alone.
const OTHER: &str = "203.0.113.20";

// proves: I-2, I-3
#[test]
fn each_flow_takes_the_way_that_its_rule_source_route_or_default_says() {
    every_way(0);
}

// proves: I-2, I-3
#[test]
fn each_flow_takes_its_way_with_rp_filter_2_as_well() {
    every_way(2);
}

fn every_way(rp_filter: u8) {
    let mut world = World::new(rp_filter);
    world.start_servers(|region, options| match region.name {
        "uk" => options.push("route 198.51.100.0 255.255.255.0"),
        "fr" => options.push("redirect-gateway def1"),
        _ => options,
    });
    let mut engine = Mrvpn::up(&world, &world.write_config(RULES));
    let status = engine.wait(|status| status["default"]["via"] == "fr");
    assert!(tunnel(&status, "uk")["routes"].to_string().contains("198.51.100.0/24"), "{status:#}");
    // Address, source, and who must answer.
    let ways = [
        (RULED, None, US),
        (RULED, Some(FR.client), US), // the user's rule stands above an app's wish
        (PUSHED, None, UK),
        (PUSHED, Some("198.18.0.1"), UK),
        (PUSHED, Some(FR.client), FR),
        (PUSHED, Some("198.18.1.3"), US),
        (OTHER, None, FR),
        (OTHER, Some(UK.client), UK),
        (OTHER, Some("198.18.1.1"), UK),
        (UK.inner, None, UK),
        (FR.inner, None, FR),
        (US.inner, None, US),
    ];
    for (to, from, region) in ways {
        for proto in PROTOS {
            let answer = ask(&world.client, proto, to, from);
            assert!(
                answer.is(region.name, region.client),
                "{proto:?} {to} from {from:?}: {answer:?}\n{}",
                engine.log()
            );
        }
    }
    for (to, region) in [(RULED, US), (PUSHED, UK), (OTHER, FR)] {
        let before = world.region_counters(region).packets("expected");
        assert!(ping(&world.client, to, None), "ping {to}");
        assert!(world.region_counters(region).packets("expected") > before, "the ping went through {}", region.name);
    }
    nothing_went_clear(&world);
    for region in REGIONS {
        assert_eq!(world.region_counters(region).packets("strange"), 0);
    }
    engine.down();
}

#[test]
fn the_default_is_the_first_of_the_file_that_offers_whoever_is_up_first() {
    let mut world = World::new(0);
    world.start_servers(|region, options| match region.name {
        "uk" => options,
        _ => options.push("redirect-gateway def1"),
    });
    let mut engine = Mrvpn::up(&world, &world.write_profiles());
    let status = engine.wait(|status| status["default"]["via"] == "fr");
    assert_eq!(status["default"]["waiting"], serde_json::json!([]));
    assert!(ask(&world.client, PROTOS[0], OTHER, None).is("fr", FR.client));
    engine.down();
}

#[test]
fn a_rule_may_name_a_port_block_or_leave_alone() {
    let mut world = World::new(2);
    world.start_servers(|region, options| if region == FR { options.push("redirect-gateway def1") } else { options });
    let rules = r#"
[[rule]]
to = ["203.0.113.10/32"]
proto = ["tcp"]
port = [7000]
via = "uk"

[[rule]]
to = ["203.0.113.10/32"]
via = "direct"

[[rule]]
to = ["203.0.113.20/32"]
via = "block"
"#;
    let mut engine = Mrvpn::up(&world, &world.write_config(rules));
    engine.wait(|status| status["default"]["via"] == "fr");
    let [tcp, udp] = PROTOS;
    assert!(ask(&world.client, tcp, "203.0.113.10", None).is("uk", UK.client));
    assert!(ask(&world.client, udp, "203.0.113.10", None).is("internet", "192.168.1.2"));
    for proto in PROTOS {
        let answer = ask(&world.client, proto, "203.0.113.20", None);
        assert!(answer.region.is_none() && answer.after.as_millis() < 1000, "refused at once: {answer:?}");
        let bound = ask(&world.client, proto, "203.0.113.10", Some(FR.client));
        assert!(bound.region.as_deref() != Some("internet"), "a bound flow cannot go direct: {bound:?}");
    }
    engine.down();
}

#[test]
fn a_claim_for_ipv6_is_carried_by_its_tunnel_and_never_goes_clear() {
    let mut world = World::new(0);
    world.start_servers(|region, options| match region.name {
        "uk" => options.line("server-ipv6 2001:db8:100::/64").push("route-ipv6 2001:db8:99::/48"),
        _ => options,
    });
    let [tcp, _] = PROTOS;
    let address = "2001:db8:99::10";
    assert_eq!(ask(&world.client, tcp, address, None).region.as_deref(), Some("internet"), "before");
    let engine = Mrvpn::up(&world, &world.write_profiles());
    let before = world.internet_counters().packets("public6");
    let answer = ask(&world.client, tcp, address, None);
    assert!(answer.is("uk", "2001:db8:100::1000"), "{answer:?}");
    assert_eq!(world.internet_counters().packets("public6"), before);
    let status = engine.status();
    let uk = tunnel(&status, "uk");
    assert!(uk["presented"].to_string().contains("2001:db8:100::1000/128"), "{status:#}");
    assert!(uk["bind"].to_string().contains("2001:2:0:1::1:1"), "{status:#}");
    engine.down();
}

fn nothing_went_clear(world: &World) {
    let counters = world.internet_counters();
    for clear in ["inner", "inner_source", "public", "unclaimed", "other"] {
        assert_eq!(counters.packets(clear), 0, "{clear}: {counters:?}");
    }
    assert!(counters.packets("outer") > 0, "the counters do count: {counters:?}");
}
