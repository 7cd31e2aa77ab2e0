//! What stands around the client's half of the protocol in a pair: a tunnel in the fewest words. One session after
//! another, each from a fresh port, with its data keys and keepalives; what it sends and what happened waits to be taken.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::Transport;
use mrvpn_proto::stream::Framer;
use mrvpn_proto::{
    EndReason, Established, Event, Inner, OCC_EXIT, PING, Session, SessionConfig, Stage, TlsConnector, is_data,
};

use super::client_keys::ClientKeys;
use super::plan::{DIAL, Plan};
use super::server::lease_of;
use crate::sim::net::{StreamEvent, StreamId};
use crate::sim::seed::Dice;

/// Where the client is; others see it behind address translation.
pub(super) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// The client of a pair.
pub(super) struct Client {
    config: SessionConfig,
    connector: Arc<dyn TlsConnector>,
    age: Option<(u32, u64)>,
    ping: Duration,
    routes: usize,
    dice: Dice,
    state: State,
    /// Sessions so far: each has a port of its own.
    sessions: u16,
    /// Attempts since a session was up.
    attempts: u32,
    socket: SocketAddr,
    /// What came while it slept.
    waiting: VecDeque<Came>,
    /// The stream of TCP, and what came by it.
    stream: Option<(StreamId, Framer)>,
    pub(super) asleep_until: Option<Moment>,
    pub(super) outbox: Vec<(SocketAddr, Vec<u8>)>,
    /// What it wants of TCP, once what it sends is on its way.
    pub(super) wishes: Vec<Wish>,
    pub(super) news: Vec<News>,
}

enum State {
    /// No session until then.
    Waiting(Moment),
    /// A stream is waited for until then.
    Dialling(Moment),
    Running(Box<Running>),
}

struct Running {
    session: Session,
    keys: ClientKeys,
    /// How many routes it should be given.
    routes: usize,
    /// What it was given, once it is up.
    lease: Option<u32>,
    last_sent: Moment,
    packets: u64,
}

enum Came {
    Datagram(Vec<u8>),
    Stream(StreamId, StreamEvent),
}

/// What the client wants of TCP.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    /// A stream from this socket.
    Connect(SocketAddr),
    Close(StreamId),
}

