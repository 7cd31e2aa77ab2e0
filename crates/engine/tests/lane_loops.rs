//! Outer packets that come back into the interface, as where a wrapper on the same host has its own connection captured.

mod lane_support;

use lane_support::*;
use mrvpn_engine::lane::{LaneCommand, LaneReport};
use mrvpn_router::{DropReason, Offload};

/// Where the wrapper sends to: behind the first tunnel, which captures it.
const WRAPPER: (std::net::Ipv4Addr, u16) = (ANCHOR, 33_333);

/// The wrapper sends on what it got, until nothing comes any more or the tunnel has sealed `most`; returns how many it
/// sealed.
fn go_round(world: &mut World, most: usize) -> usize {
    let mut sealed = 0;
    loop {
        world.run(at(0.0));
        let sent: Vec<Vec<u8>> = std::mem::take(&mut world.io.sent).into_iter().flat_map(|(_, sent)| sent).collect();
        sealed += sent.len();
        if sent.is_empty() || sealed > most {
            return sealed;
        }
        for datagram in sent {
            world.read(udp(WRAPPER, (IN_UK, 1_194), &datagram), Offload::NONE);
        }
    }
}

fn watched() -> World {
    let mut world = World::up(ALL);
    world.lane.handle(LaneCommand::WatchLoop { tunnel: UK }, at(0.0));
    world
}

fn ask(world: &mut World, number: u16) {
    world.read(udp((ANCHOR, 5_000), (IN_UK, 53), &number.to_be_bytes()), Offload::NONE);
}

const LOOP: LaneReport = LaneReport::Loop { tunnel: UK, attempt: SESSION };

// proves: T-54
#[test]
fn a_packet_that_comes_back_sealed_goes_no_further_and_its_tunnel_is_named_once() {
    for packets in [1, 10, 60] {
        let mut world = watched();
        (0..packets).for_each(|number| ask(&mut world, number));
        assert_eq!(go_round(&mut world, 100), usize::from(packets), "each once");
        assert_eq!(world.reports(), [LOOP]);
        assert_eq!(world.drops(UK, DropReason::Loop), u64::from(packets));
    }
}

#[test]
fn a_loop_is_found_even_where_more_is_under_way_than_is_remembered() {
    let mut world = watched();
    (0..1_000).for_each(|number| ask(&mut world, number));
    go_round(&mut world, 3_000);
    assert_eq!(world.reports(), [LOOP]);
}

#[test]
fn a_ping_that_comes_back_is_found_in_its_second_round() {
    let mut world = World::up(ALL);
    adopt(&mut world.lane, UK, Some(std::time::Duration::from_secs(1)), at(0.0));
    world.lane.handle(LaneCommand::WatchLoop { tunnel: UK }, at(0.0));
    world.run(at(1.0));
    assert!(go_round(&mut world, 100) <= 2);
    assert_eq!(world.reports(), [LOOP]);
}

#[test]
fn what_only_looks_like_it_passes() {
    let mut world = watched();
    ask(&mut world, 1);
    world.run(at(0.0));
    let mut sent = world.io.sent.pop().unwrap().1.pop().unwrap();
    sent[23] ^= 1;
    world.read(udp(WRAPPER, (IN_UK, 1_194), &sent), Offload::NONE);
    world.read(udp(WRAPPER, (IN_UK, 1_194), &sent[..23]), Offload::NONE);
    world.run(at(0.0));
    assert_eq!(world.io.sent.iter().map(|(_, datagrams)| datagrams.len()).sum::<usize>(), 2);
    assert!(world.reports().is_empty());
}

#[test]
fn a_new_session_is_watched_only_if_it_is_told_to_be() {
    let mut world = watched();
    adopt(&mut world.lane, UK, None, at(0.0));
    ask(&mut world, 1);
    assert!(go_round(&mut world, 20) > 20, "a server elsewhere: nothing is remembered");
    assert!(world.reports().is_empty());
}
