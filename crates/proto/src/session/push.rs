//! From the first key exchange to a tunnel that is up: the push is asked for and put together (openvpn-protocol.md
//! section 8). Keys are made only when the whole push is there: it decides the cipher and how they are derived.

use mrvpn_clock::Moment;
use mrvpn_profile::push::{self, Continuation};

use super::negotiate::{self, Derivation};
use super::renewal::Renewals;
use super::{EndReason, Established, Event, Phase, ProtocolError, Session, Up};
use crate::data::DataKeys;
use crate::key_block::KeyBlock;
use crate::key_method::ServerMessage;
use crate::limits;
use crate::tls::TlsError;
use crate::wrapping::Side;
use mrvpn_profile::Transport;

/// PUSH_REPLY is waited for.
#[derive(Debug)]
pub(super) struct Push {
    server: ServerMessage,
    parts: Vec<Vec<u8>>,
    total: usize,
    pub(super) next_request: Moment,
}

impl Session {
    pub(super) fn begin_push(&mut self, server: ServerMessage, now: Moment) {
        let next_request = now + limits::PUSH_REQUEST_AGAIN;
        self.phase = Phase::Push(Push { server, parts: Vec::new(), total: 0, next_request });
    }

    /// Asks for the push: needed by servers that do not push unasked, and if their push was lost on their side.
    pub(super) fn request_push(&mut self, now: Moment) {
        if let Err(error) = self.current.channel.write(b"PUSH_REQUEST\0") {
            self.end(EndReason::Tls(error), now);
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
            Continuation::Last => match self.establish(now) {
                Ok(()) => {}
                Err(reason) => self.end(reason, now),
            },
        }
    }

    fn establish(&mut self, now: Moment) -> Result<(), EndReason> {
        let Phase::Push(push) = &self.phase else { return Ok(()) };
        let assignment = push::assignment(&self.config.pull, &push.parts).map_err(EndReason::Push)?;
        let agreed = negotiate::decide(&self.config, &push.server, &assignment)?;
        let block = self.key_block(agreed.derivation, &push.server).map_err(EndReason::Tls)?;
        if assignment.protocol_flags.dyn_tls_crypt {
            let wall = self.wall(now);
            let tls = self.current.channel.tls();
            self.wrappers.make_dynamic(tls, &self.config.wrap, Side::Client, wall).map_err(EndReason::Tls)?;
        }
        let key_id = self.current.channel.key_id();
        let keys = DataKeys::new(&block, Side::Client, agreed.cipher, key_id, agreed.peer_id);
        let exit_notify = assignment.explicit_exit_notify.or(self.config.explicit_exit_notify).is_some_and(|n| n > 0);
        self.phase = Phase::Up(Box::new(Up {
            ping_restart: assignment.keepalive.ping_restart,
            cc_exit: assignment.protocol_flags.cc_exit,
            exit_notify: exit_notify && self.config.transport == Transport::Udp,
            agreed,
            renewals: Renewals::new(key_id, now),
        }));
        self.events.push_back(Event::Keys(Box::new(keys)));
        if let Some(token) = assignment.auth_token.clone() {
            self.take_token(token);
        }
        let warnings = self.current.channel.tls().warnings();
        let established = Established { assignment, cipher: agreed.cipher, warnings };
        self.events.push_back(Event::Established(Box::new(established)));
        Ok(())
    }

    /// The key material of the current negotiation. How it is made was agreed once and holds for every key.
    pub(super) fn key_block(&self, how: Derivation, server: &ServerMessage) -> Result<KeyBlock, TlsError> {
        match (how, self.peer) {
            (Derivation::Exporter, _) => KeyBlock::export(self.current.channel.tls()),
            (Derivation::Prf, Some(peer)) => Ok(KeyBlock::derive(&self.current.source, self.own, server, peer)),
            // Nothing is negotiated before the server's reset.
            (Derivation::Prf, None) => Err(TlsError::Closed),
        }
    }
}
