//! tls-crypt-v2: tls-crypt with a key of one client, which the client brings along, sealed for the server
//! (openvpn-protocol.md sections 2.5 and 3.6; OpenVPN `tls_crypt.c`, `ssl_pkt.c`). The sealed key stands behind the
//! packets that carry it, neither encrypted nor authenticated; packets themselves are `tls_crypt.rs`.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::fmt;
use std::sync::Arc;

use mrvpn_profile::StaticKey;

use super::Side;
use super::tls_crypt::TlsCrypt;
use crate::control::ControlHead;
use crate::dropped::Dropped;
use crate::ids::{MessageId, PacketId};
use crate::opcode::{KeyId, Opcode};
use crate::reader::Reader;
use crate::replay::Stamp;

/// The wrapping of a session with a client key.
#[derive(Clone)]
pub(super) struct TlsCryptV2 {
    crypt: TlsCrypt,
    wrapped: Arc<[u8]>,
    side: Side,
    /// The server keeps no state for a reset and wants the sealed key again with the first message.
    resend: bool,
}

impl TlsCryptV2 {
    pub(super) fn new(key: &StaticKey, wrapped: &[u8], side: Side) -> Self {
        Self { crypt: TlsCrypt::new(key, side), wrapped: wrapped.into(), side, resend: false }
    }

    /// The id of the first packet. A client's says by its first byte that the client knows of early negotiation.
    pub(super) fn first_packet_id(&self) -> PacketId {
        match self.side {
            Side::Client => EARLY_NEGOTIATION,
            Side::Server => PacketId::FIRST,
        }
    }

    /// The opcode of the message `id` that carries TLS.
    pub(super) fn carrier(&self, key_id: KeyId, id: MessageId) -> Opcode {
        let with_key = self.resend && key_id == KeyId::FIRST && id == MessageId::RESET.next();
        if with_key { Opcode::ControlWkcV1 } else { Opcode::ControlV1 }
    }

    /// Bytes behind a packet of `opcode`.
    pub(super) fn trailer(&self, opcode: Opcode) -> usize {
        if carries_key(opcode) { self.wrapped.len() } else { 0 }
    }

    pub(super) fn heed(&mut self, early: EarlyNegotiation) {
        self.resend = early.resend_wrapped_key;
    }

    pub(super) fn wrap(&self, head: ControlHead, body: Vec<u8>, stamp: Stamp, out: &mut Vec<u8>) {
        self.crypt.wrap(head, body, stamp, out);
        if carries_key(head.opcode) {
            out.extend_from_slice(&self.wrapped);
        }
    }

    pub(super) fn unwrap(&self, head: ControlHead, rest: &[u8]) -> Result<(Vec<u8>, Stamp), Dropped> {
        let rest = match self.side {
            Side::Server if carries_key(head.opcode) => rest.strip_suffix(&*self.wrapped).ok_or(Dropped::Forged)?,
            Side::Server | Side::Client => rest,
        };
        self.crypt.unwrap(head, rest)
    }
}

/// Whether the sealed key stands behind packets of this opcode.
const fn carries_key(opcode: Opcode) -> bool {
    match opcode {
        Opcode::HardResetClientV3 | Opcode::ControlWkcV1 => true,
        Opcode::SoftResetV1
        | Opcode::ControlV1
        | Opcode::AckV1
        | Opcode::DataV1
        | Opcode::HardResetClientV2
        | Opcode::HardResetServerV2
        | Opcode::DataV2
        | Opcode::Unknown(_) => false,
    }
}

/// What the server says in the payload of its reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EarlyNegotiation {
    /// The sealed key goes with the first message once more.
    resend_wrapped_key: bool,
}

impl EarlyNegotiation {
    /// Reads type, length and value until the end; unknown types are passed over.
    ///
    /// # Errors
    /// [`Dropped::Reset`] where a value, or what stands before it, is cut off.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, Dropped> {
        let mut reader = Reader::new(payload);
        let mut early = Self::default();
        while !reader.rest().is_empty() {
            let kind = reader.u16().ok_or(Dropped::Reset)?;
            let length = reader.u16().ok_or(Dropped::Reset)?;
            let value = reader.take(usize::from(length)).ok_or(Dropped::Reset)?;
            if kind == FLAGS {
                let flags = Reader::new(value).u16().ok_or(Dropped::Reset)?;
                early.resend_wrapped_key = flags & RESEND_WRAPPED_KEY != 0;
            }
        }
        Ok(early)
    }
}

/// Of the flags of early negotiation (`ssl_pkt.h`, TLV_TYPE_EARLY_NEG_FLAGS).
const FLAGS: u16 = 1;
/// `ssl_pkt.h`, EARLY_NEG_FLAG_RESEND_WKC.
const RESEND_WRAPPED_KEY: u16 = 1;
/// `ssl_pkt.h`, EARLY_NEG_START, and the first id of it.
const EARLY_NEGOTIATION: PacketId = match PacketId::new(0x0f00_0001) {
    Some(id) => id,
    None => PacketId::FIRST,
};

impl fmt::Debug for TlsCryptV2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsCryptV2(resend: {})", self.resend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves: T-01
    #[test]
    fn what_the_server_negotiates_early_is_read_to_its_end() {
        let resend = EarlyNegotiation { resend_wrapped_key: true };
        for (payload, expected) in [
            (&[][..], Ok(EarlyNegotiation::default())),
            (&[0, 1, 0, 2, 0, 1], Ok(resend)),
            (&[0, 1, 0, 2, 0, 2], Ok(EarlyNegotiation::default())),
            (&[0, 9, 0, 1, 7, 0, 1, 0, 2, 0, 1], Ok(resend)),
            (&[0, 1, 0, 4, 0, 1, 9, 9], Ok(resend)),
            (&[0, 9, 0, 0], Ok(EarlyNegotiation::default())),
            (&[0, 1, 0, 1, 1], Err(Dropped::Reset)),
            (&[0, 1, 0, 2, 0], Err(Dropped::Reset)),
            (&[0, 1, 0], Err(Dropped::Reset)),
            (&[0], Err(Dropped::Reset)),
            (&[0, 9, 0xff, 0xff, 0], Err(Dropped::Reset)),
        ] {
            assert_eq!(EarlyNegotiation::parse(payload), expected, "{payload:?}");
        }
    }
}
