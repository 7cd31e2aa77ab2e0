//! What ends with a lease: its connections at once and felt, its ports rest, its late packets go nowhere.

use std::time::Duration;

use mrvpn_router::{DropReason, LeaseId, TunnelState, limits};

use crate::packets::*;
use crate::six::{completed6, is_right6, six, to_six};
use crate::world::*;

fn number(packet: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(packet[at..at + 4].try_into().unwrap())
}

fn end_lease(world: &mut World, lease: u32) {
    world.change(|input| input.tunnels[FR.index()].lease = LeaseId::new(lease));
}

fn open(world: &mut World, port: u16) {
    world.send(FR, &numbered(tcp(app(port), web(), SYN, &[], b""), 100, 0));
    world.receive(FR, &numbered(tcp(web(), (inner(FR), port), SYN | ACK, &[], b""), 900, 101));
    world.send(FR, &numbered(tcp(app(port), web(), ACK, &[], b"question"), 101, 901));
}

// proves: T-74, F-22
#[test]
fn a_connection_of_an_ended_lease_is_reset_where_its_host_expects_it() {
    let mut world = World::new();
    open(&mut world, 7000);
    world.receive(FR, &numbered(tcp(web(), (inner(FR), 7000), ACK, &[], b"answer"), 901, 109));
    world.send(UK, &tcp((bind(UK), 1), web(), SYN, &[], b""));
    assert!(world.resets().is_empty());
    end_lease(&mut world, 9);
    let answers = world.resets();
    assert_eq!((answers.len(), world.router.flows()), (1, 1), "the other tunnel's stays");
    let reset = &answers[0];
    assert_eq!(
        (source(reset), source_port(reset), destination(reset), destination_port(reset)),
        (web().0, 443, ANCHOR, 7000)
    );
    assert_eq!((reset[33], number(reset, 24), number(reset, 28)), (RST | ACK, 907, 109));
    assert!(is_right(reset));
    assert!(world.resets().is_empty());
}

#[test]
fn a_connection_that_is_being_opened_is_told_too_and_one_that_has_ended_is_not() {
    let mut world = World::new();
    world.send(FR, &numbered(tcp(app(1), web(), SYN, &[], b""), 100, 0));
    open(&mut world, 2);
    world.receive(FR, &tcp(web(), (inner(FR), 2), RST, &[], b""));
    end_lease(&mut world, 9);
    let answers = world.resets();
    assert_eq!(answers.len(), 1);
    assert_eq!((destination_port(&answers[0]), answers[0][33], number(&answers[0], 28)), (1, RST | ACK, 101));
    assert_eq!(world.router.flows(), 0);
}

#[test]
fn over_ipv6_it_is_the_same() {
    let mut world = World::over(true, |_| ());
    open(&mut world, 7000);
    end_lease(&mut world, 9);
    let answers = world.resets();
    let reset = &answers[0];
    assert_eq!((reset.len(), reset[6], reset[53], number(reset, 44)), (60, TCP, RST | ACK, 901));
    assert_eq!((&reset[8..24], &reset[24..40]), (&six(web().0).octets()[..], &six(ANCHOR).octets()[..]));
    assert!(is_right6(reset));
    assert_eq!(completed6(&to_six(&udp(app(1), web(), b"x"))).len(), 49);
}

#[test]
fn a_tunnel_that_only_reconnects_resets_nothing() {
    let mut world = World::new();
    open(&mut world, 7000);
    world.set_state(FR, TunnelState::Down);
    world.set_state(FR, TunnelState::Up);
    assert!(world.resets().is_empty());
    world.send(FR, &tcp(app(7000), web(), ACK, &[], b"data"));
}

#[test]
fn an_ended_datagram_flow_is_refused_at_its_next_packet() {
    for mut world in World::both() {
        world.send(FR, &udp(app(1), web(), b""));
        end_lease(&mut world, 9);
        assert!(world.resets().is_empty());
        world.refused(Some(FR), &udp(app(1), web(), b""), DropReason::LeaseEnded);
        world.send(FR, &udp(app(1), web(), b""));
    }
}

// proves: T-74
#[test]
fn a_port_of_an_ended_lease_rests_and_its_late_packets_never_arrive() {
    World::both().into_iter().for_each(late_packets);
}

fn late_packets(mut world: World) {
    let question = udp(app(5000), web(), b"question");
    let late = swapped(&world.send(FR, &question));
    // Reconnect storm: another lease each time, with the same address.
    for lease in 10..20 {
        end_lease(&mut world, lease);
        world.pass(Duration::from_secs(1));
        world.refused(Some(FR), &question, DropReason::LeaseEnded);
        let sent = world.send(FR, &question);
        assert_ne!(source_port(&sent), 5000);
        world.unwanted(FR, &late, DropReason::Unasked);
        world.receive(FR, &swapped(&sent));
    }
    world.pass(limits::PORT_REST - Duration::from_secs(10));
    assert_eq!(source_port(&world.send(FR, &udp((bind(FR), 5000), web(), b""))), 5000, "it has rested");
}

// proves: T-74
#[test]
fn ports_of_a_lease_that_comes_again_rest_as_well() {
    let mut world = World::new();
    world.send(FR, &tcp(app(5000), web(), SYN, &[], b""));
    let first = world.input.tunnels[FR.index()].lease;
    end_lease(&mut world, 9);
    world.change(|input| input.tunnels[FR.index()].lease = first);
    assert!(world.resets().is_empty(), "its flows were never away");
    world.send(FR, &tcp(app(5000), web(), ACK, &[], b"data"));
}

// proves: F-22, I-3, I-4
#[test]
fn with_a_new_address_old_flows_end_and_new_ones_have_it() {
    World::both().into_iter().for_each(another_address);
}

fn another_address(mut world: World) {
    let old = world.send(FR, &udp(app(1), web(), b""));
    let address = v4("10.77.0.2");
    world.change(|input| {
        input.tunnels[FR.index()].lease = LeaseId::new(9);
        input.tunnels[FR.index()].inner_v4 = Some(address);
    });
    world.unwanted(FR, &swapped(&old), DropReason::NotOurAddress);
    let new = world.send(FR, &udp(app(2), web(), b""));
    assert_eq!(source(&new), address);
    world.receive(FR, &swapped(&new));
}
