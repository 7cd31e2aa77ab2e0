//! A whole engine on a table: a [`Fleet`], one [`Lane`], scripted servers, and clock, TUN queue, sockets and host made by
//! hand. No thread, no runtime, no kernel: what the driver does, [`Table::settle`] does here.

#![expect(clippy::unwrap_used, reason = "a test helper: what fails here fails the test")]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_engine::fleet::Counted;
use mrvpn_engine::lane::{Counters, Lane, LaneCommand, LaneIo, LaneReport, ReceiveBatch, SocketError, Train};
use mrvpn_engine::status::{ClockPair, Status};
use mrvpn_engine::tunnel::{Connector, Tunnel};
use mrvpn_engine::{
    Ask, Attempt, EngineConfig, EventKind, Fleet, Memory, Refused, Reloaded, Request, TunnelConfig, TunnelVerb,
};
use mrvpn_netplan::model::{ModelHost, ModelQueue};
use mrvpn_netplan::{HostFacts, Plan, Sessions};
use mrvpn_profile::config::{Accept, Ports};
use mrvpn_profile::{Credentials, Secret, ovpn};
use mrvpn_proto::peer::{Login, ScriptedConnector, ScriptedTls, TestServer, TestServerConfig};
use mrvpn_proto::{PING, is_data};
use mrvpn_router::{Attachment, Offload, TunnelId};

/// The first tunnel: its server assigns 10.100.0.2/16.
pub(crate) const UK: TunnelId = TunnelId::new(0);
/// The second: 10.101.0.2/16.
pub(crate) const FR: TunnelId = TunnelId::new(1);
/// How long a server seals with the old key after a renewal.
const PATIENCE: Duration = Duration::from_secs(2);
/// The UDP port of this host that both tunnels accept.
pub(crate) const ACCEPTED: u16 = 51_413;
/// The anchor.
pub(crate) const ANCHOR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

const WALL: WallTime = WallTime::from_unix(1_800_000_000);

/// Where a tunnel's socket is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Socket {
    Closed,
    WithSession(Attempt),
    WithLane(Attempt),
}

/// What an engine begins with; the servers are on the table already.
pub(crate) struct Start {
    pub(crate) config: EngineConfig,
    pub(crate) connectors: Vec<Connector>,
    pub(crate) memory: Memory,
    pub(crate) facts: HostFacts,
    pub(crate) sessions: Sessions,
}

impl Start {
    /// An engine that knows nothing but its configuration.
    pub(crate) fn of(config: EngineConfig) -> Self {
        Self {
            connectors: connectors(&config),
            config,
            memory: Memory::default(),
            facts: HostFacts::default(),
            sessions: Sessions::default(),
        }
    }
}

/// Everything.
pub(crate) struct Table {
    pub(crate) fleet: Fleet,
    /// The server at place n has the address 192.0.2.(n + 1).
    pub(crate) servers: Vec<TestServer>,
    pub(crate) host: ModelHost,
    /// Servers that are switched off say nothing.
    pub(crate) off: Vec<bool>,
    /// Control packets in a hundred that are lost, each way. Data has a wire of its own that loses nothing, so that
    /// every packet which does not arrive was lost by the engine.
    pub(crate) loss: u64,
    chance: u64,
    pub(crate) now: Moment,
    /// What the next engine would know.
    pub(crate) memory: Memory,
    /// What happened.
    pub(crate) events: Vec<EventKind>,
    /// What was asked for, in order.
    pub(crate) asked: Vec<Asked>,
    /// The plan that stands.
    pub(crate) applied: Plan,
    lane: Lane,
    counters: Arc<Counters>,
    io: TableIo,
    sockets: BTreeMap<TunnelId, Socket>,
    next_ping: Moment,
}

/// What was asked for, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Tunnel(TunnelId, &'static str),
    Policy,
    Remember,
    Plan,
}

#[derive(Default)]
struct TableIo {
    queue: ModelQueue,
    arrived: BTreeMap<TunnelId, VecDeque<Vec<u8>>>,
    /// The place of each tunnel's server.
    routes: BTreeMap<TunnelId, usize>,
    /// To which server.
    sent: Vec<(usize, Vec<u8>)>,
}

impl TableIo {
    fn post(&mut self, tunnel: TunnelId, datagram: Vec<u8>) {
        self.sent.push((self.routes[&tunnel], datagram));
    }
}

