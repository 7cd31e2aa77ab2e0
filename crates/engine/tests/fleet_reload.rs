//! Another configuration while the engine runs: what is the same in both is not touched, and nothing of it is lost.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails there fails the test")]

mod table;

use std::net::Ipv4Addr;
use std::time::Duration;

use mrvpn_engine::status::TunnelStatus;
use mrvpn_engine::{EngineConfig, Reloaded, Request, TunnelConfig};
use mrvpn_proto::peer::TestServer;
use mrvpn_router::{PortRange, Rule, Target, TunnelId};
use table::{ANCHOR, Asked, Start, Table, ends, good, reply, server, tunnel, udp};

/// Claimed by nobody.
const ANYWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const MOMENT: Duration = Duration::from_secs(3);

fn servers(count: usize) -> Vec<TestServer> {
    (0..count).map(|place| server(place, good(), "")).collect()
}

fn config(tunnels: Vec<TunnelConfig>) -> EngineConfig {
    EngineConfig { tunnels, ..EngineConfig::new() }
}

/// Tunnels t0, t1, ... to the servers of the same places.
fn plain(count: usize) -> Vec<TunnelConfig> {
    (0..count).map(|place| tunnel(&format!("t{place}"), place, "")).collect()
}

fn up(tunnels: Vec<TunnelConfig>, servers: Vec<TestServer>) -> Table {
    let mut table = Table::start(Start::of(config(tunnels)), servers);
    table.run(MOMENT);
    assert!(table.states().iter().all(|state| state == "up"), "{:#?}", table.status());
    table.take_asked();
    table
}

fn inner(place: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 100 + u8::try_from(place).unwrap(), 0, 2)
}

/// What the server at `place` has a pushed route for.
fn claimed(place: usize) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, u8::try_from(place).unwrap())
}

fn named<'a>(statuses: &'a [TunnelStatus], name: &str) -> &'a TunnelStatus {
    statuses.iter().find(|tunnel| tunnel.name == name).unwrap()
}

/// Whether a packet from `source` to `destination` arrives at the server at `place`, and its answer here.
fn talks(table: &mut Table, source: Ipv4Addr, destination: Ipv4Addr, place: usize) -> bool {
    let refused = table.send(udp(source, destination, b"ask"));
    let seen = table.at_place(place);
    let [packet] = &seen[..] else { return false };
    table.answer_from(place, &reply(packet));
    refused.is_empty() && table.received().len() == 1
}

fn rule(to: Ipv4Addr, via: Target) -> Rule {
    Rule { name: None, to: vec![ipnet_host(to)], ..any(via) }
}

fn any(via: Target) -> Rule {
    Rule { name: None, to: Vec::new(), from: Vec::new(), proto: Vec::new(), port: Vec::new(), via }
}

fn ipnet_host(address: Ipv4Addr) -> ipnet::IpNet {
    std::net::IpAddr::V4(address).into()
}

// proves: F-25
#[test]
fn a_reload_that_changes_half_of_fifty_tunnels_touches_the_others_by_no_word() {
    const COUNT: usize = 50;
    let mut table = up(plain(COUNT), servers(COUNT));
    let ids: Vec<TunnelId> = (0..COUNT).map(|place| TunnelId::new(u16::try_from(place).unwrap())).collect();
    for place in 0..COUNT {
        assert!(talks(&mut table, inner(place), ANYWHERE, place));
    }
    table.take_asked();
    let mut other = plain(COUNT);
    for tunnel in other.iter_mut().step_by(2) {
        *tunnel = TunnelConfig { strict_server: true, ..tunnel.clone() };
    }
    let reloaded = table.reload(config(other)).unwrap();
    assert_eq!((reloaded.restarted.len(), reloaded.added.len(), reloaded.removed.len()), (COUNT / 2, 0, 0));
    // The others talk while those connect anew.
    for _ in 0..150 {
        for place in (1..COUNT).step_by(2) {
            assert!(talks(&mut table, inner(place), ANYWHERE, place), "t{place} lost a packet");
        }
        table.run(Duration::from_millis(20));
    }
    let asked = table.take_asked();
    for place in (1..COUNT).step_by(2) {
        assert!(!asked.iter().any(|asked| matches!(asked, Asked::Tunnel(id, _) if *id == ids[place])), "t{place}");
        assert_eq!(table.servers[place].sessions(), 1);
    }
    for place in (0..COUNT).step_by(2) {
        assert_eq!(table.servers[place].sessions(), 2);
        assert!(table.servers[place].said().iter().any(|text| text == "EXIT"), "server {place} was told");
        assert!(talks(&mut table, inner(place), Ipv4Addr::new(198, 51, 100, 8), place), "t{place} is back");
    }
}

