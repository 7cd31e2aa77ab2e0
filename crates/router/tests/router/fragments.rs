//! Fragments: later ones follow their first in both directions, and what is cut can be put together again.

use std::time::Duration;

use mrvpn_router::fragment::fragment_ipv4;
use mrvpn_router::{DropReason, Inbound, LeaseId, Outbound, limits};
use proptest::prelude::*;

use crate::packets::*;
use crate::six::to_four;
use crate::world::*;

/// The packet in pieces of at most `limit` bytes.
fn cut(packet: &[u8], limit: usize) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    fragment_ipv4(packet, limit, |header, payload| pieces.push([header, payload].concat())).unwrap();
    pieces
}

/// Puts pieces in order together, judging each header.
fn joined(pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut whole = pieces[0][..header(&pieces[0])].to_vec();
    for (place, piece) in pieces.iter().enumerate() {
        let start = header(piece);
        let at = usize::from(field(piece, 6) & 0x1fff) * 8;
        assert_eq!(at, whole.len() - header(&pieces[0]), "pieces join without a gap");
        assert_eq!(field(piece, 6) & 0x2000 != 0, place + 1 < pieces.len());
        assert_eq!(usize::from(field(piece, 2)), piece.len());
        let mut sealed = piece.clone();
        seal_header(&mut sealed);
        assert_eq!(&sealed, piece);
        whole.extend(&piece[start..]);
    }
    let length = whole.len() as u16;
    set(&mut whole, 2, length);
    set(&mut whole, 6, 0);
    seal_header(&mut whole);
    whole
}

fn with_id(mut packet: Vec<u8>, id: u16) -> Vec<u8> {
    set(&mut packet, 4, id);
    seal_header(&mut packet);
    packet
}

proptest! {
    #[test]
    fn pieces_fit_and_join_to_the_packet(size in 0_usize..5_000, limit in 68_usize..2_000, options in any::<bool>()) {
        let payload: Vec<u8> = (0..size).map(|at| at as u8).collect();
        // Record route (not copied into later pieces) and router alert (copied).
        let options: &[u8] = if options { &[7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 0] } else { &[] };
        let packet = ip(ANCHOR, web().0, UDP, options, &payload);
        let pieces = cut(&packet, limit);
        prop_assert!(pieces.iter().all(|piece| piece.len() <= limit));
        prop_assert_eq!(joined(&pieces), packet);
        if !options.is_empty() {
            prop_assert!(pieces[1..].iter().all(|piece| piece[20..header(piece)] == [148, 4, 0, 0]));
        }
    }

    #[test]
    fn pieces_can_be_cut_again(size in 500_usize..5_000, first in 300_usize..2_000, second in 68_usize..300) {
        let packet = udp(app(1), web(), &vec![3; size]);
        let pieces: Vec<_> = cut(&packet, first).iter().flat_map(|piece| cut(piece, second)).collect();
        prop_assert_eq!(joined(&pieces), packet);
    }

    // proves: T-77, I-3, I-4
    #[test]
    fn fragments_there_and_back_are_the_identity(
        size in 100_usize..4_000, limit in 68_usize..1_300, kind in 0_u8..2, six in any::<bool>(),
    ) {
        // The checksum of ICMPv6 covers addresses, which the pieces of another version do not show.
        prop_assume!(!six || kind == 0);
        let mut world = World::over(six, |_| ());
        world.send(FR, &udp((bind(FR), 53), web(), b"takes the port"));
        world.send(FR, &echo(8, bind(FR), web().0, 53, b"takes the identifier"));
        let payload = vec![5; size];
        let packet = if kind == 0 { udp(app(53), web(), &payload) } else { echo(8, ANCHOR, web().0, 53, &payload) };
        let sent: Vec<_> = cut(&packet, limit).iter().map(|piece| world.send(FR, piece)).collect();
        let sent = joined(&sent);
        prop_assert_eq!((source(&sent), is_right(&sent)), (inner(FR), true));
        let back: Vec<_> = cut(&swapped(&sent), limit).iter().map(|piece| world.receive(FR, piece)).collect();
        prop_assert_eq!(joined(&back), swapped(&packet));
    }
}

