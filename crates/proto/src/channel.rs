//! One TLS session of a connection and the reliable streams that carry it, of either side (openvpn-protocol.md sections
//! 1.3, 1.6 and 3.1): messages out and in, acknowledgements, bytes of TLS cut into messages. It knows nothing of what
//! is said inside TLS: that is `session/`.

use std::collections::VecDeque;
use std::fmt;

use mrvpn_clock::Moment;

use crate::control::{Acks, ControlHead, ControlPacket};
use crate::ids::{MessageId, SessionId};
use crate::limits;
use crate::opcode::{KeyId, Opcode};
use crate::reliable::{AckBook, ReceiveWindow, Received, SendQueue};
use crate::tls::{Tls, TlsError};
use crate::wrappers::Wrappers;
use crate::wrapping::Wrapper;

/// A TLS session with its streams.
pub(crate) struct Channel {
    key_id: KeyId,
    send: SendQueue,
    receive: ReceiveWindow,
    acks: AckBook,
    tls: Box<dyn Tls>,
    /// Bytes of TLS that found no room in the send window yet.
    tls_out: Vec<u8>,
    /// Bytes that came and were not answered yet: where anyone can send, acknowledgements alone answer no more than came
    /// (threats-and-faults.md T-15).
    credit: usize,
}

/// What a channel needs to put its messages on the wire.
pub(crate) struct Wire<'a> {
    pub(crate) wrappers: &'a mut Wrappers,
    /// Our session id.
    pub(crate) own: SessionId,
    /// The peer's, once it is known.
    pub(crate) peer: Option<SessionId>,
    pub(crate) ipv6_outside: bool,
    pub(crate) outbox: &'a mut VecDeque<Vec<u8>>,
}

impl Channel {
    /// The first channel of a connection.
    pub(crate) fn first(tls: Box<dyn Tls>) -> Self {
        Self::new(KeyId::FIRST, SendQueue::default(), tls)
    }

    /// The channel of the next renegotiation.
    pub(crate) fn next(&self, tls: Box<dyn Tls>) -> Self {
        Self::new(self.key_id.next(), self.send.successor(), tls)
    }

    /// The first channel of a server that answered the client's reset without keeping anything of it (section 3.5): both
    /// resets are through.
    #[cfg(any(test, feature = "server"))]
    pub(crate) fn after_resets(tls: Box<dyn Tls>) -> Self {
        let mut channel = Self::new(KeyId::FIRST, SendQueue::after_reset(), tls);
        channel.receive.insert(MessageId::RESET, &[]);
        channel.receive.pop();
        channel
    }

    fn new(key_id: KeyId, send: SendQueue, tls: Box<dyn Tls>) -> Self {
        let (receive, acks) = (ReceiveWindow::new(), AckBook::default());
        Self { key_id, send, receive, acks, tls, tls_out: Vec::new(), credit: 0 }
    }

    pub(crate) const fn key_id(&self) -> KeyId {
        self.key_id
    }

    pub(crate) fn tls(&self) -> &dyn Tls {
        self.tls.as_ref()
    }

    /// Queues the reset that opens this side's stream.
    pub(crate) fn send_reset(&mut self, opcode: Opcode, now: Moment) {
        self.send.push(opcode, Vec::new(), now);
    }

    /// The same, with what a server negotiates early (section 3.6).
    #[cfg(any(test, feature = "server"))]
    pub(crate) fn answer_reset(&mut self, early: &[u8], now: Moment) {
        self.send.push(Opcode::HardResetServerV2, early.to_vec(), now);
    }

    /// What [`Self::take`] would say to a message. Changes nothing.
    pub(crate) fn judge(&self, id: MessageId) -> Received {
        self.receive.judge(id)
    }

    /// Whether nothing but the peer's reset has come.
    pub(crate) fn has_only_a_reset(&self) -> bool {
        let mut fresh = ReceiveWindow::new();
        fresh.insert(MessageId::RESET, &[]);
        fresh.pop();
        self.receive == fresh
    }

    /// Whether the peer's reset has come, and so it speaks on this channel.
    pub(crate) fn has_begun(&self) -> bool {
        self.receive.next() != MessageId::RESET
    }

    /// Takes acknowledgements and message of a packet; returns the payloads that are in order now.
    pub(crate) fn take(&mut self, packet: &ControlPacket<'_>, now: Moment) -> Vec<Vec<u8>> {
        self.credit = self.credit.saturating_add(packet.bare_size()).min(limits::CONTROL_MESSAGE);
        self.send.acknowledge(packet.acks.ids(), now);
        let Some(id) = packet.message else { return Vec::new() };
        // What a reset carries is not of TLS, and is heeded where the reset is taken.
        let payload = if id == MessageId::RESET { &[] } else { packet.payload };
        match self.receive.insert(id, payload) {
            Received::New | Received::Duplicate => self.acks.note(id),
            Received::Ahead => return Vec::new(),
        }
        std::iter::from_fn(|| self.receive.pop()).collect()
    }

    /// Takes the peer's reset, which came before there was a channel for it.
    pub(crate) fn take_reset(&mut self) {
        self.receive.insert(MessageId::RESET, &[]);
        self.receive.pop();
        self.acks.note(MessageId::RESET);
    }

