//! Packets made by hand and an oracle for their checksums. It shares no code with the crate, so that both cannot be
//! wrong in the same way.

use std::net::Ipv4Addr;

use mrvpn_router::{Checksum, Offload};

pub(crate) type End = (Ipv4Addr, u16);

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

pub(crate) fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub(crate) fn end(text: &str) -> End {
    let end: std::net::SocketAddrV4 = text.parse().unwrap();
    (*end.ip(), end.port())
}

/// A packet of any protocol, its header checksum right.
pub(crate) fn ip(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let mut packet = vec![0x40 | (header / 4) as u8, 0];
    packet.extend(((header + payload.len()) as u16).to_be_bytes());
    packet.extend([0x12, 0x34, 0, 0, 64, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(options);
    packet.extend(payload);
    seal_header(&mut packet);
    packet
}

/// A TCP segment; `options` in whole words.
pub(crate) fn tcp(from: End, to: End, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(from.1.to_be_bytes());
    segment.extend(to.1.to_be_bytes());
    segment.extend(0x0102_0304_u32.to_be_bytes());
    segment.extend(0x0506_0708_u32.to_be_bytes());
    segment.extend([(((20 + options.len()) / 4) << 4) as u8, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(options);
    segment.extend(payload);
    let mut packet = ip(from.0, to.0, TCP, &[], &segment);
    seal(&mut packet);
    packet
}

/// The same with this sequence and acknowledgement number.
pub(crate) fn numbered(mut packet: Vec<u8>, sequence: u32, acknowledgement: u32) -> Vec<u8> {
    packet[24..28].copy_from_slice(&sequence.to_be_bytes());
    packet[28..32].copy_from_slice(&acknowledgement.to_be_bytes());
    seal(&mut packet);
    packet
}

pub(crate) fn udp(from: End, to: End, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(from.1.to_be_bytes());
    datagram.extend(to.1.to_be_bytes());
    datagram.extend(((8 + payload.len()) as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    let mut packet = ip(from.0, to.0, UDP, &[], &datagram);
    seal(&mut packet);
    packet
}

/// An echo request (8) or reply (0).
pub(crate) fn echo(kind: u8, from: Ipv4Addr, to: Ipv4Addr, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend([0, 1]);
    message.extend(payload);
    let mut packet = ip(from, to, ICMP, &[], &message);
    seal(&mut packet);
    packet
}

/// An ICMP error that quotes `about`.
pub(crate) fn icmp_error(from: Ipv4Addr, to: Ipv4Addr, kind: [u8; 2], mtu: u16, about: &[u8]) -> Vec<u8> {
    let mut message = vec![kind[0], kind[1], 0, 0, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(about);
    let mut packet = ip(from, to, ICMP, &[], &message);
    seal(&mut packet);
    packet
}

/// The answer to a packet: both ends change places, everything else stays.
pub(crate) fn swapped(packet: &[u8]) -> Vec<u8> {
    let mut answer = packet.to_vec();
    let header = header(packet);
    answer[12..16].copy_from_slice(&packet[16..20]);
    answer[16..20].copy_from_slice(&packet[12..16]);
    if packet[9] == ICMP {
        answer[header] = 8 - packet[header];
    } else {
        answer[header..header + 2].copy_from_slice(&packet[header + 2..header + 4]);
        answer[header + 2..header + 4].copy_from_slice(&packet[header..header + 2]);
    }
    let no_checksum = packet[9] == UDP && field(packet, header + 6) == 0;
    seal_header(&mut answer);
    if !no_checksum {
        seal(&mut answer);
    }
    answer
}

pub(crate) fn source(packet: &[u8]) -> Ipv4Addr {
    Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15])
}

pub(crate) fn destination(packet: &[u8]) -> Ipv4Addr {
    Ipv4Addr::new(packet[16], packet[17], packet[18], packet[19])
}

/// Source port, or an echo's identifier.
pub(crate) fn source_port(packet: &[u8]) -> u16 {
    let header = header(packet);
    field(packet, if packet[9] == ICMP { header + 4 } else { header })
}

/// Destination port, or an echo's identifier.
pub(crate) fn destination_port(packet: &[u8]) -> u16 {
    let header = header(packet);
    field(packet, if packet[9] == ICMP { header + 4 } else { header + 2 })
}

pub(crate) fn header(packet: &[u8]) -> usize {
    usize::from(packet[0] & 15) * 4
}

pub(crate) fn field(packet: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

pub(crate) fn set(packet: &mut [u8], at: usize, value: u16) {
    packet[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Sets DF.
pub(crate) fn unfragmentable(mut packet: Vec<u8>) -> Vec<u8> {
    packet[6] |= 0x40;
    seal_header(&mut packet);
    packet
}

/// Makes the transport checksum partial, as the kernel hands it over.
pub(crate) fn partial(packet: &mut [u8]) -> Offload {
    let start = header(packet);
    let offset = checksum_place(packet);
    let sum = fold(pseudo(packet));
    set(packet, start + offset, sum);
    Offload { checksum: Checksum::Partial { start: start as u16, offset: offset as u16 }, segmentation: None }
}

/// Completes a partial checksum, bytewise.
pub(crate) fn completed(packet: &[u8]) -> Vec<u8> {
    let mut whole = packet.to_vec();
    let start = header(packet);
    let sum = !fold(sum(&packet[start..]));
    set(&mut whole, start + checksum_place(packet), if packet[9] == UDP && sum == 0 { 0xffff } else { sum });
    whole
}

/// Whether the header's checksum and the transport's are right; UDP's zero is.
pub(crate) fn is_right(packet: &[u8]) -> bool {
    let start = header(packet);
    let header_is = fold(sum(&packet[..start])) == 0xffff;
    let none = packet[9] == UDP && field(packet, start + 6) == 0;
    header_is && (none || fold(pseudo(packet) + sum(&packet[start..])) == 0xffff)
}

pub(crate) fn seal_header(packet: &mut [u8]) {
    set(packet, 10, 0);
    let sum = !fold(sum(&packet[..header(packet)]));
    set(packet, 10, sum);
}

pub(crate) fn seal(packet: &mut [u8]) {
    let at = header(packet) + checksum_place(packet);
    set(packet, at, 0);
    let sum = !fold(pseudo(packet) + sum(&packet[header(packet)..]));
    set(packet, at, if packet[9] == UDP && sum == 0 { 0xffff } else { sum });
}

fn checksum_place(packet: &[u8]) -> usize {
    match packet[9] {
        TCP => 16,
        UDP => 6,
        _ => 2,
    }
}

fn pseudo(packet: &[u8]) -> u64 {
    let length = packet.len() - header(packet);
    if packet[9] == ICMP { 0 } else { sum(&packet[12..20]) + u64::from(packet[9]) + length as u64 }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0))).sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
