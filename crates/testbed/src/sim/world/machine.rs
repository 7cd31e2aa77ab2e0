//! The engine of a simulated world at work: the real [`Fleet`] and [`Lane`], and by hand what the driver does with sockets,
//! commands and the host's plan. It decides nothing about tunnels or packets. What is planted in it (`plant.rs`) is wrong on
//! purpose, so that the oracle can be seen to find it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_engine::lane::{Counters, Lane, LaneCommand, LaneIo, LaneReport, ReceiveBatch, SocketError, Train};
use mrvpn_engine::tunnel::{Connector, OpenFailure, Tunnel, TunnelState};
use mrvpn_engine::{Ask, Attempt, EngineConfig, EventKind, Fleet, Memory, Request};
use mrvpn_netplan::{Host, Plan, Sessions};
use mrvpn_router::{Attachment, TunnelId};

use super::setup::{CARD, File};
use crate::sim::Dice;
use crate::sim::hosts::{SimHost, SimQueue};
use crate::sim::plant::Plant;

/// The time by which certificates would be judged.
pub(crate) const WALL: WallTime = WallTime::from_unix(1_800_000_000);

/// A datagram of the engine's sockets.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) tunnel: TunnelId,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) datagram: Vec<u8>,
}

/// An open socket.
#[derive(Clone, Copy, Debug)]
struct Socket {
    tunnel: TunnelId,
    attempt: Attempt,
    remote: SocketAddr,
    with_lane: bool,
}

/// What the host's thread has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Nothing,
    /// It has made the interface anew.
    Interface,
    /// It has carried out a plan.
    Plan,
    /// It has looked at the host and put back what others had deleted.
    Audit,
}

/// The engine's process.
pub(crate) struct Machine {
    pub(crate) fleet: Fleet,
    pub(crate) lane: Lane,
    pub(crate) counters: Arc<Counters>,
    pub(crate) io: Io,
    /// By local port.
    sockets: BTreeMap<u16, Socket>,
    next_port: u16,
    /// The plan that is wanted, and whether the fleet waits for word of it.
    wanted: Option<Plan>,
    owed: bool,
    plan_due: Option<Moment>,
    audit_due: Option<Moment>,
    rebuild_due: Option<Moment>,
    plan_delay: Duration,
    pub(crate) memory: Memory,
    /// Whether that has changed since it was last looked at.
    pub(crate) remembered: bool,
    /// Sockets that were asked for.
    pub(crate) opened: u64,
    pub(crate) events: Vec<EventKind>,
    pub(crate) plant: Option<Plant>,
    pub(crate) reports: u64,
}

/// The lane's window: a TUN queue, and what came for and goes from each tunnel's socket.
#[derive(Debug, Default)]
pub(crate) struct Io {
    pub(crate) queue: SimQueue,
    arrived: BTreeMap<TunnelId, VecDeque<Vec<u8>>>,
    waiting: BTreeSet<TunnelId>,
    sent: Vec<(TunnelId, Vec<u8>)>,
}

impl LaneIo for Io {
    type Queue = SimQueue;

    fn queue(&mut self) -> &mut SimQueue {
        &mut self.queue
    }

    fn ready(&mut self, tunnels: &mut Vec<TunnelId>) -> bool {
        tunnels.extend(self.waiting.iter().copied());
        !self.queue.incoming.is_empty()
    }

    fn receive(&mut self, tunnel: TunnelId, into: &mut ReceiveBatch) -> Result<usize, SocketError> {
        let Some(arrived) = self.arrived.get_mut(&tunnel) else { return Ok(0) };
        while let Some(datagram) = arrived.front()
            && into.push(datagram)
        {
            arrived.pop_front();
        }
        if arrived.is_empty() {
            self.waiting.remove(&tunnel);
        }
        Ok(into.count())
    }

    fn send(&mut self, tunnel: TunnelId, train: &Train<'_>) -> Result<(), SocketError> {
        self.sent.extend(train.datagrams().map(|datagram| (tunnel, datagram.to_vec())));
        Ok(())
    }
}

