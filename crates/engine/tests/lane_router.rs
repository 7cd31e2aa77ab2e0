//! What the lane does for the router beside forwarding: connections of an ended lease or of a tunnel that stays away are
//! reset, a share of them in a turn, and fragments that came before their first go on behind it.

#![allow(clippy::unwrap_used, reason = "a test whose packets cannot be built has failed")]

mod lane_support;

use lane_support::*;
use mrvpn_engine::lane::LaneCommand;
use mrvpn_engine::lane::limits::TURN_RESETS;
use mrvpn_router::fragment::fragment_ipv4;
use mrvpn_router::{DropReason, Offload, TunnelState};

/// Flags of a reset.
const RST_ACK: u8 = 0x14;

fn end_lease_of_uk(world: &mut World) {
    let policy = policy_of_leases([TunnelState::Up; 2], [9, 2]);
    world.lane.handle(LaneCommand::Policy(policy), at(0.2));
}

fn pieces(packet: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    fragment_ipv4(packet, 1_000, |header, payload| pieces.push([header, payload].concat())).unwrap();
    pieces
}

// proves: F-22
#[test]
fn connections_of_an_ended_lease_are_reset_at_once_and_no_others() {
    let mut world = World::up(ALL);
    world.open_flow(UK, IN_UK, 40_000);
    world.open_flow(FR, IN_FR, 40_001);
    world.written();
    world.io.queue.written.clear();
    end_lease_of_uk(&mut world);
    world.run(at(0.2));
    let resets = world.written();
    assert_eq!(resets.len(), 1);
    assert_eq!((addresses(&resets[0]), resets[0][33]), ((IN_UK, ANCHOR), RST_ACK));
    assert!(is_right(&resets[0]));
}

#[test]
fn many_connections_are_reset_in_shares() {
    for (count, busy) in [(TURN_RESETS - 1, false), (TURN_RESETS, true), (TURN_RESETS + 1, true)] {
        let mut world = World::up(ALL);
        for port in 0..count {
            world.open_flow(UK, IN_UK, 10_000 + u16::try_from(port).unwrap());
        }
        world.io.queue.written.clear();
        end_lease_of_uk(&mut world);
        assert_eq!(world.turn(at(0.2)).busy, busy, "{count}");
        assert_eq!(world.io.queue.written.len(), count.min(TURN_RESETS));
        world.run(at(0.2));
        assert_eq!(world.io.queue.written.len(), count);
    }
}

// proves: T-70
#[test]
fn a_connection_that_waits_for_an_answer_is_reset_by_itself_when_its_tunnel_stays_away() {
    let mut world = World::up(ALL);
    world.open_flow(UK, IN_UK, 40_000);
    world.open_flow(FR, IN_FR, 40_001);
    world.lane.handle(LaneCommand::Policy(policy([TunnelState::Hold(at(1.2)), TunnelState::Up])), at(0.2));
    world.run(at(0.2));
    assert_eq!(world.lane.poll_timeout(), Some(at(1.2)));
    world.io.queue.written.clear();
    world.run(at(1.1));
    assert!(world.written().is_empty());
    world.run(at(1.2));
    let resets = world.written();
    assert_eq!(resets.len(), 1);
    assert_eq!((addresses(&resets[0]), resets[0][33]), ((IN_UK, ANCHOR), RST_ACK));
    assert!(is_right(&resets[0]));
    assert!(world.lane.has_told());
}

// proves: T-77
#[test]
fn early_fragments_follow_their_first_both_ways() {
    let mut world = World::up(ALL);
    let question = udp((ANCHOR, 5000), (IN_UK, 53), &[7; 2_500]);
    let [first, second, third] = <[Vec<u8>; 3]>::try_from(pieces(&question)).unwrap();
    for piece in [third, second] {
        world.read(piece, Offload::NONE);
        world.run(at(0.0));
        assert!(world.at_server(UK).is_empty());
    }
    world.read(first, Offload::NONE);
    world.run(at(0.0));
    let seen = world.at_server(UK);
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|piece| addresses(piece) == (inner(UK), IN_UK)));

    let port = u16::from_be_bytes([seen[0][20], seen[0][21]]);
    let answer = udp((IN_UK, 53), (inner(UK), port), &[8; 2_500]);
    for piece in pieces(&answer).iter().rev() {
        world.arrive_sealed(UK, piece);
    }
    world.run(at(0.1));
    let written = world.written();
    assert_eq!(written.len(), 3);
    assert!(written.iter().all(|piece| addresses(piece) == (IN_UK, ANCHOR)));
    assert_eq!(world.drops(UK, DropReason::Fragment), 0);

    world.arrive_sealed(UK, &pieces(&answer)[2]);
    world.run(at(0.1));
    assert_eq!(world.drops(UK, DropReason::Fragment), 0, "it waits");
    world.run(at(5.2));
    assert_eq!(world.drops(UK, DropReason::Fragment), 1);
}
