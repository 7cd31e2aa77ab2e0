//! What a lane does over time and by command: holding, pings, keys, farewells, errors of sockets and queue.

mod lane_support;

use std::io::ErrorKind;
use std::time::Duration;

use lane_support::*;
use mrvpn_engine::lane::limits::{HOLD_PACKETS, OUTBOX};
use mrvpn_engine::lane::{Carried, LaneCommand, LaneReport, SocketError};
use mrvpn_proto::wrapping::Side;
use mrvpn_proto::{DataKeys, KeyId, OCC_EXIT, PING};
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

// proves: F-27
#[test]
fn the_old_key_seals_until_the_moment_of_the_new_one_or_until_the_server_uses_it() {
    for server_is_first in [false, true] {
        let mut world = World::up(ALL);
        let new = DataKeys { seal_after: at(30.0), ..keys(UK, Side::Client, 1) };
        world.lane.handle(LaneCommand::Install { tunnel: UK, keys: Box::new(new) }, at(0.0));
        world.read(question(0), Offload::NONE);
        world.run(at(1.0));
        assert_eq!(world.at_server(UK).len(), 1, "the old key seals");
        world.servers[0].keys = keys(UK, Side::Server, 1);
        if server_is_first {
            world.arrive_sealed(UK, &PING);
            world.run(at(2.0));
        }
        let when = if server_is_first { at(2.0) } else { at(30.0) };
        world.read(question(1), Offload::NONE);
        world.run(when);
        assert_eq!(world.at_server(UK).len(), 1, "the new key seals");
    }
}

// proves: T-02
#[test]
fn a_forged_packet_of_the_new_key_changes_nothing() {
    let mut world = World::up(ALL);
    let new = DataKeys { seal_after: at(30.0), ..keys(UK, Side::Client, 1) };
    world.lane.handle(LaneCommand::Install { tunnel: UK, keys: Box::new(new) }, at(0.0));
    let mut other = Server { keys: keys(FR, Side::Server, 1) };
    let forged = other.seal(&PING);
    world.arrive(UK, forged);
    world.read(question(0), Offload::NONE);
    world.run(at(1.0));
    assert_eq!(world.drops(UK, DropReason::Forged), 1);
    assert_eq!(world.at_server(UK).len(), 1, "the old key seals as before");
}

#[test]
fn what_a_tunnel_has_carried_grows_by_what_is_sealed_and_opened_also_over_sessions() {
    let mut world = World::up(ALL);
    world.read(question(0), Offload::NONE);
    world.arrive_sealed(UK, &PING);
    world.run(at(0.0));
    let inner = question(0).len() + PING.len();
    assert_eq!(world.counters.carried(UK), Carried { bytes: inner as u64, packets: 2 });
    adopt(&mut world.lane, UK, None, at(1.0));
    world.servers[0] = Server::new(UK);
    world.arrive_sealed(UK, &PING);
    world.run(at(1.0));
    assert_eq!(world.counters.carried(UK).packets, 3);
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
        world.io.send_error = Some(SocketError::Passing(error));
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
    world.io.receive_error = Some(SocketError::Passing(ErrorKind::ConnectionRefused));
    assert!(!world.turn(at(0.0)).busy);
    assert_eq!(world.reports().len(), 1);
    world.io.receive_error = None;
    world.run(at(0.1));
    assert_eq!(world.counters.last_heard(UK), Some(at(0.1)));
}

// proves: T-06
#[test]
fn a_thousand_forged_errors_a_second_for_half_a_minute_cost_two_reports_a_second_and_no_packet() {
    let mut world = World::up(ALL);
    let mut reports = 0;
    for step in 0..30_000_u32 {
        let now = at(f64::from(step) / 1_000.0);
        world.io.receive_error = Some(SocketError::Passing(ErrorKind::ConnectionRefused));
        world.arrive(UK, Vec::new());
        assert!(!world.turn(now).busy, "no spinning");
        reports += world.reports().len();
    }
    assert!(reports <= 60, "{reports} reports in 30 s");
    world.io.receive_error = None;
    world.io.arrived.clear();
    world.read(question(0), Offload::NONE);
    world.arrive_sealed(UK, &PING);
    world.run(at(30.0));
    assert_eq!(world.at_server(UK).len(), 1);
    assert_eq!(world.counters.last_heard(UK), Some(at(30.0)));
}

// proves: F-15
#[test]
fn a_socket_without_room_costs_the_packets_that_do_not_fit_and_goes_on_as_soon_as_there_is_room() {
    for error in [ErrorKind::WouldBlock, ErrorKind::OutOfMemory, ErrorKind::Other] {
        let mut world = World::up(ALL);
        world.io.send_error = Some(SocketError::Passing(error));
        for step in 0..50_u8 {
            world.read(question(step), Offload::NONE);
        }
        while world.turn(at(0.0)).busy {}
        assert_eq!(world.drops(UK, DropReason::SocketFull), 50);
        world.io.send_error = None;
        world.read(question(50), Offload::NONE);
        world.run(at(0.1));
        assert_eq!(world.at_server(UK).len(), 1);
    }
}

#[test]
fn the_end_of_a_stream_is_reported_once_and_costs_the_other_tunnel_nothing() {
    let mut world = World::up(ALL);
    world.io.send_error = Some(SocketError::Ended(ErrorKind::ConnectionReset));
    for step in 0..3_u8 {
        world.read(question(step), Offload::NONE);
        world.run(at(f64::from(step)));
    }
    let error = ErrorKind::ConnectionReset;
    assert_eq!(world.reports(), [LaneReport::StreamEnded { tunnel: UK, attempt: SESSION, error }]);
    assert_eq!(world.drops(UK, DropReason::SocketFull), 3);
    world.io.send_error = None;
    adopt(&mut world.lane, UK, None, at(4.0));
    world.servers[0] = Server::new(UK);
    world.io.receive_error = Some(SocketError::Ended(ErrorKind::UnexpectedEof));
    world.arrive(UK, vec![0]);
    world.run(at(5.0));
    assert_eq!(world.reports().len(), 1, "a new session has an end of its own");
}

#[test]
fn a_deleted_interface_is_reported_once() {
    let mut world = World::up(ALL);
    world.io.queue.gone = true;
    world.run(at(0.0));
    world.run(at(0.1));
    assert_eq!(world.reports(), [LaneReport::QueueGone]);
}
