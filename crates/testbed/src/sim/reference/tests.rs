//! The model's own order, by example: whoever reads it can compare these with design.md section 4.

use super::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn tunnel(place: Place, claims: &[&str], bind: &str) -> TunnelModel {
    let pushed = PushModel { claims: claims.iter().map(|claim| net(claim)).collect(), offers: false };
    TunnelModel {
        place,
        profile: Vec::new(),
        default: false,
        accepts: false,
        pushed: Some(pushed),
        stopped: false,
        settled: true,
        lease: None,
        binds: vec![bind.parse().unwrap()],
    }
}

fn reference() -> Reference {
    Reference {
        tunnels: vec![
            tunnel(0, &["10.0.0.0/8", "192.168.1.0/24"], "198.18.1.1"),
            tunnel(1, &["10.1.0.0/16", "10.0.0.0/8"], "198.18.1.2"),
        ],
        rules: Vec::new(),
        default: DefaultModel::default(),
        lan: vec![net("192.168.1.0/24")],
        own: Vec::new(),
        anchors: vec!["198.18.0.1".parse().unwrap()],
        pools: vec![net("198.18.0.0/19")],
        leases: 0,
    }
}

fn ask(reference: &Reference, source: Option<&str>, to: &str) -> Answer {
    let source = source.map(|source| source.parse().unwrap());
    reference.answer(&Question { source, destination: to.parse().unwrap(), protocol: 17, port: 53 })
}

#[test]
fn rule_stands_above_source_above_claim_above_default_above_fallback() {
    let mut model = reference();
    assert_eq!(ask(&model, None, "203.0.113.1"), Answer::Clear);
    assert_eq!(ask(&model, Some("198.18.0.1"), "203.0.113.1"), Answer::Nowhere);
    assert_eq!(ask(&model, None, "10.1.2.3"), Answer::Tunnel(1), "the longest claim");
    assert_eq!(ask(&model, None, "10.2.2.3"), Answer::Tunnel(0), "of equal ones the first");
    assert_eq!(ask(&model, Some("198.18.1.1"), "10.1.2.3"), Answer::Tunnel(0), "bound");
    model.tunnels[1].default = true;
    model.decide(false);
    assert_eq!(ask(&model, None, "203.0.113.1"), Answer::Tunnel(1));
    model.rules.push(RuleModel {
        to: vec![net("10.1.0.0/16")],
        from: Vec::new(),
        protocol: None,
        ports: Some((53, 53)),
        via: Via::Tunnel(0),
    });
    assert_eq!(ask(&model, Some("198.18.1.2"), "10.1.2.3"), Answer::Tunnel(0));
    model.rules[0].via = Via::Direct;
    assert_eq!(ask(&model, None, "10.1.2.3"), Answer::Clear);
    assert_eq!(ask(&model, Some("198.18.1.2"), "10.1.2.3"), Answer::Nowhere, "not with that source");
}

#[test]
fn the_lan_stays_with_the_host_until_a_rule_names_it() {
    let mut model = reference();
    assert_eq!(ask(&model, None, "192.168.1.5"), Answer::Clear);
    let rule = |to: &[&str]| RuleModel {
        to: to.iter().map(|to| net(to)).collect(),
        from: Vec::new(),
        protocol: None,
        ports: None,
        via: Via::Tunnel(0),
    };
    model.rules = vec![rule(&[])];
    assert_eq!(ask(&model, None, "192.168.1.5"), Answer::Clear, "not by a rule for everything");
    model.rules = vec![rule(&["192.168.0.0/16"])];
    assert_eq!(ask(&model, None, "192.168.1.5"), Answer::Tunnel(0));
}

#[test]
fn what_began_before_a_claim_goes_nowhere() {
    assert_eq!(ask(&reference(), Some("192.168.1.10"), "10.1.2.3"), Answer::Nowhere);
}

#[test]
fn the_same_address_keeps_its_lease_and_a_taken_one_is_presented_under_the_bind_address() {
    let mut model = reference();
    let address = ["10.8.0.2".parse().unwrap()];
    let push = || PushModel { claims: Vec::new(), offers: false };
    model.established(0, &address, push());
    model.established(1, &address, push());
    let presented = |model: &Reference, at: usize| model.tunnels[at].lease.as_ref().unwrap().presented[0].to_string();
    assert_eq!((presented(&model, 0).as_str(), presented(&model, 1).as_str()), ("10.8.0.2", "198.18.1.2"));
    let number = |model: &Reference| model.tunnels[0].lease.as_ref().unwrap().number;
    let first = number(&model);
    model.established(0, &address, push());
    assert_eq!(number(&model), first);
    model.established(0, &["10.8.0.3".parse().unwrap()], push());
    assert_ne!(number(&model), first);
}

#[test]
fn a_later_offer_waits_for_earlier_tunnels_and_then_stays() {
    let mut model = reference();
    model.tunnels[0].settled = false;
    model.tunnels[0].pushed = None;
    model.tunnels[1].default = true;
    model.decide(false);
    assert_eq!(ask(&model, None, "203.0.113.1"), Answer::Nowhere);
    model.decide(true);
    assert_eq!(ask(&model, None, "203.0.113.1"), Answer::Tunnel(1));
    model.tunnels[0].default = true;
    model.decide(true);
    assert_eq!(ask(&model, None, "203.0.113.1"), Answer::Tunnel(1));
    let Reference { default, tunnels, .. } = &mut model;
    default.reloaded(tunnels);
    assert_eq!(ask(&model, None, "203.0.113.1"), Answer::Tunnel(0));
}
