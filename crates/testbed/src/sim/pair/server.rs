//! What stands around the server's half of the protocol in a pair: its owner, who lets clients in and gives each session
//! a lease of its own, and a simple data path. A killed server is replaced by one that knows nothing.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::Assignment;
use mrvpn_proto::server::{
    ClientId, Farewell, Gone, LoginRequest, Push, Server as Protocol, ServerConfig, ServerData, ServerEvent,
    TlsAcceptor,
};
use mrvpn_proto::stream::Framer;
use mrvpn_proto::{Inner, PING, PeerId, is_data};

use super::plan::Plan;
use crate::sim::net::{StreamEvent, StreamId};
use crate::sim::seed::Dice;

/// Where the server listens.
pub(super) const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 1_194);

/// The server of a pair.
pub(super) struct Server {
    config: ServerConfig,
    acceptor: Arc<dyn TlsAcceptor>,
    dice: Dice,
    ping: Duration,
    options: Vec<String>,
    login: Option<String>,
    protocol: Protocol,
    clients: BTreeMap<ClientId, Served>,
    /// Logins that are answered later: when, whose, and whether by yes.
    pending: Vec<(Moment, ClientId, bool)>,
    leases: u32,
    pub(super) refuses: bool,
    pub(super) login_takes: Duration,
    /// It is dead or stopped until then.
    away: Option<Away>,
    waiting: VecDeque<Came>,
    /// Streams of TCP by where they come from, and what came by them.
    streams: BTreeMap<SocketAddr, (StreamId, Framer)>,
    /// Streams that it closes, once what it sends is on its way.
    pub(super) closes: Vec<StreamId>,
    pub(super) outbox: Vec<(SocketAddr, Vec<u8>)>,
    pub(super) news: Vec<News>,
}

enum Came {
    Datagram(SocketAddr, Vec<u8>),
    Stream(StreamId, StreamEvent),
}

#[derive(Clone, Copy, Debug)]
enum Away {
    Dead(Moment),
    Stopped(Moment),
}

/// One session of the client.
#[derive(Debug, Default)]
struct Served {
    /// Where it began.
    from: Option<SocketAddr>,
    data: ServerData,
    lease: u32,
    up: bool,
    last_sent: Moment,
}

/// What happened at the server.
#[derive(Debug)]
pub(super) enum News {
    Login(ClientId, bool),
    Key(ClientId, u8),
    Up(ClientId, u32),
    Packet(u32, Vec<u8>),
    Floated(ClientId),
    Gone(ClientId, Gone),
    /// Something that must not happen: which invariant, and what.
    Wrong(&'static str, String),
}

/// The first address that is given; one more for each lease.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 2);
/// Datagrams that a stopped server's socket holds.
const SOCKET: usize = 400;

/// The lease that an assignment tells; `None` where it is not as a lease is, with this many routes.
pub(super) fn lease_of(assignment: &Assignment, routes: usize) -> Option<u32> {
    let whole = assignment.routes.len() == routes && assignment.skipped.is_empty();
    let address = assignment.ipv4?.address.addr();
    whole.then(|| u32::from(address).checked_sub(u32::from(FIRST))).flatten()
}

impl Server {
    pub(super) fn new(plan: &Plan, acceptor: Arc<dyn TlsAcceptor>, wall: WallTime) -> Self {
        let config = plan.server();
        let mut dice = Dice::of(plan.seed, "server");
        let start = Moment::default();
        Self {
            protocol: Protocol::new(config.clone(), Arc::clone(&acceptor), dice.bytes(), start, wall),
            config,
            acceptor,
            dice,
            ping: plan.ping,
            options: options(plan),
            login: plan.login.then(|| String::from("anna")),
            clients: BTreeMap::new(),
            pending: Vec::new(),
            leases: 0,
            refuses: false,
            login_takes: Duration::ZERO,
            away: None,
            waiting: VecDeque::new(),
            streams: BTreeMap::new(),
            closes: Vec::new(),
            outbox: Vec::new(),
            news: Vec::new(),
        }
    }

    /// The lease of the newest session that is up.
    pub(super) fn lease(&self) -> Option<u32> {
        self.clients.values().filter(|client| client.up).map(|client| client.lease).max()
    }

    /// How many sessions it knows.
    pub(super) fn sessions(&self) -> usize {
        self.protocol.len()
    }

    /// When something is due next.
    pub(super) fn due(&self) -> Option<Moment> {
        if let Some(Away::Dead(until) | Away::Stopped(until)) = self.away {
            return Some(until);
        }
        let pings = self.clients.values().filter(|client| client.up).map(|client| client.last_sent + self.ping);
        let logins = self.pending.iter().map(|(at, ..)| *at);
        self.protocol.poll_timeout().map(|(at, _)| at).into_iter().chain(pings).chain(logins).min()
    }

    /// What the protocol waits for, for complaints.
    pub(super) fn waits_for(&self) -> String {
        format!("{:?}, logins {:?}", self.protocol.poll_timeout(), self.pending)
    }

