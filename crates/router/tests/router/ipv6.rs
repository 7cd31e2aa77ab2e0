//! What IPv6 has of its own: no way around a tunnel without it, messages to neighbours, extension headers, checksums that
//! must be, sizes, errors and their quotes; and protocols that go by address alone, in both versions.

use std::net::Ipv6Addr;

use mrvpn_router::{Attachment, DefaultChoice, DropReason, Offload, Outbound, Refusal, Rule, Target, limits};
use proptest::prelude::*;

use crate::packets::*;
use crate::six::*;
use crate::world::*;

/// A router over IPv6 alone; packets go in as they are.
fn world() -> World {
    World { six: false, ..World::over(true, |_| ()) }
}

fn router_on_the_way() -> Ipv6Addr {
    "2001:db8:ffff::1".parse().unwrap()
}

fn payload(packet: &[u8]) -> &[u8] {
    &packet[header(packet)..]
}

// proves: T-78
#[test]
fn a_flow_to_a_tunnel_without_ipv6_is_refused_at_once_whatever_its_state_and_source() {
    let mut world = World::with(|input| {
        input.defaults.v6 = DefaultChoice::Tunnel(FR);
        let to = vec!["2001:db8:c::/48".parse().unwrap()];
        input.rules.push(Rule { name: None, to, from: vec![], proto: vec![], port: vec![], via: Target::Tunnel(UK) });
    });
    let anchor: Ipv6Addr = "2001:2:0:1::1".parse().unwrap();
    let syn = |from: Ipv6Addr, to: &str| {
        let mut packet = ip6(from, to.parse().unwrap(), TCP, payload(&tcp(app(1), web(), SYN, &[], b"")));
        seal6(&mut packet);
        packet
    };
    let card = "2001:db8:1::20".parse().unwrap();
    let soon = world.now + std::time::Duration::from_secs(1);
    for state in [mrvpn_router::TunnelState::Up, mrvpn_router::TunnelState::Down, mrvpn_router::TunnelState::Hold(soon)]
    {
        world.set_state(UK, state);
        for from in [anchor, card] {
            let refusal = world.refused(Some(UK), &syn(from, "2001:db8:c::1"), DropReason::NoAddress);
            let answer = world.answer(&syn(from, "2001:db8:c::1"), refusal);
            assert!(answer.is_some_and(|answer| answer[53] == RST | ACK && is_right6(&answer)));
        }
    }
    world.refused(Some(FR), &syn(anchor, "2001:db8::1"), DropReason::NoAddress);
    world.unwanted(FR, &syn(anchor, "2001:db8::1"), DropReason::NotOurAddress);
}

#[test]
fn a_tunnel_that_carries_less_than_ipv6_needs_carries_none() {
    let packet = to_six(&udp(app(53), web(), b"question"));
    for (limit, carried) in [(1_279, false), (1_280, true), (1_281, true)] {
        let mut world = world();
        world.router.set_policy(
            std::sync::Arc::new(mrvpn_router::Policy::new({
                let mut input = policy_six(&world.input);
                input.tunnels[FR.index()].limit = limit;
                input
            })),
            world.now,
        );
        let outcome = world.outbound(&mut packet.clone());
        let refusal = Refusal::Denied(DropReason::NoAddress);
        let expected = if carried {
            Outbound::Forward { tunnel: FR, limit }
        } else {
            Outbound::Refuse { tunnel: Some(FR), refusal }
        };
        assert_eq!(outcome, expected);
    }
}

// proves: T-79
#[test]
fn multicast_link_local_and_messages_to_neighbours_enter_no_tunnel_and_leave_none() {
    let mut world = world();
    let datagram = payload(&udp(app(546), (web().0, 53), b"x")).to_vec();
    for to in ["ff02::fb", "ff0e::1", "fe80::1", "::"] {
        world.dropped(&ip6(six(ANCHOR), to.parse().unwrap(), UDP, &datagram), DropReason::Multicast);
    }
    for kind in [130, 133, 134, 135, 136, 137, 143] {
        let mut message = ip6(six(ANCHOR), six(web().0), ICMPV6, &[kind, 0, 0, 0, 0, 0, 0, 0]);
        seal6(&mut message);
        world.dropped(&message, DropReason::Multicast);
        let mut message = ip6(six(web().0), six(inner(FR)), ICMPV6, &[kind, 0, 0, 0, 0, 0, 0, 0]);
        seal6(&mut message);
        world.unwanted(FR, &message, DropReason::Multicast);
    }
    let dhcp = to_six(&udp(app(546), (web().0, 547), b"x"));
    world.dropped(&dhcp, DropReason::Multicast);
}

