//! What an opened payload is: an IP packet, a keepalive, or a message about the connection itself
//! (openvpn-protocol.md sections 10.1 and 10.2; OpenVPN `ping.c`, `occ.c`).

/// A keepalive: exactly these 16 bytes. It is answered by nothing and never reaches the TUN.
pub const PING: [u8; 16] = *b"\x2a\x18\x7b\xf3\x64\x1e\xb4\xcb\x07\xed\x2d\x0a\x98\x1f\xc7\x48";

/// The message "I leave" for a server without control-channel EXIT.
pub const OCC_EXIT: [u8; 17] = *b"\x28\x7f\x34\x6b\xd4\xef\x7a\x81\x2d\x56\xb8\xd3\xaf\xc5\x45\x9c\x06";

const OCC_LEN: usize = OCC_EXIT.len() - 1;

/// What an opened payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inner {
    /// A keepalive.
    Ping,
    /// The server leaves.
    OccExit,
    /// Another message about the connection: may be ignored.
    Occ,
    /// Anything else: an IP packet, if it is one.
    Packet,
}

impl Inner {
    /// Classifies an opened payload.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        if payload == PING {
            return Self::Ping;
        }
        let (magic, exit) = OCC_EXIT.split_at(OCC_LEN);
        match payload.strip_prefix(magic) {
            Some(rest) if rest == exit => Self::OccExit,
            Some(_) => Self::Occ,
            None => Self::Packet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_messages_are_no_packets() {
        assert_eq!(Inner::of(&PING), Inner::Ping);
        assert_eq!(Inner::of(&PING[..15]), Inner::Packet);
        assert_eq!(Inner::of(&OCC_EXIT), Inner::OccExit);
        assert_eq!(Inner::of(&OCC_EXIT[..16]), Inner::Occ);
        assert_eq!(Inner::of(&[]), Inner::Packet);
        assert_eq!(Inner::of(&[0x45, 0, 0, 20]), Inner::Packet);
    }
}