#[test]
fn a_limit_too_small_for_any_piece_is_an_error() {
    let packet = udp(app(1), web(), &[0; 100]);
    assert!(fragment_ipv4(&packet, 27, |_, _| panic!("nothing is emitted")).is_err());
    assert_eq!(cut(&packet, 28).len(), 14);
    assert!(fragment_ipv4(&[0; 10], 1_000, |_, _| panic!("nothing is emitted")).is_err());
}

// proves: T-77
#[test]
fn a_later_fragment_without_its_first_is_dropped() {
    World::both().into_iter().for_each(later_fragments_of_others);
}

fn later_fragments_of_others(mut world: World) {
    let pieces = cut(&udp(app(53), web(), &[5; 2_000]), 1_000);
    let other = with_id(pieces[1].clone(), 7);
    world.waits(&other);
    world.send(FR, &pieces[0]);
    world.send(FR, &pieces[1]);
    assert_eq!(world.router.poll_sent_fragment(), None);
    world.vain(1, None);

    let answers = cut(&udp(web(), (inner(FR), 53), &[5; 2_000]), 1_000);
    world.receive(FR, &answers[0]);
    world.receive(FR, &answers[1]);
    let mut elsewhere = answers[1].clone();
    elsewhere[16..20].copy_from_slice(&inner(US).octets());
    seal_header(&mut elsewhere);
    assert_eq!(world.inbound(US, &mut elsewhere), Inbound::Wait);
    world.vain(1, Some(US));
}

// proves: T-77
#[test]
fn a_later_fragment_that_is_early_follows_its_first() {
    World::both().into_iter().for_each(early_fragments);
}

fn early_fragments(mut world: World) {
    let packet = udp(app(53), web(), &[5; 3_500]);
    let pieces = cut(&packet, 1_000);
    for piece in &pieces[1..] {
        world.waits(piece);
    }
    let mut sent = vec![world.send(FR, &pieces[0])];
    while let Some(early) = world.router.poll_sent_fragment() {
        let early = if world.six { to_four(&early) } else { early };
        sent.push(world.send(FR, &early));
    }
    assert_eq!((sent.len(), source(&sent[1])), (pieces.len(), inner(FR)));
    let sent = joined(&sent);
    assert!(is_right(&sent));

    let answers = cut(&swapped(&sent), 1_000);
    for answer in &answers[1..] {
        assert_eq!(world.inbound(FR, &mut answer.clone()), Inbound::Wait);
    }
    let mut back = vec![world.receive(FR, &answers[0])];
    while let Some((tunnel, early)) = world.router.poll_received_fragment() {
        assert_eq!(tunnel, FR);
        let early = if world.six { to_four(&early) } else { early };
        back.push(world.receive(FR, &early));
    }
    assert_eq!(joined(&back), swapped(&packet));
}

// proves: T-77
#[test]
fn as_many_early_fragments_wait_as_the_limits_say() {
    let pieces = cut(&udp(app(53), web(), &[5; 2_000]), 1_000);
    for count in [limits::FRAGMENTS_WAITING - 1, limits::FRAGMENTS_WAITING, limits::FRAGMENTS_WAITING + 1] {
        let mut world = World::new();
        let waits =
            |world: &mut World, id: usize| world.outbound(&mut with_id(pieces[1].clone(), id as u16)) == Outbound::Wait;
        let waiting = (0..count).filter(|id| waits(&mut world, *id)).count();
        assert_eq!(waiting, count.min(limits::FRAGMENTS_WAITING));
        assert_eq!(world.router.drops().total(DropReason::Fragment), (count - waiting) as u64);
        // Another tunnel's have room of their own.
        let mut answer = cut(&udp(web(), (inner(FR), 53), &[5; 2_000]), 1_000).remove(1);
        assert_eq!(world.inbound(FR, &mut answer), Inbound::Wait);
    }
    let large = ip(ANCHOR, web().0, UDP, &[], &vec![7; 65_508 - 20]);
    for (spare, waits) in [(1, true), (0, true), (-1, false)] {
        let mut world = World::new();
        let mut left = limits::FRAGMENTS_WAITING_BYTES as i64 - spare;
        while left > 0 {
            let length = left.min(large.len() as i64).max(28) as usize;
            let mut piece = large[..length].to_vec();
            set(&mut piece, 2, length as u16);
            set(&mut piece, 6, 1);
            let last = left <= large.len() as i64;
            seal_header(&mut piece);
            assert_eq!(world.outbound(&mut piece) == Outbound::Wait, waits || !last, "{spare}");
            left -= length as i64;
        }
    }
}

