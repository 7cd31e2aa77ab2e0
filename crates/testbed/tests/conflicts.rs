//! Addresses that clash, with real servers: what `docs/addresses.md` says of each is what happens. Networks that clash are
//! in `conflicts_networks.rs`; two tunnels with one address under load in `equal_addresses.rs`.

use std::time::Duration;

use mrvpn_testbed::{
    Background, FR, Given, HostSnapshot, Mrvpn, PROTOS, REGIONS, Region, UK, US, World, ask, conflict, conflicts,
    mrvpn::tunnel, wait_until,
};
use serde_json::{Value, json};

/// Every region answers there.
const SAME: &str = "203.0.113.10";
const SAME6: &str = "2001:db8:99::10";

/// The network that every provider has, its server and its first client.
const TEN_EIGHT: (&str, &str) = ("10.8.0.0", "255.255.255.0");
const GATEWAY: &str = "10.8.0.1";
const ASSIGNED: &str = "10.8.0.2";

// proves: T-37, T-73
#[test]
fn three_tunnels_with_one_address_in_each_family_all_work_and_each_source_names_one() {
    for rp_filter in [0, 1, 2] {
        let (mut world, case) = (World::new(rp_filter), format!("rp_filter {rp_filter}"));
        let all = REGIONS.map(|region| {
            let region = Region { six: UK.six, ..region };
            Given::numbered(region, TEN_EIGHT, GATEWAY, ASSIGNED).six()
        });
        let engine = world.up_with(&all, "");
        let status = engine.status();
        for (given, others) in [(ASSIGNED, "address"), (UK.six.2, "address")] {
            let holder = presented_as(&status, &format!("{given}/"));
            let losers: Vec<&str> =
                REGIONS.map(|region| region.name).into_iter().filter(|name| *name != holder).collect();
            for loser in losers {
                let bind = bind(&status, loser, given.contains(':'));
                let found = conflicts(&status, others);
                let says = format!("{loser} presented as {bind}");
                assert!(
                    found.iter().any(|conflict| conflict["resolution"] == says.as_str()
                        && conflict["tunnels"] == json!([holder, loser])),
                    "{case}: {says}: {status:#}"
                );
            }
            each_source_is_its_own(&world, &status, given, &holder, &case);
        }
        let network = conflict(&status, "subnet", "10.8.0.0/24");
        assert!(network["resolution"].to_string().contains("uk carries it"), "{case}: {network:#}");
        // What is bound to nothing and goes to the network of all is the first one's in the file.
        assert!(ask(&world.client, PROTOS[0], GATEWAY, None).is("uk", ASSIGNED), "{case}");

        // The holder goes: the others stay as they are, and it gets its address back when it comes again.
        let holder = presented_as(&status, "10.8.0.2/");
        assert!(engine.run(&["tunnel", "stop", &holder]).status.success());
        let mut engine = engine;
        let stopped = engine.wait(|status| tunnel(status, &holder)["state"] == "stopped");
        for other in REGIONS.map(|region| region.name).into_iter().filter(|name| *name != holder) {
            assert_eq!(
                tunnel(&stopped, other)["presented"],
                tunnel(&status, other)["presented"],
                "{case}: {stopped:#}"
            );
            let from = bind(&status, other, false);
            assert!(ask(&world.client, PROTOS[0], SAME, Some(&from)).is(other, ASSIGNED), "{case}: {other}");
        }
        assert_eq!(ask(&world.client, PROTOS[0], SAME, Some(ASSIGNED)).region, None, "{case}: nobody has it now");
        assert!(engine.run(&["tunnel", "start", &holder]).status.success());
        let status = engine.wait(|status| tunnel(status, &holder)["state"] == "up");
        assert_eq!(presented_as(&status, "10.8.0.2/"), holder, "{case}");
        assert!(ask(&world.client, PROTOS[1], SAME, Some(ASSIGNED)).is(&holder, ASSIGNED), "{case}");
        engine.down();
        nothing_in_clear(&world);
    }
}