#[test]
fn a_reload_without_a_change_asks_for_nothing_and_says_so() {
    let mut table = up(plain(2), servers(2));
    let reloaded = table.reload(config(plain(2))).unwrap();
    assert_eq!(reloaded, Reloaded::default());
    assert_eq!(table.take_asked(), [Asked::Policy]);
}

#[test]
fn lines_that_move_in_a_profile_change_nothing() {
    let mut table = up(plain(1), servers(1));
    let mut moved = plain(1);
    moved[0].profile.remotes[0].line += 7;
    assert_eq!(table.reload(config(moved)).unwrap(), Reloaded::default());
}

#[test]
fn what_only_the_engine_looks_at_is_changed_without_a_new_session() {
    let mut table = up(plain(2), servers(2));
    let mut other = plain(2);
    other[1].accept.clear();
    other[1].default = true;
    other[1].bypass = vec!["192.0.2.200/32".parse().unwrap()];
    other[1].warnings = vec!["mind it".to_owned()];
    let reloaded = table.reload(config(other)).unwrap();
    assert_eq!((reloaded.changed, reloaded.restarted), (vec!["t1".to_owned()], vec![]));
    assert_eq!(table.servers[1].sessions(), 1);
    let mut asked = udp(ANYWHERE, inner(1), b"hello");
    asked[22..24].copy_from_slice(&table::ACCEPTED.to_be_bytes());
    table.answer_from(1, &asked);
    assert!(table.received().is_empty(), "it is accepted no longer");
    let status = table.status();
    assert_eq!(status.default.unwrap().via, "t1");
    assert_eq!(named(&status.tunnels, "t1").warnings, ["mind it"]);
    assert!(table.applied.rules.iter().any(|rule| rule.to.is_some_and(|to| to.to_string() == "192.0.2.200/32")));
}

#[test]
fn the_order_of_the_file_counts_for_claims_default_and_status_and_costs_no_session() {
    let both = "\nroute 198.51.100.0 255.255.255.0\nredirect-gateway";
    let tunnels = || vec![tunnel("uk", 0, both), tunnel("fr", 1, both)];
    let mut table = up(tunnels(), servers(2));
    assert!(talks(&mut table, ANCHOR, ANYWHERE, 0), "equal claims: the first of the file");
    let mut turned = tunnels();
    turned.reverse();
    let reloaded = table.reload(config(turned)).unwrap();
    assert_eq!(reloaded.notes, ["traffic that no rule or claim names goes through fr from now on"]);
    assert!(!table.take_asked().iter().any(|asked| matches!(asked, Asked::Tunnel(..))));
    assert!(talks(&mut table, ANCHOR, Ipv4Addr::new(198, 51, 100, 8), 1));
    assert!(talks(&mut table, ANCHOR, Ipv4Addr::new(192, 0, 2, 77), 1));
    let status = table.status();
    assert_eq!(status.tunnels.iter().map(|tunnel| tunnel.name.as_str()).collect::<Vec<_>>(), ["fr", "uk"]);
    assert_eq!(status.default.unwrap().via, "fr");
    let equal = status.conflicts.iter().find(|conflict| conflict.what == "198.51.100.0/24").unwrap();
    assert_eq!(equal.tunnels, ["fr", "uk"]);
    assert_eq!(named(&status.tunnels, "uk").bind, ["198.18.1.1"], "a bind address stays its tunnel's");
}

#[test]
fn rules_name_the_tunnel_of_their_file_whatever_its_place_is() {
    let mut table = up(plain(3), servers(3));
    let mut turned = plain(3);
    turned.remove(0);
    turned.reverse();
    let rules = vec![rule(ANYWHERE, Target::Tunnel(TunnelId::new(0))), any(Target::Tunnel(TunnelId::new(1)))];
    let reloaded = table.reload(EngineConfig { rules, ..config(turned) }).unwrap();
    assert_eq!((reloaded.rules, reloaded.removed), (true, vec!["t0".to_owned()]));
    table.run(MOMENT);
    assert!(talks(&mut table, ANCHOR, ANYWHERE, 2), "the first of the file is t2");
    assert!(talks(&mut table, ANCHOR, Ipv4Addr::new(198, 51, 100, 8), 1), "the second is t1");
}

