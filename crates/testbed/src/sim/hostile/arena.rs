//! The arena: the real engine with three honest tunnels and one whose server is a script's, on the simulated network. After
//! every step: each probe of an honest tunnel comes back once and in time, from where it went (I-2, I-3, I-4, I-8, I-12);
//! nothing else is written to the interface but answers and the engine's own refusals (I-4); the engine's sockets talk to its
//! remotes alone and no probe leaves in clear (I-1); it comes to rest (I-6). In the end the hostile server behaves, and the
//! tunnel works again; what the engine holds then is told in the trace, and all that it tells is printable ASCII.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_engine::driver::TunnelVerb;
use mrvpn_engine::fleet::Counted;
use mrvpn_engine::status::ClockPair;
use mrvpn_engine::tunnel::{Tunnel, TunnelState};
use mrvpn_engine::{EngineConfig, Memory, TunnelConfig};
use mrvpn_netplan::model::Verdict;
use mrvpn_profile::{Credentials, Secret, StaticKey, ovpn};
use mrvpn_proto::peer::ScriptedConnector;
use mrvpn_proto::server::{Push, ServerWrap};
use mrvpn_router::{DropReason, TunnelId};
use serde_json::Value;

use super::far::Far;
use crate::sim::apps::packet::{Draft, Kind, Seen, TAG, Tag, UDP};
use crate::sim::hosts::SimHost;
use crate::sim::world::machine::{Kept, Machine, Outgoing, WALL};
use crate::sim::world::setup::{CARD, own_target, remote};
use crate::sim::{Dialogue, Dice, Network, Noise, Odds, Trace, TraceHash, Violation};

/// The place of the hostile server; those before it are honest.
pub(super) const HOSTILE: usize = 3;
/// Where its tunnel's flow goes.
pub(super) const TARGET: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 3);
/// What an honest server of its place assigns to it.
pub(super) const ASSIGNED: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 5);
/// The ports of a tunnel's flow.
pub(super) const PORTS: (u16, u16) = (40_000, 7);
/// What an honest server assigns; the last number is the place.
const INNER: [u8; 3] = [10, 8, 0];
/// There and back, and 2 ms more (I-8).
const IN_TIME: Duration = Duration::from_millis(22);
/// 160 s: a handshake that fails, the longest pause and a handshake.
const RECOVERY: Duration = Duration::from_secs(160);
/// Errors that one flow may be told in a second (T-46).
const ERRORS: usize = 10;
const BEGIN: Moment = Moment::from_nanos(1_000_000_000);
const ROUNDS: usize = 10_000;
const APP: u8 = 255;

/// One tunnel's flow.
#[derive(Debug, Default)]
struct Probes {
    next_at: Moment,
    number: u32,
    source: Option<IpAddr>,
    waiting: BTreeMap<u32, Moment>,
    arrived: u64,
    answered: u64,
}

/// Everything.
pub(crate) struct Arena<'a> {
    pub(super) now: Moment,
    machine: Machine,
    pub(super) host: SimHost,
    network: Network,
    pub(super) sites: Vec<Far>,
    wrap: ServerWrap,
    probes: Vec<Probes>,
    /// From one probe to the next.
    pub(super) period: Duration,
    /// Probes are judged.
    judged: bool,
    /// From where the engine spoke to each server last.
    sockets: BTreeMap<usize, SocketAddr>,
    /// Which session of its server was up when one was waited for.
    session: u32,
    outgoing: Vec<Outgoing>,
    errors: Vec<Moment>,
    /// Bytes and datagrams to the hostile server so far.
    pub(super) sent: (u64, u64),
    pub(super) last_sent: Vec<u8>,
    /// What its server sent last, newest last.
    pub(super) heard: Vec<Vec<u8>>,
    violation: Option<Violation>,
    hash: TraceHash,
    dialogue: &'a mut Dialogue,
    held: fn() -> usize,
    round: u64,
}

