//! Datagrams from the server: judged whole before anything changes, then taken (openvpn-protocol.md sections 1.3, 3.2,
//! 3.5 and 10.4; OpenVPN `ssl.c`, `tls_pre_decrypt`). A datagram that does not fit is dropped without a trace.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use mrvpn_clock::Moment;

use super::{Event, Phase, Session};
use crate::control::ControlPacket;
use crate::dropped::Dropped;
use crate::ids::MessageId;
use crate::limits;
use crate::opcode::{KeyId, Opcode};
use crate::reliable::Received;

/// What a packet that fits is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// The server's first reset, or another one before anything else came: its session id is taken.
    Reset,
    /// A message or acknowledgement of a negotiation that is known.
    Control,
    /// The server begins a renegotiation.
    Renewal,
}

impl Session {
    /// Takes any datagram that is not a data packet.
    ///
    /// # Errors
    /// [`Dropped`]: the datagram did not fit and nothing has changed. This is no fault of the session.
    pub fn handle_control(&mut self, datagram: &[u8], now: Moment) -> Result<(), Dropped> {
        if self.has_ended() {
            return Err(Dropped::Ended);
        }
        let unwrapped = self.wrappers.unwrap(datagram, now)?;
        let packet = unwrapped.packet()?;
        let fit = self.judge(&packet)?;
        self.wrappers.accept(&unwrapped, now);
        self.note_answer(packet.head.key_id, now);
        match fit {
            Fit::Reset => self.take_reset(&packet, now),
            Fit::Control => self.take_message(&packet, now),
            Fit::Renewal => self.answer_renewal(now),
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
        self.wrappers.of(KeyId::FIRST).judge_reset(packet.payload)?;
        match self.peer {
            None => Ok(Fit::Reset),
            Some(known) if known == packet.head.session => Ok(Fit::Control),
            Some(_) if self.has_only_a_reset() => Ok(Fit::Reset),
            Some(_) => Err(Dropped::Reset),
        }
    }

    fn has_only_a_reset(&self) -> bool {
        matches!(self.phase, Phase::Connecting) && self.current.has_only_a_reset()
    }

    fn judge_control(&self, packet: &ControlPacket<'_>) -> Result<Fit, Dropped> {
        let known = [Some(&self.current), self.previous.as_ref()].into_iter().flatten();
        let mut fitting = known.filter(|negotiation| negotiation.channel.key_id() == packet.head.key_id);
        let negotiation = fitting.next().ok_or(Dropped::KeyId)?;
        if self.peer != Some(packet.head.session) {
            return Err(Dropped::WrongSession);
        }
        match packet.message.map(|id| negotiation.channel.judge(id)) {
            Some(Received::Ahead) => Err(Dropped::Ahead),
            Some(Received::New | Received::Duplicate) | None => Ok(Fit::Control),
        }
    }

    /// Either the server's part of a renegotiation that is on, maybe repeated, whoever began it; or it begins one: on a
    /// tunnel that is up, with the key id after the present one (section 10.4).
    fn judge_soft_reset(&self, packet: &ControlPacket<'_>) -> Result<Fit, Dropped> {
        if self.peer != Some(packet.head.session) {
            return Err(Dropped::WrongSession);
        }
        if packet.message != Some(MessageId::RESET) {
            return Err(Dropped::Reset);
        }
        let (key_id, current) = (packet.head.key_id, self.current.channel.key_id());
        if key_id == current && current != KeyId::FIRST {
            return Ok(Fit::Control);
        }
        if key_id != current.next() || !self.may_renew() {
            return Err(Dropped::KeyId);
        }
        Ok(Fit::Renewal)
    }

    fn note_answer(&mut self, key_id: KeyId, now: Moment) {
        if !self.answered {
            self.answered = true;
            self.events.push_back(Event::Reached);
        }
        // Without a wrapper anyone can make such packets: then only TLS itself shows that the server lives.
        if !self.wrappers.of(key_id).is_none() {
            self.heard(now);
        }
    }

    fn take_reset(&mut self, packet: &ControlPacket<'_>, now: Moment) {
        let changed = self.peer.replace(packet.head.session).is_some();
        if changed && self.hastened.is_none_or(|last| now.since(last) >= limits::HASTE_INTERVAL) {
            self.hastened = Some(now);
            self.current.channel.hasten(now);
        }
        self.wrappers.of_mut(KeyId::FIRST).take_reset(packet.payload);
        self.take_message(packet, now);
    }

    fn take_message(&mut self, packet: &ControlPacket<'_>, now: Moment) {
        let key_id = packet.head.key_id;
        let Some(negotiation) = self.negotiation(key_id) else { return };
        let payloads = negotiation.channel.take(packet, now);
        if negotiation.channel.has_begun() {
            negotiation.begin_tls();
            if key_id == self.current.channel.key_id() {
                // The server has moved on, too.
                self.previous = None;
            }
        }
        for payload in payloads.iter().filter(|payload| !payload.is_empty()) {
            self.take_tls(key_id, payload, now);
        }
    }
}