impl LaneIo for TableIo {
    type Queue = ModelQueue;

    fn queue(&mut self) -> &mut ModelQueue {
        &mut self.queue
    }

    fn ready(&mut self, tunnels: &mut Vec<TunnelId>) -> bool {
        tunnels.extend(self.arrived.iter().filter(|(_, waiting)| !waiting.is_empty()).map(|(tunnel, _)| *tunnel));
        !self.queue.incoming.is_empty()
    }

    fn receive(&mut self, tunnel: TunnelId, into: &mut ReceiveBatch) -> Result<usize, SocketError> {
        let Some(waiting) = self.arrived.get_mut(&tunnel) else { return Ok(0) };
        while let Some(datagram) = waiting.front()
            && into.push(datagram)
        {
            waiting.pop_front();
        }
        Ok(into.count())
    }

    fn send(&mut self, tunnel: TunnelId, train: &Train<'_>) -> Result<(), SocketError> {
        train.datagrams().for_each(|datagram| self.post(tunnel, datagram.to_vec()));
        Ok(())
    }
}

impl Table {
    /// Two tunnels of one account whose servers take these logins.
    pub(crate) fn new(logins: [Login; 2]) -> Self {
        Self::with_lines(logins, "")
    }

    /// The same with more lines in both profiles.
    pub(crate) fn with_lines(logins: [Login; 2], lines: &str) -> Self {
        let mut config = EngineConfig::new();
        config.tunnels = vec![tunnel("uk", 0, lines), tunnel("fr", 1, lines)];
        let servers = logins.into_iter().enumerate().map(|(place, login)| server(place, login, "")).collect();
        Self::start(Start::of(config), servers)
    }

    /// An engine before these servers.
    pub(crate) fn start(start: Start, servers: Vec<TestServer>) -> Self {
        let off = vec![false; servers.len()];
        Self::begin(start, servers, off, Moment::from_nanos(1_000_000_000))
    }

    fn begin(start: Start, servers: Vec<TestServer>, off: Vec<bool>, now: Moment) -> Self {
        let Start { config, connectors, memory, facts, sessions } = start;
        let scope = config.scope.clone();
        let fleet = Fleet::with_connectors(config, connectors, memory.clone(), facts, sessions, [3; 32], now).unwrap();
        let lane = Lane::new([5; 32], Arc::clone(fleet.policy()), Attachment::Rules);
        let mut table = Self {
            counters: lane.counters(),
            fleet,
            off,
            servers,
            host: ModelHost::default(),
            loss: 0,
            chance: 1,
            now,
            memory,
            events: Vec::new(),
            asked: Vec::new(),
            applied: Plan::empty(&scope),
            lane,
            io: TableIo::default(),
            sockets: BTreeMap::new(),
            next_ping: now,
        };
        table.fleet.handle_clocks(ClockPair { moment: now, wall: WALL });
        table.host.devices.insert(scope.device);
        table.settle();
        table
    }

    /// The engine is killed and another begins by what was remembered; its servers that are switched off stay so.
    pub(crate) fn restart(self, mut start: Start) -> Self {
        start.memory = self.memory;
        let (mut servers, off) = (self.servers, self.off);
        servers.iter_mut().for_each(TestServer::forget);
        Self::begin(start, servers, off, self.now + Duration::from_secs(1))
    }

    /// Another configuration, its TLS engines scripted.
    pub(crate) fn reload(&mut self, config: EngineConfig) -> Result<Reloaded, Refused> {
        let connectors = connectors(&config);
        let outcome = self.fleet.reload(config, Some(connectors), self.now);
        self.settle();
        outcome
    }

    /// The user does something to one tunnel.
    pub(crate) fn verb(&mut self, name: &str, verb: TunnelVerb) -> Result<String, Refused> {
        let outcome = self.fleet.tunnel_verb(name, verb, self.now);
        self.settle();
        outcome
    }

    /// The host changes.
    pub(crate) fn facts(&mut self, facts: HostFacts) {
        self.fleet.handle_facts(facts, self.now);
        self.settle();
    }

