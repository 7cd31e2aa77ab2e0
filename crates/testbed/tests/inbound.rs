//! A machine that others reach: sessions like ssh that stood before `up` live on with a default tunnel, whoever speaks first,
//! new ones come in, services answer, and multicast between the machine and its LAN goes on both ways. What leaves by a
//! tunnel is asked elsewhere: see `traffic.rs` and `ipv6_inside.rs`.

use std::time::Duration;

use mrvpn_testbed::{
    Background, CLIENT, Ear, Ended, HostSnapshot, Mrvpn, PROTOS, Process, Proto, REGIONS, ROUTER, Region,
    ServerOptions, Sessions, Speaker, UK, UNCLAIMED, World, ask, helper, mrvpn::tunnel, ping, run_helper, tell,
};

/// Addresses of the client, of its router on the LAN, and of a machine far away, in IPv6.
const SIX: (&str, &str, &str) = ("2001:db8:1::2", "2001:db8:1::1", "2001:db8:99::10");

/// Port of a service of the client.
const PORT: &str = "7100";

/// A message of a session that lives may be late by a retransmission or two, no more.
const LATE_MS: u64 = 2000;

// proves: I-10
#[test]
fn sessions_from_lan_and_internet_live_through_up_a_reconnect_reload_and_down() {
    for rp_filter in [0, 1, 2] {
        let mut world = World::new(rp_filter);
        world.start_servers(dual);
        let before = HostSnapshot::take(&world.client);
        let mut sessions = opened(&world);
        sessions.prove_alive();
        sessions.pause();

        let arguments = world.write_config("");
        let mut engine = Mrvpn::up(&world, &arguments);
        engine.wait(|status| status["default"]["via"] == "uk");
        // Now the sides that speak do so, after a silence in which everything about them changed.
        sessions.resume();
        outward(&world, "with rp_filter", rp_filter);
        let services = Services::of(&world);
        services.answer(&world, rp_filter);

        // Once by its silence, else by its goodbye, which saves the wait.
        if rp_filter == 1 {
            world.kill_server(UK)
        } else {
            world.dismiss_server(UK)
        }
        engine.wait_tunnel("uk", "reconnecting", Duration::from_secs(8));
        sessions.prove_alive();
        services.answer(&world, rp_filter);
        world.restart_server(UK);
        engine.wait_tunnel("uk", "up", Duration::from_secs(20));
        sessions.prove_alive();

        let _ = world.write_config("[[rule]]\nto = [\"203.0.113.10/32\"]\nvia = \"fr\"\n");
        let reloaded = engine.run(&["reload"]);
        assert!(reloaded.status.success(), "rp_filter {rp_filter}: {reloaded:?}");
        assert_eq!(ask(&world.client, Proto::Tcp, "203.0.113.10", None).region.as_deref(), Some("fr"));
        sessions.prove_alive();
        services.answer(&world, rp_filter);

        sessions.pause();
        engine.down();
        sessions.resume();
        assert_eq!(before.difference(&HostSnapshot::take(&world.client)), "", "rp_filter {rp_filter}");
        all_alive(&sessions.finish(), rp_filter);
        let internet = world.internet_counters();
        assert_eq!((internet.packets("inner"), internet.packets("inner_source")), (0, 0), "{internet:?}");
    }
}

#[test]
fn a_session_that_breaks_is_seen_to_break() {
    let world = World::new(0);
    let mut sessions = Sessions::listen(&world.client, &world.scratch);
    sessions.open("broken", &world.internet, UNCLAIMED, CLIENT, Speaker::Dialler, &world.scratch);
    sessions.prove_alive();
    let cut = "table inet cut {
        chain in { type filter hook input priority 0; tcp dport 22 reject with tcp reset; }
        chain out { type filter hook output priority 0; tcp sport 22 tcp flags & rst == 0 reject with tcp reset; }
    }\n";
    world.client.nft(&world.scratch.write("cut.nft", cut));
    std::thread::sleep(Duration::from_millis(300));
    let ended = sessions.finish();
    assert!(ended.iter().any(|end| end.error.is_some()), "{ended:?}");
}

