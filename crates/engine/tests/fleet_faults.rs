//! Faults in one tunnel's work, a host that changes, outer packets that come back: the others lose nothing, and what is held
//! stays held.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails there fails the test")]

mod table;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mrvpn_clock::WallTime;
use mrvpn_engine::{EngineConfig, EventKind, TunnelVerb};
use mrvpn_netplan::{HostFacts, OnLink, Sessions};
use mrvpn_proto::TlsConnector;
use mrvpn_proto::peer::{ScriptedConnector, TestServer};
use mrvpn_proto::tls::{Tls, TlsError};
use mrvpn_router::{Rule, Target};
use table::{ANCHOR, FR, Start, Table, UK, ends, good, reply, server, tunnel, udp};

const UK_INNER: Ipv4Addr = Ipv4Addr::new(10, 100, 0, 2);
const FR_INNER: Ipv4Addr = Ipv4Addr::new(10, 101, 0, 2);
/// Claimed by uk through a pushed route.
const CLAIMED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 0);
/// Claimed by nobody.
const ANYWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const MOMENT: Duration = Duration::from_secs(3);

fn two() -> EngineConfig {
    EngineConfig { tunnels: vec![tunnel("uk", 0, ""), tunnel("fr", 1, "")], ..EngineConfig::new() }
}

fn servers() -> Vec<TestServer> {
    vec![server(0, good(), ""), server(1, good(), "")]
}

fn up() -> Table {
    up_by(Start::of(two()))
}

fn up_by(start: Start) -> Table {
    let mut table = Table::start(start, servers());
    table.run(MOMENT);
    assert_eq!(table.states(), ["up", "up"], "{:#?}", table.status());
    table
}

/// Whether a packet bound to fr arrives at its server, and the answer here.
fn fr_talks(table: &mut Table) -> bool {
    table.send(udp(FR_INNER, ANYWHERE, b"ask"));
    let seen = table.at_server(FR);
    let [packet] = &seen[..] else { return false };
    table.answer(FR, &reply(packet));
    // Refusals of uk's packets come here too.
    table.received().iter().filter(|packet| ends(packet) == (ANYWHERE, FR_INNER)).count() == 1
}

/// TLS that breaks down at some of its connections.
struct Breaking {
    inner: ScriptedConnector,
    connections: AtomicUsize,
    breaks: fn(usize) -> bool,
}

impl TlsConnector for Breaking {
    fn connect(&self, wall: WallTime) -> Result<Box<dyn Tls>, TlsError> {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        assert!(!(self.breaks)(number), "a fault that this test makes");
        self.inner.connect(wall)
    }
}

fn with_breaking(breaks: fn(usize) -> bool) -> (Start, Arc<Breaking>) {
    let inner = ScriptedConnector { seed: 1, refusal: None };
    let breaking = Arc::new(Breaking { inner, connections: AtomicUsize::new(0), breaks });
    let mut start = Start::of(two());
    start.connectors[0] = Ok(Arc::clone(&breaking) as Arc<dyn TlsConnector>);
    (start, breaking)
}

// proves: F-17
#[test]
fn a_fault_of_our_own_in_one_tunnel_makes_it_anew_after_a_pause_and_costs_the_others_nothing() {
    let (start, breaking) = with_breaking(|number| (1..5).contains(&number));
    let mut table = up_by(start);
    table.send(udp(ANCHOR, CLAIMED, b"ask"));
    assert_eq!(table.at_server(UK).len(), 1);
    // uk's server sends it away, and from then on its TLS breaks down four times.
    table.servers[0].say("RESTART", table.now);
    let mut refused = 0;
    for _ in 0..250 {
        assert!(fr_talks(&mut table), "fr lost a packet");
        let status = table.status();
        if let Some(error) = &status.tunnels[0].error {
            assert!(error.code == "internal" || error.code == "server-restart", "{error:?}");
            assert!(error.retry_at.is_some());
        }
        refused += table.send(udp(ANCHOR, CLAIMED, b"ask")).len();
        assert!(table.at_server(FR).is_empty(), "what uk claims goes nowhere else");
        table.run(Duration::from_millis(100));
    }
    assert_eq!(table.states(), ["up", "up"]);
    assert!(refused > 10, "{refused} of what it claims were refused meanwhile");
    assert_eq!(breaking.connections.load(Ordering::Relaxed), 6, "paused between the tries");
    assert_eq!(table.servers[1].sessions(), 1);
    table.send(udp(UK_INNER, ANYWHERE, b"ask"));
    assert_eq!(table.at_server(UK).last().map(|packet| ends(packet)), Some((UK_INNER, ANYWHERE)));
}

