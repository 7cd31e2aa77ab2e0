//! IPv6 inside the tunnels: by default, by bound address, by rule and by pushed route; the address that each server sees; what
//! a tunnel without IPv6 does with it; and errors that come back from each tunnel in both families.

use std::time::Duration;

use mrvpn_testbed::{
    Background, FR, Mrvpn, PROTOS, PUBLIC6, REGIONS, Region, ServerOptions, UK, UNCLAIMED, US, World, ask,
    mrvpn::{tunnel, tunnels},
    ping, run_helper,
};

/// uk offers to be the default in both families, fr has IPv6 and offers nothing, us has IPv4 alone.
fn dual(region: Region, options: ServerOptions) -> ServerOptions {
    let six = |options: ServerOptions| options.line(&format!("server-ipv6 {}", region.six.0));
    match region.name {
        "uk" => six(options).push("redirect-gateway def1 ipv6"),
        "fr" => six(options),
        _ => options,
    }
}

const RULES: &str = r#"
[[rule]]
to = ["2001:db8:99::11/128"]
via = "us"

[[rule]]
to = ["2001:db8:99::12/128", "203.0.113.20/32"]
via = "fr"
"#;

// proves: I-2, I-3
#[test]
fn unbound_flows_to_ten_destinations_leave_by_the_default_and_bound_ones_by_theirs() {
    let (world, engine) = up("", dual);
    for to in PUBLIC6 {
        for proto in PROTOS {
            let answer = ask(&world.client, proto, to, None);
            assert!(answer.is("uk", UK.six.2), "{proto:?} {to}: {answer:?}\n{:#}", engine.status());
            let bound = ask(&world.client, proto, to, Some(FR.six.2));
            assert!(bound.is("fr", FR.six.2), "{proto:?} {to} bound to fr: {bound:?}\n{:#}", engine.status());
            let bound = ask(&world.client, proto, to, Some(UK.six.2));
            assert!(bound.is("uk", UK.six.2), "{proto:?} {to} bound to uk: {bound:?}");
        }
    }
    for (region, other) in [(UK, FR), (FR, UK)] {
        for from in [None, Some(region.six.2)] {
            let before = world.region_counters(other).packets("expected6");
            assert!(ping(&world.client, region.six.1, from), "{} from {from:?}", region.name);
            assert!(ask(&world.client, PROTOS[0], region.six.1, from).is(region.name, region.six.2));
            assert_eq!(world.region_counters(other).packets("expected6"), before);
        }
    }
    let bind = tunnel(&engine.status(), "fr")["bind"].as_array().cloned().unwrap_or_default();
    if let Some(bind) = bind.iter().filter_map(|word| word.as_str()).find(|word| word.contains(':')) {
        assert!(ask(&world.client, PROTOS[0], PUBLIC6[0], Some(bind)).is("fr", FR.six.2), "bound to {bind}");
    }
    nothing_strange(&world);
    engine.down();
}

// proves: T-78
#[test]
fn a_flow_of_ipv6_ruled_to_a_tunnel_without_it_is_refused_at_once_and_never_in_clear() {
    let (world, engine) = up(RULES, dual);
    for proto in PROTOS {
        let refused = ask(&world.client, proto, "2001:db8:99::11", None);
        assert!(refused.region.is_none() && refused.error.as_deref() != Some("TimedOut"), "{proto:?}: {refused:?}");
        assert!(refused.after < Duration::from_secs(1), "{proto:?}: {refused:?}");
        assert!(ask(&world.client, proto, "2001:db8:99::12", None).is("fr", FR.six.2));
        assert!(ask(&world.client, proto, "203.0.113.20", None).is("fr", FR.client));
        assert!(ask(&world.client, proto, "2001:db8:99::13", None).is("uk", UK.six.2));
    }
    nothing_strange(&world);
    engine.down();
}

// proves: T-78, I-2
#[test]
fn a_default_without_ipv6_refuses_ipv6_instead_of_letting_it_out_in_clear() {
    let (world, engine) = up("", |region, options| match region.name {
        "uk" => options.push("redirect-gateway def1 ipv6"),
        _ => options,
    });
    for to in &PUBLIC6[..3] {
        for proto in PROTOS {
            let refused = ask(&world.client, proto, to, None);
            assert!(refused.region.is_none() && refused.after < Duration::from_secs(1), "{proto:?} {to}: {refused:?}");
        }
    }
    assert!(ask(&world.client, PROTOS[0], "203.0.113.10", None).is("uk", UK.client));
    nothing_strange(&world);
    engine.down();
}

