//! Inner packets and datagrams that nobody should send, built by hand. What the engine makes of them the arena judges.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::arena::{ASSIGNED, HOSTILE, PORTS, TARGET};
use crate::sim::apps::packet::{Draft, ICMP, Kind, TAG, TCP, Tag, UDP};

/// A packet that must not reach anyone: from and to anywhere.
pub(super) fn lie(
    source: impl Into<IpAddr>,
    destination: impl Into<IpAddr>,
    protocol: u8,
    ports: (u16, u16),
) -> Vec<u8> {
    let tag = Tag { kind: Kind::Forged, place: HOSTILE as u8, session: 0, flow: 0, number: 1 };
    let (source, destination) = (SocketAddr::new(source.into(), ports.0), SocketAddr::new(destination.into(), ports.1));
    let flags = if protocol == TCP { 2 } else { 0 };
    Draft { source, destination, protocol, flags, tag, payload: TAG, id: ports.1 }.build()
}

/// A lie of UDP from a host behind the server to the tunnel's own address.
pub(super) fn unasked() -> Vec<u8> {
    lie([203, 0, 113, 99], ASSIGNED, UDP, (53, 5_000))
}

/// Addresses that no packet may come from or go to.
pub(super) const ODD: [Ipv4Addr; 12] = [
    Ipv4Addr::new(0, 0, 0, 0),
    Ipv4Addr::new(10, 8, 0, 2),
    Ipv4Addr::new(10, 8, 0, 255),
    Ipv4Addr::new(127, 0, 0, 1),
    Ipv4Addr::new(169, 254, 1, 1),
    Ipv4Addr::new(192, 0, 2, 1),
    Ipv4Addr::new(192, 168, 1, 10),
    Ipv4Addr::new(192, 168, 1, 20),
    Ipv4Addr::new(198, 18, 0, 1),
    Ipv4Addr::new(198, 18, 0, 254),
    Ipv4Addr::new(224, 0, 0, 1),
    Ipv4Addr::new(255, 255, 255, 255),
];

/// All protocols that have flows.
pub(super) const PROTOCOLS: [u8; 3] = [UDP, TCP, ICMP];

/// An ICMP error from `from` to the tunnel's address that quotes a packet from there to `about`.
pub(super) fn error(kind: (u8, u8), rest: u32, from: Ipv4Addr, about: (Ipv4Addr, u16, u16)) -> Vec<u8> {
    let (destination, source_port, port) = about;
    let quoted = lie(ASSIGNED, destination, UDP, (source_port, port));
    let mut body = vec![kind.0, kind.1, 0, 0];
    body.extend(rest.to_be_bytes());
    body.extend_from_slice(&quoted[..28]);
    let sum = checksum(&body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    ip(from, ASSIGNED, 1, &body)
}

/// The ports by which its server sees the tunnel's flow.
pub(super) const FLOW: (Ipv4Addr, u16, u16) = (TARGET, PORTS.0 + HOSTILE as u16, PORTS.1);

/// An IPv4 packet.
pub(super) fn ip(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + body.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut packet = vec![0x45, 0, length[0], length[1], 0, 1, 0, 0, 64, protocol, 0, 0];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend_from_slice(body);
    mend(&mut packet);
    packet
}

/// Sets the header's checksum.
pub(super) fn mend(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A P_CONTROL_HARD_RESET_SERVER_V2 of a server session that acknowledges the client's first packet `first`.
pub(super) fn server_reset(session: [u8; 8], first: &[u8]) -> Vec<u8> {
    let client = first.get(1..9).unwrap_or(&[0; 8]);
    let mut reset = vec![8 << 3];
    reset.extend(session);
    reset.extend([1, 0, 0, 0, 0]);
    reset.extend_from_slice(client);
    reset.extend([0, 0, 0, 0]);
    reset
}
