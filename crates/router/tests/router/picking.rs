//! `pick` and `explain` over random policies of both families, against the order of the design read aloud over addresses
//! written as bits. Flows and states are `isolation.rs`'s.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use mrvpn_router::{
    Attachment, By, Claim, ClaimOrigin, DefaultChoice, Defaults, Explanation, Field, FlowTuple, Pick, Policy,
    PolicyInput, PortRange, Rejected, Rule, Target, TunnelId, Via, WhyNot, explain, limits, pick, source_sent,
};
use proptest::prelude::*;

use crate::packets::{ICMP, TCP, UDP};
use crate::world::{ANCHOR, FR, UK, US, bind, inner, input};

const ANCHOR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, 1);
const BIND_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 3, 0, 0, 0, 1);

/// An address as zeros and ones, with its family.
fn bits(address: IpAddr) -> (bool, String) {
    match address {
        IpAddr::V4(v4) => (true, format!("{:032b}", u32::from(v4))),
        IpAddr::V6(v6) => (false, format!("{:0128b}", u128::from(v6))),
    }
}

fn is_in(net: &IpNet, address: IpAddr) -> bool {
    let ((family, prefix), (same, bits)) = (bits(net.addr()), bits(address));
    family == same && bits.starts_with(&prefix[..usize::from(net.prefix_len())])
}

fn field_matches(rule: &Rule, field: Field, flow: &FlowTuple) -> bool {
    let of = |net: &IpNet, address| is_in(net, address);
    match field {
        Field::To => rule.to.is_empty() || rule.to.iter().any(|net| of(net, flow.destination)),
        Field::From => rule.from.is_empty() || rule.from.iter().any(|net| of(net, flow.source)),
        Field::Proto => rule.proto.is_empty() || rule.proto.contains(&flow.protocol),
        Field::Port => {
            let port = flow.destination_port.filter(|_| [6, 17, 33, 132].contains(&flow.protocol));
            rule.port.is_empty()
                || port.is_some_and(|port| rule.port.iter().any(|of| of.first <= port && port <= of.last))
        }
    }
}

fn matches(rule: &Rule, flow: &FlowTuple) -> bool {
    [Field::To, Field::From, Field::Proto, Field::Port].iter().all(|field| field_matches(rule, *field, flow))
}

/// The order of the design, read aloud.
fn reference(input: &PolicyInput, attachment: Attachment, flow: &FlowTuple) -> Pick {
    for (place, rule) in input.rules.iter().enumerate() {
        if matches(rule, flow) {
            let by = By::Rule(place);
            return match (rule.via, attachment) {
                (Target::Block, _) => Pick { via: Via::Block, by },
                (_, Attachment::Only(tunnel)) => Pick { via: Via::Tunnel(tunnel), by: By::Attachment },
                (Target::Tunnel(tunnel), _) => Pick { via: Via::Tunnel(tunnel), by },
                (Target::Direct, _) => Pick { via: Via::Direct, by },
            };
        }
    }
    if let Attachment::Only(tunnel) | Attachment::Prefer(tunnel) = attachment {
        return Pick { via: Via::Tunnel(tunnel), by: By::Attachment };
    }
    for (address, tunnel) in &input.sources {
        if bits(*address) == bits(flow.source) {
            return Pick { via: Via::Tunnel(*tunnel), by: By::Source };
        }
    }
    for length in (0..=128).rev() {
        for claim in &input.claims {
            if claim.prefix.prefix_len() == length && is_in(&claim.prefix, flow.destination) {
                return Pick { via: Via::Tunnel(claim.tunnel), by: By::Claim(claim.prefix.trunc()) };
            }
        }
    }
    match if flow.destination.is_ipv4() { input.defaults.v4 } else { input.defaults.v6 } {
        DefaultChoice::Tunnel(tunnel) => Pick { via: Via::Tunnel(tunnel), by: By::Default },
        DefaultChoice::Undecided => Pick { via: Via::Undecided, by: By::Default },
        DefaultChoice::NotOffered => Pick { via: Via::Nobody, by: By::Fallback },
    }
}

fn any_tunnel() -> impl Strategy<Value = TunnelId> {
    prop::sample::select(vec![UK, FR, US])
}

/// A handful of hosts, so that prefixes and flows meet.
fn any_host(v4: bool) -> BoxedStrategy<IpAddr> {
    let parts = (prop::sample::select(vec![20_u8, 20, 60]), 0_u8..3, 1_u8..4);
    if v4 {
        parts.prop_map(|(a, b, d)| Ipv4Addr::new(a, b, 0, d).into()).boxed()
    } else {
        parts
            .prop_map(|(a, b, d)| Ipv6Addr::new(0x2000 | u16::from(a), b.into(), 0, 0, 0, 0, 0, d.into()).into())
            .boxed()
    }
}