// proves: T-82
#[test]
fn a_datagram_without_checksum_is_malformed_and_none_is_made() {
    let mut world = world();
    let mut none = to_six(&udp(app(4000), web(), b"x"));
    set(&mut none, 46, 0);
    world.dropped(&none, DropReason::Malformed);
    let sent = world.send(FR, &to_six(&udp(app(4000), web(), b"x")));
    let mut answer = to_six(&swapped(&to_four(&sent)));
    set(&mut answer, 46, 0);
    world.unwanted(FR, &answer, DropReason::Malformed);
    let mut zeros = 0;
    for word in 0..=u16::MAX {
        let sent = world.send(FR, &to_six(&udp(app(4000), web(), &word.to_be_bytes())));
        assert_ne!(field(&sent, 46), 0);
        zeros += u32::from(field(&sent, 46) == 0xffff);
    }
    assert_ne!(zeros, 0, "the case occurred");
}

#[test]
fn mss_is_clamped_to_what_is_left_behind_the_longer_header() {
    let mut world = world();
    let sent = world.send(FR, &to_six(&tcp(app(7000), web(), SYN, &[2, 4, 5, 180], b"")));
    assert_eq!(field(&sent, 62), LIMIT - 60);
    assert!(is_right6(&sent));
    let answer = world.receive(FR, &to_six(&tcp(web(), (inner(FR), 7000), SYN | ACK, &[2, 4, 5, 180], b"")));
    assert_eq!(field(&answer, 62), LIMIT - 60);
    assert!(is_right6(&answer));
}

#[test]
fn what_is_too_big_is_always_refused_with_the_limit() {
    let mut world = world();
    let sized = |length: u16| to_six(&udp(app(1), web(), &vec![0; usize::from(length) - 48]));
    world.send(FR, &sized(LIMIT));
    let packet = sized(LIMIT + 1);
    let refusal = world.refused(Some(FR), &packet, DropReason::TooBig);
    assert_eq!(refusal, Refusal::TooBig(LIMIT));
    let answer = world.answer(&packet, refusal).unwrap();
    assert_eq!(answer[8..24], six(ENGINE).octets());
    assert_eq!((answer[40], answer[41], &answer[44..48]), (2, 0, &u32::from(LIMIT).to_be_bytes()[..]));
    assert!(is_right6(&answer) && answer.len() == limits::ICMP_ERROR_V6);
}

#[test]
fn extension_headers_are_passed_over_and_stay() {
    let mut world = world();
    let plain = to_six(&udp(app(53), web(), b"question"));
    let extended = |packet: &[u8]| {
        let mut payload = vec![60, 0, 1, 4, 0, 0, 0, 0, packet[6], 0, 1, 4, 0, 0, 0, 0];
        payload.extend(&packet[40..]);
        let mut extended = packet[..40].to_vec();
        extended[6] = 0;
        extended.extend(&payload);
        let length = payload.len() as u16;
        set(&mut extended, 4, length);
        extended
    };
    let sent = world.send(FR, &extended(&plain));
    assert_eq!(sent, extended(&world.send(FR, &plain)));
    let answer = to_six(&swapped(&udp((inner(FR), 53), web(), b"question")));
    assert_eq!(world.receive(FR, &extended(&answer)), extended(&world.receive(FR, &answer)));
}

/// The packet of the flow that is quoted, by kind.
fn quoted(kind: u8, payload: &[u8]) -> Vec<u8> {
    to_six(&match kind {
        0 => tcp(app(9000), web(), SYN, &[], payload),
        1 => udp(app(9000), web(), payload),
        _ => echo(8, ANCHOR, web().0, 9000, payload),
    })
}

/// A world in which the flow's port is taken, so that the translation is none that hides mistakes.
fn busy_world(kind: u8) -> World {
    let mut world = world();
    let mut other = quoted(kind, b"");
    other[8..24].copy_from_slice(&six(bind(FR)).octets());
    seal6(&mut other);
    world.send(FR, &other);
    world
}

proptest! {
    // proves: T-46, I-4
    #[test]
    fn an_error_about_a_flow_arrives_as_if_nothing_were_translated(
        kind in 0_u8..3, error in prop::sample::select(vec![[1, 0], [1, 4], [2, 0], [3, 0], [4, 1]]),
        bytes in prop::collection::vec(any::<u8>(), 0..100), words in 4_usize..80,
    ) {
        let mut world = busy_world(kind);
        let original = quoted(kind, &bytes);
        let sent = world.send(FR, &original);
        prop_assert_ne!(&sent[40..48], &original[40..48]);
        let cut = (40 + words * 2).min(sent.len());
        let error_of = |to, about: &[u8]| icmp_error6(router_on_the_way(), to, error, 1_300, &about[..cut]);
        let back = world.receive(FR, &error_of(six(inner(FR)), &sent));
        prop_assert!(is_right6(&back));
        prop_assert_eq!(back, error_of(six(ANCHOR), &original));
    }

    #[test]
    fn an_error_of_the_host_goes_back_as_the_server_knows_the_flow(
        kind in 0_u8..2, bytes in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut world = busy_world(kind);
        let sent = world.send(FR, &quoted(kind, &bytes));
        let answer = to_six(&swapped(&to_four(&sent)));
        let received = world.receive(FR, &answer);
        let error_of = |from, about: &[u8]| icmp_error6(from, six(web().0), [1, 4], 0, about);
        let error = world.send(FR, &error_of(six(ANCHOR), &received));
        prop_assert_eq!(error, error_of(six(inner(FR)), &answer));
    }
}

