//! ICMP errors both ways: they follow the flow that they quote, and nothing else makes them arrive.

use std::time::Duration;

use mrvpn_router::{DropReason, Inbound, TunnelId};
use proptest::prelude::*;

use crate::packets::*;
use crate::world::*;

/// The packet of the flow that is quoted, by kind.
fn packet(kind: u8, payload: &[u8]) -> Vec<u8> {
    match kind {
        0 => tcp(app(9000), web(), SYN, &[], payload),
        1 => udp(app(9000), web(), payload),
        2 => {
            let mut packet = udp(app(9000), web(), payload);
            set(&mut packet, 26, 0);
            packet
        }
        _ => echo(8, ANCHOR, web().0, 9000, payload),
    }
}

/// A world in which the flow's port is taken, so that the translation is none that hides mistakes.
fn busy_world(kind: u8) -> World {
    let mut world = World::new();
    let mut other = packet(kind, b"");
    other[12..16].copy_from_slice(&bind(FR).octets());
    world.send(FR, &other);
    world
}

proptest! {
    // proves: T-46, I-4
    #[test]
    fn an_error_about_a_flow_arrives_as_if_nothing_were_translated(
        kind in 0_u8..4, error in prop::sample::select(vec![[3, 1], [3, 3], [3, 4], [11, 0], [12, 0], [4, 0]]),
        payload in prop::collection::vec(any::<u8>(), 0..100), words in 4_usize..80,
    ) {
        let mut world = busy_world(kind);
        let original = packet(kind, &payload);
        let sent = world.send(FR, &original);
        let router = v4("10.64.0.1");
        // A quote ends with a word; what is left of half a checksum means nothing to anyone.
        let quoted = (20 + words * 2).min(sent.len());
        let back = world.receive(FR, &icmp_error(router, inner(FR), error, 1300, &sent[..quoted]));
        prop_assert!(is_right(&back));
        prop_assert_eq!(back, icmp_error(router, ANCHOR, error, 1300, &original[..quoted]));
    }

    #[test]
    fn an_error_of_the_host_goes_back_as_the_server_knows_the_flow(kind in 1_u8..3, payload in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut world = busy_world(kind);
        let sent = world.send(FR, &packet(kind, b""));
        let mut answer = swapped(&sent);
        answer.truncate(28);
        answer.extend(&payload);
        let total = answer.len() as u16;
        set(&mut answer, 2, total);
        set(&mut answer, 24, total - 20);
        seal_header(&mut answer);
        if kind == 1 {
            seal(&mut answer);
        }
        let received = world.receive(FR, &answer);
        let error = world.send(FR, &icmp_error(ANCHOR, web().0, [3, 3], 0, &received));
        prop_assert!(is_right(&error));
        prop_assert_eq!(error, icmp_error(inner(FR), web().0, [3, 3], 0, &answer));
    }
}

// proves: T-46
#[test]
fn an_error_that_quotes_no_flow_of_its_tunnel_is_dropped() {
    let mut world = World::new();
    let sent = world.send(FR, &packet(1, b"question"));
    let error = |quote: &[u8], to: TunnelId| icmp_error(v4("10.64.0.1"), inner(to), [3, 4], 1300, quote);
    world.receive(FR, &error(&sent, FR));

    let mut other_port = sent.clone();
    set(&mut other_port, 20, 9001);
    let mut other_remote = sent.clone();
    other_remote[19] += 1;
    let mut other_source = sent.clone();
    other_source[12..16].copy_from_slice(&inner(US).octets());
    let mut later_fragment = sent.clone();
    set(&mut later_fragment, 6, 1);
    for quote in [&other_port, &other_remote, &other_source, &later_fragment] {
        world.unwanted(FR, &error(quote, FR), DropReason::NoFlow);
    }
    world.unwanted(US, &error(&sent, US), DropReason::NoFlow);
    world.unwanted(US, &error(&sent, FR), DropReason::NotOurAddress);
    world.unwanted(FR, &error(&sent[..23], FR), DropReason::NoFlow);
    world.unwanted(FR, &error(&[], FR), DropReason::NoFlow);
}

// proves: T-46
#[test]
fn redirects_and_errors_from_addresses_of_ours_are_not_believed() {
    let mut world = World::new();
    let sent = world.send(FR, &packet(1, b"question"));
    world.unwanted(FR, &icmp_error(v4("10.64.0.1"), inner(FR), [5, 1], 0, &sent), DropReason::NoFlow);
    for from in ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "198.18.0.1", "198.18.0.254", "198.18.1.1"] {
        world.unwanted(FR, &icmp_error(v4(from), inner(FR), [3, 3], 0, &sent), DropReason::NoFlow);
    }
}

