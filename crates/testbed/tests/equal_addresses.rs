//! Two tunnels to which their servers assign the same address in the same network with the same gateway, as providers do that
//! number every customer from 10.8.0.0. Both work at once, and no answer of one reaches a flow of the other.

use std::{collections::BTreeSet, time::Duration};

use mrvpn_testbed::{
    Answer, Background, FR, Mrvpn, PROTOS, Region, UK, US, World, ask,
    mrvpn::{tunnel, tunnels},
    ping,
};

/// uk and fr with equal addresses.
const TWIN_UK: Region = Region { network: TWINS, prefix: "10.8.0.0/24", inner: GATEWAY, client: ASSIGNED, ..UK };
const TWIN_FR: Region = Region { network: TWINS, prefix: "10.8.0.0/24", inner: GATEWAY, client: ASSIGNED, ..FR };
const TWINS: (&str, &str) = ("10.8.0.0", "255.255.255.0");
const GATEWAY: &str = "10.8.0.1";
const ASSIGNED: &str = "10.8.0.2";

/// The destination that both are asked for.
const SAME: &str = "203.0.113.10";

/// By rule: each address that belongs to one tunnel sent through the other, and an address of each tunnel's own.
const RULES: &str = r#"
[[rule]]
from = ["198.18.1.1/32"]
via = "fr"

[[rule]]
from = ["198.18.1.2/32"]
via = "uk"

[[rule]]
to = ["203.0.113.20/32"]
via = "uk"

[[rule]]
to = ["198.51.100.10/32"]
via = "fr"
"#;

// proves: T-73, F-23
#[test]
fn two_tunnels_with_one_address_and_one_gateway_carry_tcp_udp_and_ping_to_one_destination_at_once() {
    let (world, mut engine) = twins("");
    let status = engine.wait(|status| status["state"] == "up");
    let binds = ["uk", "fr"].map(|name| first(&tunnel(&status, name)["bind"]));
    let probes: Vec<_> = ["uk", "fr"]
        .into_iter()
        .zip(&binds)
        .flat_map(|(name, bind)| [SAME, GATEWAY].map(|to| (name, to, busy(&world, to, bind))))
        .collect();
    for (name, bind) in ["uk", "fr"].into_iter().zip(&binds) {
        for to in [SAME, GATEWAY] {
            for proto in PROTOS {
                let answer = ask(&world.client, proto, to, Some(bind));
                assert!(answer.is(name, ASSIGNED), "{proto:?} {to} from {bind}: {answer:?}\n{status:#}");
            }
            assert!(ping(&world.client, to, Some(bind)), "ping {to} from {bind}");
        }
    }
    for (name, to, probe) in probes {
        let seen = probe.finish(Duration::from_secs(20));
        assert_eq!(
            (&seen["lost"], &seen["twice"]),
            (&0.into(), &0.into()),
            "{name} {to}: {seen}\n{:#}",
            engine.status()
        );
        assert_eq!(seen["regions"][name], seen["sent"], "{name} {to}: {seen}");
    }
    // Apart from the questions: a stock server's receive buffer holds no more than a part of such a burst.
    let streams: Vec<_> = ["uk", "fr"]
        .into_iter()
        .zip(&binds)
        .map(|(name, bind)| (name, Background::transfer(&world.client, SAME, Some(bind), 2_000_000, &world.scratch)))
        .collect();
    for (name, stream) in streams {
        let seen = stream.finish(Duration::from_secs(60));
        assert_eq!(seen["region"], name, "{seen}");
    }
    engine.down();
}

