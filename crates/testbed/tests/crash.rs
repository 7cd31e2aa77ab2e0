//! An engine killed at random moments, in every phase of its life: what is claimed stays closed, the next `up` takes over,
//! `down` leaves the host as before. A journal that is lost, old, or of another namespace is met in the same file.

#![allow(clippy::unwrap_used, reason = "a test whose world cannot be built has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use mrvpn_testbed::{
    ClearWatch, FR, HostSnapshot, Knocks, Mrvpn, Process, Proto, Random, ServerOptions, UK, UNCLAIMED, World, ask,
    mrvpn::tunnels, usual_wrapping, wait_until,
};

/// Moments at which the engine is killed (threats-and-faults.md, F-18, has 1,000 in a long run).
const MOMENTS: usize = 100;

/// What rules, claims and the default hold: addresses that "internet" answers too.
const HELD: [&str; 8] =
    ["203.0.113.10", "203.0.113.20", "198.51.100.10", UNCLAIMED, UK.inner, FR.inner, "2001:db8:99::10", UK.six.1];

/// The same as prefixes.
const HELD_PREFIXES: [&str; 5] =
    ["10.100.0.0/15", "203.0.113.0/24", "198.51.100.0/24", "2001:db8:99::/48", "2001:db8:100::/64"];

/// Either of two files; a reload goes from one to the other, and both hold all of it.
const RULES: [&str; 2] = [
    r#"
[[rule]]
to = ["203.0.113.10/32"]
port = ["7000-7010"]
via = "uk"
"#,
    r#"
[[rule]]
to = ["203.0.113.10/32", "198.51.100.0/25"]
via = "fr"

[[rule]]
to = ["203.0.113.20/32"]
proto = ["tcp"]
via = "uk"
"#,
];

/// A part of an engine's life in which it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Up,
    Run,
    Reload,
    Down,
}

const PHASES: [Phase; 4] = [Phase::Up, Phase::Run, Phase::Reload, Phase::Down];

/// What comes after a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum After {
    NextUp,
    Down,
}

// proves: F-18, F-19, I-1, I-10
#[test]
fn an_engine_killed_at_any_moment_leaks_nothing_and_the_next_up_or_down_works() {
    let mut random = Random::seeded("crash");
    let mut classes: BTreeMap<String, usize> = BTreeMap::new();
    for rp_filter in 0..3 {
        let first = usize::from(rp_filter) * MOMENTS / 3;
        let last = (usize::from(rp_filter) + 1) * MOMENTS / 3;
        killed_at_moments(rp_filter, first..last, &mut random, &mut classes);
    }
    eprintln!("{classes:#?}");
    assert_eq!(classes.values().sum::<usize>(), MOMENTS);
}

fn killed_at_moments(rp_filter: u8, moments: Range<usize>, random: &mut Random, classes: &mut BTreeMap<String, usize>) {
    let world = world(rp_filter);
    let before = HostSnapshot::take(&world.client);
    let mut scene = Scene::new(&world);
    let lengths = scene.measure();
    let knocks = Knocks::start(&world.client, &HELD, None, 100, &world.scratch);
    let bound = Knocks::start(&world.client, &HELD[..4], Some(&scene.bind), 50, &world.scratch);
    for number in moments {
        let phase = PHASES[number % PHASES.len()];
        let after = if (number / PHASES.len()).is_multiple_of(2) { After::NextUp } else { After::Down };
        let delay = random.time_below(lengths[&phase]);
        let moment = format!("rp_filter {rp_filter}, moment {number}: {phase:?} after {delay:?}, then {after:?}");
        let stood = scene.kill_in(phase, delay);
        *classes.entry(format!("{phase:?}, {stood} stood, then {after:?}")).or_default() += 1;
        std::thread::sleep(Duration::from_millis(60));
        scene.nothing_leaked(&format!("{moment}, dead, {stood} stood"));
        match after {
            After::NextUp => scene.next_up(&moment),
            After::Down => {
                scene.down_after_kill(&moment);
                assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "", "{moment}");
            }
        }
        scene.nothing_leaked(&moment);
    }
    let (knocks, bound, seen) = (knocks.finish(), bound.finish(), scene.watch.read());
    eprintln!(
        "rp_filter {rp_filter}: {lengths:?}, slowest next up {:?}\n{knocks}\n{bound}\n{seen:?}",
        scene.slowest_up
    );
    assert!(seen.early > 1000 && seen.outer > 1000, "the watch sees what is not held yet: {seen:?}");
    for (kind, least) in [("udp", 5_000), ("tcp", 5_000), ("lasting", 2_000)] {
        assert!(knocks[kind].as_u64() >= Some(least), "{kind}: {knocks}");
    }
    assert!(bound["udp"].as_u64() >= Some(500), "{bound}");
    assert!(["internet", "uk", "fr"].iter().all(|name| knocks["regions"][*name].as_u64() > Some(0)), "{knocks}");
    scene.end();
    assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "");
}