impl<'a> Arena<'a> {
    /// Everything before anything has happened. `round` decides the noise on the hostile server's link.
    pub(super) fn new(profile: &str, round: u64, held: fn() -> usize, dialogue: &'a mut Dialogue) -> Self {
        let wrap = if profile == WRAPPED { wrapped() } else { ServerWrap::None };
        let lines = if profile == WRAPPED { static_key() } else { profile.to_owned() };
        let mut dice = Dice::of(round, "hostile");
        let mut host = SimHost::new();
        let mut config = EngineConfig::new();
        config.tunnels = (0..=HOSTILE).map(|place| tunnel(place, if place == HOSTILE { &lines } else { "" })).collect();
        let connectors = (0..=HOSTILE)
            .map(|place| Ok(std::sync::Arc::new(ScriptedConnector { seed: place as u64, refusal: None }) as _));
        let setup = (config, connectors.collect());
        let machine = Machine::with(setup, Memory::default(), &mut host, &mut dice, BEGIN);
        let mut network = Network::new(round);
        let mut noise = match round % 3 {
            0 => Noise::NONE,
            1 => Noise::openvpn3(),
            _ => Noise::loss(50),
        };
        if profile != WRAPPED {
            // What is damaged on the way without a wrap ends a session, which is another's story.
            noise.corrupt = Odds::NEVER;
        }
        network.set_noise(IpAddr::V4(CARD), remote(HOSTILE).ip(), noise);
        let wrap_of = |place: usize| if place == HOSTILE { wrap.clone() } else { ServerWrap::None };
        let sites =
            (0..=HOSTILE).map(|place| Far::new(place as u8 + 1, wrap_of(place), honest(place), BEGIN)).collect();
        let mut arena = Self {
            now: BEGIN,
            machine,
            host,
            network,
            sites,
            wrap,
            probes: (0..=HOSTILE).map(|_| Probes::default()).collect(),
            period: Duration::from_millis(10),
            judged: false,
            sockets: BTreeMap::new(),
            session: 0,
            outgoing: Vec::new(),
            errors: Vec::new(),
            sent: (0, 0),
            last_sent: Vec::new(),
            heard: Vec::new(),
            violation: None,
            hash: TraceHash::default(),
            dialogue,
            held,
            round,
        };
        arena.verb(TunnelVerb::Stop);
        arena.settle();
        arena
    }

    /// Plays a script between honest times.
    pub(super) fn play(mut self, script: fn(&mut Self)) -> Result<Trace, Violation> {
        let up = |arena: &Self| (0..HOSTILE).all(|place| arena.state_of(place) == Some(TunnelState::Up));
        let all_up = self.until(Duration::from_secs(10), up);
        self.must(all_up, "I-7", || "the honest tunnels do not come up".to_owned());
        self.pass(Duration::from_millis(100));
        (0..HOSTILE).for_each(|place| self.probes[place].waiting.retain(|_, at| *at + IN_TIME >= self.now));
        self.judged = true;
        script(&mut self);
        self.check_words();
        // Every other round looks at what is held while it is at its worst.
        if self.round.is_multiple_of(2) {
            self.recover();
        }
        self.check_words();
        self.finish()
    }

    /// The hostile server behaves: its tunnel works as if nothing had been.
    fn recover(&mut self) {
        self.network.set_noise(IpAddr::V4(CARD), remote(HOSTILE).ip(), Noise::NONE);
        let now = self.now;
        self.period = Duration::from_millis(10);
        self.probes.iter_mut().for_each(|probes| probes.next_at = now);
        self.sites[HOSTILE] = Far::new(99, self.wrap.clone(), honest(HOSTILE), now);
        self.verb(TunnelVerb::Restart);
        let carries = self.until(RECOVERY, Self::is_up) && self.talks();
        self.must(carries, "I-7", || "the tunnel does not work although its server behaves again".to_owned());
    }

    fn finish(self) -> Result<Trace, Violation> {
        let Self { machine, violation, mut hash, now, held, probes, .. } = self;
        let with = held();
        drop(machine);
        let engine = with.saturating_sub(held());
        if let Some(violation) = violation {
            return Err(violation);
        }
        let answered: u64 = probes.iter().take(HOSTILE).map(|probes| probes.answered).sum();
        hash.number(answered);
        hash.moment(now);
        let mut trace = Trace { end: now, hash: hash.get(), ..Trace::default() };
        trace.tunnel_time = now.since(BEGIN) * 4;
        trace.add("probes answered", answered);
        trace.add("bytes held", engine as u64);
        Ok(trace)
    }

    // ---- what scripts ask and do

    /// The script's server.
    pub(super) fn server(&mut self) -> &mut Far {
        &mut self.sites[HOSTILE]
    }

    /// The hostile tunnel is started by the user.
    pub(super) fn open(&mut self) {
        self.verb(TunnelVerb::Start);
    }

    /// The user's word about the hostile tunnel.
    pub(super) fn verb(&mut self, verb: TunnelVerb) {
        let outcome = self.machine.fleet.tunnel_verb(&name(HOSTILE), verb, self.now);
        self.must(outcome.is_ok(), "I-6", || "the tunnel is not known".to_owned());
        self.settle();
    }

