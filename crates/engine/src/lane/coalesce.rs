//! Joins what a server sent as single TCP segments, of either IP version, into super-packets, so that the kernel takes a whole batch with one
//! write. Nothing is copied: a joined packet is the first segment, its header rewritten in place, followed by the
//! payloads where they lie. The rules are those of the kernel's own receive offload (`net/ipv4/tcp_offload.c`): same
//! flow, next sequence number, equal acknowledgement, window and options, and an end at PSH or a short segment; the
//! order within a flow never changes. It does not translate (the router has done so) and does not write itself.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)
)]

use std::ops::Range;

use mrvpn_netplan::QueueCapabilities;
use mrvpn_router::{Checksum, Offload, SegmentKind, Segmentation};

use super::checksum::{pseudo_header, transport_is_right};
use super::layout::{ACK, ICMPV6, Layout, PSH, TCP, UDP, field16, field32, set_field16};
use super::limits::{JOINED_FLOWS, JOINED_SEGMENTS};

/// Bytes of an IPv4 header without options: only such packets are joined.
const IPV4_HEADER: usize = 20;
/// Bytes of an IPv6 header without extensions: only such packets are joined.
const IPV6_HEADER: usize = 40;
/// The longest joined packet: that of IPv4.
const LONGEST: usize = 65_535;
/// Version, both addresses, both ports.
type Key = [u8; 37];

/// Takes packets to the interface.
pub trait PacketWriter {
    /// Writes one packet, or one super-packet of `parts.len()` segments, given in parts that follow each other.
    fn write(&mut self, offload: Offload, parts: &[&[u8]]);
}

/// The flows that are being joined. Packets are ranges of one storage, which must stay as it is between
/// [`Coalescer::offer`] and [`Coalescer::flush`].
#[derive(Debug)]
pub struct Coalescer {
    flows: [Joined; JOINED_FLOWS],
    started: u64,
    enabled: bool,
}

impl Coalescer {
    /// Joins nothing until it knows what the device takes.
    #[must_use]
    pub fn new() -> Self {
        Self { flows: std::array::from_fn(|_| Joined::new()), started: 0, enabled: false }
    }

    /// Joins only where the device takes TCP super-packets with partial checksums. Not while packets are open.
    pub const fn adapt(&mut self, capabilities: QueueCapabilities) {
        self.enabled = capabilities.tso && capabilities.checksum;
    }

    /// Takes the next packet: joins it, or writes it after what came before it in its flow.
    pub fn offer(&mut self, storage: &mut [u8], packet: Range<usize>, writer: &mut impl PacketWriter) {
        let bytes = storage.get(packet.clone()).unwrap_or_default();
        let segment = if self.enabled { Segment::of(bytes) } else { None };
        let Some(segment) = segment else {
            if self.enabled && may_be_tcp(bytes) {
                // A fragment or a packet with more headers: which flow it belongs to is not known here.
                self.flush(storage, writer);
            }
            return write_single(storage, packet, writer);
        };
        let known = self.flows.iter().position(|flow| flow.is_open() && flow.key == segment.key);
        if let Some(flow) = known.and_then(|index| self.flows.get_mut(index)) {
            if flow.take(storage, &packet, &segment) {
                if segment.ends(flow.size) {
                    flow.finish(storage, writer);
                }
                return;
            }
            flow.finish(storage, writer);
        }
        if segment.may_begin() {
            self.begin(storage, packet, &segment, writer)
        } else {
            write_single(storage, packet, writer)
        }
    }

    /// Writes all that is still open. The storage may be used anew after it.
    pub fn flush(&mut self, storage: &mut [u8], writer: &mut impl PacketWriter) {
        for flow in self.flows.iter_mut().filter(|flow| flow.is_open()) {
            flow.finish(storage, writer);
        }
    }

    /// A new flow; the oldest is written where all places are taken.
    fn begin(&mut self, storage: &mut [u8], packet: Range<usize>, segment: &Segment, writer: &mut impl PacketWriter) {
        let Some(flow) = self.flows.iter_mut().min_by_key(|flow| if flow.is_open() { flow.started } else { 0 }) else {
            return write_single(storage, packet, writer);
        };
        if flow.is_open() {
            flow.finish(storage, writer);
        }
        self.started = self.started.wrapping_add(1);
        flow.begin(packet, segment, self.started);
    }
}

