//! The virtio-net header in front of each packet of a TUN device, to and from [`Offload`] (Virtual I/O Device
//! specification 1.2, section 5.1.6; linux/virtio_net.h). Fields are in the machine's own byte order, as TUN has them
//! unless told otherwise. The packet itself is not looked at.

use mrvpn_router::{Checksum, Offload, SegmentKind, Segmentation};

/// Bytes of the header without `num_buffers`.
pub(crate) const LENGTH: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;
const GSO_UDP: u8 = 5;
/// The segments carry explicit congestion notification; asked for by nobody, so never seen.
const GSO_ECN: u8 = 0x80;

/// What the header says; `None` for a kind of super-packet that was never asked for.
pub(crate) fn parse(header: &[u8; LENGTH]) -> Option<Offload> {
    let [flags, gso, l0, l1, s0, s1, c0, c1, o0, o1] = *header;
    let word = |low, high| u16::from_ne_bytes([low, high]);
    let checksum = if flags & NEEDS_CHECKSUM != 0 {
        Checksum::Partial { start: word(c0, c1), offset: word(o0, o1) }
    } else {
        Checksum::Complete
    };
    let kind = match gso & !GSO_ECN {
        GSO_NONE => return Some(Offload { checksum, segmentation: None }),
        GSO_TCP4 => SegmentKind::Tcp4,
        GSO_TCP6 => SegmentKind::Tcp6,
        GSO_UDP => SegmentKind::Udp,
        _ => return None,
    };
    let segmentation = Segmentation { kind, size: word(s0, s1), header: word(l0, l1) };
    Some(Offload { checksum, segmentation: Some(segmentation) })
}

/// The header that says `offload`.
pub(crate) fn emit(offload: &Offload) -> [u8; LENGTH] {
    let (flags, start, offset) = match offload.checksum {
        Checksum::Complete => (0, 0, 0),
        Checksum::Partial { start, offset } => (NEEDS_CHECKSUM, start, offset),
    };
    let (gso, size, header) = match offload.segmentation {
        None => (GSO_NONE, 0, 0),
        Some(Segmentation { kind, size, header }) => (gso_type(kind), size, header),
    };
    let ([l0, l1], [s0, s1]) = (header.to_ne_bytes(), size.to_ne_bytes());
    let ([c0, c1], [o0, o1]) = (start.to_ne_bytes(), offset.to_ne_bytes());
    [flags, gso, l0, l1, s0, s1, c0, c1, o0, o1]
}

const fn gso_type(kind: SegmentKind) -> u8 {
    match kind {
        SegmentKind::Tcp4 => GSO_TCP4,
        SegmentKind::Tcp6 => GSO_TCP6,
        SegmentKind::Udp => GSO_UDP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let partial = Checksum::Partial { start: 20, offset: 16 };
        let super_packet = |kind| Some(Segmentation { kind, size: 1400, header: 40 });
        for offload in [
            Offload::NONE,
            Offload { checksum: partial, segmentation: None },
            Offload { checksum: partial, segmentation: super_packet(SegmentKind::Tcp4) },
            Offload { checksum: partial, segmentation: super_packet(SegmentKind::Tcp6) },
            Offload { checksum: partial, segmentation: super_packet(SegmentKind::Udp) },
        ] {
            assert_eq!(parse(&emit(&offload)), Some(offload));
        }
    }

    #[test]
    fn a_kind_that_was_never_asked_for_is_refused() {
        let mut header = emit(&Offload::NONE);
        header[1] = 3; // fragmented UDP, gone from Linux since 4.14
        assert_eq!(parse(&header), None);
    }

    #[test]
    fn a_checksum_that_the_kernel_has_verified_is_complete() {
        let mut header = emit(&Offload::NONE);
        header[0] = 2; // VIRTIO_NET_HDR_F_DATA_VALID
        assert_eq!(parse(&header), Some(Offload::NONE));
    }
}