#[test]
fn an_outbound_connection_older_than_the_claim_that_holds_it_is_refused_and_counted() {
    for rp_filter in [0, 1, 2] {
        let mut world = World::new(rp_filter);
        world.start_servers(dual);
        // One that the default will hold, one that a rule will, and one that nothing does.
        let old: Vec<Background> = ["203.0.113.20", "198.51.100.10", ROUTER]
            .into_iter()
            .map(|to| Background::stream(&world.client, to, None, Duration::from_secs(4), &world.scratch))
            .collect();
        std::thread::sleep(Duration::from_millis(500));
        let rule = "[[rule]]\nto = [\"198.51.100.10/32\"]\nvia = \"fr\"\n";
        let mut engine = Mrvpn::up(&world, &world.write_config(rule));
        let status = engine.wait(|status| status["default"]["via"] == "uk");
        let ended: Vec<_> = old.into_iter().map(|stream| stream.finish(Duration::from_secs(12))).collect();
        for stream in &ended[..2] {
            assert_eq!(stream["error"], "ConnectionReset", "rp_filter {rp_filter}: {ended:?}\n{status:#}");
        }
        assert!(ended[2]["error"].is_null(), "what nothing holds lives on: {ended:?}");
        let status = engine.wait(|status| {
            ["uk", "fr"].iter().all(|name| tunnel(status, name)["drops"]["older-than-claim"].as_u64() > Some(0))
        });
        assert_eq!(status["state"], "up");
        for region in REGIONS {
            assert_eq!(world.region_counters(region).packets("strange"), 0, "{}", region.name);
        }
        engine.down();
    }
}

#[test]
fn a_udp_service_of_every_address_is_named_by_status_where_there_is_a_default() {
    let mut world = World::new(0);
    world.start_servers(dual);
    let everywhere = serve(&world, "everywhere", "7200", &["0.0.0.0"]);
    let named = serve(&world, "named", "7300", &[CLIENT]);
    let mut engine = Mrvpn::up(&world, &world.write_profiles());
    let status = engine.wait(|status| status["default"]["via"] == "uk");
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains(":7200") && warnings.contains("uk"), "{status:#}");
    assert!(!warnings.contains(":7300"), "what answers from its own address is no worry: {status:#}");
    engine.down();
    drop((everywhere, named));

    let mut world = World::new(0);
    world.start_servers(|_, options| options);
    let everywhere = serve(&world, "everywhere", "7200", &["0.0.0.0"]);
    let engine = Mrvpn::up(&world, &world.write_profiles());
    let status = engine.status();
    assert!(!status["warnings"].to_string().contains(":7200"), "without a default nothing changes: {status:#}");
    let words = ["--proto", "udp", "--to", "192.168.1.2:7200", "--from", UNCLAIMED];
    assert_eq!(run_helper(&world.internet, "ask", &words)["region"], "everywhere");
    engine.down();
    drop(everywhere);
}

// proves: T-79
#[test]
fn multicast_and_broadcast_between_client_and_lan_go_both_ways() {
    for rp_filter in [0, 1, 2] {
        let mut world = World::new(rp_filter);
        world.start_servers(dual);
        // Who has no route at all cannot broadcast; the router has routes to its networks alone.
        world.internet.ip("route add 255.255.255.255/32 dev lan");
        talk(&world, "before up");
        let mut engine = Mrvpn::up(&world, &world.write_config(""));
        engine.wait(|status| status["default"]["via"] == "uk");
        talk(&world, &format!("while up, rp_filter {rp_filter}"));
        for region in REGIONS {
            let counters = world.region_counters(region);
            assert_eq!((counters.packets("multicast"), counters.packets("multicast6")), (0, 0), "{}", region.name);
        }
        engine.down();
        talk(&world, "after down");
    }
}

/// uk offers to be the default in both families; all have IPv6.
fn dual(region: Region, options: ServerOptions) -> ServerOptions {
    let options = options.line(&format!("server-ipv6 {}", region.six.0)).line("explicit-exit-notify 1");
    if region == UK { options.push("redirect-gateway def1 ipv6") } else { options }
}

/// Sessions from the LAN and from far away, in both families, in both variants.
fn opened(world: &World) -> Sessions {
    let mut sessions = Sessions::listen(&world.client, &world.scratch);
    let peers = [("lan", ROUTER, CLIENT), ("far", UNCLAIMED, CLIENT), ("lan6", SIX.1, SIX.0), ("far6", SIX.2, SIX.0)];
    for (name, from, to) in peers {
        for (who, speaker) in [("peer", Speaker::Dialler), ("own", Speaker::Listener)] {
            let id = format!("{name}-{who}");
            sessions.open(&id, &world.internet, from, to, speaker, &world.scratch);
        }
    }
    sessions
}

