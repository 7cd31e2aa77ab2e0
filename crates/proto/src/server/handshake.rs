//! From TLS bytes of a client to its login, in any negotiation, and what it says afterwards (openvpn-protocol.md sections
//! 4.1, 5.1 and 9.1). What follows from the owner's word is `push.rs` and `renewal.rs`.

use mrvpn_clock::Moment;
use mrvpn_profile::Secret;

use super::abilities::Abilities;
use super::client::{Client, Phase};
use super::event::{Gone, LoginRequest, ServerEvent};
use super::negotiation::Step;
use super::shared::Shared;
use crate::control_text::strings;
use crate::key_method::{ReceivedClientMessage, emit_server_message};
use crate::limits;
use crate::opcode::KeyId;
use crate::tls::TlsError;

impl Client {
    /// Takes TLS bytes of the client, in order.
    pub(super) fn take_tls(&mut self, shared: &mut Shared, bytes: &[u8], now: Moment) {
        if matches!(self.phase, Phase::Closing { .. } | Phase::Gone(_)) {
            return;
        }
        let read = self.current.read(bytes);
        // Records that were whole before an error count.
        while let Some(record) = self.current.channel.record() {
            self.heard(now);
            self.take_record(shared, &record, now);
        }
        self.current.channel.collect();
        match read {
            Ok(()) => {}
            Err(TlsError::Closed) => self.leave(Gone::Closed, now),
            Err(error) => self.leave(Gone::Tls(error), now),
        }
    }

    /// The key exchange message first, then control strings.
    fn take_record(&mut self, shared: &mut Shared, record: &[u8], now: Moment) {
        match self.current.step {
            _ if record.len() > limits::CONTROL_MESSAGE => self.leave(Gone::Protocol("a message above 64 KiB"), now),
            Step::Reset | Step::Tls => self.take_message(shared, record, now),
            Step::Login | Step::Admitted | Step::Done => self.take_strings(shared, record, now),
        }
    }

    /// The client's key exchange message: ours answers it, and the owner is asked.
    fn take_message(&mut self, shared: &mut Shared, record: &[u8], now: Moment) {
        if self.current.take_message(record).is_err() {
            return self.leave(Gone::Protocol("a key exchange message that is none"), now);
        }
        let Some(message) = self.current.message() else { return };
        let request = self.login_request(message);
        if !request.renewal {
            self.abilities = Abilities::of(message);
        }
        let own = self.current.own_message(&shared.config.options);
        self.write(&emit_server_message(&own.random1, &own.random2, &shared.config.options));
        self.tell(shared, ServerEvent::Login(Box::new(request)));
    }

    fn login_request(&self, message: &ReceivedClientMessage) -> LoginRequest {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        LoginRequest {
            from: self.address,
            user: text(&message.user),
            password: Secret::new(text(&message.password)),
            common_name: self.current.channel.tls().peer_name(),
            peer_info: text(&message.peer_info),
            options: text(&message.options),
            renewal: self.current.channel.key_id() != KeyId::FIRST,
        }
    }

    fn take_strings(&mut self, shared: &mut Shared, record: &[u8], now: Moment) {
        for text in strings(record) {
            match text {
                b"EXIT" => return self.take_exit(shared, now),
                b"PUSH_REQUEST" => self.take_push_request(shared, now),
                _ => {}
            }
            self.tell(shared, ServerEvent::Said(String::from_utf8_lossy(text).into_owned()));
        }
    }
}
