//! What others delete of what a running engine has made: it is put back soon, said, and costs neither the tunnels' flows
//! nor what belongs to others. What the host crate does of it alone is in `host_repair.rs`.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use mrvpn_testbed::{
    Background, ClearWatch, FR, HostSnapshot, Knocks, Mrvpn, Proto, ServerOptions, UK, UNCLAIMED, World, ask, cpu_time,
    mrvpn::tunnel, usual_wrapping,
};
use rustix::process::Signal;

/// Until it is put back (threats-and-faults.md, F-21).
const SOON: Duration = Duration::from_millis(500);

/// Until a deleted interface is there again (threats-and-faults.md, F-16).
const REBUILT: Duration = Duration::from_secs(1);

/// What rules, claims and the default hold.
const HELD: [&str; 6] = ["203.0.113.10", "198.51.100.10", "203.0.113.20", UNCLAIMED, UK.inner, FR.inner];

const RULES: &str = r#"
[[rule]]
to = ["203.0.113.10/32"]
port = ["7000-7010"]
via = "uk"
"#;

/// What somebody does, and what the log says afterwards.
struct Deed {
    what: &'static str,
    said: &'static str,
}

const fn deed(what: &'static str, said: &'static str) -> Deed {
    Deed { what, said }
}

/// DEV, ALL, CLAIMS and TABLE stand for the engine's own names and numbers.
const DEEDS: [Deed; 14] = [
    deed("ip rule del priority 5330", "policy rule 5330"),
    deed("ip rule flush", "policy rule 53"),
    deed("ip route flush table CLAIMS", "in table CLAIMS"),
    deed("ip -6 rule flush", "policy rule 53"),
    deed("ip route flush table ALL", "in table ALL"),
    deed("ip route del default dev DEV table ALL", "in table ALL"),
    deed("ip -6 route flush table ALL", "in table ALL"),
    deed("nft delete table inet TABLE", "nftables table TABLE"),
    // The same as before: it is not said again so soon.
    deed("nft flush ruleset", ""),
    deed("ip addr del 10.100.0.2/32 dev DEV", "address 10.100.0.2/32"),
    deed("ip addr del 198.18.0.1/32 dev DEV", "address 198.18.0.1/32"),
    deed("ip addr flush dev DEV", "address 198.18.0.1/32"),
    deed("ip link set DEV down", "put back"),
    deed("ip link del DEV", ""),
];

/// Others' own things, beside the engine's.
const FOREIGN: &str = "rule add priority 1000 from 10.9.9.9 lookup 999
    route add 10.66.0.0/16 via 192.168.1.1 table 999
    link add other0 type veth peer name other1
    addr add 192.168.77.1/24 dev other0
    link set other0 up
    link set other1 up";

const FOREIGN_TABLE: &str =
    "table ip other { chain c { type filter hook input priority 0; policy accept; tcp dport 23 drop; }\n}\n";

