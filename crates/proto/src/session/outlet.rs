//! What goes out: TLS bytes cut into messages, messages into packets, acknowledgements with them or alone
//! (openvpn-protocol.md sections 1.3 and 1.6).

use mrvpn_clock::Moment;

use super::Session;
use crate::control::{Acks, ControlHead, ControlPacket};
use crate::limits;
use crate::opcode::{KeyId, Opcode};
use crate::wrapping::Wrapper;

impl Session {
    /// Puts everything that is due into the outbox.
    pub(super) fn flush(&mut self, now: Moment) {
        self.cut_tls_bytes(now);
        self.send_messages(now);
        self.send_acks();
    }

    fn cut_tls_bytes(&mut self, now: Moment) {
        let size = payload_size(&self.wrapper, self.config.ipv6_outside);
        while !self.tls_out.is_empty() && self.send.room() > 0 {
            let rest = self.tls_out.split_off(size.min(self.tls_out.len()));
            let payload = std::mem::replace(&mut self.tls_out, rest);
            self.send.push(Opcode::ControlV1, payload, now);
        }
    }

    fn send_messages(&mut self, now: Moment) {
        while let Some(outgoing) = self.send.transmit(now) {
            let acks = match self.peer {
                Some(peer) => Acks::new(&self.acks.take(limits::ACKS_WITH_MESSAGE), peer),
                None => Acks::NONE,
            };
            let head = ControlHead { opcode: outgoing.opcode, key_id: KeyId::FIRST, session: self.own };
            let packet = ControlPacket { head, acks, message: Some(outgoing.id), payload: outgoing.payload };
            self.outbox.push_back(self.wrapper.wrap(&packet));
        }
    }

    /// Acknowledgements that found no message to travel with. Without a wrapper at most four: some foreign servers
    /// drop more (section 1.3).
    fn send_acks(&mut self) {
        let Some(peer) = self.peer else { return };
        let most = if self.wrapper.is_none() { limits::ACKS_WITH_MESSAGE } else { limits::ACKS };
        while self.acks.is_pending() && self.outbox.len() < limits::OUTBOX {
            let head = ControlHead { opcode: Opcode::AckV1, key_id: KeyId::FIRST, session: self.own };
            let acks = Acks::new(&self.acks.take(most), peer);
            let packet = ControlPacket { head, acks, message: None, payload: &[] };
            self.outbox.push_back(self.wrapper.wrap(&packet));
        }
    }
}

/// Bytes of TLS in one control packet. Room is left for four acknowledgements always, so that a message that is sent
/// again with more of them still fits.
pub(crate) fn payload_size(wrapper: &Wrapper, ipv6_outside: bool) -> usize {
    const MESSAGE_ID: usize = 4;
    const ACKS: usize = 1 + 4 * limits::ACKS_WITH_MESSAGE + 8;
    let outer = if ipv6_outside { 48 } else { 28 };
    limits::CONTROL_IP_PACKET - outer - ControlHead::LEN - ACKS - MESSAGE_ID - wrapper.overhead()
}
