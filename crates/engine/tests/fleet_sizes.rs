//! Whatever size a server pushes and whatever segment size either end names: nothing panics, what fits goes through, what is too
//! large is cut or refused.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails there fails the test")]

mod table;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mrvpn_engine::EngineConfig;
use mrvpn_proto::peer::TestServerConfig;
use table::{Start, Table, UK, ends, good, server, test_server, tunnel, udp};

const INNER: Ipv4Addr = Ipv4Addr::new(10, 100, 0, 2);
const ANYWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const INNER_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0, 2);
const ANYWHERE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);

/// What is pushed, and the largest inner packet that follows: a size within 576 and 9,000 that a path of 1,500 carries.
const SIZES: [(&str, usize); 12] = [
    ("0", 576),
    ("1", 576),
    ("68", 576),
    ("575", 576),
    ("576", 576),
    ("577", 577),
    ("1279", 1279),
    ("1280", 1280),
    ("1500", 1448),
    ("9000", 1448),
    ("9001", 1448),
    ("70000", 1448),
];

/// A tunnel whose server pushes this.
fn table(push: &str) -> Table {
    let mut config = TestServerConfig::new(mrvpn_profile::Wrap::None);
    config.login = good();
    config.push = vec![format!(
        "PUSH_REPLY,route-gateway 10.100.0.1,topology subnet,ping 1,ping-restart 60,ifconfig 10.100.0.2 255.255.0.0,\
         ifconfig-ipv6 {INNER_V6}/64 fd00:100::1,peer-id 7,cipher AES-256-GCM,protocol-flags cc-exit tls-ekm{push}"
    )];
    let engine = EngineConfig { tunnels: vec![tunnel("uk", 0, ""), tunnel("fr", 1, "")], ..EngineConfig::new() };
    let mut table = Table::start(Start::of(engine), vec![test_server(config, 9), server(1, good(), "")]);
    table.run(Duration::from_secs(3));
    assert_eq!(table.states(), ["up", "up"], "{push}: {:?}", table.status().tunnels[0].error);
    table
}

/// A datagram of this length over IPv4 from the tunnel's own address.
fn datagram(length: usize, dont_fragment: bool) -> Vec<u8> {
    let mut packet = udp(INNER, ANYWHERE, &vec![7; length - 28]);
    if dont_fragment {
        packet[6] |= 0x40;
        // RFC 1624: the checksum falls by what the header rises.
        let sum = u16::from_be_bytes([packet[10], packet[11]]);
        let sum = if sum > 0x4000 { sum - 0x4000 } else { sum + (0xffff - 0x4000) };
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// The same over IPv6.
fn datagram_v6(length: usize) -> Vec<u8> {
    let payload = u16::try_from(length - 40).unwrap();
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(payload.to_be_bytes());
    packet.extend([17, 64]);
    packet.extend(INNER_V6.octets());
    packet.extend(ANYWHERE_V6.octets());
    packet.extend([0x13, 0x88, 0x13, 0x88]);
    packet.extend(payload.to_be_bytes());
    packet.extend([0xbe, 0xef]);
    packet.resize(length, 7);
    packet
}

/// A SYN that names a largest segment; from there to here if `back`.
fn syn(segment: u16, port: u16, back: bool) -> Vec<u8> {
    let (from, to) = if back { (ANYWHERE, INNER) } else { (INNER, ANYWHERE) };
    // The header of a datagram of this length, for TCP.
    let mut packet = udp(from, to, &[0; 16])[..44].to_vec();
    packet[9] = 6;
    let sum = u16::from_be_bytes([packet[10], packet[11]]);
    packet[10..12].copy_from_slice(&(sum + 11).to_be_bytes());
    let ports = if back { [443, port] } else { [port, 443] };
    packet[20..22].copy_from_slice(&ports[0].to_be_bytes());
    packet[22..24].copy_from_slice(&ports[1].to_be_bytes());
    packet[24..44].fill(0);
    packet[32] = 6 << 4;
    packet[33] = if back { 0x12 } else { 0x02 };
    packet[40..42].copy_from_slice(&[2, 4]);
    packet[42..44].copy_from_slice(&segment.to_be_bytes());
    packet
}

/// The segment size that a SYN names.
fn segment(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[42], packet[43]])
}

