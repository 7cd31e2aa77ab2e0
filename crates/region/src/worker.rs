//! One thread of the data path: its TUN queue, its UDP sockets, its streams, and the clients that it carries with their
//! keys. It takes no lock, and allocates only for what it hands to others: control packets to the control thread, packets
//! of another worker's client to that worker. What happens to a packet, both ways, is in [`datapath`]; who is a client is
//! the control thread's to say.

mod carried; // one client
mod datapath; // both directions on one screen
mod handle; // the control side's end
mod message; // what is said between threads
mod sources; // sockets and streams by number

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_engine::driver::clock;
use mrvpn_engine::driver::lane_thread::Poller;
use mrvpn_engine::lane::limits::TURN_READS;
use mrvpn_engine::lane::{Coalescer, ReceiveBatch, Train, Trains};
use mrvpn_host::LinuxQueue;
use mrvpn_netplan::Queue;
use mrvpn_proto::{PING, Sealer};
use mrvpn_router::TunnelId;
use rustix::thread::set_current_timer_slack;

use crate::directory::Directory;
use crate::limits::TICK;
use crate::pool::Pool;
use crate::seen::Losses;
use carried::Carried;
use sources::Sources;

pub(crate) use handle::{Built, WorkerHandle, build};
pub(crate) use handle::{wake, wake_up};
pub(crate) use message::{Adoption, Name, Order, Origin, Path, Upcall};
pub(crate) use sources::FIRST_STREAM;

use message::Handed;

/// Bytes of one packet read from the TUN.
const READ_BYTES: usize = mrvpn_engine::lane::limits::READ_BYTES;
/// 150 µs: the same as the engine's lanes gather for (docs/benchmarks.md).
const GATHER: Duration = Duration::from_micros(150);
/// Packets of fewer bytes on average are small: a super-packet of TCP is a batch already, and must not wait.
const SMALL: usize = 512;
/// 1 µs: how late the pause may end, instead of the usual 50 µs.
const TIMER_SLACK: std::num::NonZeroU64 = std::num::NonZeroU64::MIN.saturating_add(999);

/// A worker, as it lives on its thread.
pub(crate) struct Worker {
    index: u8,
    queue: LinuxQueue,
    poller: Poller,
    sources: Sources,
    pool: Pool,
    between_clients: bool,
    directory: Arc<Directory>,
    /// By place in the pool.
    clients: Vec<Option<Box<Carried>>>,
    trains: Trains,
    coalescer: Coalescer,
    read: Box<[u8]>,
    batch: ReceiveBatch,
    from: Vec<SocketAddr>,
    orders: Receiver<Order>,
    handed: Receiver<Handed>,
    peers: Vec<Peer>,
    upcalls: SyncSender<Upcall>,
    control: Arc<OwnedFd>,
    /// Reports that must not be lost and had no room.
    waiting: VecDeque<Upcall>,
    /// Something was said to the control thread in this turn.
    called: bool,
    next_ping: Moment,
    /// More was ready than a turn's share.
    busy: bool,
    /// Packets that this turn has read from the TUN, and their bytes.
    read_packets: usize,
    read_bytes: usize,
    losses: Arc<Losses>,
}

/// The way to another worker.
struct Peer {
    sender: SyncSender<Handed>,
    wake: Arc<OwnedFd>,
    /// It was handed something in this turn.
    handed: bool,
}

impl Worker {
    /// Works until it is told to stop.
    pub(crate) fn run(mut self) {
        // Without it pauses are longer than wanted, nothing else.
        let _ = set_current_timer_slack(Some(TIMER_SLACK));
        loop {
            if self.poller.has_message() && !self.take_orders() {
                return;
            }
            let now = clock::now();
            self.take_handed(now);
            self.turn(now);
            self.ping(now);
            self.wake_others();
            self.gather();
            let timeout = self.timeout(now);
            self.poller.wait(Some(timeout));
        }
    }

