//! What outlasts an engine: claims and offers of servers, bind addresses, the pool. A fleet made anew from what the one before
//! it remembered holds what that one held.

mod table;

use std::net::Ipv4Addr;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_engine::memory::{Pushed, Remembered};
use mrvpn_engine::{EngineConfig, Fleet, Memory, Request, TunnelConfig};
use mrvpn_netplan::Offer;
use mrvpn_proto::peer::TestServer;
use mrvpn_router::ClaimOrigin;
use table::{ANCHOR, Asked, Start, Table, ends, good, server, tunnel, udp};

/// Claimed by uk through a pushed route.
const CLAIMED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 0);
/// Claimed by nobody.
const ANYWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const MOMENT: Duration = Duration::from_secs(3);

fn config(tunnels: Vec<TunnelConfig>) -> EngineConfig {
    EngineConfig { tunnels, ..EngineConfig::new() }
}

fn two() -> EngineConfig {
    config(vec![tunnel("uk", 0, ""), tunnel("fr", 1, "")])
}

fn two_servers(uk: &str, fr: &str) -> Vec<TestServer> {
    vec![server(0, good(), uk), server(1, good(), fr)]
}

fn up(config: EngineConfig, servers: Vec<TestServer>) -> Table {
    let mut table = Table::start(Start::of(config), servers);
    table.run(MOMENT);
    assert!(table.states().iter().all(|state| state == "up"), "{:#?}", table.status());
    table
}

fn destinations(packets: &[Vec<u8>]) -> Vec<Ipv4Addr> {
    packets.iter().map(|packet| ends(packet).1).collect()
}

/// The prefixes that the plan sends into the device by the claims.
fn captured(plan: &mrvpn_netplan::Plan) -> Vec<String> {
    let claims = plan.routes.iter().filter(|route| route.table == plan.scope.table_claims());
    claims.map(|route| route.prefix.to_string()).collect()
}

#[test]
fn claims_outlive_a_restart_and_stand_before_the_first_dial() {
    let mut table = up(two(), two_servers("", ",redirect-gateway def1"));
    table.send(udp(ANCHOR, CLAIMED, b"ask"));
    assert_eq!(destinations(&table.at_place(0)), [CLAIMED]);
    table.off[0] = true;
    let mut table = table.restart(Start::of(two()));
    let asked = table.take_asked();
    let place = |wanted: &dyn Fn(&Asked) -> bool| asked.iter().position(wanted).unwrap();
    assert!(place(&|asked| *asked == Asked::Plan) < place(&|asked| matches!(asked, Asked::Tunnel(_, "open"))));
    assert!(captured(&table.applied).contains(&"203.0.113.0/32".to_owned()));
    // Both are one account: fr waits until uk's server has been silent for ten seconds.
    table.run(Duration::from_secs(15));
    assert_eq!(table.status().tunnels[1].state, "up");
    let refusal = table.send(udp(ANCHOR, CLAIMED, b"ask"));
    assert_eq!(refusal.len(), 1, "refused at once");
    table.send(udp(ANCHOR, ANYWHERE, b"ask"));
    assert_eq!(destinations(&table.at_place(1)), [ANYWHERE], "through the default, and not what uk claims");
    table.off[0] = false;
    table.run(Duration::from_secs(60));
    assert_eq!(table.states(), ["up", "up"]);
    table.send(udp(ANCHOR, Ipv4Addr::new(10, 100, 0, 9), b"ask"));
    assert_eq!(destinations(&table.at_place(0)), [Ipv4Addr::new(10, 100, 0, 9)]);
}

#[test]
fn the_first_plan_of_an_engine_holds_what_the_last_one_knew() {
    let table = up(two(), two_servers("", ",redirect-gateway def1"));
    let memory = table.memory.clone();
    let start = Start::of(two());
    let mut fleet =
        Fleet::with_connectors(start.config, start.connectors, memory, start.facts, start.sessions, [9; 32], table.now)
            .unwrap();
    let first = std::iter::from_fn(|| fleet.poll_request()).find_map(|request| match request {
        Request::Plan(plan) => Some(plan),
        Request::Remember(_) => panic!("it is remembered already"),
        Request::Tunnel { .. } | Request::Policy(_) | Request::Event(_) => None,
    });
    assert_eq!(captured(&first.unwrap()), captured(&table.applied), "both networks, both routes, the default");
}

#[test]
fn what_a_push_brings_is_remembered_before_the_plan_that_follows_from_it_and_once() {
    let mut table = Table::start(Start::of(two()), two_servers("", ""));
    table.run(MOMENT);
    let asked: Vec<Asked> =
        table.take_asked().into_iter().filter(|asked| matches!(asked, Asked::Remember | Asked::Plan)).collect();
    // What is known from the beginning, then each of both tunnels.
    let pairs: Vec<&[Asked]> = asked.chunks(2).collect();
    assert_eq!(pairs, [[Asked::Remember, Asked::Plan]; 3]);
    table.servers[0].say("RESTART", table.now);
    table.run(MOMENT);
    assert_eq!(table.states(), ["up", "up"]);
    assert!(!table.take_asked().contains(&Asked::Remember), "the same push again is nothing new");
}

#[test]
fn a_push_replaces_what_was_remembered_of_the_one_before() {
    let table = up(two(), two_servers(",route 192.0.2.128 255.255.255.128", ""));
    assert!(table.status().tunnels[0].routes.contains(&"192.0.2.128/25".to_owned()));
    let mut table = table.restart(Start::of(two()));
    assert!(table.status().tunnels[0].routes.contains(&"192.0.2.128/25".to_owned()));
    table.servers[0] = server(0, good(), "");
    table.run(Duration::from_secs(30));
    assert_eq!(table.status().tunnels[0].routes, ["203.0.113.0/32", "10.100.0.0/16"]);
    let pushed = table.memory.tunnels["uk"].pushed.clone().unwrap();
    assert_eq!(pushed.claims.len(), 2);
}

