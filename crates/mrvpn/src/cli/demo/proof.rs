//! What is proved: the same public address is asked in eight ways, and the far end must be the one that this way leads to,
//! and must have seen the address that its own server gave. And once before the tunnels are there, and once after.

use std::net::{IpAddr, Ipv4Addr};

use mrvpn_engine::{Status, TunnelStatus};
use mrvpn_region::place::Seen;
use serde::Serialize;

use super::asking::{Proto, ask};
use super::map::{CLIENT, INTERNET, NO_RULE, PUBLIC, SPOTS};

/// One request and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Proof {
    /// Address and port, and where the program is bound to.
    pub(super) request: String,
    /// The same in words.
    #[serde(skip)]
    pub(super) words: String,
    /// The tunnel that it has to take.
    pub(super) via: String,
    /// What decides so: `rule`, `source` or `default`; `none` without tunnels.
    pub(super) by: &'static str,
    /// The place that answered.
    pub(super) region_seen: Option<String>,
    /// The client's address that it saw.
    pub(super) client_seen: Option<String>,
    /// Both are as they have to be, over TCP and over UDP.
    pub(super) ok: bool,
    /// Why there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// One way to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    words: String,
    by: &'static str,
    via: String,
    port: u16,
    bound: Option<Ipv4Addr>,
    /// The address that the far end has to see.
    client: Option<Ipv4Addr>,
}

/// Without a tunnel.
pub(super) fn in_clear(words: &str) -> Proof {
    let via = INTERNET.to_owned();
    judge(Question { words: words.to_owned(), by: "none", via, port: NO_RULE, bound: None, client: Some(CLIENT) })
}

/// Each way in its turn; `given` is what each server says it gave.
pub(super) fn all(status: &Status, given: &[Option<Ipv4Addr>]) -> Vec<Proof> {
    questions(status, given).into_iter().map(judge).collect()
}

/// By each rule, by each assigned address and one bind address, and by nothing.
fn questions(status: &Status, given: &[Option<Ipv4Addr>]) -> Vec<Question> {
    let tunnels: Vec<(&TunnelStatus, Option<Ipv4Addr>)> = status.tunnels.iter().zip(given.iter().copied()).collect();
    let mut all = Vec::new();
    for ((tunnel, client), spot) in tunnels.iter().zip(SPOTS) {
        let words = format!("port {}: a rule says via {}", spot.port, tunnel.name);
        all.push(Question { port: spot.port, ..question(tunnel, *client, "rule", words) });
    }
    for (tunnel, client) in &tunnels {
        all.push(bound(tunnel, *client, &tunnel.presented, ""));
    }
    if let Some((tunnel, client)) = tunnels.last() {
        all.push(bound(tunnel, *client, &tunnel.bind, &format!(" (always {})", tunnel.name)));
    }
    let default = status.default.as_ref();
    if let Some((tunnel, client)) = tunnels.iter().find(|(tunnel, _)| default.is_some_and(|it| it.via == tunnel.name)) {
        let words = format!("no rule, not bound: {} is the default", tunnel.name);
        all.push(question(tunnel, *client, "default", words));
    }
    all
}

fn bound(tunnel: &TunnelStatus, client: Option<Ipv4Addr>, to: &[String], note: &str) -> Question {
    let bound = first(to);
    let address = bound.map_or_else(|| String::from("no address"), |address| address.to_string());
    Question { bound, ..question(tunnel, client, "source", format!("by a program bound to {address}{note}")) }
}

fn question(tunnel: &TunnelStatus, client: Option<Ipv4Addr>, by: &'static str, words: String) -> Question {
    Question { words, by, via: tunnel.name.clone(), port: NO_RULE, bound: None, client }
}

fn judge(question: Question) -> Proof {
    let answers = [Proto::Tcp, Proto::Udp].map(|proto| ask(proto, question.port, question.bound));
    let expected = question.client.map(IpAddr::V4);
    let right = |seen: &Seen| seen.place == question.via && Some(seen.client.ip()) == expected;
    let ok = answers.iter().all(|answer| answer.as_ref().is_ok_and(right));
    let error = answers.iter().find_map(|answer| answer.as_ref().err()).map(ToString::to_string);
    // Where the two differ the wrong one is shown.
    let seen = answers.iter().flatten().min_by_key(|seen| right(seen));
    let from = question.bound.map_or_else(String::new, |address| format!(" from {address}"));
    Proof {
        region_seen: seen.map(|seen| seen.place.clone()),
        client_seen: seen.map(|seen| seen.client.ip().to_string()),
        request: format!("{PUBLIC}:{}{from}", question.port),
        words: question.words,
        via: question.via,
        by: question.by,
        ok,
        error,
    }
}

/// The first address of a list, without the length of its network.
pub(super) fn first(addresses: &[String]) -> Option<Ipv4Addr> {
    addresses.first()?.split('/').next()?.parse().ok()
}
