//! What tests of the host crate share: a namespace with a card, and plans to be applied in it.

#![allow(clippy::unwrap_used, reason = "a test whose world cannot be built has failed")]
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::File;
use std::os::fd::AsFd;
use std::thread;

use mrvpn_host::LinuxHost;
use mrvpn_netplan::{
    AddressBook, DeviceSpec, Host, HostFacts, OffloadSet, Plan, PlanInput, Pools, Scope, effective, plan,
};
use mrvpn_profile::{Assignment, Ipv4Assignment, Keepalive, ProtocolFlags};
use mrvpn_router::{Claim, ClaimOrigin, DefaultChoice, Defaults, PortRange, Rule, Target, TunnelId};
use mrvpn_testbed::{Netns, unique_name};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub(crate) const UK: TunnelId = TunnelId::new(0);
pub(crate) const FR: TunnelId = TunnelId::new(1);
pub(crate) const US: TunnelId = TunnelId::new(2);
pub(crate) const MARK: (u32, u32) = (0x4d00_0000, 0xff00_0000);

/// A namespace with a card, a gateway behind it, and a container network beside it.
pub(crate) struct Card {
    pub(crate) netns: Netns,
}

impl Card {
    pub(crate) fn new(rp_filter: u8) -> Self {
        let netns = Netns::new(&unique_name());
        for scope in ["all", "default"] {
            netns.sysctl(&format!("net.ipv4.conf.{scope}.rp_filter"), &rp_filter.to_string());
        }
        netns.ip("link add eth0 type veth peer name gateway
            link add docker0 type veth peer name container
            link set eth0 up
            link set gateway up
            link set docker0 up
            link set container up
            addr add 192.168.7.2/24 dev eth0
            addr add 192.168.9.1/24 dev docker0
            route add default via 192.168.7.1");
        netns.sysctl("net.ipv4.ip_forward", "1");
        Self { netns }
    }

    /// Runs in a thread that has moved into the namespace.
    pub(crate) fn inside(&self, body: impl FnOnce() + Send) {
        inside(&self.netns, body);
    }

    pub(crate) fn route_get(&self, question: &str) -> String {
        let words: Vec<&str> = ["route", "get"].into_iter().chain(question.split_whitespace()).collect();
        self.netns.run("ip", &words)
    }
}

/// Runs in a thread that has moved into the namespace.
pub(crate) fn inside(netns: &Netns, body: impl FnOnce() + Send) {
    let name = netns.name();
    let run = || {
        let file = File::open(format!("/run/netns/{name}")).unwrap();
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        body();
    };
    if let Err(panic) = thread::scope(|scope| scope.spawn(run).join()) {
        std::panic::resume_unwind(panic);
    }
}

pub(crate) fn device(offload: bool) -> DeviceSpec {
    device_with(if offload { OffloadSet::ALL } else { OffloadSet::NONE })
}

pub(crate) fn device_with(offload: OffloadSet) -> DeviceSpec {
    DeviceSpec { name: String::from("mrvpn0"), mtu: 1500, queues: 1, offload, persistent: false }
}

/// Three tunnels with rules, the first of them the default.
pub(crate) fn wanted(host: &mut LinuxHost, default: TunnelId) -> Plan {
    let assigned = [(UK, "10.100.0.2/16"), (FR, "10.101.0.2/16"), (US, "10.102.0.2/24")];
    let rules = [
        rule("203.0.113.30/32", &[17], &[53], Target::Tunnel(FR)),
        rule("203.0.113.20/32", &[6], &[443], Target::Direct),
        rule("203.0.113.10/32", &[], &[], Target::Tunnel(US)),
    ];
    planned(&host.facts().unwrap(), &assigned, &rules, default)
}

pub(crate) fn planned(facts: &HostFacts, assigned: &[(TunnelId, &str)], rules: &[Rule], default: TunnelId) -> Plan {
    let mut book = AddressBook::new(Pools::choose(None, 0, &[], &[], None).unwrap(), 3);
    let mut claims = Vec::new();
    for (tunnel, address) in assigned {
        let assignment = assignment(address);
        book.assign(*tunnel, &assignment, facts);
        claims.extend(mrvpn_netplan::claims(*tunnel, &Default::default(), Some(&assignment)));
    }
    claims.push(Claim { tunnel: FR, prefix: "192.168.0.0/16".parse().unwrap(), origin: ClaimOrigin::Pushed });
    planned_by(&book, facts, &claims, rules, default)
}

pub(crate) fn planned_by(
    book: &AddressBook,
    facts: &HostFacts,
    claims: &[Claim],
    rules: &[Rule],
    default: TunnelId,
) -> Plan {
    planned_for(&Scope::first(), book, facts, claims, rules, of_all(default))
}

fn of_all(tunnel: TunnelId) -> Defaults {
    Defaults { v4: DefaultChoice::Tunnel(tunnel), v6: DefaultChoice::Tunnel(tunnel) }
}

fn planned_for(
    scope: &Scope,
    book: &AddressBook,
    facts: &HostFacts,
    claims: &[Claim],
    rules: &[Rule],
    defaults: Defaults,
) -> Plan {
    plan(&PlanInput {
        scope,
        mark: MARK,
        book,
        rules,
        claims: &effective(claims, facts, rules),
        defaults,
        facts,
        lan_allowed: true,
        inbound: &[],
        bypass: &[],
        outside: &[],
    })
    .unwrap()
}

pub(crate) fn rule(to: &str, proto: &[u8], port: &[u16], via: Target) -> Rule {
    let port = port.iter().map(|port| PortRange { first: *port, last: *port }).collect();
    Rule { name: None, to: vec![to.parse().unwrap()], from: Vec::new(), proto: proto.to_vec(), port, via }
}

pub(crate) fn assignment(address: &str) -> Assignment {
    Assignment {
        ipv4: Some(Ipv4Assignment { address: address.parse().unwrap(), gateway: None }),
        ipv6: None,
        routes: Vec::new(),
        redirect_gateway: None,
        dns: Vec::new(),
        search_domains: Vec::new(),
        tun_mtu: 1500,
        block_ipv6: false,
        keepalive: Keepalive::default(),
        peer_id: None,
        cipher: None,
        protocol_flags: ProtocolFlags::default(),
        auth_token: None,
        explicit_exit_notify: None,
        session_timeout: None,
        skipped: Vec::new(),
    }
}

/// A host with a card, and a neighbour on its LAN that is the way to the internet too, and answers for it.
pub(crate) struct Street {
    pub(crate) host: Netns,
    pub(crate) neighbour: Netns,
}

/// The neighbour's own addresses, and those that it has for places far away.
pub(crate) const NEIGHBOUR: [&str; 2] = ["192.168.7.1", "fd00:7::1"];
pub(crate) const FAR: [&str; 2] = ["203.0.113.1", "2001:db8::1"];

impl Street {
    /// With this `rp_filter` on every card of the host.
    pub(crate) fn new(rp_filter: u8) -> Self {
        let (host, neighbour) = (Netns::new(&unique_name()), Netns::new(&unique_name()));
        for scope in ["all", "default"] {
            host.sysctl(&format!("net.ipv4.conf.{scope}.rp_filter"), &rp_filter.to_string());
            neighbour.sysctl(&format!("net.ipv4.conf.{scope}.rp_filter"), "0");
        }
        host.link("eth0", &neighbour, "eth0");
        host.ip("addr add 192.168.7.2/24 dev eth0
            addr add fd00:7::2/64 dev eth0
            route add default via 192.168.7.1
            -6 route add default via fd00:7::1");
        neighbour.ip("addr add 192.168.7.1/24 dev eth0
            addr add fd00:7::1/64 dev eth0
            addr add 203.0.113.1/32 dev lo
            addr add 2001:db8::1/128 dev lo
            route add 198.18.0.0/15 via 192.168.7.2
            route add 10.100.0.0/14 via 192.168.7.2
            -6 route add 2001:2::/48 via fd00:7::2
            -6 route add 2001:db8:64::/64 via fd00:7::2");
        neighbour.run(
            "nft",
            &["add table inet watch; add counter inet watch answers; \
              add chain inet watch arriving { type filter hook prerouting priority -300; }; \
              add rule inet watch arriving iifname eth0 meta l4proto { tcp, udp, icmp } counter name answers; \
              add rule inet watch arriving iifname eth0 icmpv6 type { echo-reply, destination-unreachable } counter name answers"],
        );
        Self { host, neighbour }
    }

    /// TCP, UDP, and what is no neighbour discovery of ICMP, that has come from the host to the neighbour.
    pub(crate) fn answers(&self) -> u64 {
        mrvpn_testbed::Counters::read(&self.neighbour).packets("answers")
    }
}

/// A tunnel with IPv4 and IPv6, the default of both.
pub(crate) fn wanted_both(host: &mut LinuxHost) -> Plan {
    wanted_of(host, &Scope::first())
}

/// The same for an engine of another slot.
pub(crate) fn wanted_of(host: &mut LinuxHost, scope: &Scope) -> Plan {
    let facts = host.facts().unwrap();
    let mut book = AddressBook::new(Pools::choose(None, scope.slot, &[], &[], None).unwrap(), 1);
    let address = format!("2001:db8:{}::2/64", 64 + scope.slot).parse().unwrap();
    let ipv6 = Some(mrvpn_profile::Ipv6Assignment { address, gateway: None });
    let assigned = Assignment { ipv6, ..assignment(&format!("10.10{}.0.2/16", scope.slot)) };
    book.assign(UK, &assigned, &facts);
    planned_for(scope, &book, &facts, &[], &[], of_all(UK))
}

/// A tunnel that is nobody's default, with one rule: UDP to a port of a far place.
pub(crate) fn wanted_for_port(host: &mut LinuxHost, port: u16) -> Plan {
    let facts = host.facts().unwrap();
    let mut book = AddressBook::new(Pools::choose(None, 0, &[], &[], None).unwrap(), 1);
    book.assign(UK, &assignment("10.100.0.2/16"), &facts);
    let rules = [rule(&format!("{}/32", FAR[0]), &[17], &[port], Target::Tunnel(UK))];
    let nobody = Defaults { v4: DefaultChoice::NotOffered, v6: DefaultChoice::NotOffered };
    planned_for(&Scope::first(), &book, &facts, &[], &rules, nobody)
}

/// No tunnel with an address and no default: these claims alone.
pub(crate) fn planned_for_nobody(host: &mut LinuxHost, claims: &[Claim]) -> Plan {
    let facts = host.facts().unwrap();
    let book = AddressBook::new(Pools::choose(None, 0, &[], &[], None).unwrap(), 1);
    let nobody = Defaults { v4: DefaultChoice::NotOffered, v6: DefaultChoice::NotOffered };
    planned_for(&Scope::first(), &book, &facts, claims, &[], nobody)
}
