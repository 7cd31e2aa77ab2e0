//! Each situation of `docs/addresses.md` with what happens in it, from what servers push to where a packet goes and what
//! stands under `conflicts`. The table there names these tests.

#![allow(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

mod support;

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use mrvpn_netplan::model::Verdict;
use mrvpn_netplan::{
    AddressBook, HostFacts, PlanInput, Pools, PoolsError, Probe, Scope, claim_conflicts, claims, effective, plan,
};
use mrvpn_profile::{Assignment, PullOptions};
use mrvpn_router::{
    Attachment, Claim, DefaultChoice, Defaults, Fallback, FlowTuple, LeaseId, Policy, PolicyInput, Rule, Target,
    TunnelId, Via, pick,
};
use support::{MARK, host_with, on_lan, pools, probe_to, pushed};

/// In the order of the file, which is not that of the numbers.
const UK: TunnelId = TunnelId::new(4);
const FR: TunnelId = TunnelId::new(1);
const US: TunnelId = TunnelId::new(6);

const SUBNET: &str = "topology subnet";

/// A file with three tunnels, and what their servers have pushed.
struct World {
    book: AddressBook,
    facts: HostFacts,
    pushes: Vec<(TunnelId, Assignment)>,
    rules: Vec<Rule>,
}

impl World {
    fn on(facts: HostFacts) -> Self {
        let mut book = AddressBook::new(pools(), 0);
        book.set_tunnels(&[(UK, 0), (FR, 1), (US, 2)]);
        Self { book, facts, pushes: Vec::new(), rules: Vec::new() }
    }

    fn new() -> Self {
        Self::on(HostFacts::default())
    }

    /// The server of `tunnel` pushes.
    fn up(&mut self, tunnel: TunnelId, options: &str) -> LeaseId {
        let assignment = pushed(options);
        let lease = self.book.assign(tunnel, &assignment, &self.facts);
        self.pushes.retain(|(of, _)| *of != tunnel);
        self.pushes.push((tunnel, assignment));
        lease
    }

    fn claims(&self) -> Vec<Claim> {
        let of = |tunnel: &TunnelId| {
            let push = self.pushes.iter().find(|(of, _)| of == tunnel).map(|(_, assignment)| assignment);
            claims(*tunnel, &PullOptions::default(), push)
        };
        self.book.tunnels().iter().flat_map(of).collect()
    }

    /// As `status` shows them: kind, tunnels, what, resolution.
    fn conflicts(&self) -> Vec<String> {
        let of_claims = claim_conflicts(&self.claims(), &self.facts, &self.rules, self.book.pools());
        let line = |conflict: &mrvpn_netplan::Conflict| {
            let tunnels: Vec<&str> = conflict.tunnels.iter().map(|tunnel| name(*tunnel)).collect();
            let resolution = conflict.resolution.describe(|tunnel| name(tunnel).to_owned());
            let kind = serde_json::to_value(conflict.kind).unwrap();
            format!("{} {}: {}: {resolution}", kind.as_str().unwrap(), tunnels.join(" "), conflict.what)
        };
        self.book.conflicts().iter().chain(&of_claims).map(line).collect()
    }

    /// Which tunnel a packet takes, or `None` where the host has it.
    fn via(&self, from: Option<&str>, to: &str) -> Option<TunnelId> {
        let claims = effective(&self.claims(), &self.facts, &self.rules);
        let defaults = Defaults { v4: DefaultChoice::NotOffered, v6: DefaultChoice::NotOffered };
        let plan = plan(&PlanInput {
            scope: &Scope::first(),
            mark: MARK,
            book: &self.book,
            rules: &self.rules,
            claims: &claims,
            defaults,
            facts: &self.facts,
            lan_allowed: true,
            inbound: &[],
            bypass: &[],
            outside: &[],
        });
        let from: Option<IpAddr> = from.map(|from| from.parse().unwrap());
        let probe = Probe { from, ..probe_to(to) };
        if host_with(&plan.unwrap()).route(&probe) == Verdict::Clear {
            return None;
        }
        let policy = Policy::new(PolicyInput {
            rules: self.rules.clone(),
            claims,
            defaults,
            undecided_until: None,
            fallback: Fallback::Auto,
            sources: self.book.sources(),
            own: self.book.own(),
            accept: Vec::new(),
            tunnels: Vec::new(),
        });
        let anchor =
            if probe.to.is_ipv4() { self.book.own().anchor_v4.into() } else { self.book.own().anchor_v6.into() };
        let flow = FlowTuple {
            source: from.unwrap_or(anchor),
            destination: probe.to,
            protocol: probe.proto,
            source_port: Some(40_000),
            destination_port: probe.port,
        };
        match pick(&policy, Attachment::Rules, &flow).via {
            Via::Tunnel(tunnel) => Some(tunnel),
            Via::Direct | Via::Block | Via::Undecided | Via::Nobody => None,
        }
    }

