//! Which tunnel a packet takes: the one place where that is decided. It knows neither the state of a tunnel nor a flow
//! table; a flow keeps what was decided for its first packet, and what becomes of it while its tunnel is down is
//! `admit.rs`'s. The order is: rule, source, claim, default, fallback. Why not another is told in `explain.rs`.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::packet::protocol;
use crate::{Attachment, DefaultChoice, Fallback, Field, Policy, Rule, Target, TunnelId};

/// What is looked at of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FlowTuple {
    /// Source address, as the app has it.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Source port, of protocols that have ports.
    pub source_port: Option<u16>,
    /// Destination port, of protocols that have ports.
    pub destination_port: Option<u16>,
}

/// Where a flow goes, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pick {
    /// Where.
    pub via: Via,
    /// Why.
    pub by: By,
}

/// Where a flow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Via {
    /// Through this tunnel, or nowhere.
    Tunnel(TunnelId),
    /// As if mrvpn did not run. It is not captured where the host can say so; inside the interface it is refused.
    Direct,
    /// Nowhere.
    Block,
    /// To the default tunnel, once that is known.
    Undecided,
    /// Nothing claims it: left to the host.
    Nobody,
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum By {
    /// The rule at this place of the file, from 0.
    Rule(usize),
    /// The source that the app bound to.
    Source,
    /// This claim.
    Claim(IpNet),
    /// The default.
    Default,
    /// The fallback.
    Fallback,
    /// The device or namespace that it came from.
    Attachment,
}

/// Decides where `flow`, which came from `attachment`, goes.
#[must_use]
pub fn pick(policy: &Policy, attachment: Attachment, flow: &FlowTuple) -> Pick {
    let rule = policy.rules().iter().enumerate().find(|(_, rule)| rule.matches(flow));
    match (attachment, rule) {
        (Attachment::Only(tunnel), Some((_, Rule { via: Target::Tunnel(_) | Target::Direct, .. })) | None) => {
            Pick { via: Via::Tunnel(tunnel), by: By::Attachment }
        }
        (_, Some((place, rule))) => Pick { via: rule.via.into(), by: By::Rule(place) },
        (Attachment::Prefer(tunnel), None) => Pick { via: Via::Tunnel(tunnel), by: By::Attachment },
        (Attachment::Rules, None) => by_address(policy, flow),
    }
}

/// Source, claim, default, fallback.
fn by_address(policy: &Policy, flow: &FlowTuple) -> Pick {
    if let Some(tunnel) = policy.tunnel_of_source(flow.source) {
        return Pick { via: Via::Tunnel(tunnel), by: By::Source };
    }
    if let Some((prefix, tunnel)) = policy.claim_of(flow.destination) {
        return Pick { via: Via::Tunnel(tunnel), by: By::Claim(prefix) };
    }
    match (policy.default_for(flow.destination), policy.fallback()) {
        (DefaultChoice::Tunnel(tunnel), _) => Pick { via: Via::Tunnel(tunnel), by: By::Default },
        (DefaultChoice::Undecided, _) => Pick { via: Via::Undecided, by: By::Default },
        (DefaultChoice::NotOffered, Fallback::Auto) => Pick { via: Via::Nobody, by: By::Fallback },
    }
}

impl Rule {
    /// Whether all fields of this rule match `flow`.
    #[must_use]
    pub fn matches(&self, flow: &FlowTuple) -> bool {
        Field::ALL.iter().all(|field| self.matches_in(*field, flow))
    }

    /// Whether one field of this rule matches `flow`.
    #[must_use]
    pub fn matches_in(&self, field: Field, flow: &FlowTuple) -> bool {
        match field {
            Field::To => any_or_empty(&self.to, |net| net.contains(&flow.destination)),
            Field::From => any_or_empty(&self.from, |net| net.contains(&flow.source)),
            Field::Proto => any_or_empty(&self.proto, |proto| *proto == flow.protocol),
            Field::Port => any_or_empty(&self.port, |range| {
                let port = flow.destination_port.filter(|_| has_ports(flow.protocol));
                port.is_some_and(|port| (range.first..=range.last).contains(&port))
            }),
        }
    }
}

