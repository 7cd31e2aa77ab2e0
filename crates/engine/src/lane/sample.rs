//! Packets for the tests of this directory: made whole, with right checksums, and taken apart again.

use mrvpn_router::{Checksum, Offload, SegmentKind, Segmentation};

use super::checksum::{fill_ipv4_header, pseudo_header, transport_is_right};
use super::layout::{Layout, TCP, UDP, field16, field32, set_field16};
use super::{PacketSink, PacketWriter};

/// A TCP segment.
#[derive(Clone, Debug)]
pub(crate) struct TcpSample {
    pub(crate) port: u16,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    pub(crate) id: u16,
    pub(crate) dont_fragment: bool,
    /// A multiple of 4 bytes.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    /// Over IPv6, where identification and DF mean nothing.
    pub(crate) six: bool,
}

impl TcpSample {
    pub(crate) fn new(sequence: u32, payload: Vec<u8>) -> Self {
        let options = vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        Self {
            port: 40_000,
            sequence,
            acknowledgement: 7,
            flags: super::layout::ACK,
            window: 500,
            id: 1,
            dont_fragment: true,
            options,
            payload,
            six: false,
        }
    }

    /// The whole packet.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let mut packet = self.without_checksum();
        let ip = self.ip();
        let length = u16::try_from(packet.len() - ip).unwrap();
        let sum = pseudo_header(&packet, TCP, length).and(mrvpn_router::packet::checksum::Sum::of(&packet[ip..]));
        set_field16(&mut packet, ip + 16, sum.checksum());
        packet
    }

    fn ip(&self) -> usize {
        if self.six { 40 } else { 20 }
    }

    /// A super-packet of segments of `size` bytes, as the kernel hands it out: partial checksum.
    pub(crate) fn super_packet(&self, size: u16) -> (Vec<u8>, Offload) {
        let mut packet = self.without_checksum();
        let ip = self.ip();
        let length = u16::try_from(packet.len() - ip).unwrap();
        let pseudo = pseudo_header(&packet, TCP, length).fold();
        set_field16(&mut packet, ip + 16, pseudo);
        let header = u16::try_from(ip + 20 + self.options.len()).unwrap();
        let kind = if self.six { SegmentKind::Tcp6 } else { SegmentKind::Tcp4 };
        let segmentation = Some(Segmentation { kind, size, header });
        let start = u16::try_from(ip).unwrap();
        (packet, Offload { checksum: Checksum::Partial { start, offset: 16 }, segmentation })
    }

    fn without_checksum(&self) -> Vec<u8> {
        let mut packet = if self.six { ip6_header(TCP) } else { ip_header(TCP, self.id, self.dont_fragment) };
        packet.extend_from_slice(&self.port.to_be_bytes());
        packet.extend_from_slice(&443_u16.to_be_bytes());
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&self.acknowledgement.to_be_bytes());
        packet.push(u8::try_from(5 + self.options.len() / 4).unwrap() << 4);
        packet.push(self.flags);
        packet.extend_from_slice(&self.window.to_be_bytes());
        packet.extend_from_slice(&[0; 4]);
        packet.extend_from_slice(&self.options);
        packet.extend_from_slice(&self.payload);
        finish_ip(packet)
    }
}

/// A UDP datagram over IPv4 that may be fragmented.
pub(crate) fn udp(payload: &[u8]) -> Vec<u8> {
    let mut packet = ip_header(UDP, 9, false);
    packet.extend_from_slice(&[0x30, 0x39, 0, 53]);
    packet.extend_from_slice(&u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
    packet.extend_from_slice(&[0; 2]);
    packet.extend_from_slice(payload);
    let mut packet = finish_ip(packet);
    let length = u16::try_from(packet.len() - 20).unwrap();
    let sum = pseudo_header(&packet, UDP, length).and(mrvpn_router::packet::checksum::Sum::of(&packet[20..]));
    set_field16(&mut packet, 26, sum.checksum());
    packet
}

fn ip_header(protocol: u8, id: u16, dont_fragment: bool) -> Vec<u8> {
    let [id_high, id_low] = id.to_be_bytes();
    let flags = if dont_fragment { 0x40 } else { 0 };
    vec![0x45, 0, 0, 0, id_high, id_low, flags, 0, 64, protocol, 0, 0, 10, 100, 0, 2, 203, 0, 113, 10]
}

/// A UDP datagram over IPv6.
pub(crate) fn udp6(payload: &[u8]) -> Vec<u8> {
    let mut packet = ip6_header(UDP);
    packet.extend_from_slice(&[0x30, 0x39, 0, 53]);
    packet.extend_from_slice(&u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
    packet.extend_from_slice(&[0; 2]);
    packet.extend_from_slice(payload);
    let mut packet = finish_ip(packet);
    let length = u16::try_from(packet.len() - 40).unwrap();
    let sum = pseudo_header(&packet, UDP, length).and(mrvpn_router::packet::checksum::Sum::of(&packet[40..]));
    set_field16(&mut packet, 46, sum.checksum());
    packet
}

fn ip6_header(protocol: u8) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
    packet.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    packet
}

fn finish_ip(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] == 0x60 {
        let length = u16::try_from(packet.len() - 40).unwrap();
        set_field16(&mut packet, 4, length);
        return packet;
    }
    let total = u16::try_from(packet.len()).unwrap();
    set_field16(&mut packet, 2, total);
    fill_ipv4_header(&mut packet, 20);
    packet
}

/// Whether lengths and both checksums of a whole packet are right.
pub(crate) fn is_valid(packet: &[u8]) -> bool {
    let mut again = packet.to_vec();
    let Some(layout) = Layout::of(packet) else { return false };
    layout.set_length(&mut again, packet.len());
    again == packet && transport_is_right(packet, layout.ip, layout.protocol)
}

/// The payload behind all headers.
pub(crate) fn payload(packet: &[u8]) -> &[u8] {
    &packet[Layout::of(packet).unwrap().headers..]
}

/// Sequence number of a TCP packet.
pub(crate) fn sequence(packet: &[u8]) -> u32 {
    field32(packet, Layout::of(packet).unwrap().ip + 4)
}

/// IP identification.
pub(crate) fn id(packet: &[u8]) -> u16 {
    field16(packet, 4)
}

/// Changes the last byte, which leaves the checksum wrong.
pub(crate) fn spoil(packet: &mut [u8]) {
    let last = packet.len() - 1;
    packet[last] ^= 0xff;
}

/// Collects packets.
#[derive(Debug, Default)]
pub(crate) struct Collected(pub(crate) Vec<Vec<u8>>);

impl PacketSink for Collected {
    fn room(&mut self, length: usize) -> &mut [u8] {
        self.0.push(vec![0; length]);
        self.0.last_mut().unwrap()
    }
}

/// Collects what would be written to the interface.
#[derive(Debug, Default)]
pub(crate) struct Written(pub(crate) Vec<(Offload, Vec<u8>)>);

impl PacketWriter for Written {
    fn write(&mut self, offload: Offload, parts: &[&[u8]]) {
        self.0.push((offload, parts.concat()));
    }
}

impl Written {
    /// The packets that the kernel would make of it.
    pub(crate) fn packets(&self) -> Vec<Vec<u8>> {
        let mut packets = Collected::default();
        for (offload, bytes) in &self.0 {
            super::split(bytes, offload, usize::MAX, &mut packets).unwrap();
        }
        packets.0
    }
}
