//! What the interface carries, what `status` says of it, and which client address each server sees.

use std::collections::BTreeSet;

use mrvpn_testbed::{
    ACCOUNT, FR, Mrvpn, Netns, PROTOS, REGIONS, Region, ServerOptions, World, ask,
    mrvpn::{tunnel, tunnels},
};
use serde_json::{Value, json};

#[test]
fn one_interface_carries_the_anchor_and_an_assigned_and_a_bind_address_of_each_tunnel() {
    let (world, mut engine) = three_tunnels(0);
    let status = engine.wait(|status| status["state"] == "up");
    let expected: BTreeSet<String> = [
        "198.18.0.1/32",
        "10.100.0.2/32",
        "10.101.0.2/32",
        "10.102.0.2/32",
        "198.18.1.1/32",
        "198.18.1.2/32",
        "198.18.1.3/32",
    ]
    .map(String::from)
    .into();
    assert_eq!(addresses_of(&world.client, "mrvpn0"), expected);
    assert_eq!(words(&status["interface"]["addresses"]), expected, "{status:#}");
    assert_eq!(status["interface"]["addresses"][0], "198.18.0.1/32", "the anchor stands first");
    assert_eq!(status["interface"]["name"], "mrvpn0");
    assert_eq!(status["interface"]["strategy"], "alias");
    assert_eq!(status["interface"]["mtu"], 1500);
    engine.down();
}

#[test]
fn status_says_of_each_tunnel_what_its_server_assigned() {
    let (_world, mut engine) = three_tunnels(2);
    let status = engine.wait(|status| status["state"] == "up");
    assert_eq!(status["schema"], 1);
    assert_eq!(status["guard"], "off");
    assert_eq!(status["default"], Value::Null, "no server offered");
    let names: Vec<_> = tunnels(&status).iter().map(|tunnel| tunnel["name"].clone()).collect();
    assert_eq!(names, ["uk", "fr", "us"], "the order of the command line");
    for (place, region) in REGIONS.into_iter().enumerate() {
        let tunnel = tunnel(&status, region.name);
        let length = region.prefix.split_once('/').unwrap().1;
        assert_eq!(tunnel["state"], "up");
        assert_eq!(tunnel["assigned"], json!([format!("{}/{length}", region.client)]));
        assert_eq!(tunnel["presented"], json!([format!("{}/32", region.client)]));
        assert_eq!(tunnel["bind"], json!([format!("198.18.1.{}", place + 1)]));
        assert!(words(&tunnel["routes"]).contains(region.prefix), "{tunnel:#}");
        assert_eq!(tunnel["remote"], format!("{}:1194/udp", region.outer));
        assert_eq!(tunnel["cipher"], "AES-256-GCM");
        assert_eq!(tunnel["error"], Value::Null);
    }
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("guard") && warnings.contains("resolver"), "{warnings}");
    engine.down();
}

// proves: I-3
#[test]
fn each_server_sees_its_own_client_address_and_nothing_else() {
    let (world, engine) = three_tunnels(0);
    for region in REGIONS {
        for proto in PROTOS {
            for source in [None, Some("198.18.0.1"), Some(region.client), Some(bind(region))] {
                let answer = ask(&world.client, proto, region.inner, source);
                assert!(answer.is(region.name, region.client), "{proto:?} from {source:?}: {answer:?}");
            }
        }
    }
    for region in REGIONS {
        let counters = world.region_counters(region);
        assert!(counters.packets("expected") >= 8, "{}: {counters:?}", region.name);
        for other in ["strange", "six", "multicast", "multicast6"] {
            assert_eq!(counters.packets(other), 0, "{}: {counters:?}", region.name);
        }
    }
    engine.down();
}

#[test]
fn without_an_engine_status_says_down_and_exits_with_3() {
    let world = World::new(0);
    let mut engine = Mrvpn::start(&world, &["nothing.ovpn"]);
    assert_eq!(engine.wait_end(std::time::Duration::from_secs(5)), Some(2), "{}", engine.log());
    assert!(engine.log().contains("nothing.ovpn"), "the file is named: {}", engine.log());
    let output = engine.run(&["status", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status, json!({"state": "down", "tunnels": []}));
    assert_eq!(engine.run(&["down"]).status.code(), Some(0), "nothing to do is fine");
}

/// All three tunnels up; fr asks for user and password.
fn three_tunnels(rp_filter: u8) -> (World, Mrvpn) {
    let mut world = World::new(rp_filter);
    world.start_servers(|region, options: ServerOptions| if region == FR { options.with_password() } else { options });
    let mut arguments = world.write_profiles();
    let fr = world.write_profile("fr", &world.profile(FR).account(ACCOUNT));
    arguments[1] = format!("fr={}", fr.display());
    let engine = Mrvpn::up(&world, &arguments);
    (world, engine)
}

fn bind(region: Region) -> &'static str {
    ["198.18.1.1", "198.18.1.2", "198.18.1.3"]
        [REGIONS.iter().position(|known| *known == region).expect("one of the three")]
}

fn words(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
}

fn addresses_of(netns: &Netns, device: &str) -> BTreeSet<String> {
    let text = netns.run("ip", &["-o", "-4", "addr", "show", "dev", device]);
    text.lines().filter_map(|line| line.split_whitespace().nth(3)).map(String::from).collect()
}