impl Default for Coalescer {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether this may be TCP in any shape: over IPv6, extension headers are not walked.
fn may_be_tcp(packet: &[u8]) -> bool {
    packet.first_chunk::<20>().is_some_and(|fixed| match fixed[0] >> 4 {
        4 => fixed[9] == TCP,
        _ => ![UDP, ICMPV6].contains(&fixed[6]),
    })
}

fn write_single(storage: &[u8], packet: Range<usize>, writer: &mut impl PacketWriter) {
    if let Some(bytes) = storage.get(packet) {
        writer.write(Offload::NONE, &[bytes]);
    }
}

/// What joining must know of one TCP segment.
#[derive(Debug)]
struct Segment {
    /// Both addresses and both ports, as they stand in the packet.
    key: Key,
    /// Bytes of the IP header.
    ip: usize,
    headers: usize,
    payload: usize,
    sequence: u32,
    flags: u8,
}

impl Segment {
    /// `None` for anything but a whole TCP segment without IP options or extension headers.
    fn of(packet: &[u8]) -> Option<Self> {
        let fits =
            |layout: &Layout| layout.protocol == TCP && layout.ip == if layout.six { IPV6_HEADER } else { IPV4_HEADER };
        let layout = Layout::of(packet).filter(fits)?;
        let mut key = [0; 37];
        let (version, names) = key.split_first_mut()?;
        *version = u8::from(layout.six);
        let from = if layout.six { 8 } else { 12 };
        let bytes = packet.get(from..layout.ip.saturating_add(4))?;
        names.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self {
            key,
            ip: layout.ip,
            headers: layout.headers,
            payload: packet.len().saturating_sub(layout.headers),
            sequence: field32(packet, layout.ip.saturating_add(4)),
            flags: *packet.get(layout.ip.saturating_add(13))?,
        })
    }

    /// Nothing but data: a segment that says more is written by itself.
    const fn is_data(&self) -> bool {
        self.flags & !PSH == ACK && self.payload > 0
    }

    const fn may_begin(&self) -> bool {
        self.is_data() && self.flags & PSH == 0
    }

    /// Whether nothing may be joined behind it, where all others hold `size` bytes.
    const fn ends(&self, size: usize) -> bool {
        self.flags & PSH != 0 || self.payload < size
    }
}

/// One flow being joined; not open while it has no parts.
#[derive(Debug)]
struct Joined {
    key: Key,
    /// Bytes of the IP header.
    ip: usize,
    /// The first segment, then the payloads of the others.
    parts: Parts,
    headers: usize,
    /// Payload bytes of each segment but the last.
    size: usize,
    /// Length of the joined packet.
    length: usize,
    /// Sequence number of what may follow.
    next: u32,
    push: bool,
    started: u64,
}

impl Joined {
    fn new() -> Self {
        Self {
            key: [0; 37],
            ip: 0,
            parts: Parts::default(),
            headers: 0,
            size: 0,
            length: 0,
            next: 0,
            push: false,
            started: 0,
        }
    }

    const fn is_open(&self) -> bool {
        self.parts.count > 0
    }

    fn begin(&mut self, packet: Range<usize>, segment: &Segment, started: u64) {
        self.key = segment.key;
        self.ip = segment.ip;
        self.headers = segment.headers;
        self.size = segment.payload;
        self.length = packet.len();
        self.next = following(segment);
        self.push = false;
        self.started = started;
        self.parts.push(packet);
    }

    /// Joins the segment if it is the next of this flow and its checksum is right: the kernel will not look at the
    /// payloads again.
    fn take(&mut self, storage: &[u8], packet: &Range<usize>, segment: &Segment) -> bool {
        if !self.fits(storage, packet, segment) || !self.first_is_right(storage) {
            return false;
        }
        let bytes = storage.get(packet.clone()).unwrap_or_default();
        if !transport_is_right(bytes, self.ip, TCP) {
            return false;
        }
        self.parts.push(packet.start.saturating_add(segment.headers)..packet.end);
        self.length = self.length.saturating_add(segment.payload);
        self.next = following(segment);
        self.push = segment.flags & PSH != 0;
        true
    }

    fn fits(&self, storage: &[u8], packet: &Range<usize>, segment: &Segment) -> bool {
        segment.is_data()
            && segment.sequence == self.next
            && segment.payload <= self.size
            && segment.headers == self.headers
            && self.length.saturating_add(segment.payload) <= LONGEST
            && self.parts.count < JOINED_SEGMENTS
            && self.headers_agree(storage, packet)
    }

