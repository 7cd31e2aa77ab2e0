//! Both directions of the data path, with hand-made queue, sockets, servers and clock: what leaves, through which
//! tunnel, in what shape; what comes back, and what does not.

mod lane_support;

use lane_support::*;
use mrvpn_engine::lane::limits::TRAIN_DATAGRAMS;
use mrvpn_netplan::QueueCapabilities;
use mrvpn_router::{DropReason, Offload, TunnelState};

const OFF: QueueCapabilities = QueueCapabilities { checksum: false, tso: false, uso: false };

#[test]
fn a_packet_leaves_by_its_tunnel_with_the_assigned_source_and_the_answer_comes_back() {
    let mut world = World::up(ALL);
    let question = udp((ANCHOR, 5000), (IN_FR, 53), b"question");
    world.read(question.clone(), Offload::NONE);
    world.run(at(0.0));
    assert!(world.at_server(UK).is_empty());
    let seen = world.at_server(FR);
    assert_eq!(seen.len(), 1);
    assert_eq!(addresses(&seen[0]), (inner(FR), IN_FR));
    assert!(is_right(&seen[0]));
    let port = u16::from_be_bytes([seen[0][20], seen[0][21]]);
    world.arrive_sealed(FR, &udp((IN_FR, 53), (inner(FR), port), b"answer"));
    world.run(at(0.1));
    assert_eq!(world.written(), [udp((IN_FR, 53), (ANCHOR, 5000), b"answer")]);
    assert_eq!(world.counters.tx_bytes(FR), question.len() as u64);
    assert_eq!(world.counters.rx_bytes(FR), 28 + 6);
    assert_eq!(world.counters.last_heard(FR), Some(at(0.1)));
    assert_eq!(world.counters.last_heard(UK), None);
}