    fn presented(&self, tunnel: TunnelId) -> [Option<String>; 2] {
        let entry = self.book.entry(tunnel);
        let v4 = entry.and_then(|entry| entry.presented_v4).map(|address| address.to_string());
        [v4, entry.and_then(|entry| entry.presented_v6).map(|address| address.to_string())]
    }

    /// The IPv4 address by which a tunnel is presented.
    fn shown(&self, tunnel: TunnelId) -> String {
        self.presented(tunnel)[0].clone().unwrap()
    }

    fn interface(&self) -> Vec<String> {
        self.book.interface_addresses().iter().map(|net| net.addr().to_string()).collect()
    }
}

fn name(tunnel: TunnelId) -> &'static str {
    match tunnel {
        UK => "uk",
        FR => "fr",
        _ => "us",
    }
}

// proves: T-37
#[test]
fn of_three_tunnels_with_one_address_the_first_that_was_up_is_presented_by_it_and_each_is_reached_by_its_own() {
    let mut world = World::new();
    for tunnel in [FR, UK, US] {
        world.up(tunnel, "topology subnet,ifconfig 10.8.0.2 255.255.255.0");
    }
    assert_eq!([FR, UK, US].map(|tunnel| world.shown(tunnel)), ["10.8.0.2", "198.18.1.1", "198.18.1.3"]);
    let expected = [
        "address fr uk: 10.8.0.2: uk presented as 198.18.1.1",
        "address fr us: 10.8.0.2: us presented as 198.18.1.3",
        "subnet uk fr us: 10.8.0.0/24: uk carries it, the first in the file; a rule can give it to another",
    ];
    assert_eq!(world.conflicts(), expected);
    for (from, tunnel) in [("10.8.0.2", FR), ("198.18.1.1", UK), ("198.18.1.2", FR), ("198.18.1.3", US)] {
        assert_eq!(world.via(Some(from), "10.8.0.1"), Some(tunnel), "{from}");
    }
    assert_eq!(world.via(None, "10.8.0.1"), Some(UK));
}

#[test]
fn when_the_holder_of_an_address_goes_the_others_stay_as_they_are_and_a_newcomer_may_have_it() {
    let mut world = World::new();
    world.up(FR, "topology subnet,ifconfig 10.8.0.2 255.255.255.0");
    let lease = world.up(UK, "topology subnet,ifconfig 10.8.0.2 255.255.255.0");
    world.book.release(FR);
    assert_eq!(world.up(UK, "topology subnet,ifconfig 10.8.0.2 255.255.255.0"), lease);
    assert_eq!(world.shown(UK), "198.18.1.1");
    assert_eq!(world.book.conflicts()[0].tunnels, [UK], "the holder is gone, how uk is presented is not");
    assert!(!world.interface().contains(&String::from("10.8.0.2")));
    world.up(US, "topology subnet,ifconfig 10.8.0.2 255.255.255.0");
    assert_eq!((world.shown(UK).as_str(), world.shown(US).as_str()), ("198.18.1.1", "10.8.0.2"));
}