fn any_prefix() -> impl Strategy<Value = IpNet> {
    let short = prop::sample::select(vec![0_u8, 6, 8, 14, 16, 30, 31, 32]);
    (any::<bool>(), short).prop_flat_map(|(v4, bits)| {
        let bits = if v4 { bits } else { bits * 4 };
        any_host(v4).prop_map(move |host| IpNet::new(host, bits).unwrap())
    })
}

fn any_target() -> impl Strategy<Value = Target> {
    prop_oneof![3 => any_tunnel().prop_map(Target::Tunnel), 1 => Just(Target::Direct), 1 => Just(Target::Block)]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let from = prop::sample::select(vec![vec![], vec![], vec![IpNet::from(IpAddr::from(ANCHOR))]]);
    let proto = prop::sample::select(vec![vec![], vec![], vec![TCP], vec![UDP, ICMP]]);
    let ports = vec![PortRange { first: 80, last: 81 }, PortRange { first: 443, last: 443 }];
    let port = prop::sample::select(vec![vec![], vec![], ports[..1].to_vec(), ports]);
    (prop::collection::vec(any_prefix(), 0..3), from, proto, port, any_target())
        .prop_map(|(to, from, proto, port, via)| Rule { name: None, to, from, proto, port, via })
}

fn any_default() -> impl Strategy<Value = DefaultChoice> {
    let tunnel = any_tunnel().prop_map(DefaultChoice::Tunnel);
    prop_oneof![1 => Just(DefaultChoice::NotOffered), 1 => Just(DefaultChoice::Undecided), 2 => tunnel]
}

fn any_policy() -> impl Strategy<Value = PolicyInput> {
    let claim =
        (any_tunnel(), any_prefix()).prop_map(|(tunnel, prefix)| Claim { tunnel, prefix, origin: ClaimOrigin::Pushed });
    let rules = prop::collection::vec(any_rule(), 0..6);
    (rules, prop::collection::vec(claim, 0..8), any_default(), any_default()).prop_map(|(rules, claims, v4, v6)| {
        let mut input = input();
        input.sources.insert(BIND_V6.into(), US);
        PolicyInput { rules, claims, defaults: Defaults { v4, v6 }, ..input }
    })
}

fn any_attachment() -> impl Strategy<Value = Attachment> {
    prop_oneof![
        4 => Just(Attachment::Rules),
        1 => any_tunnel().prop_map(Attachment::Prefer),
        1 => any_tunnel().prop_map(Attachment::Only),
    ]
}

fn any_flow() -> impl Strategy<Value = FlowTuple> {
    let protocol = prop::sample::select(vec![TCP, TCP, UDP, ICMP, 47, 132]);
    let port = prop::sample::select(vec![None, Some(79), Some(80), Some(81), Some(443)]);
    (any::<bool>(), 0_usize..4, protocol, port).prop_flat_map(|(v4, source, protocol, destination_port)| {
        let sources_v4 = [ANCHOR, bind(UK), inner(FR), Ipv4Addr::new(192, 168, 1, 9)];
        let sources_v6 = [ANCHOR_V6, ANCHOR_V6, BIND_V6, Ipv6Addr::LOCALHOST];
        let source = if v4 { IpAddr::from(sources_v4[source]) } else { sources_v6[source].into() };
        let flow = move |destination| FlowTuple { source, destination, protocol, source_port: None, destination_port };
        any_host(v4).prop_map(flow)
    })
}

