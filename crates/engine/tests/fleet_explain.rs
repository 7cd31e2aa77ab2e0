//! Why a flow goes where it goes, as the fleet says it.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails there fails the test")]

mod table;

use std::net::IpAddr;
use std::time::Duration;

use mrvpn_engine::explained::{Because, SourceShown};
use mrvpn_engine::{EngineConfig, Explained, FlowQuery, TunnelConfig, TunnelVerb};
use mrvpn_netplan::model::Verdict;
use mrvpn_netplan::{EngineSeen, HostFacts, OnLink, Probe};
use mrvpn_router::{LiveFlow, Rule, Target, TunnelId};
use table::{FR, Start, Table, UK, good, server, tunnel};

const MOMENT: Duration = Duration::from_secs(3);

/// uk first, fr with a default and the same route; a rule gives 198.51.100.0/24 port 443 to fr, one blocks 192.0.2.128/25.
fn up() -> Table {
    let rule = |name: &str, to: &str, port: Option<u16>, via| Rule {
        name: Some(name.to_owned()),
        to: vec![to.parse().unwrap()],
        from: Vec::new(),
        proto: Vec::new(),
        port: port.map(|port| mrvpn_router::PortRange { first: port, last: port }).into_iter().collect(),
        via,
    };
    let rules = vec![
        rule("web", "198.51.100.0/24", Some(443), Target::Tunnel(FR)),
        rule("none", "192.0.2.128/25", None, Target::Block),
        rule("plain", "192.0.2.64/26", None, Target::Direct),
    ];
    let tunnels = vec![tunnel("uk", 0, ""), tunnel("fr", 1, "redirect-gateway\nroute 203.0.113.0")];
    let config = EngineConfig { rules, tunnels, ..EngineConfig::new() };
    let mut table = Table::start(Start::of(config), vec![server(0, good(), ""), server(1, good(), "")]);
    table.run(MOMENT);
    assert_eq!(table.states(), ["up", "up"]);
    table
}

/// fr is the default; the host is on two networks and routes a third; files leave something to the host in each way.
fn on_a_host(lan_allowed: bool, rules: Vec<Rule>) -> Table {
    let uk = tunnel("uk", 0, "route 10.7.0.0 255.255.0.0 net_gateway");
    let fr = tunnel("fr", 1, "redirect-gateway");
    let tunnels = vec![TunnelConfig { bypass: vec!["203.0.113.9/32".parse().unwrap()], ..uk }, fr];
    let on = |net: &str| OnLink { net: net.parse().unwrap(), device: "eth0".to_owned() };
    let facts = HostFacts {
        on_link: vec![on("192.168.1.0/24"), on("198.51.100.0/24")],
        routed: vec!["192.168.9.0/24".parse().unwrap()],
        addresses: vec!["192.168.1.5".parse().unwrap(), "198.51.100.5".parse().unwrap()],
        engines: vec![EngineSeen { slot: 1, device: Some("mrvpn1".to_owned()), ..EngineSeen::default() }],
        ..HostFacts::default()
    };
    let config = EngineConfig { rules, tunnels, lan_allowed, ..EngineConfig::new() };
    let mut table =
        Table::start(Start { facts, ..Start::of(config) }, vec![server(0, good(), ""), server(1, good(), "")]);
    table.run(MOMENT);
    assert_eq!(table.states(), ["up", "up"]);
    table
}

fn ask(table: &Table, to: &str, port: u16, from: Option<&str>) -> Explained {
    let query =
        FlowQuery { to: to.parse().unwrap(), port: Some(port), proto: 6, from: from.map(|from| from.parse().unwrap()) };
    table.fleet.explain(&query, &[], table.now)
}

fn short(explained: &Explained) -> (Option<&str>, &str, &str, &str) {
    let by = &explained.by;
    (explained.via.as_deref(), by.kind.as_str(), by.what.as_str(), explained.state.as_str())
}

