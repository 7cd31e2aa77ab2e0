//! What a stranger or a server may throw at a lane: it is dropped, counted by its reason, never answered, and changes
//! nothing.

mod lane_support;

use lane_support::*;
use mrvpn_engine::lane::LaneReport;
use mrvpn_engine::lane::limits::CONTROL_QUEUED;
use mrvpn_proto::OCC_EXIT;
use mrvpn_router::{DropReason, Offload};

/// All drops of the first tunnel.
fn all_drops(world: &World) -> u64 {
    DropReason::ALL.iter().map(|reason| world.drops(UK, *reason)).sum()
}

// proves: T-01
#[test]
fn every_prefix_and_every_flipped_byte_of_a_data_packet_is_dropped_and_counted() {
    let mut world = World::up(ALL);
    let port = world.open_flow(UK, IN_UK, 40_000);
    let good = world.servers[0].seal(&Tcp::new(inner(UK), IN_UK, port).answer().packet());
    let mut bad: Vec<Vec<u8>> = (0..good.len()).map(|length| good[..length].to_vec()).collect();
    // Of the first byte only the key id is flipped: another opcode makes it a control packet (below). The peer id is
    // authenticated too.
    bad.extend((0..good.len()).map(|place| {
        let mut flipped = good.clone();
        flipped[place] ^= if place == 0 { 0x07 } else { 0xff };
        flipped
    }));
    let count = bad.len() as u64;
    bad.into_iter().for_each(|datagram| world.arrive(UK, datagram));
    world.run(at(0.0));
    assert!(world.io.sent.is_empty() && world.written().is_empty() && world.reports().is_empty());
    assert_eq!(all_drops(&world), count);
    assert_eq!(world.drops(UK, DropReason::UnknownKey), 1);
    assert_eq!(world.drops(UK, DropReason::Malformed), 24, "shorter than header and tag, the empty one included");
    assert_eq!(world.counters.last_heard(UK), None, "nothing authentic was heard");

    world.arrive(UK, good.clone());
    world.arrive(UK, good);
    world.run(at(0.0));
    assert_eq!(world.written().len(), 1, "the packet itself still passes, once");
    assert_eq!(world.drops(UK, DropReason::Replayed), 1);
}

// proves: T-01
#[test]
fn data_for_a_tunnel_without_keys_is_dropped() {
    let mut world = World::new([mrvpn_router::TunnelState::Down; 2], ALL);
    world.arrive_sealed(UK, b"early");
    world.run(at(0.0));
    assert_eq!(world.drops(UK, DropReason::UnknownKey), 1);
    assert!(world.io.sent.is_empty() && world.written().is_empty());
}

#[test]
fn a_flood_of_control_packets_fills_no_more_than_its_own_queue() {
    let mut world = World::up(ALL);
    let flood = CONTROL_QUEUED as u64 + 10;
    for _ in 0..flood {
        world.arrive(UK, vec![0x20; 50]);
    }
    world.arrive(FR, vec![0x20; 51]);
    world.run(at(0.0));
    assert_eq!(world.drops(UK, DropReason::ControlFull), 10);
    let reports = world.reports();
    assert_eq!(reports.len(), CONTROL_QUEUED + 1);
    assert!(reports.contains(&LaneReport::Control { tunnel: FR, datagram: vec![0x20; 51] }));
}

#[test]
fn what_a_server_sends_that_is_no_packet_never_reaches_the_interface() {
    let mut world = World::up(ALL);
    for inner in [b"junk".as_slice(), &[0x45; 19], &[0x60; 40], &mrvpn_proto::PING] {
        world.arrive_sealed(UK, inner);
    }
    world.run(at(0.1));
    assert!(world.written().is_empty());
    assert_eq!(all_drops(&world), 3, "all but the ping");
    assert_eq!(world.counters.last_heard(UK), Some(at(0.1)));
}

#[test]
fn a_server_that_leaves_is_reported_once() {
    let mut world = World::up(ALL);
    world.arrive_sealed(UK, &OCC_EXIT);
    world.arrive_sealed(UK, &OCC_EXIT);
    world.run(at(0.0));
    assert_eq!(world.reports(), [LaneReport::PeerExit { tunnel: UK, attempt: SESSION }]);
}

// proves: T-80, T-45
#[test]
fn a_server_reaches_neither_another_tunnel_nor_this_host_unasked() {
    let mut world = World::up(ALL);
    let port = world.open_flow(FR, IN_FR, 40_000);
    let into_fr = Tcp::new(inner(FR), IN_FR, port).answer().packet();
    let syn = Tcp::new(inner(UK), IN_UK, 22).flags(SYN).answer().packet();
    world.arrive_sealed(UK, &into_fr);
    world.arrive_sealed(UK, &syn);
    world.run(at(0.0));
    assert!(world.written().is_empty() && world.io.sent.is_empty());
    assert_eq!(world.drops(UK, DropReason::NotOurAddress), 1);
    assert_eq!(world.drops(UK, DropReason::Unasked), 1);
}

// proves: T-72, I-4
#[test]
fn a_perfect_answer_through_the_wrong_tunnel_is_dropped() {
    let mut world = World::up(ALL);
    let port = world.open_flow(FR, IN_FR, 40_000);
    world.arrive_sealed(UK, &Tcp::new(inner(UK), IN_FR, port).answer().packet());
    world.run(at(0.0));
    assert!(world.written().is_empty());
    assert_eq!(world.drops(UK, DropReason::NoFlow), 1);
    world.arrive_sealed(FR, &Tcp::new(inner(FR), IN_FR, port).answer().packet());
    world.run(at(0.0));
    assert_eq!(world.written().len(), 1, "through its own it passes");
}

#[test]
fn junk_from_the_interface_is_counted_and_answered_by_nothing() {
    let mut world = World::up(ALL);
    for packet in [Vec::new(), vec![0x45], vec![0; 100], vec![0xff; 60]] {
        world.read(packet, Offload::NONE);
    }
    world.run(at(0.0));
    assert!(world.io.sent.is_empty() && world.written().is_empty());
    assert_eq!(world.counters.drops(None, DropReason::Malformed), 4);
}
