//! The server half under a script, for tests of this crate and of those above it: [`crate::server::Server`] with an owner
//! whose answers a test has written down, and one address for all that comes. It is no OpenVPN server: no address pool,
//! no user list. TLS that is none is `scripted_tls.rs`.

mod rustls_server;
mod scripted_tls;

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::{Cipher, Credentials, Wrap};

use crate::key_method::ReceivedClientMessage;
use crate::opcode::is_data;
use crate::server::{
    ClientId, Push, Server, ServerConfig, ServerData, ServerEvent, ServerKey, ServerTransport, ServerWrap, TlsAcceptor,
};
use crate::tls::{Tls, TlsError};

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
    acceptor: Arc<dyn TlsAcceptor>,
    wall: WallTime,
    server: Server,
    /// The client that came last, and what it has said.
    client: Option<Newest>,
    data: BTreeMap<ClientId, ServerData>,
    sessions: u64,
    packets: VecDeque<Vec<u8>>,
    said: Vec<String>,
}

struct Newest {
    id: ClientId,
    message: Option<ReceivedClientMessage>,
    exchanges: u8,
    admitted: bool,
}

/// Where all clients are.
const EVERYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 1_194);

/// The key by which a [`TestServer`] with tls-crypt-v2 opens its clients' keys.
#[must_use]
pub fn server_key() -> ServerKey {
    ServerKey::from_bytes(&[0x5e; ServerKey::LEN])
}

impl TestServer {
    /// A server that makes the TLS of each new negotiation by `accept`.
    #[must_use]
    pub fn new(config: TestServerConfig, accept: MakeTls, wall: WallTime) -> Self {
        let acceptor: Arc<dyn TlsAcceptor> = Arc::new(Accept(Mutex::new(accept)));
        let server = begin(&config, &acceptor, 0, wall);
        Self {
            config,
            acceptor,
            wall,
            server,
            client: None,
            data: BTreeMap::new(),
            sessions: 0,
            packets: VecDeque::new(),
            said: Vec::new(),
        }
    }

    /// Takes any datagram of a client; what does not fit is dropped.
    pub fn handle_datagram(&mut self, datagram: &[u8], now: Moment) {
        if datagram.first().is_some_and(|first| is_data(*first)) {
            return self.take_data(datagram, now);
        }
        self.server.handle_datagram(EVERYWHERE, &mut datagram.to_vec(), now);
        self.take_events(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.server.handle_timeout(now);
        self.take_events(now);
    }

    /// When [`Self::handle_timeout`] is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.server.poll_timeout().map(|(at, _)| at)
    }

