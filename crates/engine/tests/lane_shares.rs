//! Whose flows there are is asked of the TUN queue's platform, and only where it matters.

mod lane_support;

use lane_support::*;
use mrvpn_router::limits::FLOWS_UNASKED;
use mrvpn_router::{DropReason, Offload, TunnelState};

/// A datagram of a flow of its own.
fn question(number: usize) -> Vec<u8> {
    let number = u16::try_from(number).unwrap_or(u16::MAX);
    udp((ANCHOR, 1_024 + number), (IN_UK, 53), b"question")
}

// proves: T-75
#[test]
fn a_lane_asks_whose_a_flow_is_once_there_are_very_many() {
    let mut world = World::new([TunnelState::Up, TunnelState::Up], ALL);
    for number in 0..FLOWS_UNASKED {
        world.read(question(number), Offload::NONE);
    }
    world.run(at(0.1));
    assert_eq!(world.at_server(UK).len(), FLOWS_UNASKED);
    assert!(world.io.queue.asked.is_empty());
    world.read(question(FLOWS_UNASKED), Offload::NONE);
    world.run(at(0.2));
    assert_eq!(world.at_server(UK).len(), 1, "it goes all the same");
    let ports: Vec<_> = world.io.queue.asked.iter().map(|flow| flow.source_port).collect();
    assert_eq!(ports, [Some(1_024 + 8_192), Some(1_024)], "the new one, and the oldest");
    world.read(question(FLOWS_UNASKED), Offload::NONE);
    world.run(at(0.3));
    assert_eq!((world.io.queue.asked.len(), world.drops(UK, DropReason::ShareFull)), (2, 0));
}
