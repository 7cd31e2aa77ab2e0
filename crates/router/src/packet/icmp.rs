//! Kinds of ICMP messages (RFC 792) and ICMPv6 messages (RFC 4443), as far as the router treats them differently. What an
//! error quotes is read in `icmp_error.rs`.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use super::field;

/// Bytes of the header; the quoted packet of an error begins here.
pub const HEADER: usize = 8;
/// Place of the checksum.
pub const CHECKSUM: usize = 2;
/// Place of an echo's identifier.
pub const ECHO_ID: usize = 4;

/// Type 3: destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Code of type 3: fragmentation needed.
pub const FRAGMENTATION_NEEDED: u8 = 4;
/// Code of type 3: communication administratively prohibited (RFC 1812).
pub const PROHIBITED: u8 = 13;
/// Type 5: redirect, which is never believed.
pub const REDIRECT: u8 = 5;

/// ICMPv6 type 1: destination unreachable.
pub const UNREACHABLE_V6: u8 = 1;
/// Code of ICMPv6 type 1: communication administratively prohibited.
pub const PROHIBITED_V6: u8 = 1;
/// ICMPv6 type 2: packet too big.
pub const TOO_BIG_V6: u8 = 2;

/// What kind of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmp {
    /// A request with this identifier.
    EchoRequest(u16),
    /// An answer with this identifier.
    EchoReply(u16),
    /// An error, which quotes the packet it is about.
    Error {
        /// Type: 3, 4, 5, 11 or 12; of ICMPv6 0 to 127.
        kind: u8,
        /// Code within the type.
        code: u8,
    },
    /// A message to neighbours alone: neighbour and router discovery, multicast listeners (ICMPv6).
    Neighbours(u8),
    /// Anything else, by its type.
    Other(u8),
}

impl Icmp {
    /// Reads the ICMP header at the start of `message`; `None` if it is cut short.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        let &[kind, code, ..] = message.first_chunk::<HEADER>()?;
        let id = field::read_u16(message, ECHO_ID)?;
        Some(match kind {
            0 => Self::EchoReply(id),
            8 => Self::EchoRequest(id),
            UNREACHABLE | 4 | REDIRECT | 11 | 12 => Self::Error { kind, code },
            other => Self::Other(other),
        })
    }

    /// Reads the ICMPv6 header at the start of `message`; `None` if it is cut short.
    #[must_use]
    pub fn parse_v6(message: &[u8]) -> Option<Self> {
        let &[kind, code, ..] = message.first_chunk::<HEADER>()?;
        let id = field::read_u16(message, ECHO_ID)?;
        Some(match kind {
            0..=127 => Self::Error { kind, code },
            128 => Self::EchoRequest(id),
            129 => Self::EchoReply(id),
            130..=137 | 141..=143 | 148 | 149 | 151..=153 => Self::Neighbours(kind),
            other => Self::Other(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart() {
        let check =
            |first: [u8; 2], expected| assert_eq!(Icmp::parse(&[first[0], first[1], 0, 0, 1, 2, 0, 0]), expected);
        check([8, 0], Some(Icmp::EchoRequest(0x0102)));
        check([0, 0], Some(Icmp::EchoReply(0x0102)));
        check([3, 4], Some(Icmp::Error { kind: 3, code: 4 }));
        check([13, 0], Some(Icmp::Other(13)));
        assert_eq!(Icmp::parse(&[8; 7]), None);
    }

    #[test]
    fn kinds_of_ipv6_are_told_apart() {
        let check =
            |first: [u8; 2], expected| assert_eq!(Icmp::parse_v6(&[first[0], first[1], 0, 0, 1, 2, 0, 0]), expected);
        check([128, 0], Some(Icmp::EchoRequest(0x0102)));
        check([129, 0], Some(Icmp::EchoReply(0x0102)));
        check([3, 0], Some(Icmp::Error { kind: 3, code: 0 }));
        check([135, 0], Some(Icmp::Neighbours(135)));
        check([138, 0], Some(Icmp::Other(138)));
        assert_eq!(Icmp::parse_v6(&[128; 7]), None);
    }
}