/// What happened at the client.
#[derive(Debug)]
pub(super) enum News {
    Began,
    Key(u8),
    Up(u32),
    Packet(u32, Vec<u8>),
    /// Why.
    Ended(EndReason),
    /// The stream was refused, could not be had in time, or ended under the session.
    NoStream(&'static str),
    /// Something that must not happen: which invariant, and what.
    Wrong(&'static str, String),
}

/// Datagrams that a sleeping client's socket holds.
const SOCKET: usize = 200;
/// No longer than this between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(4);

impl Client {
    pub(super) fn new(plan: &Plan, connector: Arc<dyn TlsConnector>) -> Self {
        Self {
            config: plan.session(),
            connector,
            age: plan.age,
            ping: plan.ping,
            routes: usize::from(plan.routes),
            dice: Dice::of(plan.seed, "client"),
            state: State::Waiting(Moment::default()),
            sessions: 0,
            attempts: 0,
            socket: SocketAddr::new(CLIENT, 0),
            waiting: VecDeque::new(),
            stream: None,
            wishes: Vec::new(),
            asleep_until: None,
            outbox: Vec::new(),
            news: Vec::new(),
        }
    }

    /// The lease of the session that is up.
    pub(super) fn lease(&self) -> Option<u32> {
        match &self.state {
            State::Running(running) => running.lease,
            State::Waiting(_) | State::Dialling(_) => None,
        }
    }

    /// When something is due next.
    pub(super) fn due(&self) -> Option<Moment> {
        if self.asleep_until.is_some() {
            return self.asleep_until;
        }
        match &self.state {
            State::Waiting(until) | State::Dialling(until) => Some(*until),
            State::Running(running) => {
                let ping = running.lease.map(|_| running.last_sent + self.ping);
                running.session.poll_timeout().map(|(at, _)| at).into_iter().chain(ping).min()
            }
        }
    }

    /// What the session waits for, for complaints.
    pub(super) fn waits_for(&self) -> String {
        match &self.state {
            State::Waiting(until) => format!("waits until {until}"),
            State::Dialling(until) => format!("dials until {until}"),
            State::Running(running) => format!("{:?}, {:?}", running.session.stage(), running.session.poll_timeout()),
        }
    }

    pub(super) fn is_asleep(&self) -> bool {
        self.asleep_until.is_some()
    }

    /// Does all that is due; what came while it slept is read first.
    pub(super) fn handle_timeout(&mut self, wall: WallTime, now: Moment) {
        if self.asleep_until.is_some_and(|until| now < until) {
            return;
        }
        if self.asleep_until.take().is_some() {
            while let Some(came) = self.waiting.pop_front() {
                match came {
                    Came::Datagram(datagram) => self.receive(datagram, now),
                    Came::Stream(id, event) => self.take_stream(id, event, wall, now),
                }
            }
        }
        match &mut self.state {
            State::Waiting(until) if *until <= now => self.begin(wall, now),
            State::Dialling(until) if *until <= now => self.hang_up("no connection in time", now),
            State::Waiting(_) | State::Dialling(_) => {}
            State::Running(running) => {
                if running.session.poll_timeout().is_some_and(|(at, _)| at <= now) {
                    running.session.handle_timeout(now);
                }
                self.keep_alive(now);
            }
        }
        self.drain(now);
    }

    /// A datagram came to this socket.
    pub(super) fn take(&mut self, to: SocketAddr, datagram: Vec<u8>, now: Moment) {
        if to != self.socket {
            return;
        }
        if self.asleep_until.is_none() {
            self.receive(datagram, now);
            self.drain(now);
        } else if self.waiting.len() < SOCKET {
            self.waiting.push_back(Came::Datagram(datagram));
        }
    }

    /// The stream that was wished for.
    pub(super) fn dialled(&mut self, id: StreamId) {
        self.stream = Some((id, Framer::new(0)));
    }

    /// Something happened to a stream.
    pub(super) fn take_stream_event(&mut self, id: StreamId, event: StreamEvent, wall: WallTime, now: Moment) {
        if self.asleep_until.is_none() {
            self.take_stream(id, event, wall, now);
            self.drain(now);
        } else {
            self.waiting.push_back(Came::Stream(id, event));
        }
    }

    /// The stream on which datagrams are written now.
    pub(super) fn stream(&self) -> Option<StreamId> {
        self.stream.as_ref().map(|(id, _)| *id)
    }

    fn take_stream(&mut self, id: StreamId, event: StreamEvent, wall: WallTime, now: Moment) {
        let Some((_, framer)) = self.stream.as_mut().filter(|(own, _)| *own == id) else { return };
        match event {
            StreamEvent::Connected => self.begin_session(wall, now),
            StreamEvent::Refused => self.hang_up("refused", now),
            StreamEvent::Ended(_) => self.hang_up("the stream has ended", now),
            StreamEvent::Accepted { .. } => {}
            StreamEvent::Bytes(_, bytes) => {
                let mut packets = Vec::new();
                let whole = framer.push(&bytes) == bytes.len();
                while let Ok(Some(place)) = framer.next_packet() {
                    packets.push(framer.packet(place).to_vec());
                }
                if !whole || framer.next_packet().is_err() {
                    self.news.push(News::Wrong("I-6", String::from("a stream that is no stream of packets")));
                }
                packets.into_iter().for_each(|packet| self.receive(packet, now));
            }
        }
    }

    /// There is no stream, or no more.
    fn hang_up(&mut self, why: &'static str, now: Moment) {
        self.wishes.extend(self.stream.take().map(|(id, _)| Wish::Close(id)));
        self.rest(now);
        self.news.push(News::NoStream(why));
    }

    /// Sends an inner packet, if the tunnel is up.
    pub(super) fn send(&mut self, packet: &[u8], now: Moment) {
        let State::Running(running) = &mut self.state else { return };
        match running.seal(packet, now) {
            Ok(datagram) => self.outbox.extend(datagram.map(|datagram| (self.socket, datagram))),
            Err(what) => self.news.push(News::Wrong("I-12", what)),
        }
        if running.keys.are_worn() {
            running.session.renegotiate(now);
        }
        running.session.carried(0, running.packets, now);
        self.drain(now);
    }

    pub(super) fn renegotiate(&mut self, now: Moment) {
        let State::Running(running) = &mut self.state else { return };
        running.session.renegotiate(now);
        self.drain(now);
    }

    pub(super) fn leave(&mut self, now: Moment) {
        let State::Running(running) = &mut self.state else { return };
        running.session.close(now);
        self.drain(now);
    }

    fn begin(&mut self, wall: WallTime, now: Moment) {
        self.sessions = self.sessions.wrapping_add(1);
        self.attempts += 1;
        self.socket = SocketAddr::new(CLIENT, 1_024 + self.sessions % 60_000);
        self.waiting.clear();
        match self.config.transport {
            Transport::Udp => self.begin_session(wall, now),
            Transport::Tcp => {
                self.state = State::Dialling(now + DIAL);
                self.wishes.push(Wish::Connect(self.socket));
            }
        }
    }

    fn begin_session(&mut self, wall: WallTime, now: Moment) {
        self.news.push(News::Began);
        match Session::new(self.config.clone(), Arc::clone(&self.connector), self.dice.bytes(), wall, now) {
            Ok(session) => {
                let keys = ClientKeys::default();
                let (routes, lease) = (self.routes, None);
                self.state =
                    State::Running(Box::new(Running { session, keys, routes, lease, last_sent: now, packets: 0 }));
            }
            Err(error) => self.news.push(News::Wrong("I-7", format!("no TLS client: {error}"))),
        }
    }

    fn receive(&mut self, datagram: Vec<u8>, now: Moment) {
        let State::Running(running) = &mut self.state else { return };
        if !datagram.first().is_some_and(|first| is_data(*first)) {
            // What does not fit is dropped: that is no fault of the session.
            let _ = running.session.handle_control(&datagram, now);
            return;
        }
        match running.keys.open(datagram, now) {
            Ok(Some(inner)) => {
                running.session.heard(now);
                running.packets += 1;
                if let (Inner::Packet, Some(lease)) = (Inner::of(&inner), running.lease) {
                    self.news.push(News::Packet(lease, inner));
                }
            }
            Ok(None) => {}
            Err(what) => self.news.push(News::Wrong("I-12", what)),
        }
    }

    fn keep_alive(&mut self, now: Moment) {
        let State::Running(running) = &self.state else { return };
        if running.lease.is_some() && now >= running.last_sent + self.ping {
            self.send(&PING, now);
        }
    }

    /// Takes what the session says, until it says nothing more.
    fn drain(&mut self, now: Moment) {
        let State::Running(running) = &mut self.state else { return };
        let mut ended = None;
        loop {
            if let Some(datagram) = running.session.poll_transmit() {
                self.outbox.push((self.socket, datagram));
                continue;
            }
            match running.session.poll_event() {
                Some(Event::Ended(reason)) => ended = Some(reason),
                Some(event) => {
                    let datagram = running.take_event(event, self.age, &mut self.news, now);
                    self.outbox.extend(datagram.map(|datagram| (self.socket, datagram)));
                }
                None => break,
            }
        }
        if running.session.stage() == Stage::Up {
            self.attempts = 0;
        }
        if let Some(reason) = ended {
            self.end(reason, now);
        }
    }

    fn end(&mut self, reason: EndReason, now: Moment) {
        if let State::Running(running) = &mut self.state {
            let left = running.session.poll_transmit().is_some() || running.session.poll_event().is_some();
            if left || running.session.poll_timeout().is_some() {
                self.news.push(News::Wrong("I-6", String::from("a session that has ended wants something")));
            }
        }
        self.wishes.extend(self.stream.take().map(|(id, _)| Wish::Close(id)));
        self.rest(now);
        self.news.push(News::Ended(reason));
    }

    /// Nothing until the next attempt.
    fn rest(&mut self, now: Moment) {
        let steps = Duration::from_millis(250) * 2_u32.saturating_pow(self.attempts.min(8));
        let wait = if self.attempts == 0 { Duration::ZERO } else { steps.min(LONGEST_WAIT) };
        self.state = State::Waiting(now + wait.max(Duration::from_millis(1)));
    }
}

impl Running {
    fn seal(&mut self, packet: &[u8], now: Moment) -> Result<Option<Vec<u8>>, String> {
        self.last_sent = now;
        self.packets += 1;
        self.keys.seal(packet, now)
    }

    /// Does what the session asks for; the datagram that is to be sent then.
    fn take_event(
        &mut self,
        event: Event,
        age: Option<(u32, u64)>,
        news: &mut Vec<News>,
        now: Moment,
    ) -> Option<Vec<u8>> {
        match event {
            Event::Keys(keys) => {
                let key_id = keys.key_id.get();
                let keys = match age.filter(|_| self.lease.is_none()) {
                    Some((next, spent)) => keys.aged(next, spent),
                    None => *keys,
                };
                news.push(News::Key(key_id));
                news.extend(self.keys.install(keys).err().map(|what| News::Wrong("I-12", what)));
            }
            Event::Retire(key_id) => self.keys.retire(key_id),
            Event::Established(established) => self.establish(&established, news, now),
            Event::ExitNotify => return self.seal(&OCC_EXIT, now).ok().flatten(),
            // The end is the caller's.
            Event::Reached | Event::Token(_) | Event::Info(_) | Event::Ended(_) => {}
        }
        None
    }

    fn establish(&mut self, established: &Established, news: &mut Vec<News>, now: Moment) {
        self.last_sent = now;
        match lease_of(&established.assignment, self.routes) {
            Some(lease) => {
                self.lease = Some(lease);
                news.push(News::Up(lease));
            }
            None => {
                news.push(News::Wrong("I-4", format!("an assignment that nobody made: {:?}", established.assignment)))
            }
        }
    }
}