    /// It is started and comes up, whatever is pushed.
    pub(super) fn come_up(&mut self) {
        self.open();
        self.expect_up();
    }

    /// It comes up within the time that noise may cost.
    pub(super) fn expect_up(&mut self) {
        let up = self.until(RECOVERY, Self::is_up);
        self.session = self.sites[HOSTILE].begun;
        let code = self.code();
        self.must(up, "I-7", || format!("the tunnel does not come up: {code:?}"));
    }

    /// It is started, and ends with this error.
    pub(super) fn expect_code(&mut self, code: &str) {
        let seen = self.until(RECOVERY, |arena| arena.code() == Some(code));
        let (state, is) = (self.state(), self.code());
        self.must(seen, "script", || format!("the error is {is:?} in state {state:?}, not {code}"));
    }

    /// A packet of its flow arrives at its server, and the answer here, within 20 s.
    pub(super) fn talks(&mut self) -> bool {
        let before = self.probes[HOSTILE].answered;
        self.until(Duration::from_secs(20), |arena| arena.probes[HOSTILE].answered > before)
    }

    /// It must still talk.
    pub(super) fn expect_talk(&mut self) {
        let talks = self.talks();
        let (state, code) = (self.state(), self.code());
        self.must(talks, "script", || format!("nothing passes: {state:?} {code:?}"));
    }

    /// It is up, in the session that was up when one was waited for, and it talks.
    pub(super) fn expect_same(&mut self) {
        let (up, code) = (self.is_up(), self.code());
        let same = self.session == self.sites[HOSTILE].begun;
        self.must(up && same, "script", || format!("its session does not live: {code:?}, up {up}"));
        self.expect_talk();
    }

    pub(super) fn is_up(&self) -> bool {
        self.state() == Some(TunnelState::Up)
    }

    pub(super) fn state(&self) -> Option<TunnelState> {
        self.state_of(HOSTILE)
    }

    pub(super) fn tunnel(&self) -> Option<&Tunnel> {
        self.machine.fleet.tunnels().find(|tunnel| tunnel.config().name == name(HOSTILE))
    }