// proves: F-17
#[test]
fn a_tunnel_with_a_fault_can_be_stopped_and_everything_closed() {
    let (start, _) = with_breaking(|_| true);
    let mut table = Table::start(start, servers());
    table.run(MOMENT);
    assert_eq!(table.status().tunnels[0].error.as_ref().unwrap().code, "internal");
    table.verb("uk", TunnelVerb::Stop).unwrap();
    table.run(MOMENT);
    assert_eq!(table.states()[0], "stopped");
    table.verb("uk", TunnelVerb::Start).unwrap();
    table.fleet.close(table.now);
    table.run(Duration::from_secs(2));
    assert!(table.fleet.is_closed());
    assert_eq!(table.fleet.poll_timeout(), None);
}

// proves: F-34
#[test]
fn all_ends_within_two_seconds_whatever_each_tunnel_is_doing_and_however_silent_its_server_is() {
    for after in (0..60).map(|step| Duration::from_millis(step * 50)) {
        let mut table = Table::start(Start::of(two()), servers());
        table.run(after);
        table.verb("uk", TunnelVerb::Restart).unwrap();
        table.off = vec![true, after.as_millis() % 100 == 0];
        table.fleet.close(table.now);
        table.run(Duration::from_secs(2));
        assert!(table.fleet.is_closed(), "after {after:?}: {:?}", table.states());
        assert_eq!(table.fleet.poll_timeout(), None);
    }
}

// proves: T-54
#[test]
fn a_tunnel_whose_packets_come_back_is_stopped_with_the_way_out_and_keeps_what_it_claims() {
    let mut table = up();
    table.fleet.tunnel_loop(UK, table.now);
    table.run(Duration::from_secs(300));
    assert_eq!(table.states(), ["failed", "up"]);
    let error = table.status().tunnels[0].error.clone().unwrap();
    assert_eq!((error.code.as_str(), error.retry_at), ("loop", None));
    assert!(error.hint.contains("bypass") && error.hint.contains("net_gateway"), "{}", error.hint);
    assert_eq!(table.servers[0].sessions(), 1, "it is not tried again");
    assert_eq!(table.send(udp(ANCHOR, CLAIMED, b"ask")).len(), 1);
    assert!(table.at_server(FR).is_empty());
    table.verb("uk", TunnelVerb::Start).unwrap();
    table.run(MOMENT);
    assert_eq!(table.states(), ["up", "up"]);
}

fn on_lan(net: &str, address: &str) -> HostFacts {
    HostFacts {
        on_link: vec![OnLink { net: net.parse().unwrap(), device: "eth0".to_owned() }],
        addresses: vec![address.parse().unwrap()],
        ..HostFacts::default()
    }
}

