//! Kinds of ICMP messages (RFC 792), as far as the router treats them differently. What an error quotes is read in
//! `icmp_error.rs`.

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

/// What kind of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmp {
    /// A request with this identifier.
    EchoRequest(u16),
    /// An answer with this identifier.
    EchoReply(u16),
    /// An error, which quotes the packet it is about.
    Error {
        /// Type: 3, 4, 5, 11 or 12.
        kind: u8,
        /// Code within the type.
        code: u8,
    },
    /// Anything else, by its type.
    Other(u8),
}

impl Icmp {
    /// Reads the header at the start of `message`; `None` if it is cut short.
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
}