#[test]
fn equal_networks_with_addresses_of_their_own_go_to_the_first_of_the_file_and_by_source_to_each() {
    let mut world = World::new();
    world.up(FR, "topology subnet,ifconfig 10.8.0.3 255.255.255.0");
    world.up(UK, "topology subnet,ifconfig 10.8.0.2 255.255.255.0");
    let expected = ["subnet uk fr: 10.8.0.0/24: uk carries it, the first in the file; a rule can give it to another"];
    assert_eq!(world.conflicts(), expected);
    assert_eq!(world.via(None, "10.8.0.1"), Some(UK));
    assert_eq!(world.via(Some("10.8.0.3"), "10.8.0.1"), Some(FR));
    world.rules = vec![rule("10.8.0.0/24", FR)];
    assert_eq!(world.via(None, "10.8.0.1"), Some(FR));
}

#[test]
fn of_networks_inside_each_other_the_longest_prefix_carries() {
    let mut world = World::new();
    world.up(UK, "topology subnet,ifconfig 10.0.0.2 255.0.0.0");
    world.up(FR, "topology subnet,ifconfig 10.8.0.2 255.255.0.0");
    world.up(US, "topology subnet,ifconfig 10.8.1.2 255.255.255.0,route 10.8.1.77 255.255.255.255");
    let expected = [
        "subnet uk fr: 10.8.0.0/16: fr carries the longer prefix",
        "subnet fr us: 10.8.1.0/24: us carries the longer prefix",
        "subnet fr us: 10.8.1.77/32: us carries the longer prefix",
    ];
    assert_eq!(world.conflicts(), expected);
    for (to, tunnel) in [("10.9.9.9", UK), ("10.8.9.9", FR), ("10.8.1.9", US), ("10.8.1.77", US)] {
        assert_eq!(world.via(None, to), Some(tunnel), "{to}");
    }
}

#[test]
fn prefixes_of_every_length_lie_inside_each_other_and_each_address_goes_to_the_longest() {
    for length in 9..=32u8 {
        let mut world = World::new();
        world.up(UK, "topology subnet,ifconfig 10.0.0.2 255.0.0.0");
        let net = ipnet::Ipv4Net::new(Ipv4Addr::new(10, 77, 77, 77), length).unwrap();
        world.up(
            FR,
            &format!("topology subnet,ifconfig 172.16.0.2 255.255.255.0,route {} {}", net.network(), net.netmask()),
        );
        assert_eq!(world.via(None, "10.77.77.77"), Some(FR), "/{length}");
        assert_eq!(world.via(None, "10.200.0.1"), Some(UK), "/{length}");
        assert_eq!(world.conflicts(), [format!("subnet uk fr: {}: fr carries the longer prefix", net.trunc())]);
    }
}

#[test]
fn a_route_that_two_servers_push_goes_to_the_first_of_the_file_and_both_are_named() {
    let mut world = World::new();
    world.up(UK, "topology subnet,ifconfig 10.8.0.2 255.255.255.0,route 172.20.0.0 255.255.0.0");
    world.up(FR, "topology subnet,ifconfig 10.9.0.2 255.255.255.0,route 172.20.0.0 255.255.0.0");
    let expected = ["subnet uk fr: 172.20.0.0/16: uk carries it, the first in the file; a rule can give it to another"];
    assert_eq!(world.conflicts(), expected);
    assert_eq!(world.via(None, "172.20.1.1"), Some(UK));
}

// proves: T-37, F-24
#[test]
fn an_address_of_the_lan_or_the_hosts_own_is_presented_as_the_bind_address_and_the_lan_stays_the_hosts() {
    let mut world =
        World::on(HostFacts { addresses: vec!["172.31.0.9".parse().unwrap()], ..on_lan(&["192.168.1.0/24"]) });
    world.up(UK, "topology subnet,ifconfig 192.168.1.7 255.255.255.0");
    world.up(FR, "topology subnet,ifconfig 172.31.0.9 255.255.255.0");
    assert_eq!((world.shown(UK).as_str(), world.shown(FR).as_str()), ("198.18.1.1", "198.18.1.2"));
    let left = "left to this host's own network; a rule that names it gives it to the tunnel";
    let expected = [
        String::from("lan uk: 192.168.1.7: uk presented as 198.18.1.1"),
        String::from("lan fr: 172.31.0.9: fr presented as 198.18.1.2"),
        format!("lan uk: 192.168.1.0/24: {left}"),
    ];
    assert_eq!(world.conflicts(), expected);
    assert_eq!(world.via(None, "192.168.1.9"), None);
    assert_eq!(world.via(Some("198.18.1.1"), "192.168.1.9"), Some(UK), "who binds to it reaches the tunnel's");
    world.rules = vec![rule("192.168.1.0/24", UK)];
    assert_eq!(world.via(None, "192.168.1.9"), Some(UK));
    assert!(world.conflicts().iter().all(|line| !line.contains(left)));
}

