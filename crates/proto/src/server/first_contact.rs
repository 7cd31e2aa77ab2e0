//! Datagrams of nobody that is known. Over UDP a reset is answered and forgotten: the answer's session id is a cookie, and
//! only a packet that brings it back makes a client (openvpn-protocol.md sections 3.5 and 3.6; OpenVPN `mudp.c`,
//! `do_pre_decrypt_check`). In a stream the reset itself makes one.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::net::SocketAddr;

use mrvpn_clock::Moment;
use mrvpn_profile::Wrap;

use super::Server;
use super::client::Beginning;
use super::config::ServerTransport;
use super::negotiation::Step;
use crate::channel::Channel;
use crate::control::{Acks, ControlHead, ControlPacket};
use crate::dropped::Dropped;
use crate::ids::{MessageId, SessionId};
use crate::limits;
use crate::opcode::{KeyId, Opcode};
use crate::wrappers::Wrappers;
use crate::wrapping::{Side, Unwrapped};

/// What a server that keeps nothing of a reset says in its answer where the client has a key of its own: it wants that
/// again with the first message.
const RESEND_WRAPPED_KEY: [u8; 6] = [0, 1, 0, 2, 0, 1];

impl Server {
    /// Takes a datagram of nobody that is known.
    pub(super) fn greet(&mut self, from: SocketAddr, datagram: &[u8], now: Moment) -> Result<(), Dropped> {
        let (head, _) = ControlHead::parse(datagram)?;
        if head.key_id != KeyId::FIRST {
            return Err(Dropped::KeyId);
        }
        let is_reset = self.judge_opcode(head.opcode)?;
        let wrap = self.shared.config.wrap.of_client(datagram).ok_or(Dropped::Forged)?;
        let wrappers = Wrappers::new(&wrap, Side::Server, self.shared.wall(now));
        let unwrapped = wrappers.unwrap(datagram, now)?;
        let packet = unwrapped.packet()?;
        match (is_reset, self.shared.config.transport) {
            (true, _) if packet.message != Some(MessageId::RESET) => Err(Dropped::Reset),
            (true, ServerTransport::Datagram) => self.answer_reset(from, &unwrapped, wrappers, now),
            (true, ServerTransport::Stream) => self.begin_by_reset(from, datagram, wrap, wrappers, now),
            (false, ServerTransport::Datagram) => self.begin_by_cookie(from, datagram, wrap, wrappers, now),
            (false, ServerTransport::Stream) => Err(Dropped::WrongSession),
        }
    }

    /// Whether the opcode is a reset's; else it is one that a client's next packet has. With keys of clients' own both
    /// must bring the key along.
    fn judge_opcode(&self, opcode: Opcode) -> Result<bool, Dropped> {
        match (opcode, self.shared.config.wrap.has_client_keys()) {
            (Opcode::HardResetClientV2, false) | (Opcode::HardResetClientV3, true) => Ok(true),
            (Opcode::ControlV1 | Opcode::AckV1, false) | (Opcode::ControlWkcV1, true) => Ok(false),
            _ => Err(Dropped::Opcode),
        }
    }

    /// Answers a reset and forgets it.
    fn answer_reset(
        &mut self,
        from: SocketAddr,
        unwrapped: &Unwrapped,
        mut wrappers: Wrappers,
        now: Moment,
    ) -> Result<(), Dropped> {
        let has_key = self.shared.config.wrap.has_client_keys();
        if has_key && unwrapped.stamp().is_none_or(|stamp| stamp.id.get() >> 24 & 0x0f != 0x0f) {
            // From before 2.6: it would not send its key again.
            return Err(Dropped::Reset);
        }
        let client = unwrapped.head().session;
        let cookie = self.cookies.bake(from, client, now).ok_or(Dropped::Reset)?;
        if self.shared.outbox.len() >= limits::SERVER_OUTBOX || !self.resets.take(now) {
            return Err(Dropped::Crowded);
        }
        let answer = ControlPacket {
            head: ControlHead { opcode: Opcode::HardResetServerV2, key_id: KeyId::FIRST, session: cookie },
            acks: Acks::new(&[MessageId::RESET], client),
            message: Some(MessageId::RESET),
            payload: if has_key { &RESEND_WRAPPED_KEY } else { &[] },
        };
        self.shared.outbox.push_back((from, wrappers.of_mut(KeyId::FIRST).wrap(&answer)));
        Ok(())
    }

    /// A packet that brings the cookie back makes a client, and is its first.
    fn begin_by_cookie(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        wrap: Wrap,
        wrappers: Wrappers,
        now: Moment,
    ) -> Result<(), Dropped> {
        let (own, peer) = self.judge_cookie(from, &wrappers, datagram, now)?;
        self.make_room()?;
        let tls = self.shared.acceptor.accept(self.shared.wall(now)).map_err(|_| Dropped::Crowded)?;
        self.resets.give_back();
        let beginning =
            Beginning { id: self.next_id()?, address: from, own, peer, wrap, wrappers: wrappers.after_first() };
        self.begin(beginning, Channel::after_resets(tls), Step::Tls, datagram, now)
    }

    /// The session ids of server and client, if the packet has the cookie and could be the client's second or third.
    fn judge_cookie(
        &self,
        from: SocketAddr,
        wrappers: &Wrappers,
        datagram: &[u8],
        now: Moment,
    ) -> Result<(SessionId, SessionId), Dropped> {
        let unwrapped = wrappers.unwrap(datagram, now)?;
        let packet = unwrapped.packet()?;
        let (own, peer) = (packet.acks.peer().ok_or(Dropped::WrongPeer)?, packet.head.session);
        if !self.cookies.knows(own, from, peer, now) {
            return Err(Dropped::WrongPeer);
        }
        let first = MessageId::RESET.next();
        if packet.acks.ids().iter().any(|id| id.get() > first.get()) || packet.message.is_some_and(|id| id != first) {
            return Err(Dropped::Ahead);
        }
        Ok((own, peer))
    }

    /// A stream shows by itself that the address is the client's own.
    fn begin_by_reset(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        wrap: Wrap,
        wrappers: Wrappers,
        now: Moment,
    ) -> Result<(), Dropped> {
        let (head, _) = ControlHead::parse(datagram)?;
        self.make_room()?;
        let tls = self.shared.acceptor.accept(self.shared.wall(now)).map_err(|_| Dropped::Crowded)?;
        let own = self.shared.random_session_id();
        let beginning = Beginning { id: self.next_id()?, address: from, own, peer: head.session, wrap, wrappers };
        let mut channel = Channel::first(tls);
        channel.answer_reset(&[], now);
        self.begin(beginning, channel, Step::Reset, datagram, now)
    }
}
