//! Translation there and back: nothing but addresses, ports and their checksums changes, and these come back as they were.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use mrvpn_router::{Attachment, Checksum, DropReason, Offload, Outbound, SegmentKind, Segmentation};
use proptest::prelude::*;

use crate::packets::*;
use crate::world::*;

#[derive(Clone, Debug)]
struct Sample {
    packet: Vec<u8>,
    partial: bool,
    /// Another app already has this port towards the same remote.
    taken: bool,
}

fn sample() -> impl Strategy<Value = Sample> {
    let sources = prop::sample::select(vec![ANCHOR, bind(FR), inner(FR)]);
    let payload = prop::collection::vec(any::<u8>(), 0..600);
    let options = prop::sample::select(vec![vec![], vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]]);
    let host = (1_u8..=223, any::<[u8; 2]>(), 1_u8..=254)
        .prop_filter("a host elsewhere", |(first, ..)| ![10, 127, 198].contains(first));
    (sources, host, any::<(u16, u16)>(), 0_u8..4, payload, options, any::<(bool, bool)>()).prop_map(
        |(source, (a, [b, c], d), ports, kind, payload, options, (partial, taken))| {
            let (from, to) = ((source, ports.0), (Ipv4Addr::new(a, b, c, d), ports.1.max(1)));
            let packet = match kind {
                0 => tcp(from, to, SYN, &options, &payload),
                1 => udp(from, to, &payload),
                2 => {
                    let mut packet = udp(from, to, &payload);
                    set(&mut packet, 26, 0);
                    packet
                }
                _ => echo(8, from.0, to.0, from.1, &payload),
            };
            Sample { packet, partial: partial && kind < 2, taken }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    // proves: T-82, I-3, I-4
    #[test]
    fn there_and_back_is_the_identity(sample in sample(), six in any::<bool>()) {
        // Over IPv6 a datagram always has a checksum, which is another test's.
        prop_assume!(!six || sample.packet[9] != UDP || field(&sample.packet, 26) != 0);
        // DHCP goes nowhere, which is another test's.
        prop_assume!(sample.packet[9] != UDP || (source_port(&sample.packet), destination_port(&sample.packet)) != (68, 67));
        let mut world = World::over(six, |input| input.tunnels[FR.index()].limit = 9000);
        if sample.taken {
            let mut other = sample.packet.clone();
            let elsewhere = if source(&other) == ANCHOR { bind(FR) } else { ANCHOR };
            other[12..16].copy_from_slice(&elsewhere.octets());
            seal_header(&mut other);
            seal(&mut other);
            let outcome = world.outbound(&mut other);
            let forwarded = matches!(outcome, Outbound::Forward { .. });
            prop_assert!(forwarded);
        }

        let mut sent = sample.packet.clone();
        let offload = if sample.partial { partial(&mut sent) } else { Offload::NONE };
        let outcome = world.outbound_on(Attachment::Rules, &mut sent, &offload);
        prop_assert_eq!(outcome, Outbound::Forward { tunnel: FR, limit: 9000 });
        prop_assert!(is_right(&sent));
        prop_assert_eq!(source(&sent), inner(FR));
        prop_assert_eq!(destination(&sent), destination(&sample.packet));
        prop_assert_eq!(source_port(&sent) == source_port(&sample.packet), !sample.taken);

        let back = swapped(&sent);
        prop_assert!(is_right(&back));
        let back = world.receive(FR, &back);
        prop_assert_eq!(back, swapped(&sample.packet));
    }
}

// proves: T-82
#[test]
fn no_udp_checksum_becomes_zero_and_zero_stays_zero() {
    let mut world = World::new();
    let mut zeros = 0;
    for word in 0..=u16::MAX {
        let packet = udp(app(4000), web(), &word.to_be_bytes());
        let sent = world.send(FR, &packet);
        assert_ne!(field(&sent, 26), 0);
        zeros += u32::from(field(&sent, 26) == 0xffff);
        let mut none = packet;
        set(&mut none, 26, 0);
        assert_eq!(field(&world.send(FR, &none), 26), 0);
    }
    assert_ne!(zeros, 0, "the case occurred");
}

// proves: T-73
#[test]
fn a_taken_port_is_replaced_and_the_answers_find_their_apps() {
    World::both().into_iter().for_each(two_apps_with_one_port);
}

fn two_apps_with_one_port(mut world: World) {
    let first = world.send(FR, &udp(app(5000), web(), b"one"));
    let second = world.send(FR, &udp((bind(FR), 5000), web(), b"two"));
    assert_eq!((source(&first), source_port(&first)), (inner(FR), 5000));
    assert_eq!(source(&second), inner(FR));
    assert_ne!(source_port(&second), 5000);
    let back = world.receive(FR, &swapped(&second));
    assert_eq!((destination(&back), destination_port(&back)), (bind(FR), 5000));
    let back = world.receive(FR, &swapped(&first));
    assert_eq!((destination(&back), destination_port(&back)), (ANCHOR, 5000));
}

#[test]
fn the_same_port_is_free_towards_another_remote() {
    let mut world = World::new();
    world.send(FR, &udp(app(5000), web(), b""));
    let other = world.send(FR, &udp((bind(FR), 5000), end("203.0.113.81:443"), b""));
    assert_eq!(source_port(&other), 5000);
}

// proves: T-81
#[test]
fn allocated_ports_are_even_by_chi_square() {
    const CELLS: u32 = 64;
    const DRAWS: u32 = 100_000;
    let mut world = World::new();
    let mut counts = BTreeMap::<u32, f64>::new();
    for number in 0..DRAWS {
        // Two apps with one port towards a remote of their own: the second one gets a port by chance.
        let remote = (Ipv4Addr::from(0x5000_0000 + number), 53);
        world.send(FR, &udp(app(6000), remote, b""));
        let port = source_port(&world.send(FR, &udp((bind(FR), 6000), remote, b"")));
        assert!(port >= 1024);
        *counts.entry(u32::from(port - 1024) * CELLS / 64_512).or_default() += 1.0;
    }
    let expected = f64::from(DRAWS) / f64::from(CELLS);
    let chi: f64 = (0..CELLS).map(|cell| (counts[&cell] - expected).powi(2) / expected).sum();
    // 63 degrees of freedom: above 117 once in a hundred thousand, below 24 as rarely.
    assert!((24.0..117.0).contains(&chi), "{chi}");
}

#[test]
fn mss_is_clamped_in_both_directions() {
    let mut world = World::new();
    let mss = [2, 4, 0x05, 0xb4];
    let syn = tcp(app(7000), web(), SYN, &mss, b"");
    let sent = world.send(FR, &syn);
    assert_eq!(field(&sent, 42), LIMIT - 40);
    assert!(is_right(&sent));
    let answer = tcp(web(), (inner(FR), 7000), SYN | ACK, &mss, b"");
    let back = world.receive(FR, &answer);
    assert_eq!(field(&back, 42), LIMIT - 40);
    assert!(is_right(&back));
}

#[test]
fn mss_is_clamped_under_a_partial_checksum() {
    let mut world = World::new();
    let mut syn = tcp(app(7000), web(), SYN, &[2, 4, 0x05, 0xb4], b"");
    let offload = partial(&mut syn);
    world.router.outbound(&mut syn, &offload, Attachment::Rules, world.now);
    assert_eq!(field(&syn, 42), LIMIT - 40);
    assert!(is_right(&completed(&syn)));
}

#[test]
fn only_a_syn_has_an_mss_to_clamp() {
    let mut world = World::new();
    world.send(FR, &tcp(app(7000), web(), SYN, &[], b""));
    let sent = world.send(FR, &tcp(app(7000), web(), ACK, &[2, 4, 0x05, 0xb4], b""));
    assert_eq!(field(&sent, 42), 1460);
}

#[test]
fn a_super_packet_is_translated_once() {
    let mut world = World::new();
    world.send(FR, &tcp(app(7000), web(), SYN, &[], b""));
    let mut packet = unfragmentable(tcp(app(7000), web(), ACK, &[], &vec![9; 60_000]));
    let Offload { checksum, .. } = partial(&mut packet);
    let segmentation = Some(Segmentation { kind: SegmentKind::Tcp4, size: 1460, header: 40 });
    let outcome = world.router.outbound(&mut packet, &Offload { checksum, segmentation }, Attachment::Rules, world.now);
    assert_eq!(outcome, Outbound::Forward { tunnel: FR, limit: LIMIT });
    assert_eq!(source(&packet), inner(FR));
    assert!(is_right(&completed(&packet)));
}

#[test]
fn an_offload_that_contradicts_the_packet_is_malformed() {
    let mut world = World::new();
    let place = |start, offset| Offload { checksum: Checksum::Partial { start, offset }, segmentation: None };
    let segments = |kind, size| Offload {
        checksum: Checksum::Partial { start: 20, offset: 6 },
        segmentation: Some(Segmentation { kind, size, header: 28 }),
    };
    for offload in [
        place(24, 6),
        place(20, 16),
        place(u16::MAX, u16::MAX),
        segments(SegmentKind::Tcp4, 100),
        segments(SegmentKind::Tcp6, 100),
        segments(SegmentKind::Udp, 0),
    ] {
        let mut packet = udp(app(7000), web(), &[0; 300]);
        let outcome = world.router.outbound(&mut packet, &offload, Attachment::Rules, world.now);
        assert_eq!(outcome, Outbound::Drop(DropReason::Malformed), "{offload:?}");
    }
    let mut fragment = udp(app(7000), web(), &[0; 300]);
    set(&mut fragment, 6, 0x2000);
    let outcome = world.router.outbound(&mut fragment, &place(20, 6), Attachment::Rules, world.now);
    assert_eq!(outcome, Outbound::Drop(DropReason::Malformed));
    let mut packet = udp(app(7000), web(), &[0; 300]);
    let outcome = world.router.outbound(&mut packet, &segments(SegmentKind::Udp, 100), Attachment::Rules, world.now);
    assert_eq!(outcome, Outbound::Forward { tunnel: FR, limit: LIMIT });
}