    /// Takes all orders; `false` when it is to end.
    fn take_orders(&mut self) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            if matches!(order, Order::Stop) {
                return false;
            }
            self.obey(order, clock::now());
        }
        true
    }

    fn obey(&mut self, order: Order, now: Moment) {
        match order {
            Order::Adopt(adoption) => self.adopt(*adoption, now),
            Order::Install { place, keys } => {
                if let Some(client) = self.client(place) {
                    client.install(keys);
                }
            }
            Order::Retire { place, key_id } => {
                if let Some(client) = self.client(place) {
                    client.keys.retire(key_id);
                }
            }
            Order::Release { place } => {
                if let Some(slot) = self.clients.get_mut(usize::from(place)) {
                    *slot = None;
                }
            }
            Order::Stream { number, listener, from, stream } => {
                self.sources.adopt(&self.poller, number, listener, from, stream);
            }
            Order::SendStream { number, packet } => {
                // What a stream does not take is lost, as is said at its next read.
                let _ = self.sources.send_stream(&self.poller, number, &Train::single(&packet));
            }
            Order::CloseStream { number } => self.sources.close(&self.poller, number),
            Order::Stop => {}
        }
    }

    fn adopt(&mut self, adoption: Adoption, now: Moment) {
        let place = usize::from(adoption.place);
        if self.clients.len() <= place {
            self.clients.resize_with(place + 1, || None);
        }
        self.clients[place] = Some(Box::new(Carried::new(adoption, now)));
        self.next_ping = self.next_ping.min(now + TICK);
    }

    fn client(&mut self, place: u16) -> Option<&mut Carried> {
        self.clients.get_mut(usize::from(place))?.as_deref_mut()
    }

    /// One round: what came in, then what goes out, which often answers it.
    fn turn(&mut self, now: Moment) {
        self.busy = false;
        (self.read_packets, self.read_bytes) = (0, 0);
        self.coalescer.adapt(self.queue.capabilities());
        self.sources.use_room(&mut self.poller);
        let mut ready = std::mem::take(&mut self.sources.ready);
        ready.clear();
        let queue_ready = self.poller.take_ready(&mut ready);
        let mut received = 0;
        for number in &ready {
            received += datapath::inward(self, number.number(), now);
        }
        if queue_ready || received > 0 {
            datapath::outward(self, now);
        }
        self.sources.ready = ready;
        datapath::send_trains(self, now);
    }

    fn take_handed(&mut self, now: Moment) {
        for _ in 0..crate::limits::HANDED {
            let Ok(handed) = self.handed.try_recv() else { return };
            datapath::take_handed(self, handed, now);
        }
        self.busy = true;
    }

    /// Sends a ping to each client that has got nothing for its interval.
    fn ping(&mut self, now: Moment) {
        if now < self.next_ping {
            return;
        }
        self.next_ping = now + TICK;
        for place in 0..self.clients.len() {
            let due = self.clients[place].as_ref().is_some_and(|client| client.ping_is_due(now));
            if !due {
                continue;
            }
            let mut frame = [0; Sealer::HEADROOM + PING.len()];
            frame[Sealer::HEADROOM..].copy_from_slice(&PING);
            let Some(client) = self.clients[place].as_deref_mut() else { continue };
            if client.keys.sealer(now).seal(&mut frame).is_ok() {
                // A ping that is lost is followed by another.
                let _ = self.sources.send(&self.poller, client.path, &Train::single(&frame));
                client.last_sent = now;
            }
        }
    }

    /// Hands a packet or a datagram to the worker of its client; what has no room is lost.
    fn hand(&mut self, worker: u8, handed: Handed) {
        if let Some(peer) = self.peers.get_mut(usize::from(worker)) {
            match peer.sender.try_send(handed) {
                Ok(()) => peer.handed = true,
                Err(_) => self.losses.handed(),
            }
        }
    }

    /// Says something that may be lost: it comes again.
    fn call(&mut self, upcall: Upcall) {
        self.called |= self.upcalls.try_send(upcall).is_ok();
    }

    /// Says something that must not be lost.
    fn report(&mut self, upcall: Upcall) {
        self.waiting.push_back(upcall);
    }

    fn wake_others(&mut self) {
        while let Some(upcall) = self.waiting.pop_front() {
            match self.upcalls.try_send(upcall) {
                Ok(()) => self.called = true,
                Err(TrySendError::Full(upcall)) => {
                    self.waiting.push_front(upcall);
                    break;
                }
                Err(TrySendError::Disconnected(_)) => {}
            }
        }
        if std::mem::take(&mut self.called) {
            wake(&self.control);
        }
        for peer in &mut self.peers {
            if std::mem::take(&mut peer.handed) {
                wake(&peer.wake);
            }
        }
    }

    /// Lets small packets gather for a moment where they come thick: each would else wake the thread by itself.
    fn gather(&self) {
        let many = (2..TURN_READS).contains(&self.read_packets);
        if many && !self.busy && self.read_bytes < self.read_packets * SMALL {
            std::thread::sleep(GATHER);
        }
    }

    fn timeout(&self, now: Moment) -> Duration {
        if self.busy {
            return Duration::ZERO;
        }
        if !self.waiting.is_empty() {
            return Duration::from_millis(10);
        }
        // Without clients nothing is due.
        if self.clients.iter().all(Option::is_none) { Duration::from_secs(60) } else { self.next_ping.since(now) }
    }
}

/// Trains and polled sources are numbered as the engine's lanes number tunnels.
const fn id(number: u16) -> TunnelId {
    TunnelId::new(number)
}
