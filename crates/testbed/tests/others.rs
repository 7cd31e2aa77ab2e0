//! Others on the machine: policy rules, tables and marks of other programs, a container with its bridge, and other engines.
//! They are untouched and obeyed before, while and after mrvpn runs. What mrvpn leaves alone of traffic that nothing claims
//! is in `beside_others.rs`.

use std::time::Duration;

use mrvpn_testbed::{
    Background, CLIENT, Container, FR, HostSnapshot, Mrvpn, Netns, PROTOS, Process, REGIONS, Region, ServerOptions, UK,
    UNCLAIMED, US, World, ask, helper,
    mrvpn::{tunnel, tunnels},
    run_helper, wait_until,
};
use serde_json::Value;

/// An address that another program refuses.
const ELSEWHERE: &str = "198.51.100.10";

/// What another program has: it marks one destination in the low bits, and the connections of one port, and counts where
/// it finds its marks again. A mark that is set on the way out changes the way and not the source, so that who leads by
/// marks hides the source too.
const OTHER: &str = "table inet other {
    counter led { }
    counter kept { }
    chain lead {
        type route hook output priority -160;
        ip daddr 203.0.113.77 meta mark set meta mark | 0x7 ct mark set meta mark
    }
    chain come {
        type filter hook prerouting priority -160;
        ct direction reply ct mark and 0xff == 0x7 meta mark set meta mark | 0x7
        ct direction original ip daddr 192.168.1.2 tcp dport 7100 ct mark set ct mark | 0x20
    }
    chain leave {
        type filter hook postrouting priority 0;
        meta mark and 0xff == 0x7 counter name led
        ct direction reply ct mark and 0xff == 0x20 counter name kept
    }
    chain hide {
        type nat hook postrouting priority srcnat;
        meta mark and 0xff == 0x7 masquerade
    }
}
";

// proves: I-10
#[test]
fn rules_tables_and_marks_of_others_are_obeyed_and_untouched() {
    for rp_filter in [0, 1, 2] {
        let mut world = World::new(rp_filter);
        world.start_servers(with_default);
        let services = another_program(&world);
        let before = HostSnapshot::take(&world.client);
        let lines = foreign(&world);
        let case = format!("rp_filter {rp_filter}");
        obeyed(&world, &format!("before, {case}"));

        let mut engine = Mrvpn::up(&world, &world.write_config(""));
        let status = engine.wait(|status| status["default"]["via"] == "uk");
        let warnings = status["warnings"].to_string();
        assert!(warnings.contains("5310") && warnings.contains("rule_priority"), "{status:#}");
        assert_eq!(status["interface"]["name"], "mrvpn1", "the next place is taken: {status:#}");
        let rules = world.client.run("ip", &["rule"]);
        let ours: Vec<&str> = rules.lines().filter(|line| line.contains("proto 77")).collect();
        assert!(!ours.is_empty() && ours.iter().all(|line| line.starts_with("54")), "priorities 5400 to 5499: {rules}");
        assert_eq!(foreign(&world), lines, "{case}");
        // The other program's rules stand before ours: they have their packets even where the default would have them.
        obeyed(&world, &format!("while up, {case}"));
        for region in REGIONS {
            for proto in PROTOS {
                let answer = ask(&world.client, proto, region.inner, None);
                assert!(answer.is(region.name, region.client), "{case}, {proto:?}: {answer:?}");
            }
        }
        assert!(ask(&world.client, PROTOS[0], "203.0.113.20", None).is("uk", UK.client), "{case}");

        engine.down();
        assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "", "{case}");
        assert_eq!(foreign(&world), lines, "{case}");
        obeyed(&world, &format!("after, {case}"));
        drop(services);
    }
}

#[test]
fn a_mark_of_others_in_our_bits_and_a_full_house_are_refused_with_the_way_out() {
    let mut world = World::new(0);
    world.start_servers(|_, options| options);
    world.client.ip("rule add pref 7000 fwmark 0x4d000000/0xff000000 lookup 99");
    let before = HostSnapshot::take(&world.client);
    let mut engine = Mrvpn::start(&world, &world.write_profiles());
    assert_eq!(engine.wait_end(Duration::from_secs(5)), Some(1), "{}", engine.log());
    let said = engine.log();
    assert!(said.contains("0x4d000000/0xff000000") && said.contains("`mark` under [engine]"), "{said}");
    assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "");
    // The mend that it names works.
    let other = world.write_config("");
    let path = world.scratch.path().join("mrvpn.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let _ = world.scratch.write("mrvpn.toml", &format!("[engine]\nmark = \"0x4e000000/0xff000000\"\n{text}"));
    let engine = Mrvpn::up(&world, &other);
    assert!(ask(&world.client, PROTOS[0], UK.inner, None).is("uk", UK.client), "{:#}", engine.status());
    engine.down();
    world.client.ip("rule del pref 7000");

    // Something of others in each of the eight places.
    for slot in 0..8 {
        world.client.ip(&format!("rule add pref {} to 192.0.2.77 prohibit", 5300 + 100 * slot + 7));
    }
    let before = HostSnapshot::take(&world.client);
    let mut engine = Mrvpn::start(&world, &world.write_profiles());
    assert_eq!(engine.wait_end(Duration::from_secs(5)), Some(1), "{}", engine.log());
    let said = engine.log();
    assert!(said.contains("rule_priority") && said.contains("6007"), "{said}");
    assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "");
}