impl Machine {
    /// An engine that begins on `host` with this file and what another has remembered.
    pub(crate) fn new(file: &File, memory: Memory, host: &mut SimHost, dice: &mut Dice, now: Moment) -> Self {
        Self::with((file.config(), file.connectors()), memory, host, dice, now)
    }

    /// The same with any configuration, and a TLS engine for each of its tunnels.
    pub(crate) fn with(
        (config, connectors): (EngineConfig, Vec<Connector>),
        memory: Memory,
        host: &mut SimHost,
        dice: &mut Dice,
        now: Moment,
    ) -> Self {
        let facts = host.model.facts.clone();
        let fleet =
            Fleet::with_connectors(config, connectors, memory.clone(), facts, Sessions::default(), dice.bytes(), now);
        let fleet = fleet.unwrap_or_else(|error| panic!("a drawn file is refused: {error}"));
        let lane = Lane::new(dice.bytes(), Arc::clone(fleet.policy()), Attachment::Rules);
        host.model.devices.insert(host.scope().device);
        Self {
            counters: lane.counters(),
            fleet,
            lane,
            io: Io::default(),
            sockets: BTreeMap::new(),
            next_port: 20_000 + u16::try_from(dice.below(10_000)).unwrap_or(0),
            wanted: None,
            owed: false,
            plan_due: None,
            audit_due: None,
            rebuild_due: None,
            plan_delay: Duration::from_millis(*dice.pick(&[0, 0, 1, 5, 40])),
            memory,
            remembered: true,
            opened: 0,
            events: Vec::new(),
            plant: None,
            reports: 0,
        }
    }

    /// When something is to be done although nothing comes.
    pub(crate) fn poll_timeout(&self) -> Option<Moment> {
        let host = [self.plan_due, self.audit_due, self.rebuild_due];
        host.into_iter().chain([self.fleet.poll_timeout(), self.lane.poll_timeout()]).flatten().min()
    }

    /// Whether others have changed something on the host that is not put back yet.
    pub(crate) fn host_is_disturbed(&self) -> bool {
        self.audit_due.is_some() || self.rebuild_due.is_some() || self.io.queue.down || self.io.queue.gone
    }

    /// Whether a plan is still to be carried out.
    pub(crate) fn plan_is_due(&self) -> bool {
        self.plan_due.is_some()
    }

    /// A datagram for a local port.
    pub(crate) fn arrive(&mut self, port: u16, from: SocketAddr, datagram: Vec<u8>, now: Moment) {
        let Some(socket) = self.sockets.get(&port).copied().filter(|socket| socket.remote == from) else { return };
        if socket.with_lane {
            self.io.arrived.entry(socket.tunnel).or_default().push_back(datagram);
            self.io.waiting.insert(socket.tunnel);
        } else {
            self.fleet.handle_datagram(socket.tunnel, socket.attempt, &datagram, now);
        }
    }

    /// Someone has changed what the engine made.
    pub(crate) fn ring(&mut self, now: Moment) {
        self.audit_due.get_or_insert(now + Duration::from_millis(50));
    }

    /// Tells the tunnels when they were last heard, then lets time pass, as the driver does after everything.
    pub(crate) fn pass_time(&mut self, now: Moment) {
        if self.fleet.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        let up = |tunnel: &&Tunnel| tunnel.state() == TunnelState::Up;
        for tunnel in self.fleet.tunnels().filter(up).map(Tunnel::id).collect::<Vec<_>>() {
            if let Some(at) = self.counters.last_heard(tunnel) {
                self.fleet.heard(tunnel, at);
            }
            self.fleet.carried(tunnel, self.counters.carried(tunnel), now);
        }
        self.fleet.handle_timeout(now);
    }

    /// Carries out what the fleet asks; whether there was anything.
    pub(crate) fn carry_out(&mut self, outgoing: &mut Vec<Outgoing>, now: Moment) -> bool {
        let mut any = false;
        while let Some(request) = self.fleet.poll_request() {
            any = true;
            match request {
                Request::Policy(policy) => self.lane.handle(LaneCommand::Policy(policy), now),
                Request::Remember(memory) => (self.memory, self.remembered) = (memory, true),
                Request::Event(event) => self.events.push(event),
                Request::Plan(plan) => {
                    (self.wanted, self.owed) = (Some(plan), true);
                    self.plan_due = Some(now + self.plan_delay);
                }
                Request::Tunnel { tunnel, ask } => self.serve(tunnel, ask, outgoing, now),
            }
        }
        any
    }

