//! Datagrams of one client: judged whole before anything changes, then taken (openvpn-protocol.md sections 1.3, 3.2 and
//! 10.4; OpenVPN `ssl.c`, `tls_pre_decrypt`). `session/intake.rs` is the client's.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use mrvpn_clock::Moment;

use super::client::{Client, Phase};
use super::negotiation::Step;
use super::shared::Shared;
use crate::control::ControlPacket;
use crate::dropped::Dropped;
use crate::ids::MessageId;
use crate::opcode::{KeyId, Opcode};
use crate::reliable::Received;

/// What a packet that fits is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// A message or acknowledgement of the present negotiation.
    Control,
    /// The client begins a renegotiation.
    Renewal,
}

impl Client {
    /// Takes a control packet of this client.
    pub(super) fn take_datagram(&mut self, shared: &mut Shared, datagram: &[u8], now: Moment) -> Result<(), Dropped> {
        let unwrapped = self.wrappers.unwrap(datagram, now)?;
        let packet = unwrapped.packet()?;
        let fit = self.judge(&packet)?;
        self.wrappers.accept(&unwrapped, now);
        // Without a wrapper anyone can make such packets: then only TLS itself shows that the client lives.
        if !self.wrappers.of(packet.head.key_id).is_none() {
            self.heard(now);
        }
        if fit == Fit::Renewal {
            self.begin_renewal(shared, now);
        }
        self.take_packet(shared, &packet, now);
        Ok(())
    }

    fn judge(&self, packet: &ControlPacket<'_>) -> Result<Fit, Dropped> {
        if packet.head.session != self.peer {
            return Err(Dropped::WrongSession);
        }
        if packet.acks.peer().is_some_and(|peer| peer != self.own) {
            return Err(Dropped::WrongPeer);
        }
        match packet.head.opcode {
            Opcode::ControlV1 | Opcode::AckV1 => self.judge_control(packet),
            Opcode::SoftResetV1 => self.judge_soft_reset(packet),
            // A repeated one: it is acknowledged again.
            Opcode::HardResetClientV2 | Opcode::HardResetClientV3 if packet.message == Some(MessageId::RESET) => {
                self.judge_control(packet)
            }
            Opcode::HardResetClientV2 | Opcode::HardResetClientV3 => Err(Dropped::Reset),
            Opcode::ControlWkcV1 if packet.message == Some(MessageId::RESET.next()) => self.judge_control(packet),
            Opcode::ControlWkcV1 | Opcode::HardResetServerV2 | Opcode::DataV1 | Opcode::DataV2 | Opcode::Unknown(_) => {
                Err(Dropped::Opcode)
            }
        }
    }

    fn judge_control(&self, packet: &ControlPacket<'_>) -> Result<Fit, Dropped> {
        if packet.head.key_id != self.current.channel.key_id() {
            return Err(Dropped::KeyId);
        }
        match packet.message.map(|id| self.current.channel.judge(id)) {
            Some(Received::Ahead) => Err(Dropped::Ahead),
            Some(Received::New | Received::Duplicate) | None => Ok(Fit::Control),
        }
    }

    /// Either the client's part of a renegotiation that is on, maybe repeated, whoever began it; or it begins one.
    fn judge_soft_reset(&self, packet: &ControlPacket<'_>) -> Result<Fit, Dropped> {
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

    fn take_packet(&mut self, shared: &mut Shared, packet: &ControlPacket<'_>, now: Moment) {
        let payloads = self.current.channel.take(packet, now);
        if self.current.channel.has_begun() {
            self.current.begin_tls();
        }
        for payload in payloads.iter().filter(|payload| !payload.is_empty()) {
            self.take_tls(shared, payload, now);
        }
        self.note_acknowledged(shared, now);
    }

    /// What follows once all that was said has arrived.
    fn note_acknowledged(&mut self, shared: &mut Shared, now: Moment) {
        if !self.current.channel.is_quiet() {
            return;
        }
        match self.phase {
            Phase::Pushed(..) => self.come_up(shared, now),
            Phase::Up(..) if self.current.step == Step::Admitted => self.finish_renewal(shared, now),
            Phase::Closing { lingers: false, .. } => self.finish_closing(),
            Phase::Up(..) | Phase::Handshake { .. } | Phase::Push(_) | Phase::Closing { .. } | Phase::Gone(_) => {}
        }
    }
}