// proves: F-16, F-21
#[test]
fn what_others_delete_is_put_back_while_flows_go_on_and_nothing_of_theirs_is_touched() {
    let world = world();
    world.client.ip(FOREIGN);
    let table = world.scratch.write("foreign.nft", FOREIGN_TABLE);
    world.client.nft(&table);
    let watched = world.scratch.write("watched.nft", &world.client.run("nft", &["list", "ruleset"]));
    let before = HostSnapshot::take(&world.client);
    let watch = ClearWatch::new(&world, &["10.100.0.0/15", "203.0.113.0/24", "198.51.100.0/24"]);
    let mut engine = Mrvpn::up(&world, &config(&world));
    let status = engine.wait(|status| status["default"]["via"] == "fr");
    let ours = Ours::of(&world, &status, &engine);
    let whole = ours.read();
    assert!(whole.len() > 60, "{whole:#?}");
    let stream = Background::stream(&world.client, UK.inner, None, Duration::from_secs(9), &world.scratch);
    let knocks = Knocks::start(&world.client, &HELD, None, 200, &world.scratch);
    watch.expect_closed_now();
    std::thread::sleep(Duration::from_millis(100));

    for deed in &DEEDS {
        let words = ours.words(deed.what);
        let (leaked, logged) = (in_clear(&watch), logged(&engine));
        let begun = Instant::now();
        world.client.run(words[0], &words[1..]);
        if deed.what.ends_with("rule flush") {
            let family = if deed.what.contains("-6") { "-6 " } else { "" };
            world.client.ip(&format!("{family}rule add priority 32766 lookup main"));
        }
        if deed.what == "ip rule flush" {
            world.client.ip("rule add priority 32767 lookup default\nrule add priority 1000 from 10.9.9.9 lookup 999");
        }
        let limit = if deed.what.starts_with("ip link del") { REBUILT } else { SOON };
        let took = ours.wait(&whole, begun, limit, || format!("{}\n{}", deed.what, engine.log()));
        if deed.what == "nft flush ruleset" {
            world.client.nft(&watched);
        }
        let after = in_clear(&watch);
        let leaked = after - leaked;
        eprintln!("{}: put back after {took:?}, {leaked} packets in clear", deed.what);
        assert_eq!(leaked, 0, "{}: {:?}", deed.what, watch.read());
        let said = ours.named(deed.said);
        let lines = mrvpn_testbed::wait_until(&format!("{}: the log says {said:?}", deed.what), SOON, || {
            let lines = logged_after(&engine, logged);
            lines.contains(&said).then_some(lines)
        });
        assert!(lines.lines().count() < 20, "{}: {lines}", deed.what);
        for (address, region) in [(UK.inner, UK), ("203.0.113.20", FR), ("203.0.113.10", UK)] {
            // A single datagram may be lost where so many programs send.
            let answer = ask(&world.client, Proto::Tcp, address, None);
            assert!(answer.is(region.name, region.client), "{}: {address}: {answer:?}", deed.what);
        }
        assert_eq!(in_clear(&watch), after, "{}: it is closed again", deed.what);
    }
    gone_at_once(&world, &engine, &ours, &whole, &watch);
    let knocks = knocks.finish();
    assert!(knocks["udp"].as_u64() > Some(2000), "{knocks}");
    let streamed = stream.finish(Duration::from_secs(30));
    assert_eq!(streamed["error"], serde_json::Value::Null, "one connection lived through all of it: {streamed}");
    let now = engine.status();
    for name in ["uk", "fr"] {
        let (then, now) = (tunnel(&status, name), tunnel(&now, name));
        assert_eq!((&now["state"], &now["since"]), (&"up".into(), &then["since"]), "{now:#}");
    }
    let cpu = cpu_time(engine.pid());
    std::thread::sleep(Duration::from_secs(1));
    let idle = cpu_time(engine.pid()) - cpu;
    assert!(idle < Duration::from_millis(100), "an engine at rest took {idle:?} of a second");
    engine.down();
    assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "");
}

/// Rules and tables hold the same, each for itself. Only where both are gone is it open, and the watch sees it.
fn gone_at_once(world: &World, engine: &Mrvpn, ours: &Ours<'_>, whole: &BTreeSet<String>, watch: &ClearWatch<'_>) {
    let before = in_clear(watch);
    engine.signal(Signal::STOP);
    world.client.ip("rule flush\nrule add priority 32766 lookup main\nrule add priority 32767 lookup default");
    world.client.ip("rule add priority 1000 from 10.9.9.9 lookup 999");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(in_clear(watch), before, "the table alone holds all: {:?}", watch.read());
    world.client.run("nft", &["delete", "table", "inet", &ours.table]);
    mrvpn_testbed::wait_until("the watch sees it", SOON, || (in_clear(watch) > before).then_some(()));
    engine.signal(Signal::CONT);
    ours.wait(whole, Instant::now(), SOON, || engine.log());
    let open = in_clear(watch);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(in_clear(watch), open, "it is closed again");
}

/// What is the engine's own.
struct Ours<'a> {
    world: &'a World,
    device: String,
    table: String,
    all: String,
    claims: String,
}

