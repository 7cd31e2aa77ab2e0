//! What a lane does when its interface goes or is set down, and what it tells the control side unasked or when it is asked.

mod lane_support;

use lane_support::*;
use mrvpn_engine::lane::{LaneCommand, LaneReport};
use mrvpn_netplan::QueueCapabilities;
use mrvpn_router::{DropReason, FlowFilter, Offload};

// proves: F-16
#[test]
fn flows_and_keys_live_on_with_another_interface_in_place_of_a_deleted_one() {
    let mut world = World::up(ALL);
    let port = world.open_flow(UK, IN_UK, 40_000);
    world.io.queue.gone = true;
    for _ in 0..3 {
        world.arrive_sealed(UK, &Tcp::new(inner(UK), IN_UK, port).answer().packet());
        world.run(at(0.1));
    }
    assert_eq!(world.reports(), [LaneReport::QueueGone], "said once, whatever comes meanwhile");
    world.io.queue = HandQueue { capabilities: QueueCapabilities::default(), ..HandQueue::default() };
    world.lane.take_up_queue();
    world.arrive_sealed(UK, &Tcp::new(inner(UK), IN_UK, port).answer().packet());
    world.read(Tcp::new(ANCHOR, IN_UK, 40_000).packet(), Offload::NONE);
    world.run(at(0.2));
    assert_eq!(world.written().len(), 1, "an answer reaches the flow that asked");
    assert_eq!(world.at_server(UK).len(), 1, "and it goes on");
    world.io.queue.gone = true;
    world.run(at(0.3));
    assert_eq!(world.reports(), [LaneReport::QueueGone], "another loss is told again");
}

// proves: F-16
#[test]
fn an_interface_that_is_down_is_told_twice_a_second_and_packets_pass_when_it_is_up() {
    let mut world = World::up(ALL);
    let port = world.open_flow(UK, IN_UK, 40_000);
    world.io.queue.down = true;
    for now in 0..100 {
        world.arrive_sealed(UK, &Tcp::new(inner(UK), IN_UK, port).answer().packet());
        world.run(at(f64::from(now) / 100.0));
    }
    assert_eq!(world.reports().len(), 1, "while one waits to be taken");
    world.arrive_sealed(UK, &Tcp::new(inner(UK), IN_UK, port).answer().packet());
    world.run(at(1.2));
    assert_eq!(world.reports(), [LaneReport::QueueDown]);
    assert_eq!(world.drops(UK, DropReason::InterfaceFull), 101);
    world.io.queue.down = false;
    world.arrive_sealed(UK, &Tcp::new(inner(UK), IN_UK, port).answer().packet());
    world.run(at(1.3));
    assert_eq!(world.written().len(), 1);
}

#[test]
fn that_packets_are_dropped_is_told_once_a_second() {
    let mut world = World::new([mrvpn_router::TunnelState::Down; 2], ALL);
    let told = |world: &mut World| std::iter::from_fn(|| world.lane.poll_report()).count();
    for (now, count) in [(0.0, 1), (0.5, 0), (0.999, 0), (1.0, 1), (1.5, 0)] {
        world.arrive_sealed(UK, b"early");
        world.run(at(now));
        assert_eq!(told(&mut world), count, "at {now}");
    }
}

#[test]
fn flows_are_found_for_who_asks() {
    let mut world = World::up(ALL);
    let port = world.open_flow(UK, IN_UK, 40_000);
    world.open_flow(UK, IN_UK, 40_001);
    world.open_flow(FR, IN_FR, 40_000);
    let filter = FlowFilter { destination: IN_UK.into(), port: None, protocol: Some(6), source: None };
    for (most, count) in [(1, 1), (2, 2), (3, 2)] {
        world.lane.handle(LaneCommand::FindFlows { question: 7, filter, most }, at(0.0));
        let reports = world.reports();
        let [LaneReport::Flows { question: 7, flows }] = &reports[..] else { panic!("{reports:?}") };
        assert_eq!(flows.len(), count);
        assert!(flows.iter().all(|flow| flow.tunnel == UK && flow.remote == (IN_UK.into(), 443)));
        let sent = flows.iter().find(|flow| flow.seen.1 == 40_000).map(|flow| flow.sent);
        assert!(sent.is_none_or(|sent| sent == (inner(UK).into(), port)));
    }
}

#[test]
fn a_number_that_another_tunnel_gets_is_counted_from_0() {
    let mut world = World::up(ALL);
    world.open_flow(UK, IN_UK, 40_000);
    world.arrive_sealed(UK, b"junk");
    world.run(at(0.0));
    assert!(world.counters.tx_bytes(UK) > 0 && world.drops(UK, DropReason::Malformed) == 1);
    world.lane.handle(LaneCommand::Release { tunnel: UK }, at(0.0));
    world.lane.handle(LaneCommand::Forget { tunnel: UK }, at(0.0));
    assert_eq!((world.counters.tx_bytes(UK), world.drops(UK, DropReason::Malformed)), (0, 0));
    world.servers[0] = Server::new(UK);
    adopt(&mut world.lane, UK, None, at(0.0));
    world.arrive_sealed(UK, b"junk");
    world.run(at(0.0));
    assert_eq!(world.drops(UK, DropReason::Malformed), 1, "what was counted before stays forgotten");
}