// proves: T-34
#[test]
fn whatever_size_a_server_pushes_what_fits_goes_through_and_the_rest_is_cut_or_refused() {
    for (pushed, limit) in SIZES {
        let mut table = table(&format!(",tun-mtu {pushed}"));
        assert_eq!(usize::from(table.status().tunnels[0].mtu.unwrap()), limit, "{pushed}");
        for (length, dont_fragment) in [(28, false), (limit, false), (limit, true), (limit + 1, false), (3_000, false)]
        {
            table.send(datagram(length, dont_fragment));
            let seen = table.at_server(UK);
            assert!(seen.iter().all(|packet| packet.len() <= limit && ends(packet) == (INNER, ANYWHERE)), "{pushed}");
            let payload: usize = seen.iter().map(|packet| packet.len() - 20).sum();
            assert_eq!((payload, seen.len() > 1), (length - 20, length > limit), "{pushed}: {length}");
        }
        let refusal = table.send(datagram(limit + 1, true));
        assert!(table.at_server(UK).is_empty());
        assert_eq!(refusal[0][20..22], [3, 4], "{pushed}: too big");
        assert_eq!(usize::from(u16::from_be_bytes([refusal[0][26], refusal[0][27]])), limit);
    }
}

// proves: T-34
#[test]
fn a_tunnel_that_is_too_small_for_ipv6_carries_none_and_one_that_is_large_enough_does() {
    for (pushed, limit) in SIZES {
        let mut table = table(&format!(",tun-mtu {pushed}"));
        let answers = table.send(datagram_v6(60));
        if limit < 1_280 {
            assert_eq!((table.at_server(UK).len(), answers.len()), (0, 1), "{pushed}: refused");
            continue;
        }
        assert_eq!(table.at_server(UK).len(), 1, "{pushed}");
        table.send(datagram_v6(limit));
        assert_eq!(table.at_server(UK).len(), 1, "{pushed}");
        let refusal = table.send(datagram_v6(limit + 1));
        assert_eq!((table.at_server(UK).len(), refusal[0][40]), (0, 2), "{pushed}: too big");
    }
}

// proves: T-34
#[test]
fn whatever_segment_size_either_end_names_it_is_lowered_to_what_fits_and_never_raised() {
    for (pushed, limit) in SIZES {
        let mut table = table(&format!(",tun-mtu {pushed}"));
        let most = u16::try_from(limit - 40).unwrap();
        for (place, named) in [0, 1, 535, 536, most - 1, most, most + 1, 1_460, u16::MAX].into_iter().enumerate() {
            let port = 40_000 + u16::try_from(place).unwrap();
            table.send(syn(named, port, false));
            let seen = table.at_server(UK);
            assert_eq!((seen.len(), segment(&seen[0])), (1, named.min(most)), "{pushed}: {named}");
            table.answer(UK, &syn(named, port, true));
            let back = table.received();
            assert_eq!((back.len(), segment(&back[0])), (1, named.min(most)), "{pushed}: {named} back");
        }
    }
}

// proves: T-34
#[test]
fn sizes_beside_orders_about_ipv6_and_segments_change_nothing_of_what_flows() {
    for more in ["block-ipv6", "mssfix 0", "mssfix 1", "fragment 0", "tun-mtu-extra 70000", "link-mtu 1"] {
        let mut table = table(&format!(",tun-mtu 1500,{more}"));
        table.send(datagram(1_400, true));
        assert_eq!(table.at_server(UK).len(), 1, "{more}");
    }
}