/// Whether what is said of something that did not decide is true.
fn is_true(input: &PolicyInput, attachment: Attachment, flow: &FlowTuple, rejected: &Rejected) -> bool {
    let Rejected { via, by, why } = *rejected;
    let holds = |claim: &&Claim| is_in(&claim.prefix, flow.destination);
    let claims = |net: IpNet| input.claims.iter().filter(holds).filter(move |claim| claim.prefix.trunc() == net);
    let default = if flow.destination.is_ipv4() { input.defaults.v4 } else { input.defaults.v6 };
    let stands = match by {
        By::Rule(place) => Via::from(input.rules[place].via) == via,
        By::Source => input.sources.get(&flow.source).is_some_and(|tunnel| via == Via::Tunnel(*tunnel)),
        By::Claim(net) => claims(net).any(|claim| via == Via::Tunnel(claim.tunnel)),
        By::Default => match default {
            DefaultChoice::Tunnel(tunnel) => via == Via::Tunnel(tunnel),
            DefaultChoice::Undecided => via == Via::Undecided,
            DefaultChoice::NotOffered => false,
        },
        By::Fallback => via == Via::Nobody,
        By::Attachment => attachment.tunnel().is_some_and(|tunnel| via == Via::Tunnel(tunnel)),
    };
    let decider = reference(input, attachment, flow).by;
    let reason = match (why, by) {
        (WhyNot::EarlierRule(first), By::Rule(place)) => {
            first < place && matches(&input.rules[first], flow) && matches(&input.rules[place], flow)
        }
        (WhyNot::FieldDiffers(field), By::Rule(place)) => {
            let differs = |of: &Field| !field_matches(&input.rules[place], *of, flow);
            Field::ALL.into_iter().filter(differs).eq([field])
        }
        (WhyNot::AttachmentDecides, By::Rule(place)) => matches(&input.rules[place], flow) && decider == By::Attachment,
        (WhyNot::LongerClaim(longer), By::Claim(net)) => {
            longer.prefix_len() > net.prefix_len() && claims(longer).next().is_some()
        }
        (WhyNot::FirstInFile(first), By::Claim(net)) => {
            claims(net).next().is_some_and(|claim| claim.tunnel == first && via != Via::Tunnel(first))
        }
        (WhyNot::RuleDecides, _) => matches!(decider, By::Rule(_)),
        (WhyNot::AttachmentDecides, _) => decider == By::Attachment,
        (WhyNot::SourceDecides, _) => decider == By::Source,
        (WhyNot::ClaimDecides, _) => matches!(decider, By::Claim(_)),
        (WhyNot::DefaultDecides, _) => decider == By::Default,
        (WhyNot::EarlierRule(_) | WhyNot::FieldDiffers(_) | WhyNot::LongerClaim(_) | WhyNot::FirstInFile(_), _) => {
            false
        }
    };
    stands && reason
}

/// What would decide if what decides were not there, as `explain` must name it. `None`: nothing else could.
fn next(input: &PolicyInput, attachment: Attachment, flow: &FlowTuple, decided: &Pick) -> Option<Pick> {
    let mut without = input.clone();
    let mut attachment = attachment;
    match decided.by {
        By::Rule(place) => drop(without.rules.remove(place)),
        By::Source => without.sources.retain(|source, _| *source != flow.source),
        By::Claim(_) => without.claims.retain(|claim| decided.via != Via::Tunnel(claim.tunnel)),
        By::Default => {
            (without.defaults.v4, without.defaults.v6) = (DefaultChoice::NotOffered, DefaultChoice::NotOffered)
        }
        By::Fallback => return None,
        By::Attachment => match attachment {
            Attachment::Prefer(_) => attachment = Attachment::Rules,
            Attachment::Only(_) | Attachment::Rules => return None,
        },
    }
    let pick = reference(&without, attachment, flow);
    let by = match (decided.by, pick.by) {
        (By::Rule(gone), By::Rule(place)) if place >= gone => By::Rule(place + 1),
        (_, by) => by,
    };
    Some(Pick { by, ..pick })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_flow_goes_where_the_design_says_and_the_explanation_says_the_same_and_why(
        input in any_policy(), attachment in any_attachment(), flow in any_flow(),
    ) {
        let policy = Policy::new(input.clone());
        let expected = reference(&input, attachment, &flow);
        prop_assert_eq!(pick(&policy, attachment, &flow), expected);
        let Explanation { pick, not } = explain(&policy, attachment, &flow);
        prop_assert_eq!(pick, expected);
        prop_assert!(not.len() <= 16);
        for rejected in &not {
            prop_assert!((rejected.via, rejected.by) != (pick.via, pick.by), "{:?} decides", rejected);
            prop_assert!(is_true(&input, attachment, &flow, rejected), "{:?} is not true", rejected);
        }
        let next = next(&input, attachment, &flow, &pick);
        let named = |next: Pick| not.iter().any(|rejected| (rejected.via, rejected.by) == (next.via, next.by));
        prop_assert!(next.is_none_or(named), "{:?} is not among {:?}", next, not);
    }
}

fn flow(source: Ipv4Addr, destination: &str, port: u16) -> FlowTuple {
    FlowTuple {
        source: source.into(),
        destination: destination.parse().unwrap(),
        protocol: TCP,
        source_port: None,
        destination_port: Some(port),
    }
}

fn rule(to: &[&str], port: u16, via: Target) -> Rule {
    let to = to.iter().map(|net| net.parse().unwrap()).collect();
    let port = vec![PortRange { first: port, last: port }];
    Rule { name: None, to, from: vec![], proto: vec![], port, via }
}

fn claim(tunnel: TunnelId, prefix: &str) -> Claim {
    Claim { tunnel, prefix: prefix.parse().unwrap(), origin: ClaimOrigin::Pushed }
}