/// The same watch and the same knocks see what is not held: that proves the test above.
#[test]
fn without_what_a_killed_engine_leaves_the_same_flows_are_seen_in_clear() {
    let world = world(0);
    let mut scene = Scene::new(&world);
    let device = scene.up()["interface"]["name"].as_str().unwrap_or_default().to_owned();
    let knocks = Knocks::start(&world.client, &HELD, None, 100, &world.scratch);
    scene.engine().kill();
    std::thread::sleep(Duration::from_millis(300));
    scene.nothing_leaked("what a killed engine leaves is closed");
    world.client.ip(&format!("link del {device}"));
    std::thread::sleep(Duration::from_millis(300));
    scene.nothing_leaked("without the device the unreachable routes hold it closed");
    for table in tables(&world) {
        for family in ["-4", "-6"] {
            let _ = world.client.try_run("ip", &[family, "route", "flush", "table", &table]);
        }
    }
    std::thread::sleep(Duration::from_millis(300));
    scene.nothing_leaked("without routes the nftables table holds it closed");
    let name = format!("mrvpn_{}", scene.engine().instance());
    world.client.run("nft", &["delete", "table", "inet", &name]);
    std::thread::sleep(Duration::from_millis(300));
    let seen = scene.watch.read();
    assert!(seen.leaked > 200, "without device, routes and table it is in clear, and seen: {seen:?}");
    for address in ["203.0.113.10", "198.51.100.10", UNCLAIMED, "2001:db8:99::10"] {
        assert!(seen.which.contains(address), "{address} is seen: {}", seen.which);
    }
    drop(knocks);
    scene.end();
}