#[test]
fn each_way_to_decide_is_told_with_tunnel_state_and_source() {
    let table = up();
    let rule = ask(&table, "198.51.100.9", 443, None);
    assert_eq!(short(&rule), (Some("fr"), "rule", "rule 1 of the file", "up"));
    assert_eq!(rule.by.name.as_deref(), Some("web"));
    let seen: IpAddr = "198.18.0.1".parse().unwrap();
    assert_eq!(rule.source, Some(SourceShown { seen, sent: Some("10.101.0.2".parse().unwrap()) }));
    let default = ask(&table, "198.51.100.9", 80, None);
    assert_eq!(short(&default), (Some("fr"), "default", "first in the file whose profile asks for it", "up"));
    let web = default.not.iter().find(|not| not.by.name.as_deref() == Some("web")).unwrap();
    assert_eq!(web.why, "its `port` does not match");
    let claim = ask(&table, "203.0.113.0", 80, None);
    assert_eq!(short(&claim), (Some("uk"), "claim", "203.0.113.0/32", "up"));
    let other = claim.not.iter().find(|not| not.via.as_deref() == Some("fr") && not.by.kind == "claim").unwrap();
    assert_eq!(other.why, "uk claims the same prefix and stands before it in the file");
    let source = ask(&table, "198.51.100.9", 80, Some("10.100.0.2"));
    assert_eq!(short(&source), (Some("uk"), "source", "the address that the program bound to", "up"));
    assert_eq!(source.source.unwrap().seen, "10.100.0.2".parse::<IpAddr>().unwrap());
    assert_eq!(short(&ask(&table, "192.0.2.200", 80, None)), (Some("block"), "rule", "rule 2 of the file", "refused"));
    assert_eq!(short(&ask(&table, "192.0.2.65", 80, None)), (Some("direct"), "rule", "rule 3 of the file", "up"));
    let bound = ask(&table, "192.0.2.65", 80, Some("10.100.0.2"));
    assert_eq!(bound.state, "refused", "a bound flow cannot leave in clear");
    assert!(bound.refused.unwrap().contains("cannot go direct"));
    let v6 = ask(&table, "2001:db8::1", 80, None);
    assert_eq!((v6.via.as_deref(), v6.state.as_str()), (Some("fr"), "refused"), "fr has no address of that family");
    assert_eq!((v6.source.unwrap().sent, v6.refused.as_deref()), (None, Some("fr has no IPv6 address")));
}

#[test]
fn a_tunnel_that_is_away_holds_and_then_refuses_and_what_nothing_claims_is_the_host_s() {
    let mut table = up();
    table.off = vec![true, true];
    table.servers[1].say("RESTART", table.now);
    table.off[1] = false;
    table.run(Duration::ZERO);
    table.off[1] = true;
    let now = ask(&table, "198.51.100.9", 443, None);
    assert!(now.state == "held" || now.state == "up");
    table.run(Duration::from_secs(8));
    assert_eq!(ask(&table, "198.51.100.9", 443, None).state, "refused");
    table.verb("fr", TunnelVerb::Stop).unwrap();
    let free = ask(&table, "198.51.100.9", 80, None);
    assert_eq!(short(&free), (None, "fallback", "left to this host: nothing claims it", "up"));
    assert_eq!((free.source, free.not.is_empty()), (None, false));
}

#[test]
fn live_flows_are_shown_with_the_name_of_their_tunnel() {
    let table = up();
    let end = |text: &str| (text.parse().unwrap(), 5_000);
    let flow = |tunnel: TunnelId, lease_alive| LiveFlow {
        protocol: 17,
        seen: end("198.18.0.1"),
        sent: end("10.100.0.2"),
        remote: end("203.0.113.0"),
        tunnel,
        lease_alive,
    };
    let query = FlowQuery { to: "203.0.113.0".parse().unwrap(), port: None, proto: 17, from: None };
    let explained = table.fleet.explain(&query, &[flow(UK, true), flow(FR, false)], table.now);
    let [live] = &explained.live[..] else { panic!("{:?}", explained.live) };
    assert_eq!((live.proto.as_str(), live.sent.as_str(), live.via.as_str()), ("udp", "10.100.0.2:5000", "uk"));
    assert_eq!(explained.by, Because { kind: "claim".to_owned(), name: None, what: "203.0.113.0/32".to_owned() });
}

#[test]
fn what_the_host_keeps_is_told_with_the_reason_and_with_the_tunnel_that_does_not_get_it() {
    let table = on_a_host(true, Vec::new());
    let kept = [
        ("192.168.1.9", "it is in 192.168.1.0/24, a network that this machine is on (eth0)"),
        ("192.168.9.1", "this machine has a route of its own to 192.168.9.0/24"),
        ("192.168.1.5", "it is an address of this machine itself"),
        ("127.0.0.1", "it is an address of this machine itself"),
        ("::1", "it is an address of this machine itself"),
        ("198.18.0.1", "it is an address of this machine itself"),
        ("10.100.0.2", "it is an address of this machine itself"),
        ("198.51.100.255", "it is the broadcast address of 198.51.100.0/24, a network of this machine (eth0)"),
        ("224.0.0.251", "multicast, broadcast and link-local addresses (224.0.0.0/4) stay on the LAN"),
        ("fe80::1", "multicast, broadcast and link-local addresses (fe80::/10) stay on the LAN"),
        ("10.7.1.1", "the profile of uk leaves 10.7.0.0/16 to `net_gateway`"),
        ("203.0.113.9", "`bypass` of uk names it"),
        ("198.18.32.9", "198.18.32.0/19 is of another engine of mrvpn on this machine"),
    ];
    for (to, why) in kept {
        let explained = ask(&table, to, 80, None);
        assert_eq!(short(&explained), (None, "fallback", format!("left to this host: {why}").as_str(), "up"), "{to}");
        assert!(explained.source.is_none() && explained.refused.is_none(), "{to}");
        let not = &explained.not[0];
        assert_eq!(not.why, "this host keeps it", "{to}");
        assert!(explained.not.iter().all(|not| not.via.is_some()), "{to}: {:?}", explained.not);
    }
    let public = ask(&table, "198.51.100.9", 80, None);
    assert_eq!(public.via.as_deref(), Some("fr"), "a public network is nobody's LAN");
    assert_eq!(ask(&table, "203.0.113.10", 80, None).via.as_deref(), Some("fr"));
}

