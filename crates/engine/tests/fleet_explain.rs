//! Why a flow goes where it goes, as the fleet says it.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails there fails the test")]

mod table;

use std::net::IpAddr;
use std::time::Duration;

use mrvpn_engine::explained::{Because, SourceShown};
use mrvpn_engine::{EngineConfig, Explained, FlowQuery, TunnelVerb};
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
    let v6 = ask(&table, "2001:db8::1", 80, None);
    assert_eq!((v6.via.as_deref(), v6.state.as_str()), (Some("fr"), "refused"), "fr has no address of that family");
    assert_eq!(v6.source.unwrap().sent, None);
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
    assert_eq!(short(&free), (None, "fallback", "nothing claims it: it is left to this host", "up"));
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