    fn serve(&mut self, tunnel: TunnelId, ask: Ask, outgoing: &mut Vec<Outgoing>, now: Moment) {
        match ask {
            Ask::Fresh => self.lane.handle(LaneCommand::Forget { tunnel }, now),
            Ask::Resolve { host } => self.fleet.handle_resolved(tunnel, &host, Err("no name server".to_owned()), now),
            Ask::Open { attempt, remote, .. } => {
                let outcome = self.open(tunnel, attempt, remote);
                self.fleet.handle_opened(tunnel, attempt, outcome, WALL, now);
            }
            Ask::Transmit { attempt, datagram } => self.transmit(tunnel, attempt, datagram, outgoing, now),
            Ask::Adopt { attempt, keys, ping } => {
                for socket in self.sockets.values_mut() {
                    socket.with_lane |= socket.tunnel == tunnel && socket.attempt == attempt;
                }
                self.lane.handle(LaneCommand::Adopt { tunnel, attempt, keys, ping }, now);
            }
            Ask::Install { keys } => self.lane.handle(LaneCommand::Install { tunnel, keys }, now),
            Ask::Retire { key_id } => self.lane.handle(LaneCommand::Retire { tunnel, key_id }, now),
            Ask::ExitNotify => self.lane.handle(LaneCommand::ExitNotify { tunnel }, now),
            Ask::Drop { attempt } => {
                self.sockets
                    .retain(|_, socket| socket.tunnel != tunnel || socket.attempt != attempt || socket.with_lane);
            }
            Ask::Close => {
                self.send_what_waits(outgoing, now);
                self.sockets.retain(|_, socket| socket.tunnel != tunnel);
                self.io.arrived.remove(&tunnel);
                self.io.waiting.remove(&tunnel);
                self.lane.handle(LaneCommand::Release { tunnel }, now);
            }
        }
    }

    fn open(&mut self, tunnel: TunnelId, attempt: Attempt, remote: SocketAddr) -> Result<(), OpenFailure> {
        self.opened += 1;
        self.next_port = if self.next_port >= 60_000 { 20_000 } else { self.next_port + 1 };
        self.sockets.insert(self.next_port, Socket { tunnel, attempt, remote, with_lane: false });
        Ok(())
    }

    fn transmit(
        &mut self,
        tunnel: TunnelId,
        attempt: Attempt,
        datagram: Vec<u8>,
        outgoing: &mut Vec<Outgoing>,
        now: Moment,
    ) {
        let mut open = self.sockets.iter();
        let found = open.find(|(_, socket)| socket.tunnel == tunnel && socket.attempt == attempt);
        match found.map(|(port, socket)| (*port, *socket)) {
            Some((_, Socket { with_lane: true, .. })) => {
                self.lane.handle(LaneCommand::Control { tunnel, datagram }, now);
            }
            Some((port, Socket { remote, .. })) => {
                outgoing.push(Outgoing { tunnel, from: local(port), to: remote, datagram });
            }
            None => panic!("{tunnel} sends without a socket"),
        }
    }

    /// What the lane is told before its socket is closed leaves first.
    fn send_what_waits(&mut self, outgoing: &mut Vec<Outgoing>, now: Moment) {
        self.lane.turn(&mut self.io, now);
        self.post(outgoing);
    }

    /// One turn of the lane, and what it reports; whether there was anything.
    pub(crate) fn turn(&mut self, outgoing: &mut Vec<Outgoing>, now: Moment) -> bool {
        let turn = self.lane.turn(&mut self.io, now);
        let mut any = turn.busy || turn.read > 0 || turn.received > 0;
        any |= self.post(outgoing);
        while let Some(report) = self.lane.poll_report() {
            any = true;
            self.reports += 1;
            self.hear(report, now);
        }
        any
    }

