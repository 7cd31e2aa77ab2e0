//! Cuts what the kernel left uncut: a packet read from the TUN, already translated, becomes complete packets of at most
//! the tunnel's limit, each with right checksums, written one after another where they will be sealed. It does not seal
//! and does not send; [`super::train`] gives it room, [`super::coalesce`] is the opposite direction.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)
)]

use mrvpn_router::fragment::fragment_ipv4;
use mrvpn_router::packet::checksum::{Sum, complete};
use mrvpn_router::{Checksum, DropReason, Offload, SegmentKind, Segmentation};

use super::checksum::pseudo_header;
use super::layout::{CWR, FIN, Layout, PSH, TCP, UDP, field16, field32, set_field16, set_field32};

/// Takes complete packets: gives room for one, then for the next.
pub trait PacketSink {
    /// Room of exactly `length` bytes for the next packet. Asking again means that the one before is complete.
    fn room(&mut self, length: usize) -> &mut [u8];
}

/// Why a packet could not be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitError {
    /// Its headers do not fit its offload state.
    Malformed,
    /// It may not be cut (DF, or datagrams of a super-packet) and is larger than the tunnel carries.
    TooBig,
}

impl SplitError {
    /// The reason under which the packet is counted.
    #[must_use]
    pub const fn reason(self) -> DropReason {
        match self {
            Self::Malformed => DropReason::Malformed,
            Self::TooBig => DropReason::TooBig,
        }
    }
}

/// Writes `packet` into `sink` as packets of at most `limit` bytes. TCP super-packets are cut at the smaller of their
/// own segment size and the tunnel's; UDP super-packets at their own; a single packet is completed, and fragmented
/// where it is too long and says that it may be.
///
/// # Errors
/// [`SplitError`]: nothing of it was written.
pub fn split(packet: &[u8], offload: &Offload, limit: usize, sink: &mut impl PacketSink) -> Result<(), SplitError> {
    match offload.segmentation {
        None if !place_fits(packet, offload.checksum) => Err(SplitError::Malformed),
        None if packet.len() <= limit => {
            copy_complete(packet, offload.checksum, sink.room(packet.len()));
            Ok(())
        }
        None => fragment_whole(packet, offload.checksum, limit, sink),
        Some(Segmentation { kind: SegmentKind::Tcp4, size, .. }) => Cut::tcp(packet, false, size, limit)?.write(sink),
        Some(Segmentation { kind: SegmentKind::Tcp6, size, .. }) => Cut::tcp(packet, true, size, limit)?.write(sink),
        Some(Segmentation { kind: SegmentKind::Udp, size, .. }) => cut_udp(packet, size, limit, sink),
    }
}

/// Whether the place of a partial checksum lies in the packet.
fn place_fits(packet: &[u8], checksum: Checksum) -> bool {
    match checksum {
        Checksum::Complete => true,
        Checksum::Partial { start, offset } => {
            let end = usize::from(start).saturating_add(usize::from(offset)).saturating_add(2);
            end <= packet.len()
        }
    }
}

/// One packet as it is, its checksum completed.
fn copy_complete(packet: &[u8], checksum: Checksum, into: &mut [u8]) {
    into.copy_from_slice(packet);
    match checksum {
        Checksum::Complete => {}
        Checksum::Partial { start, offset } => {
            let done = complete(into, start, offset);
            debug_assert!(done, "its place was checked");
        }
    }
}

/// Fragments a packet that is longer than `limit`. A partial checksum covers the whole message, so it is completed
/// first: this is the rare way, and it may copy.
fn fragment_whole(
    packet: &[u8],
    checksum: Checksum,
    limit: usize,
    sink: &mut impl PacketSink,
) -> Result<(), SplitError> {
    match checksum {
        Checksum::Complete => fragment(packet, limit, sink),
        Checksum::Partial { .. } => {
            let mut whole = vec![0; packet.len()];
            copy_complete(packet, checksum, &mut whole);
            fragment(&whole, limit, sink)
        }
    }
}

/// IPv4 fragments of at most `limit` bytes (RFC 791 section 3.2).
fn fragment(packet: &[u8], limit: usize, sink: &mut impl PacketSink) -> Result<(), SplitError> {
    fragment_ipv4(packet, limit, |header, payload| {
        let room = sink.room(header.len().saturating_add(payload.len()));
        if let Some((head, body)) = room.split_at_mut_checked(header.len()) {
            head.copy_from_slice(header);
            body.copy_from_slice(payload);
        }
    })
    .map_err(|_| SplitError::Malformed)
}