// proves: T-37
#[test]
fn an_address_of_the_host_or_its_lan_is_presented_by_the_bind_address_and_the_lan_is_untouched() {
    for rp_filter in [0, 1, 2] {
        let (mut world, case) = (World::new(rp_filter), format!("rp_filter {rp_filter}"));
        behind_its_router(&world);
        let before = HostSnapshot::take(&world.client);
        // uk assigns the host's own address, fr one inside its LAN, us one beside the box.
        let lan = ("192.168.1.0", "255.255.255.0");
        let all = [
            Given::numbered(UK, lan, "192.168.1.1", "192.168.1.2"),
            Given::numbered(FR, lan, "192.168.1.1", "").fixed("192.168.1.77", "255.255.255.0"),
            Given::numbered(US, ("192.168.50.0", "255.255.255.0"), "192.168.50.1", "192.168.50.2"),
        ];
        let engine = world.up_with(&all, "");
        let status = engine.status();
        for given in &all {
            let (name, client) = (given.region.name, given.region.client);
            let own = bind(&status, name, false);
            assert_eq!(tunnel(&status, name)["presented"], json!([format!("{own}/32")]), "{case}: {status:#}");
            let resolution = conflict(&status, "lan", client)["resolution"].clone();
            assert_eq!(resolution, format!("{name} presented as {own}"), "{case}: {status:#}");
            for proto in PROTOS {
                let answer = ask(&world.client, proto, SAME, Some(&own));
                assert!(answer.is(name, client), "{case}, {proto:?} from {own}: {answer:?}");
            }
        }
        for proto in PROTOS {
            let router = ask(&world.client, proto, "192.168.1.1", None);
            assert!(router.is("internet", "192.168.1.2"), "{case}: {router:?}");
        }
        assert!(mrvpn_testbed::ping(&world.client, "192.168.50.2", None), "{case}: the box");
        engine.down();
        assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "", "{case}");
    }
}

#[test]
fn a_host_that_comes_to_a_lan_with_a_tunnels_address_keeps_the_tunnel_and_its_flows() {
    for rp_filter in [0, 2] {
        let (mut world, case) = (World::new(rp_filter), format!("rp_filter {rp_filter}"));
        let mut engine = world.up_with(&[Given::usual(UK), Given::usual(FR)], "");
        let own = bind(&engine.status(), "uk", false);
        let flows = [None, Some(own.as_str())].map(|from| {
            let to = if from.is_none() { UK.inner } else { SAME };
            Background::probe(&world.client, to, from, 200, Duration::from_secs(3), &world.scratch)
        });
        std::thread::sleep(Duration::from_millis(500));
        // The second card comes to a network that has uk's address, not the one of uk's server.
        world.client.ip("addr add 10.100.0.3/31 dev box0");
        let shown = json!([format!("{own}/32")]);
        let status = engine.wait(|status| tunnel(status, "uk")["presented"] == shown);
        let resolution = conflict(&status, "lan", "10.100.0.2")["resolution"].clone();
        assert_eq!(resolution, format!("uk presented as {own}"), "{case}: {status:#}");
        for flow in flows {
            let seen = flow.finish(Duration::from_secs(10));
            assert_eq!((&seen["lost"], &seen["regions"]["uk"]), (&0.into(), &seen["sent"]), "{case}: {seen}");
        }
        // It stays so until the lease ends, even when the network goes.
        world.client.ip("addr del 10.100.0.3/31 dev box0");
        std::thread::sleep(Duration::from_millis(600));
        assert_eq!(tunnel(&engine.status(), "uk")["presented"], shown, "{case}");
        assert!(ask(&world.client, PROTOS[1], SAME, Some(&own)).is("uk", UK.client), "{case}");
        engine.down();
    }
}

#[test]
fn a_server_that_assigns_our_own_addresses_is_presented_by_its_bind_address() {
    for rp_filter in [0, 1, 2] {
        let (mut world, case) = (World::new(rp_filter), format!("rp_filter {rp_filter}"));
        // fr assigns what is its own bind address, and its server has uk's.
        let ours = Given::numbered(FR, ("198.18.1.0", "255.255.255.0"), "198.18.1.1", "198.18.1.2");
        let all = [Given::usual(UK), ours.clone()];
        let mut engine = world.up_with(&all[..1], "");
        engine.down_for_now();
        // uk is up before fr's server says anything: the pool is in use.
        engine.start_again(&world, &world.config_of(&all, ""));
        engine.wait_tunnel("uk", "up", Duration::from_secs(10));
        world.give(&ours);
        engine.wait_tunnel("fr", "up", Duration::from_secs(20));
        let status = engine.status();
        assert_eq!(bind(&status, "fr", false), "198.18.1.2", "{status:#}");
        let kept = conflict(&status, "pool", "198.18.1.");
        assert!(kept["tunnels"].to_string().contains("fr"), "{case}: {status:#}");
        for (name, client) in [("uk", UK.client), ("fr", "198.18.1.2")] {
            let own = bind(&status, name, false);
            for proto in PROTOS {
                let answer = ask(&world.client, proto, SAME, Some(&own));
                assert!(answer.is(name, client), "{case}, {proto:?} from {own}: {answer:?}");
            }
        }
        // Its network lies in ours and is not reached.
        assert_eq!(ask(&world.client, PROTOS[0], "198.18.1.1", None).region, None, "{case}");

        // The next run knows what it pushes, and leaves it to it.
        engine.down_for_now();
        engine.up_again(&world, &world.config_of(&all, ""));
        let status = engine.status();
        let moved = conflict(&status, "pool", "");
        assert!(moved["resolution"].to_string().contains("10.253.0.0/16"), "{case}: {status:#}");
        assert!(bind(&status, "uk", false).starts_with("10.253."), "{case}: {status:#}");
        assert_eq!(tunnel(&status, "fr")["presented"], json!(["198.18.1.2/32"]), "{case}: {status:#}");
        assert!(ask(&world.client, PROTOS[0], "198.18.1.1", None).is("fr", "198.18.1.2"), "{case}");
        assert!(ask(&world.client, PROTOS[0], UK.inner, None).is("uk", UK.client), "{case}");
        engine.down();
        nothing_in_clear(&world);
    }
}

