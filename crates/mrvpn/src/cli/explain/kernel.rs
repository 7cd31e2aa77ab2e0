//! Whether the kernel hands a flow to the engine at all. The engine knows by what it would decide; but this machine's own
//! addresses, its LAN, multicast, and what other programs route are never handed to it. How the kernel is asked is
//! `lookup.rs`.

mod lookup; // one question to the kernel

use std::net::IpAddr;

use mrvpn_engine::explained::{Because, NotShown};
use mrvpn_engine::{Explained, FlowQuery};

/// What the kernel does with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    /// It is for this machine itself.
    Here,
    /// The engine gets it.
    Engine,
    /// It leaves by another device.
    Device(String),
    /// There is no way, or this is not the engine's network namespace.
    Unknown,
}

/// The explanation as it holds on this machine; `device` is the engine's interface.
pub(super) fn as_routed(explained: Explained, query: &FlowQuery, device: &str) -> Explained {
    let packet = lookup::Packet { to: query.to, from: query.from, proto: query.proto, port: query.port };
    match kept(&explained, &lookup::way(packet, device)) {
        Some(why) => left_to_host(explained, why),
        None => explained,
    }
}

/// Why the kernel keeps a flow that the engine would send through a tunnel, or refuse; `None`: it does not.
fn kept(explained: &Explained, way: &Way) -> Option<String> {
    if explained.via.as_deref() == Some("direct") || explained.by.kind == "fallback" {
        return None;
    }
    match way {
        Way::Here => Some(String::from("it is an address of this machine itself")),
        Way::Engine => None,
        Way::Device(_) | Way::Unknown if stays_on_the_link(explained.flow.to) => {
            Some(String::from("multicast, broadcast and link-local addresses stay on the LAN"))
        }
        Way::Device(device) => Some(format!(
            "this machine's own routes keep it and send it by {device}: it is on its LAN, or another program routes it"
        )),
        Way::Unknown => None,
    }
}

fn stays_on_the_link(to: IpAddr) -> bool {
    match to {
        IpAddr::V4(to) => to.is_multicast() || to.is_broadcast() || to.is_link_local(),
        IpAddr::V6(to) => to.is_multicast() || to.is_unicast_link_local(),
    }
}

/// What the engine said becomes one of the ways that it does not take.
fn left_to_host(explained: Explained, why: String) -> Explained {
    let engine =
        NotShown { via: explained.via, by: explained.by, why: String::from("the kernel does not hand it to mrvpn") };
    let others = explained.not.into_iter().filter(|not| not.via.is_some());
    Explained {
        via: None,
        by: Because { kind: String::from("fallback"), name: None, what: why },
        state: String::from("up"),
        source: None,
        not: std::iter::once(engine).chain(others).collect(),
        ..explained
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrvpn_engine::explained::FlowShown;

    fn explained(to: &str, via: Option<&str>, kind: &str) -> Explained {
        Explained {
            flow: FlowShown { proto: String::from("icmp"), to: to.parse().unwrap(), port: None, from: None },
            via: via.map(str::to_owned),
            by: Because { kind: kind.to_owned(), name: None, what: String::new() },
            state: String::from("refused"),
            source: None,
            not: vec![NotShown {
                via: None,
                by: Because { kind: String::from("fallback"), name: None, what: String::new() },
                why: String::from("there is a default tunnel"),
            }],
            live: Vec::new(),
        }
    }

    fn check(explained: Explained, way: &Way, expected: bool) {
        assert_eq!(kept(&explained, way).is_some(), expected, "{explained:?} {way:?}");
    }

    #[test]
    fn what_the_kernel_routes_elsewhere_is_not_in_the_tunnel_s_hands() {
        let lan = Way::Device(String::from("eth0"));
        for kind in ["default", "claim", "rule", "source"] {
            check(explained("192.168.77.1", Some("uk"), kind), &lan, true);
            check(explained("192.168.77.2", Some("uk"), kind), &Way::Here, true);
            check(explained("203.0.113.9", Some("uk"), kind), &Way::Engine, false);
            check(explained("203.0.113.9", Some("uk"), kind), &Way::Unknown, false);
        }
        check(explained("203.0.113.9", Some("block"), "rule"), &lan, true);
        check(explained("203.0.113.9", Some("direct"), "rule"), &lan, false);
        check(explained("203.0.113.9", None, "fallback"), &lan, false);
        check(explained("224.0.0.251", None, "default"), &lan, true);
        check(explained("224.0.0.251", Some("uk"), "rule"), &Way::Engine, false);
        check(explained("fe80::1", Some("uk"), "default"), &Way::Unknown, true);
    }

    #[test]
    fn what_the_engine_said_is_told_as_a_way_that_it_does_not_take() {
        let shown = left_to_host(explained("192.168.77.1", Some("uk"), "default"), String::from("LAN"));
        assert_eq!((shown.via, shown.state.as_str(), shown.by.kind.as_str()), (None, "up", "fallback"));
        let not: Vec<_> = shown.not.iter().map(|not| (not.via.as_deref(), not.by.kind.as_str())).collect();
        assert_eq!(not, [(Some("uk"), "default")]);
    }
}
