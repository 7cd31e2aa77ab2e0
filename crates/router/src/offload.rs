//! Offload state of a packet, as a virtio-net header says it: what the kernel has left undone. The header's bytes are
//! `host`'s; here is only its meaning.

/// Offload state of one packet, as a virtio-net header says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offload {
    /// Whether the transport checksum is complete.
    pub checksum: Checksum,
    /// Whether this is a super-packet.
    pub segmentation: Option<Segmentation>,
}

impl Offload {
    /// A complete packet of its own.
    pub const NONE: Self = Self { checksum: Checksum::Complete, segmentation: None };
}

/// State of the transport checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Complete and right.
    Complete,
    /// The field holds the pseudo-header's sum, not complemented; the sum over `packet[start..]` is still to be made
    /// and stored at `start + offset`.
    Partial {
        /// First byte of the transport header.
        start: u16,
        /// Where the field is, from `start`.
        offset: u16,
    },
}

/// A super-packet: several segments under one header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// What is in it.
    pub kind: SegmentKind,
    /// Payload bytes of each segment but the last.
    pub size: u16,
    /// Bytes of IP and transport header in front of the payload; a hint, to be checked against the packet.
    pub header: u16,
}

/// What a super-packet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP datagrams of one flow.
    Udp,
}