#[test]
fn a_pool_that_the_machine_has_already_is_left_to_it_and_without_any_up_says_what_to_set() {
    let mut world = World::new(1);
    world.client.ip("addr add 198.18.7.1/24 dev box0");
    let all = [Given::usual(UK)];
    let engine = world.up_with(&all, "");
    let status = engine.status();
    let moved = conflict(&status, "pool", "");
    assert_eq!(moved["resolution"], "mrvpn's own addresses come from 10.253.0.0/16", "{status:#}");
    let own = bind(&status, "uk", false);
    assert_eq!(own, "10.253.1.1", "{status:#}");
    assert!(ask(&world.client, PROTOS[1], SAME, Some(&own)).is("uk", UK.client));
    assert!(ask(&world.client, PROTOS[0], UK.inner, None).is("uk", UK.client));
    engine.down();

    world.client.ip("addr add 10.253.9.1/24 dev box0\naddr add 172.30.0.1/16 dev box0");
    let before = HostSnapshot::take(&world.client);
    let mut engine = Mrvpn::start(&world, &world.config_of(&all, ""));
    assert_eq!(engine.wait_end(Duration::from_secs(5)), Some(1), "{}", engine.log());
    assert!(engine.log().contains("alias_pool"), "{}", engine.log());
    assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "");

    let arguments = world.config_of(&all, "[engine]\nalias_pool = \"10.66.0.0/16\"\n");
    let engine = Mrvpn::up(&world, &arguments);
    let own = bind(&engine.status(), "uk", false);
    assert!(own.starts_with("10.66."), "{own}");
    assert!(ask(&world.client, PROTOS[1], SAME, Some(&own)).is("uk", UK.client));
    engine.down();
}

#[test]
fn ipv6_alone_both_families_and_no_address_each_have_their_outcome() {
    for rp_filter in [0, 1, 2] {
        let (mut world, case) = (World::new(rp_filter), format!("rp_filter {rp_filter}"));
        let all = [
            Given::without_ipv4(UK).six(),
            Given::usual(FR).six(),
            Given::without_ipv4(US).push("route 198.51.100.0 255.255.255.0").push("topology subnet"),
        ];
        let engine = world.up_with(&all, "");
        let status = engine.status();
        assert_eq!(tunnel(&status, "uk")["presented"], json!([format!("{}/128", UK.six.2)]), "{case}: {status:#}");
        let both = tunnel(&status, "fr")["presented"].to_string();
        assert!(both.contains(FR.client) && both.contains(FR.six.2), "{case}: {status:#}");
        for proto in PROTOS {
            assert!(ask(&world.client, proto, UK.six.1, None).is("uk", UK.six.2), "{case}");
            assert!(ask(&world.client, proto, SAME6, Some(UK.six.2)).is("uk", UK.six.2), "{case}");
            assert!(ask(&world.client, proto, FR.six.1, None).is("fr", FR.six.2), "{case}");
            assert!(ask(&world.client, proto, FR.inner, None).is("fr", FR.client), "{case}");
        }
        // IPv4 of the one without, and everything of the one without any: refused, not in clear.
        let conflict = conflict(&status, "address", "");
        assert!(conflict["resolution"].to_string().contains("us carries nothing"), "{case}: {status:#}");
        for (to, from) in [(SAME, Some(bind(&status, "uk", false))), ("198.51.100.10", None)] {
            for proto in PROTOS {
                let answer = ask(&world.client, proto, to, from.as_deref());
                assert_eq!(answer.region, None, "{case}, {to} from {from:?}: {answer:?}");
                assert_ne!(answer.error.as_deref(), Some("TimedOut"), "{case}, {to} from {from:?}: {answer:?}");
            }
        }
        engine.down();
        nothing_in_clear(&world);
    }
}