#[test]
fn a_network_around_the_lan_is_the_tunnels_but_for_the_lan() {
    let mut world = World::on(on_lan(&["192.168.1.0/24"]));
    world.up(UK, "topology subnet,ifconfig 192.168.7.7 255.255.0.0");
    assert_eq!(world.shown(UK), "192.168.7.7");
    assert_eq!(world.via(None, "192.168.9.9"), Some(UK));
    assert_eq!(world.via(None, "192.168.1.9"), None);
}

#[test]
fn a_host_that_comes_to_a_lan_with_a_tunnels_address_gives_way_and_does_not_go_back_within_the_lease() {
    let mut world = World::new();
    let lease = world.up(UK, "topology subnet,ifconfig 192.168.1.7 255.255.255.0");
    assert_eq!(world.shown(UK), "192.168.1.7");
    world.facts = on_lan(&["192.168.1.0/24"]);
    assert!(world.book.handle_facts(&world.facts));
    assert!(!world.book.handle_facts(&world.facts), "nothing new");
    assert_eq!((world.shown(UK).as_str(), world.book.entry(UK).unwrap().lease), ("198.18.1.1", lease));
    assert!(world.conflicts()[0].starts_with("lan uk: 192.168.1.7: uk presented as 198.18.1.1"));
    world.facts = HostFacts::default();
    assert!(!world.book.handle_facts(&world.facts));
    assert_eq!(world.shown(UK), "198.18.1.1");
    world.up(UK, "topology subnet,ifconfig 192.168.1.8 255.255.255.0");
    assert_eq!(world.shown(UK), "192.168.1.8", "a new lease is a new decision");
}

// proves: T-37
#[test]
fn an_address_of_our_pool_the_anchors_too_is_presented_as_the_bind_address() {
    for address in ["198.18.0.1", "198.18.0.254", "198.18.1.2", "198.19.0.7", "198.18.200.1"] {
        let mut world = World::new();
        world.up(UK, &format!("topology subnet,ifconfig {address} 255.255.255.0"));
        assert_eq!(world.shown(UK), "198.18.1.1", "{address}");
        let kept = "mrvpn's own addresses in it stay its own; set `alias_pool` to reach them through the tunnel";
        let net = pushed(&format!("topology subnet,ifconfig {address} 255.255.255.0")).ipv4.unwrap().address.trunc();
        let expected = [format!("pool uk: {address}: uk presented as 198.18.1.1"), format!("pool uk: {net}: {kept}")];
        assert_eq!(world.conflicts(), expected);
    }
}

#[test]
fn a_push_that_touches_the_pool_moves_it_while_no_tunnel_has_an_address_and_never_later() {
    let mut world = World::new();
    let claims: Vec<IpNet> = vec!["198.18.0.0/16".parse().unwrap()];
    let next = Pools::choose(None, 0, &[], &claims, None).unwrap();
    assert!(world.book.move_pool(next.clone()));
    world.up(UK, "topology subnet,ifconfig 198.18.7.2 255.255.255.0,route 198.18.0.0 255.255.0.0");
    assert_eq!(world.shown(UK), "198.18.7.2");
    assert_eq!(world.interface(), ["10.253.0.1", "198.18.7.2", "10.253.1.1", "10.253.1.2", "10.253.1.3"]);
    assert_eq!(world.conflicts(), ["pool : 198.18.0.0/15: mrvpn's own addresses come from 10.253.0.0/16"]);
    assert_eq!(world.via(None, "198.18.0.254"), Some(UK));
    assert!(!world.book.move_pool(pools()), "an address stands");
    world.up(FR, "topology subnet,ifconfig 10.9.0.2 255.255.255.0,route 10.253.0.0 255.255.0.0");
    let kept = "pool fr: 10.253.0.0/16: mrvpn's own addresses in it stay its own; set `alias_pool` to reach them through the tunnel";
    assert_eq!(world.conflicts()[1], kept);
    assert_eq!(world.via(None, "10.253.200.1"), Some(FR), "what of it is not this engine's is the tunnel's");
}

