//! Refusals as the host reads them: whole, right, from the right address, and none where none may be.

use std::net::Ipv6Addr;

use mrvpn_router::{DropReason, Refusal, limits};
use proptest::prelude::*;

use crate::packets::*;
use crate::world::*;

const DENIED: Refusal = Refusal::Denied(DropReason::TunnelDown);

fn number(packet: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(packet[at..at + 4].try_into().unwrap())
}

#[test]
fn a_syn_is_reset_from_its_destination() {
    let answer = World::new().answer(&tcp(app(7000), web(), SYN, &[2, 4, 5, 180], b""), DENIED).unwrap();
    assert_eq!((source(&answer), source_port(&answer)), web());
    assert_eq!((destination(&answer), destination_port(&answer)), app(7000));
    assert_eq!((answer[33], number(&answer, 24), number(&answer, 28)), (RST | ACK, 0, 0x0102_0305));
    assert_eq!((answer.len(), usize::from(field(&answer, 2))), (40, 40));
    assert!(is_right(&answer));
}

#[test]
fn a_segment_is_reset_where_its_acknowledgement_stands() {
    let answer = World::new().answer(&tcp(app(7000), web(), ACK, &[], b"data"), DENIED).unwrap();
    assert_eq!((answer[33], number(&answer, 24)), (RST, 0x0506_0708));
    assert!(is_right(&answer));
}

#[test]
fn a_segment_without_acknowledgement_is_acknowledged_whole() {
    let answer = World::new().answer(&tcp(app(7000), web(), FIN, &[], b"data"), DENIED).unwrap();
    assert_eq!((answer[33], number(&answer, 28)), (RST | ACK, 0x0102_0304 + 4 + 1));
}

#[test]
fn other_packets_are_prohibited_by_the_engine() {
    for packet in [
        udp(app(53), web(), b"question"),
        echo(8, ANCHOR, web().0, 1, b"ping"),
        ip(ANCHOR, web().0, 47, &[], &[1; 700]),
    ] {
        let answer = World::new().answer(&packet, DENIED).unwrap();
        assert_eq!((source(&answer), destination(&answer)), (ENGINE, ANCHOR));
        assert_eq!((answer[9], answer[20], answer[21]), (ICMP, 3, 13));
        assert!(is_right(&answer));
        let quoted = packet.len().min(limits::ICMP_ERROR_V4 - 28);
        assert_eq!(answer[28..], packet[..quoted]);
        assert_eq!(usize::from(field(&answer, 2)), answer.len());
    }
}

#[test]
fn what_is_too_big_learns_the_limit_even_if_it_is_tcp() {
    for packet in [tcp(app(7000), web(), ACK, &[], &[0; 1400]), udp(app(7000), web(), &[0; 1400])] {
        let answer = World::new().answer(&packet, Refusal::TooBig(1400)).unwrap();
        assert_eq!((source(&answer), answer[20], answer[21], field(&answer, 26)), (ENGINE, 3, 4, 1400));
        assert!(is_right(&answer));
    }
}

#[test]
fn some_packets_are_never_answered() {
    let mut later = udp(app(53), web(), b"question");
    set(&mut later, 6, 1);
    for packet in [
        icmp_error(ANCHOR, web().0, [3, 3], 0, &[0; 28]),
        later,
        udp(app(53), end("224.0.0.251:5353"), b""),
        udp(app(53), end("255.255.255.255:67"), b""),
        udp(app(53), end("10.9.255.255:137"), b""),
        udp(end("0.0.0.0:68"), web(), b""),
        udp(end("127.0.0.1:68"), web(), b""),
        tcp(app(7000), web(), RST, &[], b""),
        tcp(app(7000), web(), RST | ACK, &[], b""),
        vec![],
        vec![0x45; 10],
    ] {
        assert_eq!(World::new().answer(&packet, DENIED), None, "{packet:?}");
    }
}