#[test]
fn a_trace_through_each_tunnel_shows_its_gateway_in_both_families() {
    let (world, engine) = up("", dual);
    let ways = [
        (UNCLAIMED, Some(UK.client), UK.inner),
        (UNCLAIMED, Some(FR.client), FR.inner),
        (UNCLAIMED, Some(US.client), US.inner),
        (UNCLAIMED, None, UK.inner),
        ("2001:db8:77::1", Some(UK.six.2), UK.six.1),
        ("2001:db8:77::1", Some(FR.six.2), FR.six.1),
        ("2001:db8:77::1", None, UK.six.1),
    ];
    for (host, from, gateway) in ways {
        let mut arguments = vec!["--host", host, "--hops", "2"];
        arguments.extend(from.iter().flat_map(|from| ["--from", from]));
        let seen = run_helper(&world.client, "trace", &arguments);
        assert_eq!(seen["hops"][0]["by"], gateway, "{host} from {from:?}: {seen}\n{:#}", engine.status());
        assert_eq!(seen["hops"][0]["ours"], true, "the packet inside is the program's own: {seen}");
    }
    engine.down();
}

#[test]
fn many_questions_and_megabytes_pass_in_both_families_at_once() {
    let (world, engine) = up("", dual);
    let both = [(UK.inner, "uk"), (UK.six.1, "uk"), (FR.inner, "fr"), (FR.six.1, "fr")];
    let time = Duration::from_secs(3);
    let probes = both.map(|(to, name)| (name, Background::probe(&world.client, to, None, 500, time, &world.scratch)));
    for (name, probe) in probes {
        let seen = probe.finish(Duration::from_secs(15));
        assert_eq!((&seen["lost"], &seen["twice"]), (&0.into(), &0.into()), "{name}: {seen}");
        assert_eq!(seen["regions"][name], seen["sent"], "{seen}");
    }
    for (to, name) in both {
        let seen =
            Background::transfer(&world.client, to, None, 10_000_000, &world.scratch).finish(Duration::from_secs(60));
        assert_eq!(seen["region"], name, "{to}: {seen}");
    }
    for size in ["1", "1200", "1392", "1400", "1452"] {
        let echoed = world.client.try_run("ping", &["-n", "-c", "1", "-W", "1", "-s", size, UK.six.1]);
        assert!(echoed.is_ok(), "{size} bytes: {echoed:?}");
    }
    nothing_strange(&world);
    engine.down();
}

// proves: I-4, T-45
#[test]
fn a_server_reaches_nothing_by_ipv6_either() {
    let (world, engine) = up("", dual);
    let before = mrvpn_testbed::Counters::read(&world.client).packets("tunnel");
    for region in [UK, FR] {
        let scan = ["--host", region.six.2, "--port", "22", "--port", "7000", "--port", "53"];
        let seen = run_helper(world.region(region), "scan", &scan);
        assert_eq!(seen["answered"], serde_json::json!([]), "{}", region.name);
        assert!(!ping(world.region(region), region.six.2, None));
    }
    let after = mrvpn_testbed::Counters::read(&world.client).packets("tunnel");
    assert_eq!(after, before, "nothing came out of the interface: {:#}", engine.status());
    engine.down();
}

fn up(rules: &str, extend: impl Fn(Region, ServerOptions) -> ServerOptions) -> (World, Mrvpn) {
    let mut world = World::new(0);
    world.start_servers(extend);
    let mut engine = Mrvpn::up(&world, &world.write_config(rules));
    let status = engine.wait(|status| status["default"]["via"] == "uk");
    assert!(tunnels(&status).iter().all(|tunnel| tunnel["error"].is_null()), "{status:#}");
    (world, engine)
}

#[track_caller]
fn nothing_strange(world: &World) {
    let counters = world.internet_counters();
    for clear in ["inner", "inner_source", "public", "inner6", "inner_source6", "public6", "unclaimed"] {
        assert_eq!(counters.packets(clear), 0, "{clear}: {counters:?}");
    }
    for region in REGIONS {
        let counters = world.region_counters(region);
        assert_eq!((counters.packets("strange"), counters.packets("six")), (0, 0), "{}: {counters:?}", region.name);
    }
}