    /// What was asked for since it was last asked.
    pub(crate) fn take_asked(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.asked)
    }

    /// Lets time pass, from deadline to deadline.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let server = self.servers.iter().filter_map(TestServer::poll_timeout).chain([self.next_ping]);
            let due = self.fleet.poll_timeout().into_iter().chain(self.lane.poll_timeout()).chain(server).min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = due.max(self.now + Duration::from_micros(1));
            self.ping();
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    /// A program sends a packet into the interface; whatever comes back from the engine at once is returned.
    pub(crate) fn send(&mut self, packet: Vec<u8>) -> Vec<Vec<u8>> {
        self.io.queue.incoming.push_back((packet, Offload::NONE));
        self.settle();
        self.received()
    }

    /// What the interface received since it was last asked.
    pub(crate) fn received(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.io.queue.written).into_iter().map(|(packet, _)| packet).collect()
    }

    /// The inner packets, pings left out, that a server received since it was last asked.
    pub(crate) fn at_server(&mut self, tunnel: TunnelId) -> Vec<Vec<u8>> {
        self.at_place(tunnel.index())
    }

    /// The same of the server at a place.
    pub(crate) fn at_place(&mut self, place: usize) -> Vec<Vec<u8>> {
        let packets = std::iter::from_fn(|| self.servers[place].poll_packet());
        packets.filter(|packet| packet[..] != PING).collect()
    }

    /// A server sends an inner packet.
    pub(crate) fn answer(&mut self, tunnel: TunnelId, inner: &[u8]) {
        self.answer_from(tunnel.index(), inner);
    }

    /// The same of the server at a place.
    pub(crate) fn answer_from(&mut self, place: usize, inner: &[u8]) {
        self.servers[place].send_packet(inner, PATIENCE, self.now);
        self.settle();
    }

    /// The lane finds the keys of a tunnel worn.
    pub(crate) fn wear(&mut self, tunnel: TunnelId) {
        if let Some(Socket::WithLane(attempt)) = self.sockets.get(&tunnel).copied() {
            self.fleet.handle_key_worn(tunnel, attempt, self.now);
        }
    }

    /// The status document.
    pub(crate) fn status(&self) -> Status {
        let clocks = ClockPair { moment: self.now, wall: WALL };
        self.fleet.status(clocks, &|_| Counted::default())
    }

    /// The state of each tunnel.
    pub(crate) fn states(&self) -> Vec<String> {
        self.status().tunnels.into_iter().map(|tunnel| tunnel.state).collect()
    }

    /// Each server pings once a second.
    fn ping(&mut self) {
        if self.next_ping <= self.now {
            self.next_ping = self.now + Duration::from_secs(1);
            for server in &mut self.servers {
                server.send_packet(&PING, PATIENCE, self.now);
            }
        }
    }

    /// Carries messages until nobody has anything to say.
    fn settle(&mut self) {
        for tunnel in self.fleet.tunnels().map(Tunnel::id).collect::<Vec<_>>() {
            if let Some(at) = self.counters.last_heard(tunnel) {
                self.fleet.heard(tunnel, at);
            }
            self.fleet.carried(tunnel, self.counters.carried(tunnel), self.now);
        }
        self.fleet.handle_timeout(self.now);
        for server in &mut self.servers {
            server.handle_timeout(self.now);
        }
        for _ in 0..10_000 {
            let asked = self.carry_out();
            let moved = self.carry_datagrams();
            let turned = self.turn();
            if !asked && !moved && !turned {
                return;
            }
        }
        panic!("the engine does not come to rest");
    }

    fn carry_out(&mut self) -> bool {
        let mut any = false;
        while let Some(request) = self.fleet.poll_request() {
            any = true;
            self.note(&request);
            match request {
                Request::Policy(policy) => self.lane.handle(LaneCommand::Policy(policy), self.now),
                Request::Remember(memory) => self.memory = memory,
                Request::Event(event) => self.events.push(event),
                Request::Plan(plan) => {
                    let steps = mrvpn_netplan::diff(&self.applied, &plan);
                    mrvpn_netplan::apply(&mut self.host, &steps).unwrap();
                    self.applied = plan;
                    self.fleet.handle_planned(Ok(()), self.now);
                }
                Request::Tunnel { tunnel, ask } => self.serve(tunnel, ask),
            }
        }
        any
    }

    fn note(&mut self, request: &Request) {
        let asked = match request {
            Request::Tunnel { tunnel, ask } => Asked::Tunnel(*tunnel, ask_name(ask)),
            Request::Policy(_) => Asked::Policy,
            Request::Remember(_) => Asked::Remember,
            Request::Plan(_) => Asked::Plan,
            Request::Event(_) => return,
        };
        self.asked.push(asked);
    }

    fn serve(&mut self, tunnel: TunnelId, ask: Ask) {
        match ask {
            Ask::Fresh => self.lane.handle(LaneCommand::Forget { tunnel }, self.now),
            Ask::Resolve { .. } => panic!("the remotes are addresses"),
            Ask::Open { attempt, remote, .. } => {
                let std::net::IpAddr::V4(ip) = remote.ip() else { panic!("{remote}") };
                self.io.routes.insert(tunnel, usize::from(ip.octets()[3]) - 1);
                self.sockets.insert(tunnel, Socket::WithSession(attempt));
                self.fleet.handle_opened(tunnel, attempt, Ok(()), WALL, self.now);
            }
            Ask::Transmit { attempt, datagram } => match self.socket(tunnel) {
                Socket::WithSession(open) if open == attempt => self.io.post(tunnel, datagram),
                Socket::WithLane(open) if open == attempt => {
                    self.lane.handle(LaneCommand::Control { tunnel, datagram }, self.now);
                }
                Socket::WithSession(_) | Socket::WithLane(_) | Socket::Closed => {
                    panic!("{tunnel} sends without a socket")
                }
            },
            Ask::Adopt { attempt, keys, ping } => {
                self.sockets.insert(tunnel, Socket::WithLane(attempt));
                self.lane.handle(LaneCommand::Adopt { tunnel, attempt, keys, ping }, self.now);
            }
            Ask::Install { keys } => self.lane.handle(LaneCommand::Install { tunnel, keys }, self.now),
            Ask::Retire { key_id } => self.lane.handle(LaneCommand::Retire { tunnel, key_id }, self.now),
            Ask::ExitNotify => self.lane.handle(LaneCommand::ExitNotify { tunnel }, self.now),
            Ask::Drop { .. } | Ask::Close => {
                self.sockets.insert(tunnel, Socket::Closed);
                self.lane.handle(LaneCommand::Release { tunnel }, self.now);
            }
        }
    }

    fn socket(&self, tunnel: TunnelId) -> Socket {
        self.sockets.get(&tunnel).copied().unwrap_or(Socket::Closed)
    }

    /// Whether this packet is lost on its way.
    fn is_lost(&mut self, datagram: &[u8]) -> bool {
        if datagram.first().is_some_and(|first| is_data(*first)) {
            return false;
        }
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % 100 < self.loss
    }

    fn carry_datagrams(&mut self) -> bool {
        let mut any = false;
        for (place, datagram) in std::mem::take(&mut self.io.sent) {
            any = true;
            if !self.off[place] && !self.is_lost(&datagram) {
                self.servers[place].handle_datagram(&datagram, self.now);
            }
        }
        for (tunnel, place) in self.io.routes.clone() {
            while let Some(datagram) = self.servers[place].poll_transmit() {
                any = true;
                if self.off[place] || self.is_lost(&datagram) {
                    continue;
                }
                match self.socket(tunnel) {
                    Socket::WithSession(attempt) => {
                        self.fleet.handle_datagram(tunnel, attempt, &datagram, self.now);
                    }
                    Socket::WithLane(_) => self.io.arrived.entry(tunnel).or_default().push_back(datagram),
                    Socket::Closed => {}
                }
            }
        }
        any
    }

    fn turn(&mut self) -> bool {
        let turn = self.lane.turn(&mut self.io, self.now);
        let mut any = turn.busy || turn.read > 0 || turn.received > 0;
        while let Some(report) = self.lane.poll_report() {
            any = true;
            match report {
                LaneReport::Control { tunnel, datagram } => {
                    self.fleet.handle_control(tunnel, &datagram, self.now);
                }
                LaneReport::PeerExit { tunnel, attempt } => self.fleet.handle_peer_exit(tunnel, attempt, self.now),
                LaneReport::KeyWorn { tunnel, attempt } => self.fleet.handle_key_worn(tunnel, attempt, self.now),
                LaneReport::Dropping => {}
                LaneReport::SocketError { .. }
                | LaneReport::StreamEnded { .. }
                | LaneReport::Loop { .. }
                | LaneReport::Flows { .. }
                | LaneReport::QueueDown
                | LaneReport::QueueGone => panic!("{report:?}"),
            }
        }
        any || !self.io.sent.is_empty()
    }
}

