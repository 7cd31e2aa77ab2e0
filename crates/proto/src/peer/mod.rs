//! The server half of the protocol, scripted, for tests of this crate and of those above it: the same wire, wrapping,
//! reliability and keys as the client, the other way round, and the same `handle_*`/`poll_*` shape. It is no OpenVPN
//! server: one client at a time, no address pool, no stateless reset, no renegotiation of its own.

mod rustls_server;
mod scripted_tls;

use std::collections::VecDeque;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::{Cipher, Credentials, Wrap};

use crate::control::{Acks, ControlHead, ControlPacket};
use crate::control_text::strings;
use crate::data::DataKeys;
use crate::ids::{MessageId, PeerId, SessionId};
use crate::key_block::KeyBlock;
use crate::key_method::{ReceivedClientMessage, emit_server_message};
use crate::limits;
use crate::opcode::{KeyId, Opcode, is_data};
use crate::reliable::{AckBook, ReceiveWindow, SendQueue};
use crate::session::payload_size;
use crate::tls::Tls;
use crate::wrapping::{Side, Wrapper};

pub use rustls_server::rustls_server;
pub use scripted_tls::{ScriptedConnector, ScriptedTls};

/// What a [`TestServer`] is told.
#[derive(Clone, Debug)]
pub struct TestServerConfig {
    /// The client's view of the wrapping, as in its profile.
    pub wrap: Wrap,
    /// Which logins are taken.
    pub login: Login,
    /// Whole messages, each beginning with `PUSH_REPLY`.
    pub push: Vec<String>,
    /// The data cipher; must be the pushed one.
    pub cipher: Cipher,
    /// The peer id; must be the pushed one.
    pub peer_id: u32,
    /// Whether the push comes without PUSH_REQUEST, as from 2.6.
    pub unasked_push: bool,
    /// The server's options string.
    pub options: String,
}

/// Which logins a [`TestServer`] takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Any.
    Any,
    /// This user and password; others get AUTH_FAILED.
    Only(Credentials),
    /// None: this is said instead of the push.
    Refuse(String),
    /// None, in silence.
    Silent,
}

impl TestServerConfig {
    /// A server like OpenVPN 2.6 that pushes `10.8.0.2/24` and AES-256-GCM.
    #[must_use]
    pub fn new(wrap: Wrap) -> Self {
        Self {
            wrap,
            login: Login::Any,
            push: vec![String::from(
                "PUSH_REPLY,route-gateway 10.8.0.1,topology subnet,ping 10,ping-restart 60,ifconfig 10.8.0.2 \
                 255.255.255.0,peer-id 7,cipher AES-256-GCM,protocol-flags cc-exit tls-ekm,tun-mtu 1500",
            )],
            cipher: Cipher::Aes256Gcm,
            peer_id: 7,
            unasked_push: true,
            options: String::from("V4,dev-type tun,link-mtu 1549,tun-mtu 1500,proto UDPv4,key-method 2,tls-server"),
        }
    }
}

/// A scripted server.
pub struct TestServer {
    config: TestServerConfig,
    accept: Box<dyn FnMut() -> Box<dyn Tls> + Send>,
    sessions: u64,
    wall: WallTime,
    client: Option<Client>,
    outbox: VecDeque<Vec<u8>>,
    packets: VecDeque<Vec<u8>>,
    said: Vec<String>,
}

/// What the server knows of its client.
struct Client {
    wrapper: Wrapper,
    own: SessionId,
    peer: SessionId,
    send: SendQueue,
    receive: ReceiveWindow,
    acks: AckBook,
    tls: Box<dyn Tls>,
    tls_out: Vec<u8>,
    message: Option<ReceivedClientMessage>,
    keys: Option<DataKeys>,
    pushed: bool,
    failed: bool,
}

impl TestServer {
    /// A server that makes the TLS of each new client by `accept`.
    #[must_use]
    pub fn new(config: TestServerConfig, accept: Box<dyn FnMut() -> Box<dyn Tls> + Send>, wall: WallTime) -> Self {
        Self {
            config,
            accept,
            sessions: 0,
            wall,
            client: None,
            outbox: VecDeque::new(),
            packets: VecDeque::new(),
            said: Vec::new(),
        }
    }

    /// Takes any datagram of a client; what does not fit is dropped.
    pub fn handle_datagram(&mut self, datagram: &[u8], now: Moment) {
        let Some(first) = datagram.first() else { return };
        if is_data(*first) {
            return self.take_data(datagram, now);
        }
        let resets = Opcode::of(*first) == Opcode::HardResetClientV2;
        if resets && !self.client.as_ref().is_some_and(|client| client.fits(datagram, now)) {
            self.take_reset(datagram, now);
        }
        self.take_control(datagram, now);
        self.flush(now);
    }

