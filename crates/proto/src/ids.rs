//! The numbers of the wire, each its own type, so that none is taken for another. Opcode and key id, which share one
//! byte, are in `opcode.rs`.

use std::fmt;

/// The random name of one side of a session: 8 bytes, never all zero (openvpn-protocol.md section 0.2; `session_id.h`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 8]);

impl SessionId {
    /// Length on the wire in bytes.
    pub const LEN: usize = 8;

    /// Takes 8 bytes; `None` if all are zero.
    #[must_use]
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }

    /// The bytes as on the wire.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// Number of a message of the reliability layer: 0 is the reset, TLS bytes start at 1 (section 3.1). Compared modulo
/// 2^32, therefore without `Ord`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageId(u32);

impl MessageId {
    /// The reset's number.
    pub const RESET: Self = Self(0);

    /// Any number is legal.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number as on the wire.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// How far `self` lies behind `start`, modulo 2^32.
    #[must_use]
    pub const fn distance_from(self, start: Self) -> u32 {
        self.0.wrapping_sub(start.0)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Number of a datagram for the replay protection of a wrapper or a data key: starts at 1, 0 is invalid (sections 2.4,
/// 6.2; `packet_id.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(u32);

impl PacketId {
    /// The first number of a sequence.
    pub const FIRST: Self = Self(1);

    /// Any number but 0.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// The number as on the wire.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The number by which a server finds a client's data packets: 24 bits (section 1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(u32);

impl PeerId {
    /// `None` above 24 bits.
    #[must_use]
    pub fn new(number: u32) -> Option<Self> {
        (number <= 0x00ff_ffff).then_some(Self(number))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The three bytes as on the wire.
    #[must_use]
    pub const fn bytes(self) -> [u8; 3] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_of_zeros_is_none() {
        assert_eq!(SessionId::new([0; 8]), None);
        let id = SessionId::new([0, 0, 0, 0, 0, 0, 0, 1]).unwrap();
        assert_eq!(id.to_string(), "0000000000000001");
    }

    #[test]
    fn a_peer_id_has_24_bits() {
        assert_eq!(PeerId::new(0x00ab_cdef).unwrap().bytes(), [0xab, 0xcd, 0xef]);
        assert!(PeerId::new(0x00ff_ffff).is_some());
        assert!(PeerId::new(0x0100_0000).is_none());
    }

    #[test]
    fn message_ids_are_compared_modulo_2_to_the_32() {
        assert_eq!(MessageId::new(3).distance_from(MessageId::new(u32::MAX - 3)), 7);
        assert_eq!(MessageId::new(u32::MAX).next(), MessageId::RESET);
    }
}