#[test]
fn without_a_free_pool_the_user_is_told_to_choose_one() {
    let taken = ["198.18.0.0/16", "10.253.0.0/24", "172.30.0.0/16"].map(|net| net.parse().unwrap());
    assert_eq!(Pools::choose(None, 0, &taken, &[], None).unwrap_err(), PoolsError::NoneFree);
    assert!(Pools::choose(Some(Ipv4Addr::new(10, 7, 0, 0)), 0, &taken, &[], None).is_ok());
}

#[test]
fn net30_and_p2p_claim_the_other_end_alone_and_subnet_the_network() {
    for (options, claimed, not) in [
        ("topology net30,ifconfig 10.8.0.6 10.8.0.5", "10.8.0.5", "10.8.0.1"),
        ("topology p2p,ifconfig 10.8.0.6 10.9.9.9", "10.9.9.9", "10.8.0.1"),
        ("topology subnet,ifconfig 10.8.0.6 255.255.255.252", "10.8.0.5", "10.8.0.1"),
        ("topology subnet,ifconfig 10.8.0.6 255.255.255.0", "10.8.0.1", "10.8.1.1"),
    ] {
        let mut world = World::new();
        world.up(UK, options);
        assert_eq!(world.shown(UK), "10.8.0.6", "{options}");
        assert_eq!((world.via(None, claimed), world.via(None, not)), (Some(UK), None), "{options}");
        assert!(world.conflicts().is_empty(), "{options}");
    }
}

#[test]
fn topologies_are_mixed_freely_and_equal_ends_go_to_the_first_of_the_file() {
    let mut world = World::new();
    world.up(UK, "topology net30,ifconfig 10.8.0.6 10.8.0.5");
    world.up(FR, "topology net30,ifconfig 10.8.0.6 10.8.0.5");
    world.up(US, "topology subnet,ifconfig 10.8.0.9 255.255.255.0");
    assert_eq!([UK, FR, US].map(|tunnel| world.shown(tunnel)), ["10.8.0.6", "198.18.1.2", "10.8.0.9"]);
    assert_eq!(world.conflicts(), ["address uk fr: 10.8.0.6: fr presented as 198.18.1.2"]);
    assert_eq!((world.via(None, "10.8.0.5"), world.via(None, "10.8.0.7")), (Some(UK), Some(US)));
    assert_eq!(world.via(Some("198.18.1.2"), "10.8.0.5"), Some(FR));
}

#[test]
fn a_tunnel_of_ipv6_alone_is_presented_in_ipv6_and_has_nothing_of_ipv4_but_its_bind_address() {
    let mut world = World::new();
    world.up(UK, "ifconfig-ipv6 fd00:64::2/64 fd00:64::1");
    assert_eq!(world.presented(UK), [None, Some(String::from("fd00:64::2"))]);
    assert_eq!(world.via(None, "fd00:64::9"), Some(UK));
    assert_eq!(world.via(Some("198.18.1.1"), "8.8.8.8"), Some(UK), "captured, and refused: never in clear");
    assert_eq!(world.via(None, "8.8.8.8"), None);
    assert!(world.conflicts().is_empty());
}

#[test]
fn each_family_of_a_tunnel_is_settled_for_itself() {
    let mut world = World::new();
    world.up(FR, "topology subnet,ifconfig 10.101.0.2 255.255.0.0,ifconfig-ipv6 fd00::2/64 fd00::1");
    world.up(UK, "topology subnet,ifconfig 10.100.0.2 255.255.0.0,ifconfig-ipv6 fd00::2/64 fd00::1");
    let both = |v4: &str, v6: &str| [Some(v4.to_owned()), Some(v6.to_owned())];
    assert_eq!(world.presented(FR), both("10.101.0.2", "fd00::2"));
    assert_eq!(world.presented(UK), both("10.100.0.2", "2001:2:0:1::1:1"));
    let expected = [
        "address fr uk: fd00::2: uk presented as 2001:2:0:1::1:1",
        "subnet uk fr: fd00::/64: uk carries it, the first in the file; a rule can give it to another",
    ];
    assert_eq!(world.conflicts(), expected);
}

