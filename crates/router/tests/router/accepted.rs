//! Flows that a server opens, since `accept` names them, and all that it does not.

use mrvpn_router::{Accept, Attachment, DropReason, Inbound, Outbound, PortRange};

use crate::packets::*;
use crate::world::*;

fn accepting(six: bool) -> World {
    World::over(six, |input| {
        let entry = |protocol| Accept { tunnel: FR, protocol, ports: PortRange { first: 8000, last: 8001 } };
        input.accept = vec![entry(TCP), entry(UDP)];
        input.tunnels[FR.index()].presented_v4 = Some(bind(FR));
    })
}

// proves: I-4
#[test]
fn what_accept_names_reaches_the_presented_address_and_is_answered() {
    [false, true].map(accepting).into_iter().for_each(one_connection);
}

fn one_connection(mut world: World) {
    let (peer, ours) = ((v4("203.0.113.9"), 40_000), (inner(FR), 8000));
    let syn = world.receive(FR, &tcp(peer, ours, SYN, &[2, 4, 5, 180], b""));
    assert_eq!((source(&syn), destination(&syn), destination_port(&syn)), (peer.0, bind(FR), 8000));
    assert!(is_right(&syn));
    let answer = world.send(FR, &tcp((bind(FR), 8000), peer, SYN | ACK, &[], b""));
    assert_eq!((source(&answer), source_port(&answer)), ours);
    world.receive(FR, &tcp(peer, ours, ACK, &[], b"data"));
    world.send(FR, &tcp((bind(FR), 8000), peer, ACK, &[], b"data"));
    world.receive(FR, &tcp(peer, ours, RST, &[], b""));
    world.receive(FR, &tcp(peer, ours, SYN, &[], b""));

    world.receive(FR, &udp(peer, ours, b"question"));
    assert_eq!(source(&world.send(FR, &udp((bind(FR), 8000), peer, b"answer"))), ours.0);
}

// proves: T-45, I-4
#[test]
fn what_accept_does_not_name_does_not_arrive() {
    [false, true].map(accepting).into_iter().for_each(all_others);
}

fn all_others(mut world: World) {
    let peer = (v4("203.0.113.9"), 40_000);
    for port in [7_999, 8_002, 22] {
        world.unwanted(FR, &tcp(peer, (inner(FR), port), SYN, &[], b""), DropReason::Unasked);
        world.unwanted(FR, &udp(peer, (inner(FR), port), b""), DropReason::Unasked);
    }
    let ours = (inner(FR), 8000);
    world.unwanted(US, &tcp(peer, (inner(US), 8000), SYN, &[], b""), DropReason::Unasked);
    world.unwanted(FR, &tcp(peer, ours, ACK, &[], b""), DropReason::NoFlow);
    world.unwanted(FR, &tcp(peer, ours, SYN | ACK, &[], b""), DropReason::NoFlow);
    world.unwanted(FR, &echo(8, peer.0, ours.0, 8000, b""), DropReason::Unasked);
    assert_eq!(world.router.flows(), 0);
}

// proves: T-44
#[test]
fn nothing_is_accepted_from_an_address_that_cannot_be_there() {
    let mut world = accepting(false);
    for from in ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "198.18.0.1", "198.18.1.2", "10.8.0.9"] {
        world.unwanted(FR, &tcp((v4(from), 5), (inner(FR), 8000), SYN, &[], b""), DropReason::Unasked);
    }
    world.receive(FR, &tcp((v4("10.9.0.9"), 5), (inner(FR), 8000), SYN, &[], b""));
}

#[test]
fn a_flow_of_the_host_is_not_taken_over() {
    let mut world = accepting(false);
    let peer = (v4("203.0.113.9"), 40_000);
    // The anchor has the port outside, so the app on the presented address gets another.
    world.send(FR, &udp((ANCHOR, 8000), peer, b""));
    let sent = world.send(FR, &udp((bind(FR), 8000), peer, b""));
    assert_ne!(source_port(&sent), 8000);
    world.change(|input| input.tunnels[FR.index()].presented_v4 = Some(bind(FR)));
    let back = world.receive(FR, &udp(peer, (inner(FR), 8000), b""));
    assert_eq!(destination(&back), ANCHOR);
}

#[test]
fn a_tunnel_that_is_not_presented_accepts_nothing() {
    let mut world = accepting(false);
    world.change(|input| input.tunnels[FR.index()].presented_v4 = None);
    let syn = tcp((v4("203.0.113.9"), 5), (inner(FR), 8000), SYN, &[], b"");
    assert_eq!(world.inbound(FR, &mut syn.clone()), Inbound::Drop(DropReason::Unasked));
    let outcome = world.outbound_on(Attachment::Rules, &mut syn.clone(), &mrvpn_router::Offload::NONE);
    assert!(!matches!(outcome, Outbound::Forward { .. }));
}