    /// Whether all header fields agree that joining would not keep apart.
    fn headers_agree(&self, storage: &[u8], packet: &Range<usize>) -> bool {
        let (Some(mine), Some(theirs)) = (storage.get(self.parts.first()), storage.get(packet.clone())) else {
            return false;
        };
        let same = |range: Range<usize>| mine.get(range.clone()) == theirs.get(range);
        let tcp = |from: usize, to: usize| self.ip.saturating_add(from)..self.ip.saturating_add(to);
        // Of IPv4: version, header length and TOS; fragment bits, TTL and protocol. Of IPv6: version, class and label;
        // next header and hop limit.
        let ip = if self.six() { same(0..4) && same(6..8) } else { same(0..2) && same(6..10) };
        // Acknowledgement and header length; window; urgent pointer and options.
        ip && same(tcp(8, 13))
            && same(tcp(14, 16))
            && same(self.ip.saturating_add(18)..self.headers)
            && (self.six() || self.id_follows(mine, theirs))
    }

    const fn six(&self) -> bool {
        self.key[0] != 0
    }

    /// Without DF the identification names fragments, so it must count on: cutting again gives the same numbers.
    fn id_follows(&self, mine: &[u8], theirs: &[u8]) -> bool {
        let dont_fragment = field16(mine, 6) & 0x4000 != 0;
        let count = u16::try_from(self.parts.count).unwrap_or(u16::MAX);
        dont_fragment || field16(theirs, 4) == field16(mine, 4).wrapping_add(count)
    }

    /// The first segment is checked when the second comes: most single packets are never joined, and the kernel checks
    /// those itself.
    fn first_is_right(&self, storage: &[u8]) -> bool {
        self.parts.count > 1
            || storage.get(self.parts.first()).is_some_and(|first| transport_is_right(first, self.ip, TCP))
    }

    /// Writes the flow as one packet and is free for another.
    fn finish(&mut self, storage: &mut [u8], writer: &mut impl PacketWriter) {
        let offload = if self.parts.count > 1 { self.write_header(storage) } else { Offload::NONE };
        let mut slices: [&[u8]; JOINED_SEGMENTS] = [&[]; JOINED_SEGMENTS];
        for (slice, range) in slices.iter_mut().zip(self.parts.iter()) {
            *slice = storage.get(range).unwrap_or_default();
        }
        writer.write(offload, slices.get(..self.parts.count).unwrap_or_default());
        self.parts.count = 0;
    }

    /// Makes the first segment's header that of the whole.
    fn write_header(&self, storage: &mut [u8]) -> Offload {
        let first = storage.get_mut(self.parts.first()).unwrap_or_default();
        let layout = Layout { protocol: TCP, ip: self.ip, headers: self.headers, six: self.six() };
        layout.set_length(first, self.length);
        if let (true, Some(flags)) = (self.push, first.get_mut(self.ip.saturating_add(13))) {
            *flags |= PSH;
        }
        let message = u16::try_from(self.length.saturating_sub(self.ip)).unwrap_or(u16::MAX);
        let pseudo = pseudo_header(first, TCP, message).fold();
        set_field16(first, layout.checksum(), pseudo);
        Offload {
            checksum: Checksum::Partial { start: u16::try_from(self.ip).unwrap_or(u16::MAX), offset: 16 },
            segmentation: Some(Segmentation {
                kind: if self.six() { SegmentKind::Tcp6 } else { SegmentKind::Tcp4 },
                size: u16::try_from(self.size).unwrap_or(u16::MAX),
                header: u16::try_from(self.headers).unwrap_or(u16::MAX),
            }),
        }
    }
}

/// The sequence number behind a segment.
fn following(segment: &Segment) -> u32 {
    segment.sequence.wrapping_add(u32::try_from(segment.payload).unwrap_or(0))
}

/// A bounded list of ranges, without allocation.
#[derive(Debug)]
struct Parts {
    ranges: [(usize, usize); JOINED_SEGMENTS],
    count: usize,
}

impl Parts {
    fn push(&mut self, range: Range<usize>) {
        if let Some(place) = self.ranges.get_mut(self.count) {
            *place = (range.start, range.end);
            self.count = self.count.saturating_add(1);
        }
    }

    fn first(&self) -> Range<usize> {
        self.ranges.first().map_or(0..0, |(start, end)| *start..*end)
    }

    fn iter(&self) -> impl Iterator<Item = Range<usize>> {
        self.ranges.iter().take(self.count).map(|(start, end)| *start..*end)
    }
}