// proves: T-77
#[test]
fn fragments_that_overlap_spoil_their_datagram() {
    World::both().into_iter().for_each(overlapping_fragments);
}

fn overlapping_fragments(mut world: World) {
    let pieces = cut(&udp(app(53), web(), &[5; 3_500]), 1_000);
    world.send(FR, &pieces[0]);
    world.send(FR, &pieces[2]);
    let mut shifted = pieces[1].clone();
    let place = field(&shifted, 6) - 1;
    set(&mut shifted, 6, place);
    seal_header(&mut shifted);
    world.dropped(&shifted, DropReason::Fragment);
    world.dropped(&pieces[1], DropReason::Fragment);
    world.dropped(&pieces[3], DropReason::Fragment);
    world.dropped(&pieces[0], DropReason::Fragment);

    let answers = cut(&udp(web(), (inner(FR), 53), &[5; 2_000]), 1_000);
    world.receive(FR, &answers[0]);
    world.unwanted(FR, &answers[0], DropReason::Fragment);
    world.unwanted(FR, &answers[1], DropReason::Fragment);
}

// proves: T-77
#[test]
fn a_datagram_in_too_many_separate_parts_is_spoiled() {
    for (parts, whole) in
        [(limits::FRAGMENT_PARTS - 1, true), (limits::FRAGMENT_PARTS, true), (limits::FRAGMENT_PARTS + 1, false)]
    {
        let mut world = World::new();
        let pieces = cut(&udp(app(53), web(), &[5; 2_000]), 68);
        world.send(FR, &pieces[0]);
        for part in 1..parts {
            let outcome = world.outbound(&mut pieces[2 * part].clone());
            let last = part == limits::FRAGMENT_PARTS;
            assert_eq!(matches!(outcome, Outbound::Forward { .. }), whole || !last, "{parts} {part}");
        }
    }
}

proptest! {
    /// Whatever order and cuts: what goes on of a datagram never overlaps, and nothing goes on before its first.
    // proves: T-77
    #[test]
    fn fragments_that_go_on_never_overlap(
        pieces in prop::collection::vec((0_u16..40, 1_u16..12, any::<bool>()), 1..60), six in any::<bool>(),
    ) {
        let mut world = World::over(six, |_| ());
        let mut bytes = vec![0_u8; 1_000];
        let mut first_is_out = false;
        for (place, words, last) in pieces {
            let first = place == 0;
            let length = usize::from(words) * 8 + if first { 16 } else { 0 };
            let mut piece = udp(app(53), web(), &vec![5; length]);
            piece.truncate(20 + length);
            set(&mut piece, 2, 20 + length as u16);
            set(&mut piece, 6, place | if last && !first { 0 } else { 0x2000 });
            seal_header(&mut piece);
            let outcome = world.outbound(&mut piece);
            first_is_out |= first && matches!(outcome, Outbound::Forward { .. });
            let mut out = if matches!(outcome, Outbound::Forward { .. }) { vec![(usize::from(place) * 8, length)] } else { vec![] };
            while let Some(early) = world.router.poll_sent_fragment() {
                let mut early = if six { to_four(&early) } else { early };
                if matches!(world.outbound(&mut early), Outbound::Forward { .. }) {
                    out.push((usize::from(field(&early, 6) & 0x1fff) * 8, early.len() - 20));
                }
            }
            prop_assert!(out.is_empty() || first_is_out);
            for (start, length) in out {
                prop_assert!(bytes[start..start + length].iter().all(|byte| *byte == 0), "overlap at {}", start);
                bytes[start..start + length].fill(1);
            }
            if bytes.iter().position(|byte| *byte == 0).is_some_and(|gap| gap > 0 && last) {
                // It may be whole now; the next with its id is another datagram.
                break;
            }
        }
    }
}