// proves: F-19
#[test]
fn a_lost_old_or_foreign_journal_does_no_harm() {
    let world = world(0);
    let before = HostSnapshot::take(&world.client);
    let mut scene = Scene::new(&world);
    let same = |when: &str| assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "", "{when}");

    // Lost: what is left is found by its marks.
    for again in [false, true] {
        scene.up();
        scene.watch.expect_nothing();
        scene.engine().kill();
        fs::remove_dir_all(scene.directory()).unwrap();
        if again {
            scene.up();
            scene.all_ways("up without a journal");
            scene.watch.expect_nothing();
            scene.engine().down_for_now();
        } else {
            scene.run_down("down without a journal");
        }
        same("after a lost journal");
    }

    // Of another boot, or of another namespace: nothing of it is done here.
    scene.up();
    scene.watch.expect_nothing();
    scene.engine().kill();
    let journal = fs::read_to_string(scene.directory().join("journal")).unwrap();
    scene.run_down("down with its journal");
    same("after down");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let other_boot = journal.replace(boot.trim(), "00000000-0000-4000-8000-000000000000");
    assert_ne!(journal, other_boot, "the journal names the boot: {journal}");
    let device = first_device(&journal);
    world.client.ip(&format!(
        "link add {device} type veth peer name {device}-peer\nlink set {device} up\naddr add 198.18.0.1/32 dev {device}"
    ));
    world.client.ip("rule add priority 5330 lookup 12345\nroute add 10.100.0.0/16 dev eth0 table 12345");
    let foreign = HostSnapshot::take(&world.client);
    let there = |when: &str| assert_eq!(foreign.difference(&HostSnapshot::take(&world.client)), "", "{when}");
    fs::create_dir_all(scene.directory()).unwrap();
    fs::write(scene.directory().join("journal"), &other_boot).unwrap();
    scene.run_down("down with a journal of another boot");
    there("a journal of another boot is void");
    assert!(!scene.directory().join("journal").exists(), "and removed");
    world.client.ip(&format!("link del {device}\nrule del priority 5330\nroute flush table 12345"));
    same("what the test made is gone");

    // The journal of the client's namespace, seen from another one.
    scene.up();
    scene.watch.expect_nothing();
    scene.engine().kill();
    wait_until("the device without an engine", Duration::from_secs(2), || {
        world.client.run("ip", &["link", "show", "dev", &device]).contains("NO-CARRIER").then_some(())
    });
    let elsewhere = HostSnapshot::take(&world.guest);
    let standing = HostSnapshot::take(&world.client);
    let output = scene.engine().run_in(&world.guest, &["down"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(elsewhere.difference(&HostSnapshot::take(&world.guest)), "", "{output:?}");
    assert_eq!(standing.difference(&HostSnapshot::take(&world.client)), "", "{output:?}");
    scene.run_down("down where the engine was");
    same("after down in the right namespace");
}

/// A world with an engine that comes and goes, and what watches it.
struct Scene<'a> {
    world: &'a World,
    watch: ClearWatch<'a>,
    engine: Option<Mrvpn>,
    running: bool,
    file: usize,
    /// The policy rules with either file, when all of them stand.
    full: BTreeSet<String>,
    bind: String,
    slowest_up: Duration,
    /// How much the servers had said when the engine was started.
    heard: [usize; 2],
    /// A tunnel had to dial from another port.
    unlucky: bool,
}

impl<'a> Scene<'a> {
    /// Lets an engine run once with each file: what its servers claim is known from then on.
    fn new(world: &'a World) -> Self {
        let watch = ClearWatch::new(world, &HELD_PREFIXES);
        let mut this = Self {
            world,
            watch,
            engine: None,
            running: false,
            file: 0,
            full: BTreeSet::new(),
            bind: String::new(),
            slowest_up: Duration::ZERO,
            heard: [0; 2],
            unlucky: false,
        };
        for file in [1, 0] {
            this.file = file;
            let status = this.up();
            this.full.insert(rules(world));
            this.bind = status["tunnels"][0]["bind"][0].as_str().unwrap_or_default().to_owned();
            this.watch.expect_nothing();
            this.engine().down_for_now();
            this.running = false;
        }
        assert!(!this.bind.is_empty() && this.full.iter().all(|rules| rules.len() > 200), "{:?}", this.full);
        this
    }

    fn engine(&mut self) -> &mut Mrvpn {
        self.engine.as_mut().unwrap()
    }

    fn directory(&self) -> PathBuf {
        Path::new("/run/mrvpn").join(self.engine.as_ref().unwrap().instance())
    }

    /// Starts the engine with the file that is its turn.
    fn start(&mut self) {
        let arguments = config(self.world, self.file);
        self.watch.expect_closed_from_the_first_dial();
        self.heard = [UK, FR].map(|region| self.world.server(region).log().len());
        self.unlucky = false;
        match &mut self.engine {
            Some(engine) => engine.start_again(self.world, &arguments),
            None => self.engine = Some(Mrvpn::start(self.world, &arguments)),
        }
        self.running = true;
    }

    /// Starts it and waits until all is as it should be.
    fn up(&mut self) -> serde_json::Value {
        self.start();
        self.wait_up()
    }