#[test]
fn a_tunnel_that_is_removed_closes_and_takes_all_that_it_had_and_one_of_its_name_begins_from_nothing() {
    let mut table = up(plain(2), servers(2));
    let reloaded = table.reload(config(plain(1))).unwrap();
    assert_eq!(reloaded.removed, ["t1"]);
    table.run(MOMENT);
    assert!(table.servers[1].said().iter().any(|text| text == "EXIT"));
    assert_eq!(table.states(), ["up"]);
    assert_eq!(table.status().interface.unwrap().addresses, ["198.18.0.1/32", "10.100.0.2/32", "198.18.1.1/32"]);
    assert!(!table.memory.tunnels.contains_key("t1"));
    assert!(!table.applied.routes.iter().any(|route| route.prefix == ipnet_host(claimed(1))));
    table.off[1] = true;
    table.reload(config(vec![tunnel("t1", 1, ""), tunnel("t0", 0, "")])).unwrap();
    table.run(MOMENT);
    assert!(named(&table.status().tunnels, "t1").routes.is_empty(), "what its server claimed once is forgotten");
    table.off[1] = false;
    table.run(Duration::from_secs(20));
    assert_eq!(table.states(), ["up", "up"]);
    assert!(talks(&mut table, inner(1), ANYWHERE, 1));
    assert!(talks(&mut table, inner(0), ANYWHERE, 0));
    let asked = table.take_asked();
    assert!(!asked.iter().any(|asked| matches!(asked, Asked::Tunnel(id, _) if id.index() == 0)), "t0 was not touched");
}

#[test]
fn a_number_is_not_given_again_before_its_session_is_over() {
    let mut table = up(plain(2), servers(3));
    // t1 says EXIT and waits for the answer, which does not come.
    table.off[1] = true;
    table.reload(config(vec![tunnel("t0", 0, ""), tunnel("new", 2, "")])).unwrap();
    let number = |table: &Table, name: &str| {
        table.fleet.tunnels().find(|tunnel| tunnel.config().name == name).map(|tunnel| tunnel.id().number())
    };
    assert_eq!((number(&table, "t1"), number(&table, "new")), (Some(1), Some(2)));
    assert_eq!(named(&table.status().tunnels, "new").bind, ["198.18.1.3"], "nor is its bind address");
    table.run(MOMENT);
    assert_eq!((number(&table, "t1"), number(&table, "new")), (None, Some(2)));
    assert!(talks(&mut table, inner(2), ANYWHERE, 2));
    table.reload(config(vec![tunnel("t0", 0, ""), tunnel("new", 2, ""), tunnel("t1", 1, "")])).unwrap();
    assert_eq!(number(&table, "t1"), Some(1));
}

#[test]
fn a_tunnel_with_another_profile_connects_anew_and_what_its_server_claimed_is_held_meanwhile() {
    let mut table = up(vec![tunnel("uk", 0, ""), tunnel("fr", 1, "redirect-gateway")], servers(3));
    assert!(talks(&mut table, ANCHOR, ANYWHERE, 1));
    table.off[2] = true;
    let reloaded = table.reload(config(vec![tunnel("uk", 2, ""), tunnel("fr", 1, "redirect-gateway")])).unwrap();
    assert_eq!(reloaded.restarted, ["uk"]);
    table.run(MOMENT);
    let refusal = table.send(udp(ANCHOR, claimed(0), b"ask"));
    assert_eq!(refusal.len(), 1, "refused at once");
    for place in 0..3 {
        assert!(table.at_place(place).is_empty(), "nothing of it at server {place}");
    }
    table.off[2] = false;
    table.run(Duration::from_secs(20));
    assert_eq!(table.states(), ["up", "up"]);
    assert!(talks(&mut table, ANCHOR, claimed(2), 2), "the new server's claim");
    assert!(talks(&mut table, ANCHOR, claimed(0), 1), "the old one's is gone: the default has it");
}

#[test]
fn what_cannot_be_run_is_refused_and_nothing_has_changed() {
    let mut table = up(plain(2), servers(2));
    let before = table.applied.clone();
    let one = |via| Rule { port: vec![PortRange { first: 1, last: 9 }], ..rule(ANYWHERE, via) };
    let alternating = (0..40).map(|n| one(if n % 2 == 0 { Target::Direct } else { Target::Block })).collect();
    let twice = vec![tunnel("t0", 0, ""), tunnel("t0", 1, "")];
    let refused = [
        (EngineConfig { rules: alternating, ..config(plain(1)) }, "at most 18 are possible"),
        (config((0..1001).map(|n| tunnel(&format!("t{n}"), 0, "")).collect()), "1001 tunnels"),
        (config(twice), "two tunnels are named t0"),
    ];
    for (config, why) in refused {
        let preview = table.fleet.preview(&config, table.now).unwrap_err();
        let error = table.reload(config).unwrap_err();
        assert!(error.message.contains(why), "{error}");
        assert!(!error.hint.is_empty());
        assert_eq!(preview, error);
        assert!(table.take_asked().is_empty());
    }
    assert_eq!(table.applied, before);
    assert!(talks(&mut table, inner(1), ANYWHERE, 1));
}

