//! A control packet, unwrapped: parse and emit (openvpn-protocol.md sections 1.2 and 1.3; OpenVPN `ssl_pkt.c`,
//! `reliable.c`). How it is protected on the wire is `wrapping/`; what its payload means is the session's affair.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use crate::dropped::Dropped;
use crate::ids::{MessageId, SessionId};
use crate::limits;
use crate::opcode::{KeyId, Opcode};
use crate::reader::Reader;

/// The nine bytes that are never encrypted: opcode, key id and the sender's session id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlHead {
    /// What it is; never data.
    pub opcode: Opcode,
    /// Of which TLS session.
    pub key_id: KeyId,
    /// Whose it is: the sender's session id.
    pub session: SessionId,
}

impl ControlHead {
    /// Bytes on the wire.
    pub const LEN: usize = 9;

    /// Splits a datagram into head and rest.
    ///
    /// # Errors
    /// [`Dropped::Short`], [`Dropped::Data`], [`Dropped::Opcode`]; [`Dropped::WrongSession`] for a session id of zeros.
    pub fn parse(datagram: &[u8]) -> Result<(Self, &[u8]), Dropped> {
        let mut reader = Reader::new(datagram);
        let first = reader.u8().ok_or(Dropped::Short)?;
        let opcode = Opcode::of(first);
        if opcode.is_data() {
            return Err(Dropped::Data);
        }
        if matches!(opcode, Opcode::Unknown(_)) {
            return Err(Dropped::Opcode);
        }
        let session = reader.array().ok_or(Dropped::Short)?;
        let session = SessionId::new(session).ok_or(Dropped::WrongSession)?;
        Ok((Self { opcode, key_id: KeyId::of(first), session }, reader.rest()))
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn bytes(&self) -> [u8; Self::LEN] {
        let [a, b, c, d, e, f, g, h] = *self.session.bytes();
        [self.opcode.with_key(self.key_id), a, b, c, d, e, f, g, h]
    }
}

/// The acknowledgements of one packet: 0 to 8 message ids and, if there are any, the session id of their sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acks {
    ids: [MessageId; limits::ACKS],
    len: u8,
    /// Whose messages these are: the receiver's session id. `Some` exactly if there are ids.
    peer: Option<SessionId>,
}

impl Acks {
    /// No acknowledgement.
    pub const NONE: Self = Self { ids: [MessageId::RESET; limits::ACKS], len: 0, peer: None };

    /// Acknowledges `ids` of `peer`, the first 8 at most.
    #[must_use]
    pub fn new(ids: &[MessageId], peer: SessionId) -> Self {
        let mut acks = Self::NONE;
        for (slot, id) in acks.ids.iter_mut().zip(ids) {
            *slot = *id;
            acks.len = acks.len.saturating_add(1);
            acks.peer = Some(peer);
        }
        acks
    }

    /// The message ids in the order of the packet.
    #[must_use]
    pub fn ids(&self) -> &[MessageId] {
        self.ids.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// Whose messages are acknowledged; `None` if none are.
    #[must_use]
    pub const fn peer(&self) -> Option<SessionId> {
        self.peer
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, Dropped> {
        let count = reader.u8().ok_or(Dropped::Short)?;
        if usize::from(count) > limits::ACKS {
            return Err(Dropped::TooManyAcks);
        }
        let mut acks = Self::NONE;
        for slot in acks.ids.iter_mut().take(usize::from(count)) {
            *slot = MessageId::new(reader.u32().ok_or(Dropped::Short)?);
        }
        acks.len = count;
        if count > 0 {
            let peer = reader.array().ok_or(Dropped::Short)?;
            acks.peer = Some(SessionId::new(peer).ok_or(Dropped::WrongPeer)?);
        }
        Ok(acks)
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.push(self.len);
        for id in self.ids() {
            out.extend_from_slice(&id.get().to_be_bytes());
        }
        if let Some(peer) = self.peer {
            out.extend_from_slice(peer.bytes());
        }
    }
}

/// A legal control packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlPacket<'a> {
    /// Opcode, key id and the sender's session id.
    pub head: ControlHead,
    /// What it acknowledges.
    pub acks: Acks,
    /// Its number; `None` exactly for ACK_V1.
    pub message: Option<MessageId>,
    /// TLS bytes, or what a reset carries.
    pub payload: &'a [u8],
}

impl<'a> ControlPacket<'a> {
    /// Parses what follows the head, once unwrapped.
    ///
    /// # Errors
    /// [`Dropped::Short`], [`Dropped::TooManyAcks`], [`Dropped::WrongPeer`] for a peer session id of zeros.
    pub fn parse(head: ControlHead, body: &'a [u8]) -> Result<Self, Dropped> {
        let mut reader = Reader::new(body);
        let acks = Acks::parse(&mut reader)?;
        let message =
            if head.opcode.is_reliable() { Some(MessageId::new(reader.u32().ok_or(Dropped::Short)?)) } else { None };
        Ok(Self { head, acks, message, payload: reader.rest() })
    }

