//! What moves in a simulated world: packets of programs into the interface or past it, datagrams over the network, packets out
//! of servers and their answers back. Each is shown to the oracle where it passes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_netplan::model::Verdict;
use mrvpn_router::TunnelId;

use super::World;
use super::setup::{ACCEPTED, CARD, remote, site_at};
use crate::sim::TraceHash;
use crate::sim::apps::packet::{self, ACK, Draft, Kind, SYN, Seen, TAG, TCP, Tag, UDP};
use crate::sim::apps::{App, Bind};
use crate::sim::oracle::{Flow, Told};
use crate::sim::plant::Plant;
use crate::sim::reference::{Place, Question};

/// What a program's own packets say in place of a server's place.
const APP: u8 = 255;

impl App {
    /// What is asked of its first packet, not bound.
    pub(super) fn question(&self) -> Question {
        Question { source: None, destination: self.to.ip(), protocol: self.protocol, port: self.to.port() }
    }
}

impl World<'_> {
    /// Programs whose time has come send.
    pub(super) fn run_apps(&mut self) {
        for index in 0..self.apps.len() {
            if self.apps[index].next_at <= self.now {
                let period = self.apps[index].period;
                self.apps[index].next_at = self.now + period;
                self.run_app(index);
            }
        }
    }

    fn run_app(&mut self, index: usize) {
        let app = self.apps[index].clone();
        let over = app.flow.is_none_or(|id| {
            self.oracle.flow(id).is_none_or(|flow| flow.over || flow.sent >= app.packets || !self.may_send(flow))
        });
        if over {
            self.apps[index].flow = self.begin_flow(&app);
        }
        if let Some(id) = self.apps[index].flow {
            self.send_packet(id, &app);
        }
    }

    /// Whether the host still has the address of its program.
    fn may_send(&self, flow: &Flow) -> bool {
        flow.source.is_none_or(|source| self.host.has(source))
    }

    fn begin_flow(&mut self, app: &App) -> Option<u32> {
        let source = match app.bind {
            Bind::No => None,
            Bind::Tunnel { place, presented } => Some(self.bind_address(place, presented, app.to.ip())?),
        };
        self.next_port = if self.next_port >= 60_000 { 1_024 } else { self.next_port + 1 };
        let id = self.next_flow;
        self.next_flow += 1;
        self.oracle.begin(id, Flow::new(app.protocol, source, self.next_port, app.to, self.now));
        Some(id)
    }

    /// An address of a tunnel that a user can read from `status`, if the host has it.
    fn bind_address(&self, place: Place, presented: bool, like: IpAddr) -> Option<IpAddr> {
        let tunnel = self.reference.tunnel(place)?;
        let of_lease = tunnel.lease.iter().flat_map(|lease| &lease.presented);
        let mut fits = if presented { of_lease.copied().collect::<Vec<_>>() } else { tunnel.binds.clone() }.into_iter();
        fits.find(|address| address.is_ipv4() == like.is_ipv4() && self.host.has(*address))
    }

    fn send_packet(&mut self, id: u32, app: &App) {
        let Some(flow) = self.oracle.flow(id) else { return };
        let (question, number) = (flow.question(), if app.protocol == TCP { flow.acknowledged } else { flow.sent });
        let way = self.host.way(question.source, question.destination, question.protocol, question.port);
        let way = self.planted_way(way);
        if self.lacks_source(&question, &way) {
            return;
        }
        self.dialogue.say(self.now, "program", || format!("packet {number} of flow {id}: {question:?} {way:?}"));
        if self.tampered && way == Verdict::Clear {
            // What others have let out until it is put back.
            return;
        }
        let view = Self::view(&self.reference, &self.before, &self.steady, (self.generation, self.life));
        self.oracle.sent((id, number), &question, &way, &view, self.now);
        match way {
            Verdict::Device(device) => self.enter(id, number, app, &device),
            Verdict::Clear => self.choose_source(id, Some(IpAddr::V4(CARD))),
            Verdict::Unreachable => {}
        }
    }

    /// Whether its program gets an error: the interface has no address for it, or, while someone has deleted the anchor,
    /// that of some tunnel, by which it would be bound.
    fn lacks_source(&self, question: &Question, way: &Verdict) -> bool {
        let Verdict::Device(device) = way else { return false };
        let chosen = self.host.unbound(device, question.destination);
        question.source.is_none() && chosen != self.reference.anchor_for(question.destination)
    }

    fn choose_source(&mut self, id: u32, source: Option<IpAddr>) {
        if let Some(flow) = self.oracle.flow_mut(id) {
            let fits = |source: &IpAddr| source.is_ipv4() == flow.to.is_ipv4();
            flow.source = flow.source.or_else(|| source.filter(fits));
        }
    }

    fn enter(&mut self, id: u32, number: u32, app: &App, device: &str) {
        let source = self.host.unbound(device, app.to.ip());
        self.choose_source(id, source);
        let Some(flow) = self.oracle.flow(id) else { return };
        let (Some(mut source), port, to) = (flow.source, flow.port, flow.to) else { return };
        if self.plant == Some(Plant::WrongTunnel) && number % 8 == 7 {
            source = self.planted_source(source);
        }
        let tag = Tag { kind: Kind::Ask, place: APP, session: 0, flow: id, number };
        let draft = Draft {
            source: SocketAddr::new(source, port),
            destination: to,
            protocol: app.protocol,
            flags: if app.protocol == TCP && number > 0 {
                ACK
            } else if app.protocol == TCP {
                SYN
            } else {
                0
            },
            tag,
            payload: app.payload,
            id: identification(id, number),
        };
        let owed = flow.probes.get(&number).is_some_and(|probe| probe.must.is_some());
        let waits = self.plant == Some(Plant::UnboundedWait) && !owed;
        let Some(machine) = self.machine.as_mut() else { return };
        for piece in packet::cut(&draft.build(), 1_500) {
            if waits {
                self.kept.push((self.now + Duration::from_secs(3), piece));
            } else {
                machine.io.queue.incoming.push_back(piece);
            }
        }
    }

    /// A planted queue gives up what it has kept for too long.
    pub(super) fn give_up_kept(&mut self) {
        let Some(machine) = self.machine.as_mut() else { return };
        let (over, kept): (Vec<_>, Vec<_>) = self.kept.drain(..).partition(|(at, _)| *at <= self.now);
        self.kept = kept;
        machine.io.queue.incoming.extend(over.into_iter().map(|(_, piece)| piece));
    }

    /// What was written to the interface is shown to the oracle and to its program.
    pub(super) fn take_written(&mut self) -> bool {
        let Some(machine) = &mut self.machine else { return false };
        let written = std::mem::take(&mut machine.io.queue.written);
        let any = !written.is_empty();
        for packet in written {
            let packet = self.planted_arrival(packet);
            note(&mut self.hash, &packet);
            let whole = match packet::fragment(&packet) {
                None => Some(packet),
                Some(part) => self.join(part, packet),
            };
            if let Some(packet) = whole {
                self.tell_program(&packet);
            }
        }
        any
    }

    fn join(&mut self, (of, offset, _): (packet::FragmentOf, usize, bool), piece: Vec<u8>) -> Option<Vec<u8>> {
        let pieces = self.fragments.entry(of).or_default();
        pieces.insert(offset, piece);
        let whole = packet::join(pieces)?;
        self.fragments.remove(&of);
        Some(whole)
    }

    fn tell_program(&mut self, packet: &[u8]) {
        let view = Self::view(&self.reference, &self.before, &self.steady, (self.generation, self.life));
        self.dialogue.say(self.now, "program", || format!("gets {:?}", Seen::read(packet)));
        match self.oracle.at_host(packet, &Self::engine_addresses(), &view, self.now) {
            Told::Nothing => {}
            Told::Answered(id, number) => {
                if let Some(flow) = self.oracle.flow_mut(id) {
                    flow.acknowledged = flow.acknowledged.max(number + 1);
                }
            }
            Told::Reset(id) => {
                if let Some(flow) = self.oracle.flow_mut(id) {
                    flow.over = true;
                }
            }
        }
    }

    /// Datagrams that have arrived go to servers and to the engine's sockets.
    pub(super) fn deliver(&mut self) {
        while let Some(delivered) = self.network.take_next(self.now) {
            if delivered.to.ip() == IpAddr::V4(CARD) {
                if let Some(machine) = &mut self.machine {
                    machine.arrive(delivered.to.port(), delivered.from, delivered.datagram, self.now);
                }
                // Who of several comes up first decides who is shown under which address.
                self.follow();
            } else if let Some(site) = site_at(delivered.to).and_then(|place| self.sites.get_mut(place)) {
                site.arrive(delivered.from, &delivered.datagram, self.now);
            }
        }
    }

    /// Servers: what came out of their tunnels is judged and answered, time passes, datagrams leave.
    pub(super) fn run_sites(&mut self) {
        for place in 0..self.sites.len() {
            self.sites[place].pass_time(self.now);
            while let Some(packet) = self.sites[place].poll_packet() {
                if self.plant == Some(Plant::Replayed) && self.now > late() {
                    self.far_end(place, packet.clone());
                }
                self.far_end(place, packet);
            }
            while let Some((to, datagram)) = self.sites[place].poll_transmit() {
                if !self.sites[place].is_off(self.now) {
                    note(&mut self.hash, &datagram);
                    self.dialogue.say(self.now, "server", || format!("{place} to {to}: {} bytes", datagram.len()));
                    self.network.send(remote(place), to, datagram, self.now);
                }
            }
        }
    }

    fn far_end(&mut self, place: Place, packet: Vec<u8>) {
        let inner = self.sites[place].inner();
        let packet = self.planted_at_server(packet);
        self.dialogue.say(self.now, "far end", || {
            format!("{place} gets {:?}", Seen::read(&packet).map(|seen| (seen.source, seen.destination, seen.tag)))
        });
        let view = Self::view(&self.reference, &self.before, &self.steady, (self.generation, self.life));
        let Some(seen) = self.oracle.at_server(place, &inner, &packet, &view, self.now) else { return };
        let Some(tag) = seen.tag else { return };
        self.hash.number(u64::from(tag.flow) << 32 | u64::from(tag.number));
        self.sites[place].note(seen);
        let session = self.sites[place].session();
        let answer = Draft {
            source: seen.destination,
            destination: seen.source,
            protocol: seen.protocol,
            flags: match seen.protocol {
                TCP if seen.flags & SYN != 0 => SYN | ACK,
                TCP => ACK,
                _ => 1,
            },
            tag: Tag { kind: Kind::Answer, place: u8::try_from(place).unwrap_or(APP), session, ..tag },
            payload: seen.payload,
            id: identification(tag.flow, tag.number),
        };
        self.sites[place].send(&answer.build(), self.now);
    }

    /// The engine's datagrams on their way.
    pub(super) fn send_outer(&mut self, tunnel: TunnelId, from: SocketAddr, to: SocketAddr, datagram: Vec<u8>) {
        let copies = self.planted_copies(tunnel, &datagram);
        let slow = self.plant == Some(Plant::OthersPacketLate) && self.now > late();
        let at = if slow { self.now + Duration::from_millis(5) } else { self.now };
        for _ in 0..copies {
            self.network.send(from, to, datagram.clone(), at);
        }
    }

    /// A server lies: martians, answers to what others were asked, questions that nobody accepts, and some that are accepted.
    pub(super) fn lie(&mut self, place: Place) {
        let inner = self.sites[place].inner();
        let lies = 12;
        for _ in 0..lies {
            if let Some(packet) = self.any_lie(place, &inner) {
                self.oracle.tally.forged += 1;
                self.sites[place].send(&packet, self.now);
            }
        }
    }

    fn any_lie(&mut self, place: Place, inner: &[IpAddr]) -> Option<Vec<u8>> {
        let own = *inner.first()?;
        let other = self.dice.place(self.sites.len());
        let asked = self.sites[other].lately.back().copied();
        let martians: [IpAddr; 6] = [
            IpAddr::from([198, 18, 0, 1]),
            IpAddr::from([127, 0, 0, 1]),
            IpAddr::from([192, 168, 1, 20]),
            IpAddr::from([224, 0, 0, 1]),
            *self.sites[other].inner().first()?,
            IpAddr::from([198, 18, 1, 1]),
        ];
        let martian = *self.dice.pick(&martians);
        let port = 1_024 + u16::try_from(self.dice.below(60_000)).unwrap_or(0);
        let kind = Kind::Forged;
        let (source, destination, kind, protocol) = match self.dice.below(6) {
            0 => (SocketAddr::new(martian, 53), SocketAddr::new(own, port), kind, UDP),
            1 => (SocketAddr::new(IpAddr::from([203, 0, 113, 99]), 53), SocketAddr::new(martian, port), kind, UDP),
            2 => (SocketAddr::new(IpAddr::from([203, 0, 113, 99]), 53), SocketAddr::new(own, port), kind, TCP),
            3 => {
                let from = SocketAddr::new(IpAddr::from([203, 0, 113, 98]), 4_000);
                (from, SocketAddr::new(own, ACCEPTED), Kind::Unasked, UDP)
            }
            _ => {
                // A perfect answer to what another tunnel was asked, or this one in an earlier session.
                let asked = asked.filter(|asked| asked.source.is_ipv4())?;
                let flow = self.oracle.flow(asked.tag?.flow)?;
                if flow.visited & (1 << place) != 0 {
                    return None;
                }
                (asked.destination, SocketAddr::new(own, asked.source.port()), kind, asked.protocol)
            }
        };
        let place = u8::try_from(place).unwrap_or(APP);
        let tag = Tag { kind, place, session: 0, flow: 0, number: 1 };
        let flags = if protocol == UDP { 0 } else { 1 };
        let flags = if protocol == TCP { *self.dice.pick(&[SYN, ACK, SYN | ACK]) } else { flags };
        let id = port;
        Some(Draft { source, destination, protocol, flags, tag, payload: TAG, id }.build())
    }

    fn planted_way(&mut self, way: Verdict) -> Verdict {
        let leaks = self.plant == Some(Plant::CapturedLeavesClear) && self.now > late() && way != Verdict::Clear;
        if leaks { Verdict::Clear } else { way }
    }

    /// An address of another tunnel.
    fn planted_source(&self, source: IpAddr) -> IpAddr {
        let bound = self.reference.bound_to(source);
        let other = self
            .reference
            .tunnels
            .iter()
            .find(|tunnel| Some(tunnel.place) != bound && self.is_up(tunnel.place) && !tunnel.binds.is_empty());
        other.and_then(|tunnel| tunnel.binds.first().copied()).filter(|_| source.is_ipv4()).unwrap_or(source)
    }

    fn planted_arrival(&self, packet: Vec<u8>) -> Vec<u8> {
        let Some(seen) = Seen::read(&packet).filter(|seen| seen.tag.is_some_and(|tag| tag.kind == Kind::Answer)) else {
            return packet;
        };
        let Some(tag) = seen.tag else { return packet };
        let mut draft = Draft {
            source: seen.source,
            destination: seen.destination,
            protocol: seen.protocol,
            flags: seen.flags,
            tag,
            payload: seen.payload,
            id: 1,
        };
        match self.plant {
            Some(Plant::WrongArrival) if seen.source.is_ipv4() => draft.destination.set_ip(IpAddr::V4(CARD)),
            Some(Plant::UnaskedArrives) => draft.tag.kind = Kind::Unasked,
            Some(_) | None => return packet,
        }
        draft.build()
    }

    fn planted_at_server(&self, packet: Vec<u8>) -> Vec<u8> {
        if self.plant == Some(Plant::Panics) && self.now > late() {
            panic!("planted");
        }
        let Some(seen) = Seen::read(&packet).filter(|_| self.plant == Some(Plant::UntranslatedSource)) else {
            return packet;
        };
        let (Some(tag), Some(anchor)) = (seen.tag, self.reference.anchor_for(seen.source.ip())) else { return packet };
        let mut source = seen.source;
        source.set_ip(anchor);
        let Seen { destination, protocol, flags, payload, .. } = seen;
        Draft { source, destination, protocol, flags, tag, payload, id: 1 }.build()
    }

    /// How often a datagram is sent: once, unless something is planted.
    fn planted_copies(&mut self, tunnel: TunnelId, datagram: &[u8]) -> usize {
        let is_data = datagram.len() > 100 && datagram.first().is_some_and(|first| mrvpn_proto::is_data(*first));
        let place = self.place_of_tunnel(tunnel);
        match self.plant {
            Some(Plant::OthersPacketLost) if is_data && self.now > late() && self.dice.one_in(20) => 0,
            Some(Plant::ReconnectWithheld) if place.is_some_and(|place| self.sites[place].session() >= 10_000) => 0,
            Some(Plant::HangsOnClock) => {
                let since = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.subsec_nanos());
                self.hash.number(u64::from(since));
                1
            }
            Some(_) | None => 1,
        }
    }
}

/// Notes how long a datagram is, and both its ends: what is between follows from them.
pub(super) fn note(hash: &mut TraceHash, datagram: &[u8]) {
    hash.number(datagram.len() as u64);
    hash.bytes(datagram.first_chunk::<16>().unwrap_or(&[0; 16]));
    hash.bytes(datagram.last_chunk::<16>().unwrap_or(&[0; 16]));
}

/// Of an IPv4 packet: not the same soon again, so that fragments of two do not mix.
const fn identification(flow: u32, number: u32) -> u16 {
    (flow.wrapping_mul(64).wrapping_add(number) & 0xffff) as u16
}

/// Planted faults begin when tunnels are up.
fn late() -> Moment {
    super::BEGIN + Duration::from_secs(20)
}
