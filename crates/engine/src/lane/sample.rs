//! Packets for the tests of this directory: made whole, with right checksums, and taken apart again.

use mrvpn_router::{Checksum, Offload, SegmentKind, Segmentation};

use super::checksum::{fill_ipv4_header, pseudo_header, transport_is_right};
use super::layout::{Layout, TCP, UDP, field16, field32, set_field16};
use super::{PacketSink, PacketWriter};

/// A TCP segment over IPv4.
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
        }
    }

    /// The whole packet.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let mut packet = self.without_checksum();
        let length = u16::try_from(packet.len() - 20).unwrap();
        let sum = pseudo_header(&packet, TCP, length).and(mrvpn_router::packet::checksum::Sum::of(&packet[20..]));
        set_field16(&mut packet, 36, sum.checksum());
        packet
    }

    /// A super-packet of segments of `size` bytes, as the kernel hands it out: partial checksum.
    pub(crate) fn super_packet(&self, size: u16) -> (Vec<u8>, Offload) {
        let mut packet = self.without_checksum();
        let length = u16::try_from(packet.len() - 20).unwrap();
        let pseudo = pseudo_header(&packet, TCP, length).fold();
        set_field16(&mut packet, 36, pseudo);
        let header = u16::try_from(40 + self.options.len()).unwrap();
        let segmentation = Some(Segmentation { kind: SegmentKind::Tcp4, size, header });
        (packet, Offload { checksum: Checksum::Partial { start: 20, offset: 16 }, segmentation })
    }

    fn without_checksum(&self) -> Vec<u8> {
        let mut packet = ip_header(TCP, self.id, self.dont_fragment);
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

fn finish_ip(mut packet: Vec<u8>) -> Vec<u8> {
    let total = u16::try_from(packet.len()).unwrap();
    set_field16(&mut packet, 2, total);
    fill_ipv4_header(&mut packet, 20);
    packet
}

/// Whether lengths and both checksums of a whole packet are right.
pub(crate) fn is_valid(packet: &[u8]) -> bool {
    let mut again = packet.to_vec();
    fill_ipv4_header(&mut again, 20);
    let layout = Layout::of(packet);
    again == packet && layout.is_some_and(|layout| transport_is_right(packet, 20, layout.protocol))
}

/// The payload behind all headers.
pub(crate) fn payload(packet: &[u8]) -> &[u8] {
    &packet[Layout::of(packet).unwrap().headers..]
}

/// Sequence number of a TCP packet without IP options.
pub(crate) fn sequence(packet: &[u8]) -> u32 {
    field32(packet, 24)
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
