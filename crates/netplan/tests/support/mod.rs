//! What the tests of this crate share: random inputs of a plan whose prefixes lie in and around each other, and hosts in
//! memory.

#![allow(dead_code, reason = "each test file uses its part")]

use std::net::IpAddr;

use ipnet::IpNet;
use mrvpn_netplan::model::ModelHost;
use mrvpn_netplan::{
    AddressBook, DeviceSpec, EngineSeen, Firewall, Host, HostFacts, OffloadSet, OnLink, Plan, PlanError, PlanInput,
    Pools, Probe, Scope, apply, diff, effective, plan,
};
use mrvpn_profile::{Assignment, PullOptions, push};
use mrvpn_router::{Claim, ClaimOrigin, DefaultChoice, Defaults, PortRange, Rule, Target, TunnelId};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

pub(crate) const MARK: (u32, u32) = (0x4d00_0000, 0xff00_0000);
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

/// Numbers with holes, not in the order of the file.
pub(crate) const TUNNELS: [TunnelId; 3] = [TunnelId::new(5), TunnelId::new(0), TunnelId::new(9)];

/// Prefixes that lie in and around each other.
pub(crate) const NETS: [&str; 28] = [
    "0.0.0.0/0",
    "0.0.0.0/1",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.3/32",
    "10.1.2.128/25",
    "10.2.0.0/16",
    "192.168.0.0/16",
    "192.168.1.0/24",
    "192.168.1.7/32",
    "8.8.8.0/24",
    "8.8.0.0/16",
    "198.18.1.0/24",
    "198.18.0.0/15",
    "198.18.32.0/24",
    "169.254.3.0/24",
    "224.0.0.0/4",
    "::/0",
    "2001:db8::/32",
    "2001:db8:1::/48",
    "2001:db8:1::7/128",
    "fd00:1::/32",
    "fd00:1::/64",
    "fe80::/64",
    "2000::/3",
    "2001:2::/48",
    "2001:2:0:11::/64",
];

/// Addresses of which each lies in several of the prefixes, or in none.
pub(crate) const ADDRESSES: [&str; 25] = [
    "10.1.2.3",
    "10.1.2.4",
    "10.1.2.200",
    "10.1.9.9",
    "10.2.3.4",
    "10.200.0.1",
    "192.168.1.7",
    "192.168.1.8",
    "192.168.2.2",
    "8.8.8.8",
    "8.8.9.9",
    "198.18.0.254",
    "198.18.1.1",
    "198.18.0.1",
    "198.19.0.7",
    "198.18.32.9",
    "198.19.33.9",
    "169.254.3.3",
    "224.0.0.251",
    "255.255.255.255",
    "2001:db8:1::7",
    "2001:db8:2::1",
    "fd00:1::9",
    "fe80::9",
    "2001:2:0:11::fe",
];

/// What a plan is made of, owned.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Addresses of [`TUNNELS`], in their order.
    pub(crate) assigned: Vec<String>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) claims: Vec<Claim>,
    pub(crate) defaults: Defaults,
    pub(crate) facts: HostFacts,
    pub(crate) lan_allowed: bool,
    pub(crate) bypass: Vec<IpNet>,
    pub(crate) outside: Vec<IpNet>,
}

impl Case {
    pub(crate) fn book(&self) -> AddressBook {
        let mut book = AddressBook::new(pools(), 0);
        book.set_tunnels(&TUNNELS.map(|tunnel| (tunnel, tunnel.number())));
        for (tunnel, address) in TUNNELS.iter().zip(&self.assigned) {
            book.assign(*tunnel, &assigned(address), &self.facts);
        }
        book
    }

    pub(crate) fn standing_claims(&self) -> Vec<Claim> {
        effective(&self.claims, &self.facts, &self.rules)
    }

    pub(crate) fn plan(&self) -> Result<Plan, PlanError> {
        let book = self.book();
        plan(&PlanInput {
            scope: &Scope::first(),
            mark: MARK,
            book: &book,
            rules: &self.rules,
            claims: &self.standing_claims(),
            defaults: self.defaults,
            facts: &self.facts,
            lan_allowed: self.lan_allowed,
            inbound: &[],
            bypass: &self.bypass,
            outside: &self.outside,
        })
    }
}