    /// Sends again what is due.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.flush(now);
    }

    /// When [`Self::handle_timeout`] is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.client.as_ref()?.send.due()
    }

    /// The next datagram for the client.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outbox.pop_front()
    }

    /// The next inner packet that the client sent.
    pub fn poll_packet(&mut self) -> Option<Vec<u8>> {
        self.packets.pop_front()
    }

    /// What the client said after its key exchange message, in order.
    #[must_use]
    pub fn said(&self) -> &[String] {
        &self.said
    }

    /// How many sessions were begun.
    #[must_use]
    pub const fn sessions(&self) -> u64 {
        self.sessions
    }

    /// The key exchange message of the client.
    #[must_use]
    pub fn client_message(&self) -> Option<&ReceivedClientMessage> {
        self.client.as_ref()?.message.as_ref()
    }

    /// Whether the client was pushed its options.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.client.as_ref().is_some_and(|client| client.pushed)
    }

    /// Says a control string, such as `RESTART`.
    pub fn say(&mut self, text: &str, now: Moment) {
        if let Some(client) = &mut self.client {
            client.say(text);
        }
        self.flush(now);
    }

    /// Sends application data as it stands, as one record.
    pub fn send_record(&mut self, record: &[u8], now: Moment) {
        if let Some(client) = &mut self.client {
            client.write(record);
        }
        self.flush(now);
    }

    /// Sends an inner packet to the client, if keys are there.
    pub fn send_packet(&mut self, inner: &[u8]) {
        let Some(keys) = self.client.as_mut().and_then(|client| client.keys.as_mut()) else { return };
        let mut frame = vec![0; crate::data::Sealer::HEADROOM];
        frame.extend_from_slice(inner);
        if keys.sealer.seal(&mut frame).is_ok() {
            self.outbox.push_back(frame);
        }
    }

    /// Asks for a renegotiation.
    pub fn soft_reset(&mut self) {
        let Some(client) = &mut self.client else { return };
        let head = ControlHead { opcode: Opcode::SoftResetV1, key_id: KeyId::FIRST.next(), session: client.own };
        let packet = ControlPacket { head, acks: Acks::NONE, message: Some(MessageId::RESET), payload: &[] };
        self.outbox.push_back(client.wrapper.wrap(&packet));
    }

    /// Forgets the client, as a killed server does.
    pub fn forget(&mut self) {
        self.client = None;
        self.outbox.clear();
    }

    fn take_reset(&mut self, datagram: &[u8], now: Moment) {
        let wrapper = Wrapper::new(&self.config.wrap, Side::Server, self.wall);
        let Ok(unwrapped) = wrapper.unwrap(datagram, now) else { return };
        self.sessions += 1;
        let own = SessionId::new((self.sessions | 0x5e55_0000_0000_0000).to_be_bytes());
        let Some(own) = own else { return };
        let mut client = Client {
            wrapper,
            own,
            peer: unwrapped.head().session,
            send: SendQueue::default(),
            receive: ReceiveWindow::new(),
            acks: AckBook::default(),
            tls: (self.accept)(),
            tls_out: Vec::new(),
            message: None,
            keys: None,
            pushed: false,
            failed: false,
        };
        client.send.push(Opcode::HardResetServerV2, Vec::new(), now);
        self.client = Some(client);
    }

    fn take_control(&mut self, datagram: &[u8], now: Moment) {
        let Some(client) = &mut self.client else { return };
        for payload in client.take_packet(datagram, now) {
            let read = client.tls.read_tls(&payload);
            client.failed |= read.is_err();
            client.tls.write_tls(&mut client.tls_out);
            while let Some(record) = client.tls.read_plaintext() {
                take_record(client, &self.config, &mut self.said, &record);
            }
        }
    }

    fn take_data(&mut self, datagram: &[u8], now: Moment) {
        let Some(keys) = self.client.as_mut().and_then(|client| client.keys.as_mut()) else { return };
        let mut bytes = datagram.to_vec();
        if let Ok(packet) = keys.opener.open(&mut bytes, now) {
            self.packets.push_back(packet.to_vec());
        }
    }

    fn flush(&mut self, now: Moment) {
        if let Some(client) = &mut self.client {
            client.flush(&mut self.outbox, now);
        }
    }
}

impl Client {
    /// Whether the datagram belongs to this client's session.
    fn fits(&self, datagram: &[u8], now: Moment) -> bool {
        match self.wrapper.unwrap(datagram, now) {
            Ok(unwrapped) => unwrapped.head().session == self.peer,
            Err(_) => ControlHead::parse(datagram).is_ok_and(|(head, _)| head.session == self.peer),
        }
    }