// proves: F-24
#[test]
fn a_lan_with_a_tunnel_s_numbers_keeps_them_until_a_rule_names_them_and_gives_them_back_when_it_goes() {
    let lan = on_lan("10.100.0.0/16", "10.100.0.77");
    let inside = Ipv4Addr::new(10, 100, 3, 3);
    let to = vec!["10.100.3.0/24".parse().unwrap()];
    let rule = Rule { name: None, to, from: Vec::new(), proto: Vec::new(), port: Vec::new(), via: Target::Tunnel(UK) };
    let mut table = up();
    let arrives = |table: &mut Table, to: Ipv4Addr| {
        table.send(udp(ANCHOR, to, b"ask"));
        table.received();
        table.at_server(UK).len()
    };
    assert_eq!(arrives(&mut table, inside), 1);
    table.facts(lan.clone());
    let status = table.status();
    assert_eq!(status.lan, ["10.100.0.0/16"]);
    let kinds: Vec<&str> = status.conflicts.iter().map(|conflict| conflict.kind.as_str()).collect();
    assert!(kinds.contains(&"lan"), "{:#?}", status.conflicts);
    assert_eq!(status.tunnels[0].presented, ["198.18.1.1/32"], "its address there is the LAN's");
    let claimed = table.fleet.policy().claim_of(Ipv4Addr::new(10, 100, 9, 9).into());
    assert_eq!(claimed, None, "left to the host");
    table.send(udp(Ipv4Addr::new(198, 18, 1, 1), ANYWHERE, b"ask"));
    assert_eq!(table.at_server(UK).iter().map(|packet| ends(packet)).collect::<Vec<_>>(), [(UK_INNER, ANYWHERE)]);
    table.reload(EngineConfig { rules: vec![rule], ..two() }).unwrap();
    assert_eq!(arrives(&mut table, Ipv4Addr::new(10, 100, 3, 4)), 1, "a rule decides");
    table.facts(HostFacts::default());
    assert!(table.fleet.policy().claim_of(Ipv4Addr::new(10, 100, 9, 9).into()).is_some());
    assert_eq!(table.servers[0].sessions(), 1, "sessions never noticed");
}

#[test]
fn facts_that_are_the_same_ask_for_nothing() {
    let mut table = up();
    let lan = on_lan("192.168.7.0/24", "192.168.7.9");
    table.facts(lan.clone());
    assert!(table.take_asked().contains(&table::Asked::Plan));
    table.facts(lan);
    assert!(table.take_asked().is_empty());
}

#[test]
fn what_happens_is_told_once_and_in_order() {
    let mut table = up();
    let states = |table: &Table, name: &str| -> Vec<String> {
        let of = |event: &EventKind| {
            let EventKind::TunnelState { tunnel, state, .. } = event else { return None };
            (tunnel == name).then(|| state.clone())
        };
        table.events.iter().filter_map(of).collect()
    };
    assert_eq!(states(&table, "uk"), ["connecting", "authenticating", "up"]);
    let interface = table.events.iter().find(|event| matches!(event, EventKind::InterfaceEstablished { .. })).unwrap();
    let EventKind::InterfaceEstablished { name, generation, addresses } = interface else { panic!() };
    assert_eq!((name.as_str(), *generation, addresses[0].as_str()), ("mrvpn0", 1, "198.18.0.1/32"));
    let assigned = EventKind::AddressAssigned {
        tunnel: "uk".to_owned(),
        address: "10.100.0.2/16".to_owned(),
        presented: "10.100.0.2/32".to_owned(),
    };
    assert_eq!(table.events.iter().filter(|event| **event == assigned).count(), 1);
    table.events.clear();
    // The same address comes back, then another.
    table.servers[0].say("RESTART", table.now);
    table.run(MOMENT);
    assert!(!table.events.iter().any(|event| matches!(event, EventKind::AddressChanged { .. })));
    assert_eq!(states(&table, "uk"), ["reconnecting", "up"]);
    let EventKind::TunnelState { error: Some(error), .. } = &table.events[0] else { panic!("{:?}", table.events) };
    assert_eq!((error.code.as_str(), &error.at[..4]), ("server-restart", "2027"));
    table.servers[0] = moved();
    table.run(Duration::from_secs(20));
    let changed = EventKind::AddressChanged {
        tunnel: "uk".to_owned(),
        before: "10.100.0.2/16".to_owned(),
        address: "10.101.0.2/24".to_owned(),
        presented: "198.18.1.1/32".to_owned(),
    };
    assert!(table.events.contains(&changed), "{:#?}", table.events);
    let conflicts = |table: &Table| {
        table
            .events
            .iter()
            .filter(|event| matches!(event, EventKind::Conflict { kind, .. } if kind == "address"))
            .count()
    };
    assert_eq!(conflicts(&table), 1, "equal addresses, told once");
    table.facts(on_lan("192.168.7.0/24", "192.168.7.9"));
    assert_eq!(conflicts(&table), 1);
    table.verb("uk", TunnelVerb::Stop).unwrap();
    let removed = EventKind::AddressRemoved { tunnel: "uk".to_owned(), address: "10.101.0.2/24".to_owned() };
    assert!(table.events.contains(&removed));
    assert_eq!(states(&table, "uk").last().unwrap(), "stopped");
}