fn all_alive(ended: &[Ended], rp_filter: u8) {
    assert_eq!(ended.len(), 16);
    for end in ended {
        assert_eq!(end.error, None, "rp_filter {rp_filter}: {end:?}");
        assert!(end.rounds > 30 && end.longest_ms < LATE_MS, "rp_filter {rp_filter}: {end:?}");
    }
}

/// What the machine itself asks leaves by the default all the same.
fn outward(world: &World, what: &str, rp_filter: u8) {
    for proto in PROTOS {
        for (to, seen) in [("203.0.113.20", UK.client), (SIX.2, UK.six.2)] {
            let answer = ask(&world.client, proto, to, None);
            assert!(answer.is("uk", seen), "{what} {rp_filter}, {proto:?} {to}: {answer:?}");
        }
    }
}

/// Services of the client: TCP at every address, UDP at its own.
struct Services(Process);

impl Services {
    fn of(world: &World) -> Self {
        Self(serve(world, "client", PORT, &[CLIENT, SIX.0]))
    }

    /// New connections come in, datagrams and pings are answered, by the same address.
    fn answer(&self, world: &World, rp_filter: u8) {
        for (from, to) in [(ROUTER, CLIENT), (UNCLAIMED, CLIENT), (SIX.1, SIX.0), (SIX.2, SIX.0)] {
            let target = if to.contains(':') { format!("[{to}]:{PORT}") } else { format!("{to}:{PORT}") };
            for proto in ["tcp", "udp"] {
                let words = ["--proto", proto, "--to", &target, "--from", from];
                let answer = run_helper(&world.internet, "ask", &words);
                assert_eq!(
                    answer["region"],
                    "client",
                    "rp_filter {rp_filter}, {proto} {from}: {answer}\n{}",
                    self.0.log()
                );
                assert!(answer["peer"].as_str().is_some_and(|peer| peer.contains(from)), "{answer}");
            }
            assert!(ping(&world.internet, to, Some(from)), "rp_filter {rp_filter}: ping of {to} from {from}");
        }
    }
}

fn serve(world: &World, name: &str, port: &str, addresses: &[&str]) -> Process {
    let mut command = world.client.command(helper());
    command.args(["serve", "--name", name, "--port", port]);
    for address in addresses {
        command.args(["--udp", address]);
    }
    let mut process = Process::start(&format!("service-{name}"), command, world.scratch.path());
    process.wait_for("ready", Duration::from_secs(5));
    process
}

/// mDNS, SSDP and broadcasts, heard by a socket that joined, each way, and what is answered to them by unicast.
fn talk(world: &World, when: &str) {
    let groups = ["224.0.0.251:5353", "239.255.255.250:1900", "255.255.255.255:6700", "192.168.1.255:6701"];
    let ends = [(&world.internet, ROUTER, "lan"), (&world.client, CLIENT, "eth0")];
    for (here, there) in [(0, 1), (1, 0)] {
        let ((teller, from, card6), (hearer, at, card6_there)) = (ends[here], ends[there]);
        for group in groups {
            let mut ear = Ear::at(hearer, group, at, &world.scratch);
            let answered = tell(teller, group, from, "hello");
            assert_eq!(answered.as_deref(), Some(at), "{when}: who answers {group} from {from}");
            ear.wait_heard(from, "hello");
        }
        let mut ear = Ear::at(hearer, "[ff02::fb]:5353", card6_there, &world.scratch);
        let answered = tell(teller, "[ff02::fb]:5353", card6, "six");
        let own = link_local(teller, card6);
        ear.wait_heard(&own, "six");
        assert_eq!(answered, Some(link_local(hearer, card6_there)), "{when}: who answers ff02::fb from {own}");
    }
}

fn link_local(netns: &mrvpn_testbed::Netns, card: &str) -> String {
    let text = netns.run("ip", &["-o", "-6", "addr", "show", "dev", card, "scope", "link"]);
    let address = text.split_whitespace().nth(3).and_then(|word| word.split('/').next());
    String::from(address.unwrap_or_else(|| panic!("{card} has no link-local address")))
}
