//! What no plan can know: policy rules of other programs that stand before ours and take a flow away, as those of other
//! VPNs do. The kernel is asked where the engine would get it; how is `lookup.rs`'s.

mod lookup; // one question to the kernel

use mrvpn_engine::explained::{Because, NotShown};
use mrvpn_engine::{Explained, FlowQuery};

/// The explanation as it holds on this machine; `device` is the engine's interface.
pub(super) fn as_routed(explained: Explained, query: &FlowQuery, device: &str) -> Explained {
    let packet = lookup::Packet { to: query.to, from: query.from, proto: query.proto, port: query.port };
    if !is_captured(&explained) {
        return explained;
    }
    match lookup::other_way(packet, device) {
        Some(other) => taken_away(explained, &other),
        None => explained,
    }
}

/// Whether the engine would get it.
fn is_captured(explained: &Explained) -> bool {
    explained.state != "up" || !matches!(explained.via.as_deref(), None | Some("direct"))
}

/// What the engine said becomes one of the ways that it does not take.
fn taken_away(explained: Explained, device: &str) -> Explained {
    let what = format!("left to this host: a policy rule of another program comes first and sends it by {device}");
    let why = String::from("another program's rule comes first");
    let engine = explained.via.map(|via| NotShown { via: Some(via), by: explained.by, why });
    let others = explained.not.into_iter().filter(|not| not.via.is_some());
    Explained {
        via: None,
        by: Because { kind: String::from("fallback"), name: None, what },
        state: String::from("up"),
        source: None,
        refused: None,
        not: engine.into_iter().chain(others).collect(),
        ..explained
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrvpn_engine::explained::FlowShown;

    fn explained(via: Option<&str>, kind: &str, state: &str) -> Explained {
        let by = |kind: &str| Because { kind: kind.to_owned(), name: None, what: String::new() };
        Explained {
            flow: FlowShown { proto: String::from("icmp"), to: [203, 0, 113, 9].into(), port: None, from: None },
            via: via.map(str::to_owned),
            by: by(kind),
            state: state.to_owned(),
            source: None,
            refused: Some(String::from("uk is not up")),
            not: vec![NotShown { via: None, by: by("fallback"), why: String::from("there is a default tunnel") }],
            live: Vec::new(),
        }
    }

    #[test]
    fn the_kernel_is_asked_only_of_what_the_engine_would_get() {
        assert!(is_captured(&explained(Some("uk"), "default", "up")));
        assert!(is_captured(&explained(Some("uk"), "rule", "refused")));
        assert!(is_captured(&explained(Some("block"), "rule", "refused")));
        assert!(is_captured(&explained(None, "default", "held")));
        assert!(is_captured(&explained(Some("direct"), "rule", "refused")));
        assert!(!is_captured(&explained(Some("direct"), "rule", "up")));
        assert!(!is_captured(&explained(None, "fallback", "up")));
    }

    #[test]
    fn what_the_engine_said_is_told_as_a_way_that_it_does_not_take() {
        let shown = taken_away(explained(Some("uk"), "default", "refused"), "tailscale0");
        assert_eq!((shown.via, shown.state.as_str(), shown.by.kind.as_str()), (None, "up", "fallback"));
        assert!(shown.by.what.contains("tailscale0") && shown.refused.is_none());
        let not: Vec<_> = shown.not.iter().map(|not| (not.via.as_deref(), not.by.kind.as_str())).collect();
        assert_eq!(not, [(Some("uk"), "default")]);
        assert!(taken_away(explained(None, "default", "held"), "tailscale0").not.is_empty());
    }
}
