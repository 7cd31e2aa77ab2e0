//! Views of packets: lengths are checked once, where a view is made, and never again. These read and describe; what
//! a packet is changed into is decided by `nat.rs`.

pub mod checksum; // RFC 1071 sums, RFC 1624 changes
pub(crate) mod field; // big-endian fields of a packet
pub mod icmp; // kinds of ICMP messages
pub mod ip; // what both IP headers say
pub mod ipv4; // IPv4 header, options, fragments
pub mod ipv6; // IPv6 header and its extensions
pub mod tcp; // TCP header, flags, MSS
pub mod transport; // what follows an IPv4 header
pub mod udp; // UDP header

/// Protocol numbers (IANA) that mean something here.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// DCCP.
    pub const DCCP: u8 = 33;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// UDP-Lite.
    pub const UDP_LITE: u8 = 136;
}

/// The bytes are no packet of the kind asked for: too short, or lengths that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lengths of the packet do not fit its bytes")]
pub struct Malformed;