impl From<Target> for Via {
    fn from(target: Target) -> Self {
        match target {
            Target::Tunnel(tunnel) => Self::Tunnel(tunnel),
            Target::Direct => Self::Direct,
            Target::Block => Self::Block,
        }
    }
}

/// Whether a rule's ports mean something for a protocol.
#[must_use]
pub const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP | protocol::DCCP)
}

/// An empty list matches anything, a list means any of.
fn any_or_empty<T>(list: &[T], matches: impl Fn(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(matches)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Claim, ClaimOrigin, Defaults, LeaseId, OwnAddresses, PolicyInput, PortRange, TunnelState, TunnelView};

    const A: TunnelId = TunnelId::new(0);
    const B: TunnelId = TunnelId::new(1);
    const C: TunnelId = TunnelId::new(2);

    #[test]
    fn rule_stands_above_source_above_claim_above_default_above_fallback() {
        let mut input = input();
        let from_b = flow("198.18.1.2", "10.8.0.1", 443);
        let from_anchor = flow("198.18.0.1", "10.8.0.1", 443);
        let elsewhere = flow("198.18.0.1", "203.0.113.1", 443);
        check(&input, &elsewhere, Via::Tunnel(C), By::Default);
        check(&input, &from_anchor, Via::Tunnel(A), By::Claim("10.8.0.0/16".parse().unwrap()));
        check(&input, &from_b, Via::Tunnel(B), By::Source);
        input.defaults.v4 = DefaultChoice::Undecided;
        check(&input, &elsewhere, Via::Undecided, By::Default);
        input.defaults.v4 = DefaultChoice::NotOffered;
        check(&input, &elsewhere, Via::Nobody, By::Fallback);
        input.rules = vec![rule(&[], Target::Tunnel(C)), rule(&[], Target::Block)];
        check(&input, &from_b, Via::Tunnel(C), By::Rule(0));
        input.rules.remove(0);
        check(&input, &from_b, Via::Block, By::Rule(0));
    }

    // proves: T-70
    #[test]
    fn the_state_of_a_tunnel_changes_nothing() {
        let up = input();
        let mut down = input();
        down.tunnels.iter_mut().for_each(|view| view.state = TunnelState::Down);
        for to in ["10.8.0.1", "10.9.0.1", "203.0.113.1"] {
            let flow = flow("198.18.0.1", to, 443);
            let of = |input: &PolicyInput| pick(&Policy::new(input.clone()), Attachment::Rules, &flow);
            assert_eq!(of(&up), of(&down));
        }
    }

    #[test]
    fn both_families_have_their_own_default_and_claims() {
        let input = input();
        check(&input, &flow("2001:2:0:1::1", "2001:db8::1", 443), Via::Nobody, By::Fallback);
        check(
            &input,
            &flow("2001:2:0:1::1", "fd00:8::1", 443),
            Via::Tunnel(A),
            By::Claim("fd00:8::/32".parse().unwrap()),
        );
    }

    #[test]
    fn an_own_device_is_bound_unless_a_rule_says_otherwise() {
        let mut input = input();
        let flow = flow("198.18.1.2", "10.8.0.1", 443);
        let on = |input: &PolicyInput, attachment| pick(&Policy::new(input.clone()), attachment, &flow);
        let bound = Pick { via: Via::Tunnel(C), by: By::Attachment };
        assert_eq!(on(&input, Attachment::Prefer(C)), bound);
        assert_eq!(on(&input, Attachment::Only(C)), bound);
        input.rules = vec![rule(&[], Target::Tunnel(A))];
        assert_eq!(on(&input, Attachment::Prefer(C)), Pick { via: Via::Tunnel(A), by: By::Rule(0) });
        assert_eq!(on(&input, Attachment::Only(C)), bound, "there is that tunnel and nothing else");
        input.rules = vec![rule(&[], Target::Block)];
        assert_eq!(on(&input, Attachment::Only(C)), Pick { via: Via::Block, by: By::Rule(0) });
    }

    #[test]
    fn all_fields_of_a_rule_must_match_and_any_of_a_list() {
        let rule = Rule {
            from: vec!["198.18.0.1/32".parse().unwrap(), "198.18.1.2/32".parse().unwrap()],
            proto: vec![protocol::UDP, protocol::TCP],
            port: vec![PortRange { first: 80, last: 80 }, PortRange { first: 8000, last: 8010 }],
            ..rule(&["10.8.0.0/16", "2001:db8::/32"], Target::Block)
        };
        assert!(rule.matches(&flow("198.18.1.2", "10.8.255.255", 8010)));
        assert!(!rule.matches(&flow("198.18.1.1", "10.8.255.255", 8010)));
        assert!(!rule.matches(&flow("198.18.1.2", "10.9.0.0", 8010)));
        assert!(!rule.matches(&flow("198.18.1.2", "10.8.0.0", 8011)));
        assert!(!rule.matches(&FlowTuple { protocol: protocol::SCTP, ..flow("198.18.1.2", "10.8.0.0", 80) }));
        assert!(!rule.matches(&FlowTuple { destination_port: None, ..flow("198.18.1.2", "10.8.0.0", 80) }));
    }

    #[test]
    fn ports_match_only_protocols_that_have_them() {
        let rule = Rule { port: vec![PortRange { first: 0, last: u16::MAX }], ..rule(&[], Target::Block) };
        for (protocol, matches) in
            [(6, true), (17, true), (33, true), (132, true), (1, false), (47, false), (58, false)]
        {
            assert_eq!(
                rule.matches(&FlowTuple { protocol, ..flow("198.18.0.1", "10.8.0.1", 80) }),
                matches,
                "{protocol}"
            );
        }
    }

    #[test]
    fn a_pick_can_be_written_and_read() {
        let pick = Pick { via: Via::Tunnel(A), by: By::Claim("10.8.0.0/16".parse().unwrap()) };
        let text = serde_json::to_string(&pick).unwrap();
        assert_eq!(serde_json::from_str::<Pick>(&text).unwrap(), pick);
    }

    fn check(input: &PolicyInput, flow: &FlowTuple, via: Via, by: By) {
        let policy = Arc::new(Policy::new(input.clone()));
        assert_eq!(pick(&policy, Attachment::Rules, flow), Pick { via, by });
    }

    fn flow(source: &str, destination: &str, port: u16) -> FlowTuple {
        FlowTuple {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol: protocol::TCP,
            source_port: Some(5000),
            destination_port: Some(port),
        }
    }

    fn rule(to: &[&str], via: Target) -> Rule {
        let to = to.iter().map(|net| net.parse().unwrap()).collect();
        Rule { name: None, to, from: vec![], proto: vec![], port: vec![], via }
    }

    fn input() -> PolicyInput {
        let claim =
            |tunnel, prefix: &str| Claim { tunnel, prefix: prefix.parse().unwrap(), origin: ClaimOrigin::Pushed };
        let view = TunnelView {
            state: TunnelState::Up,
            lease: LeaseId::new(1),
            inner_v4: Some([10, 8, 0, 2].into()),
            inner_v6: None,
            presented_v4: None,
            presented_v6: None,
            limit: 1400,
        };
        PolicyInput {
            rules: vec![],
            claims: vec![claim(A, "10.8.0.0/16"), claim(B, "10.9.0.0/16"), claim(A, "fd00:8::/32")],
            defaults: Defaults { v4: DefaultChoice::Tunnel(C), v6: DefaultChoice::NotOffered },
            undecided_until: None,
            fallback: Fallback::Auto,
            sources: [("198.18.1.1".parse().unwrap(), A), ("198.18.1.2".parse().unwrap(), B)].into(),
            own: OwnAddresses {
                anchor_v4: [198, 18, 0, 1].into(),
                anchor_v6: "2001:2:0:1::1".parse().unwrap(),
                engine_v4: [198, 18, 0, 254].into(),
                engine_v6: "2001:2:0:1::fe".parse().unwrap(),
            },
            accept: vec![],
            tunnels: vec![view; 3],
        }
    }
}