pub(crate) fn pools() -> Pools {
    Pools::choose(None, 0, &[], &[], None).unwrap()
}

pub(crate) fn empty() -> Plan {
    Plan::empty(&Scope::first())
}

/// What a server of topology `subnet` assigns.
pub(crate) fn assigned(address: &str) -> Assignment {
    let net: ipnet::Ipv4Net = address.parse().unwrap();
    if net.prefix_len() == 32 {
        return pushed(&format!("ifconfig {} 10.255.255.1", net.addr()));
    }
    pushed(&format!("topology subnet,ifconfig {} {}", net.addr(), net.netmask()))
}

/// What follows from a PUSH_REPLY with these options.
pub(crate) fn pushed(options: &str) -> Assignment {
    push::assignment(&PullOptions::default(), &[format!("PUSH_REPLY,{options}").into_bytes()]).unwrap()
}

pub(crate) fn on_lan(nets: &[&str]) -> HostFacts {
    let lan = |net: &&str| OnLink { net: net.parse().unwrap(), device: String::from("eth0") };
    HostFacts { on_link: nets.iter().map(lan).collect(), ..HostFacts::default() }
}

pub(crate) fn claim_of(tunnel: TunnelId, prefix: &str, origin: ClaimOrigin) -> Claim {
    Claim { tunnel, prefix: prefix.parse().unwrap(), origin }
}

pub(crate) fn probe_to(to: &str) -> Probe {
    Probe { from: None, to: to.parse().unwrap(), proto: TCP, port: Some(443), mark: 0, local: true }
}

pub(crate) fn has_ports(proto: u8) -> bool {
    mrvpn_router::pick::has_ports(proto)
}

pub(crate) fn net() -> impl Strategy<Value = IpNet> {
    select(NETS.as_slice()).prop_map(|net| net.parse().unwrap())
}

/// All of a family is no network, no claim and no bypass.
fn part() -> impl Strategy<Value = IpNet> {
    net().prop_filter("not all of a family", |net| net.prefix_len() > 0)
}

fn address() -> impl Strategy<Value = IpAddr> {
    select(ADDRESSES.as_slice()).prop_map(|address| address.parse().unwrap())
}

pub(crate) fn rule() -> impl Strategy<Value = Rule> {
    let targets = select(vec![Target::Tunnel(TUNNELS[0]), Target::Tunnel(TUNNELS[1]), Target::Direct, Target::Block]);
    let ports = vec(select(vec![(53, 53), (80, 443), (67, 67), (0, 65_535)]), 0..2);
    let selectors = prop_oneof![3 => Just((0..1, 0..1)), 2 => Just((0..2, 0..2))];
    (vec(net(), 0..3), selectors, targets, ports).prop_flat_map(move |(to, (from, proto), via, ports)| {
        let ports = if proto.end > 1 { ports } else { Vec::new() };
        let port: Vec<PortRange> = ports.iter().map(|(first, last)| PortRange { first: *first, last: *last }).collect();
        (Just(to), vec(net(), from), vec(select(vec![1, TCP, UDP]), proto), Just(port), Just(via))
            .prop_map(|(to, from, proto, port, via)| Rule { name: None, to, from, proto, port, via })
    })
}

pub(crate) fn claim() -> impl Strategy<Value = Claim> {
    let origins = select(vec![ClaimOrigin::Profile, ClaimOrigin::Pushed, ClaimOrigin::Assigned]);
    (select(TUNNELS.as_slice()), part(), origins).prop_map(|(tunnel, prefix, origin)| Claim { tunnel, prefix, origin })
}

fn choice() -> impl Strategy<Value = DefaultChoice> {
    select(vec![DefaultChoice::NotOffered, DefaultChoice::Undecided, DefaultChoice::Tunnel(TUNNELS[1])])
}

