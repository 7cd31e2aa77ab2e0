//! From TLS bytes to a tunnel that is up: TLS handshake, key exchange, push (openvpn-protocol.md sections 3.4, 4.1, 5.1
//! and 8). Keys are made only when the whole push is there: it decides the cipher and how they are derived.

use mrvpn_clock::Moment;
use mrvpn_profile::push::{self, Continuation};

use super::negotiate::{self, Negotiated};
use super::{EndReason, Established, Event, KeyExchange, Phase, ProtocolError, Push, Session, Up};
use crate::control_text::{ControlText, strings};
use crate::data::DataKeys;
use crate::key_block::KeyBlock;
use crate::key_method::{ClientMessage, KeyMethodError, ServerMessage};
use crate::limits;
use crate::opcode::KeyId;
use crate::options_string::client_options;
use crate::peer_info::peer_info;
use crate::tls::TlsError;
use crate::wrapping::Side;

impl Session {
    /// Takes TLS bytes of the server, in order.
    pub(super) fn take_tls(&mut self, bytes: &[u8], now: Moment) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        if matches!(self.phase, Phase::Tls) {
            self.tls_in = self.tls_in.saturating_add(bytes.len());
            if self.tls_in > limits::TLS_FLIGHT {
                return self.end(EndReason::Tls(TlsError::FlightTooLong), now);
            }
        }
        let read = self.tls.read_tls(bytes);
        if read.is_ok() {
            self.begin_key_exchange(now);
        }
        // Records that were whole before an error count: AUTH_FAILED may be the last word before a close.
        while let Some(record) = self.tls.read_plaintext() {
            self.heard(now);
            self.take_record(record, now);
        }
        self.tls.write_tls(&mut self.tls_out);
        if let Err(error) = read {
            self.end(EndReason::Tls(error), now);
        }
    }

    /// Once TLS is up, sends our message: one record, at once.
    fn begin_key_exchange(&mut self, now: Moment) {
        if !matches!(self.phase, Phase::Tls) || self.tls.is_handshaking() {
            return;
        }
        let config = &self.config;
        let message = ClientMessage {
            source: &self.source,
            options: &client_options(&config.wrap, config.fallback, config.digest),
            credentials: config.credentials.as_ref(),
            peer_info: &peer_info(&config.version, &config.ciphers),
        }
        .emit();
        if message.len() > limits::KEY_EXCHANGE {
            return self.end(EndReason::LoginTooLong, now);
        }
        match self.tls.write_plaintext(&message) {
            Ok(()) => self.phase = Phase::KeyExchange(KeyExchange { since: now, begun: Vec::new() }),
            Err(error) => self.end(EndReason::Tls(error), now),
        }
    }

    /// One record of application data: the key exchange message first, then control strings.
    fn take_record(&mut self, record: Vec<u8>, now: Moment) {
        if record.len() > limits::CONTROL_MESSAGE {
            return self.end(EndReason::Protocol(ProtocolError::MessageTooLong), now);
        }
        match &mut self.phase {
            Phase::KeyExchange(exchange) => {
                exchange.begun.extend_from_slice(&record);
                self.continue_key_exchange(now);
            }
            Phase::Push(_) | Phase::Up(_) => self.take_strings(&record, now),
            Phase::Reset | Phase::Tls | Phase::Closing { .. } | Phase::Ended => {}
        }
    }

    fn continue_key_exchange(&mut self, now: Moment) {
        let Phase::KeyExchange(exchange) = &self.phase else { return };
        match ServerMessage::parse(&exchange.begun) {
            Ok(server) => {
                self.phase = Phase::Push(Push {
                    since: exchange.since,
                    server,
                    parts: Vec::new(),
                    total: 0,
                    next_request: now + limits::PUSH_REQUEST_FIRST,
                });
            }
            Err(KeyMethodError::Incomplete) if exchange.begun.len() <= limits::CONTROL_MESSAGE => {}
            Err(error @ (KeyMethodError::Incomplete | KeyMethodError::NotKeyMethod | KeyMethodError::Method(_))) => {
                self.refuse_key_exchange(error, now);
            }
        }
    }

    /// A server may refuse the login instead of answering the key exchange.
    fn refuse_key_exchange(&mut self, error: KeyMethodError, now: Moment) {
        let Phase::KeyExchange(exchange) = &self.phase else { return };
        let refusal = strings(&exchange.begun).map(ControlText::parse).find_map(|text| match text {
            ControlText::AuthFailed(refusal) => Some(refusal),
            ControlText::AuthPending(_)
            | ControlText::PushReply(_)
            | ControlText::Restart(_)
            | ControlText::Halt(_)
            | ControlText::Exit
            | ControlText::Info(_)
            | ControlText::Unknown(_) => None,
        });
        match refusal {
            Some(refusal) => self.end(EndReason::AuthFailed { reason: refusal.reason, kind: refusal.kind }, now),
            None => self.end(EndReason::Protocol(error.into()), now),
        }
    }

    /// One part of the push; the last one brings the tunnel up.
    pub(super) fn take_push_part(&mut self, part: Vec<u8>, now: Moment) {
        let Phase::Push(push) = &mut self.phase else { return };
        push.total = push.total.saturating_add(part.len());
        if push.total > limits::PUSH {
            return self.end(EndReason::Protocol(ProtocolError::PushTooLong), now);
        }
        let continuation = push::continuation(&part);
        push.parts.push(part);
        match continuation {
            Continuation::More => {}
            Continuation::Last => match self.establish() {
                Ok(()) => {}
                Err(reason) => self.end(reason, now),
            },
        }
    }

    fn establish(&mut self) -> Result<(), EndReason> {
        let Phase::Push(push) = &self.phase else { return Ok(()) };
        let assignment = push::assignment(&self.config.pull, &push.parts).map_err(EndReason::Push)?;
        let Negotiated { cipher, peer_id } = negotiate::decide(&self.config, &push.server, &assignment)?;
        let block = KeyBlock::export(self.tls.as_ref()).map_err(EndReason::Tls)?;
        let keys = DataKeys::new(&block, Side::Client, cipher, KeyId::FIRST, peer_id);
        let exit_notify = assignment.explicit_exit_notify.or(self.config.explicit_exit_notify).is_some_and(|n| n > 0);
        self.phase = Phase::Up(Up {
            ping_restart: assignment.keepalive.ping_restart,
            cc_exit: assignment.protocol_flags.cc_exit,
            exit_notify,
        });
        let established = Established { assignment, cipher, warnings: self.tls.warnings() };
        self.events.push_back(Event::Keys(Box::new(keys)));
        self.events.push_back(Event::Established(Box::new(established)));
        Ok(())
    }
}
