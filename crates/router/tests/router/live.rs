//! Which flows exist, as a person asks for them.

use std::net::IpAddr;

use mrvpn_router::{FlowFilter, LeaseId, LiveFlow, Rule, Target};

use crate::packets::*;
use crate::world::*;

const ANY: usize = 100;

fn to_web() -> FlowFilter {
    FlowFilter { destination: web().0.into(), port: None, protocol: None, source: None }
}

#[test]
fn a_flow_is_found_by_all_that_is_said_of_it() {
    let mut world = World::new();
    let sent = world.send(FR, &udp(app(5000), web(), b"question"));
    world.send(FR, &tcp((bind(FR), 5000), web(), SYN, &[], b""));
    world.send(FR, &udp(app(5001), (web().0, 53), b"question"));
    world.send(FR, &echo(8, ANCHOR, web().0, 7, b"ping"));
    world.send(UK, &udp(app(5000), end("10.8.0.9:443"), b"question"));
    let found = |filter: FlowFilter| world.router.find_flows(&filter, ANY);
    let pair = |end: End| (IpAddr::from(end.0), end.1);
    assert_eq!(found(to_web()).len(), 4);
    let expected = LiveFlow {
        protocol: UDP,
        seen: pair(app(5000)),
        sent: (inner(FR).into(), source_port(&sent)),
        remote: pair(web()),
        tunnel: FR,
        lease_alive: true,
    };
    assert_eq!(found(FlowFilter { port: Some(443), protocol: Some(UDP), ..to_web() }), [expected]);
    assert_eq!(found(FlowFilter { source: Some(bind(FR).into()), ..to_web() }).len(), 1);
    assert_eq!(found(FlowFilter { port: Some(0), ..to_web() })[0].seen, (ANCHOR.into(), 7));
    assert!(found(FlowFilter { port: Some(444), ..to_web() }).is_empty());
    assert_eq!(world.router.find_flows(&to_web(), 3).len(), 3);
}

#[test]
fn a_flow_that_is_over_is_no_longer_alive() {
    let mut world = World::new();
    let alive = |world: &World| world.router.find_flows(&to_web(), ANY)[0].lease_alive;
    world.send(FR, &udp(app(1), web(), b""));
    assert!(alive(&world));
    let block = Rule { name: None, to: vec![], from: vec![], proto: vec![], port: vec![], via: Target::Block };
    world.change(|input| input.rules.push(block));
    assert!(!alive(&world));

    let mut world = World::new();
    world.send(FR, &udp(app(1), web(), b""));
    world.change(|input| input.tunnels[FR.index()].lease = LeaseId::new(9));
    assert!(!alive(&world));
}