// proves: T-73, F-23
#[test]
fn one_port_bound_to_one_address_for_two_tunnels_by_rule_is_two_flows() {
    let (world, engine) = twins(RULES);
    // One local port, so that the two flows differ in nothing that the servers can see.
    for port in [40001, 40002] {
        let from = format!("0.0.0.0:{port}");
        for proto in PROTOS {
            let asked: Vec<Answer> =
                ["203.0.113.20", "198.51.100.10"].map(|to| ask(&world.client, proto, to, Some(&from))).into();
            assert!(asked[0].is("uk", ASSIGNED) && asked[1].is("fr", ASSIGNED), "{proto:?}: {asked:?}");
            let ports: Vec<_> = asked.iter().map(|answer| answer.seen_port).collect();
            assert_eq!(ports, [Some(port), Some(port)], "a free port is kept");
        }
    }
    // The user's rules stand above the tunnel whose address is bound: one destination and port through both, by rule.
    for (bind, name) in [("198.18.1.1", "fr"), ("198.18.1.2", "uk")] {
        for proto in PROTOS {
            assert!(
                ask(&world.client, proto, SAME, Some(&format!("{bind}:40003"))).is(name, ASSIGNED),
                "{proto:?} {bind}"
            );
        }
        assert!(ping(&world.client, SAME, Some(bind)), "ping from {bind}");
    }
    engine.down();
}

// proves: F-23
#[test]
fn a_hundred_flows_through_each_of_two_equal_tunnels_never_mix() {
    let (world, mut engine) = twins("");
    let status = engine.wait(|status| status["state"] == "up");
    let flows: Vec<_> = ["uk", "fr"]
        .into_iter()
        .map(|name| {
            let bind = first(&tunnel(&status, name)["bind"]);
            (name, Background::flows_from(&world.client, SAME, &bind, 100, Duration::from_secs(4), &world.scratch))
        })
        .collect();
    for (name, flows) in flows {
        let seen = flows.finish(Duration::from_secs(20));
        assert_eq!(
            (&seen["answered"], &seen["mixed"], &seen["refused"]),
            (&100.into(), &0.into(), &0.into()),
            "{seen}"
        );
        let regions: Vec<&String> = seen["regions"].as_object().unwrap().keys().collect();
        assert_eq!(regions, [name], "{seen}");
    }
    engine.down();
}

#[test]
fn status_names_the_equal_addresses_and_what_was_done_about_them() {
    let (world, mut engine) = twins("");
    let status = engine.wait(|status| status["state"] == "up");
    for name in ["uk", "fr"] {
        assert_eq!(tunnel(&status, name)["assigned"], serde_json::json!(["10.8.0.2/24"]), "{status:#}");
    }
    // Whoever was up first keeps it, the other is shown by its bind address.
    let shown: BTreeSet<String> = ["uk", "fr"].map(|name| first(&tunnel(&status, name)["presented"])).into();
    let bound = ["uk", "fr"].map(|name| first(&tunnel(&status, name)["bind"]) + "/32");
    assert!(shown.contains("10.8.0.2/32") && bound.iter().any(|bound| shown.contains(bound)), "{status:#}");
    let conflicts = status["conflicts"].as_array().cloned().unwrap_or_default();
    let address =
        conflicts.iter().find(|conflict| conflict["kind"] == "address").unwrap_or_else(|| panic!("{status:#}"));
    // The holder stands first: the one that was up first.
    let holds = |name: &str| first(&tunnel(&status, name)["presented"]) == "10.8.0.2/32";
    let named = if holds("uk") { ["uk", "fr"] } else { ["fr", "uk"] };
    assert_eq!(address["tunnels"], serde_json::json!(named), "{address:#}");
    assert!(address["what"].to_string().contains("10.8.0.2"), "{address:#}");
    // A flow to the gateway that is bound to nothing is the first tunnel's in the order of the file, whoever was up first.
    assert!(ask(&world.client, PROTOS[0], GATEWAY, None).is("uk", ASSIGNED));
    assert!(tunnels(&status).iter().all(|tunnel| tunnel["error"].is_null()), "{status:#}");
    engine.down();
}

fn twins(rules: &str) -> (World, Mrvpn) {
    let mut world = World::of(0, [TWIN_UK, TWIN_FR, US]);
    world.start_servers(|_, options| options);
    let engine = Mrvpn::up(&world, &world.write_config(rules));
    (world, engine)
}

fn busy(world: &World, to: &str, from: &str) -> Background {
    Background::probe(&world.client, to, Some(from), 500, Duration::from_secs(5), &world.scratch)
}

/// The first word of a list.
fn first(list: &serde_json::Value) -> String {
    String::from(list[0].as_str().unwrap_or_else(|| panic!("no word in {list}")))
}