#[test]
fn each_candidate_has_its_reason_in_the_order_in_which_it_is_asked() {
    let mut input = input();
    input.rules = vec![
        rule(&["192.0.2.0/24"], 443, Target::Direct),
        rule(&["10.8.0.0/16"], 80, Target::Tunnel(US)),
        rule(&["10.8.0.0/16"], 443, Target::Tunnel(US)),
        rule(&[], 443, Target::Block),
        rule(&["192.0.2.0/24"], 80, Target::Direct),
    ];
    input.claims.extend([claim(FR, "10.8.0.0/16"), claim(US, "10.0.0.0/8")]);
    let policy = Policy::new(input);
    let asked = flow(bind(FR), "10.8.0.9", 443);
    let Explanation { pick, not } = explain(&policy, Attachment::Rules, &asked);
    assert_eq!(pick, Pick { via: Via::Tunnel(US), by: By::Rule(2) });
    let net = |text: &str| text.parse::<IpNet>().unwrap();
    let rejected = |via, by, why| Rejected { via, by, why };
    assert_eq!(
        not,
        [
            rejected(Via::Direct, By::Rule(0), WhyNot::FieldDiffers(Field::To)),
            rejected(Via::Tunnel(US), By::Rule(1), WhyNot::FieldDiffers(Field::Port)),
            rejected(Via::Block, By::Rule(3), WhyNot::EarlierRule(2)),
            rejected(Via::Tunnel(FR), By::Source, WhyNot::RuleDecides),
            rejected(Via::Tunnel(UK), By::Claim(net("10.8.0.0/16")), WhyNot::RuleDecides),
            rejected(Via::Tunnel(FR), By::Claim(net("10.8.0.0/16")), WhyNot::FirstInFile(UK)),
            rejected(Via::Tunnel(US), By::Claim(net("10.0.0.0/8")), WhyNot::LongerClaim(net("10.8.0.0/16"))),
            rejected(Via::Tunnel(FR), By::Default, WhyNot::RuleDecides),
            rejected(Via::Nobody, By::Fallback, WhyNot::RuleDecides),
        ]
    );
    assert_eq!(source_sent(&policy, &pick, &asked), Some(inner(US).into()));
    assert_eq!(source_sent(&policy, &Pick { via: Via::Block, by: By::Rule(3) }, &asked), None);
    let six = FlowTuple { destination: ANCHOR_V6.into(), ..asked };
    assert_eq!(source_sent(&policy, &pick, &six), None, "it has no address of this family");
}

#[test]
fn an_explanation_names_so_many_rules_and_no_more_those_that_match_first() {
    for count in [limits::EXPLAINED_RULES - 1, limits::EXPLAINED_RULES, limits::EXPLAINED_RULES + 1] {
        let mut input = input();
        input.rules = vec![rule(&["203.0.113.0/24"], 80, Target::Direct); 3];
        input.rules.extend(vec![rule(&[], 443, Target::Block); count + 1]);
        let policy = Policy::new(input);
        let not = explain(&policy, Attachment::Rules, &flow(ANCHOR, "203.0.113.1", 443)).not;
        let matching = not.iter().filter(|rejected| rejected.why == WhyNot::EarlierRule(3)).count();
        let rules = not.iter().filter(|rejected| matches!(rejected.by, By::Rule(_))).count();
        assert_eq!((rules, matching), ((count + 3).min(limits::EXPLAINED_RULES), count.min(limits::EXPLAINED_RULES)));
    }
}

#[test]
fn an_explanation_names_the_claims_of_so_many_tunnels_and_no_more() {
    for count in [limits::EXPLAINED_CLAIMS - 1, limits::EXPLAINED_CLAIMS, limits::EXPLAINED_CLAIMS + 1] {
        let mut input = input();
        let tunnels = 0..=u16::try_from(count).unwrap();
        input.claims = tunnels.map(|number| claim(TunnelId::new(number), "203.0.113.0/24")).collect();
        let policy = Policy::new(input);
        let not = explain(&policy, Attachment::Rules, &flow(ANCHOR, "203.0.113.1", 443)).not;
        let claims = not.iter().filter(|rejected| matches!(rejected.by, By::Claim(_))).count();
        assert_eq!(claims, count.min(limits::EXPLAINED_CLAIMS));
    }
}

#[test]
fn an_explanation_has_at_most_16_entries() {
    let mut input = input();
    input.rules = vec![rule(&[], 443, Target::Block); 20];
    input.claims = (0..20).map(|number| claim(TunnelId::new(number), "203.0.113.0/24")).collect();
    let policy = Policy::new(input);
    let not = explain(&policy, Attachment::Prefer(UK), &flow(bind(UK), "203.0.113.1", 443)).not;
    assert_eq!(not.len(), 16);
}

#[test]
fn an_explanation_can_be_written_and_read() {
    let policy = Policy::new(input());
    let explanation = explain(&policy, Attachment::Rules, &flow(bind(UK), "10.9.0.1", 443));
    let text = serde_json::to_string(&explanation).unwrap();
    assert_eq!(serde_json::from_str::<Explanation>(&text).unwrap(), explanation);
}
