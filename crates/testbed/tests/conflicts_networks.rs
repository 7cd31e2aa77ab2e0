//! Networks that clash, with real servers: overlapping and equal ones, the LAN's own numbers, networks that come and go
//! while mrvpn runs, and what no server may claim. Addresses that clash are in `conflicts.rs`.

use std::time::Duration;

use mrvpn_testbed::{
    FR, Given, HostSnapshot, Mrvpn, Netns, PROTOS, Process, REGIONS, Region, UK, US, World, ask, conflict, helper,
    mrvpn::tunnel, wait_until,
};
use serde_json::{Value, json};

/// Every region answers there, and "internet" too.
const SAME: &str = "203.0.113.10";

/// What a server may not push.
const NET_GATEWAY: &str = "203.0.113.20 255.255.255.255 net_gateway";

/// A rule that gives the LAN's numbers to a tunnel.
const LAN_TO_UK: &str = "[[rule]]\nname = \"customer\"\nto = [\"192.168.1.0/24\"]\nvia = \"uk\"\n";

#[test]
fn of_networks_inside_each_other_the_longest_prefix_carries_and_equal_ones_go_by_the_file() {
    for rp_filter in [0, 1, 2] {
        let (mut world, case) = (World::new(rp_filter), format!("rp_filter {rp_filter}"));
        // A /8 with a /16 in it, with a /24 in that, and a /32 in the /8; uk and fr push one route both.
        let all = [
            Given::usual(UK).push("route 10.0.0.0 255.0.0.0").push("route 198.51.100.0 255.255.255.0"),
            Given::numbered(FR, ("10.50.0.0", "255.255.0.0"), "10.50.0.1", "10.50.0.2")
                .push("route 198.51.100.0 255.255.255.0"),
            Given::numbered(US, ("10.50.7.0", "255.255.255.0"), "10.50.7.1", "10.50.7.2")
                .push("route 10.77.7.7 255.255.255.255"),
        ];
        let asked = ["10.77.7.7", "10.77.7.8", "10.50.9.9", "10.50.7.9", "10.9.9.9"];
        for (region, address) in REGIONS.into_iter().flat_map(|region| asked.map(|address| (region, address))) {
            world.also_answer(region, address);
        }
        let mut engine = world.up_with(&all, "");
        let status = engine.status();
        for (to, name) in [
            ("10.9.9.9", "uk"),
            ("10.77.7.8", "uk"),
            ("10.50.9.9", "fr"),
            ("10.50.7.9", "us"),
            ("10.77.7.7", "us"),
            ("198.51.100.10", "uk"),
        ] {
            let answer = ask(&world.client, PROTOS[0], to, None);
            let client = all.iter().find(|given| given.region.name == name).map(|given| given.region.client);
            assert!(answer.is(name, client.unwrap()), "{case}: {to} is {name}'s: {answer:?}\n{status:#}");
        }
        // Whoever is presented as assigned is a source, whatever it claims; and by source each reaches what is another's.
        for given in &all {
            let (name, client) = (given.region.name, given.region.client);
            assert_eq!(tunnel(&status, name)["presented"], json!([format!("{client}/32")]), "{case}: {status:#}");
            assert!(ask(&world.client, PROTOS[0], "10.50.7.9", Some(client)).is(name, client), "{case}: {name}");
        }
        for (what, tunnels, resolution) in [
            ("10.50.0.0/16", ["uk", "fr"], "fr carries the longer prefix"),
            ("10.50.7.0/24", ["fr", "us"], "us carries the longer prefix"),
            ("10.77.7.7/32", ["uk", "us"], "us carries the longer prefix"),
            ("198.51.100.0/24", ["uk", "fr"], "uk carries it, the first in the file"),
        ] {
            let found = conflict(&status, "subnet", what);
            assert!(found["resolution"].to_string().contains(resolution), "{case}: {what}: {found:#}");
            assert!(tunnels.iter().all(|name| found["tunnels"].to_string().contains(name)), "{case}: {found:#}");
        }
        // Connected or not: the others have none of what is uk's.
        world.dismiss_server(UK);
        engine.wait_tunnel("uk", "reconnecting", Duration::from_secs(8));
        for to in ["10.9.9.9", "198.51.100.10"] {
            let answer = ask(&world.client, PROTOS[0], to, None);
            assert_eq!(answer.region, None, "{case}: {to}: {answer:?}");
        }
        assert!(ask(&world.client, PROTOS[0], "10.50.7.9", None).is("us", "10.50.7.2"), "{case}");
        engine.down();
        let internet = world.internet_counters();
        assert_eq!((internet.packets("public"), internet.packets("inner_source")), (0, 0), "{internet:?}");
    }
}