pub(crate) fn facts() -> impl Strategy<Value = HostFacts> {
    let lan = || vec(net().prop_filter("a default is no network", |net| net.prefix_len() > 1), 0..3);
    (lan(), lan(), prop::bool::weighted(0.2), any::<bool>()).prop_map(|(on_link, routed, beside, strict)| HostFacts {
        on_link: on_link.into_iter().map(|net| OnLink { net, device: String::from("eth0") }).collect(),
        routed,
        may_change: true,
        strict_reverse_path: strict,
        engines: beside
            .then(|| EngineSeen { slot: 1, device: Some(String::from("mrvpn1")), ..EngineSeen::default() })
            .into_iter()
            .collect(),
        ..HostFacts::default()
    })
}

pub(crate) fn case() -> impl Strategy<Value = Case> {
    let addresses = vec(select(vec!["10.1.2.3/16", "10.9.0.2/24", "192.168.1.7/24", "10.1.2.4/32"]), 0..3);
    let defaults = (choice(), choice()).prop_map(|(v4, v6)| Defaults { v4, v6 });
    let past = prop_oneof![2 => Just((0..1, 0..1)), 1 => Just((0..3, 0..3))];
    let past = past.prop_flat_map(|(bypass, outside)| (vec(part(), bypass), vec(net(), outside)));
    let few = (addresses, vec(rule(), 0..6), vec(claim(), 0..5), defaults, facts(), prop::bool::weighted(0.8), past);
    few.prop_map(|(assigned, rules, claims, defaults, facts, lan_allowed, (bypass, outside))| Case {
        assigned: assigned.into_iter().map(String::from).collect(),
        rules,
        claims,
        defaults,
        facts,
        lan_allowed,
        bypass,
        outside,
    })
}

pub(crate) fn probe() -> impl Strategy<Value = Probe> {
    let port = select(vec![53, 67, 80, 547, 5000]);
    let from = prop_oneof![2 => Just(None), 1 => address().prop_map(Some)];
    let mark = prop_oneof![9 => Just(0), 1 => Just(0x4d00_0001)];
    (from, address(), select(vec![1, TCP, UDP, 47]), port, mark, prop::bool::weighted(0.9)).prop_map(
        |(from, to, proto, port, mark, local)| Probe {
            from: from.filter(|from| from.is_ipv4() == to.is_ipv4()),
            to,
            proto,
            port: has_ports(proto).then_some(port),
            mark,
            local,
        },
    )
}

/// The packet on its way out by a card: by now it has a source, that of the card where its program has not bound.
pub(crate) fn on_its_way(probe: Probe) -> Probe {
    let card: IpAddr = if probe.to.is_ipv4() { "172.16.5.5" } else { "fd99::5" }.parse().unwrap();
    Probe { from: probe.from.or(Some(card)), ..probe }
}

/// Whether the firewall of `plan` refuses it there.
pub(crate) fn is_refused(firewall: Option<&Firewall>, probe: Probe) -> bool {
    firewall.is_some_and(|firewall| firewall.refuses(&on_its_way(probe), "eth0"))
}

/// A host with the device alone.
pub(crate) fn host() -> ModelHost {
    let mut host = ModelHost::default();
    let name = String::from("mrvpn0");
    host.open(&DeviceSpec { name, mtu: 1500, queues: 1, offload: OffloadSet::ALL, persistent: true }).unwrap();
    host
}

/// A host on which `plan` stands.
pub(crate) fn host_with(plan: &Plan) -> ModelHost {
    let mut host = host();
    apply(&mut host, &diff(&empty(), plan)).unwrap();
    host
}

/// Three tunnels, the first of which is the default.
pub(crate) fn three_tunnels() -> Case {
    let addresses = ["10.100.0.2/16", "10.101.0.2/16", "10.102.0.2/24"];
    let claim = |(tunnel, net): (&TunnelId, &&str)| Claim {
        tunnel: *tunnel,
        prefix: net.parse::<IpNet>().unwrap().trunc(),
        origin: ClaimOrigin::Assigned,
    };
    let first = DefaultChoice::Tunnel(TUNNELS[0]);
    Case {
        assigned: addresses.map(String::from).to_vec(),
        rules: Vec::new(),
        claims: TUNNELS.iter().zip(&addresses).map(claim).collect(),
        defaults: Defaults { v4: first, v6: first },
        facts: HostFacts::default(),
        lan_allowed: true,
        bypass: Vec::new(),
        outside: Vec::new(),
    }
}