    pub(super) const fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// Killed: all that it knew is gone.
    pub(super) fn kill(&mut self, until: Moment) {
        self.away = Some(Away::Dead(until));
        self.clients.clear();
        self.pending.clear();
        self.waiting.clear();
        self.streams.clear();
    }

    /// Whether it is dead.
    pub(super) const fn is_dead(&self) -> bool {
        matches!(self.away, Some(Away::Dead(_)))
    }

    /// It does nothing until then, but its socket takes what comes.
    pub(super) fn stop(&mut self, until: Moment) {
        if self.away.is_none() {
            self.away = Some(Away::Stopped(until));
        }
    }

    /// Does all that is due; what came while it was stopped is read first.
    pub(super) fn handle_timeout(&mut self, wall: WallTime, now: Moment) {
        match self.away {
            Some(Away::Dead(until) | Away::Stopped(until)) if now < until => return,
            Some(Away::Dead(_)) => {
                self.away = None;
                let acceptor = Arc::clone(&self.acceptor);
                self.protocol = Protocol::new(self.config.clone(), acceptor, self.dice.bytes(), now, wall);
            }
            Some(Away::Stopped(_)) => {
                self.away = None;
                while let Some(came) = self.waiting.pop_front() {
                    match came {
                        Came::Datagram(from, datagram) => self.receive(from, datagram, now),
                        Came::Stream(id, event) => self.take_stream(id, event, now),
                    }
                }
            }
            None => {}
        }
        if self.protocol.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.protocol.handle_timeout(now);
        }
        self.answer_logins(now);
        self.drain(now);
        self.keep_alive(now);
    }

    /// A datagram came.
    pub(super) fn take(&mut self, from: SocketAddr, datagram: Vec<u8>, now: Moment) {
        match self.away {
            None => {
                self.receive(from, datagram, now);
                self.drain(now);
            }
            Some(Away::Stopped(_)) if self.waiting.len() < SOCKET => {
                self.waiting.push_back(Came::Datagram(from, datagram))
            }
            Some(Away::Stopped(_) | Away::Dead(_)) => {}
        }
    }

    /// Something happened to a stream.
    pub(super) fn take_stream_event(&mut self, id: StreamId, event: StreamEvent, now: Moment) {
        match self.away {
            None => {
                self.take_stream(id, event, now);
                self.drain(now);
            }
            Some(Away::Stopped(_)) => self.waiting.push_back(Came::Stream(id, event)),
            Some(Away::Dead(_)) => {}
        }
    }

    /// The stream by which this address is reached.
    pub(super) fn stream(&self, to: SocketAddr) -> Option<StreamId> {
        self.streams.get(&to).map(|(id, _)| *id)
    }

    fn take_stream(&mut self, id: StreamId, event: StreamEvent, now: Moment) {
        let from = self.streams.iter().find(|(_, (own, _))| *own == id).map(|(from, _)| *from);
        match (event, from) {
            (StreamEvent::Accepted { from, .. }, _) => {
                self.streams.insert(from, (id, Framer::new(0)));
            }
            (StreamEvent::Bytes(_, bytes), Some(from)) => {
                let Some((_, framer)) = self.streams.get_mut(&from) else { return };
                let mut packets = Vec::new();
                let whole = framer.push(&bytes) == bytes.len();
                while let Ok(Some(place)) = framer.next_packet() {
                    packets.push(framer.packet(place).to_vec());
                }
                if !whole || framer.next_packet().is_err() {
                    self.news.push(News::Wrong("I-6", String::from("a stream that is no stream of packets")));
                }
                packets.into_iter().for_each(|packet| self.receive(from, packet, now));
            }
            (StreamEvent::Ended(_), Some(from)) => {
                self.streams.remove(&from);
                self.protocol.closed(from, now);
            }
            (StreamEvent::Connected | StreamEvent::Refused | StreamEvent::Bytes(..) | StreamEvent::Ended(_), _) => {}
        }
    }

    /// Sends an inner packet to the session of this lease.
    pub(super) fn send(&mut self, lease: u32, packet: &[u8], now: Moment) {
        let found = self.clients.iter_mut().find(|(_, client)| client.up && client.lease == lease);
        let Some((id, client)) = found else { return };
        client.last_sent = now;
        // A key that is used up seals nothing more: the client makes another.
        if let (Ok(datagram), Some(to)) = (client.data.seal(packet, now), self.protocol.address(*id)) {
            self.outbox.push((to, datagram));
        }
    }

    pub(super) fn renegotiate(&mut self, now: Moment) {
        for id in self.ids() {
            self.protocol.renegotiate(id, now);
        }
        self.drain(now);
    }

    pub(super) fn send_away(&mut self, farewell: &Farewell, now: Moment) {
        for id in self.ids() {
            self.protocol.disconnect(id, farewell.clone(), now);
        }
        self.drain(now);
    }