// proves: F-24
#[test]
fn a_customers_network_with_the_lans_own_numbers_is_the_lan_until_a_rule_names_it() {
    for rp_filter in [0, 1, 2] {
        let (mut world, case) = (World::new(rp_filter), format!("rp_filter {rp_filter}"));
        behind_its_router(&world);
        // uk pushes exactly the LAN, fr a part of it, us a network around it.
        let all = [
            Given::usual(UK).push("route 192.168.1.0 255.255.255.0"),
            Given::usual(FR).push("route 192.168.1.0 255.255.255.128"),
            Given::usual(US).push("route 192.168.0.0 255.255.0.0"),
        ];
        for region in REGIONS {
            world.also_answer(region, "192.168.1.1");
            world.also_answer(region, "192.168.77.1");
        }
        let engine = world.up_with(&all, "");
        let status = engine.status();
        for (name, what) in [("uk", "192.168.1.0/24"), ("fr", "192.168.1.0/25")] {
            let found = conflict(&status, "lan", what);
            assert_eq!(found["tunnels"], json!([name]), "{case}: {status:#}");
            assert!(found["resolution"].to_string().contains("left to this host's own network"), "{found:#}");
        }
        is_the_lans(&world, &case);
        assert!(ask(&world.client, PROTOS[0], "192.168.77.1", None).is("us", US.client), "{case}: around the LAN");
        // Who binds to a tunnel's address reaches it there, whatever the LAN has.
        for region in REGIONS {
            let bound = ask(&world.client, PROTOS[0], "192.168.1.1", Some(region.client));
            assert!(bound.is(region.name, region.client), "{case}: {bound:?}");
        }

        reload(&world, &engine, &all, LAN_TO_UK);
        let ruled = ask(&world.client, PROTOS[0], "192.168.1.1", None);
        assert!(ruled.is("uk", UK.client), "{case}: {ruled:?}\n{:#}", engine.status());
        // The way to the servers leads over that very network, and stays.
        assert!(ask(&world.client, PROTOS[1], FR.inner, None).is("fr", FR.client), "{case}");

        reload(&world, &engine, &all, "");
        is_the_lans(&world, &case);
        engine.down();
        is_the_lans(&world, "after");
    }
}

// proves: F-24
#[test]
fn a_network_of_the_host_that_comes_and_goes_is_left_out_and_taken_in_again() {
    for rp_filter in [0, 1, 2] {
        let (mut world, case) = (World::new(rp_filter), format!("rp_filter {rp_filter}"));
        // A machine in fr's network, and one beside the client with the same address.
        world.also_answer(FR, "10.101.5.2");
        world.guest.ip("addr add 10.101.5.2/24 dev eth0");
        let beside = serve(&world.guest, "box", "10.101.5.2", &world);
        let before = HostSnapshot::take(&world.client);
        let engine = world.up_with(&[Given::usual(UK), Given::usual(FR)], "");
        let is_at = |who: &str, left_out: bool| {
            // What is left out stands as such in the table of what is captured.
            wait_until("the network that came or went", Duration::from_secs(1), || {
                let tables = world.client.run("ip", &["route", "show", "table", "all", "proto", "77"]);
                (tables.contains("throw 10.101.5.0/24") == left_out).then_some(())
            });
            let answer = ask(&world.client, PROTOS[0], "10.101.5.2", None);
            assert_eq!(answer.region.as_deref(), Some(who), "{case}: {answer:?}");
            // The rest of fr's network is fr's.
            assert!(ask(&world.client, PROTOS[1], FR.inner, None).is("fr", FR.client), "{case}");
        };
        is_at("fr", false);
        for _ in 0..3 {
            world.client.ip("addr add 10.101.5.1/24 dev box0");
            is_at("box", true);
            world.client.ip("addr del 10.101.5.1/24 dev box0");
            is_at("fr", false);
        }
        // A route of the host's own to a private network is the same.
        world.client.ip("route add 10.101.5.0/24 via 192.168.50.2");
        is_at("box", true);
        world.client.ip("route del 10.101.5.0/24");
        is_at("fr", false);
        engine.down();
        assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "", "{case}");
        drop(beside);
    }
}

