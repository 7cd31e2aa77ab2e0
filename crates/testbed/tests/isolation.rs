//! What servers and strangers try to send in. The client forwards packets in all of these tests: what reaches its interface
//! would be routed on.

use std::time::Duration;

use mrvpn_testbed::{
    Background, Counters, FR, Mrvpn, PROTOS, Process, REGIONS, Region, ServerOptions, UK, US, World, ask, helper,
    mrvpn::tunnel, run_helper,
};

/// Where a server's scan is aimed at: the client's services, its LAN, its guest, other tunnels, pools, the open net.
const AIMED: [&str; 8] = [
    "127.0.0.1",
    "192.168.50.1",
    "192.168.50.2",
    "192.168.1.1",
    "10.101.0.1",
    "10.102.0.2",
    "198.18.1.1",
    "203.0.113.77",
];

// proves: T-45, I-4
#[test]
fn a_port_scan_from_a_server_finds_nothing() {
    let mut world = World::new(0);
    world.start_servers(|_, options| options);
    let listening = listener(&world.client, "client", "7100", &["127.0.0.1"], &world);
    let engine = Mrvpn::up(&world, &world.write_profiles());
    let before = into_the_client(&world);
    for region in [UK, FR] {
        let ports = ["22", "53", "80", "7000", "7100", "65535"].iter().flat_map(|port| ["--port", port]);
        let arguments: Vec<&str> = ["--host", region.client].into_iter().chain(ports).collect();
        let seen = run_helper(world.region(region), "scan", &arguments);
        assert_eq!(seen["answered"], serde_json::json!([]), "{}", region.name);
        assert!(world.region(region).try_run("ping", &["-n", "-c", "1", "-W", "1", region.client]).is_err());
        assert!(dropped(&engine, region, &["unasked", "no-flow"]) >= 12, "{:#}", engine.status());
    }
    assert_eq!(into_the_client(&world), before, "nothing came out of the interface");
    drop(listening);
    engine.down();
}

// proves: T-45, T-44, I-4
#[test]
fn a_scan_from_each_server_of_all_that_is_at_and_behind_the_client_finds_nothing_and_is_counted() {
    let mut world = World::new(0);
    let ccd = world.scratch.path().join("ccd");
    std::fs::create_dir(&ccd).unwrap();
    // The machine itself, its LAN, what stands behind it, each region's network, the open net, our pools.
    let nets = ["127.0.0.0 255.0.0.0", "192.168.0.0 255.255.0.0", "10.0.0.0 255.0.0.0", "203.0.113.0 255.255.255.0"];
    let iroutes: String = nets.iter().map(|net| format!("iroute {net}\n")).collect();
    std::fs::write(ccd.join("DEFAULT"), iroutes + "iroute 198.18.0.0 255.254.0.0\n").unwrap();
    let line = format!("client-config-dir {}", ccd.display());
    world.start_servers(|_, options| options.line(&line));
    let services = ["127.0.0.1", "192.168.1.2", "192.168.50.1"];
    let listening = listener(&world.client, "client", "7000", &services, &world);
    for region in REGIONS {
        let netns = world.region(region);
        // A server may well treat 127.0.0.1 as an address like any other.
        netns.sysctl("net.ipv4.conf.all.route_localnet", "1");
        netns.ip("addr del 127.0.0.1/8 dev lo");
        for address in AIMED.into_iter().filter(|address| *address != region.inner) {
            netns.ip(&format!("route replace {address}/32 dev tun0"));
        }
    }
    let engine = Mrvpn::up(&world, &world.write_profiles());
    let before = into_the_client(&world);
    for region in REGIONS {
        for address in AIMED.into_iter().filter(|address| *address != region.inner) {
            let dropped_before = dropped_in_all(&engine, region);
            let scan = ["--host", address, "--from", region.inner, "--port", "7000"];
            let seen = run_helper(world.region(region), "scan", &scan);
            assert_eq!(seen["answered"], serde_json::json!([]), "{} at {address}: {seen}", region.name);
            let dropped = dropped_in_all(&engine, region) - dropped_before;
            assert!(dropped >= 2, "{} at {address}: {dropped} drops, {:#}", region.name, engine.status());
        }
    }
    assert_eq!(into_the_client(&world), before, "nothing came out of the interface");
    drop(listening);
    engine.down();
}

// proves: T-45, T-80, I-2, I-4
#[test]
fn packets_that_a_server_aims_past_the_tunnel_go_nowhere() {
    let mut world = World::new(0);
    let ccd = world.scratch.path().join("ccd");
    std::fs::create_dir(&ccd).unwrap();
    let nets = [
        ("10.101.0.0 255.255.0.0", "10.101.0.0/16"),       // fr's network
        ("198.18.0.0 255.254.0.0", "198.18.0.0/15"),       // our pools: anchor, bind addresses
        ("192.168.50.0 255.255.255.0", "192.168.50.0/24"), // the guest behind the client
        ("192.168.1.1 255.255.255.255", "192.168.1.1"),    // the client's LAN
        ("203.0.113.77 255.255.255.255", "203.0.113.77"),  // the open net
    ];
    let iroutes: String = nets.iter().map(|(net, _)| format!("iroute {net}\n")).collect();
    std::fs::write(ccd.join("DEFAULT"), iroutes).unwrap();
    let line = format!("client-config-dir {}", ccd.display());
    world.start_servers(|region, options| if region == UK { options.line(&line) } else { options });
    for (_, net) in nets {
        world.region(UK).ip(&format!("route add {net} dev tun0"));
    }
    world.region(UK).ip("route add 224.0.0.0/4 dev tun0");
    let engine = Mrvpn::up(&world, &world.write_profiles());
    let (before, fr_before) = (into_the_client(&world), world.region_counters(FR).packets("expected"));
    let aimed = ["10.101.0.1", "10.101.0.2", "198.18.0.1", "198.18.1.2", "192.168.50.2", "192.168.1.1", "203.0.113.77"];
    for address in aimed.into_iter().chain(["224.0.0.251"]) {
        let to = format!("{address}:7000");
        let sent = run_helper(world.region(UK), "send", &["--from", UK.inner, "--to", &to, "--count", "5"]);
        assert_eq!(sent["sent"], 5, "{to}: {sent}");
    }
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(into_the_client(&world), before, "nothing came out of the interface: {:#}", engine.status());
    let fr = world.region_counters(FR);
    assert_eq!((fr.packets("expected"), fr.packets("strange")), (fr_before, 0), "nothing was bridged to fr");
    let internet = world.internet_counters();
    assert_eq!((internet.packets("inner_source"), internet.packets("unclaimed")), (0, 0), "{internet:?}");
    assert!(
        dropped(&engine, UK, &["not-our-address", "no-flow", "unasked", "multicast"]) >= 35,
        "{:#}",
        engine.status()
    );
    engine.down();
}

