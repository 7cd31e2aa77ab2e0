//! Later keys of a client: when a renegotiation begins, what comes of it, when old keys end (openvpn-protocol.md section
//! 10.4; OpenVPN `ssl.c`). `session/renewal.rs` is the client's.

use mrvpn_clock::Moment;

use super::client::{Client, Phase};
use super::event::{Gone, ServerEvent};
use super::negotiation::{Negotiation, Step};
use super::push::Agreed;
use super::shared::Shared;
use crate::data::DataKeys;
use crate::key_block::KeyBlock;
use crate::opcode::{KeyId, Opcode};
use crate::tls::TlsError;
use crate::wrapping::Side;

/// What a client that is up knows of its data keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Renewals {
    newest: KeyId,
    /// The key before, and when it ends.
    pub(super) older: Option<(KeyId, Moment)>,
    /// The end of the last negotiation.
    since: Moment,
    /// When the next one is due.
    pub(super) due: Option<Moment>,
}

impl Renewals {
    pub(super) fn new(newest: KeyId, shared: &mut Shared, now: Moment) -> Self {
        Self { newest, older: None, since: now, due: next_due(shared, now) }
    }
}

fn next_due(shared: &mut Shared, now: Moment) -> Option<Moment> {
    shared.config.renewal.map(|time| now + shared.shortened(time))
}

impl Client {
    /// It is up and no negotiation is on.
    pub(super) fn may_renew(&self) -> bool {
        self.is_up() && self.current.step == Step::Done
    }

    /// Begins a renegotiation, by our own or the client's wish. The key before the present one ends.
    pub(super) fn begin_renewal(&mut self, shared: &mut Shared, now: Moment) {
        let tls = match shared.acceptor.accept(shared.wall(now)) {
            Ok(tls) => tls,
            Err(error) => return self.leave(Gone::Tls(error), now),
        };
        let Phase::Up(_, renewals) = &mut self.phase else { return };
        if let Some((key_id, _)) = renewals.older.take() {
            self.tell(shared, ServerEvent::Retire(key_id));
        }
        let mut channel = self.current.channel.next(tls);
        channel.send_reset(Opcode::SoftResetV1, now);
        let deadline = now + shared.config.handshake;
        self.current = Negotiation::new(channel, Step::Reset, &mut shared.random, now, deadline);
    }

    /// The client has all that makes the new key, and so it is there (section 10.4).
    pub(super) fn finish_renewal(&mut self, shared: &mut Shared, now: Moment) {
        let Phase::Up(agreed, renewals) = &self.phase else { return };
        let (agreed, before) = (*agreed, *renewals);
        let block = match self.key_block(&agreed, shared) {
            Ok(block) => block,
            Err(error) => return self.leave(Gone::Tls(error), now),
        };
        let key_id = self.current.channel.key_id();
        let mut keys = DataKeys::new(&block, Side::Server, agreed.cipher, key_id, agreed.peer_id);
        let half = self.current.began.since(before.since) / 2;
        let patience = shared.config.handshake.min(half).min(shared.config.tran_window / 2);
        keys.seal_after = self.current.began + patience;
        let renewals = Renewals {
            newest: key_id,
            older: Some((before.newest, self.current.began + shared.config.tran_window)),
            since: now,
            due: next_due(shared, now),
        };
        self.current.step = Step::Done;
        self.phase = Phase::Up(agreed, renewals);
        self.tell(shared, ServerEvent::Keys(Box::new(keys)));
        self.retire(shared, now);
    }

    /// Forgets the key before, once its time is over: where a login is answered late that may be at its very end.
    pub(super) fn retire(&mut self, shared: &mut Shared, now: Moment) {
        let Phase::Up(_, renewals) = &mut self.phase else { return };
        if let Some((key_id, _)) = renewals.older.take_if(|(_, end)| *end <= now) {
            self.tell(shared, ServerEvent::Retire(key_id));
        }
    }

    /// The key material of the current negotiation.
    pub(super) fn key_block(&self, agreed: &Agreed, shared: &Shared) -> Result<KeyBlock, TlsError> {
        if agreed.exporter {
            return KeyBlock::export(self.current.channel.tls());
        }
        // Without the client's message nobody is let in.
        let source = self.current.message().and_then(|message| message.source()).ok_or(TlsError::Closed)?;
        let server = self.current.own_message(&shared.config.options);
        Ok(KeyBlock::derive(&source, self.peer, &server, self.own))
    }
}