    fn hear(&mut self, report: LaneReport, now: Moment) {
        match report {
            LaneReport::Control { tunnel, datagram } => {
                self.fleet.handle_control(tunnel, &datagram, now);
            }
            LaneReport::PeerExit { tunnel, attempt } => self.fleet.handle_peer_exit(tunnel, attempt, now),
            LaneReport::KeyWorn { tunnel, attempt } => self.fleet.handle_key_worn(tunnel, attempt, now),
            LaneReport::StreamEnded { tunnel, attempt, error } => {
                self.fleet.handle_stream_ended(tunnel, attempt, error, now);
            }
            LaneReport::Loop { tunnel, .. } => self.fleet.tunnel_loop(tunnel, now),
            LaneReport::QueueGone => self.rebuild_due = Some(now + Duration::from_millis(1)),
            LaneReport::QueueDown => self.ring(now),
            LaneReport::Dropping | LaneReport::SocketError { .. } | LaneReport::Flows { .. } => {}
        }
    }

    /// Hands what the lane has sent to the network.
    fn post(&mut self, outgoing: &mut Vec<Outgoing>) -> bool {
        let sent = std::mem::take(&mut self.io.sent);
        let any = !sent.is_empty();
        for (tunnel, datagram) in sent {
            let lanes = self.sockets.iter().find(|(_, socket)| socket.with_lane && socket.tunnel == tunnel);
            if let Some((port, socket)) = lanes {
                outgoing.push(Outgoing { tunnel, from: local(*port), to: socket.remote, datagram });
            }
        }
        any
    }

    /// The host's thread: what is due of plan, repair and interface. Each step of a change is shown to `between`.
    pub(crate) fn keep_up(&mut self, host: &mut SimHost, now: Moment, mut between: impl FnMut(&SimHost)) -> Kept {
        let due = |at: Option<Moment>| at.is_some_and(|at| at <= now);
        if due(self.rebuild_due) {
            self.rebuild_due = None;
            host.model.devices.insert(host.scope().device);
            self.io.queue = SimQueue { written: std::mem::take(&mut self.io.queue.written), ..SimQueue::default() };
            self.lane.take_up_queue();
            self.plan_due = self.plan_due.or(Some(now));
            return Kept::Interface;
        }
        // The lane has told its connections that they have ended, as long as their addresses stand.
        if due(self.plan_due) && self.io.queue.down {
            self.plan_due = Some(now + Duration::from_secs(1));
        }
        if due(self.plan_due) && self.lane.has_told() && !self.io.queue.gone {
            self.plan_due = None;
            self.change(host, &mut between);
            if std::mem::take(&mut self.owed) {
                self.fleet.handle_planned(Ok(()), now);
            }
            return Kept::Plan;
        }
        if due(self.audit_due) && self.io.queue.down {
            // A route into an interface that is down is refused; it is looked at again.
            self.audit_due = Some(now + Duration::from_secs(1));
        }
        if due(self.audit_due) && !self.io.queue.gone {
            self.audit_due = None;
            let facts = host.model.facts.clone();
            if self.plan_due.is_none() {
                self.change(host, &mut between);
            }
            self.fleet.handle_facts(facts, now);
            return Kept::Audit;
        }
        Kept::Nothing
    }

    fn change(&mut self, host: &mut SimHost, between: &mut impl FnMut(&SimHost)) {
        let Some(wanted) = &self.wanted else { return };
        for step in mrvpn_netplan::diff(&host.standing(), wanted) {
            host.model.apply(&step).unwrap_or_else(|error| panic!("a step fails: {step:?}: {error}"));
            between(host);
        }
        host.model.log.clear();
    }

    /// Another file, its TLS engines scripted.
    pub(crate) fn reload(&mut self, file: &File, now: Moment) {
        let config: EngineConfig = file.config();
        if let Err(refused) = self.fleet.reload(config, Some(file.connectors()), now) {
            panic!("a drawn file is refused: {}", refused.message);
        }
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(CARD), port)
}