#[test]
fn a_tunnel_without_any_address_carries_nothing_and_what_it_claims_is_still_its_own() {
    let mut world = World::new();
    world.up(UK, &format!("{SUBNET},route-gateway 10.8.0.1,route 172.20.0.0 255.255.0.0"));
    assert_eq!(world.presented(UK), [None, None]);
    assert_eq!(world.interface(), ["198.18.0.1", "198.18.1.1", "198.18.1.2", "198.18.1.3"]);
    let expected =
        "address uk: no address: uk carries nothing: its server assigned it no address; what it claims is refused";
    assert_eq!(world.conflicts(), [expected]);
    assert_eq!(world.via(None, "172.20.1.1"), Some(UK), "captured, and refused: never in clear");
}

#[test]
fn an_address_that_changes_on_reconnect_is_a_new_lease_and_the_old_one_leaves_the_interface() {
    let mut world = World::new();
    let first = world.up(UK, "topology subnet,ifconfig 10.8.0.2 255.255.255.0");
    assert_eq!(world.up(UK, "topology subnet,ifconfig 10.8.0.2 255.255.255.0"), first, "the same address keeps it");
    let second = world.up(UK, "topology subnet,ifconfig 10.9.0.2 255.255.255.0");
    assert!(second > first);
    assert_eq!(world.interface(), ["198.18.0.1", "10.9.0.2", "198.18.1.1", "198.18.1.2", "198.18.1.3"]);
    assert_eq!((world.via(None, "10.8.0.1"), world.via(None, "10.9.0.1")), (None, Some(UK)));
    assert_eq!(world.via(Some("10.8.0.2"), "8.8.8.8"), None, "no line is left for an address that is gone");
}

#[test]
fn what_no_tunnel_can_have_is_named_and_left_alone() {
    let mut world = World::new();
    world.pushes =
        vec![(UK, Assignment { routes: routes(&["127.0.0.0/8", "169.254.0.0/16", "fe80::/10"]), ..pushed(SUBNET) })];
    let line = |net: &str| format!("lan uk: {net}: not claimed: loopback, link-local, multicast or reserved");
    assert_eq!(world.conflicts(), ["127.0.0.0/8", "169.254.0.0/16", "fe80::/10"].map(line));
    assert_eq!(world.via(None, "169.254.7.7"), None);
}

#[test]
fn a_tunnel_that_leaves_the_file_takes_its_addresses_along_and_no_others() {
    let mut world = World::new();
    for (tunnel, address) in [(UK, "10.8.0.2"), (FR, "10.9.0.2"), (US, "10.9.0.2")] {
        world.up(tunnel, &format!("topology subnet,ifconfig {address} 255.255.255.0"));
    }
    let us = *world.book.entry(US).unwrap();
    world.book.set_tunnels(&[(US, 2), (UK, 0)]);
    assert_eq!(world.interface(), ["198.18.0.1", "10.8.0.2", "198.18.1.3", "198.18.1.1"], "the order of the file");
    assert_eq!((world.book.entry(FR), world.book.entry(US)), (None, Some(&us)));
    assert_eq!(world.book.conflicts()[0].tunnels, [US]);
    assert_eq!(
        world.book.assign(FR, &pushed("topology subnet,ifconfig 10.9.0.2 255.255.255.0"), &world.facts),
        LeaseId::NONE
    );
}

fn rule(to: &str, tunnel: TunnelId) -> Rule {
    let via = Target::Tunnel(tunnel);
    Rule { name: None, to: vec![to.parse().unwrap()], from: Vec::new(), proto: Vec::new(), port: Vec::new(), via }
}

fn routes(nets: &[&str]) -> Vec<mrvpn_profile::Route> {
    let via = mrvpn_profile::RouteVia::Tunnel;
    nets.iter().map(|net| mrvpn_profile::Route { net: net.parse().unwrap(), via }).collect()
}