#[test]
fn a_certificate_that_cannot_be_used_is_that_tunnel_s_error_and_no_refusal() {
    let mut table = up(plain(2), servers(2));
    let mut other = plain(2);
    other[1].strict_server = true;
    let broken = vec![table::connectors(&config(plain(1))).remove(0), Err("`key` is no key".to_owned())];
    table.fleet.reload(config(other), Some(broken), table.now).unwrap();
    table.run(MOMENT);
    assert_eq!(table.states(), ["up", "failed"]);
    assert_eq!(table.status().tunnels[1].error.as_ref().unwrap().code, "profile-certificates");
}

#[test]
fn a_preview_changes_nothing_and_says_what_the_reload_then_does() {
    let mut table = up(plain(3), servers(4));
    let rules = vec![rule(ANYWHERE, Target::Tunnel(TunnelId::new(1)))];
    let mut tunnels =
        vec![tunnel("new", 3, "route 192.168.7.0 255.255.255.0"), tunnel("t2", 2, ""), tunnel("t0", 0, "")];
    tunnels[1].strict_server = true;
    let other = EngineConfig { rules, ..config(tunnels) };
    let before = table.applied.clone();
    let (told, plan) = table.fleet.preview(&other, table.now).unwrap();
    assert!(table.take_asked().is_empty());
    let mut fleet_only = table;
    let reloaded = fleet_only.fleet.reload(other.clone(), Some(table::connectors(&other)), fleet_only.now).unwrap();
    assert_eq!(reloaded, told);
    assert_eq!(told.added, ["new"]);
    assert_eq!((told.removed, told.restarted), (vec!["t1".to_owned()], vec!["t2".to_owned()]));
    let asked = std::iter::from_fn(|| fleet_only.fleet.poll_request()).find_map(|request| match request {
        Request::Plan(plan) => Some(plan),
        Request::Tunnel { .. } | Request::Policy(_) | Request::Remember(_) | Request::Event(_) => None,
    });
    assert_ne!(plan, before);
    assert_eq!(asked, Some(plan));
}

#[test]
fn an_earlier_tunnel_whose_offer_came_later_takes_over_at_a_reload_and_not_before() {
    let mut table = up(
        vec![tunnel("uk", 0, ""), tunnel("fr", 1, "redirect-gateway")],
        vec![server(0, good(), ""), server(1, good(), "")],
    );
    assert_eq!(table.status().default.unwrap().via, "fr");
    // uk's server begins to offer.
    table.servers[0] = server(0, good(), ",redirect-gateway def1");
    table.run(Duration::from_secs(30));
    let default = table.status().default.unwrap();
    assert_eq!((default.via.as_str(), default.waiting), ("fr", vec!["uk".to_owned()]));
    assert!(talks(&mut table, ANCHOR, ANYWHERE, 1));
    table.reload(config(vec![tunnel("uk", 0, ""), tunnel("fr", 1, "redirect-gateway")])).unwrap();
    assert_eq!(table.status().default.unwrap().via, "uk");
    assert!(talks(&mut table, ANCHOR, Ipv4Addr::new(198, 51, 100, 8), 0));
    let seen = table.send(udp(ANCHOR, ANYWHERE, b"more"));
    assert!(seen.is_empty());
    assert_eq!(
        table.at_place(1).iter().map(|packet| ends(packet)).collect::<Vec<_>>(),
        [(inner(1), ANYWHERE)],
        "a flow stays"
    );
}

#[test]
fn settings_that_the_host_was_set_up_with_wait_for_the_next_up() {
    let mut table = up(plain(1), servers(1));
    let mut other = config(plain(1));
    other.mark = (0x5500_0000, 0xff00_0000);
    other.alias_pool = Some(Ipv4Addr::new(10, 253, 0, 0));
    let reloaded = table.reload(other).unwrap();
    let next = |what: &str| format!("{what} takes effect with the next `mrvpn up`");
    assert_eq!(reloaded.notes, [next("`mark`"), next("`alias_pool`")]);
    assert!(!table.take_asked().contains(&Asked::Plan));
}

#[test]
fn another_password_is_tried_though_the_old_one_was_refused() {
    let mut wrong = plain(1);
    wrong[0].credentials.as_mut().unwrap().password = mrvpn_profile::Secret::new("old".to_owned());
    let mut table = Table::start(Start::of(config(wrong)), servers(1));
    table.run(MOMENT);
    assert_eq!(table.states(), ["failed"]);
    assert_eq!(table.reload(config(plain(1))).unwrap().restarted, ["t0"]);
    table.run(MOMENT);
    assert_eq!(table.states(), ["up"]);
}