#[test]
fn topologies_are_mixed_and_claim_what_each_reaches() {
    for rp_filter in [0, 1, 2] {
        let (mut world, case) = (World::new(rp_filter), format!("rp_filter {rp_filter}"));
        let all = [
            Given { region: Region { client: "10.100.0.6", ..UK }, ..Given::usual(UK) }.line("topology net30"),
            Given { region: Region { client: "10.101.0.4", ..FR }, ..Given::usual(FR) }.line("topology p2p"),
            Given::usual(US),
        ];
        let engine = world.up_with(&all, "");
        let status = engine.status();
        assert_eq!(status["conflicts"], json!([]), "{case}: {status:#}");
        for given in &all {
            let (name, client) = (given.region.name, given.region.client);
            assert_eq!(tunnel(&status, name)["presented"], json!([format!("{client}/32")]), "{case}: {status:#}");
            for (to, from) in [(given.region.inner, None), (SAME, Some(client))] {
                let answer = ask(&world.client, PROTOS[0], to, from);
                assert!(answer.is(name, client), "{case}, {name}: {to} from {from:?}: {answer:?}\n{status:#}");
            }
        }
        let routes = |name: &str| tunnel(&status, name)["routes"].to_string();
        assert!(routes("uk").contains("10.100.0.5/32") && !routes("uk").contains(UK.prefix), "{case}: {status:#}");
        assert!(!routes("fr").contains(FR.prefix) && routes("us").contains(US.prefix), "{case}: {status:#}");
        // Beyond the other end a network of net30 or p2p is nobody's.
        let before = world.internet_counters().packets("inner");
        assert_eq!(ask(&world.client, PROTOS[0], "10.100.77.7", None).region, None, "{case}");
        assert!(world.internet_counters().packets("inner") > before, "{case}: it left as if mrvpn did not run");
        engine.down();
    }
}

// proves: T-36
#[test]
fn what_no_server_may_claim_stays_the_hosts_and_the_other_tunnels() {
    for rp_filter in [0, 1, 2] {
        let (mut world, case) = (World::new(rp_filter), format!("rp_filter {rp_filter}"));
        // us, the last of the file, wants everything: the LAN, loopback, multicast, link-local, our anchor, fr's network,
        // the outer addresses of all three servers, and a part of the net past all tunnels.
        let greedy = [
            "route 192.168.1.0 255.255.255.0",
            "route 192.168.1.1 255.255.255.255",
            "route 127.0.0.0 255.0.0.0",
            "route 224.0.0.0 240.0.0.0",
            "route 169.254.0.0 255.255.0.0",
            "route 198.18.0.1 255.255.255.255",
            "route 10.101.0.0 255.255.0.0",
            "route 192.0.2.0 255.255.255.0",
            &format!("route {NET_GATEWAY}"),
        ];
        let us = greedy.iter().fold(Given::usual(US), |given, route| given.push(route));
        let all = [Given::usual(UK).push("redirect-gateway def1"), Given::usual(FR), us];
        world.also_answer(US, "192.168.1.1");
        let mut engine = world.up_with(&all, "");
        engine.wait(|status| status["default"]["via"] == "uk");
        // The second run knows all of it from the start.
        for run in ["first", "second"] {
            let status = engine.status();
            is_the_lans(&world, &format!("{case}, {run} run: {status:#}"));
            for (region, to) in [(UK, UK.inner), (FR, FR.inner), (US, US.inner), (UK, SAME), (UK, "203.0.113.20")] {
                for proto in PROTOS {
                    let answer = ask(&world.client, proto, to, None);
                    assert!(answer.is(region.name, region.client), "{case}, {run}: {to}: {answer:?}\n{status:#}");
                }
            }
            for what in ["127.0.0.0 255.0.0.0", "224.0.0.0 240.0.0.0", "169.254.0.0 255.255.0.0", NET_GATEWAY] {
                let warnings = tunnel(&status, "us")["warnings"].to_string();
                assert!(warnings.contains(&format!("the server's `route {what}`: ")), "{case}: {status:#}");
            }
            let lan = conflict(&status, "lan", "192.168.1.0/24");
            assert_eq!(lan["tunnels"], json!(["us"]), "{case}: {status:#}");
            assert!(conflict(&status, "subnet", "10.101.0.0/16")["resolution"].to_string().contains("fr carries"));
            assert!(mrvpn_testbed::ping(&world.client, "127.0.0.1", None), "{case}");
            // A tunnel whose outer address another one claims connects again.
            world.dismiss_server(FR);
            world.restart_server(FR);
            wait_until("fr to be asked again", Duration::from_secs(20), || {
                ask(&world.client, PROTOS[1], FR.inner, None).is("fr", FR.client).then_some(())
            });
            if run == "first" {
                engine.down_for_now();
                engine.up_again(&world, &world.config_of(&all, ""));
                engine.wait(|status| status["default"]["via"] == "uk");
            }
        }
        engine.down();
        let internet = world.internet_counters();
        for name in ["inner", "public", "inner_source", "unclaimed"] {
            assert_eq!(internet.packets(name), 0, "{case}: {name}: {internet:?}");
        }
        for region in REGIONS {
            assert_eq!(world.region_counters(region).packets("strange"), 0, "{case}: {}", region.name);
        }
    }
}

