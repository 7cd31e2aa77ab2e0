//! Who may have how many flows: a program that takes all it can get takes nothing from another (T-75).

use std::time::Duration;

use mrvpn_router::{Accept, AppId, DropReason, FlowTuple, Inbound, Outbound, PortRange, limits};

use crate::packets::*;
use crate::world::*;

/// The flows below which nobody is asked.
const UNASKED: usize = limits::FLOWS_UNASKED;
const SHARE: usize = limits::FLOWS_PER_HOLDER;

/// The greedy program has ports from 1,000 on, the modest one those below.
fn greedy_or_modest(flow: &FlowTuple) -> Option<AppId> {
    let uid = if flow.source_port? >= 1_000 { 1 } else { 2 };
    Some(AppId { uid, cgroup: 9 })
}

fn world() -> World {
    World { app_of: greedy_or_modest, ..World::new() }
}

/// The greedy program's end of its flow of a number, and a remote one: no two numbers have the same.
fn greedy(number: usize) -> (End, End) {
    let (port, remote) = (1_000 + number % 60_000, number / 60_000);
    (app(port as u16), (v4("203.0.113.80"), 1 + remote as u16))
}

fn open(world: &mut World, own: End, remote: End) {
    let sent = world.send(FR, &tcp(own, remote, SYN, &[], b""));
    world.receive(FR, &tcp(remote, (inner(FR), source_port(&sent)), SYN | ACK, &[], b""));
    world.send(FR, &tcp(own, remote, ACK, &[], b""));
}

/// The modest program opens a hundred connections, each of which is answered only after `flood` has run on.
fn modest_works(world: &mut World, mut flood: impl FnMut(&mut World)) {
    for port in 1..=100 {
        let (own, remote) = (app(port), end("203.0.113.90:443"));
        let sent = world.send(FR, &tcp(own, remote, SYN, &[], b""));
        flood(world);
        world.receive(FR, &tcp(remote, (inner(FR), source_port(&sent)), SYN | ACK, &[], b""));
        world.send(FR, &tcp(own, remote, ACK, &[], b""));
    }
    for port in 1..=100 {
        world.send(FR, &tcp(app(port), end("203.0.113.90:443"), ACK, &[], b"still here"));
    }
}

// proves: T-75, I-9
#[test]
fn a_flood_of_half_open_connections_takes_nothing_from_another_program() {
    let mut world = world();
    let mut number = 0;
    let syn = tcp(greedy(0).0, greedy(0).1, SYN, &[], b"");
    let mut flood = |world: &mut World, count: usize| {
        for _ in 0..count {
            let ((_, port), (_, remote)) = greedy(number);
            number += 1;
            let mut packet = syn.clone();
            set(&mut packet, 20, port);
            set(&mut packet, 22, remote);
            assert_eq!(world.outbound(&mut packet), Outbound::Forward { tunnel: FR, limit: LIMIT });
        }
    };
    flood(&mut world, 100_000);
    assert_eq!(world.router.flows(), SHARE, "its newest have gone for its own oldest");
    modest_works(&mut world, |world| flood(world, 9_000));
    assert_eq!((number, world.router.flows()), (1_000_000, SHARE + 100));
}

// proves: T-75, I-9
#[test]
fn a_program_has_its_share_of_answered_connections_and_is_told_that_there_are_no_more() {
    let mut world = world();
    for number in 0..SHARE {
        open(&mut world, greedy(number).0, greedy(number).1);
    }
    let mut refused = 0;
    for number in SHARE..65_536 {
        let (own, remote) = greedy(number);
        let syn = tcp(own, remote, SYN, &[], b"");
        let refusal = world.refused(Some(FR), &syn, DropReason::ShareFull);
        refused += usize::from(world.answer(&syn, refusal).is_some_and(|answer| answer[33] == RST | ACK));
        world.pass(Duration::from_micros(200));
    }
    // Flows share the places by which answers are paced, so one in a thousand may have to ask again.
    assert!(refused * 1_000 > (65_536 - SHARE) * 999, "{refused} were told");
    modest_works(&mut world, |world| {
        world.refused(Some(FR), &tcp(app(64_000), web(), SYN, &[], b""), DropReason::ShareFull);
    });
    assert_eq!(world.router.flows(), SHARE + 100);
    let (own, remote) = greedy(0);
    world.send(FR, &tcp(own, remote, ACK, &[], b"still here"));
}

// proves: T-75
#[test]
fn a_share_is_kept_to_the_last_flow() {
    for more in [SHARE - 1, SHARE, SHARE + 1] {
        let mut world = world();
        for number in 0..more.min(SHARE) {
            open(&mut world, greedy(number).0, greedy(number).1);
        }
        if more > SHARE {
            let (own, remote) = greedy(SHARE);
            world.refused(Some(FR), &udp(own, remote, b""), DropReason::ShareFull);
        }
        assert_eq!(world.router.flows(), more.min(SHARE));
    }
}