#[test]
fn a_super_packet_leaves_as_one_train_of_packets_of_the_tunnels_size() {
    let mut world = World::up(ALL);
    world.open_flow(UK, IN_UK, 40_000);
    let mut tcp = Tcp::new(ANCHOR, IN_UK, 40_000).flags(ACK | PSH);
    tcp.payload = (0..20_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let (packet, offload) = tcp.super_packet(1_460);
    world.read(packet, offload);
    world.run(at(0.0));
    assert_eq!(world.io.sent.len(), 1, "one train");
    let seen = world.at_server(UK);
    assert!(seen.iter().all(|packet| packet.len() <= usize::from(LIMIT) && is_right(packet)));
    tcp.source.0 = inner(UK);
    assert_eq!(seen, tcp.segments(usize::from(LIMIT) - 40));
}

#[test]
fn single_packets_of_one_turn_share_a_train_and_tunnels_never_do() {
    let mut world = World::up(ALL);
    for number in 0..10_u8 {
        world.read(udp((ANCHOR, 5000), (IN_UK, 53), &[number; 64]), Offload::NONE);
        world.read(udp((ANCHOR, 5000), (IN_FR, 53), &[number; 64]), Offload::NONE);
    }
    world.run(at(0.0));
    let trains: Vec<_> = world.io.sent.iter().map(|(tunnel, datagrams)| (*tunnel, datagrams.len())).collect();
    assert_eq!(trains, [(UK, 10), (FR, 10)]);
    for tunnel in [UK, FR] {
        let order: Vec<u8> = world.at_server(tunnel).iter().map(|packet| packet[28]).collect();
        assert_eq!(order, (0..10).collect::<Vec<_>>(), "in order");
    }
}

#[test]
fn a_flood_of_small_packets_leaves_in_trains_of_64() {
    let mut world = World::up(ALL);
    for _ in 0..100 {
        world.read(udp((ANCHOR, 5000), (IN_UK, 53), &[1; 20]), Offload::NONE);
    }
    world.run(at(0.0));
    assert_eq!(world.io.sent[0].1.len(), TRAIN_DATAGRAMS);
    assert_eq!(world.at_server(UK).len(), 100);
}

#[test]
fn segments_of_one_flow_reach_the_interface_as_one_packet() {
    let mut world = World::up(ALL);
    let port = world.open_flow(UK, IN_UK, 40_000);
    let mut tcp = Tcp::new(inner(UK), IN_UK, port).answer();
    tcp.payload = vec![9; 14_000];
    for segment in tcp.segments(1_400) {
        world.arrive_sealed(UK, &segment);
    }
    world.run(at(0.0));
    assert_eq!(world.io.queue.written.len(), 1);
    let (offload, packet) = &world.io.queue.written[0];
    assert_eq!(offload.segmentation.map(|s| s.size), Some(1_400));
    assert_eq!(packet.len(), 14_040);
    assert_eq!(addresses(packet), (IN_UK, ANCHOR));
}

#[test]
fn with_all_offloads_off_the_same_packets_pass_both_ways() {
    let up = |world: &mut World, packets: Vec<(Vec<u8>, Offload)>| {
        world.open_flow(UK, IN_UK, 40_000);
        packets.into_iter().for_each(|(packet, offload)| world.read(packet, offload));
        world.run(at(0.0));
        world.at_server(UK)
    };
    let mut tcp = Tcp::new(ANCHOR, IN_UK, 40_000).flags(ACK | PSH);
    tcp.payload = (0..30_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let size = LIMIT - 40;
    let (mut on, mut off) = (World::up(ALL), World::up(OFF));
    let whole = up(&mut on, vec![tcp.super_packet(size)]);
    let single = tcp.segments(usize::from(size)).into_iter().map(|packet| (packet, Offload::NONE)).collect();
    assert_eq!(whole, up(&mut off, single));

    let down = |world: &mut World| {
        let mut answer = Tcp::new(inner(UK), IN_UK, 40_000).answer();
        answer.payload = tcp.payload.clone();
        answer.segments(1_400).iter().for_each(|segment| world.arrive_sealed(UK, segment));
        world.run(at(0.0));
    };
    down(&mut on);
    down(&mut off);
    assert!(on.io.queue.written.len() < 4, "joined");
    let singly = off.written();
    assert!(singly.iter().all(|packet| is_right(packet)));
    let mut expected = Tcp::new(ANCHOR, IN_UK, 40_000).answer();
    expected.payload = tcp.payload.clone();
    assert_eq!(singly, expected.segments(1_400));
    let joined: Vec<u8> = on.written().iter().flat_map(|packet| packet[40..].to_vec()).collect();
    assert_eq!(joined, tcp.payload);
}

// proves: T-70
#[test]
fn flows_of_a_tunnel_that_goes_down_are_refused_and_never_leave_by_another() {
    let mut world = World::up(ALL);
    world.open_flow(UK, IN_UK, 40_000);
    world.lane.handle(mrvpn_engine::lane::LaneCommand::Policy(policy([TunnelState::Down, TunnelState::Up])), at(1.0));
    let mut tcp = Tcp::new(ANCHOR, IN_UK, 40_000);
    tcp.payload = vec![1; 100];
    world.read(tcp.packet(), Offload::NONE);
    world.read(udp((ANCHOR, 5000), (IN_UK, 53), b"question"), Offload::NONE);
    world.run(at(1.0));
    assert!(world.io.sent.is_empty());
    let answers = world.written();
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[0][33] & RST, RST, "TCP feels a reset before it speaks");
    assert_eq!(answers[1][33] & RST, RST, "and another one when it does");
    assert_eq!((answers[2][9], answers[2][20], answers[2][21]), (1, 3, 13), "UDP feels an ICMP error");
    assert_eq!((world.drops(UK, DropReason::NotSyn), world.drops(UK, DropReason::TunnelDown)), (1, 1));
}

// proves: T-79
#[test]
fn broadcast_and_multicast_never_enter_a_tunnel() {
    let mut world = World::up(ALL);
    for destination in ["224.0.0.251", "239.255.255.250", "255.255.255.255"] {
        world.read(udp((ANCHOR, 5353), (destination.parse().unwrap(), 5353), b"mdns"), Offload::NONE);
    }
    world.run(at(0.0));
    assert!(world.io.sent.is_empty() && world.written().is_empty());
    assert_eq!(world.counters.drops(None, DropReason::Multicast), 3);
}

#[test]
fn what_the_interface_does_not_take_is_counted_by_packets() {
    let mut world = World::up(ALL);
    let port = world.open_flow(UK, IN_UK, 40_000);
    world.io.queue.full = true;
    let mut tcp = Tcp::new(inner(UK), IN_UK, port).answer();
    tcp.payload = vec![9; 7_000];
    tcp.segments(1_400).iter().for_each(|segment| world.arrive_sealed(UK, segment));
    world.run(at(0.0));
    assert_eq!(world.drops(UK, DropReason::InterfaceFull), 5);
    assert_eq!(world.counters.rx_bytes(UK), 0);
}

#[test]
fn a_turn_gives_each_side_its_share_and_says_that_more_is_to_come() {
    let mut world = World::up(ALL);
    for _ in 0..200 {
        world.read(udp((ANCHOR, 5000), (IN_UK, 53), &[1; 20]), Offload::NONE);
        world.arrive(UK, vec![0x48; 60]);
    }
    world.arrive_sealed(FR, b"not ip");
    let turn = world.turn(at(0.0));
    assert!(turn.busy);
    assert!(world.io.queue.to_read.len() > 100 && world.io.arrived[&UK].len() > 50);
    assert!(world.io.arrived[&FR].is_empty(), "the other tunnel had its turn");
    world.run(at(0.0));
    assert_eq!(world.at_server(UK).len(), 200);
}
