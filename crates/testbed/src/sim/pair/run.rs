//! One run of a pair: time jumps to whatever comes next, that is carried out, and everything is judged. The order within
//! one moment is fixed: actions, arrivals, timers, packets of our own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::Transport;
use mrvpn_proto::stream::frame_length;
use mrvpn_proto::wrapping::Side;
use mrvpn_proto::{EndReason, is_data};

use super::action::{Action, What};
use super::client::{self, CLIENT, Client, Wish};
use super::ends::Ends;
use super::plan::Plan;
use super::plant::Plant;
use super::probe::{Book, Way};
use super::server::{self, SERVER, Server};
use super::stranger::Stranger;
use crate::sim::dialogue::{Dialogue, Reader};
use crate::sim::net::{End, Fate, Network, Noise, StreamEvent, StreamId};
use crate::sim::runner::{Trace, TraceHash, Violation};

/// Carries out the actions, then waits for the tunnel to be up and well.
pub(super) fn run(plan: &Plan, ends: &Ends, actions: &[Action], dialogue: &mut Dialogue) -> Result<Trace, Violation> {
    let injects = |action: &Action| matches!(action.what, What::Replays(_) | What::Forges(_));
    let stranger = Stranger::new(plan.seed, actions.iter().any(injects));
    let mut run = Run::new(plan, ends, stranger, dialogue);
    run.go(actions)?;
    Ok(run.finish())
}

/// The calendar at the beginning.
const WALL: i64 = 1_764_000_000;
/// Steps in one moment after which nothing but a loop explains it.
const STEPS_IN_A_MOMENT: u32 = 20_000;
/// Datagrams on their way after which nothing but a storm explains it.
const ON_WAY: usize = 20_000;