/// A UDP super-packet: its datagrams keep their borders. One that is longer than `limit` is fragmented, or refused, as
/// IPv6's always are.
fn cut_udp(packet: &[u8], size: u16, limit: usize, sink: &mut impl PacketSink) -> Result<(), SplitError> {
    let cut = Cut::udp(packet, size)?;
    if cut.longest() <= limit {
        return cut.write(sink);
    }
    let dont_fragment = field16(packet, 6) & 0x4000 != 0;
    if cut.layout.six || dont_fragment {
        return Err(SplitError::TooBig);
    }
    let mut datagrams = Datagrams(Vec::new());
    cut.write(&mut datagrams)?;
    datagrams.0.iter().try_for_each(|datagram| fragment(datagram, limit, sink))
}

/// Datagrams on their way to be fragmented.
struct Datagrams(Vec<Vec<u8>>);

impl PacketSink for Datagrams {
    fn room(&mut self, length: usize) -> &mut [u8] {
        self.0.push_mut(vec![0; length])
    }
}

/// A super-packet and how it is cut.
struct Cut<'a> {
    headers: &'a [u8],
    payload: &'a [u8],
    layout: Layout,
    /// Payload bytes of every piece but the last.
    size: usize,
}

impl<'a> Cut<'a> {
    fn tcp(packet: &'a [u8], six: bool, size: u16, limit: usize) -> Result<Self, SplitError> {
        let fits = |layout: &Layout| layout.protocol == TCP && layout.six == six;
        let layout = Layout::of(packet).filter(fits).ok_or(SplitError::Malformed)?;
        let room = limit.saturating_sub(layout.headers);
        Self::new(packet, layout, usize::from(size).min(room))
    }

    fn udp(packet: &'a [u8], size: u16) -> Result<Self, SplitError> {
        let layout = Layout::of(packet).filter(|layout| layout.protocol == UDP).ok_or(SplitError::Malformed)?;
        Self::new(packet, layout, usize::from(size))
    }

    fn new(packet: &'a [u8], layout: Layout, size: usize) -> Result<Self, SplitError> {
        let (headers, payload) = packet.split_at_checked(layout.headers).ok_or(SplitError::Malformed)?;
        if size == 0 {
            return Err(SplitError::Malformed);
        }
        Ok(Self { headers, payload, layout, size })
    }

    /// Length of the longest piece.
    fn longest(&self) -> usize {
        self.headers.len().saturating_add(self.size.min(self.payload.len()))
    }

    fn write(&self, sink: &mut impl PacketSink) -> Result<(), SplitError> {
        let pieces = self.payload.len().div_ceil(self.size).max(1);
        let mut rest = self.payload;
        for index in 0..pieces {
            let (piece, after) = rest.split_at(rest.len().min(self.size));
            let place = Place { index, last: after.is_empty(), offset: index.wrapping_mul(self.size) };
            self.write_piece(&place, piece, sink.room(self.headers.len().saturating_add(piece.len())));
            rest = after;
        }
        Ok(())
    }

    fn write_piece(&self, place: &Place, piece: &[u8], into: &mut [u8]) {
        let total = into.len();
        let message = u16::try_from(total.saturating_sub(self.layout.ip)).unwrap_or(u16::MAX);
        let Some((head, body)) = into.split_at_mut_checked(self.headers.len()) else { return };
        head.copy_from_slice(self.headers);
        body.copy_from_slice(piece);
        if !self.layout.six {
            set_field16(head, 4, field16(self.headers, 4).wrapping_add(place.id()));
        }
        self.layout.set_length(head, total);
        match self.layout.protocol {
            TCP => self.adjust_tcp(place, head),
            _ => set_field16(head, self.layout.ip.saturating_add(4), message),
        }
        self.fill_transport(into, message);
    }

    /// Sequence number and flags: FIN and PSH belong to the end, CWR to the beginning (RFC 3168 section 6.1.2).
    fn adjust_tcp(&self, place: &Place, head: &mut [u8]) {
        let sequence = self.layout.ip.saturating_add(4);
        let offset = u32::try_from(place.offset).unwrap_or(0);
        set_field32(head, sequence, field32(self.headers, sequence).wrapping_add(offset));
        let Some(flags) = head.get_mut(self.layout.ip.saturating_add(13)) else { return };
        if !place.last {
            *flags &= !(FIN | PSH);
        }
        if place.index > 0 {
            *flags &= !CWR;
        }
    }