    /// The code of its error.
    pub(super) fn code(&self) -> Option<&'static str> {
        self.tunnel()?.error().map(|error| error.code)
    }

    /// The words of its error.
    pub(super) fn words(&self) -> String {
        self.tunnel().and_then(Tunnel::error).map(|error| error.message.clone()).unwrap_or_default()
    }

    /// Its packets that were dropped for a reason.
    pub(super) fn drops(&self, reason: DropReason) -> u64 {
        self.machine.counters.drops(Some(id(HOSTILE)), reason)
    }

    /// Its document in `status`.
    pub(super) fn status(&self) -> mrvpn_engine::TunnelStatus {
        let clocks = ClockPair { moment: self.now, wall: WALL };
        let mut status = self.machine.fleet.status(clocks, &|_| Counted::default());
        status.tunnels.remove(HOSTILE)
    }

    /// The address of its flow's program.
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.probes[HOSTILE].source
    }

    /// Where a program's packet to this address goes, which has not bound.
    pub(super) fn way(&self, to: [u8; 4]) -> Verdict {
        self.host.way(None, IpAddr::from(to), UDP, 7)
    }

    /// Whether a link carries everything.
    pub(super) fn is_quiet(&self) -> bool {
        self.round.is_multiple_of(3)
    }

    /// A stranger sends a datagram to the hostile tunnel's socket, from this address.
    pub(super) fn inject(&mut self, from: SocketAddr, datagram: &[u8]) {
        let Some(to) = self.sockets.get(&HOSTILE).copied() else { return };
        self.machine.arrive(to.port(), from, datagram.to_vec(), self.now);
        self.settle();
    }

    /// As if from its server.
    pub(super) fn inject_as_server(&mut self, datagram: &[u8]) {
        self.inject(remote(HOSTILE), datagram);
    }

    /// A host behind the hostile server, or the server itself, sends this.
    pub(super) fn send_inner(&mut self, packet: &[u8]) {
        let now = self.now;
        self.server().send(packet, now);
        self.post_sites();
    }

    /// Its server says this in the control channel.
    pub(super) fn say(&mut self, text: &[u8]) {
        let now = self.now;
        self.server().say(text, now);
        self.post_sites();
    }

    /// The network tells the engine that nothing listens there, whoever says so.
    pub(super) fn refuse_port(&mut self) {
        let Some(attempt) = self.tunnel().map(Tunnel::last_attempt) else { return };
        self.machine.fleet.handle_port_refused(id(HOSTILE), attempt, self.now);
        self.settle();
    }

    /// Something must hold.
    pub(super) fn must(&mut self, holds: bool, invariant: &'static str, what: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            self.violation = Some(Violation::new(invariant, what(), self.now));
        }
    }

    /// Lets time pass until something holds; whether it does.
    pub(super) fn until(&mut self, limit: Duration, mut holds: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !holds(self) {
            if self.violation.is_some() || !self.step_before(end) {
                return false;
            }
        }
        true
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.violation.is_none() && self.step_before(end) {}
        self.now = end;
    }

    // ---- how it works

    fn step_before(&mut self, end: Moment) -> bool {
        let Some(due) = self.due().filter(|due| *due <= end) else { return false };
        self.now = due.max(self.now);
        self.run_probes();
        self.deliver();
        self.settle();
        let now = self.now;
        self.sites.iter_mut().for_each(|site| site.pass_time(now));
        self.post_sites();
        true
    }

    fn due(&self) -> Option<Moment> {
        let sites = self.sites.iter().filter_map(Far::poll_timeout);
        let probes = self.probes.iter().map(|probes| probes.next_at);
        let rest = [self.machine.poll_timeout(), self.network.next_at()].into_iter().flatten();
        sites.chain(probes).chain(rest).min()
    }

    fn settle(&mut self) {
        let now = self.now;
        for _ in 0..ROUNDS {
            self.machine.pass_time(now);
            let mut busy = self.machine.carry_out(&mut self.outgoing, now);
            busy |= self.machine.turn(&mut self.outgoing, now);
            busy |= self.machine.keep_up(&mut self.host, now, |_| ()) != Kept::Nothing;
            busy |= self.take_written();
            self.post();
            if !busy {
                return;
            }
        }
        self.must(false, "I-6", || "the engine does not come to rest".to_owned());
    }

    /// The engine's datagrams: none goes anywhere but to the remote of its tunnel.
    fn post(&mut self) {
        for Outgoing { tunnel, from, to, datagram } in std::mem::take(&mut self.outgoing) {
            self.hash.bytes(&datagram);
            let place = (0..=HOSTILE).find(|place| id(*place) == tunnel && remote(*place) == to);
            let marked = self.host.marked(to.ip()) == Verdict::Clear;
            self.must(place.is_some() && marked, "I-1", || format!("{tunnel} sends to {to}"));
            let Some(place) = place else { continue };
            self.sockets.insert(place, from);
            if place == HOSTILE {
                self.sent = (self.sent.0 + datagram.len() as u64, self.sent.1 + 1);
                self.last_sent.clone_from(&datagram);
            }
            self.dialogue.say(self.now, "client", || format!("{from} to {to}: {} bytes", datagram.len()));
            self.network.send(from, to, datagram, self.now);
        }
    }

    fn post_sites(&mut self) {
        let now = self.now;
        for place in 0..=HOSTILE {
            while let Some(packet) = self.sites[place].poll_packet() {
                self.at_server(place, &packet);
            }
            while let Some((to, datagram)) = self.sites[place].poll_transmit() {
                self.hash.bytes(&datagram);
                if place == HOSTILE {
                    self.dialogue.say(now, "server", || format!("to {to}: {} bytes", datagram.len()));
                    if self.heard.len() >= 256 {
                        self.heard.remove(0);
                    }
                    self.heard.push(datagram.clone());
                }
                self.network.send(remote(place), to, datagram, now);
            }
        }
    }

    fn deliver(&mut self) {
        while let Some(delivered) = self.network.take_next(self.now) {
            if delivered.to.ip() == IpAddr::V4(CARD) {
                self.machine.arrive(delivered.to.port(), delivered.from, delivered.datagram, self.now);
            } else if let Some(place) = (0..=HOSTILE).find(|place| remote(*place) == delivered.to) {
                self.sites[place].arrive(delivered.from, delivered.datagram, self.now);
            }
        }
    }

    fn run_probes(&mut self) {
        for place in 0..=HOSTILE {
            self.look_for_lost(place);
            if self.probes[place].next_at <= self.now {
                let slower = if place == HOSTILE { 10 } else { 1 };
                self.probes[place].next_at = self.now + self.period * slower;
                self.send_probe(place);
            }
        }
    }

    fn look_for_lost(&mut self, place: usize) {
        let late = |at: &Moment| *at + IN_TIME < self.now;
        let lost = self.probes[place].waiting.first_key_value().is_some_and(|(_, at)| late(at));
        if lost && place < HOSTILE && !self.judged {
            self.probes[place].waiting.pop_first();
        } else if lost && place < HOSTILE {
            self.must(false, "I-8", || format!("a probe of {} is lost or late", name(place)));
        } else if lost {
            while self.probes[place].waiting.len() > 64 {
                self.probes[place].waiting.pop_first();
            }
        }
    }

    fn send_probe(&mut self, place: usize) {
        let to = IpAddr::V4(own_target(place));
        let way = self.host.way(None, to, UDP, PORTS.1);
        let Verdict::Device(device) = way else {
            let clear = way == Verdict::Clear && self.judged && place < HOSTILE;
            return self.must(!clear, "I-1", || format!("a packet of {} would leave in clear", name(place)));
        };
        let Some(source) = self.host.unbound(&device, to) else { return };
        let number = self.probes[place].number;
        self.probes[place].number += 1;
        self.probes[place].source = Some(source);
        self.probes[place].waiting.insert(number, self.now);
        let tag = Tag { kind: Kind::Ask, place: APP, session: 0, flow: place as u32, number };
        let packet = Draft {
            source: SocketAddr::new(source, PORTS.0 + place as u16),
            destination: SocketAddr::new(to, PORTS.1),
            protocol: UDP,
            flags: 0,
            tag,
            payload: TAG,
            id: number as u16,
        };
        self.machine.io.queue.incoming.push_back(packet.build());
    }

    /// What comes out at a server: its own tunnel's flow, from the address that it assigned.
    fn at_server(&mut self, place: usize, packet: &[u8]) {
        let Some(seen) = Seen::read(packet) else { return };
        let Some(tag) = seen.tag else { return };
        self.must(tag.flow as usize == place, "I-2", || format!("at the server of {}: {seen:?}", name(place)));
        let assigned = IpAddr::from([INNER[0], INNER[1], INNER[2], place as u8 + 2]);
        let right = place == HOSTILE || seen.source.ip() == assigned;
        self.must(right && seen.sound, "I-3", || format!("at the server of {}: {seen:?}", name(place)));
        self.probes[place].arrived += 1;
        let answer = Draft {
            source: seen.destination,
            destination: seen.source,
            protocol: seen.protocol,
            flags: 1,
            tag: Tag { kind: Kind::Answer, place: place as u8, ..tag },
            payload: seen.payload,
            id: tag.number as u16,
        };
        let now = self.now;
        self.sites[place].send(&answer.build(), now);
    }

    fn take_written(&mut self) -> bool {
        let written = std::mem::take(&mut self.machine.io.queue.written);
        let any = !written.is_empty();
        for packet in written {
            self.hash.bytes(&packet);
            self.at_host(&packet);
        }
        any
    }

    fn at_host(&mut self, packet: &[u8]) {
        let Some(seen) = Seen::read(packet) else {
            return self.must(false, "I-4", || format!("written to the interface: {packet:02x?}"));
        };
        self.dialogue.say(self.now, "program", || format!("gets {seen:?}"));
        if seen.error {
            return self.take_error(&seen, packet);
        }
        let tag = seen.tag.filter(|tag| tag.kind == Kind::Answer && usize::from(tag.place) == tag.flow as usize);
        let Some(tag) = tag else {
            return self.must(false, "I-4", || format!("written to the interface: {seen:?}"));
        };
        let place = usize::from(tag.place);
        let Some(probes) = self.probes.get_mut(place) else { return };
        let (from, to) = (SocketAddr::new(IpAddr::V4(own_target(place)), PORTS.1), probes.source);
        let right = seen.source == from && Some(seen.destination.ip()) == to && seen.sound;
        let waited = probes.waiting.remove(&tag.number).map(|at| self.now.since(at));
        probes.answered += 1;
        let once = waited.is_some() || !self.judged;
        self.must(once, "I-12", || format!("an answer comes twice: {seen:?}"));
        self.must(right, "I-4", || format!("written to the interface: {seen:?}"));
        if place < HOSTILE && self.judged {
            let in_time = waited.is_none_or(|waited| waited <= IN_TIME);
            self.must(in_time, "I-8", || format!("a probe of {} took {waited:?}", name(place)));
        }
    }

    /// An ICMP error: the engine's own, or one about the flow of the tunnel from which it came.
    fn take_error(&mut self, seen: &Seen, packet: &[u8]) {
        let own = IpAddr::from([198, 18, 0, 254]);
        if seen.source.ip() == own {
            return;
        }
        // An IPv4 header, the error's, and the destination of what it quotes.
        let quoted = packet.get(44..48).and_then(|bytes| bytes.first_chunk::<4>()).copied();
        let about_own_flow = quoted == Some(TARGET.octets()) && Some(seen.destination.ip()) == self.source();
        self.must(about_own_flow, "I-4", || format!("an error of another's flow is written: {seen:?}"));
        let now = self.now;
        self.errors.retain(|at| *at + Duration::from_secs(1) > now);
        self.errors.push(now);
        let many = self.errors.len();
        self.must(many <= ERRORS, "I-9", || format!("{many} errors of one flow in a second"));
    }

    /// How many errors of the last second were handed on.
    pub(super) fn errors(&self) -> usize {
        self.errors.len()
    }

    fn state_of(&self, place: usize) -> Option<TunnelState> {
        self.machine.fleet.tunnels().nth(place).map(Tunnel::state)
    }

    /// All that the engine tells about tunnels is printable ASCII.
    fn check_words(&mut self) {
        let clocks = ClockPair { moment: self.now, wall: WALL };
        let status = self.machine.fleet.status(clocks, &|_| Counted::default());
        let events = std::mem::take(&mut self.machine.events);
        let values = serde_json::to_value(&status).into_iter();
        let told: Vec<Value> =
            values.chain(events.iter().filter_map(|event| serde_json::to_value(event).ok())).collect();
        let odd = told.iter().find_map(odd_word);
        self.must(odd.is_none(), "T-30", || format!("the engine says {odd:?}"));
    }
}