/// The server at `place`: it assigns 10.(100 + place).0.2/16 and pushes a route to 203.0.113.place, and more.
pub(crate) fn server(place: usize, login: Login, more: &str) -> TestServer {
    let mut config = TestServerConfig::new(mrvpn_profile::Wrap::None);
    config.login = login;
    let net = 100 + place;
    config.push = vec![format!(
        "PUSH_REPLY,route-gateway 10.{net}.0.1,topology subnet,ping 1,ping-restart 4,ifconfig 10.{net}.0.2 \
         255.255.0.0,route 203.0.113.{place},peer-id 7,cipher AES-256-GCM,protocol-flags cc-exit tls-ekm,tun-mtu \
         1500{more}"
    )];
    test_server(config, 100 * (1 + place as u64))
}

/// A server whose randoms follow from `seed`.
pub(crate) fn test_server(config: TestServerConfig, mut seed: u64) -> TestServer {
    let accept = move || {
        seed += 1;
        Box::new(ScriptedTls::server(seed)) as _
    };
    TestServer::new(config, Box::new(accept), WALL)
}

/// A tunnel to the server at `place`.
pub(crate) fn tunnel(name: &str, place: usize, lines: &str) -> TunnelConfig {
    let remote = format!("192.0.2.{}", place + 1);
    let text =
        format!("client\ndev tun\nremote {remote}\nremote-cert-tls server\nauth-user-pass\n{lines}\n<ca>\n{CA}</ca>\n");
    let parsed = ovpn::parse(text.as_bytes(), &mut ovpn::NoFiles).unwrap();
    TunnelConfig {
        name: name.to_owned(),
        file: format!("{name}.ovpn"),
        profile: parsed.profile,
        credentials: Some(Credentials { user: "ann".to_owned(), password: Secret::new("secret".to_owned()) }),
        default: false,
        strict_server: false,
        accept: vec![Accept { proto: 17, ports: Ports { first: ACCEPTED, last: ACCEPTED } }],
        bypass: Vec::new(),
        warnings: Vec::new(),
    }
}