    /// The complete transport checksum of one piece, whose message has so many bytes.
    fn fill_transport(&self, piece: &mut [u8], message: u16) {
        let at = self.layout.checksum();
        set_field16(piece, at, 0);
        let pseudo = pseudo_header(piece, self.layout.protocol, message);
        let sum = pseudo.and(Sum::of(piece.get(self.layout.ip..).unwrap_or_default()));
        let checksum = match sum.checksum() {
            0 if self.layout.protocol == UDP => 0xffff,
            other => other,
        };
        set_field16(piece, at, checksum);
    }
}

/// Where a piece stands in its super-packet.
struct Place {
    index: usize,
    last: bool,
    /// Payload bytes before it.
    offset: usize,
}

impl Place {
    /// What is added to the IP identification: each piece is a packet of its own (RFC 791 section 3.2).
    fn id(&self) -> u16 {
        u16::try_from(self.index & 0xffff).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::layout::ACK;
    use super::super::sample::{self, Collected, TcpSample, is_valid};
    use super::*;

    fn cut(packet: &[u8], offload: &Offload, limit: usize) -> Result<Vec<Vec<u8>>, SplitError> {
        let mut pieces = Collected::default();
        split(packet, offload, limit, &mut pieces).map(|()| pieces.0)
    }

    fn flags(packet: &[u8]) -> u8 {
        packet[Layout::of(packet).unwrap().ip + 13]
    }

    #[test]
    fn fin_and_push_stay_with_the_last_and_cwr_with_the_first() {
        let mut segment = TcpSample::new(1, vec![5; 3_000]);
        segment.flags = ACK | PSH | FIN | CWR;
        let (packet, offload) = segment.super_packet(1_000);
        let pieces = cut(&packet, &offload, 1_500).unwrap();
        let seen: Vec<u8> = pieces.iter().map(|piece| flags(piece)).collect();
        assert_eq!(seen, [ACK | CWR, ACK, ACK | PSH | FIN]);
    }

    #[test]
    fn what_is_cut_is_what_the_kernel_would_have_cut_without_the_offload() {
        for six in [false, true] {
            let mut segment = TcpSample::new(u32::MAX - 1_500, (0..3_500_u32).map(|n| n.to_le_bytes()[0]).collect());
            (segment.six, segment.flags) = (six, ACK | PSH);
            let (packet, offload) = segment.super_packet(1_000);
            let single = |(index, payload): (u16, &[u8])| {
                let mut single = segment.clone();
                single.sequence = segment.sequence.wrapping_add(u32::from(index) * 1_000);
                (single.id, single.payload) = (segment.id + index, payload.to_vec());
                single.flags = if index == 3 { ACK | PSH } else { ACK };
                single.packet()
            };
            let expected: Vec<_> = (0..).zip(segment.payload.chunks(1_000)).map(single).collect();
            assert_eq!(cut(&packet, &offload, 1_500).unwrap(), expected);
            // The same packets, read one by one, go on as they are.
            let again: Vec<_> = expected.iter().flat_map(|one| cut(one, &Offload::NONE, 1_500).unwrap()).collect();
            assert_eq!(again, expected);
        }
    }

    #[test]
    fn a_partial_checksum_of_a_single_packet_is_completed() {
        let segment = TcpSample::new(1, vec![5; 100]);
        let (packet, mut offload) = segment.super_packet(100);
        offload.segmentation = None;
        assert_eq!(cut(&packet, &offload, 1_500).unwrap(), [segment.packet()]);
    }

    #[test]
    fn a_place_beyond_the_packet_is_malformed() {
        let packet = TcpSample::new(1, Vec::new()).packet();
        for (start, offset) in [(60_000, 16), (20, 60_000), (20, 31), (u16::MAX, u16::MAX)] {
            let offload = Offload { checksum: Checksum::Partial { start, offset }, segmentation: None };
            assert_eq!(cut(&packet, &offload, 1_500), Err(SplitError::Malformed));
        }
    }

    #[test]
    fn a_long_datagram_becomes_fragments_that_carry_all_of_it() {
        let packet = sample::udp(&vec![3; 3_000]);
        let pieces = cut(&packet, &Offload::NONE, 1_400).unwrap();
        assert_eq!(pieces.len(), 3);
        assert!(pieces.iter().all(|piece| piece.len() <= 1_400));
        let carried: Vec<u8> = pieces.iter().flat_map(|piece| piece[20..].to_vec()).collect();
        assert_eq!(carried, packet[20..]);
    }

    #[test]
    fn datagrams_of_a_super_packet_keep_their_borders() {
        let packet = sample::udp(&(0..2_500_u32).map(|n| n.to_le_bytes()[0]).collect::<Vec<_>>());
        let segmentation = Some(Segmentation { kind: SegmentKind::Udp, size: 1_000, header: 28 });
        let offload = Offload { checksum: Checksum::Partial { start: 20, offset: 6 }, segmentation };
        let pieces = cut(&packet, &offload, 1_400).unwrap();
        let lengths: Vec<usize> = pieces.iter().map(|piece| sample::payload(piece).len()).collect();
        assert_eq!(lengths, [1_000, 1_000, 500]);
        assert!(pieces.iter().all(|piece| is_valid(piece)));
        assert_eq!(cut(&packet, &offload, 900).unwrap().len(), 5, "two full ones are fragmented, each in two");
    }

    #[test]
    fn datagrams_over_ipv6_keep_their_borders_and_are_never_fragmented() {
        let packet = sample::udp6(&(0..2_500_u32).map(|n| n.to_le_bytes()[0]).collect::<Vec<_>>());
        let segmentation = Some(Segmentation { kind: SegmentKind::Udp, size: 1_000, header: 48 });
        let offload = Offload { checksum: Checksum::Partial { start: 40, offset: 6 }, segmentation };
        let pieces = cut(&packet, &offload, 1_048).unwrap();
        let lengths: Vec<usize> = pieces.iter().map(|piece| sample::payload(piece).len()).collect();
        assert_eq!(lengths, [1_000, 1_000, 500]);
        assert!(pieces.iter().all(|piece| is_valid(piece)));
        assert_eq!(cut(&packet, &offload, 1_047), Err(SplitError::TooBig));
    }

    #[test]
    fn a_super_packet_of_the_other_version_is_malformed() {
        for (six, kind) in [(false, SegmentKind::Tcp6), (true, SegmentKind::Tcp4)] {
            let mut segment = TcpSample::new(1, vec![5; 3_000]);
            segment.six = six;
            let (packet, mut offload) = segment.super_packet(1_000);
            assert!(cut(&packet, &offload, 1_500).is_ok());
            offload.segmentation = Some(Segmentation { kind, size: 1_000, header: 52 });
            assert_eq!(cut(&packet, &offload, 1_500), Err(SplitError::Malformed));
        }
    }

    #[test]
    fn a_super_packet_that_lies_about_its_kind_is_malformed() {
        let (packet, mut offload) = TcpSample::new(1, vec![5; 3_000]).super_packet(1_000);
        offload.segmentation = Some(Segmentation { kind: SegmentKind::Udp, size: 1_000, header: 52 });
        assert_eq!(cut(&packet, &offload, 1_500), Err(SplitError::Malformed));
        offload.segmentation = Some(Segmentation { kind: SegmentKind::Tcp4, size: 0, header: 52 });
        assert_eq!(cut(&packet, &offload, 1_500), Err(SplitError::Malformed));
    }

    proptest! {
        #[test]
        fn segments_are_valid_packets_whose_payloads_are_the_whole(
            payload in prop::collection::vec(any::<u8>(), 1..40_000),
            size in 1_u16..2_000,
            limit in 576_usize..1_600,
            sequence: u32,
            timestamps: bool,
            six: bool,
        ) {
            prop_assume!(payload.len() / usize::from(size) < 2_000);
            let mut segment = TcpSample::new(sequence, payload);
            segment.six = six;
            if !timestamps {
                segment.options.clear();
            }
            segment.flags |= PSH;
            let (packet, offload) = segment.super_packet(size);
            let pieces = cut(&packet, &offload, limit).unwrap();
            let mut carried = Vec::new();
            for (index, piece) in pieces.iter().enumerate() {
                prop_assert!(is_valid(piece));
                prop_assert!(piece.len() <= limit && sample::payload(piece).len() <= usize::from(size));
                prop_assert_eq!(sample::sequence(piece), sequence.wrapping_add(u32::try_from(carried.len()).unwrap()));
                prop_assert!(six || sample::id(piece) == segment.id.wrapping_add(u16::try_from(index).unwrap()));
                prop_assert_eq!(flags(piece) & PSH != 0, index + 1 == pieces.len());
                carried.extend_from_slice(sample::payload(piece));
            }
            prop_assert_eq!(carried, segment.payload);
        }

        #[test]
        fn any_bytes_with_any_offload_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            start: u16, offset: u16, size: u16, kind in 0..4_u8, partial: bool, limit in 0_usize..300,
        ) {
            let kinds = [SegmentKind::Tcp4, SegmentKind::Tcp6, SegmentKind::Udp];
            let segmentation =
                kinds.get(usize::from(kind)).map(|kind| Segmentation { kind: *kind, size, header: offset });
            let checksum = if partial { Checksum::Partial { start, offset } } else { Checksum::Complete };
            let _ = cut(&bytes, &Offload { checksum, segmentation }, limit);
        }
    }
}
