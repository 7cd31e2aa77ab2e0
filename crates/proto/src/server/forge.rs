//! What no honest server says, for tests of clients: control packets of any content, rightly or wrongly wrapped, TLS
//! records and bytes of any content, datagrams as they stand. Only where tests are built. When what is said, and to whom,
//! is the test's affair.

use mrvpn_clock::Moment;
use mrvpn_profile::{StaticKey, Wrap};

use super::{ClientId, Server};
use crate::control::ControlHead;
use crate::ids::SessionId;
use crate::key_method::ReceivedClientMessage;
use crate::opcode::{KeyId, Opcode};
use crate::replay::Stamp;
use crate::wrapping::{Side, Wrapper};

/// A control packet of any content. [`Forged::default`] is an ACK_V1 of nothing that is right in all else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forged {
    /// The opcode, 0 to 31.
    pub opcode: u8,
    /// The key id, 0 to 7; `None`: that of the present negotiation.
    pub key_id: Option<u8>,
    /// The session id that it says it comes from; `None`: the right one.
    pub session: Option<[u8; 8]>,
    /// What it acknowledges, any number of ids up to 255.
    pub acks: Vec<u32>,
    /// Whose messages these are; `None`: the client's.
    pub acks_of: Option<[u8; 8]>,
    /// The message id, whether the opcode has one or not.
    pub message: Option<u32>,
    /// What follows.
    pub payload: Vec<u8>,
    /// How it is wrapped.
    pub wrap: ForgedWrap,
}

/// How a forged packet is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForgedWrap {
    /// As it should be.
    Right,
    /// As it should be, but under this packet id and time: a replay, or from the future.
    Stamped(Stamp),
    /// By tls-crypt with a key that nobody has.
    WrongKey,
    /// Not at all.
    Bare,
}

impl Default for Forged {
    fn default() -> Self {
        Self {
            opcode: Opcode::AckV1.number(),
            key_id: None,
            session: None,
            acks: Vec::new(),
            acks_of: None,
            message: None,
            payload: Vec::new(),
            wrap: ForgedWrap::Right,
        }
    }
}

impl Forged {
    /// The datagram of a server `own` for the client `peer`, wrapped by `right` where it is to be right.
    #[must_use]
    pub fn datagram(&self, right: &mut Wrapper, own: SessionId, peer: SessionId, key_id: KeyId) -> Vec<u8> {
        let head = ControlHead {
            opcode: Opcode::of(self.opcode << 3),
            key_id: self.key_id.map_or(key_id, KeyId::of),
            session: self.session.and_then(SessionId::new).unwrap_or(own),
        };
        let body = self.body(peer);
        match self.wrap {
            ForgedWrap::Right => right.wrap_any(head, body, None),
            ForgedWrap::Stamped(stamp) => right.wrap_any(head, body, Some(stamp)),
            ForgedWrap::WrongKey => wrong().wrap_any(head, body, None),
            ForgedWrap::Bare => [head.bytes().as_slice(), &body].concat(),
        }
    }

    fn body(&self, peer: SessionId) -> Vec<u8> {
        let mut body = vec![u8::try_from(self.acks.len()).unwrap_or(u8::MAX)];
        body.extend(self.acks.iter().take(255).flat_map(|id| id.to_be_bytes()));
        if !self.acks.is_empty() {
            body.extend_from_slice(&self.acks_of.unwrap_or_else(|| *peer.bytes()));
        }
        body.extend(self.message.iter().flat_map(|id| id.to_be_bytes()));
        body.extend_from_slice(&self.payload);
        body
    }
}

fn wrong() -> Wrapper {
    let key = StaticKey::from_bytes(vec![0xa5; StaticKey::LEN]).expect("it has the length of a static key");
    Wrapper::new(&Wrap::TlsCrypt { key }, Side::Server, mrvpn_clock::WallTime::from_unix(u64::from(u32::MAX)))
}

impl Server {
    /// Sends a forged control packet to a client. Nothing else of the session changes, so that its later messages have
    /// their own numbers.
    pub fn forge(&mut self, client: ClientId, forged: &Forged) {
        let Some(client) = self.clients.get_mut(&client) else { return };
        let key_id = client.current.channel.key_id();
        let right = client.wrappers.of_mut(forged.key_id.map_or(key_id, KeyId::of));
        let datagram = forged.datagram(right, client.own, client.peer, key_id);
        self.shared.outbox.push_back((client.address, datagram));
    }

    /// Sends any datagram to a client, such as one that its data key sealed.
    pub fn forge_datagram(&mut self, client: ClientId, datagram: Vec<u8>) {
        if let Some(client) = self.clients.get(&client) {
            self.shared.outbox.push_back((client.address, datagram));
        }
    }

    /// Sends application data of any content as one TLS record, or as many as it needs.
    pub fn send_record(&mut self, client: ClientId, record: &[u8], now: Moment) {
        self.with(client, now, |client, _| client.write(record));
    }

    /// Puts any bytes into the TLS stream, such as handshake data that never ends.
    pub fn send_tls(&mut self, client: ClientId, bytes: &[u8], now: Moment) {
        self.with(client, now, |client, _| client.current.channel.inject(bytes));
    }

    /// The latest key exchange message of a client.
    #[must_use]
    pub fn client_message(&self, client: ClientId) -> Option<&ReceivedClientMessage> {
        self.clients.get(&client)?.current.message()
    }

    /// Whether all that was said to a client has arrived.
    #[must_use]
    pub fn is_quiet(&self, client: ClientId) -> bool {
        self.clients.get(&client).is_none_or(|client| client.current.channel.is_quiet())
    }
}