/// Scripted TLS engines, one a tunnel.
pub(crate) fn connectors(config: &EngineConfig) -> Vec<Connector> {
    let numbered = (1_u64..).zip(&config.tunnels);
    numbered.map(|(seed, _)| Ok(Arc::new(ScriptedConnector { seed, refusal: None }) as _)).collect()
}

/// The login that [`tunnel`] gives.
pub(crate) fn good() -> Login {
    Login::Only(Credentials { user: "ann".to_owned(), password: Secret::new("secret".to_owned()) })
}

fn ask_name(ask: &Ask) -> &'static str {
    match ask {
        Ask::Fresh => "fresh",
        Ask::Resolve { .. } => "resolve",
        Ask::Open { .. } => "open",
        Ask::Transmit { .. } => "transmit",
        Ask::Adopt { .. } => "adopt",
        Ask::Install { .. } => "install",
        Ask::Retire { .. } => "retire",
        Ask::ExitNotify => "exit-notify",
        Ask::Drop { .. } => "drop",
        Ask::Close => "close",
    }
}

/// A certificate in form only: the scripted TLS looks at none.
const CA: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

/// A UDP packet from and to port 5000.
pub(crate) fn udp(source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(28 + payload.len()).unwrap();
    let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0];
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend([0x13, 0x88, 0x13, 0x88]);
    packet.extend((length - 20).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    let sum = ipv4_sum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// The answer to a UDP packet: both ends exchanged.
pub(crate) fn reply(packet: &[u8]) -> Vec<u8> {
    let mut reply = packet.to_vec();
    reply[12..16].copy_from_slice(&packet[16..20]);
    reply[16..20].copy_from_slice(&packet[12..16]);
    reply[20..22].copy_from_slice(&packet[22..24]);
    reply[22..24].copy_from_slice(&packet[20..22]);
    reply
}

/// RFC 1071 over a header, by the book.
fn ipv4_sum(header: &[u8]) -> u16 {
    let mut sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// Source and destination of an IPv4 packet.
pub(crate) fn ends(packet: &[u8]) -> (Ipv4Addr, Ipv4Addr) {
    let at = |from: usize| Ipv4Addr::new(packet[from], packet[from + 1], packet[from + 2], packet[from + 3]);
    (at(12), at(16))
}
