//! What a lane does over time and by command: holding, pings, keys, farewells, errors of sockets and queue.

mod lane_support;

use std::io::ErrorKind;
use std::time::Duration;

use lane_support::*;
use mrvpn_engine::lane::limits::{HOLD_PACKETS, OUTBOX};
use mrvpn_engine::lane::{LaneCommand, LaneReport};
use mrvpn_proto::wrapping::Side;
use mrvpn_proto::{KeyId, OCC_EXIT, PING};
use mrvpn_router::{DropReason, Offload, TunnelState};

const PING_EVERY: Duration = Duration::from_secs(10);

fn question(number: u8) -> Vec<u8> {
    udp((ANCHOR, 5000), (IN_UK, 53), &[number; 30])
}

fn held(packets: u8) -> World {
    let mut world = World::new([TunnelState::Hold(at(1.0)), TunnelState::Up], ALL);
    (0..packets).for_each(|number| world.read(question(number), Offload::NONE));
    world.run(at(0.0));
    world
}

#[test]
fn packets_wait_for_their_tunnel_and_leave_in_order_when_it_comes_up() {
    let mut world = held(64);
    assert!(world.io.sent.is_empty() && world.written().is_empty());
    assert_eq!(world.lane.poll_timeout(), Some(at(1.0)));
    world.lane.handle(LaneCommand::Policy(policy([TunnelState::Up; 2])), at(0.5));
    world.run(at(0.5));
    assert!(world.io.sent.is_empty(), "its keys are not here yet");
    adopt(&mut world.lane, UK, None, at(0.5));
    world.run(at(0.5));
    let order: Vec<u8> = world.at_server(UK).iter().map(|packet| packet[28]).collect();
    assert_eq!(order, (0..64).collect::<Vec<_>>());
}

#[test]
fn one_packet_more_than_64_is_refused_at_once() {
    let mut world = held(64);
    world.read(question(64), Offload::NONE);
    world.run(at(0.1));
    assert_eq!(world.written().len(), 1);
    assert_eq!(world.drops(UK, DropReason::HoldFull), 1);
    assert_eq!(HOLD_PACKETS, 64);
}

#[test]
fn packets_that_waited_in_vain_are_refused_and_another_tunnel_never_gets_them() {
    let mut world = held(3);
    world.run(at(0.9));
    assert!(world.written().is_empty());
    world.run(at(1.0));
    assert!(world.io.sent.is_empty());
    assert_eq!(world.drops(UK, DropReason::TunnelDown) + world.drops(UK, DropReason::HoldFull), 3);
    assert_eq!(world.written().len(), 3);
}

#[test]
fn a_ping_is_sent_when_nothing_was_sent_for_the_interval() {
    let mut world = World::new([TunnelState::Up, TunnelState::Up], ALL);
    adopt(&mut world.lane, UK, Some(PING_EVERY), at(0.0));
    world.run(at(9.0));
    world.read(question(0), Offload::NONE);
    world.run(at(9.5));
    assert_eq!(world.at_server(UK).len(), 1);
    world.run(at(10.0));
    assert!(world.io.sent.is_empty(), "data was sent half a second ago");
    world.run(at(19.5));
    assert_eq!(world.at_server(UK), [PING]);
    world.run(at(29.4));
    assert!(world.io.sent.is_empty());
    world.run(at(29.5));
    assert_eq!(world.at_server(UK), [PING]);
    assert_eq!(world.counters.tx_bytes(UK), 58, "a ping is no packet of anyone");
}

#[test]
fn without_an_interval_no_ping_is_sent() {
    let mut world = World::up(ALL);
    assert_eq!(world.lane.poll_timeout(), None);
    world.run(at(1_000.0));
    assert!(world.io.sent.is_empty());
}

#[test]
fn datagrams_of_the_session_leave_as_they_are_before_a_farewell() {
    let mut world = World::up(ALL);
    world.lane.handle(LaneCommand::Control { tunnel: UK, datagram: vec![0x20, 1, 2] }, at(0.0));
    world.lane.handle(LaneCommand::ExitNotify { tunnel: UK }, at(0.0));
    world.run(at(0.0));
    assert_eq!(world.io.sent.remove(0), (UK, vec![vec![0x20, 1, 2]]));
    assert_eq!(world.at_server(UK), [OCC_EXIT]);
}

