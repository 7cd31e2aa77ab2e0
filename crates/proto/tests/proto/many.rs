//! A server of the server half and its clients, joined by links that lose, double, delay and spoil datagrams as a seed
//! says. Time jumps to the next deadline; the owner of the server lets in whom a test says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_proto::peer::ScriptedAcceptor;
use mrvpn_proto::server::{ClientId, Gone, LoginRequest, Push, Server, ServerConfig, ServerData, ServerEvent};
use mrvpn_proto::{EndReason, Established, Event, Session, SessionConfig, Stage, is_data};

use crate::lane::Lane;
use crate::pair::{WALL, session};

/// Out of 256: how often a datagram is lost, doubled, delayed, spoilt.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Noise {
    pub(crate) loss: u8,
    pub(crate) doubling: u8,
    pub(crate) delay: u8,
    pub(crate) damage: u8,
}

/// A client at its address.
pub(crate) struct Guest {
    pub(crate) session: Session,
    pub(crate) lane: Lane,
    pub(crate) events: Vec<Event>,
    pub(crate) address: SocketAddr,
}

/// What the owner of the server answers to a login.
pub(crate) type Porter = Box<dyn FnMut(ClientId, &LoginRequest) -> Answer>;

pub(crate) enum Answer {
    Admit(Push),
    Refuse(&'static str),
    Later,
}

pub(crate) struct Many {
    pub(crate) server: Server,
    pub(crate) guests: Vec<Guest>,
    pub(crate) data: BTreeMap<ClientId, ServerData>,
    /// All but keys and logins.
    pub(crate) events: Vec<(ClientId, ServerEvent)>,
    /// Inner packets that came to the server.
    pub(crate) packets: Vec<(ClientId, Vec<u8>)>,
    pub(crate) porter: Porter,
    pub(crate) now: Moment,
    /// Bytes to and from the server.
    pub(crate) bytes: (usize, usize),
    /// Every datagram that was sent, to the server or from it.
    pub(crate) record: Option<Vec<(bool, SocketAddr, Vec<u8>)>>,
    noise: Noise,
    random: u64,
    wire: BTreeMap<(Moment, u64), (bool, SocketAddr, Vec<u8>)>,
    count: u64,
}

/// Lets everyone in, each with its own address.
pub(crate) fn welcome() -> Porter {
    Box::new(|id, _| Answer::Admit(push(id)))
}

pub(crate) fn push(id: ClientId) -> Push {
    let [_, _, third, fourth] = (id.get() + 2).to_be_bytes();
    let options = ["topology subnet", "ping 10", "ping-restart 60"].map(String::from).to_vec();
    let ifconfig = format!("ifconfig 10.8.{third}.{fourth} 255.255.0.0");
    Push { options: [options, vec![ifconfig]].concat(), whole: None }
}

pub(crate) fn address(place: usize) -> SocketAddr {
    let port = 1_024 + u16::try_from(place).unwrap();
    SocketAddr::from(([192, 0, 2, 1], port))
}

impl Many {
    pub(crate) fn new(config: ServerConfig, noise: Noise, seed: u64) -> Self {
        let acceptor = Arc::new(ScriptedAcceptor::new(seed << 32));
        Self::of(Server::new(config, acceptor, [7; 32], Moment::default(), WALL), noise, seed)
    }

    pub(crate) fn of(server: Server, noise: Noise, seed: u64) -> Self {
        Self {
            server,
            guests: Vec::new(),
            data: BTreeMap::new(),
            events: Vec::new(),
            packets: Vec::new(),
            porter: welcome(),
            now: Moment::default(),
            bytes: (0, 0),
            record: None,
            noise,
            random: seed ^ 0x9e37_79b9_7f4a_7c15,
            wire: BTreeMap::new(),
            count: 0,
        }
    }

    /// One more client; the first packet is on its way.
    pub(crate) fn come(&mut self, config: SessionConfig) -> usize {
        let seed = self.random ^ self.guests.len() as u64;
        self.come_as(session(config, seed))
    }

    pub(crate) fn come_as(&mut self, session: Session) -> usize {
        let place = self.guests.len();
        let lane = Lane::default();
        self.guests.push(Guest { session, lane, events: Vec::new(), address: address(place) });
        self.drain();
        place
    }

    pub(crate) fn stage(&self, guest: usize) -> Stage {
        self.guests[guest].session.stage()
    }

    /// What a client was assigned.
    pub(crate) fn established(&self, guest: usize) -> Option<&Established> {
        let events = &self.guests[guest].events;
        events.iter().find_map(|event| if let Event::Established(found) = event { Some(&**found) } else { None })
    }

    /// Why a client has ended.
    pub(crate) fn ended(&self, guest: usize) -> Option<&EndReason> {
        let events = &self.guests[guest].events;
        events.iter().find_map(|event| if let Event::Ended(why) = event { Some(why) } else { None })
    }

    /// Why clients are gone, by the server's word.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (ClientId, &Gone)> {
        self.events
            .iter()
            .filter_map(|(id, event)| if let ServerEvent::Gone(why) = event { Some((*id, why)) } else { None })
    }

    /// Why one is gone.
    pub(crate) fn gone(&self, id: ClientId) -> Option<&Gone> {
        self.ends().find(|(of, _)| *of == id).map(|(_, why)| why)
    }

    pub(crate) fn all_up(&self) -> bool {
        self.guests.iter().all(|guest| guest.session.stage() == Stage::Up)
    }

