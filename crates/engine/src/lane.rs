//! A lane: the data path of one thread as a value. It owns the router, the keys and keepalive timers of its tunnels and
//! all buffers; it decides everything about a packet and moves none itself: that is its [`LaneIo`]'s, and the thread,
//! the clock and the sockets are in `driver/lane_thread.rs`. What happens to one packet, both ways, is in
//! `datapath.rs`.

mod carrier; // what it takes to carry one tunnel
mod checksum; // checksums of what is cut or joined
mod coalesce; // segments from a server become super-packets
mod command; // what a lane is told and reports
mod counters; // what was carried and dropped
mod hold; // packets that wait for their tunnel
mod io; // queue and sockets as a trait
mod keepalive; // when a ping is due
mod keys; // two key slots
mod layout; // where headers end
pub mod limits; // bounds of buffers and queues
mod loops; // outer packets that come back
mod notices; // what is said once
mod receive; // where received datagrams lie
mod reports; // reports on their way out
#[cfg(test)]
mod sample; // packets for tests
mod split; // super-packets become packets
mod train; // datagrams that leave together
mod upkeep; // what the lane sends of itself

pub use coalesce::{Coalescer, PacketWriter};
pub use command::{LaneCommand, LaneReport};
pub use counters::{Carried, Counters};
pub use io::{LaneIo, SocketError};
pub use keys::Keys;
pub use receive::{ReceiveBatch, Run};
pub use split::{PacketSink, SplitError, split};
pub use train::{Berth, OpenTrain, Train, Trains};

pub(crate) use carrier::Carrier;

use std::collections::VecDeque;
use std::sync::Arc;

use mrvpn_clock::Moment;
use mrvpn_netplan::Queue;
use mrvpn_proto::{DataKeys, OCC_EXIT};
use mrvpn_router::limits::REFUSAL_BUFFER;
use mrvpn_router::{Attachment, DropReason, Offload, Policy, Refusal, Router, TunnelId, TunnelState};

use crate::datapath;
use counters::Published;
use hold::Holds;
use reports::Reports;

/// The data path of one attachment.
///
/// [`Lane::handle`] takes commands in, [`Lane::turn`] moves packets, [`Lane::poll_report`] and [`Lane::poll_timeout`]
/// give out what is to be known. After a turn that was not busy, `poll_timeout` is later than its `now`.
pub struct Lane {
    pub(crate) router: Router,
    pub(crate) attachment: Attachment,
    pub(crate) carriers: Vec<Option<Carrier>>,
    pub(crate) trains: Trains,
    pub(crate) coalescer: Coalescer,
    pub(crate) holds: Holds,
    pub(crate) reports: Reports,
    /// Where packets of the TUN are read to; away while one is judged.
    pub(crate) read: Box<[u8]>,
    /// Where datagrams are received to; away while they are judged.
    pub(crate) receive: ReceiveBatch,
    answer: Box<[u8]>,
    outbox: VecDeque<(TunnelId, Vec<u8>)>,
    ready: Vec<TunnelId>,
    counters: Arc<Counters>,
    published: Published,
    /// Something was dropped since the counters were brought up to date.
    pub(crate) dropped: bool,
    /// That packets are dropped is not said before this moment.
    drops_told: Option<Moment>,
    /// Whether a tunnel is among the carriers whose packets may come back.
    watches_loops: bool,
    /// Packets that wait are to be judged anew, whatever the time.
    present: bool,
    /// No ping is due before this moment.
    next_ping: Option<Moment>,
    queue_gone: bool,
    /// That the interface is down is not said before this moment.
    queue_told: Option<Moment>,
}

/// What a turn found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The share of a turn was used up before everything was dry: the next turn should follow at once.
    pub busy: bool,
    /// Packets read from the TUN.
    pub read: usize,
    /// Datagrams, or joined runs of them, received from servers.
    pub received: usize,
}