impl Default for Parts {
    fn default() -> Self {
        Self { ranges: [(0, 0); JOINED_SEGMENTS], count: 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::layout::FIN;
    use super::super::sample::{self, Collected, TcpSample, Written};
    use super::super::split;
    use super::*;

    const ALL: QueueCapabilities = QueueCapabilities { checksum: true, tso: true, uso: true };

    /// What is written when these packets come in one batch.
    fn join(packets: &[Vec<u8>], capabilities: QueueCapabilities) -> Written {
        let mut storage = packets.concat();
        let (mut coalescer, mut written, mut start) = (Coalescer::new(), Written::default(), 0);
        coalescer.adapt(capabilities);
        for packet in packets {
            coalescer.offer(&mut storage, start..start + packet.len(), &mut written);
            start += packet.len();
        }
        coalescer.flush(&mut storage, &mut written);
        written
    }

    fn segments(payload: usize, size: u16) -> Vec<Vec<u8>> {
        let segment = TcpSample::new(100, (0..payload).map(|n| n.to_le_bytes()[0]).collect());
        let (packet, offload) = segment.super_packet(size);
        let mut pieces = Collected::default();
        split(&packet, &offload, 9_000, &mut pieces).unwrap();
        pieces.0
    }

    fn segments6(payload: usize, size: u16) -> Vec<Vec<u8>> {
        let mut segment = TcpSample::new(100, (0..payload).map(|n| n.to_le_bytes()[0]).collect());
        segment.six = true;
        let (packet, offload) = segment.super_packet(size);
        let mut pieces = Collected::default();
        split(&packet, &offload, 9_000, &mut pieces).unwrap();
        pieces.0
    }

    #[test]
    fn segments_of_one_flow_over_ipv6_become_one_packet_and_never_join_those_over_ipv4() {
        let packets = segments6(14_000, 1_400);
        let written = join(&packets, ALL);
        assert_eq!(written.0.len(), 1);
        let (offload, bytes) = &written.0[0];
        assert_eq!(bytes.len(), 14_000 + 72);
        assert_eq!(offload.checksum, Checksum::Partial { start: 40, offset: 16 });
        assert_eq!(offload.segmentation.map(|s| (s.kind, s.size, s.header)), Some((SegmentKind::Tcp6, 1_400, 72)));
        assert_eq!(written.packets(), packets);

        let mixed: Vec<_> =
            segments(4_000, 1_000).into_iter().zip(segments6(4_000, 1_000)).flat_map(<[_; 2]>::from).collect();
        assert_eq!(join(&mixed, ALL).0.len(), 2);
    }

    #[test]
    fn another_flow_label_is_not_joined() {
        let mut packets = segments6(4_000, 1_000);
        packets[2][3] = 7;
        assert_eq!(join(&packets, ALL).0.len(), 3);
    }

    #[test]
    fn segments_of_one_flow_become_one_packet() {
        let packets = segments(14_000, 1_400);
        let written = join(&packets, ALL);
        assert_eq!(written.0.len(), 1);
        let (offload, bytes) = &written.0[0];
        assert_eq!(bytes.len(), 14_000 + 52);
        assert_eq!(offload.segmentation.map(|s| (s.size, s.header)), Some((1_400, 52)));
        assert_eq!(written.packets(), packets);
    }

    #[test]
    fn without_offload_every_packet_is_written_as_it_came() {
        let packets = segments(14_000, 1_400);
        let written = join(&packets, QueueCapabilities::default());
        assert_eq!(written.0, packets.into_iter().map(|packet| (Offload::NONE, packet)).collect::<Vec<_>>());
    }

    #[test]
    fn whichever_offload_is_missing_the_host_gets_the_same_packets() {
        for packets in [segments(14_000, 1_400), segments6(14_000, 1_400)] {
            for bits in 0..8_u8 {
                let [checksum, tso, uso] = [1, 2, 4].map(|bit| bits & bit != 0);
                let capabilities = QueueCapabilities { checksum, tso, uso };
                let written = join(&packets, capabilities);
                assert_eq!(written.packets(), packets, "{capabilities:?}");
                let offloads = written.0.iter().any(|(offload, _)| *offload != Offload::NONE);
                assert_eq!(offloads, checksum && tso, "{capabilities:?}");
            }
        }
    }

    #[test]
    fn push_and_a_short_segment_end_a_packet() {
        let mut packets = segments(4_000, 1_000);
        let next = segments(6_500, 1_000).split_off(4);
        packets.extend(next);
        let mut pushed = TcpSample::new(6_600, vec![1; 1_000]);
        pushed.flags |= PSH;
        pushed.id = 8;
        packets.push(pushed.packet());
        let written = join(&packets, ALL);
        let sizes: Vec<usize> = written.0.iter().map(|(_, bytes)| bytes.len() - 52).collect();
        assert_eq!(sizes, [6_500, 1_000]);
        assert_eq!(written.packets(), packets);
    }

    #[test]
    fn a_packet_has_at_most_64_segments_and_64_kib() {
        let small = join(&segments(6_500, 100), ALL);
        assert_eq!(small.0.iter().map(|(_, bytes)| bytes.len() - 52).collect::<Vec<_>>(), [6_400, 100]);
        let segment = |number: u16| {
            let mut segment = TcpSample::new(u32::from(number) * 8_000, vec![1; 8_000]);
            segment.id = number;
            segment.packet()
        };
        let large: Vec<Vec<u8>> = (0..10).map(segment).collect();
        let written = join(&large, ALL);
        assert_eq!(written.0.iter().map(|(_, bytes)| bytes.len() - 52).collect::<Vec<_>>(), [64_000, 16_000]);
        assert!(written.packets() == large);
    }

    #[test]
    fn what_differs_in_more_than_its_place_is_not_joined() {
        let first = TcpSample::new(100, vec![1; 1_000]);
        let next = |change: fn(&mut TcpSample)| {
            let mut next = TcpSample::new(1_100, vec![2; 1_000]);
            next.id = 2;
            change(&mut next);
            join(&[first.packet(), next.packet()], ALL).0.len()
        };
        assert_eq!(next(|_| {}), 1);
        assert_eq!(next(|next| next.acknowledgement += 1), 2);
        assert_eq!(next(|next| next.window += 1), 2);
        assert_eq!(next(|next| next.options[7] += 1), 2);
        assert_eq!(next(|next| next.sequence += 1), 2);
        assert_eq!(next(|next| next.flags |= FIN), 2);
        assert_eq!(next(|next| next.dont_fragment = false), 2);
        assert_eq!(next(|next| next.payload.push(1)), 2);
        assert_eq!(next(|next| next.port += 1), 2);
    }

    #[test]
    fn a_wrong_checksum_is_left_to_the_kernel_to_see() {
        let mut packets = segments(4_000, 1_000);
        sample::spoil(&mut packets[2]);
        let written = join(&packets, ALL);
        let sizes: Vec<usize> = written.0.iter().map(|(_, bytes)| bytes.len() - 52).collect();
        assert_eq!(sizes, [2_000, 1_000, 1_000]);
        assert_eq!(written.packets(), packets);
    }

    #[test]
    fn udp_is_written_at_once_and_singly() {
        let packets = vec![sample::udp(&[1; 500]), sample::udp(&[2; 500])];
        assert_eq!(join(&packets, ALL).packets(), packets);
    }

    /// One step of a random stream of two flows: what comes next of which flow.
    fn any_step() -> impl Strategy<Value = (bool, u8, u8, bool)> {
        (any::<bool>(), 0..12_u8, 0..4_u8, prop::bool::weighted(0.05))
    }

    proptest! {
        /// Whatever comes, loss, doubles, disorder, flags and wrong checksums included: cut again, each flow's packets
        /// are those that came, in their order.
        #[test]
        fn joined_and_cut_again_every_flow_is_what_it_was(
            steps in prop::collection::vec(any_step(), 1..60), six: bool,
        ) {
            let mut sequences = [100_u32, u32::MAX - 2_000];
            let mut ids = [0_u16; 2];
            let mut packets = Vec::new();
            for (second, kind, length, spoiled) in steps {
                let flow = usize::from(second);
                let mut next = TcpSample::new(sequences[flow], vec![kind; [0, 700, 1_000, 1_000][usize::from(length)]]);
                next.port += u16::from(second);
                next.six = six;
                next.id = ids[flow];
                ids[flow] = ids[flow].wrapping_add(1);
                match kind {
                    0 => next.flags |= PSH,
                    1 => next.flags |= FIN,
                    2 => next.sequence = next.sequence.wrapping_sub(500),
                    3 => next.acknowledgement += 1,
                    _ => {}
                }
                sequences[flow] = next.sequence.wrapping_add(u32::try_from(next.payload.len()).unwrap());
                let mut packet = next.packet();
                if spoiled {
                    sample::spoil(&mut packet);
                }
                packets.push(packet);
            }
            let flow = |all: &[Vec<u8>], port: u8| -> Vec<Vec<u8>> {
                all.iter().filter(|packet| packet[if six { 41 } else { 21 }] == port).cloned().collect()
            };
            let again = join(&packets, ALL).packets();
            let port = 40_000_u16.to_be_bytes()[1];
            prop_assert_eq!(flow(&again, port), flow(&packets, port));
            prop_assert_eq!(flow(&again, port + 1), flow(&packets, port + 1));
        }

        #[test]
        fn any_bytes_never_panic_and_are_all_written(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..90), 1..20),
        ) {
            let written = join(&packets, ALL);
            prop_assert_eq!(written.0.iter().map(|(_, bytes)| bytes.len()).sum::<usize>(), packets.concat().len());
        }
    }
}
