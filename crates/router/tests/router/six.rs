//! The same packets over IPv6: a test's IPv4 packet becomes an IPv6 packet and back, address by address, so that one test
//! and one oracle judge both versions. Checksums are judged and made by the tests' own sums.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
use mrvpn_router::{Checksum, DefaultChoice, Defaults, OwnAddresses, PolicyInput, TunnelView};
use mrvpn_router::{Offload, SegmentKind};

use crate::packets::*;

/// IP protocol number of ICMPv6.
pub(crate) const ICMPV6: u8 = 58;
/// IP protocol number of the fragment header.
const FRAGMENT: u8 = 44;
/// Before the four bytes of an IPv4 address.
const PREFIX: [u8; 12] = [0x20, 0x01, 0x0d, 0xb8, 0, 0x64, 0, 0, 0, 0, 0, 0];

/// What stands for an IPv4 address.
pub(crate) fn six(address: Ipv4Addr) -> Ipv6Addr {
    let mut bytes = [0; 16];
    bytes[..12].copy_from_slice(&PREFIX);
    bytes[12..].copy_from_slice(&address.octets());
    bytes.into()
}

/// A packet of any protocol.
pub(crate) fn ip6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([protocol, 64]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

/// An ICMPv6 error that quotes `about`.
pub(crate) fn icmp_error6(from: Ipv6Addr, to: Ipv6Addr, kind: [u8; 2], mtu: u32, about: &[u8]) -> Vec<u8> {
    let mut message = vec![kind[0], kind[1], 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(about);
    let mut packet = ip6(from, to, ICMPV6, &message);
    seal6(&mut packet);
    packet
}

/// The packet over IPv6. Its checksum is made anew where it was right, and stays partial where it was.
pub(crate) fn to_six(packet: &[u8]) -> Vec<u8> {
    let mut payload = packet[header(packet)..].to_vec();
    let mut protocol = if packet[9] == ICMP { ICMPV6 } else { packet[9] };
    let place = field(packet, 6);
    let first = place & 0x1fff == 0;
    if protocol == ICMPV6 && first {
        payload[0] = if payload[0] == 8 { 128 } else { 129 };
    }
    if place & 0x3fff != 0 {
        let more = u16::from(place & 0x2000 != 0);
        let mut fragment = vec![protocol, 0];
        fragment.extend(((place & 0x1fff) << 3 | more).to_be_bytes());
        fragment.extend([0, 0]);
        fragment.extend(&packet[4..6]);
        fragment.extend(payload);
        (payload, protocol) = (fragment, FRAGMENT);
    }
    let mut six = ip6(six(source(packet)), six(destination(packet)), protocol, &payload);
    if protocol != FRAGMENT && [TCP, UDP, ICMP].contains(&packet[9]) && is_right(packet) {
        seal6(&mut six);
    }
    six
}

/// The packet over IPv4, after its checksum was judged.
pub(crate) fn to_four(packet: &[u8]) -> Vec<u8> {
    let (from, to) = (v4_of(&packet[8..24]), v4_of(&packet[24..40]));
    if packet[6] == FRAGMENT {
        let place = field(packet, 42);
        let protocol = if packet[40] == ICMPV6 { ICMP } else { packet[40] };
        let mut payload = packet[48..].to_vec();
        if protocol == ICMP && place >> 3 == 0 {
            payload[0] = if payload[0] == 129 { 0 } else { 8 };
        }
        let mut four = ip(from, to, protocol, &[], &payload);
        set(&mut four, 4, field(packet, 46));
        set(&mut four, 6, place >> 3 | if place & 1 == 1 { 0x2000 } else { 0 });
        seal_header(&mut four);
        return four;
    }
    let known = [TCP, UDP, ICMPV6].contains(&packet[6]);
    assert!(!known || is_right6(packet));
    let protocol = if packet[6] == ICMPV6 { ICMP } else { packet[6] };
    let mut payload = packet[40..].to_vec();
    if protocol == ICMP {
        payload[0] = if payload[0] == 129 { 0 } else { 8 };
    }
    let mut four = ip(from, to, protocol, &[], &payload);
    if known {
        seal(&mut four);
    }
    four
}

/// The same offload state for the packet over IPv6, whose partial checksum is made anew.
pub(crate) fn offload_six(packet: &mut [u8], offload: &Offload) -> Offload {
    let Checksum::Partial { offset, .. } = offload.checksum else { return *offload };
    let sum = fold6(pseudo6(packet));
    set(packet, 40 + usize::from(offset), sum);
    let segmentation = offload.segmentation.map(|of| mrvpn_router::Segmentation {
        kind: if of.kind == SegmentKind::Tcp4 { SegmentKind::Tcp6 } else { of.kind },
        header: of.header + 20,
        ..of
    });
    Offload { checksum: Checksum::Partial { start: 40, offset }, segmentation }
}

/// Completes a partial checksum, bytewise.
pub(crate) fn completed6(packet: &[u8]) -> Vec<u8> {
    let mut whole = packet.to_vec();
    let sum = !fold6(sum6(&packet[40..]));
    set(&mut whole, 40 + place6(packet), if packet[6] == UDP && sum == 0 { 0xffff } else { sum });
    whole
}

/// The policy over IPv6 in which everything means the same.
pub(crate) fn policy_six(input: &PolicyInput) -> PolicyInput {
    let mut mapped = input.clone();
    for rule in &mut mapped.rules {
        rule.to.iter_mut().chain(&mut rule.from).for_each(|net| *net = net_six(net));
        rule.proto.iter_mut().filter(|proto| **proto == ICMP).for_each(|proto| *proto = ICMPV6);
    }
    mapped.claims.iter_mut().for_each(|claim| claim.prefix = net_six(&claim.prefix));
    mapped.defaults = Defaults { v4: DefaultChoice::NotOffered, v6: input.defaults.v4 };
    mapped.sources = input.sources.iter().map(|(address, tunnel)| (address_six(*address), *tunnel)).collect();
    mapped.own = OwnAddresses { anchor_v6: six(input.own.anchor_v4), engine_v6: six(input.own.engine_v4), ..input.own };
    let view = |view: &TunnelView| TunnelView {
        inner_v4: None,
        inner_v6: view.inner_v4.map(six),
        presented_v4: None,
        presented_v6: view.presented_v4.map(six),
        ..*view
    };
    mapped.tunnels = input.tunnels.iter().map(view).collect();
    mapped
}

fn net_six(net: &IpNet) -> IpNet {
    match net {
        IpNet::V4(v4) => IpNet::V6(Ipv6Net::new(six(v4.addr()), v4.prefix_len() + 96).unwrap()),
        IpNet::V6(_) => *net,
    }
}

fn address_six(address: std::net::IpAddr) -> std::net::IpAddr {
    match address {
        std::net::IpAddr::V4(v4) => six(v4).into(),
        std::net::IpAddr::V6(_) => address,
    }
}

fn v4_of(bytes: &[u8]) -> Ipv4Addr {
    assert_eq!(bytes[..12], PREFIX);
    Ipv4Addr::new(bytes[12], bytes[13], bytes[14], bytes[15])
}

pub(crate) fn seal6(packet: &mut [u8]) {
    let at = 40 + place6(packet);
    set(packet, at, 0);
    let sum = !fold6(pseudo6(packet) + sum6(&packet[40..]));
    set(packet, at, if packet[6] == UDP && sum == 0 { 0xffff } else { sum });
}

/// Whether the transport checksum of a packet without extension headers is right; zero never is UDP's.
pub(crate) fn is_right6(packet: &[u8]) -> bool {
    let none = packet[6] == UDP && field(packet, 46) == 0;
    !none && fold6(pseudo6(packet) + sum6(&packet[40..])) == 0xffff
}

fn place6(packet: &[u8]) -> usize {
    match packet[6] {
        TCP => 16,
        UDP => 6,
        _ => 2,
    }
}

fn pseudo6(packet: &[u8]) -> u64 {
    sum6(&packet[8..40]) + u64::from(packet[6]) + (packet.len() - 40) as u64
}

fn sum6(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0))).sum()
}

fn fold6(mut sum: u64) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