/// A server at uk's place that assigns what fr has.
fn moved() -> TestServer {
    let mut config = mrvpn_proto::peer::TestServerConfig::new(mrvpn_profile::Wrap::None);
    config.login = good();
    config.push = vec![
        "PUSH_REPLY,route-gateway 10.101.0.1,topology subnet,ping 1,ping-restart 4,ifconfig 10.101.0.2 255.255.255.0,\
         peer-id 7,cipher AES-256-GCM,protocol-flags cc-exit tls-ekm,tun-mtu 1500"
            .to_owned(),
    ];
    table::test_server(config, 900)
}

#[test]
fn udp_services_are_named_where_a_default_would_carry_their_answers() {
    let services = ["0.0.0.0:51820", "192.0.2.9:53"].map(|service| service.parse().unwrap());
    let sessions = Sessions { datagram_services: services.into(), ..Sessions::default() };
    let named = |lines: &str| {
        let mut config = two();
        config.tunnels[0] = tunnel("uk", 0, lines);
        let table = up_by(Start { sessions: sessions.clone(), ..Start::of(config) });
        table.status().warnings.into_iter().find(|warning| warning.contains("0.0.0.0:51820"))
    };
    let warning = named("redirect-gateway").unwrap();
    assert!(warning.contains("through uk"), "{warning}");
    assert!(!warning.contains("192.0.2.9"), "who has one address already need not be told to: {warning}");
    assert_eq!(named(""), None, "no tunnel offers");
}

#[test]
fn pushed_routes_that_are_not_taken_are_said_unless_the_profile_wants_none() {
    let warned = |lines: &str| {
        let mut two = two();
        two.tunnels[0] = tunnel("uk", 0, lines);
        let servers = vec![server(0, good(), ",route 127.0.0.0 255.0.0.0"), server(1, good(), "")];
        let mut table = Table::start(Start::of(two), servers);
        table.run(MOMENT);
        table.status().tunnels[0].warnings.join("; ")
    };
    assert!(warned("").contains("`route 127.0.0.0 255.0.0.0`: loopback"), "{}", warned(""));
    assert!(!warned("route-nopull").contains("route"), "{}", warned("route-nopull"));
}

#[test]
fn connections_that_came_in_before_stay_in_every_plan() {
    let inbound = vec![mrvpn_netplan::FourTuple {
        local: "192.0.2.9:22".parse().unwrap(),
        remote: "198.51.100.3:40000".parse().unwrap(),
    }];
    let sessions = Sessions { inbound: inbound.clone(), ..Sessions::default() };
    let mut table = up_by(Start { sessions, ..Start::of(two()) });
    assert_eq!(table.applied.firewall.as_ref().unwrap().inbound, inbound);
    table.reload(EngineConfig { tunnels: vec![tunnel("uk", 0, "")], ..EngineConfig::new() }).unwrap();
    assert_eq!(table.applied.firewall.as_ref().unwrap().inbound, inbound);
}