// proves: T-75
#[test]
fn an_unanswered_flow_of_a_program_makes_room_for_its_next_and_an_answered_one_does_not() {
    let mut world = world();
    for number in 0..SHARE - 1 {
        open(&mut world, greedy(number).0, greedy(number).1);
    }
    open(&mut world, app(1), end("203.0.113.90:443"));
    let question = |port: u16| udp((bind(FR), port), end("203.0.113.91:53"), b"question");
    world.send(FR, &question(2_000));
    world.send(FR, &question(2_001));
    assert_eq!(world.router.flows(), SHARE + 1);
    world.unwanted(FR, &swapped(&udp((inner(FR), 2_000), end("203.0.113.91:53"), b"")), DropReason::Unasked);
    world.receive(FR, &udp(end("203.0.113.91:53"), (inner(FR), 2_001), b"answer"));
    world.refused(Some(FR), &question(2_002), DropReason::ShareFull);
    // One that has been idle for as long as an unanswered one lives goes as well.
    world.pass(limits::UDP_UNREPLIED);
    world.send(FR, &question(2_002));
    world.send(FR, &tcp(app(1), end("203.0.113.90:443"), ACK, &[], b"still here"));
}

// proves: T-75
#[test]
fn nobody_is_asked_while_there_are_few_flows_and_all_are_known_when_one_could_have_too_many() {
    for (before, asked) in [(UNASKED - 1, 0), (UNASKED, 0), (UNASKED + 1, 2), (SHARE, 2 * UNASKED)] {
        let mut world = world();
        for number in 0..before {
            world.send(FR, &udp(greedy(number).0, greedy(number).1, b""));
        }
        assert_eq!(world.asked, asked);
        // A flow that is known is never asked about, and another costs one question from then on.
        world.send(FR, &udp(greedy(0).0, greedy(0).1, b""));
        assert_eq!(world.asked, asked);
    }
    let mut world = world();
    for number in 0..SHARE + 5 {
        world.send(FR, &udp(greedy(number).0, greedy(number).1, b""));
    }
    assert_eq!((world.asked, world.router.flows()), (2 * UNASKED + 5, SHARE));
}

// proves: T-75
#[test]
fn flows_that_come_and_go_around_the_level_never_hide_a_share() {
    let mut world = world();
    // Answered datagram flows of the greedy program, of which many end again and again before they could be asked about.
    let mut number = 0;
    for _ in 0..6 {
        for _ in 0..UNASKED {
            let (own, remote) = greedy(number);
            number += 1;
            let mut packet = udp(own, remote, b"question");
            if world.outbound(&mut packet) == (Outbound::Forward { tunnel: FR, limit: LIMIT }) {
                world.receive(FR, &swapped(&packet));
            }
        }
        assert!(world.router.flows() <= SHARE, "{}", world.router.flows());
        world.pass(Duration::from_secs(50));
        while world.router.poll_timeout().is_some_and(|due| due <= world.now) {
            world.router.handle_timeout(world.now);
        }
    }
}

// proves: T-75
#[test]
fn where_no_program_is_known_the_source_address_has_the_share() {
    let mut world = World { app_of: |_| None, ..World::new() };
    for number in 0..SHARE {
        open(&mut world, greedy(number).0, greedy(number).1);
    }
    world.refused(Some(FR), &udp(greedy(SHARE).0, greedy(SHARE).1, b""), DropReason::ShareFull);
    world.send(FR, &udp((bind(FR), 1), web(), b""));
}

// proves: T-75
#[test]
fn a_server_that_floods_what_it_may_open_takes_nothing_from_other_tunnels() {
    let mut world = World {
        app_of: greedy_or_modest,
        ..World::with(|input| {
            let ports = PortRange { first: 1, last: u16::MAX };
            input.accept =
                vec![Accept { tunnel: UK, protocol: TCP, ports }, Accept { tunnel: FR, protocol: TCP, ports }];
        })
    };
    let connect = |number: usize| {
        tcp(
            (v4("10.8.9.9"), 1_000 + (number % 60_000) as u16),
            (inner(UK), 1 + (number / 60_000) as u16),
            SYN,
            &[],
            b"",
        )
    };
    let answer = |world: &mut World, number: usize| {
        let seen = world.receive(UK, &connect(number));
        let ends = (end_at(&seen, 16, 22), end_at(&seen, 12, 20));
        world.send(UK, &tcp(ends.0, ends.1, SYN | ACK, &[], b""));
        let acknowledged = tcp(end_at(&connect(number), 12, 20), end_at(&connect(number), 16, 22), ACK, &[], b"");
        world.receive(UK, &acknowledged);
        world.send(UK, &tcp(ends.0, ends.1, ACK, &[], b""));
    };
    (0..SHARE).for_each(|number| answer(&mut world, number));
    let mut more = connect(SHARE);
    assert_eq!(world.inbound(UK, &mut more), Inbound::Drop(DropReason::ShareFull));
    world.receive(FR, &tcp((v4("10.9.9.9"), 7), (inner(FR), 80), SYN, &[], b""));
    modest_works(&mut world, |_| ());
    assert_eq!(world.asked, 100, "what a server opens is never asked about");
}

/// The end whose address and port stand there.
fn end_at(packet: &[u8], address: usize, port: usize) -> End {
    let octets: [u8; 4] = packet[address..address + 4].try_into().unwrap();
    (octets.into(), field(packet, port))
}