// proves: T-72, I-4
#[test]
fn a_perfect_answer_from_the_wrong_tunnel_does_not_arrive() {
    let mut world = World::new(0);
    world.start_servers(|region, options| match region.name {
        "uk" => options.push("route 198.51.100.0 255.255.255.0"),
        _ => options,
    });
    let service = listener(world.region(UK), "uk", "9999", &["198.51.100.10"], &world);
    let engine = Mrvpn::up(&world, &world.write_profiles());
    let question = ["--from", "0.0.0.0:5555", "--to", "198.51.100.10:9999"];
    let before = into_the_client(&world);
    run_helper(&world.client, "send", &question);
    mrvpn_testbed::wait_until("uk's answer", Duration::from_secs(2), || {
        (into_the_client(&world) > before).then_some(())
    });
    std::thread::sleep(Duration::from_millis(200));
    let before = into_the_client(&world);
    for (region, source) in [(FR, "198.51.100.10:9999"), (US, "198.51.100.10:9999")] {
        let to = format!("{}:5555", region.client);
        let sent = run_helper(world.region(region), "send", &["--from", source, "--to", &to, "--count", "20"]);
        assert_eq!(sent["sent"], 20, "{sent}");
    }
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(into_the_client(&world), before, "{:#}", engine.status());
    for region in [FR, US] {
        assert!(dropped(&engine, region, &["no-flow", "unasked"]) >= 20, "{:#}", engine.status());
    }
    run_helper(&world.client, "send", &question);
    mrvpn_testbed::wait_until("uk's answer", Duration::from_secs(2), || {
        (into_the_client(&world) > before).then_some(())
    });
    drop(service);
    engine.down();
}

// proves: T-07, T-01
#[test]
fn packets_from_another_outer_address_disturb_nothing() {
    let mut world = World::new(0);
    world.start_server(UK, ServerOptions::new(mrvpn_testbed::Wrapping::None));
    let profile = world.write_profile("uk", &world.profile(UK));
    let engine = Mrvpn::up(&world, &[format!("uk={}", profile.display())]);
    let since = tunnel(&engine.status(), "uk")["since"].clone();
    let target = format!("192.168.1.2:{}", engine.outer_port(&world, UK.outer));
    let probe = Background::probe(&world.client, UK.inner, None, 1000, Duration::from_secs(4), &world.scratch);
    // Hard reset of the server, soft reset, control, acknowledgement, data for peer 0, a lone opcode, an unknown opcode.
    let forged = ["40", "1c", "20", "28", "48000000", "48", "f8"];
    for first in forged {
        let hex = format!("{first}{}", "a5".repeat(60));
        for (netns, from) in [(&world.internet, "192.168.1.1:1194"), (world.region(UK), "192.0.2.2:1195")] {
            let arguments = ["--from", from, "--to", &target, "--hex", &hex, "--count", "50"];
            assert_eq!(run_helper(netns, "send", &arguments)["sent"], 50, "{from}");
        }
    }
    let seen = probe.finish(Duration::from_secs(15));
    assert_eq!((&seen["lost"], &seen["twice"]), (&0.into(), &0.into()), "{seen}");
    let uk = tunnel(&engine.status(), "uk");
    assert_eq!((&uk["state"], &uk["since"]), (&"up".into(), &since), "{uk:#}");
    assert!(ask(&world.client, PROTOS[0], UK.inner, None).is("uk", UK.client));
    engine.down();
}

/// Packets that the client's tunnel interface has brought in, whatever they were.
fn into_the_client(world: &World) -> u64 {
    Counters::read(&world.client).packets("tunnel")
}

/// Packets of a tunnel that were dropped, for whatever reason.
fn dropped_in_all(engine: &Mrvpn, region: Region) -> u64 {
    let drops = tunnel(&engine.status(), region.name)["drops"].clone();
    drops.as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
}

/// Packets of a tunnel that were dropped for one of these reasons.
fn dropped(engine: &Mrvpn, region: Region, reasons: &[&str]) -> u64 {
    let drops = tunnel(&engine.status(), region.name)["drops"].clone();
    reasons.iter().map(|reason| drops[*reason].as_u64().unwrap_or(0)).sum()
}

fn listener(netns: &mrvpn_testbed::Netns, name: &str, port: &str, udp: &[&str], world: &World) -> Process {
    let mut command = netns.command(helper());
    command.args(["serve", "--name", name, "--port", port]);
    for address in udp {
        command.args(["--udp", address]);
    }
    let mut process = Process::start(&format!("listener-{name}"), command, world.scratch.path());
    process.wait_for("ready", Duration::from_secs(5));
    process
}
