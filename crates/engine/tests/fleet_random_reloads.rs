//! A thousand random reloads with packets in between: what a rule or a claim of both configurations gives to a tunnel never
//! goes elsewhere, neither its flows nor new ones, whatever the order, the rules and the other tunnels are.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails there fails the test")]

mod table;

use std::net::Ipv4Addr;
use std::time::Duration;

use mrvpn_engine::{EngineConfig, TunnelConfig};
use mrvpn_router::{Attachment, By, FlowTuple, Rule, Target, TunnelId, Via, pick};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use table::{ANCHOR, Start, Table, good, reply, server, tunnel, udp};

const SERVERS: usize = 6;
const RELOADS: usize = 1_000;
/// Networks that profiles claim and rules name.
const NETS: u64 = 4;

/// Numbers from a seed.
struct Chance(ChaCha8Rng);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0.next_u64() % limit
    }

    /// Whether something happens, so many times in ten.
    fn tenths(&mut self, tenths: u64) -> bool {
        self.below(10) < tenths
    }
}

/// The name of the tunnel that decides by rule or claim; `None` where something else decides.
fn holder(table: &Table, destination: Ipv4Addr) -> Option<String> {
    let flow = FlowTuple {
        source: ANCHOR.into(),
        destination: destination.into(),
        protocol: 17,
        source_port: Some(5_000),
        destination_port: Some(5_000),
    };
    let pick = pick(table.fleet.policy(), Attachment::Rules, &flow);
    match (pick.via, pick.by) {
        (Via::Tunnel(id), By::Rule(_) | By::Claim(_)) => {
            table.fleet.tunnels().find(|tunnel| tunnel.id() == id).map(|tunnel| tunnel.config().name.clone())
        }
        _ => None,
    }
}

fn place_of(name: &str) -> usize {
    name[1..].parse().unwrap()
}

fn probe(chance: &mut Chance) -> Ipv4Addr {
    match chance.below(3) {
        0 => Ipv4Addr::new(203, 0, 113, u8::try_from(chance.below(SERVERS as u64)).unwrap()),
        1 => Ipv4Addr::new(10, 100 + u8::try_from(chance.below(SERVERS as u64)).unwrap(), 0, 9),
        _ => Ipv4Addr::new(192, 168, 50 + u8::try_from(chance.below(NETS)).unwrap(), 9),
    }
}

fn net(chance: &mut Chance) -> String {
    format!("192.168.{}.0", 50 + chance.below(NETS))
}

/// A file: some of the tunnels in some order, their profiles with some routes, and some rules.
fn any_config(chance: &mut Chance) -> EngineConfig {
    let mut tunnels: Vec<TunnelConfig> = Vec::new();
    for place in 0..SERVERS {
        if chance.tenths(8) {
            let lines = if chance.tenths(3) { format!("route {} 255.255.255.0", net(chance)) } else { String::new() };
            let at = usize::try_from(chance.below(tunnels.len() as u64 + 1)).unwrap();
            let mut one = tunnel(&format!("t{place}"), place, &lines);
            one.default = chance.tenths(2);
            tunnels.insert(at, one);
        }
    }
    let count = u16::try_from(tunnels.len()).unwrap();
    let rules = (0..chance.below(4)).map(|_| any_rule(chance, count)).collect();
    EngineConfig { tunnels, rules, ..EngineConfig::new() }
}

fn any_rule(chance: &mut Chance, tunnels: u16) -> Rule {
    let via = match chance.below(6) {
        0 => Target::Block,
        1 => Target::Direct,
        _ if tunnels == 0 => Target::Block,
        number => Target::Tunnel(TunnelId::new(u16::try_from(number).unwrap() % tunnels)),
    };
    let to = vec![format!("{}/24", net(chance)).parse().unwrap()];
    Rule { name: None, to, from: Vec::new(), proto: Vec::new(), port: Vec::new(), via }
}

/// Sends a packet of the flow from `port` and says at which servers it arrives. An answer goes back to each, so that flows
/// live.
fn arrives(table: &mut Table, port: u16, destination: Ipv4Addr) -> Vec<usize> {
    let mut packet = udp(ANCHOR, destination, b"ask");
    packet[20..22].copy_from_slice(&port.to_be_bytes());
    table.send(packet);
    let mut places = Vec::new();
    for place in 0..SERVERS {
        for packet in table.at_place(place) {
            places.push(place);
            table.answer_from(place, &reply(&packet));
        }
    }
    table.received();
    places
}

// proves: T-84
#[test]
fn what_both_configurations_give_to_a_tunnel_never_goes_elsewhere() {
    let mut chance = Chance(ChaCha8Rng::seed_from_u64(84));
    let servers = (0..SERVERS).map(|place| server(place, good(), "")).collect();
    let mut table = Table::start(Start::of(any_config(&mut chance)), servers);
    table.run(Duration::from_secs(2));
    let (mut held, mut arrived) = (0, 0);
    for round in 0..RELOADS {
        let probes: Vec<Ipv4Addr> = (0..4).map(|_| probe(&mut chance)).collect();
        // A flow keeps what its first packet met, so each round has flows of its own.
        let old = 2_000 + u16::try_from(round).unwrap();
        for destination in &probes {
            arrives(&mut table, old, *destination);
        }
        let before: Vec<Option<String>> = probes.iter().map(|probe| holder(&table, *probe)).collect();
        table.reload(any_config(&mut chance)).unwrap();
        for step in 0..3 {
            for (destination, before) in probes.iter().zip(&before) {
                // A push may bring a longer claim of another at any moment.
                let both = before.clone().filter(|name| holder(&table, *destination).as_ref() == Some(name));
                let Some(name) = both else { continue };
                for port in [old, 10_000 + 3 * old + step] {
                    let places = arrives(&mut table, port, *destination);
                    held += 1;
                    arrived += places.len();
                    let only = place_of(&name);
                    let elsewhere = places.iter().any(|place| *place != only);
                    assert!(!elsewhere, "round {round}.{step}: {destination} is {name}'s and went to {places:?}");
                }
            }
            table.run(Duration::from_millis(chance.below(400)));
        }
    }
    assert!(held > 3_000 && arrived > 2_000, "{held} probes were held and {arrived} arrived");
}