impl<'a> Ours<'a> {
    fn of(world: &'a World, status: &serde_json::Value, engine: &Mrvpn) -> Self {
        let rules = world.client.run("ip", &["rule"]);
        let looked_up = |priority: &str| {
            let line = rules.lines().find(|line| line.starts_with(priority)).unwrap_or_default();
            line.split_once("lookup ")
                .and_then(|(_, rest)| rest.split_whitespace().next())
                .unwrap_or_default()
                .to_owned()
        };
        Self {
            world,
            device: status["interface"]["name"].as_str().unwrap_or_default().to_owned(),
            table: format!("mrvpn_{}", engine.instance()),
            all: looked_up("5305:"),
            claims: looked_up("5330:"),
        }
    }

    fn named(&self, text: &str) -> String {
        let text = text.replace("DEV", &self.device).replace("TABLE", &self.table);
        text.replace("CLAIMS", &self.claims).replace("ALL", &self.all)
    }

    fn words(&self, text: &str) -> Vec<&'a str> {
        let words = text.split_whitespace().map(|word| -> &'a str { Box::leak(self.named(word).into_boxed_str()) });
        words.collect()
    }

    /// Everything of it, a line each; numbers of devices and times are left out.
    fn read(&self) -> BTreeSet<String> {
        let client = &self.world.client;
        let asked: [&[&str]; 7] = [
            &["ip", "-4", "rule"],
            &["ip", "-6", "rule"],
            &["ip", "-4", "route", "show", "table", "all", "proto", "77"],
            &["ip", "-6", "route", "show", "table", "all", "proto", "77"],
            &["ip", "-o", "addr", "show", "dev", &self.device],
            &["nft", "-s", "-t", "list", "table", "inet", &self.table],
            &["nft", "-s", "-t", "list", "table", "arp", &self.table],
        ];
        let mut lines = BTreeSet::new();
        for words in asked {
            let text = client.try_run(words[0], &words[1..]).unwrap_or_default();
            for line in text.lines() {
                let line = if words[1] == "-o" { line.split_once(": ").map_or(line, |(_, rest)| rest) } else { line };
                // Some words of a line come in any order.
                let mut parts: Vec<&str> = line.split([' ', ',', '\t']).filter(|part| !part.is_empty()).collect();
                parts.sort_unstable();
                lines.insert(format!("{} {}", words[1], parts.join(" ")));
            }
        }
        lines
    }

    /// Waits until all of it is there again; how long after `begun` the look began that saw it.
    #[track_caller]
    fn wait(&self, whole: &BTreeSet<String>, begun: Instant, limit: Duration, told: impl Fn() -> String) -> Duration {
        loop {
            let looked = begun.elapsed();
            let now = self.read();
            if now == *whole {
                return looked;
            }
            let differs: Vec<&String> = whole.symmetric_difference(&now).collect();
            assert!(looked < limit, "not within {limit:?}: {differs:#?}\n{}", told());
        }
    }
}

/// Packets that rules, claims, the default or their own source give to a tunnel.
fn in_clear(watch: &ClearWatch<'_>) -> u64 {
    let seen = watch.read();
    seen.leaked + seen.forged
}

/// How many lines the engine has logged.
fn logged(engine: &Mrvpn) -> usize {
    String::from_utf8_lossy(&engine.run(&["logs"]).stdout).lines().count()
}

fn logged_after(engine: &Mrvpn, count: usize) -> String {
    let text = String::from_utf8_lossy(&engine.run(&["logs"]).stdout).into_owned();
    text.lines().skip(count).map(|line| format!("{line}\n")).collect()
}

fn world() -> World {
    let mut world = World::new(0);
    for region in [UK, FR] {
        let options = ServerOptions::new(usual_wrapping(region));
        let options = match region.name {
            "fr" => options.push("redirect-gateway def1"),
            _ => options.push("route 198.51.100.0 255.255.255.0"),
        };
        world.start_server(region, options);
    }
    world
}

fn config(world: &World) -> Vec<String> {
    let tunnel = |region: mrvpn_testbed::Region| {
        let path = world.write_profile(region.name, &world.profile(region));
        format!("[[tunnel]]\nname = \"{}\"\nprofile = \"{}\"\n", region.name, path.display())
    };
    let text: String = [UK, FR].into_iter().map(tunnel).collect();
    let path = world.scratch.write("mrvpn.toml", &(text + RULES));
    vec![String::from("-c"), path.display().to_string()]
}
