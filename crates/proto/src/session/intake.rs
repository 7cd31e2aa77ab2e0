//! Datagrams from the server: judged whole before anything changes, then taken (openvpn-protocol.md sections 1.3, 3.2,
//! 3.5 and 10.4; OpenVPN `ssl.c`, `tls_pre_decrypt`). A datagram that does not fit is dropped without a trace.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use mrvpn_clock::Moment;

use super::{EndReason, Event, Phase, Session};
use crate::control::ControlPacket;
use crate::dropped::Dropped;
use crate::ids::MessageId;
use crate::opcode::{KeyId, Opcode};
use crate::reliable::{ReceiveWindow, Received};

/// What a packet that fits is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// The server's first reset, or another one before anything else came: its session id is taken.
    Reset,
    /// A message or acknowledgement of the running session.
    Control,
    /// The server asks for a renegotiation.
    Renegotiation,
}

impl Session {
    /// Takes any datagram that is not a data packet.
    ///
    /// # Errors
    /// [`Dropped`]: the datagram did not fit and nothing has changed. This is no fault of the session.
    pub fn handle_control(&mut self, datagram: &[u8], now: Moment) -> Result<(), Dropped> {
        if matches!(self.phase, Phase::Ended) {
            return Err(Dropped::Ended);
        }
        let unwrapped = self.wrapper.unwrap(datagram, now)?;
        let packet = unwrapped.packet()?;
        let fit = self.judge(&packet)?;
        self.wrapper.accept(&unwrapped, now);
        self.note_answer(now);
        match fit {
            Fit::Reset => self.take_reset(&packet, now),
            Fit::Control => self.take_message(&packet, now),
            Fit::Renegotiation => self.end(EndReason::Renegotiation, now),
        }
        self.flush(now);
        self.finish_closing(now);
        Ok(())
    }

    fn judge(&self, packet: &ControlPacket<'_>) -> Result<Fit, Dropped> {
        if packet.acks.peer().is_some_and(|peer| peer != self.own) {
            return Err(Dropped::WrongPeer);
        }
        match packet.head.opcode {
            Opcode::HardResetServerV2 => self.judge_reset(packet),
            Opcode::ControlV1 | Opcode::AckV1 => self.judge_control(packet),
            Opcode::SoftResetV1 => self.judge_soft_reset(packet),
            Opcode::HardResetClientV2
            | Opcode::HardResetClientV3
            | Opcode::ControlWkcV1
            | Opcode::DataV1
            | Opcode::DataV2
            | Opcode::Unknown(_) => Err(Dropped::Opcode),
        }
    }

    /// A reset with the known session id is a duplicate; with another one it is taken only while nothing but a reset
    /// has come: a stateless server that answers twice may have changed its mind.
    fn judge_reset(&self, packet: &ControlPacket<'_>) -> Result<Fit, Dropped> {
        if packet.head.key_id != KeyId::FIRST {
            return Err(Dropped::KeyId);
        }
        if packet.message != Some(MessageId::RESET) {
            return Err(Dropped::Reset);
        }
        match self.peer {
            None => Ok(Fit::Reset),
            Some(known) if known == packet.head.session => Ok(Fit::Control),
            Some(_) if self.has_only_a_reset() => Ok(Fit::Reset),
            Some(_) => Err(Dropped::Reset),
        }
    }

    fn has_only_a_reset(&self) -> bool {
        let mut fresh = ReceiveWindow::new();
        fresh.insert(MessageId::RESET, &[]);
        fresh.pop();
        self.tls_in == 0 && self.receive == fresh && matches!(self.phase, Phase::Tls)
    }

    fn judge_control(&self, packet: &ControlPacket<'_>) -> Result<Fit, Dropped> {
        if packet.head.key_id != KeyId::FIRST {
            return Err(Dropped::KeyId);
        }
        if self.peer != Some(packet.head.session) {
            return Err(Dropped::WrongSession);
        }
        match packet.message.map(|id| self.receive.judge(id)) {
            Some(Received::Ahead) => Err(Dropped::Ahead),
            Some(Received::New | Received::Duplicate) | None => Ok(Fit::Control),
        }
    }

    /// Fits only a tunnel that is up, with the key id after the first (section 10.4).
    fn judge_soft_reset(&self, packet: &ControlPacket<'_>) -> Result<Fit, Dropped> {
        if self.peer != Some(packet.head.session) {
            return Err(Dropped::WrongSession);
        }
        if packet.head.key_id != KeyId::FIRST.next() || !matches!(self.phase, Phase::Up(_)) {
            return Err(Dropped::KeyId);
        }
        if packet.message == Some(MessageId::RESET) { Ok(Fit::Renegotiation) } else { Err(Dropped::Reset) }
    }

    fn note_answer(&mut self, now: Moment) {
        if !self.answered {
            self.answered = true;
            self.events.push_back(Event::Reached);
        }
        // Without a wrapper anyone can make such packets: then only TLS itself shows that the server lives.
        if !self.wrapper.is_none() {
            self.heard(now);
        }
    }

    fn take_reset(&mut self, packet: &ControlPacket<'_>, now: Moment) {
        let again = self.peer.is_some();
        self.peer = Some(packet.head.session);
        self.send.acknowledge(packet.acks.ids(), now);
        self.acks.note(MessageId::RESET);
        if again {
            // What was sent to the other session id is lost.
            self.send.hasten(now);
            return;
        }
        self.receive.insert(MessageId::RESET, packet.payload);
        self.receive.pop();
        self.phase = Phase::Tls;
        self.tls.write_tls(&mut self.tls_out);
    }

    fn take_message(&mut self, packet: &ControlPacket<'_>, now: Moment) {
        self.send.acknowledge(packet.acks.ids(), now);
        let Some(id) = packet.message else { return };
        match self.receive.insert(id, packet.payload) {
            Received::New | Received::Duplicate => self.acks.note(id),
            Received::Ahead => return,
        }
        while let Some(payload) = self.receive.pop() {
            self.take_tls(&payload, now);
        }
    }

    /// EXIT, and all before it, was acknowledged.
    fn finish_closing(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Closing { .. }) && self.send.is_empty() && self.tls_out.is_empty() {
            self.end(EndReason::Closed, now);
        }
    }
}
