//! Start, stop and restart of one tunnel: what it lets go, who carries that now, and that nobody else notices.

mod table;

use std::net::Ipv4Addr;
use std::time::Duration;

use mrvpn_engine::{EngineConfig, TunnelVerb};
use mrvpn_profile::{Credentials, Secret};
use mrvpn_proto::peer::Login;
use mrvpn_router::{Rule, Target};
use table::{ANCHOR, Asked, FR, Start, Table, UK, ends, good, server, tunnel, udp};

/// Claimed by uk through a pushed route.
const CLAIMED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 0);
const MOMENT: Duration = Duration::from_secs(3);

fn two(uk_lines: &str, fr_lines: &str) -> EngineConfig {
    EngineConfig { tunnels: vec![tunnel("uk", 0, uk_lines), tunnel("fr", 1, fr_lines)], ..EngineConfig::new() }
}

fn up(config: EngineConfig) -> Table {
    let mut table = Table::start(Start::of(config), vec![server(0, good(), ""), server(1, good(), "")]);
    table.run(MOMENT);
    assert_eq!(table.states(), ["up", "up"], "{:#?}", table.status());
    table.take_asked();
    table
}

fn destinations(packets: &[Vec<u8>]) -> Vec<Ipv4Addr> {
    packets.iter().map(|packet| ends(packet).1).collect()
}

fn touched(asked: &[Asked], tunnel: mrvpn_router::TunnelId) -> bool {
    asked.iter().any(|asked| matches!(asked, Asked::Tunnel(id, _) if *id == tunnel))
}

#[test]
fn stopping_lets_go_what_the_server_claimed_and_says_who_carries_it_now() {
    for (fr_lines, said, arrives) in [
        ("", "uk is stopped. 203.0.113.0/32 and 10.100.0.0/16 are left to this host.", false),
        ("redirect-gateway", "uk is stopped. 203.0.113.0/32 and 10.100.0.0/16 go through fr.", true),
        (
            "route 203.0.113.0",
            "uk is stopped. 203.0.113.0/32 goes through fr; 10.100.0.0/16 is left to this host.",
            true,
        ),
    ] {
        let mut table = up(two("", fr_lines));
        assert_eq!(table.verb("uk", TunnelVerb::Stop).unwrap(), said);
        assert_eq!(table.states(), ["stopped", "up"]);
        table.run(MOMENT);
        assert!(table.servers[0].said().iter().any(|text| text == "EXIT"));
        table.send(udp(ANCHOR, CLAIMED, b"ask"));
        assert_eq!(destinations(&table.at_server(FR)), if arrives { vec![CLAIMED] } else { vec![] });
        assert!(!touched(&table.take_asked(), FR), "the other is not touched");
        let status = table.status();
        assert_eq!((status.state.as_str(), status.tunnels[0].routes.len()), ("up", 0));
        assert_eq!(table.memory.tunnels["uk"].pushed, None, "it is let go for the next engine too");
    }
}

#[test]
fn rules_keep_what_they_give_to_a_stopped_tunnel() {
    let to = vec!["203.0.113.0/24".parse().unwrap()];
    let via = Target::Tunnel(UK);
    let rule = Rule { name: None, to, from: Vec::new(), proto: Vec::new(), port: Vec::new(), via };
    let mut table = up(EngineConfig { rules: vec![rule], ..two("", "redirect-gateway") });
    assert_eq!(table.verb("uk", TunnelVerb::Stop).unwrap(), "uk is stopped. 10.100.0.0/16 goes through fr.");
    let refusal = table.send(udp(ANCHOR, CLAIMED, b"ask"));
    assert_eq!(refusal.len(), 1);
    assert!(table.at_server(FR).is_empty());
}

#[test]
fn the_next_that_offers_follows_a_default_that_is_stopped_or_nobody() {
    let mut table = up(two("redirect-gateway", "redirect-gateway"));
    let said = table.verb("uk", TunnelVerb::Stop).unwrap();
    assert_eq!(said, "uk is stopped. 203.0.113.0/32 and 10.100.0.0/16 go through fr; default: fr.");
    assert_eq!(table.status().default.unwrap().via, "fr");
    let said = table.verb("fr", TunnelVerb::Stop).unwrap();
    assert!(said.ends_with("default: none, what nothing claims is left to this host."), "{said}");
    assert_eq!(table.status().default, None);
    assert_eq!(table.status().state, "down");
    assert_eq!(table.verb("fr", TunnelVerb::Stop).unwrap(), "fr is stopped already");
}