#[test]
fn a_flow_is_answered_ten_times_a_second_at_most_and_others_all_the_same() {
    let mut world = World::new();
    let (mut one, mut others) = (0, 0);
    for ms in 0..1_000 {
        world.now = world.now + std::time::Duration::from_millis(1);
        one += usize::from(world.answer(&udp(app(53), web(), b""), DENIED).is_some());
        if ms % 100 == 0 {
            others += usize::from(world.answer(&udp(app(1_000 + ms), web(), b""), DENIED).is_some());
        }
    }
    assert!((5..=10).contains(&one), "{one}");
    assert_eq!(others, 10);
}

#[test]
fn a_buffer_too_small_is_not_overrun() {
    let packet = udp(app(53), web(), &[7; 700]);
    for size in 0..limits::ICMP_ERROR_V4 + 1 {
        let mut world = World::new();
        let mut into = vec![0; size];
        let length = world.router.refuse(&packet, DENIED, world.now, &mut into);
        assert_eq!(length, (size >= 28 + 28).then_some(size.min(limits::ICMP_ERROR_V4)));
    }
}

fn ipv6(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([protocol, 64]);
    packet.extend("2001:2:0:1::1".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend(payload);
    packet
}

/// The sum over pseudo-header and payload of an IPv6 packet without extensions.
fn is_right_v6(packet: &[u8]) -> bool {
    let words = packet[8..].chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)));
    let mut sum = words.sum::<u64>() + u64::from(packet[6]) + (packet.len() - 40) as u64;
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum == 0xffff
}

#[test]
fn ipv6_is_reset_or_prohibited_in_its_own_way() {
    let syn = &tcp(app(7000), web(), SYN, &[], b"")[20..];
    let answer = World::new().answer(&ipv6(TCP, syn), DENIED).unwrap();
    assert_eq!((answer.len(), answer[6], answer[53]), (60, TCP, RST | ACK));
    assert_eq!((&answer[8..24], &answer[24..40]), (&ipv6(TCP, syn)[24..40], &ipv6(TCP, syn)[8..24]));
    assert!(is_right_v6(&answer));

    let packet = ipv6(UDP, &[5; 1_300]);
    let answer = World::new().answer(&packet, DENIED).unwrap();
    assert_eq!((answer.len(), answer[6], answer[40], answer[41]), (limits::ICMP_ERROR_V6, 58, 1, 1));
    assert_eq!(answer[8..24], "2001:2:0:1::fe".parse::<Ipv6Addr>().unwrap().octets());
    assert!(is_right_v6(&answer));

    let answer = World::new().answer(&packet, Refusal::TooBig(1_280)).unwrap();
    assert_eq!((answer[40], number(&answer, 44)), (2, 1_280));

    assert_eq!(World::new().answer(&ipv6(58, &[1, 4, 0, 0, 0, 0, 0, 0]), DENIED), None);
    assert!(World::new().answer(&ipv6(58, &[128, 0, 0, 0, 0, 0, 0, 0]), DENIED).is_some());
    assert_eq!(World::new().answer(&ipv6(44, &[17, 0, 0, 8, 0, 0, 0, 1]), DENIED), None);
}

proptest! {
    #[test]
    fn any_bytes_are_answered_rightly_or_not_at_all(bytes in any_packet(), too_big in any::<bool>()) {
        let refusal = if too_big { Refusal::TooBig(1_280) } else { DENIED };
        if let Some(answer) = World::new().answer(&bytes, refusal) {
            let right = if answer[0] >> 4 == 4 { is_right } else { is_right_v6 };
            prop_assert!(right(&answer));
        }
    }
}

/// Bytes that often look like a packet.
fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(vec![0x45_u8, 0x46, 0x60, 0x00]), prop::collection::vec(any::<u8>(), 1..200)).prop_map(
        |(first, mut bytes)| {
            bytes[0] = first;
            let length = bytes.len();
            if first >> 4 == 4 && length > 10 {
                set(&mut bytes, 2, length as u16);
                set(&mut bytes, 6, 0);
                bytes[9] = [ICMP, TCP, UDP, 47][usize::from(bytes[9] % 4)];
            } else if length >= 40 {
                set(&mut bytes, 4, (length - 40) as u16);
                bytes[6] = [58, TCP, UDP, 0][usize::from(bytes[6] % 4)];
            }
            bytes
        },
    )
}