    /// Takes acknowledgements and message of a packet that fits; returns the TLS bytes that are in order now.
    fn take_packet(&mut self, datagram: &[u8], now: Moment) -> Vec<Vec<u8>> {
        let Ok(unwrapped) = self.wrapper.unwrap(datagram, now) else { return Vec::new() };
        let Ok(packet) = unwrapped.packet() else { return Vec::new() };
        let for_us = packet.acks.peer().is_none_or(|peer| peer == self.own);
        if packet.head.session != self.peer || !for_us {
            return Vec::new();
        }
        self.wrapper.accept(&unwrapped, now);
        self.send.acknowledge(packet.acks.ids(), now);
        let Some(id) = packet.message else { return Vec::new() };
        if self.receive.insert(id, packet.payload) != crate::reliable::Received::Ahead {
            self.acks.note(id);
        }
        std::iter::from_fn(|| self.receive.pop()).filter(|payload| !payload.is_empty()).collect()
    }

    fn say(&mut self, text: &str) {
        let mut record = text.as_bytes().to_vec();
        record.push(0);
        self.write(&record);
    }

    fn write(&mut self, record: &[u8]) {
        if self.tls.write_plaintext(record).is_ok() {
            self.tls.write_tls(&mut self.tls_out);
        }
    }

    /// Pushes once, and makes the keys.
    fn push(&mut self, config: &TestServerConfig) {
        if self.pushed {
            return;
        }
        self.pushed = true;
        for part in &config.push {
            self.say(part);
        }
        let peer_id = PeerId::new(config.peer_id);
        if let (Ok(block), Some(peer_id)) = (KeyBlock::export(self.tls.as_ref()), peer_id) {
            self.keys = Some(DataKeys::new(&block, Side::Server, config.cipher, KeyId::FIRST, peer_id));
        }
    }

    fn flush(&mut self, outbox: &mut VecDeque<Vec<u8>>, now: Moment) {
        let size = payload_size(&self.wrapper, false);
        while !self.tls_out.is_empty() && self.send.room() > 0 {
            let rest = self.tls_out.split_off(size.min(self.tls_out.len()));
            let payload = std::mem::replace(&mut self.tls_out, rest);
            self.send.push(Opcode::ControlV1, payload, now);
        }
        while let Some(outgoing) = self.send.transmit(now) {
            let acks = Acks::new(&self.acks.take(limits::ACKS_WITH_MESSAGE), self.peer);
            let head = ControlHead { opcode: outgoing.opcode, key_id: KeyId::FIRST, session: self.own };
            let packet = ControlPacket { head, acks, message: Some(outgoing.id), payload: outgoing.payload };
            outbox.push_back(self.wrapper.wrap(&packet));
        }
        while self.acks.is_pending() {
            let head = ControlHead { opcode: Opcode::AckV1, key_id: KeyId::FIRST, session: self.own };
            let acks = Acks::new(&self.acks.take(limits::ACKS), self.peer);
            outbox.push_back(self.wrapper.wrap(&ControlPacket { head, acks, message: None, payload: &[] }));
        }
    }
}

/// The key exchange message first, then control strings.
fn take_record(client: &mut Client, config: &TestServerConfig, said: &mut Vec<String>, record: &[u8]) {
    if client.message.is_none() {
        let Ok(message) = ReceivedClientMessage::parse(record) else { return };
        return take_login(client, config, message);
    }
    for text in strings(record) {
        said.push(String::from_utf8_lossy(text).into_owned());
        if text == b"PUSH_REQUEST" && may_log_in(config, client.message.as_ref()) {
            client.push(config);
        }
    }
}

fn take_login(client: &mut Client, config: &TestServerConfig, message: ReceivedClientMessage) {
    client.write(&emit_server_message(&[1; 32], &[2; 32], &config.options));
    client.message = Some(message);
    match &config.login {
        Login::Any | Login::Only(_) if may_log_in(config, client.message.as_ref()) => {
            if config.unasked_push {
                client.push(config);
            }
        }
        Login::Any | Login::Only(_) => client.say("AUTH_FAILED"),
        Login::Refuse(text) => client.say(text),
        Login::Silent => {}
    }
}

fn may_log_in(config: &TestServerConfig, message: Option<&ReceivedClientMessage>) -> bool {
    match (&config.login, message) {
        (Login::Any, Some(_)) => true,
        (Login::Only(wanted), Some(got)) => {
            got.user == wanted.user.as_bytes() && got.password == wanted.password.expose().as_bytes()
        }
        (Login::Refuse(_) | Login::Silent, _) | (_, None) => false,
    }
}
