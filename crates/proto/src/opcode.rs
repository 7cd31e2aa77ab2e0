//! The first byte of every packet: opcode and key id (openvpn-protocol.md section 1.1; OpenVPN `ssl_pkt.h`).

use std::fmt;

/// What a packet is: the upper five bits of its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// Starts or accepts a renegotiation.
    SoftResetV1,
    /// Reliable: carries TLS bytes.
    ControlV1,
    /// Acknowledgements only.
    AckV1,
    /// Data with a header of one byte.
    DataV1,
    /// A client starts a session.
    HardResetClientV2,
    /// A server answers.
    HardResetServerV2,
    /// Data with a peer id.
    DataV2,
    /// A client starts a session with tls-crypt-v2.
    HardResetClientV3,
    /// Like `ControlV1`, with a wrapped client key behind it.
    ControlWkcV1,
    /// Any other number (1 and 2 are key method 1, long gone).
    Unknown(u8),
}

impl Opcode {
    /// The opcode in `first_byte`.
    #[must_use]
    pub const fn of(first_byte: u8) -> Self {
        match first_byte >> 3 {
            3 => Self::SoftResetV1,
            4 => Self::ControlV1,
            5 => Self::AckV1,
            6 => Self::DataV1,
            7 => Self::HardResetClientV2,
            8 => Self::HardResetServerV2,
            9 => Self::DataV2,
            10 => Self::HardResetClientV3,
            11 => Self::ControlWkcV1,
            other => Self::Unknown(other),
        }
    }

    /// The number, 0 to 31.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::SoftResetV1 => 3,
            Self::ControlV1 => 4,
            Self::AckV1 => 5,
            Self::DataV1 => 6,
            Self::HardResetClientV2 => 7,
            Self::HardResetServerV2 => 8,
            Self::DataV2 => 9,
            Self::HardResetClientV3 => 10,
            Self::ControlWkcV1 => 11,
            Self::Unknown(number) => number & 0x1f,
        }
    }

    /// The first byte of a packet of this opcode and `key`.
    #[must_use]
    pub const fn with_key(self, key: KeyId) -> u8 {
        (self.number() << 3) | key.get()
    }

    /// Whether packets of this opcode carry data.
    #[must_use]
    pub const fn is_data(self) -> bool {
        matches!(self, Self::DataV1 | Self::DataV2)
    }

    /// Whether packets of this opcode carry a message id and are acknowledged.
    #[must_use]
    pub const fn is_reliable(self) -> bool {
        match self {
            Self::SoftResetV1
            | Self::ControlV1
            | Self::HardResetClientV2
            | Self::HardResetServerV2
            | Self::HardResetClientV3
            | Self::ControlWkcV1 => true,
            Self::AckV1 | Self::DataV1 | Self::DataV2 | Self::Unknown(_) => false,
        }
    }
}

/// Number of a TLS session and its data key within one connection: 3 bits; 0 is the first, 1 follows 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u8);

impl KeyId {
    /// The first key of a connection.
    pub const FIRST: Self = Self(0);

    /// `None` above 7.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (number <= 7).then_some(Self(number))
    }

    /// The key id in `first_byte`.
    #[must_use]
    pub const fn of(first_byte: u8) -> Self {
        Self(first_byte & 0x07)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The key id of the next renegotiation (section 10.4).
    #[must_use]
    pub const fn next(self) -> Self {
        match self.0 {
            7 => Self(1),
            number => Self(number + 1),
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whether a datagram with this first byte is a data packet: it goes to the lane's `Opener`, not to the session.
#[must_use]
pub const fn is_data(first_byte: u8) -> bool {
    Opcode::of(first_byte).is_data()
}

/// The key id of a data packet with this first byte; `None` for control packets and unknown opcodes.
#[must_use]
pub const fn data_key_id(first_byte: u8) -> Option<KeyId> {
    if is_data(first_byte) { Some(KeyId::of(first_byte)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_byte_is_kept() {
        for byte in 0..=u8::MAX {
            assert_eq!(Opcode::of(byte).with_key(KeyId::of(byte)), byte);
        }
    }

    #[test]
    fn one_follows_seven() {
        assert_eq!(KeyId::new(7).unwrap().next(), KeyId::new(1).unwrap());
        assert_eq!(KeyId::FIRST.next().get(), 1);
        assert_eq!(KeyId::new(8), None);
    }

    #[test]
    fn only_opcodes_6_and_9_are_data() {
        let data: Vec<u8> = (0..32).filter(|number| is_data(number << 3)).collect();
        assert_eq!(data, [6, 9]);
        assert_eq!(data_key_id(0x4a), KeyId::new(2));
        assert_eq!(data_key_id(0x20), None);
    }
}