#[test]
fn what_comes_in_and_goes_nowhere_is_told_with_the_reason() {
    let table = on_a_host(true, Vec::new());
    for (to, from, why) in [
        ("198.18.0.254", None, "it is an address of mrvpn's own, where nobody answers"),
        ("203.0.113.7", Some("192.168.1.5"), "192.168.1.5 is no address of mrvpn's interface"),
        ("10.100.255.255", None, "broadcast and multicast go through no tunnel"),
        ("2001:db8::7", None, "fr has no IPv6 address"),
    ] {
        let explained = ask(&table, to, 80, from);
        assert_eq!((explained.state.as_str(), explained.refused.as_deref()), ("refused", Some(why)), "{to}");
    }
    let rule = |via| Rule {
        name: None,
        to: vec!["192.168.1.9/32".parse().unwrap()],
        from: Vec::new(),
        proto: Vec::new(),
        port: Vec::new(),
        via,
    };
    let named = on_a_host(false, vec![rule(Target::Tunnel(UK))]);
    assert_eq!(short(&ask(&named, "192.168.1.9", 80, None)), (Some("uk"), "rule", "rule 1 of the file", "up"));
    assert_eq!(ask(&named, "192.168.1.8", 80, None).via.as_deref(), Some("fr"), "the LAN is blocked");
    let query = |port| FlowQuery { to: "192.168.1.1".parse().unwrap(), port: Some(port), proto: 17, from: None };
    let dhcp = named.fleet.explain(&query(67), &[], named.now);
    assert_eq!(dhcp.by.what, "left to this host: without DHCP no card keeps its address");
    assert_eq!(named.fleet.explain(&query(53), &[], named.now).via.as_deref(), Some("fr"));
}

/// Destinations and sources that lie in and around all that a plan knows.
const ENDS: [&str; 22] = [
    "192.168.1.9",
    "192.168.1.5",
    "192.168.9.1",
    "192.168.2.2",
    "198.51.100.9",
    "198.51.100.5",
    "10.7.1.1",
    "10.100.0.2",
    "10.100.7.7",
    "10.101.7.7",
    "203.0.113.0",
    "203.0.113.9",
    "8.8.8.8",
    "224.0.0.251",
    "255.255.255.255",
    "198.18.0.1",
    "198.18.0.254",
    "198.18.1.1",
    "198.19.0.9",
    "198.18.32.9",
    "2001:db8::7",
    "fe80::1",
];

#[test]
fn what_is_told_of_capture_is_what_the_host_does_of_each_flow_from_and_to_anywhere() {
    let rule = |to: &str, port: Option<u16>, via| Rule {
        name: None,
        to: vec![to.parse().unwrap()],
        from: Vec::new(),
        proto: Vec::new(),
        port: port.map(|port| mrvpn_router::PortRange { first: port, last: port }).into_iter().collect(),
        via,
    };
    let selective = vec![
        rule("8.8.0.0/16", Some(53), Target::Direct),
        rule("192.168.0.0/16", Some(80), Target::Tunnel(UK)),
        rule("192.168.9.0/24", None, Target::Block),
        rule("10.0.0.0/8", None, Target::Direct),
    ];
    for (lan_allowed, rules) in [(true, Vec::new()), (true, selective.clone()), (false, selective)] {
        let table = on_a_host(lan_allowed, rules);
        let sources = || std::iter::once(None).chain(ENDS.map(|end| Some(end.parse::<IpAddr>().unwrap())));
        for to in ENDS.map(|end| end.parse::<IpAddr>().unwrap()) {
            for from in sources().filter(|from| from.is_none_or(|from| from.is_ipv4() == to.is_ipv4())) {
                for (proto, port) in [(6, Some(80)), (17, Some(53)), (17, Some(67)), (1, None)] {
                    check_capture(&table, FlowQuery { to, port, proto, from });
                }
            }
        }
    }
}

fn check_capture(table: &Table, query: FlowQuery) {
    let FlowQuery { to, port, proto, from } = query;
    let verdict = table.host.route(&Probe { from, to, proto, port, mark: 0, local: true });
    let own = ["192.168.1.5", "198.51.100.5", "198.18.0.1", "198.18.1.1", "10.100.0.2"].map(|own| own.parse().unwrap());
    let captured = verdict != Verdict::Clear && !own.contains(&to);
    let explained = table.fleet.explain(&query, &[], table.now);
    let told = explained.state != "up" || explained.via.as_deref().is_some_and(|via| via != "direct");
    assert_eq!(told, captured, "{query:?}: {explained:?}");
}