#[test]
fn a_remembered_offer_is_the_default_before_its_tunnel_is_up_and_one_that_did_not_offer_is_not_waited_for() {
    let table = up(two(), two_servers("", ",redirect-gateway def1"));
    let start = Start { memory: table.memory.clone(), ..Start::of(two()) };
    let mut silent = two_servers("", "");
    silent.iter_mut().for_each(|server| server.set_login(mrvpn_proto::peer::Login::Silent));
    let table = Table::start(start, silent);
    assert_eq!(table.status().default.unwrap().via, "fr", "uk offered nothing when it was last up");
}

#[test]
fn bind_addresses_stay_their_tunnels_over_restarts_and_the_lowest_free_one_is_for_a_new_tunnel() {
    let three = || config(vec![tunnel("a", 0, ""), tunnel("b", 1, ""), tunnel("c", 2, "")]);
    let servers: Vec<TestServer> = (0..4).map(|place| server(place, good(), "")).collect();
    let table = up(three(), servers);
    let other = config(vec![tunnel("c", 2, ""), tunnel("new", 3, ""), tunnel("a", 0, "")]);
    let table = table.restart(Start::of(other));
    let binds = |table: &Table| -> Vec<(String, String)> {
        table.status().tunnels.into_iter().map(|tunnel| (tunnel.name, tunnel.bind[0].clone())).collect()
    };
    let named = |all: [(&str, &str); 3]| all.map(|(name, bind)| (name.to_owned(), bind.to_owned()));
    assert_eq!(binds(&table), named([("c", "198.18.1.3"), ("new", "198.18.1.2"), ("a", "198.18.1.1")]));
    assert!(!table.memory.tunnels.contains_key("b"), "what left the file is forgotten");
    let table = table.restart(Start::of(three()));
    assert_eq!(binds(&table), named([("a", "198.18.1.1"), ("b", "198.18.1.2"), ("c", "198.18.1.3")]));
}

#[test]
fn a_memory_that_is_wrong_gives_no_address_twice_and_none_that_there_is_not() {
    let remembered = |bind| Remembered { bind, pushed: None };
    let tunnels = [("a", 1), ("b", 1), ("c", u16::MAX)].map(|(name, bind)| (name.to_owned(), remembered(bind)));
    let memory = Memory { tunnels: tunnels.into(), ..Memory::default() };
    let config = config(vec![tunnel("a", 0, ""), tunnel("b", 1, ""), tunnel("c", 2, "")]);
    let servers = (0..3).map(|place| server(place, good(), "")).collect();
    let table = Table::start(Start { memory, ..Start::of(config) }, servers);
    let binds: Vec<String> = table.status().tunnels.into_iter().map(|tunnel| tunnel.bind[0].clone()).collect();
    assert_eq!(binds, ["198.18.1.2", "198.18.1.1", "198.18.1.3"]);
}

#[test]
fn as_many_claims_are_remembered_of_one_tunnel_as_a_push_can_have() {
    let claim = |n: usize| {
        let net = format!("11.{}.{}.0/24", n / 256, n % 256);
        (net.parse().unwrap(), ClaimOrigin::Pushed)
    };
    for (count, stand) in [(4_099, 4_099), (4_100, 4_100), (4_101, 4_100)] {
        let pushed = Pushed { claims: (0..count).map(claim).collect(), offer: Offer::default() };
        let remembered = Remembered { bind: 0, pushed: Some(pushed) };
        let memory = Memory { tunnels: [("uk".to_owned(), remembered)].into(), ..Memory::default() };
        let one = config(vec![tunnel("uk", 0, "")]);
        let Start { config, connectors, facts, sessions, .. } = Start::of(one);
        let fleet = Fleet::with_connectors(config, connectors, memory, facts, sessions, [9; 32], Moment::default());
        assert_eq!(fleet.unwrap().policy().claims().len(), stand);
    }
}

#[test]
fn a_push_that_touches_the_pool_moves_it_before_any_tunnel_was_up_and_later_it_is_kept_and_said() {
    let mut table = up(two(), two_servers(",route 198.18.0.0 255.254.0.0", ""));
    let addresses = |table: &Table| table.status().interface.unwrap().addresses;
    assert_eq!(addresses(&table)[0], "10.253.0.1/32");
    assert_eq!(table.memory.pool, Some(Ipv4Addr::new(10, 253, 0, 0)));
    let anchor = Ipv4Addr::new(10, 253, 0, 1);
    table.send(udp(anchor, Ipv4Addr::new(198, 18, 0, 77), b"ask"));
    assert_eq!(destinations(&table.at_place(0)), [Ipv4Addr::new(198, 18, 0, 77)]);
    // The next push touches where it is now.
    table.servers[0] = server(0, good(), ",route 10.253.7.0 255.255.255.0");
    table.run(Duration::from_secs(30));
    assert_eq!(table.states(), ["up", "up"]);
    assert_eq!(addresses(&table)[0], "10.253.0.1/32", "it stays for the run");
    let status = table.status();
    let kept = status.conflicts.iter().find(|conflict| conflict.what == "10.253.7.0/24").unwrap();
    assert_eq!(kept.kind, "pool");
    assert!(status.warnings.iter().any(|warning| warning.contains("pool at 198.18.0.0")), "{:#?}", status.warnings);
    let table = table.restart(Start::of(two()));
    assert_ne!(addresses(&table)[0], "10.253.0.1/32", "the next engine goes out of the way");
}