    /// Everything unacknowledged goes again: what was sent to another session id is lost.
    pub(crate) fn hasten(&mut self, now: Moment) {
        self.send.hasten(now);
    }

    /// Hands bytes of the peer to TLS.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        self.tls.read_tls(bytes)
    }

    /// Application data of one record of the peer.
    pub(crate) fn record(&mut self) -> Option<Vec<u8>> {
        self.tls.read_plaintext()
    }

    /// Sends application data as one record.
    pub(crate) fn write(&mut self, record: &[u8]) -> Result<(), TlsError> {
        self.tls.write_plaintext(record)?;
        self.collect();
        Ok(())
    }

    /// Puts bytes into the stream that TLS never made.
    #[cfg(any(test, feature = "test-peer"))]
    pub(crate) fn inject(&mut self, bytes: &[u8]) {
        self.tls_out.extend_from_slice(bytes);
    }

    /// Takes what TLS wants to send.
    pub(crate) fn collect(&mut self) {
        self.tls.write_tls(&mut self.tls_out);
    }

    /// Whether all that was said has arrived.
    pub(crate) fn is_quiet(&self) -> bool {
        self.send.is_empty() && self.tls_out.is_empty()
    }

    /// When a message goes again.
    pub(crate) fn due(&self) -> Option<Moment> {
        self.send.due()
    }

    /// Puts everything that is due on the wire.
    pub(crate) fn flush(&mut self, wire: &mut Wire<'_>, now: Moment) {
        self.cut(wire, now);
        self.send_messages(wire, now);
        self.send_acks(wire);
    }

    fn cut(&mut self, wire: &Wire<'_>, now: Moment) {
        while !self.tls_out.is_empty() && self.send.room() > 0 {
            let opcode = wire.wrappers.of(self.key_id).carrier(self.key_id, self.send.next());
            let size = payload_size(wire.wrappers.of(self.key_id), opcode, wire.ipv6_outside);
            let rest = self.tls_out.split_off(size.min(self.tls_out.len()));
            let payload = std::mem::replace(&mut self.tls_out, rest);
            self.send.push(opcode, payload, now);
        }
    }

    fn send_messages(&mut self, wire: &mut Wire<'_>, now: Moment) {
        while let Some(outgoing) = self.send.transmit(now) {
            let acks = match wire.peer {
                Some(peer) => Acks::new(&self.acks.take(limits::ACKS_WITH_MESSAGE), peer),
                None => Acks::NONE,
            };
            let head = ControlHead { opcode: outgoing.opcode, key_id: self.key_id, session: wire.own };
            let packet = ControlPacket { head, acks, message: Some(outgoing.id), payload: outgoing.payload };
            self.credit = self.credit.saturating_sub(packet.bare_size());
            wire.outbox.push_back(wire.wrappers.of_mut(self.key_id).wrap(&packet));
        }
    }

    /// Acknowledgements that found no message to travel with. Those for which there is no credit wait for a message, or
    /// until more has come.
    fn send_acks(&mut self, wire: &mut Wire<'_>) {
        let Some(peer) = wire.peer else { return };
        let bare = wire.wrappers.of(self.key_id).is_none();
        while self.acks.is_pending() && wire.outbox.len() < limits::OUTBOX {
            let most = if bare { self.affordable_acks() } else { limits::ACKS };
            if most == 0 {
                return;
            }
            let head = ControlHead { opcode: Opcode::AckV1, key_id: self.key_id, session: wire.own };
            let acks = Acks::new(&self.acks.take(most), peer);
            let packet = ControlPacket { head, acks, message: None, payload: &[] };
            self.credit = self.credit.saturating_sub(packet.bare_size());
            wire.outbox.push_back(wire.wrappers.of_mut(self.key_id).wrap(&packet));
        }
    }

    /// Without a wrapper at most four: some foreign servers drop more (section 1.3).
    fn affordable_acks(&self) -> usize {
        const WITHOUT: usize = ControlHead::LEN + 1 + SessionId::LEN;
        (self.credit.saturating_sub(WITHOUT) / 4).min(limits::ACKS_WITH_MESSAGE)
    }
}

/// Bytes of TLS in one control packet. Room is left for four acknowledgements always, so that a message that is sent
/// again with more of them still fits.
fn payload_size(wrapper: &Wrapper, opcode: Opcode, ipv6_outside: bool) -> usize {
    const MESSAGE_ID: usize = 4;
    const ACKS: usize = 1 + 4 * limits::ACKS_WITH_MESSAGE + 8;
    let outer = if ipv6_outside { 48 } else { 28 };
    limits::CONTROL_IP_PACKET
        - outer
        - ControlHead::LEN
        - ACKS
        - MESSAGE_ID
        - wrapper.overhead()
        - wrapper.trailer(opcode)
}

/// All but what TLS keeps to itself.
impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("key_id", &self.key_id)
            .field("send", &self.send)
            .field("receive", &self.receive)
            .field("acks", &self.acks)
            .field("handshaking", &self.tls.is_handshaking())
            .field("tls_out", &self.tls_out.len())
            .finish_non_exhaustive()
    }
}