// proves: T-37
#[test]
fn addresses_that_no_server_may_assign_are_refused_by_name_and_the_others_go_on() {
    let mut world = World::new(0);
    for (address, mask) in
        [("127.0.0.5", "255.0.0.0"), ("224.0.0.5", "255.255.255.0"), ("255.255.255.255", "255.255.255.0")]
    {
        let bad = Given::usual(UK).fixed(address, mask);
        let good = Given::usual(FR);
        world.give(&bad);
        world.give(&good);
        let mut engine = Mrvpn::start(&world, &world.config_of(&[bad, good], ""));
        let uk = engine.wait_error("uk", Duration::from_secs(10));
        assert_eq!((&uk["error"]["code"], &uk["error"]["stage"]), (&"push-refused".into(), &"push".into()), "{uk:#}");
        assert!(uk["error"]["message"].to_string().contains(address), "{uk:#}");
        engine.wait_tunnel("fr", "up", Duration::from_secs(10));
        assert!(ask(&world.client, PROTOS[0], FR.inner, None).is("fr", FR.client));
        let addresses = world.client.run("ip", &["-4", "-o", "addr"]);
        assert!(!addresses.contains(&format!(" {address}/")), "{addresses}");
        engine.down();
    }
}

// proves: I-3
#[test]
fn an_address_that_changes_on_reconnect_leaves_the_interface_and_its_network_is_claimed_no_more() {
    for rp_filter in [0, 1, 2] {
        let (mut world, case) = (World::new(rp_filter), format!("rp_filter {rp_filter}"));
        let mut engine = world.up_with(&[Given::usual(UK)], "");
        let old = bind(&engine.status(), "uk", false);
        let renumbered = Given::numbered(UK, ("10.103.7.0", "255.255.255.0"), "10.103.7.1", "10.103.7.2");
        world.give(&renumbered);
        let status = engine
            .wait_for(Duration::from_secs(20), |status| tunnel(status, "uk")["presented"] == json!(["10.103.7.2/32"]));
        assert_eq!(bind(&status, "uk", false), old, "{case}: the bind address stays");
        let addresses = || world.client.run("ip", &["-o", "-4", "addr", "show", "dev", "mrvpn0"]);
        wait_until("the old address to go", Duration::from_secs(2), || {
            (!addresses().contains(UK.client)).then_some(())
        });
        assert!(!tunnel(&status, "uk")["routes"].to_string().contains(UK.prefix), "{case}: {status:#}");
        for from in [None, Some("10.103.7.2"), Some(old.as_str())] {
            let answer = ask(&world.client, PROTOS[0], "10.103.7.1", from);
            assert!(answer.is("uk", "10.103.7.2"), "{case}, from {from:?}: {answer:?}");
        }
        // The old network is nobody's now, and so it is this host's.
        assert!(ask(&world.client, PROTOS[0], UK.inner, None).is("internet", "192.168.1.2"), "{case}");
        engine.down();
    }
}

/// The tunnel that is presented by an address which begins so.
fn presented_as(status: &Value, address: &str) -> String {
    let holds = |name: &&str| tunnel(status, name)["presented"].to_string().contains(&format!("\"{address}"));
    let names: Vec<&str> = REGIONS.map(|region| region.name).into_iter().filter(holds).collect();
    assert_eq!(names.len(), 1, "{address} is presented by {names:?}: {status:#}");
    String::from(names[0])
}

/// A tunnel's bind address of one family.
#[track_caller]
fn bind(status: &Value, name: &str, six: bool) -> String {
    let all = tunnel(status, name)["bind"].as_array().cloned().unwrap_or_default();
    let of_family = all.iter().filter_map(Value::as_str).find(|address| address.contains(':') == six);
    String::from(of_family.unwrap_or_else(|| panic!("{name} has no bind address: {status:#}")))
}

/// From its bind address each tunnel is reached, from the assigned one the holder; all servers see the assigned one.
fn each_source_is_its_own(world: &World, status: &Value, assigned: &str, holder: &str, case: &str) {
    let six = assigned.contains(':');
    let to = if six { SAME6 } else { SAME };
    let mut sources: Vec<(String, String)> =
        REGIONS.map(|region| (String::from(region.name), bind(status, region.name, six))).into();
    sources.push((String::from(holder), String::from(assigned)));
    for (name, from) in sources {
        for proto in PROTOS {
            let answer = ask(&world.client, proto, to, Some(&from));
            assert!(answer.is(&name, assigned), "{case}, {proto:?} from {from} is {name}'s: {answer:?}");
        }
    }
}

/// The router hides its LAN, as routers do: a server that has the LAN's numbers inside could not answer it otherwise.
fn behind_its_router(world: &World) {
    let table = "table ip router {
        chain out { type nat hook postrouting priority srcnat; ip saddr 192.168.0.0/16 oifname \"to-*\" masquerade; }
    }\n";
    world.internet.nft(&world.scratch.write("router.nft", table));
}

fn nothing_in_clear(world: &World) {
    let counters = world.internet_counters();
    for name in ["inner", "public", "inner_source", "inner6", "public6", "inner_source6"] {
        assert_eq!(counters.packets(name), 0, "{name}: {counters:?}");
    }
}
