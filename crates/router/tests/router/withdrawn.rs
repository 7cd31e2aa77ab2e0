//! Flows that the user takes back, by other rules, by stopping a tunnel, by a shorter `accept`: they end, and no packet of
//! theirs goes where it went. All other flows go on.

use mrvpn_router::{
    Accept, Claim, ClaimOrigin, DefaultChoice, DropReason, PortRange, Rule, Target, TunnelId, TunnelState,
};

use crate::packets::*;
use crate::world::*;

fn rule(to: &str, via: Target) -> Rule {
    Rule { name: None, to: vec![to.parse().unwrap()], from: vec![], proto: vec![], port: vec![], via }
}

fn connected(world: &mut World, tunnel: TunnelId, port: u16, to: End) -> Vec<u8> {
    let sent = world.send(tunnel, &tcp(app(port), to, SYN, &[], b""));
    world.receive(tunnel, &tcp(to, (inner(tunnel), port), SYN | ACK, &[], b""));
    world.send(tunnel, &tcp(app(port), to, ACK, &[], b""));
    sent
}

fn told(world: &mut World) -> Vec<u16> {
    let six = world.six;
    let four = |reset: Vec<u8>| if six { crate::six::to_four(&reset) } else { reset };
    let mut ports: Vec<_> = world.resets().into_iter().map(|reset| destination_port(&four(reset))).collect();
    ports.sort_unstable();
    ports
}

// proves: T-84
#[test]
fn rules_that_give_a_flow_elsewhere_end_it_and_no_other() {
    for via in [Target::Tunnel(UK), Target::Direct, Target::Block] {
        for mut world in World::both() {
            let other = end("198.51.100.7:443");
            connected(&mut world, FR, 1, web());
            connected(&mut world, FR, 2, other);
            let asked = world.send(FR, &udp(app(3), web(), b"question"));
            world.send(FR, &udp(app(4), other, b"question"));
            world.change(|input| input.rules.push(rule("203.0.113.0/24", via)));
            assert_eq!(told(&mut world), [1]);
            world.unwanted(FR, &swapped(&asked), DropReason::Unasked);
            world.refused(Some(FR), &udp(app(3), web(), b"question"), DropReason::Withdrawn);
            match via {
                Target::Tunnel(tunnel) => drop(world.send(tunnel, &udp(app(3), web(), b"question"))),
                Target::Direct => drop(world.refused(None, &udp(app(3), web(), b"question"), DropReason::BoundDirect)),
                Target::Block => drop(world.refused(None, &udp(app(3), web(), b"question"), DropReason::Blocked)),
            }
            world.send(FR, &tcp(app(2), other, ACK, &[], b"data"));
            world.send(FR, &udp(app(4), other, b"question"));
        }
    }
}

#[test]
fn a_rule_that_goes_ends_the_flows_that_it_had_decided_unless_they_stay_where_they_are() {
    let rules = [rule("203.0.113.0/24", Target::Tunnel(UK)), rule("198.51.100.0/24", Target::Tunnel(FR))];
    let mut world = World::with(|input| input.rules = rules.to_vec());
    let (a, b) = (web(), end("198.51.100.7:443"));
    connected(&mut world, UK, 1, a);
    connected(&mut world, FR, 2, b);
    world.change(|input| input.rules.clear());
    assert_eq!(told(&mut world), [1]);
    connected(&mut world, FR, 1, a);
    world.send(FR, &tcp(app(2), b, ACK, &[], b"data"));
}

#[test]
fn rules_that_say_the_same_of_a_flow_leave_it_even_where_claims_have_changed_since() {
    let mut world = World::new();
    connected(&mut world, FR, 1, web());
    let claim = Claim { tunnel: UK, prefix: "203.0.113.0/24".parse().unwrap(), origin: ClaimOrigin::Pushed };
    world.change(|input| input.claims.insert(0, claim));
    world.change(|input| input.rules.push(rule("198.51.100.0/24", Target::Block)));
    world.change(|input| input.rules.push(rule("203.0.113.0/24", Target::Tunnel(FR))));
    world.change(|input| input.rules[1].name = Some("web".into()));
    world.change(|input| input.rules.swap(0, 1));
    assert!(told(&mut world).is_empty());
    world.send(FR, &tcp(app(1), web(), ACK, &[], b"data"));
    world.change(|input| input.rules.clear());
    assert_eq!(told(&mut world), [1], "without its rule it is that claim's");
}

#[test]
fn a_stopped_tunnel_lets_the_flows_of_its_claims_go_and_keeps_those_of_its_rules() {
    World::both().into_iter().for_each(a_tunnel_that_stops);
}