// proves: T-46
#[test]
fn errors_that_quote_no_flow_of_their_tunnel_or_come_from_nowhere_are_dropped() {
    let mut world = world();
    let sent = world.send(FR, &quoted(1, b"question"));
    let error = |from: Ipv6Addr, to, about: &[u8]| icmp_error6(from, six(inner(to)), [3, 0], 0, about);
    let mut other_port = sent.clone();
    set(&mut other_port, 40, 9001);
    let v4_inside = udp(app(9000), web(), b"question");
    for quote in [&other_port[..], &v4_inside, &sent[..43], &[]] {
        world.unwanted(FR, &error(router_on_the_way(), FR, quote), DropReason::NoFlow);
    }
    world.unwanted(US, &error(router_on_the_way(), US, &sent), DropReason::NoFlow);
    for from in ["::1", "::", "ff02::1", "fe80::1"] {
        world.unwanted(FR, &error(from.parse().unwrap(), FR, &sent), DropReason::NoFlow);
    }
    for from in [ANCHOR, ENGINE, bind(UK)] {
        world.unwanted(FR, &error(six(from), FR, &sent), DropReason::NoFlow);
    }
    world.receive(FR, &error(router_on_the_way(), FR, &sent));
}

// proves: T-46
#[test]
fn a_path_mtu_below_the_floor_is_raised_to_it() {
    let mut world = world();
    let sent = world.send(FR, &quoted(0, b""));
    for (said, heard) in [(0, 1_280), (1_279, 1_280), (1_280, 1_280), (1_281, 1_281), (70_000, 70_000)] {
        let back = world.receive(FR, &icmp_error6(router_on_the_way(), six(inner(FR)), [2, 0], said, &sent));
        assert_eq!(back[44..48], u32::to_be_bytes(heard));
        assert!(is_right6(&back));
    }
}

#[test]
fn an_offload_of_the_other_version_is_malformed() {
    let mut world = world();
    for (kind, fits) in [(mrvpn_router::SegmentKind::Tcp4, false), (mrvpn_router::SegmentKind::Tcp6, true)] {
        let mut packet = to_six(&tcp(app(1), web(), SYN, &[], &[1; 3_000]));
        let segmentation = Some(mrvpn_router::Segmentation { kind, size: 1_000, header: 60 });
        let checksum = mrvpn_router::Checksum::Partial { start: 40, offset: 16 };
        let outcome = world.outbound_on_as_it_is(&mut packet, &Offload { checksum, segmentation });
        assert_eq!(matches!(outcome, Outbound::Forward { .. }), fits, "{outcome:?}");
    }
}

/// ESP, GRE, SCTP and DCCP.
#[test]
fn other_protocols_are_translated_by_their_addresses_alone() {
    for mut world in World::both() {
        for protocol in [50, 47, 132] {
            let packet = ip(ANCHOR, web().0, protocol, &[], &[0, 9, 1, 187, 5, 6, 7, 8]);
            let sent = world.send(FR, &packet);
            assert_eq!((source(&sent), payload(&sent)), (inner(FR), payload(&packet)));
            let answer = [1, 187, 0, 9, 5, 6, 7, 8];
            let back = world.receive(FR, &ip(web().0, inner(FR), protocol, &[], &answer));
            assert_eq!((destination(&back), payload(&back)), (ANCHOR, &answer[..]));
            // Another source has no name of its own outside.
            let second = ip(bind(FR), web().0, protocol, &[], payload(&packet));
            world.refused(Some(FR), &second, DropReason::PortsUsed);
            world.send(FR, &ip(bind(FR), v4("203.0.113.81"), protocol, &[], payload(&packet)));
            world.send(UK, &ip(bind(UK), web().0, protocol, &[], payload(&packet)));
            world.unwanted(US, &ip(web().0, inner(US), protocol, &[], &answer), DropReason::Unasked);
        }
        // Ports of SCTP name flows, and stay.
        world.send(FR, &ip(bind(FR), web().0, 132, &[], &[0, 10, 1, 187, 5, 6, 7, 8]));
    }
}

#[test]
fn dccp_keeps_a_right_checksum() {
    let mut world = World::new();
    let mut packet = ip(ANCHOR, web().0, 33, &[], &[0, 9, 1, 187, 4, 0, 0, 0, 1, 2, 3, 4]);
    let sum_of = |packet: &[u8]| {
        let words = packet[12..].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
        let mut sum = words.sum::<u32>() + 33 + (packet.len() - 20) as u32;
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    };
    let sum = !sum_of(&packet);
    set(&mut packet, 26, sum);
    let sent = world.send(FR, &packet);
    assert_eq!(sum_of(&sent), 0xffff);
    assert_ne!(Attachment::Rules, Attachment::Prefer(FR));
}
