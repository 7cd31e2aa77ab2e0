//! The server half of the protocol, scripted, for tests of this crate and of those above it: the same wire, wrapping,
//! reliability and keys as the client, the other way round, and the same `handle_*`/`poll_*` shape. It is no OpenVPN
//! server: one client at a time, no address pool, no stateless reset, no renegotiation of its own.

mod key_ring;
mod rustls_server;
mod scripted_tls;

use std::collections::VecDeque;
use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::{Cipher, Credentials, Wrap};

use crate::channel::{Channel, Wire};
use crate::control::ControlHead;
use crate::control_text::strings;
use crate::ids::{MessageId, PeerId, SessionId};
use crate::key_block::KeyBlock;
use crate::key_method::{KeySource, ReceivedClientMessage, ServerMessage, emit_server_message};
use crate::opcode::{KeyId, Opcode, is_data};
use crate::tls::Tls;
use crate::wrappers::Wrappers;
use crate::wrapping::Side;
use key_ring::KeyRing;

pub use rustls_server::rustls_server;
pub use scripted_tls::{ScriptedAcceptor, ScriptedConnector, ScriptedTls};

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
    /// Whether data keys come from the TLS exporter; must be what is pushed (`tls-ekm`).
    pub exporter: bool,
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
            exporter: true,
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
    wrappers: Wrappers,
    own: SessionId,
    peer: SessionId,
    /// Of the newest key id: as OpenVPN's server, this one listens on no other.
    channel: Channel,
    /// Whether the key exchange messages are through on this channel.
    exchanged: bool,
    message: Option<ReceivedClientMessage>,
    keys: KeyRing,
    pushed: bool,
    failed: bool,
    exchanges: u8,
    /// Whether the first message is taken with the sealed key alone, as by a server that keeps no state for a reset.
    wants_key: bool,
}