    fn ids(&self) -> Vec<ClientId> {
        self.clients.keys().copied().collect()
    }

    fn receive(&mut self, from: SocketAddr, mut datagram: Vec<u8>, now: Moment) {
        if !datagram.first().is_some_and(|first| is_data(*first)) {
            return self.protocol.handle_datagram(from, &mut datagram, now);
        }
        let Some(peer) =
            datagram.first_chunk().and_then(|[_, a, b, c]| PeerId::new(u32::from_be_bytes([0, *a, *b, *c])))
        else {
            return;
        };
        let id = ClientId::from(peer);
        let Some(client) = self.clients.get_mut(&id) else { return };
        let Ok(inner) = client.data.open(&datagram, now) else { return };
        self.protocol.heard(id, now);
        if self.protocol.address(id).is_some_and(|known| known != from) {
            self.protocol.floated(id, from, now);
            self.news.push(News::Floated(id));
        }
        match Inner::of(&inner) {
            Inner::Packet => self.news.push(News::Packet(client.lease, inner)),
            Inner::OccExit => self.protocol.disconnect(id, Farewell::Silent, now),
            Inner::Ping | Inner::Occ => {}
        }
    }

    fn keep_alive(&mut self, now: Moment) {
        let due = self.clients.values().filter(|client| client.up && now >= client.last_sent + self.ping);
        let leases: Vec<u32> = due.map(|client| client.lease).collect();
        for lease in leases {
            self.send(lease, &PING, now);
        }
    }

    /// Takes what the protocol says, until it says nothing more.
    fn drain(&mut self, now: Moment) {
        loop {
            if let Some(sent) = self.protocol.poll_transmit() {
                self.outbox.push(sent);
            } else if let Some((id, event)) = self.protocol.poll_event() {
                self.take_event(id, event, now);
            } else {
                return;
            }
        }
    }

    fn take_event(&mut self, id: ClientId, event: ServerEvent, now: Moment) {
        match event {
            ServerEvent::Began { from } => {
                if self.clients.insert(id, Served { from: Some(from), ..Served::default() }).is_some() {
                    self.news.push(News::Wrong("I-9", format!("two sessions have the number {id}")));
                }
            }
            ServerEvent::Login(request) => self.take_login(id, &request, now),
            ServerEvent::Keys(keys) => {
                self.news.push(News::Key(id, keys.key_id.get()));
                if let Some(client) = self.clients.get_mut(&id) {
                    client.data.install(*keys, now);
                }
            }
            ServerEvent::Retire(key_id) => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.data.retire(key_id);
                }
            }
            ServerEvent::Up => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.up = true;
                    client.last_sent = now;
                    self.news.push(News::Up(id, client.lease));
                }
            }
            ServerEvent::ExitNotify | ServerEvent::Said(_) => {}
            ServerEvent::Gone(why) => {
                let stream = self.clients.remove(&id).and_then(|client| self.streams.remove(&client.from?));
                self.closes.extend(stream.map(|(id, _)| id));
                self.pending.retain(|(_, whose, _)| *whose != id);
                self.news.push(News::Gone(id, why));
            }
        }
    }

    fn take_login(&mut self, id: ClientId, request: &LoginRequest, now: Moment) {
        if let Some(user) = &self.login
            && (request.user != *user || request.password.expose() != "simulated")
        {
            self.news.push(News::Wrong("I-4", format!("a login that nobody sent: {:?}", request.user)));
        }
        self.news.push(News::Login(id, request.renewal));
        let yes = request.renewal || !std::mem::take(&mut self.refuses);
        self.pending.push((now + self.login_takes, id, yes));
        self.answer_logins(now);
    }

    fn answer_logins(&mut self, now: Moment) {
        while let Some(place) = self.pending.iter().position(|(at, ..)| *at <= now) {
            let (_, id, yes) = self.pending.remove(place);
            if yes { self.admit(id, now) } else { self.protocol.refuse(id, "AUTH_FAILED,TEMP:not now", now) }
        }
    }

    /// The first time, with a lease; a renewal changes nothing.
    fn admit(&mut self, id: ClientId, now: Moment) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.data.is_empty() {
            client.lease = self.leases;
            self.leases += 1;
        }
        let address = Ipv4Addr::from(u32::from(FIRST) + client.lease);
        let mut options = self.options.clone();
        options.push(format!("ifconfig {address} 255.248.0.0"));
        self.protocol.admit(id, Push { options, whole: None }, now);
    }
}

/// What is pushed to every client.
fn options(plan: &Plan) -> Vec<String> {
    let (ping, restart) = (plan.ping.as_secs(), plan.client_patience().as_secs());
    let mut options = vec![
        String::from("route-gateway 10.8.0.1"),
        String::from("topology subnet"),
        format!("ping {ping}"),
        format!("ping-restart {restart}"),
    ];
    options.extend((0..plan.routes).map(|net| format!("route 10.99.{net}.0 255.255.255.0")));
    options
}