// proves: T-77
#[test]
fn later_fragments_follow_for_a_short_time_and_never_past_their_lease() {
    let mut world = World::new();
    let pieces = cut(&udp(app(53), web(), &[5; 2_000]), 1_000);
    world.send(FR, &pieces[0]);
    world.pass(limits::FRAGMENTED_LIFE - Duration::from_nanos(1));
    world.send(FR, &pieces[1]);
    let pieces = cut(&with_id(udp(app(53), web(), &[5; 2_000]), 9), 1_000);
    world.send(FR, &pieces[0]);
    world.pass(limits::FRAGMENTED_LIFE);
    world.waits(&pieces[1]);
    world.send(FR, &pieces[0]);
    world.change(|input| input.tunnels[FR.index()].lease = LeaseId::new(9));
    world.refused(Some(FR), &pieces[1], DropReason::LeaseEnded);
}

// proves: T-77, I-4
#[test]
fn later_fragments_from_a_server_do_not_outlive_the_lease_even_if_the_address_stays() {
    let mut world = World::new();
    world.send(FR, &udp(app(53), web(), b""));
    let answers = cut(&udp(web(), (inner(FR), 53), &[5; 2_000]), 1_000);
    world.receive(FR, &answers[0]);
    world.change(|input| input.tunnels[FR.index()].lease = LeaseId::new(9));
    world.unwanted(FR, &answers[1], DropReason::Fragment);
}

// proves: I-2
#[test]
fn a_later_fragment_never_follows_another_flow_that_took_its_first_ones_place() {
    let mut world = World::new();
    let pieces = cut(&udp(app(53), web(), &[5; 2_000]), 1_000);
    world.send(FR, &pieces[0]);
    world.change(|input| input.tunnels[FR.index()].lease = LeaseId::new(9));
    world.refused(Some(FR), &pieces[0], DropReason::LeaseEnded);
    world.send(US, &udp((bind(US), 53), web(), b""));
    world.dropped(&pieces[1], DropReason::Fragment);
}

#[test]
fn a_first_fragment_too_short_for_its_ports_is_malformed() {
    let mut world = World::new();
    let mut tiny = ip(ANCHOR, web().0, TCP, &[], &[0; 8]);
    set(&mut tiny, 6, 0x2000);
    seal_header(&mut tiny);
    world.dropped(&tiny, DropReason::Malformed);
}

#[test]
fn as_many_datagrams_are_followed_as_the_limit_says() {
    for count in [limits::FRAGMENTED - 1, limits::FRAGMENTED, limits::FRAGMENTED + 1] {
        let mut world = World::new();
        let pieces = cut(&udp(app(53), web(), &[5; 2_000]), 1_000);
        for id in 0..count {
            world.pass(Duration::from_millis(1));
            world.send(FR, &with_id(pieces[0].clone(), id as u16));
        }
        let mut followed = 0;
        for id in 0..count {
            let outcome = world.outbound(&mut with_id(pieces[1].clone(), id as u16));
            followed += usize::from(matches!(outcome, Outbound::Forward { .. }));
        }
        assert_eq!(followed, count.min(limits::FRAGMENTED));
    }
}

#[test]
fn a_tunnel_that_floods_with_first_fragments_pushes_out_its_own() {
    let mut world = World::new();
    world.send(FR, &udp(app(53), web(), b""));
    world.send(US, &udp((bind(US), 53), web(), b""));
    let of = |tunnel, id| {
        let pieces = cut(&udp(web(), (inner(tunnel), 53), &[5; 2_000]), 1_000);
        (with_id(pieces[0].clone(), id), with_id(pieces[1].clone(), id))
    };
    let (first, later) = of(FR, 1);
    world.receive(FR, &first);
    for id in 0..200 {
        world.pass(Duration::from_millis(1));
        world.receive(US, &of(US, id).0);
    }
    world.receive(FR, &later);
}