/// What such a server says in its reset (section 3.6).
const RESEND_WRAPPED_KEY: [u8; 6] = [0, 1, 0, 2, 0, 1];

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
        let resets = matches!(Opcode::of(*first), Opcode::HardResetClientV2 | Opcode::HardResetClientV3);
        if resets && !self.client.as_ref().is_some_and(|client| client.fits(datagram, now)) {
            self.take_reset(datagram, now);
        }
        if Opcode::of(*first) == Opcode::SoftResetV1 {
            self.answer_soft_reset(datagram, now);
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
        self.client.as_ref()?.channel.due()
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

    /// Sends an inner packet to the client, if keys are there. Whether the new key or the old one seals is OpenVPN's
    /// rule: the old one for `patience` after the new one was negotiated, unless the client has used that.
    pub fn send_packet(&mut self, inner: &[u8], patience: Duration, now: Moment) {
        let Some(client) = &mut self.client else { return };
        self.outbox.extend(client.keys.seal(inner, patience, now));
    }

    /// Begins a renegotiation, where none is on.
    pub fn renegotiate(&mut self, now: Moment) {
        let Some(client) = self.client.as_mut().filter(|client| client.is_established()) else { return };
        client.begin_renewal((self.accept)(), now);
        self.flush(now);
    }

    /// Takes other logins from now on.
    pub fn set_login(&mut self, login: Login) {
        self.config.login = login;
    }

    /// How many key exchange messages the client has sent in this session.
    #[must_use]
    pub fn exchanges(&self) -> u8 {
        self.client.as_ref().map_or(0, |client| client.exchanges)
    }

    /// Forgets the client, as a killed server does.
    pub fn forget(&mut self) {
        self.client = None;
        self.outbox.clear();
    }

    fn take_reset(&mut self, datagram: &[u8], now: Moment) {
        let wrappers = Wrappers::new(&self.config.wrap, Side::Server, self.wall);
        let Ok(unwrapped) = wrappers.unwrap(datagram, now) else { return };
        self.sessions += 1;
        let own = SessionId::new((self.sessions | 0x5e55_0000_0000_0000).to_be_bytes());
        let Some(own) = own else { return };
        let mut client = Client {
            wrappers,
            own,
            peer: unwrapped.head().session,
            channel: Channel::first((self.accept)()),
            exchanged: false,
            message: None,
            keys: KeyRing::default(),
            pushed: false,
            failed: false,
            exchanges: 0,
            wants_key: matches!(self.config.wrap, Wrap::TlsCryptV2 { .. }),
        };
        client.channel.answer_reset(if client.wants_key { &RESEND_WRAPPED_KEY } else { &[] }, now);
        self.client = Some(client);
    }

    fn answer_soft_reset(&mut self, datagram: &[u8], now: Moment) {
        let Some(client) = self.client.as_mut().filter(|client| client.is_established()) else { return };
        let next = client.channel.key_id().next();
        let asked = client.wrappers.unwrap(datagram, now).is_ok_and(|unwrapped| {
            let head = unwrapped.head();
            head.key_id == next && head.session == client.peer
        });
        if asked {
            client.begin_renewal((self.accept)(), now);
        }
    }

    fn take_control(&mut self, datagram: &[u8], now: Moment) {
        let Some(client) = &mut self.client else { return };
        for payload in client.take_packet(datagram, now) {
            let read = client.channel.read(&payload);
            client.failed |= read.is_err();
            client.channel.collect();
            while let Some(record) = client.channel.record() {
                take_record(client, &self.config, &mut self.said, &record, now);
            }
        }
    }

    fn take_data(&mut self, datagram: &[u8], now: Moment) {
        let Some(client) = &mut self.client else { return };
        // As OpenVPN's server, whose key is made when all that it said has arrived.
        let newest = client.channel.is_quiet();
        self.packets.extend(client.keys.open(datagram, newest, now));
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
        match self.wrappers.unwrap(datagram, now) {
            Ok(unwrapped) => unwrapped.head().session == self.peer,
            Err(_) => ControlHead::parse(datagram).is_ok_and(|(head, _)| head.session == self.peer),
        }
    }

    /// Takes acknowledgements and message of a packet that fits; returns the TLS bytes that are in order now.
    fn take_packet(&mut self, datagram: &[u8], now: Moment) -> Vec<Vec<u8>> {
        let Ok(unwrapped) = self.wrappers.unwrap(datagram, now) else { return Vec::new() };
        let Ok(packet) = unwrapped.packet() else { return Vec::new() };
        let for_us = packet.acks.peer().is_none_or(|peer| peer == self.own);
        if packet.head.session != self.peer || packet.head.key_id != self.channel.key_id() || !for_us {
            return Vec::new();
        }
        let is_first = packet.head.key_id == KeyId::FIRST && packet.message == Some(MessageId::RESET.next());
        if self.wants_key && is_first && packet.head.opcode != Opcode::ControlWkcV1 {
            return Vec::new();
        }
        self.wrappers.accept(&unwrapped, now);
        let mut payloads = self.channel.take(&packet, now);
        payloads.retain(|payload| !payload.is_empty());
        payloads
    }

    /// Whether a renegotiation may begin: all of the last one has arrived.
    fn is_established(&self) -> bool {
        self.exchanged && self.channel.is_quiet()
    }

    fn begin_renewal(&mut self, tls: Box<dyn Tls>, now: Moment) {
        self.channel = self.channel.next(tls);
        self.exchanged = false;
        self.channel.send_reset(Opcode::SoftResetV1, now);
        self.keys.forget_older();
    }

    fn say(&mut self, text: &str) {
        let mut record = text.as_bytes().to_vec();
        record.push(0);
        self.write(&record);
    }

    fn write(&mut self, record: &[u8]) {
        // A test whose TLS cannot write sees nothing arrive.
        let _ = self.channel.write(record);
    }

    /// Pushes once, and makes the first keys.
    fn push(&mut self, config: &TestServerConfig, now: Moment) {
        if self.pushed {
            return;
        }
        self.pushed = true;
        for part in &config.push {
            self.say(part);
        }
        if config.push.iter().any(|part| part.contains("dyn-tls-crypt")) {
            // A test whose TLS cannot export sees no renegotiation.
            let _ = self.wrappers.make_dynamic(self.channel.tls(), &config.wrap, Side::Server, WallTime::from_unix(9));
        }
        self.make_keys(config, now);
    }

    fn make_keys(&mut self, config: &TestServerConfig, now: Moment) {
        let (Some(block), Some(peer_id)) = (self.key_block(config), PeerId::new(config.peer_id)) else { return };
        self.keys.add(&block, config.cipher, self.channel.key_id(), peer_id, now);
    }

    fn key_block(&self, config: &TestServerConfig) -> Option<KeyBlock> {
        if config.exporter {
            return KeyBlock::export(self.channel.tls()).ok();
        }
        let randoms = self.message.as_ref()?.randoms.as_slice();
        let (pre_master, rest) = randoms.split_first_chunk::<48>()?;
        let (random1, rest) = rest.split_first_chunk()?;
        let source = KeySource { pre_master: (*pre_master).into(), random1: *random1, random2: *rest.first_chunk()? };
        let server = ServerMessage { random1: self.random(1), random2: self.random(2), options: Vec::new() };
        Some(KeyBlock::derive(&source, self.peer, &server, self.own))
    }

    /// The server's randoms: others in each negotiation.
    const fn random(&self, which: u8) -> [u8; 32] {
        let mut random = [which; 32];
        random[0] = self.channel.key_id().get();
        random[1] = self.exchanges;
        random
    }

    fn flush(&mut self, outbox: &mut VecDeque<Vec<u8>>, now: Moment) {
        let mut wire =
            Wire { wrappers: &mut self.wrappers, own: self.own, peer: Some(self.peer), ipv6_outside: false, outbox };
        self.channel.flush(&mut wire, now);
    }
}

/// The key exchange message first, then control strings.
fn take_record(client: &mut Client, config: &TestServerConfig, said: &mut Vec<String>, record: &[u8], now: Moment) {
    if !client.exchanged {
        let Ok(message) = ReceivedClientMessage::parse(record) else { return };
        return take_login(client, config, message, now);
    }
    for text in strings(record) {
        said.push(String::from_utf8_lossy(text).into_owned());
        if text == b"PUSH_REQUEST" && may_log_in(config, client.message.as_ref()) {
            client.push(config, now);
        }
    }
}

fn take_login(client: &mut Client, config: &TestServerConfig, message: ReceivedClientMessage, now: Moment) {
    client.exchanges = client.exchanges.saturating_add(1);
    client.write(&emit_server_message(&client.random(1), &client.random(2), &config.options));
    client.exchanged = true;
    client.message = Some(message);
    let renewal = client.channel.key_id() != KeyId::FIRST;
    match &config.login {
        Login::Any | Login::Only(_) if may_log_in(config, client.message.as_ref()) => {
            if renewal {
                client.make_keys(config, now);
            } else if config.unasked_push {
                client.push(config, now);
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