// proves: T-46
#[test]
fn a_path_mtu_below_the_floor_is_raised_to_it() {
    let mut world = World::new();
    let sent = world.send(FR, &packet(0, b""));
    for (said, heard) in [(0, 576), (68, 576), (575, 576), (576, 576), (577, 577)] {
        let back = world.receive(FR, &icmp_error(v4("10.64.0.1"), inner(FR), [3, 4], said, &sent));
        assert_eq!(field(&back, 26), heard);
        assert!(is_right(&back));
    }
}

// proves: T-46
#[test]
fn a_flow_is_told_at_most_ten_errors_in_any_second_and_others_lose_none_by_that() {
    let mut world = World::new();
    let sent = world.send(FR, &packet(1, b"question"));
    let quiet = world.send(FR, &udp(app(9001), web(), b"question"));
    let error = |quote: &[u8]| icmp_error(v4("10.64.0.1"), inner(FR), [3, 4], 1300, quote);
    let mut told = Vec::new();
    for ms in 0..5_000_u64 {
        match world.inbound(FR, &mut error(&sent)) {
            Inbound::Forward { .. } => told.push(ms),
            outcome @ (Inbound::Wait | Inbound::Drop(_)) => {
                assert_eq!(outcome, Inbound::Drop(DropReason::TooManyErrors));
            }
        }
        if ms % 500 == 499 {
            assert!(matches!(world.inbound(FR, &mut error(&quiet)), Inbound::Forward { .. }), "{ms}");
        }
        world.pass(Duration::from_millis(1));
    }
    let within = |first: u64| told.iter().filter(|at| (first..=first + 1_000).contains(*at)).count();
    assert_eq!(told.iter().map(|at| within(*at)).max(), Some(10));
    assert_eq!((told[4], told.len()), (4, 5 + 24), "five at once, then five a second");
}

proptest! {
    // proves: T-46
    #[test]
    fn whatever_an_error_says_only_one_about_a_flow_of_its_tunnel_arrives_with_no_mtu_below_the_floor(
        kind in 0_u8..4, error in any::<[u8; 2]>(), mtu in any::<u16>(), seed in any::<u16>(),
        changes in prop::collection::vec((0_usize..80, any::<u8>()), 0..3), cut in 0_usize..120, by in 0_u16..3,
    ) {
        let mut world = World::new();
        let sent = world.send(FR, &packet(kind, b"question"));
        let mut message = icmp_error(v4("10.64.0.1"), inner(TunnelId::new(by)), error, mtu, &sent);
        // Rubbish in the message and its quote; now and then none.
        for (at, value) in changes {
            let at = 20 + at % (message.len() - 20);
            message[at] = value.wrapping_add(seed as u8);
        }
        if cut < 80 {
            message.truncate(20 + cut.min(message.len() - 20));
            let total = message.len() as u16;
            set(&mut message, 2, total);
            seal_header(&mut message);
        }
        let quote = message.get(28..).unwrap_or_default().to_vec();
        if let Inbound::Forward { .. } = world.inbound(TunnelId::new(by), &mut message) {
            prop_assert_eq!(by, FR.number());
            prop_assert_ne!(message[20], 5, "a redirect");
            prop_assert_eq!(&message[16..20], &ANCHOR.octets()[..]);
            let names = if kind == 3 { 12..20 } else { 12..24 };
            prop_assert_eq!(&quote[names.clone()], &sent[names], "it quotes what was sent");
            prop_assert!(message[20..22] != [3_u8, 4] || field(&message, 26) >= 576, "below the floor");
        }
    }
}

#[test]
fn an_error_of_the_host_about_nothing_known_is_dropped() {
    let mut world = World::new();
    let stranger = udp(web(), app(1), b"");
    world.dropped(&icmp_error(ANCHOR, web().0, [3, 3], 0, &stranger), DropReason::NoFlow);
    // It must go to whom the quoted packet came from.
    let sent = world.send(FR, &packet(1, b"question"));
    let received = world.receive(FR, &swapped(&sent));
    world.dropped(&icmp_error(ANCHOR, v4("203.0.113.9"), [3, 3], 0, &received), DropReason::NoFlow);
}