#[test]
fn a_stopped_tunnel_stays_stopped_and_starts_when_it_is_told_to() {
    let mut table = up(two("", ""));
    table.verb("uk", TunnelVerb::Stop).unwrap();
    table.run(Duration::from_secs(300));
    assert_eq!(table.states(), ["stopped", "up"]);
    assert_eq!(table.servers[0].sessions(), 1);
    assert!(table.fleet.is_ready());
    assert_eq!(table.verb("uk", TunnelVerb::Start).unwrap(), "uk connects");
    table.run(MOMENT);
    assert_eq!(table.states(), ["up", "up"]);
    table.send(udp(ANCHOR, CLAIMED, b"ask"));
    assert_eq!(destinations(&table.at_server(UK)), [CLAIMED]);
    assert_eq!(table.verb("uk", TunnelVerb::Start).unwrap(), "uk is up already");
    assert!(!touched(&table.take_asked(), FR));
}

#[test]
fn a_tunnel_that_is_started_while_it_still_says_goodbye_connects_after_that() {
    let mut table = up(two("", ""));
    table.off[0] = true;
    table.verb("uk", TunnelVerb::Stop).unwrap();
    table.verb("uk", TunnelVerb::Start).unwrap();
    assert_eq!(table.states()[0], "reconnecting");
    table.off[0] = false;
    table.run(MOMENT);
    assert_eq!(table.states(), ["up", "up"]);
    assert_eq!(table.servers[0].sessions(), 2);
}

#[test]
fn a_restart_keeps_claims_and_flows_where_the_same_address_comes_back() {
    let mut table = up(two("", "redirect-gateway"));
    table.send(udp(ANCHOR, CLAIMED, b"before"));
    assert_eq!(table.at_server(UK).len(), 1);
    table.off[0] = true;
    assert_eq!(table.verb("uk", TunnelVerb::Restart).unwrap(), "uk disconnects and connects again");
    assert!(table.send(udp(ANCHOR, CLAIMED, b"waits")).is_empty(), "held for a moment");
    table.run(MOMENT);
    assert_eq!(table.received().len(), 1, "then refused");
    assert_eq!(table.send(udp(ANCHOR, CLAIMED, b"ask")).len(), 1, "at once");
    table.off[0] = false;
    table.run(Duration::from_secs(20));
    assert_eq!(table.states(), ["up", "up"]);
    assert!(table.send(udp(ANCHOR, CLAIMED, b"after")).is_empty());
    assert_eq!(destinations(&table.at_server(UK)), [CLAIMED]);
    assert!(table.at_server(FR).is_empty(), "nothing of it went elsewhere");
}

#[test]
fn a_refused_password_is_tried_once_more_when_its_tunnel_is_started() {
    let wrong = || Login::Only(Credentials { user: "ann".to_owned(), password: Secret::new("other".to_owned()) });
    let servers = vec![server(0, wrong(), ""), server(1, wrong(), "")];
    let mut table = Table::start(Start::of(two("", "")), servers);
    table.run(MOMENT);
    assert_eq!(table.states(), ["failed", "failed"]);
    assert!(table.fleet.is_hopeless());
    table.verb("fr", TunnelVerb::Start).unwrap();
    table.run(MOMENT);
    assert_eq!(table.states(), ["failed", "failed"]);
    assert_eq!(table.servers[1].sessions(), 1);
    table.servers.iter_mut().for_each(|server| server.set_login(good()));
    table.verb("uk", TunnelVerb::Start).unwrap();
    table.verb("fr", TunnelVerb::Start).unwrap();
    table.run(MOMENT);
    assert_eq!(table.states(), ["up", "up"]);
}

#[test]
fn a_name_that_is_no_tunnel_s_is_refused_with_the_one_that_was_meant_or_all() {
    let mut table = up(two("", ""));
    let refused = table.verb("u", TunnelVerb::Stop).unwrap_err();
    assert_eq!((refused.message.as_str(), refused.hint.as_str()), ("there is no tunnel u", "did you mean uk?"));
    let refused = table.verb("germany", TunnelVerb::Stop).unwrap_err();
    assert_eq!(refused.hint, "the tunnels are uk, fr");
    assert!(table.take_asked().is_empty());
}

#[test]
fn a_reload_leaves_a_stopped_tunnel_stopped_and_starting_it_uses_the_new_profile() {
    let mut table = up(two("", ""));
    table.verb("uk", TunnelVerb::Stop).unwrap();
    table.run(MOMENT);
    let reloaded = table.reload(two("route 192.168.44.0 255.255.255.0", "")).unwrap();
    assert_eq!((reloaded.changed, reloaded.restarted), (vec!["uk".to_owned()], vec![]));
    table.run(MOMENT);
    assert_eq!(table.states(), ["stopped", "up"]);
    assert!(table.status().tunnels[0].routes.is_empty());
    table.verb("uk", TunnelVerb::Start).unwrap();
    assert_eq!(table.status().tunnels[0].routes[0], "192.168.44.0/24");
    table.run(MOMENT);
    assert_eq!(table.states(), ["up", "up"]);
}