    pub(crate) fn run(&mut self, limit: Duration) {
        self.run_until(limit, |_| false);
    }

    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.now + limit;
        self.drain();
        while !done(self) {
            let Some(next) = self.next_moment().filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            self.step();
        }
    }

    fn next_moment(&self) -> Option<Moment> {
        let arrival = self.wire.keys().next().map(|(at, _)| *at);
        let guests = self.guests.iter().filter_map(|guest| guest.session.poll_timeout().map(|(at, _)| at));
        guests.chain(arrival).chain(self.server.poll_timeout().map(|(at, _)| at)).min()
    }

    fn step(&mut self) {
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (to_server, at, mut datagram) = entry.remove();
            if to_server {
                self.deliver(at, &mut datagram);
            } else {
                self.hand(at, datagram);
            }
            self.drain();
        }
        for guest in &mut self.guests {
            guest.session.handle_timeout(self.now);
        }
        self.server.handle_timeout(self.now);
        self.drain();
        assert!(self.server.poll_timeout().is_none_or(|(at, _)| at > self.now), "a deadline is left behind");
    }

    fn deliver(&mut self, from: SocketAddr, datagram: &mut [u8]) {
        if !datagram.first().is_some_and(|first| is_data(*first)) {
            return self.server.handle_datagram(from, datagram, self.now);
        }
        let Some(peer) = datagram.get(1..4).map(|id| u32::from_be_bytes([0, id[0], id[1], id[2]])) else { return };
        let id = mrvpn_proto::PeerId::new(peer).unwrap().into();
        let Some(data) = self.data.get_mut(&id) else { return };
        if let Ok(packet) = data.open(datagram, self.now) {
            self.server.heard(id, self.now);
            if self.server.address(id) != Some(from) {
                self.server.floated(id, from, self.now);
            }
            self.packets.push((id, packet));
        }
    }

    fn hand(&mut self, to: SocketAddr, datagram: Vec<u8>) {
        let Some(guest) = self.guests.iter_mut().rfind(|guest| guest.address == to) else { return };
        if datagram.first().is_some_and(|first| is_data(*first)) {
            guest.lane.open(datagram, self.now);
            guest.session.heard(self.now);
        } else {
            let _ = guest.session.handle_control(&datagram, self.now);
        }
    }

    /// Empties every queue.
    pub(crate) fn drain(&mut self) {
        for place in 0..self.guests.len() {
            let address = self.guests[place].address;
            while let Some(datagram) = self.guests[place].session.poll_transmit() {
                self.send(true, address, datagram);
            }
            let guest = &mut self.guests[place];
            while let Some(event) = guest.session.poll_event() {
                match event {
                    Event::Keys(keys) => guest.lane.install(*keys),
                    Event::Retire(key_id) => guest.lane.retire(key_id),
                    event @ (Event::Reached
                    | Event::Established(_)
                    | Event::Token(_)
                    | Event::Info(_)
                    | Event::ExitNotify
                    | Event::Ended(_)) => guest.events.push(event),
                }
            }
        }
        while let Some((id, event)) = self.server.poll_event() {
            self.take_event(id, event);
        }
        while let Some((to, datagram)) = self.server.poll_transmit() {
            self.send(false, to, datagram);
        }
    }

    fn take_event(&mut self, id: ClientId, event: ServerEvent) {
        match event {
            ServerEvent::Login(request) => match (self.porter)(id, &request) {
                Answer::Admit(push) => self.server.admit(id, push, self.now),
                Answer::Refuse(text) => self.server.refuse(id, text, self.now),
                Answer::Later => {}
            },
            ServerEvent::Keys(keys) => self.data.entry(id).or_default().install(*keys, self.now),
            ServerEvent::Retire(key_id) => self.data.entry(id).or_default().retire(key_id),
            ServerEvent::Began { .. }
            | ServerEvent::Up
            | ServerEvent::ExitNotify
            | ServerEvent::Said(_)
            | ServerEvent::Gone(_) => self.events.push((id, event)),
        }
    }

    /// An inner packet of a client to the server.
    pub(crate) fn send_up(&mut self, guest: usize, inner: &[u8]) {
        let datagram = self.guests[guest].lane.seal(inner, self.now);
        self.send(true, self.guests[guest].address, datagram);
    }

    /// An inner packet of the server to a client.
    pub(crate) fn send_down(&mut self, id: ClientId, inner: &[u8]) {
        let Some(to) = self.server.address(id) else { return };
        let datagram = self.data.get_mut(&id).unwrap().seal(inner, self.now).unwrap();
        self.send(false, to, datagram);
    }

    /// Puts a datagram on the wire.
    pub(crate) fn send(&mut self, to_server: bool, address: SocketAddr, mut datagram: Vec<u8>) {
        let count = if to_server { &mut self.bytes.0 } else { &mut self.bytes.1 };
        *count += datagram.len();
        if let Some(record) = &mut self.record {
            record.push((to_server, address, datagram.clone()));
        }
        let [loss, doubling, delay, damage, place, ..] = self.roll();
        if loss < self.noise.loss {
            return;
        }
        let copies = if doubling < self.noise.doubling { 2 } else { 1 };
        for copy in 0..copies {
            let late = if delay < self.noise.delay { u64::from(delay) + 40 * copy } else { 0 };
            let at = self.now + Duration::from_millis(10 + late);
            self.count += 1;
            if damage < self.noise.damage && copy == 0 {
                let place = usize::from(place) % datagram.len();
                datagram[place] ^= 1 << (damage % 8);
            }
            self.wire.insert((at, self.count), (to_server, address, datagram.clone()));
        }
    }

    /// SplitMix64.
    fn roll(&mut self) -> [u8; 8] {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_be_bytes()
    }
}