    /// Bytes on the wire without a wrapper.
    pub(crate) const fn bare_size(&self) -> usize {
        const COUNT: usize = 1;
        let acks = match self.acks.len {
            0 => 0,
            count => (count as usize).saturating_mul(4).saturating_add(SessionId::LEN),
        };
        let message: usize = if self.message.is_some() { 4 } else { 0 };
        let body = COUNT.saturating_add(acks).saturating_add(message).saturating_add(self.payload.len());
        ControlHead::LEN.saturating_add(body)
    }

    /// Appends what follows the head to `out`.
    pub fn emit_body(&self, out: &mut Vec<u8>) {
        self.acks.emit(out);
        if let Some(message) = self.message {
            out.extend_from_slice(&message.get().to_be_bytes());
        }
        out.extend_from_slice(self.payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(opcode: Opcode) -> ControlHead {
        ControlHead { opcode, key_id: KeyId::FIRST, session: SessionId::new([7; 8]).unwrap() }
    }

    #[test]
    fn what_was_emitted_parses_to_the_same() {
        let ids: Vec<MessageId> = (0..8).map(MessageId::new).collect();
        for count in 0..=8 {
            let acks = Acks::new(&ids[..count], SessionId::new([9; 8]).unwrap());
            let packet = ControlPacket {
                head: head(Opcode::ControlV1),
                acks,
                message: Some(MessageId::new(5)),
                payload: b"tls",
            };
            let mut body = Vec::new();
            packet.emit_body(&mut body);
            assert_eq!(ControlPacket::parse(packet.head, &body), Ok(packet));
            assert_eq!(packet.bare_size(), ControlHead::LEN + body.len());
        }
    }

    #[test]
    fn eight_acknowledgements_are_taken_and_nine_are_not() {
        for (count, expected) in [(7u8, true), (8, true), (9, false)] {
            let mut body = vec![count];
            body.extend_from_slice(&[0; 9 * 4]);
            body.truncate(1 + usize::from(count) * 4);
            body.extend_from_slice(&[9; 8]);
            let parsed = ControlPacket::parse(head(Opcode::AckV1), &body);
            assert_eq!(parsed.is_ok(), expected, "{count}");
        }
    }

    // proves: T-01
    #[test]
    fn every_prefix_of_a_packet_is_short() {
        let body = [2, 0, 0, 0, 1, 0, 0, 0, 2, 9, 9, 9, 9, 9, 9, 9, 9, 0, 0, 0, 3];
        for len in 0..body.len() {
            assert_eq!(ControlPacket::parse(head(Opcode::ControlV1), &body[..len]), Err(Dropped::Short));
        }
        assert!(ControlPacket::parse(head(Opcode::ControlV1), &body).is_ok());
    }

    // proves: T-01
    #[test]
    fn unknown_opcodes_and_data_are_dropped() {
        for number in 0..32u8 {
            let mut datagram = vec![number << 3];
            datagram.extend_from_slice(&[7; 8]);
            let known = matches!(number, 3 | 4 | 5 | 7 | 8 | 10 | 11);
            assert_eq!(ControlHead::parse(&datagram).is_ok(), known, "{number}");
        }
        assert_eq!(ControlHead::parse(&[]), Err(Dropped::Short));
    }
}