/// The first text that is not printable ASCII.
fn odd_word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (!text.bytes().all(|byte| (b' '..=b'~').contains(&byte))).then(|| text.clone()),
        Value::Array(list) => list.iter().find_map(odd_word),
        Value::Object(map) => map.values().find_map(odd_word),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// What a server pushes that behaves.
pub(super) fn honest(place: usize) -> Push {
    let [a, b, c] = INNER;
    let last = place + 2;
    let options = [
        format!("route {} 255.255.255.255", own_target(place)),
        format!("ifconfig {a}.{b}.{c}.{last} 255.255.255.0"),
        format!("route-gateway {a}.{b}.{c}.1"),
        "topology subnet".to_owned(),
        "ping 5".to_owned(),
        "ping-restart 30".to_owned(),
    ];
    Push { options: options.to_vec(), whole: None }
}

fn name(place: usize) -> String {
    format!("t{place}")
}

fn id(place: usize) -> TunnelId {
    TunnelId::new(u16::try_from(place).unwrap_or(u16::MAX))
}

fn tunnel(place: usize, lines: &str) -> TunnelConfig {
    let remote = remote(place).ip();
    let text = format!("client\ndev tun\nremote {remote}\nremote-cert-tls server\nauth-user-pass\n{lines}\n{CA}");
    let parsed = ovpn::parse(text.as_bytes(), &mut ovpn::NoFiles).expect("a script's lines make a profile");
    TunnelConfig {
        name: name(place),
        file: format!("{}.ovpn", name(place)),
        profile: parsed.profile,
        credentials: Some(Credentials { user: name(place), password: Secret::new("secret".to_owned()) }),
        default: false,
        strict_server: false,
        accept: Vec::new(),
        bypass: Vec::new(),
        warnings: Vec::new(),
    }
}

/// Instead of a profile's lines: its control channel is wrapped by tls-crypt.
pub(super) const WRAPPED: &str = "tls-crypt";
const KEY: u8 = 0x5a;

fn wrapped() -> ServerWrap {
    let key = StaticKey::from_bytes(vec![KEY; StaticKey::LEN]).expect("it has the length of a static key");
    ServerWrap::TlsCrypt { key }
}

fn static_key() -> String {
    let lines = format!("{}\n", format!("{KEY:02x}").repeat(16)).repeat(StaticKey::LEN / 16);
    let (begin, end) = ("-----BEGIN OpenVPN Static key V1-----", "-----END OpenVPN Static key V1-----");
    format!("<tls-crypt>\n{begin}\n{lines}{end}\n</tls-crypt>\n")
}

/// A certificate in form only: the scripted TLS looks at none.
const CA: &str = "<ca>\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n</ca>\n";