struct Run<'a> {
    plan: &'a Plan,
    now: Moment,
    /// How far the calendar was set, in seconds.
    wall: i64,
    net: Network,
    client: Client,
    server: Server,
    book: Book,
    stranger: Stranger,
    next_probe: Moment,
    /// When all faults stopped.
    faults_end: Moment,
    /// From here on the tunnel must stay as it is.
    calm_from: Option<Moment>,
    hash: TraceHash,
    trace: Trace,
    dialogue: &'a mut Dialogue,
    reader: Option<Reader>,
    /// Data packets that were not told of: up and down.
    untold: [u32; 2],
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, ends: &Ends, stranger: Stranger, dialogue: &'a mut Dialogue) -> Self {
        let wall = WallTime::from_unix(WALL.unsigned_abs());
        let mut net = Network::new(plan.seed);
        net.set_noise_everywhere(plan.noise.clone());
        net.nat(CLIENT, outside(0));
        net.listen(SERVER);
        Self {
            plan,
            now: Moment::default(),
            wall: 0,
            net,
            client: Client::new(plan, Arc::clone(&ends.connector)),
            server: Server::new(plan, Arc::clone(&ends.acceptor), wall),
            book: Book::new(plan.seed),
            stranger,
            next_probe: Moment::default(),
            faults_end: Moment::default(),
            calm_from: None,
            hash: TraceHash::default(),
            trace: Trace::default(),
            reader: dialogue.is_on().then(|| Reader::new(&plan.wrap(), wall)),
            dialogue,
            untold: [0; 2],
        }
    }

    fn go(&mut self, actions: &[Action]) -> Result<(), Violation> {
        for action in actions {
            self.until(Moment::default() + action.at)?;
            self.act(&action.what);
            self.settle()?;
        }
        let ends = actions.iter().map(|action| action.at + action.what.lasts());
        let faults_end = ends.fold(self.plan.length, Duration::max);
        self.until(Moment::default() + faults_end)?;
        self.calm()
    }

    /// Everything is well from now on: the tunnel must be up soon, and stay up without losing anything.
    fn calm(&mut self) -> Result<(), Violation> {
        self.note(|| String::from("all faults have stopped"));
        self.net.set_noise_everywhere(Noise::NONE);
        self.faults_end = self.now;
        self.server.login_takes = Duration::ZERO;
        self.server.refuses = false;
        self.until(self.now + self.plan.bound())?;
        self.judge_up()?;
        self.calm_from = Some(self.now);
        self.until(self.now + self.plan.calm())?;
        self.judge_up()?;
        self.judge_calm()
    }

    fn judge_up(&self) -> Result<(), Violation> {
        let (client, server) = (self.client.lease(), self.server.lease());
        if client.is_some() && client == server {
            return Ok(());
        }
        let what = format!(
            "the client is in lease {client:?} ({}), the server in {server:?} ({})",
            self.client.waits_for(),
            self.server.waits_for()
        );
        Err(self.violation("I-7", what))
    }

    fn judge_calm(&self) -> Result<(), Violation> {
        let from = self.calm_from.unwrap_or_default();
        let to = Moment::from_nanos(self.now.as_nanos().saturating_sub(1_000_000_000));
        for way in [Way::Up, Way::Down] {
            if let Some((number, at)) = self.book.missing(way, from, to) {
                return Err(self.violation("I-7", format!("packet {number} {way:?}, sent at {at}, was lost")));
            }
        }
        match self.server.sessions() + usize::from(self.plan.plant == Some(Plant::Remembered)) {
            1 => Ok(()),
            sessions => Err(self.violation("I-9", format!("the server remembers {sessions} sessions of one client"))),
        }
    }

    /// Runs until then.
    fn until(&mut self, end: Moment) -> Result<(), Violation> {
        let mut steps = 0;
        loop {
            let due = [self.net.next_at(), self.client.due(), self.server.due(), Some(self.next_probe)];
            let next = due.into_iter().flatten().min().filter(|next| *next <= end);
            let Some(next) = next else {
                self.now = self.now.max(end);
                return Ok(());
            };
            steps = if next > self.now { 0 } else { steps + 1 };
            if steps > STEPS_IN_A_MOMENT || self.net.on_way() > ON_WAY {
                return Err(self.violation("I-6", self.busy()));
            }
            self.now = self.now.max(next);
            self.step()?;
        }
    }

    fn busy(&self) -> String {
        let (client, server) = (self.client.waits_for(), self.server.waits_for());
        format!("no end: {} datagrams on their way; client {client}; server {server}", self.net.on_way())
    }

    fn step(&mut self) -> Result<(), Violation> {
        while let Some(delivered) = self.net.take_next(self.now) {
            if delivered.to == SERVER {
                self.server.take(delivered.from, delivered.datagram, self.now);
            } else if delivered.from == SERVER {
                self.client.take(delivered.to, delivered.datagram, self.now);
            }
            self.settle()?;
        }
        let wall = self.wall_time();
        while let Some((id, event)) = self.net.take_stream_event(self.now) {
            self.take_stream_event(id, event, wall);
            self.settle()?;
        }
        let heeded = self.plan.plant != Some(Plant::LeftBehind) || self.calm_from.is_none();
        if heeded && self.client.due().is_some_and(|due| due <= self.now) {
            self.client.handle_timeout(wall, self.now);
        }
        if self.server.due().is_some_and(|due| due <= self.now) {
            let was_dead = self.server.is_dead();
            self.server.handle_timeout(wall, self.now);
            if was_dead && !self.server.is_dead() {
                self.net.listen(SERVER);
            }
        }
        self.settle()?;
        if self.next_probe <= self.now {
            self.next_probe = self.now + self.plan.probe_every;
            self.probe();
            self.settle()?;
        }
        self.judge_deadlines()
    }

    fn take_stream_event(&mut self, id: StreamId, event: StreamEvent, wall: WallTime) {
        match event {
            StreamEvent::Accepted { .. } | StreamEvent::Bytes(End::Server, _) | StreamEvent::Ended(End::Server) => {
                self.server.take_stream_event(id, event, self.now);
            }
            StreamEvent::Connected
            | StreamEvent::Refused
            | StreamEvent::Bytes(End::Client, _)
            | StreamEvent::Ended(End::Client) => self.client.take_stream_event(id, event, wall, self.now),
        }
    }

    /// After everything was done, nothing is due any more.
    fn judge_deadlines(&self) -> Result<(), Violation> {
        for (who, due) in [("client", self.client.due()), ("server", self.server.due())] {
            if due.is_some_and(|due| due <= self.now) {
                return Err(self.violation("I-6", format!("a deadline of the {who} is left behind: {}", self.busy())));
            }
        }
        Ok(())
    }

    /// A packet each way, where there is a tunnel.
    fn probe(&mut self) {
        if let Some(lease) = self.client.lease().filter(|_| !self.client.is_asleep()) {
            let packet = self.book.send(Way::Up, lease, self.now);
            self.client.send(&packet, self.now);
        }
        if let Some(lease) = self.server.lease().filter(|_| !self.server.is_away()) {
            let packet = self.book.send(Way::Down, lease, self.now);
            self.server.send(lease, &packet, self.now);
        }
    }

    fn act(&mut self, what: &What) {
        self.note(|| format!("{what:?}"));
        self.trace.tally("actions");
        assert!(self.plan.plant != Some(Plant::Panics), "planted");
        let now = self.now;
        match what {
            What::Noise(noise) => self.net.set_noise_everywhere(noise.clone()),
            What::Hole(time) => self.net.black_hole(CLIENT, SERVER.ip(), now + *time),
            What::Rebind => self.net.rebind(CLIENT),
            What::Move(number) => self.net.rebind_to(CLIENT, outside(*number)),
            What::Restart(time) => {
                self.server.kill(now + *time);
                self.net.kill_listener(SERVER, now);
            }
            What::Stop(time) => self.server.stop(now + *time),
            What::Sleep(time) => self.client.asleep_until = self.client.asleep_until.max(Some(now + *time)),
            What::ClientRenews if self.client.is_asleep() => {}
            What::ClientRenews => self.client.renegotiate(now),
            What::Leaves if self.client.is_asleep() => {}
            What::Leaves => self.client.leave(now),
            What::ServerRenews if self.server.is_away() => {}
            What::ServerRenews => self.server.renegotiate(now),
            What::SendsAway(_) if self.server.is_away() => {}
            What::SendsAway(farewell) => self.server.send_away(farewell, now),
            What::Refuses => self.server.refuses = true,
            What::SlowLogins(time) => self.server.login_takes = *time,
            What::WallJump(seconds) => self.wall += seconds,
            What::Burst(count) => (0..*count).for_each(|_| self.probe()),
            What::Replays(count) => (0..*count).for_each(|_| {
                let replayed = self.stranger.replay();
                self.inject(replayed);
            }),
            What::Forges(count) => (0..*count).for_each(|_| {
                let forged = self.stranger.forge();
                self.inject(forged);
            }),
        }
    }

    fn inject(&mut self, datagram: Option<(SocketAddr, SocketAddr, Vec<u8>)>) {
        let Some((from, to, datagram)) = datagram else { return };
        self.trace.tally("injected");
        self.tell(if to == SERVER { Way::Up } else { Way::Down }, "stranger", &datagram);
        self.net.send(from, to, datagram, self.now);
    }

    /// Takes what both sides want to send and tell, until there is nothing more.
    fn settle(&mut self) -> Result<(), Violation> {
        for (from, datagram) in std::mem::take(&mut self.client.outbox) {
            self.send(Way::Up, from, SERVER, datagram);
        }
        for (to, datagram) in std::mem::take(&mut self.server.outbox) {
            self.send(Way::Down, SERVER, to, datagram);
        }
        for wish in std::mem::take(&mut self.client.wishes) {
            match wish {
                Wish::Connect(from) => self.client.dialled(self.net.connect(from, SERVER, self.now)),
                Wish::Close(id) => self.net.close(id, End::Client, self.now),
            }
        }
        for id in std::mem::take(&mut self.server.closes) {
            self.net.close(id, End::Server, self.now);
        }
        for news in std::mem::take(&mut self.client.news) {
            self.take_client_news(news)?;
        }
        for news in std::mem::take(&mut self.server.news) {
            self.take_server_news(news)?;
        }
        Ok(())
    }

    fn send(&mut self, way: Way, from: SocketAddr, to: SocketAddr, datagram: Vec<u8>) {
        self.hash.moment(self.now);
        self.hash.bytes(&datagram);
        self.tell(way, if way == Way::Up { "client" } else { "server" }, &datagram);
        if self.plan.transport == Transport::Tcp {
            return self.write(way, to, &datagram);
        }
        self.stranger.see(from, to, &datagram);
        let is_data = datagram.first().is_some_and(|first| is_data(*first));
        let fate = self.net.send(from, to, datagram, self.now);
        if !is_data && fate != (Fate::Sent { copies: 1, damaged: false }) {
            self.note(|| format!("    {fate:?}"));
        }
    }

    /// Sends a packet in its stream. Where that has just ended, it goes nowhere.
    fn write(&mut self, way: Way, to: SocketAddr, packet: &[u8]) {
        let (stream, by) = match way {
            Way::Up => (self.client.stream(), End::Client),
            Way::Down => (self.server.stream(to), End::Server),
        };
        let (Some(id), Ok(length)) = (stream, frame_length(packet)) else { return };
        self.trace.tally("packets in streams");
        self.net.write(id, by, [&length, packet].concat(), self.now);
    }

    fn take_client_news(&mut self, news: client::News) -> Result<(), Violation> {
        match news {
            client::News::Packet(lease, packet) => self.arrive(Way::Down, lease, &packet),
            client::News::Wrong(invariant, what) => Err(self.violation(invariant, what)),
            client::News::Ended(reason) => self.take_end(&reason),
            client::News::Up(lease) => {
                self.say("client", || format!("up in lease {lease}"));
                self.trace.tally("sessions up");
                let after = self.now.since(Moment::default());
                self.trace.longest.entry("until first up").or_insert(after);
                self.disturbed("the client began a new session")
            }
            client::News::Key(key_id) => {
                self.say("client", || format!("has key {key_id}"));
                self.trace.tally("client keys");
                Ok(())
            }
            client::News::NoStream(why) => {
                self.say("client", || format!("no stream: {why}"));
                self.trace.tally("no stream");
                self.disturbed("the stream was lost")
            }
            client::News::Began => {
                self.say("client", || String::from("begins a session"));
                self.trace.tally("sessions");
                Ok(())
            }
        }
    }

    fn take_end(&mut self, reason: &EndReason) -> Result<(), Violation> {
        self.say("client", || format!("session ended: {reason}"));
        self.trace.tally(reason.code());
        self.hash.bytes(reason.code().as_bytes());
        if reason.is_final() && !matches!(reason, EndReason::Closed) {
            return Err(self.violation("I-7", format!("the client would never try again: {reason}")));
        }
        if self.plan.plant == Some(Plant::NeverBack) {
            self.client.asleep_until = Some(Moment::from_nanos(u64::MAX));
        }
        self.disturbed("a session ended")
    }

    fn take_server_news(&mut self, news: server::News) -> Result<(), Violation> {
        match news {
            server::News::Packet(lease, packet) => return self.arrive(Way::Up, lease, &packet),
            server::News::Wrong(invariant, what) => return Err(self.violation(invariant, what)),
            server::News::Gone(id, why) => {
                self.say("server", || format!("session {id} is gone: {why}"));
                self.trace.tally("server sessions gone");
            }
            server::News::Login(id, renewal) => {
                self.say("server", || format!("session {id} logs in{}", if renewal { " again" } else { "" }));
            }
            server::News::Key(id, key_id) => {
                self.say("server", || format!("session {id} has key {key_id}"));
                self.trace.tally("server keys");
            }
            server::News::Up(id, lease) => {
                self.say("server", || format!("session {id} is up in lease {lease}"));
                self.trace.tally("server sessions up");
            }
            server::News::Floated(id) => {
                self.say("server", || format!("session {id} comes from elsewhere"));
                self.trace.tally("floats");
            }
        }
        Ok(())
    }

    /// Must not happen any more once all has been well for long enough.
    fn disturbed(&self, what: &str) -> Result<(), Violation> {
        if self.calm_from.is_some() { Err(self.violation("I-7", format!("{what} without any fault"))) } else { Ok(()) }
    }

    fn arrive(&mut self, way: Way, lease: u32, packet: &[u8]) -> Result<(), Violation> {
        self.hash.moment(self.now);
        self.hash.bytes(packet.get(..14).unwrap_or(packet));
        let mut packet = packet.to_vec();
        let (mut lease, mut times) = (lease, 1);
        match self.plan.plant {
            Some(Plant::Twice) => times = 2,
            Some(Plant::Changed) => packet.last_mut().into_iter().for_each(|byte| *byte ^= 1),
            Some(Plant::OtherSession) => lease += 1,
            Some(Plant::Lost) if self.calm_from.is_some() => times = 0,
            Some(Plant::NeverTheSame) => self.hash.number(NEVER_THE_SAME.fetch_add(1, Ordering::Relaxed)),
            Some(Plant::Lost | Plant::NeverBack | Plant::LeftBehind | Plant::Remembered | Plant::Panics) | None => {}
        }
        let mut arrive = || self.book.arrive(way, lease, &packet);
        (0..times).try_for_each(|_| arrive()).map_err(|what| self.violation("I-12", what))
    }

    fn finish(mut self) -> Trace {
        let counts = self.net.counts();
        for (what, count) in [
            ("datagrams", counts.sent),
            ("datagrams lost", counts.lost + counts.swallowed + counts.too_large + counts.unmapped),
            ("datagrams doubled", counts.doubled),
            ("datagrams damaged", counts.damaged),
            ("datagrams late", counts.late),
        ] {
            self.trace.add(what, count);
        }
        for (way, gap) in [(Way::Up, "without a packet up"), (Way::Down, "without a packet down")] {
            let (all, noisy) = (self.book.counts(way, self.now), self.book.counts(way, self.faults_end));
            self.trace.add("packets", all.0);
            self.trace.add("packets arrived", all.1);
            self.trace.add("packets while noisy", noisy.0);
            self.trace.add("packets arrived while noisy", noisy.1);
            self.trace.took(gap, self.book.longest_gap(way));
        }
        self.trace.hash = self.hash.get();
        self.trace.end = self.now;
        self.trace.tunnel_time = self.now.since(Moment::default());
        self.trace
    }

    fn violation(&self, invariant: &'static str, what: impl Into<String>) -> Violation {
        Violation::new(invariant, what, self.now)
    }

    fn wall_time(&self) -> WallTime {
        let seconds = i64::try_from(self.now.since(Moment::default()).as_secs()).unwrap_or(i64::MAX);
        WallTime::from_unix((WALL + self.wall).saturating_add(seconds).max(0).unsigned_abs())
    }

    /// Tells of a datagram; of data packets only how many there were.
    fn tell(&mut self, way: Way, who: &str, datagram: &[u8]) {
        let Some(reader) = &self.reader else { return };
        if datagram.first().is_some_and(|first| is_data(*first)) {
            self.untold[usize::from(way == Way::Down)] += 1;
            return;
        }
        let side = if way == Way::Up { Side::Client } else { Side::Server };
        let text = reader.describe(side, datagram, self.now);
        self.say(who, || text);
    }

    fn say(&mut self, who: &str, what: impl FnOnce() -> String) {
        if !self.dialogue.is_on() {
            return;
        }
        let [up, down] = std::mem::take(&mut self.untold);
        if up + down > 0 {
            self.dialogue.say(self.now, "both", || format!("{up} data packets to the server, {down} to the client"));
        }
        self.dialogue.say(self.now, who, what);
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        self.say("----", what);
    }
}

/// What [`Plant::NeverTheSame`] counts.
static NEVER_THE_SAME: AtomicU64 = AtomicU64::new(0);

/// Addresses under which others see the client.
fn outside(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1 + number))
}