// proves: T-36
#[test]
fn what_the_users_own_file_leaves_to_net_gateway_goes_past_the_tunnels() {
    for rp_filter in [0, 1, 2] {
        let (mut world, case) = (World::new(rp_filter), format!("rp_filter {rp_filter}"));
        let all = [
            Given::usual(UK)
                .push("redirect-gateway def1")
                .push("route 203.0.113.0 255.255.255.0")
                .push("route 198.51.100.10 255.255.255.255")
                .profile("route 203.0.113.10 255.255.255.255 net_gateway")
                .profile("route 198.51.100.10 255.255.255.255 net_gateway"),
            Given::usual(FR),
        ];
        let mut engine = world.up_with(&all, "");
        engine.wait(|status| status["default"]["via"] == "uk");
        for proto in PROTOS {
            // What the server pushes for the same network is not taken.
            for to in [SAME, "198.51.100.10"] {
                let answer = ask(&world.client, proto, to, None);
                assert!(answer.is("internet", "192.168.1.2"), "{case}: {to}: {answer:?}\n{:#}", engine.status());
            }
            assert!(ask(&world.client, proto, "203.0.113.20", None).is("uk", UK.client), "{case}");
        }
        engine.down();
    }
}

/// The LAN's router answers, by TCP and UDP, and sees the client's own address.
#[track_caller]
fn is_the_lans(world: &World, case: &str) {
    for proto in PROTOS {
        let answer = ask(&world.client, proto, "192.168.1.1", None);
        assert!(answer.is("internet", "192.168.1.2"), "the LAN's router, {proto:?}: {answer:?}\n{case}");
    }
}

#[track_caller]
fn reload(world: &World, engine: &Mrvpn, all: &[Given], rules: &str) -> Value {
    let _ = world.config_of(all, rules);
    let output = engine.run(&["reload"]);
    assert!(output.status.success(), "{output:?}\n{}", engine.log());
    engine.status()
}

/// The router hides its LAN, as routers do: a server that has the LAN's numbers inside could not answer it otherwise.
fn behind_its_router(world: &World) {
    let table = "table ip router {
        chain out { type nat hook postrouting priority srcnat; ip saddr 192.168.0.0/16 oifname \"to-*\" masquerade; }
    }\n";
    world.internet.nft(&world.scratch.write("router.nft", table));
}

fn serve(netns: &Netns, name: &str, address: &str, world: &World) -> Process {
    let mut command = netns.command(helper());
    command.args(["serve", "--name", name, "--port", "7000", "--udp", address]);
    let mut process = Process::start(&format!("service-{name}"), command, world.scratch.path());
    process.wait_for("ready", Duration::from_secs(5));
    process
}
