//! Connections that wait for an answer through a tunnel that stays away are told when packets no longer wait for it; silent
//! ones live on.

use std::time::Duration;

use mrvpn_router::{DropReason, TunnelState};

use crate::packets::*;
use crate::six::is_right6;
use crate::world::*;

const SECOND: Duration = Duration::from_secs(1);

/// A connection on which all is acknowledged.
fn silent(world: &mut World, port: u16) {
    world.send(FR, &numbered(tcp(app(port), web(), SYN, &[], b""), 100, 0));
    world.receive(FR, &numbered(tcp(web(), (inner(FR), port), SYN | ACK, &[], b""), 900, 101));
    world.send(FR, &numbered(tcp(app(port), web(), ACK, &[], b""), 101, 901));
}

/// A connection whose question is not acknowledged.
fn waiting(world: &mut World, port: u16) {
    silent(world, port);
    world.send(FR, &numbered(tcp(app(port), web(), ACK, &[], b"question"), 101, 901));
}

fn hold(world: &mut World) {
    let until = world.now + SECOND;
    world.set_state(FR, TunnelState::Hold(until));
}

/// Lets the router do what is due.
fn pass(world: &mut World, time: Duration) {
    world.pass(time);
    world.router.handle_timeout(world.now);
    assert!(world.router.poll_timeout().is_none_or(|due| due > world.now), "it is not due twice");
}

fn ports(resets: &[Vec<u8>]) -> Vec<u16> {
    let mut ports: Vec<_> = resets.iter().map(|reset| destination_port(reset)).collect();
    ports.sort_unstable();
    ports
}

// proves: T-70
#[test]
fn a_connection_that_waits_for_an_answer_is_reset_when_the_hold_is_over_and_a_silent_one_lives() {
    let mut world = World::new();
    silent(&mut world, 1);
    waiting(&mut world, 2);
    world.send(FR, &tcp(app(3), web(), SYN, &[], b""));
    world.send(FR, &udp(app(4), web(), b"question"));
    world.send(UK, &tcp(app(5), end("10.8.0.9:443"), SYN, &[], b""));
    hold(&mut world);
    assert!(world.resets().is_empty());
    assert_eq!(world.router.poll_timeout(), Some(world.now + SECOND));
    pass(&mut world, SECOND - Duration::from_nanos(1));
    assert!(world.resets().is_empty());
    pass(&mut world, Duration::from_nanos(1));
    assert_eq!(world.router.untold(), 2);
    let resets = world.resets();
    assert_eq!(ports(&resets), [2, 3]);
    let reset = resets.iter().find(|reset| destination_port(reset) == 2).unwrap();
    assert_eq!((source(reset), destination(reset), reset[33]), (web().0, ANCHOR, RST | ACK));
    assert_eq!((&reset[24..28], &reset[28..32]), (&901_u32.to_be_bytes()[..], &109_u32.to_be_bytes()[..]));
    assert!(is_right(reset));
    assert_eq!((world.router.untold(), world.router.flows()), (0, 3));

    world.set_state(FR, TunnelState::Up);
    assert!(world.resets().is_empty());
    world.send(FR, &numbered(tcp(app(1), web(), ACK, &[], b"more"), 101, 901));
    world.send(FR, &udp(app(4), web(), b"question"));
    world.refused(Some(FR), &tcp(app(2), web(), ACK, &[], b"more"), DropReason::NotSyn);
}

#[test]
fn a_tunnel_that_is_down_or_was_held_long_enough_tells_at_once_and_once() {
    for over_ipv6 in [false, true] {
        let mut world = World::over(over_ipv6, |_| ());
        waiting(&mut world, 1);
        let past = world.now;
        world.set_state(FR, TunnelState::Hold(past));
        let resets = world.resets();
        assert_eq!(resets.len(), 1);
        assert!(if over_ipv6 { is_right6(&resets[0]) } else { is_right(&resets[0]) });
        world.set_state(FR, TunnelState::Down);
        assert_eq!(world.router.untold(), 0);

        world.set_state(FR, TunnelState::Up);
        waiting(&mut world, 2);
        world.set_state(FR, TunnelState::Down);
        assert_eq!(world.resets().len(), 1);
        assert_eq!(world.router.flows(), 0);
    }
}

#[test]
fn a_tunnel_that_is_back_in_time_tells_nobody() {
    let mut world = World::new();
    waiting(&mut world, 1);
    hold(&mut world);
    pass(&mut world, SECOND / 2);
    world.set_state(FR, TunnelState::Up);
    pass(&mut world, SECOND);
    assert!(world.resets().is_empty());
    // Nor does one that is back before they were told.
    world.set_state(FR, TunnelState::Down);
    assert_eq!(world.router.untold(), 1);
    world.set_state(FR, TunnelState::Up);
    assert!(world.resets().is_empty());
    world.send(FR, &numbered(tcp(app(1), web(), ACK, &[], b"question"), 101, 901));
    world.receive(FR, &numbered(tcp(web(), (inner(FR), 1), ACK, &[], b"answer"), 901, 109));
}

#[test]
fn a_connection_that_was_refused_meanwhile_is_not_told_twice() {
    let mut world = World::new();
    waiting(&mut world, 1);
    hold(&mut world);
    world.pass(SECOND);
    world.refused(Some(FR), &numbered(tcp(app(1), web(), ACK, &[], b"question"), 101, 901), DropReason::TunnelDown);
    pass(&mut world, Duration::ZERO);
    assert!(world.resets().is_empty());
}