#[test]
fn a_container_with_its_bridge_works_before_while_and_after() {
    for rp_filter in [0, 1, 2] {
        let mut world = World::new(rp_filter);
        world.start_servers(with_default);
        let container = Container::beside(&world);
        container.check(&world, "before");
        let before = HostSnapshot::take(&world.client);
        let mut engine = Mrvpn::up(&world, &world.write_config(""));
        let status = engine.wait(|status| status["default"]["via"] == "uk");
        container.check(&world, &format!("while up, rp_filter {rp_filter}"));
        assert!(ask(&world.client, PROTOS[1], "203.0.113.20", None).is("uk", UK.client), "{status:#}");
        world.dismiss_server(UK);
        engine.wait_tunnel("uk", "reconnecting", Duration::from_secs(8));
        container.check(&world, &format!("while the default is down, rp_filter {rp_filter}"));
        engine.down();
        container.check(&world, "after");
        assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "", "rp_filter {rp_filter}");
        for region in REGIONS {
            assert_eq!(world.region_counters(region).packets("strange"), 0, "{}", region.name);
        }
    }
}

// proves: I-10
#[test]
fn three_engines_side_by_side_start_and_stop_in_any_order_and_one_may_be_killed() {
    for rp_filter in [0, 1, 2] {
        let mut world = World::new(rp_filter);
        world.start_servers(|_, options| options);
        let before = HostSnapshot::take(&world.client);
        let profiles = world.write_profiles();
        let one = |place: usize| Mrvpn::up(&world, &profiles[place..=place]);

        let uk = one(0);
        let with_uk = HostSnapshot::take(&world.client);
        let fr = one(1);
        all_work(&world, &[UK, FR], rp_filter);
        assert_eq!(names(&uk.status()), (String::from("mrvpn0"), vec![String::from("uk")]));
        assert_eq!(names(&fr.status()), (String::from("mrvpn1"), vec![String::from("fr")]));
        // Each binds its own address, and its name means its own tunnel.
        for (engine, region) in [(&uk, UK), (&fr, FR)] {
            let status = engine.status();
            let bind = tunnel(&status, region.name)["bind"][0].clone();
            let from = bind.as_str().unwrap_or_else(|| panic!("{status:#}"));
            assert!(ask(&world.client, PROTOS[0], region.inner, Some(from)).is(region.name, region.client), "{from}");
            assert!(ask(&world.client, PROTOS[1], "203.0.113.10", Some(from)).is(region.name, region.client), "{from}");
        }
        // The later one ends first: the earlier one's things are as they were.
        fr.down();
        // The other one notices within its own pace that it is alone: it need not leave that one's addresses out any more.
        let begin = std::time::Instant::now();
        while with_uk != HostSnapshot::take(&world.client) {
            let difference = with_uk.difference(&HostSnapshot::take(&world.client));
            assert!(begin.elapsed() < Duration::from_secs(2), "rp_filter {rp_filter}: {difference}");
        }
        all_work(&world, &[UK], rp_filter);

        // The earlier one ends first, and its place is the next one's.
        let steady = busy(&world, UK);
        let fr = one(1);
        unharmed(steady, UK);
        let steady = busy(&world, FR);
        uk.down();
        let us = one(2);
        assert_eq!(us.status()["interface"]["name"], "mrvpn0", "the lowest free place");
        let uk = one(0);
        assert_eq!(uk.status()["interface"]["name"], "mrvpn2");
        all_work(&world, &REGIONS, rp_filter);
        unharmed(steady, FR);

        // One of three is killed: its claims stay closed, the others go on, and a new engine leaves its place to it.
        let (steady, mut us) = (busy(&world, UK), us);
        us.kill();
        // What a dead engine holds vanishes, so that each question waits for its time.
        let client = &world.client;
        let answers = std::thread::scope(|scope| {
            let asking = PROTOS.map(|proto| scope.spawn(move || ask(client, proto, US.inner, None)));
            asking.map(|answer| answer.join().expect("no question panics"))
        });
        for answer in answers {
            assert_eq!(answer.region, None, "the dead one's claims stay closed: {answer:?}");
        }
        all_work(&world, &[UK, FR], rp_filter);
        fr.down();
        let fr = one(1);
        assert_eq!(fr.status()["interface"]["name"], "mrvpn1", "the dead one's place is kept for it");
        let output = us.run(&["down"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        all_work(&world, &[UK, FR], rp_filter);
        assert!(ask(&world.client, PROTOS[0], US.inner, None).is("internet", CLIENT), "let go");
        unharmed(steady, UK);
        uk.down();
        fr.down();
        assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "", "rp_filter {rp_filter}");
        nothing_strange(&world);
    }
}

#[test]
fn a_default_of_one_engine_leaves_the_claims_of_an_earlier_one_alone() {
    for rp_filter in [0, 1, 2] {
        let mut world = World::new(rp_filter);
        world.start_servers(with_default);
        let profiles = world.write_profiles();
        let fr = Mrvpn::up(&world, &profiles[1..=1]);
        let mut uk = Mrvpn::up(&world, &profiles[0..=0]);
        uk.wait(|status| status["default"]["via"] == "uk");
        for proto in PROTOS {
            for (region, to, from) in [
                (UK, UK.inner, None),
                (UK, "203.0.113.10", None),
                (FR, FR.inner, None),
                (FR, "203.0.113.10", Some(FR.client)),
                (UK, "203.0.113.10", Some(UK.client)),
            ] {
                let answer = ask(&world.client, proto, to, from);
                assert!(answer.is(region.name, region.client), "rp_filter {rp_filter}, {to} from {from:?}: {answer:?}");
            }
        }
        // Outer packets of neither enter the other, a new dial included.
        world.dismiss_server(FR);
        world.restart_server(FR);
        world.dismiss_server(UK);
        uk.wait_tunnel("uk", "reconnecting", Duration::from_secs(8));
        world.restart_server(UK);
        uk.wait_tunnel("uk", "up", Duration::from_secs(20));
        let mut fr = fr;
        fr.wait_tunnel("fr", "up", Duration::from_secs(20));
        assert!(ask(&world.client, PROTOS[0], FR.inner, None).is("fr", FR.client));
        uk.down();
        assert!(ask(&world.client, PROTOS[0], FR.inner, None).is("fr", FR.client));
        assert!(ask(&world.client, PROTOS[0], "203.0.113.10", None).is("internet", CLIENT));
        fr.down();
        nothing_strange(&world);
    }
}

#[test]
fn a_default_of_one_engine_leaves_the_claims_of_a_later_one_alone() {
    for rp_filter in [0, 1, 2] {
        let mut world = World::new(rp_filter);
        world.start_servers(with_default);
        let profiles = world.write_profiles();
        let mut uk = Mrvpn::up(&world, &profiles[0..=0]);
        uk.wait(|status| status["default"]["via"] == "uk");
        let fr = Mrvpn::up(&world, &profiles[1..=1]);
        let carried = || ask(&world.client, PROTOS[0], FR.inner, None).is("fr", FR.client);
        // A question that was on its way meanwhile is lost in uk.
        wait_until("uk sees what fr claims", Duration::from_secs(8), || carried().then_some(()));
        for proto in PROTOS {
            for (region, to, from) in [
                (FR, FR.inner, None),
                (FR, "203.0.113.10", Some(FR.client)),
                (UK, "203.0.113.10", None),
                (UK, UK.inner, Some(UK.client)),
            ] {
                let answer = ask(&world.client, proto, to, from);
                assert!(answer.is(region.name, region.client), "rp_filter {rp_filter}, {to} from {from:?}: {answer:?}");
            }
        }
        fr.down();
        assert!(ask(&world.client, PROTOS[1], "203.0.113.10", None).is("uk", UK.client));
        uk.down();
        nothing_strange(&world);
    }
}

/// uk offers to be the default; all say goodbye.
fn with_default(region: Region, options: ServerOptions) -> ServerOptions {
    let options = options.line("explicit-exit-notify 1");
    if region == UK { options.push("redirect-gateway def1") } else { options }
}

/// Another program's rules, tables and marks, and what they lead to: the box behind the client has an address of its own.
fn another_program(world: &World) -> [Process; 2] {
    world.client.ip(&format!(
        "rule add pref 5310 to 192.0.2.77 prohibit
         rule add pref 5200 fwmark 0x7/0xff lookup 77
         rule add pref 5210 to {ELSEWHERE} lookup 78
         route add {UNCLAIMED}/32 via 192.168.50.2 table 77
         route add prohibit {ELSEWHERE}/32 table 78"
    ));
    // Who sends by marks must let answers in by marks, and asks for it, as wg-quick does.
    world.client.sysctl("net.ipv4.conf.all.src_valid_mark", "1");
    world.client.nft(&world.scratch.write("other.nft", OTHER));
    world.guest.ip(&format!("addr add {UNCLAIMED}/32 dev lo"));
    [serve(&world.guest, "box", "7000", UNCLAIMED, world), serve(&world.client, "client", "7100", CLIENT, world)]
}

/// What the other program wants to happen, asked of a client with or without mrvpn.
fn obeyed(world: &World, when: &str) {
    for proto in PROTOS {
        let led = ask(&world.client, proto, UNCLAIMED, None);
        assert_eq!(led.region.as_deref(), Some("box"), "{when}, {proto:?}: {led:?}");
        let refused = ask(&world.client, proto, ELSEWHERE, None);
        assert_eq!(refused.error.as_deref(), Some("PermissionDenied"), "{when}, {proto:?}: {refused:?}");
    }
    let kept = other_counter(world, "kept");
    for from in ["192.168.1.1", "203.0.113.20"] {
        let words = ["--proto", "tcp", "--to", "192.168.1.2:7100", "--from", from];
        let answer = run_helper(&world.internet, "ask", &words);
        assert_eq!(answer["region"], "client", "{when}, from {from}: {answer}");
    }
    assert!(other_counter(world, "kept") > kept, "{when}: the mark of a connection that came in stays");
    assert!(other_counter(world, "led") > 0, "{when}");
}

fn other_counter(world: &World, name: &str) -> u64 {
    let text = world.client.run("nft", &["-j", "list", "counter", "inet", "other", name]);
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    let packets = value["nftables"].as_array().into_iter().flatten().find_map(|row| row["counter"]["packets"].as_u64());
    packets.unwrap_or_else(|| panic!("no counter {name}: {text}"))
}

/// All rules, routes and tables that are not of mrvpn, without counters.
fn foreign(world: &World) -> Vec<String> {
    let rules = world.client.run("ip", &["rule"]);
    let mut lines: Vec<String> = rules.lines().filter(|line| !line.contains("proto 77")).map(String::from).collect();
    for table in ["77", "78", "main"] {
        lines.extend(world.client.run("ip", &["route", "show", "table", table]).lines().map(String::from));
    }
    lines.extend(world.client.run("nft", &["-s", "list", "table", "inet", "other"]).lines().map(String::from));
    lines
}

fn serve(netns: &Netns, name: &str, port: &str, address: &str, world: &World) -> Process {
    let mut command = netns.command(helper());
    command.args(["serve", "--name", name, "--port", port, "--udp", address]);
    let mut process = Process::start(&format!("service-{name}"), command, world.scratch.path());
    process.wait_for("ready", Duration::from_secs(5));
    process
}

fn all_work(world: &World, regions: &[Region], rp_filter: u8) {
    for region in regions {
        for proto in PROTOS {
            let answer = ask(&world.client, proto, region.inner, None);
            assert!(answer.is(region.name, region.client), "rp_filter {rp_filter}, {proto:?}: {answer:?}");
        }
    }
}

/// Name of the interface and of the tunnels.
fn names(status: &Value) -> (String, Vec<String>) {
    let text = |value: &Value| String::from(value.as_str().unwrap_or_default());
    (text(&status["interface"]["name"]), tunnels(status).iter().map(|tunnel| text(&tunnel["name"])).collect())
}

/// Two hundred questions a second for as long as others come and go.
fn busy(world: &World, region: Region) -> Background {
    Background::probe(&world.client, region.inner, None, 200, Duration::from_millis(1500), &world.scratch)
}

fn unharmed(probe: Background, region: Region) {
    let seen = probe.finish(Duration::from_secs(20));
    assert_eq!((&seen["lost"], &seen["twice"]), (&0.into(), &0.into()), "{}: {seen}", region.name);
    assert_eq!(seen["regions"][region.name], seen["sent"], "{seen}");
}

fn nothing_strange(world: &World) {
    for region in REGIONS {
        assert_eq!(world.region_counters(region).packets("strange"), 0, "{}", region.name);
    }
    let internet = world.internet_counters();
    assert_eq!(internet.packets("inner_source"), 0, "{internet:?}");
}