    /// The next datagram for the client.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.server.poll_transmit().map(|(_, datagram)| datagram)
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
        self.client.as_ref().is_some_and(|client| client.admitted)
    }

    /// Says a control string, such as `RESTART`.
    pub fn say(&mut self, text: &str, now: Moment) {
        if let Some(client) = &self.client {
            self.server.say(client.id, text.as_bytes(), now);
        }
        self.take_events(now);
    }

    /// Sends application data as it stands, as one record.
    pub fn send_record(&mut self, record: &[u8], now: Moment) {
        if let Some(client) = &self.client {
            self.server.send_record(client.id, record, now);
        }
        self.take_events(now);
    }

    /// Sends an inner packet to the client, if keys are there. Whether the new key or the old one seals is OpenVPN's
    /// rule: the old one for `patience` after the new one was negotiated, unless the client has used that.
    pub fn send_packet(&mut self, inner: &[u8], patience: Duration, now: Moment) {
        let Some((id, data)) = self.data.iter_mut().next_back() else { return };
        if let Ok(datagram) = data.seal_patiently(inner, patience, now) {
            self.server.forge_datagram(*id, datagram);
        }
    }

    /// Begins a renegotiation, where none is on.
    pub fn renegotiate(&mut self, now: Moment) {
        if let Some(client) = &self.client {
            self.server.renegotiate(client.id, now);
        }
        self.take_events(now);
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
        self.server = begin(&self.config, &self.acceptor, self.sessions, self.wall);
        self.client = None;
        self.data.clear();
    }

    fn take_data(&mut self, datagram: &[u8], now: Moment) {
        // All clients have the pushed peer id: the one whose key fits is meant.
        for (id, data) in self.data.iter_mut().rev() {
            if let Ok(packet) = data.open(datagram, now) {
                self.server.heard(*id, now);
                return self.packets.push_back(packet);
            }
        }
    }

    fn take_events(&mut self, now: Moment) {
        while let Some((id, event)) = self.server.poll_event() {
            match event {
                ServerEvent::Began { .. } => {
                    self.sessions += 1;
                    self.client = Some(Newest { id, message: None, exchanges: 0, admitted: false });
                }
                ServerEvent::Login(_) => self.take_login(id, now),
                ServerEvent::Keys(keys) => self.data.entry(id).or_default().install(*keys, now),
                ServerEvent::Retire(key_id) => self.data.entry(id).or_default().retire(key_id),
                ServerEvent::Said(text) => self.take_text(id, text, now),
                ServerEvent::ExitNotify => self.said.push(String::from("EXIT")),
                ServerEvent::Gone(_) => drop(self.data.remove(&id)),
                ServerEvent::Up => {}
            }
        }
    }

    fn take_login(&mut self, id: ClientId, now: Moment) {
        let message = self.server.client_message(id).cloned();
        if let Some(client) = self.client.as_mut().filter(|client| client.id == id) {
            client.exchanges = client.exchanges.saturating_add(1);
            client.message.clone_from(&message);
        }
        match &self.config.login {
            Login::Any | Login::Only(_) if may_log_in(&self.config, message.as_ref()) => self.admit(id, now),
            Login::Any | Login::Only(_) => self.server.refuse(id, "AUTH_FAILED", now),
            Login::Refuse(text) => self.server.say(id, text.as_bytes(), now),
            Login::Silent => {}
        }
    }

    /// One that was refused or not answered may be let in when it asks again.
    fn take_text(&mut self, id: ClientId, text: String, now: Moment) {
        if text == "PUSH_REQUEST" && may_log_in(&self.config, self.server.client_message(id)) {
            self.admit(id, now);
        }
        self.said.push(text);
    }

    fn admit(&mut self, id: ClientId, now: Moment) {
        self.server.admit(id, Push { options: Vec::new(), whole: Some(self.config.push.clone()) }, now);
        if let Some(client) = self.client.as_mut().filter(|client| client.id == id) {
            client.admitted = true;
        }
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

/// A server that ends nothing by itself.
fn begin(config: &TestServerConfig, acceptor: &Arc<dyn TlsAcceptor>, number: u64, wall: WallTime) -> Server {
    let wrap = match &config.wrap {
        Wrap::None => ServerWrap::None,
        Wrap::TlsAuth { key, direction, digest } => {
            ServerWrap::TlsAuth { key: key.clone(), direction: *direction, digest: *digest }
        }
        Wrap::TlsCrypt { key } => ServerWrap::TlsCrypt { key: key.clone() },
        Wrap::TlsCryptV2 { .. } => ServerWrap::TlsCryptV2 { server_key: server_key() },
    };
    let server = ServerConfig {
        ciphers: vec![config.cipher],
        options: config.options.clone(),
        unasked_push: config.unasked_push,
        handshake: Duration::from_secs(86_400),
        renewal: None,
        ping_restart: None,
        resets: None,
        half_open: usize::MAX,
        ..ServerConfig::new(wrap, ServerTransport::Datagram)
    };
    let mut seed = [0x5e; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    Server::new(server, Arc::clone(acceptor), seed, Moment::default(), wall)
}

/// Makes the TLS of the next negotiation.
pub type MakeTls = Box<dyn FnMut() -> Box<dyn Tls> + Send>;

struct Accept(Mutex<MakeTls>);

impl TlsAcceptor for Accept {
    fn accept(&self, _wall: WallTime) -> Result<Box<dyn Tls>, TlsError> {
        let mut accept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((*accept)())
    }
}