fn a_tunnel_that_stops(mut world: World) {
    let (claimed, ruled) = (end("10.8.0.9:443"), end("198.51.100.7:443"));
    world.change(|input| input.rules.push(rule("198.51.100.0/24", Target::Tunnel(UK))));
    connected(&mut world, UK, 1, claimed);
    connected(&mut world, UK, 2, ruled);
    world.send(UK, &udp(app(3), claimed, b"question"));
    world.send(UK, &udp(app(4), ruled, b"question"));
    world.set_state(UK, TunnelState::Down);
    assert!(told(&mut world).is_empty(), "a tunnel that fails keeps its claims and its flows");
    world.refused(Some(UK), &udp(app(3), claimed, b"question"), DropReason::TunnelDown);
    world.change(|input| input.claims.retain(|claim| claim.tunnel != UK));
    assert_eq!(told(&mut world), [1]);
    world.refused(Some(UK), &udp(app(3), claimed, b"question"), DropReason::Withdrawn);
    world.send(FR, &udp(app(3), claimed, b"question"));
    connected(&mut world, FR, 1, claimed);
    world.refused(Some(UK), &udp(app(4), ruled, b"question"), DropReason::TunnelDown);
    world.set_state(UK, TunnelState::Up);
    world.send(UK, &tcp(app(2), ruled, ACK, &[], b"data"));
    world.send(UK, &udp(app(4), ruled, b"question"));
}

#[test]
fn a_stopped_default_tunnel_lets_its_flows_go() {
    let mut world = World::new();
    connected(&mut world, FR, 1, web());
    world.change(|input| {
        input.tunnels[FR.index()].state = TunnelState::Down;
        input.claims.retain(|claim| claim.tunnel != FR);
        input.defaults.v4 = DefaultChoice::NotOffered;
    });
    assert_eq!(told(&mut world), [1]);
    world.refused(None, &udp(app(1), web(), b""), DropReason::Unclaimed);
}

#[test]
fn a_server_that_claims_nothing_any_more_ends_no_flow() {
    let mut world = World::new();
    connected(&mut world, UK, 1, end("10.8.0.9:443"));
    world.change(|input| input.claims.retain(|claim| claim.tunnel != UK));
    assert!(told(&mut world).is_empty());
    world.send(UK, &tcp(app(1), end("10.8.0.9:443"), ACK, &[], b"data"));
    world.send(FR, &udp(app(1), end("10.8.0.9:53"), b"new"));
}

#[test]
fn an_accept_that_goes_ends_the_flows_that_it_let_in_and_rules_do_not() {
    let entry = |port| Accept { tunnel: FR, protocol: TCP, ports: PortRange { first: port, last: port } };
    let mut world = World::with(|input| input.accept = vec![entry(8000), entry(8001)]);
    let peer = end("203.0.113.9:40000");
    for port in [8000, 8001] {
        world.receive(FR, &tcp(peer, (inner(FR), port), SYN, &[], b""));
        world.send(FR, &tcp((inner(FR), port), peer, SYN | ACK, &[], b""));
    }
    world.change(|input| input.rules.push(rule("203.0.113.0/24", Target::Tunnel(UK))));
    assert!(told(&mut world).is_empty(), "who asks decides by which way it is answered");
    world.change(|input| input.accept = vec![entry(8001)]);
    assert_eq!(told(&mut world), [8000]);
    world.unwanted(FR, &tcp(peer, (inner(FR), 8000), ACK, &[], b"data"), DropReason::NoFlow);
    world.receive(FR, &tcp(peer, (inner(FR), 8001), ACK, &[], b"data"));
}

#[test]
fn an_accept_that_comes_again_lets_the_far_side_open_anew() {
    let mut world = World::new();
    let entry = |protocol| Accept { tunnel: FR, protocol, ports: PortRange { first: 8000, last: 8000 } };
    let (peer, ours) = (end("203.0.113.9:40000"), (inner(FR), 8000));
    world.change(|input| input.accept = vec![entry(TCP), entry(UDP)]);
    world.receive(FR, &tcp(peer, ours, SYN, &[], b""));
    world.receive(FR, &udp(peer, ours, b"question"));
    world.change(|input| input.accept.clear());
    world.unwanted(FR, &udp(peer, ours, b"question"), DropReason::Unasked);
    world.change(|input| input.accept = vec![entry(TCP), entry(UDP)]);
    world.receive(FR, &tcp(peer, ours, SYN, &[], b""));
    world.receive(FR, &udp(peer, ours, b"question"));
    world.send(FR, &udp(ours, peer, b"answer"));
    assert!(told(&mut world).is_empty(), "the connection that had ended is another one now");
    world.send(FR, &tcp(ours, peer, SYN | ACK, &[], b""));
}

#[test]
fn no_error_about_a_flow_that_was_taken_back_arrives() {
    let mut world = World::new();
    let sent = world.send(FR, &udp(app(1), web(), b"question"));
    let error = icmp_error(v4("203.0.113.1"), inner(FR), [3, 1], 0, &sent);
    world.receive(FR, &error);
    world.change(|input| input.rules.push(rule("203.0.113.0/24", Target::Block)));
    world.unwanted(FR, &error, DropReason::NoFlow);
}