    fn wait_up(&mut self) -> serde_json::Value {
        let begun = Instant::now();
        loop {
            let status = self.engine().status();
            let all = tunnels(&status).iter().all(|tunnel| tunnel["state"] == "up");
            if status["default"]["via"] == "fr" && all {
                return status;
            }
            let late = begun.elapsed() > Duration::from_secs(10) || !self.engine().is_running();
            assert!(!late, "not up: {status:#}\n{}", self.logs());
            if begun.elapsed() > Duration::from_secs(2) && !self.unlucky {
                self.dial_anew(&status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A stock server goes on with a handshake that a killed engine has begun when the next one happens to have the same
    /// port, one of 28,000, and gets nowhere with it for a minute. Only where that is so, the tunnel dials from another port.
    fn dial_anew(&mut self, status: &serde_json::Value) {
        for (number, region) in [UK, FR].into_iter().enumerate() {
            if status["tunnels"][number]["state"] == "up" {
                continue;
            }
            let world = self.world;
            let port = self.engine().outer_port(world, region.outer);
            let log = self.world.server(region).log();
            if log[..self.heard[number].min(log.len())].contains(&format!("192.168.1.2:{port} ")) {
                eprintln!("{}: the port {port} was that of an engine before", region.name);
                self.unlucky = true;
                let _ = self.engine().run(&["tunnel", "restart", region.name]);
            }
        }
    }

    /// What engine and servers said.
    fn logs(&mut self) -> String {
        let servers = [UK, FR].map(|region| format!("--- {}\n{}", region.name, self.world.server(region).log()));
        format!("{}\n{}", self.engine().log(), servers.concat())
    }

    /// How long each phase lasts here, a little more: a kill may come late too.
    fn measure(&mut self) -> BTreeMap<Phase, Duration> {
        let mut lengths = BTreeMap::from([(Phase::Run, Duration::from_millis(200))]);
        let mut took = |phase: Phase, begun: Instant| {
            lengths.insert(phase, begun.elapsed().mul_f64(1.2));
        };
        let begun = Instant::now();
        self.up();
        took(Phase::Up, begun);
        let (begun, mut reload) = (Instant::now(), self.begin_reload());
        assert!(reload.wait_end(Duration::from_secs(5)).success(), "{}", reload.log());
        took(Phase::Reload, begun);
        self.watch.expect_nothing();
        let begun = Instant::now();
        self.engine().down_for_now();
        took(Phase::Down, begun);
        self.running = false;
        lengths
    }

    /// Brings the engine to a phase and kills it in it; what of its policy rules stood then.
    fn kill_in(&mut self, phase: Phase, delay: Duration) -> &'static str {
        if phase == Phase::Up {
            self.rest();
            self.start();
        } else if !self.running {
            self.up();
        }
        let command = match phase {
            Phase::Up | Phase::Run => None,
            Phase::Reload => Some(self.begin_reload()),
            Phase::Down => {
                self.watch.expect_nothing();
                Some(self.begin(&["down"]))
            }
        };
        std::thread::sleep(delay);
        self.engine().kill();
        self.running = false;
        drop(command);
        let rules = rules(self.world);
        let stood = if self.full.contains(&rules) {
            // The rules come last: what they hold is held.
            self.watch.expect_closed_now();
            "all"
        } else if rules.is_empty() {
            "nothing"
        } else {
            "a part"
        };
        if phase == Phase::Run {
            assert_eq!(stood, "all", "{rules}");
        }
        stood
    }

    /// Ends a running engine the usual way.
    fn rest(&mut self) {
        if self.running {
            self.watch.expect_nothing();
            self.engine().down_for_now();
            self.running = false;
        }
    }

    fn begin_reload(&mut self) -> Process {
        self.file = 1 - self.file;
        let _ = config(self.world, self.file);
        self.begin(&["reload"])
    }

    fn begin(&mut self, words: &[&str]) -> Process {
        let (command, name) = (self.engine().command(words), mrvpn_testbed::unique_name());
        Process::start(&name, command, self.world.scratch.path())
    }

    /// The next engine takes over at once, and everything goes its way.
    fn next_up(&mut self, moment: &str) {
        let begun = Instant::now();
        self.up();
        let took = begun.elapsed();
        self.slowest_up = self.slowest_up.max(took);
        assert!(took < Duration::from_secs(3) || self.unlucky, "{moment}: up after {took:?}");
        self.all_ways(moment);
        let standing = rules(self.world);
        assert!(self.full.contains(&standing), "{moment}: {standing}");
    }

    fn all_ways(&mut self, moment: &str) {
        let rule = if self.file == 0 { UK } else { FR };
        let ways = [("203.0.113.10", rule), ("198.51.100.10", rule), (UK.inner, UK), (FR.inner, FR)];
        for (number, (address, region)) in ways.into_iter().enumerate() {
            let region = if number == 1 && self.file == 0 { UK } else { region };
            let mut answer = ask(&self.world.client, Proto::Tcp, address, None);
            if answer.region.is_none() {
                // On a machine with much to do the service may be late; that someone else answers is never right.
                answer = ask(&self.world.client, Proto::Tcp, address, None);
            }
            assert!(
                answer.is(region.name, region.client),
                "{moment}: {address}: {answer:?}\n{:?}\n{}",
                self.watch.read(),
                self.logs()
            );
        }
    }

    fn down_after_kill(&mut self, moment: &str) {
        self.watch.expect_nothing();
        self.run_down(moment);
    }

    fn run_down(&mut self, moment: &str) {
        let output = self.engine().run(&["down"]);
        assert_eq!(output.status.code(), Some(0), "{moment}: {output:?}");
        self.running = false;
    }

    fn nothing_leaked(&mut self, moment: &str) {
        let seen = self.watch.read();
        let log = if seen.leaked + seen.forged > 0 { self.engine().log() } else { String::new() };
        assert_eq!((seen.leaked, seen.forged), (0, 0), "{moment}: {seen:?}\n{log}");
    }

    fn end(mut self) {
        self.watch.expect_nothing();
        if self.running && self.engine().is_running() {
            self.engine().down_for_now();
        } else {
            self.run_down("the end");
        }
    }
}

/// Two tunnels whose claims are known after the first run: uk has routes and IPv6, fr offers the default.
fn world(rp_filter: u8) -> World {
    let mut world = World::new(rp_filter);
    for region in [UK, FR] {
        let options = ServerOptions::new(usual_wrapping(region));
        let options = match region.name {
            "fr" => options.push("redirect-gateway def1"),
            _ => options
                .line(&format!("server-ipv6 {}", UK.six.0))
                .push("route 198.51.100.0 255.255.255.0")
                .push("route-ipv6 2001:db8:99::/48"),
        };
        world.start_server(region, options);
    }
    world
}

/// Writes one of the two files; the words for `mrvpn up`.
fn config(world: &World, file: usize) -> Vec<String> {
    let tunnel = |region: mrvpn_testbed::Region| {
        let path = world.write_profile(region.name, &world.profile(region));
        format!("[[tunnel]]\nname = \"{}\"\nprofile = \"{}\"\n", region.name, path.display())
    };
    let text: String = [UK, FR].into_iter().map(tunnel).collect();
    let path = world.scratch.write("mrvpn.toml", &(text + RULES[file]));
    vec![String::from("-c"), path.display().to_string()]
}

/// The policy rules of engines, of both families, as `ip rule` prints them, sorted: those of a take-over come in another
/// order. Those for bound sources are left out: a tunnel's own address is known when it is up, and not before.
fn rules(world: &World) -> String {
    let ours = |line: &&str| line.starts_with("53") && line.get(4..5) == Some(":") && !line.starts_with("5305");
    let of_family = |family: &str| {
        let text = world.client.run("ip", &[family, "rule"]);
        text.lines().filter(ours).map(|line| format!("{family} {line}\n")).collect::<Vec<_>>()
    };
    let mut lines = [of_family("-4"), of_family("-6")].concat();
    lines.sort();
    lines.concat()
}

/// The tables that the rules of engines look up.
fn tables(world: &World) -> BTreeSet<String> {
    let rules = rules(world);
    let named = rules.lines().filter_map(|line| line.split_once(" lookup "));
    named.filter_map(|(_, rest)| rest.split_whitespace().next()).map(String::from).collect()
}

/// The device that a journal opens.
fn first_device(journal: &str) -> String {
    let opened = journal.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    opened.filter_map(|line| line["open"].as_str().map(String::from)).next().unwrap()
}