#[test]
fn more_datagrams_of_a_session_than_the_outbox_holds_are_dropped_and_counted() {
    for extra in [0, 1] {
        let mut world = World::up(ALL);
        for _ in 0..OUTBOX + extra {
            world.lane.handle(LaneCommand::Control { tunnel: UK, datagram: vec![0x20] }, at(0.0));
        }
        world.run(at(0.0));
        assert_eq!(world.io.sent.len(), OUTBOX);
        assert_eq!(world.drops(UK, DropReason::ControlFull), extra as u64);
    }
}

#[test]
fn a_control_datagram_of_the_server_is_reported_as_it_came() {
    let mut world = World::up(ALL);
    world.arrive(UK, vec![0x28, 5, 6]);
    world.run(at(0.0));
    assert_eq!(world.reports(), [LaneReport::Control { tunnel: UK, datagram: vec![0x28, 5, 6] }]);
}

#[test]
fn new_keys_seal_at_once_and_the_old_ones_open_until_they_are_retired() {
    let mut world = World::up(ALL);
    let tunnel = UK;
    let new = Box::new(keys(UK, Side::Client, 1));
    world.lane.handle(LaneCommand::Install { tunnel, keys: new }, at(0.0));
    world.arrive_sealed(UK, &PING);
    world.read(question(0), Offload::NONE);
    world.run(at(1.0));
    assert_eq!(world.counters.last_heard(UK), Some(at(1.0)), "the old key opens");
    world.servers[0].keys = keys(UK, Side::Server, 1);
    assert_eq!(world.at_server(UK).len(), 1, "the new key seals");
    world.arrive_sealed(UK, &PING);
    world.run(at(2.0));
    assert_eq!(world.counters.last_heard(UK), Some(at(2.0)), "the new key opens");
    world.lane.handle(LaneCommand::Retire { tunnel, key_id: KeyId::FIRST }, at(2.0));
    world.servers[0].keys = keys(UK, Side::Server, 0);
    world.arrive_sealed(UK, &PING);
    world.run(at(3.0));
    assert_eq!(world.drops(UK, DropReason::UnknownKey), 1, "the old key is gone");
}

#[test]
fn a_released_tunnel_carries_nothing() {
    let mut world = World::up(ALL);
    world.lane.handle(LaneCommand::Release { tunnel: UK }, at(0.0));
    world.read(question(0), Offload::NONE);
    world.arrive_sealed(UK, &PING);
    world.run(at(0.0));
    assert!(world.io.sent.is_empty());
    assert_eq!(world.drops(UK, DropReason::TunnelDown), 1);
    assert_eq!(world.drops(UK, DropReason::UnknownKey), 1);
}

// proves: F-14
#[test]
fn a_socket_that_refuses_everything_is_reported_twice_a_second_and_costs_the_other_tunnel_nothing() {
    for error in [
        ErrorKind::ConnectionRefused,
        ErrorKind::NetworkUnreachable,
        ErrorKind::HostUnreachable,
        ErrorKind::PermissionDenied,
    ] {
        let mut world = World::up(ALL);
        world.io.send_error = Some(error);
        let mut reports = Vec::new();
        for step in 0..100_u8 {
            let now = at(f64::from(step) / 100.0);
            world.read(question(step), Offload::NONE);
            let turn = world.turn(now);
            assert!(!turn.busy, "no spinning");
            reports.extend(world.reports());
        }
        assert_eq!(
            reports,
            [LaneReport::SocketError { tunnel: UK, error }, LaneReport::SocketError { tunnel: UK, error }]
        );
        assert_eq!(world.drops(UK, DropReason::SocketFull), 100);
        world.io.send_error = None;
        world.read(question(0), Offload::NONE);
        world.run(at(2.0));
        assert_eq!(world.at_server(UK).len(), 1, "it goes on as soon as it can");
    }
}

// proves: F-14
#[test]
fn an_error_at_receiving_is_reported_and_what_comes_later_is_received() {
    let mut world = World::up(ALL);
    world.arrive_sealed(UK, &PING);
    world.io.receive_error = Some(ErrorKind::ConnectionRefused);
    assert!(!world.turn(at(0.0)).busy);
    assert_eq!(world.reports().len(), 1);
    world.io.receive_error = None;
    world.run(at(0.1));
    assert_eq!(world.counters.last_heard(UK), Some(at(0.1)));
}

#[test]
fn a_deleted_interface_is_reported_once() {
    let mut world = World::up(ALL);
    world.io.queue.gone = true;
    world.run(at(0.0));
    world.run(at(0.1));
    assert_eq!(world.reports(), [LaneReport::QueueGone]);
}
