//! A server of the arena: the real server half of the protocol with an owner that does as a script says, and a simple data
//! path. An honest one answers logins with its push, pings, and hands on what its client sends. It judges nothing.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_proto::peer::ScriptedAcceptor;
use mrvpn_proto::server::{
    ClientId, Forged, Push, Server, ServerConfig, ServerData, ServerEvent, ServerTransport, ServerWrap,
};
use mrvpn_proto::{PING, is_data};

use crate::sim::apps::packet;
use crate::sim::world::machine::WALL;

/// How it answers a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// With its push.
    Admit,
    /// With these words.
    Refuse(String),
    /// With nothing.
    Silence,
}

/// A server.
pub(crate) struct Far {
    pub(crate) server: Server,
    /// It says nothing and hears nothing.
    pub(crate) off: bool,
    pub(crate) answer: Answer,
    /// What it pushes.
    pub(crate) push: Push,
    /// Its pings come so often.
    pub(crate) ping: Duration,
    next_ping: Moment,
    data: BTreeMap<ClientId, ServerData>,
    /// Its newest client.
    pub(crate) client: Option<ClientId>,
    packets: VecDeque<Vec<u8>>,
    /// Clients so far, and logins; each login's password.
    pub(crate) begun: u32,
    pub(crate) passwords: Vec<String>,
    /// Bytes that came and went, before any client was let in.
    pub(crate) came_up: bool,
}

impl Far {
    pub(crate) fn new(number: u8, wrap: ServerWrap, push: Push, now: Moment) -> Self {
        let config = ServerConfig {
            renewal: None,
            ping_restart: None,
            resets: None,
            handshake: Duration::from_secs(3_600),
            ..ServerConfig::new(wrap, ServerTransport::Datagram)
        };
        let acceptor = Arc::new(ScriptedAcceptor::new(u64::from(number) << 32));
        Self {
            server: Server::new(config, acceptor, [number; 32], now, WALL),
            off: false,
            answer: Answer::Admit,
            push,
            ping: Duration::from_secs(5),
            next_ping: now,
            data: BTreeMap::new(),
            client: None,
            packets: VecDeque::new(),
            begun: 0,
            passwords: Vec::new(),
            came_up: false,
        }
    }

    /// Takes a datagram.
    pub(crate) fn arrive(&mut self, from: SocketAddr, mut datagram: Vec<u8>, now: Moment) {
        if self.off {
            return;
        }
        if !datagram.first().is_some_and(|first| is_data(*first)) {
            self.server.handle_datagram(from, &mut datagram, now);
            return self.take_events(now);
        }
        // A script may push any peer id: the client whose key fits is meant.
        for (id, data) in self.data.iter_mut().rev() {
            if let Ok(packet) = data.open(&datagram, now) {
                self.server.heard(*id, now);
                if packet::is_packet(&packet) {
                    self.packets.push_back(packet);
                }
                return;
            }
        }
    }

    /// Does what is due.
    pub(crate) fn pass_time(&mut self, now: Moment) {
        self.server.handle_timeout(now);
        self.take_events(now);
        if self.next_ping <= now {
            self.next_ping = now + self.ping;
            self.send(&PING, now);
        }
    }

    /// When something is due.
    pub(crate) fn poll_timeout(&self) -> Option<Moment> {
        self.server.poll_timeout().map(|(at, _)| at).into_iter().chain([self.next_ping]).min()
    }

    /// The next datagram, and where to.
    pub(crate) fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        std::iter::from_fn(|| self.server.poll_transmit()).find(|_| !self.off)
    }

    /// The next packet of its client.
    pub(crate) fn poll_packet(&mut self) -> Option<Vec<u8>> {
        self.packets.pop_front()
    }

    /// Sends anything as an inner packet to its newest client with a key.
    pub(crate) fn send(&mut self, inner: &[u8], now: Moment) {
        let Some((id, data)) = self.data.iter_mut().next_back() else { return };
        if let Ok(datagram) = data.seal(inner, now) {
            self.server.forge_datagram(*id, datagram);
        }
    }

    /// Seals a packet without sending it.
    pub(crate) fn seal(&mut self, inner: &[u8], now: Moment) -> Option<Vec<u8>> {
        self.data.values_mut().next_back()?.seal(inner, now).ok()
    }

    /// Says anything in the control channel, with a NUL behind it.
    pub(crate) fn say(&mut self, text: &[u8], now: Moment) {
        if let Some(client) = self.client {
            self.server.say(client, text, now);
        }
    }

    /// Sends any application data.
    pub(crate) fn record(&mut self, record: &[u8], now: Moment) {
        if let Some(client) = self.client {
            self.server.send_record(client, record, now);
        }
    }

    /// Puts any bytes into the TLS stream.
    pub(crate) fn tls(&mut self, bytes: &[u8], now: Moment) {
        if let Some(client) = self.client {
            self.server.send_tls(client, bytes, now);
        }
    }

    /// Sends a forged control packet.
    pub(crate) fn forge(&mut self, forged: &Forged) {
        if let Some(client) = self.client {
            self.server.forge(client, forged);
        }
    }

    /// Begins a renegotiation.
    pub(crate) fn renegotiate(&mut self, now: Moment) {
        if let Some(client) = self.client {
            self.server.renegotiate(client, now);
        }
    }

    fn take_events(&mut self, now: Moment) {
        while let Some((id, event)) = self.server.poll_event() {
            match event {
                ServerEvent::Began { .. } => {
                    self.begun += 1;
                    (self.client, self.came_up) = (Some(id), false);
                }
                ServerEvent::Login(login) => {
                    self.passwords.push(login.password.expose().clone());
                    match self.answer.clone() {
                        Answer::Admit => self.server.admit(id, self.push.clone(), now),
                        Answer::Refuse(text) => self.server.refuse(id, &text, now),
                        Answer::Silence => {}
                    }
                }
                ServerEvent::Keys(keys) => self.data.entry(id).or_default().install(*keys, now),
                ServerEvent::Retire(key) => self.data.entry(id).or_default().retire(key),
                ServerEvent::Up => self.came_up = true,
                ServerEvent::Gone(_) => {
                    self.data.remove(&id);
                    self.client = self.client.filter(|client| *client != id);
                }
                ServerEvent::ExitNotify | ServerEvent::Said(_) => {}
            }
        }
    }
}