impl Lane {
    /// A lane without tunnels that judges packets of `attachment` by `policy`. `seed` makes ports unguessable and must
    /// not be known to anyone else.
    #[must_use]
    pub fn new(seed: [u8; 32], policy: Arc<Policy>, attachment: Attachment) -> Self {
        Self {
            router: Router::new(seed, policy),
            attachment,
            carriers: Vec::new(),
            trains: Trains::new(),
            coalescer: Coalescer::new(),
            holds: Holds::default(),
            reports: Reports::default(),
            read: vec![0; limits::READ_BYTES].into_boxed_slice(),
            receive: ReceiveBatch::new(),
            answer: vec![0; REFUSAL_BUFFER].into_boxed_slice(),
            outbox: VecDeque::new(),
            ready: Vec::new(),
            counters: Arc::default(),
            published: Published::default(),
            dropped: false,
            drops_told: None,
            watches_loops: false,
            present: false,
            next_ping: None,
            queue_gone: false,
            queue_told: None,
        }
    }

    /// What this lane counts; it is brought up to date at the end of each turn.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Takes one command. What it makes the lane send leaves at the next turn.
    pub fn handle(&mut self, command: LaneCommand, now: Moment) {
        match command {
            LaneCommand::Policy(policy) => {
                self.router.set_policy(policy, now);
                self.present = true;
            }
            LaneCommand::Adopt { tunnel, attempt, keys, ping } => {
                self.adopt(tunnel, Carrier::new(attempt, keys, ping, self.counters.tunnel(tunnel), now));
            }
            LaneCommand::Install { tunnel, keys } => self.install(tunnel, keys),
            LaneCommand::Retire { tunnel, key_id } => {
                if let Some(carrier) = self.carrier(tunnel) {
                    carrier.keys.retire(key_id);
                }
            }
            LaneCommand::Control { tunnel, datagram } => self.post(tunnel, datagram),
            LaneCommand::ExitNotify { tunnel } => self.post_sealed(tunnel, &OCC_EXIT, now),
            LaneCommand::Release { tunnel } => {
                if let Some(place) = self.carriers.get_mut(tunnel.index()) {
                    *place = None;
                }
                self.watches_loops = self.carriers.iter().flatten().any(Carrier::watches_loops);
            }
            LaneCommand::WatchLoop { tunnel } => {
                if let Some(carrier) = self.carrier(tunnel) {
                    carrier.watch_loops();
                    self.watches_loops = true;
                }
            }
            LaneCommand::Forget { tunnel } => {
                self.publish(now);
                self.counters.forget(tunnel);
            }
            LaneCommand::FindFlows { question, filter, most } => {
                let flows = self.router.find_flows(&filter, most);
                self.reports.push(LaneReport::Flows { question, flows });
            }
        }
    }

    /// One round: what the session sends, packets that waited, both directions of what `io` has, pings. Each source has
    /// its share and no more, so that none starves.
    pub fn turn(&mut self, io: &mut impl LaneIo, now: Moment) -> Turn {
        let mut turn = Turn::default();
        self.coalescer.adapt(io.queue().capabilities());
        self.send_outbox(io, now);
        self.tell_ended(io, &mut turn);
        self.present_held(io, now);
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        let queue_ready = io.ready(&mut ready);
        // Whoever takes all it can get comes last: a packet of another waits for one share of it, not for two.
        ready.sort_unstable_by_key(|tunnel| (self.carrier(*tunnel).is_some_and(|carrier| carrier.used_up), *tunnel));
        for tunnel in &ready {
            datapath::inward(self, io, *tunnel, now, &mut turn);
        }
        // What went in is often answered at once: acknowledgements of TCP are there before the thread could sleep.
        if (queue_ready || turn.received > 0) && !self.queue_gone {
            datapath::outward(self, io, now, &mut turn);
        }
        self.ready = ready;
        datapath::send_trains(self, io, now);
        self.send_pings(io, now);
        self.pass_time(&mut turn, now);
        self.publish(now);
        turn
    }

