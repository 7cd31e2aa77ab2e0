//! From TLS bytes to exchanged key exchange messages, in any negotiation (openvpn-protocol.md sections 3.4, 4.1 and
//! 5.1). What follows is the push (`push.rs`) or, once the tunnel is up, the new key (`renewal.rs`).

use mrvpn_clock::Moment;

use super::negotiation::Step;
use super::{EndReason, Phase, ProtocolError, Session};
use crate::control_text::{ControlText, strings};
use crate::key_method::{ClientMessage, KeyMethodError, Login, ServerMessage};
use crate::limits;
use crate::opcode::KeyId;
use crate::options_string::client_options;
use crate::peer_info::peer_info;
use crate::tls::TlsError;

impl Session {
    /// Takes TLS bytes of the server, in order, on the channel of this key id.
    pub(super) fn take_tls(&mut self, key_id: KeyId, bytes: &[u8], now: Moment) {
        if self.has_ended() {
            return;
        }
        let Some(negotiation) = self.negotiation(key_id) else { return };
        if matches!(negotiation.step, Step::Broken) {
            return;
        }
        let read = negotiation.read(bytes);
        if read.is_ok() && negotiation.awaits_key_exchange() {
            self.begin_key_exchange(now);
        }
        // Records that were whole before an error count: AUTH_FAILED may be the last word before a close.
        while let Some(record) = self.negotiation(key_id).and_then(|negotiation| negotiation.channel.record()) {
            self.heard(now);
            self.take_record(key_id, record, now);
        }
        if let Some(negotiation) = self.negotiation(key_id) {
            negotiation.channel.collect();
        }
        if let Err(error) = read {
            self.fail_tls(key_id, error, now);
        }
    }

    /// Without a wrapper anyone who sees our packets can put bytes into the stream of a channel that has done its work.
    /// That costs this channel, not the tunnel: new keys are negotiated on another one (threats-and-faults.md T-02).
    fn fail_tls(&mut self, key_id: KeyId, error: TlsError, now: Moment) {
        let Some(negotiation) = self.negotiation(key_id) else { return };
        let idle = matches!(negotiation.step, Step::Done { .. });
        if self.wrappers.of(key_id).is_none() && matches!(self.phase, Phase::Up(_)) && idle && is_damage(&error) {
            if let Some(negotiation) = self.negotiation(key_id) {
                negotiation.step = Step::Broken;
            }
            return self.renegotiate(now);
        }
        self.end(EndReason::Tls(error), now);
    }

    /// Once TLS is up, sends our message: one record, at once (a second one asks for the push).
    fn begin_key_exchange(&mut self, now: Moment) {
        let config = &self.config;
        let message = ClientMessage {
            source: &self.current.source,
            options: &client_options(&config.wrap, config.transport, config.fallback, config.digest),
            login: self.login(),
            peer_info: &peer_info(&config.version, &config.ciphers),
        }
        .emit();
        if message.len() > limits::KEY_EXCHANGE {
            return self.end(EndReason::LoginTooLong, now);
        }
        self.token_sent = self.token.is_some();
        if let Err(error) = self.current.channel.write(&message) {
            return self.end(EndReason::Tls(error), now);
        }
        self.current.step = Step::KeyExchange { since: now, begun: Vec::new() };
        if matches!(self.phase, Phase::Connecting) {
            // Right behind our message: a server that pushes only when asked need not be waited for.
            self.request_push(now);
        }
    }

    /// The token where there is one, else user and password (section 9.5).
    fn login(&self) -> Option<Login<'_>> {
        let own = self.config.credentials.as_ref();
        match &self.token {
            Some(token) => {
                let user = token.user.as_deref().or_else(|| own.map(|own| own.user.as_str())).unwrap_or_default();
                Some(Login { user, password: token.token.expose() })
            }
            None => own.map(Login::from),
        }
    }

    /// One record of application data: the key exchange message first, then control strings.
    fn take_record(&mut self, key_id: KeyId, record: Vec<u8>, now: Moment) {
        if record.len() > limits::CONTROL_MESSAGE {
            return self.end(EndReason::Protocol(ProtocolError::MessageTooLong), now);
        }
        let Some(negotiation) = self.negotiation(key_id) else { return };
        match &mut negotiation.step {
            Step::KeyExchange { begun, .. } => {
                begun.extend_from_slice(&record);
                self.continue_key_exchange(now);
            }
            Step::Done { .. } => self.take_strings(&record, now),
            Step::Reset | Step::Tls | Step::Broken => {}
        }
    }

    fn continue_key_exchange(&mut self, now: Moment) {
        let Step::KeyExchange { since, begun } = &self.current.step else { return };
        match ServerMessage::parse(begun) {
            Ok(server) => {
                self.current.step = Step::Done { since: *since };
                self.take_server_message(server, now);
            }
            Err(KeyMethodError::Incomplete) if begun.len() <= limits::CONTROL_MESSAGE => {}
            Err(error @ (KeyMethodError::Incomplete | KeyMethodError::NotKeyMethod | KeyMethodError::Method(_))) => {
                self.refuse_key_exchange(error, now);
            }
        }
    }

    fn take_server_message(&mut self, server: ServerMessage, now: Moment) {
        match &self.phase {
            Phase::Connecting => self.begin_push(server, now),
            Phase::Up(_) => self.finish_renewal(&server, now),
            Phase::Push(_) | Phase::Closing { .. } | Phase::Ended => {}
        }
    }

    /// A server may refuse the login instead of answering the key exchange.
    fn refuse_key_exchange(&mut self, error: KeyMethodError, now: Moment) {
        let Step::KeyExchange { begun, .. } = &self.current.step else { return };
        let refusal = strings(begun).map(ControlText::parse).find_map(|text| match text {
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
            Some(refusal) => self.refuse_login(refusal, now),
            None => self.end(EndReason::Protocol(error.into()), now),
        }
    }
}

/// Whether foreign bytes in the stream alone explain the error: a server that closes or refuses says so under TLS.
const fn is_damage(error: &TlsError) -> bool {
    matches!(error, TlsError::Protocol(_))
}