    /// When the next turn is due even if nothing comes: a ping, the end of a wait, the end of a flow.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        [self.next_ping, self.holds.poll_timeout(), self.router.poll_timeout()].into_iter().flatten().min()
    }

    /// Whether every connection that has ended was told: from then on the address that it knew may go.
    #[must_use]
    pub fn has_told(&self) -> bool {
        self.router.untold() == 0
    }

    /// What the control side should know next.
    pub fn poll_report(&mut self) -> Option<LaneReport> {
        self.reports.poll()
    }

    pub(crate) fn carrier(&mut self, tunnel: TunnelId) -> Option<&mut Carrier> {
        self.carriers.get_mut(tunnel.index())?.as_mut()
    }

    /// Counts packets of a tunnel that the lane itself does not forward.
    pub(crate) fn count(&mut self, tunnel: TunnelId, reason: DropReason, packets: usize) {
        self.dropped = true;
        for _ in 0..packets {
            self.router.count(Some(tunnel), reason);
        }
    }

    /// Writes the router's answer to a refused packet to the interface.
    pub(crate) fn refuse(&mut self, io: &mut impl LaneIo, packet: &[u8], refusal: Refusal, now: Moment) {
        self.dropped = true;
        let Some(length) = self.router.refuse(packet, refusal, now, &mut self.answer) else { return };
        // An answer that the interface does not take is lost, as any answer may be: the app asks again.
        let _ = io.queue().write(Offload::NONE, &[&self.answer[..length]]);
    }

    /// Resets the connections that have ended, a share of them at a time.
    fn tell_ended(&mut self, io: &mut impl LaneIo, turn: &mut Turn) {
        for _ in 0..limits::TURN_RESETS {
            let Some(length) = self.router.poll_refusal(&mut self.answer) else { return };
            // One that the interface does not take is lost; the app's next packet is refused.
            let _ = io.queue().write(Offload::NONE, &[&self.answer[..length]]);
        }
        turn.busy = true;
    }

    fn adopt(&mut self, tunnel: TunnelId, carrier: Carrier) {
        let due = carrier.keepalive.due();
        self.next_ping = self.next_ping.into_iter().chain(due).min();
        if self.carriers.len() <= tunnel.index() {
            self.carriers.resize_with(tunnel.index() + 1, || None);
        }
        self.carriers[tunnel.index()] = Some(carrier);
        self.watches_loops = self.carriers.iter().flatten().any(Carrier::watches_loops);
        self.present = true;
    }

    fn install(&mut self, tunnel: TunnelId, keys: Box<DataKeys>) {
        if let Some(carrier) = self.carrier(tunnel) {
            carrier.keys.install(keys);
            carrier.worn_reported = false;
        }
    }

    /// Judges again what waits: all of it after a change, else what has waited long enough.
    fn present_held(&mut self, io: &mut impl LaneIo, now: Moment) {
        let all = std::mem::take(&mut self.present);
        if !all && self.holds.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        let (router, carriers) = (&self.router, &self.carriers);
        // The policy may say that a tunnel is up a moment before its keys are here.
        let half_up = |tunnel: Option<TunnelId>| {
            tunnel.is_some_and(|tunnel| {
                let up = router.policy().tunnel(tunnel).is_some_and(|view| view.state == TunnelState::Up);
                up && carriers.get(tunnel.index()).is_none_or(Option::is_none)
            })
        };
        for mut held in self.holds.take(now, |tunnel| all && !half_up(tunnel)) {
            datapath::depart(self, io, &mut held.packet, &held.offload, now);
        }
    }

    fn pass_time(&mut self, turn: &mut Turn, now: Moment) {
        if self.router.poll_timeout().is_some_and(|due| due <= now) {
            self.router.handle_timeout(now);
            // A fragment may have waited in vain.
            self.dropped = true;
            // The router does a bounded share of its work at a time, and connections that have ended are told next.
            turn.busy |= self.router.poll_timeout().is_some_and(|due| due <= now) || self.router.untold() > 0;
        }
    }

    /// Brings the shared counters of drops up to date, and says once a while that there were some.
    fn publish(&mut self, now: Moment) {
        if !std::mem::take(&mut self.dropped) {
            return;
        }
        let tunnels = self.router.policy().tunnels().len();
        self.published.update(self.router.drops(), tunnels, &self.counters);
        if self.drops_told.is_none_or(|until| until <= now) {
            self.drops_told = Some(now + limits::DROPS_PAUSE);
            self.reports.push(LaneReport::Dropping);
        }
    }
}
