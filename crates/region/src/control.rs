//! The control thread of a region: it owns the protocol's server, a value for each listener, answers logins, gives out
//! addresses, accepts streams, and tells the workers who is a client. Packets of tunnels never pass here. It waits in one
//! poll for workers, connections and deadlines.

mod answers; // what the server asks and tells
mod listener; // sockets and a server each
mod member; // a client as it is known here
mod streams; // accepted connections

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_engine::driver::clock;
use mrvpn_proto::server::Farewell;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::directory::Directory;
use crate::event::RegionEvent;
use crate::limits::{FAREWELL, TICK};
use crate::pool::{Places, Pool};
use crate::spec::RegionSpec;
use crate::worker::{Name, Order, Origin, Upcall, WorkerHandle};
use member::Member;
use streams::Streams;

pub(crate) use listener::{Listener, Outside};
pub(crate) use member::Shown;

/// Upcalls that are taken before deadlines and connections have their turn.
const TURN_UPCALLS: usize = 256;

/// What the region's owner asks.
pub(crate) enum Request {
    /// New keys for all clients.
    Renegotiate,
    /// The end, with this last word.
    Stop(Farewell),
}

/// The control thread's state.
pub(crate) struct Control {
    pub(crate) spec: RegionSpec,
    pub(crate) pool: Pool,
    pub(crate) places: Places,
    pub(crate) directory: Arc<Directory>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) workers: Vec<WorkerHandle>,
    pub(crate) upcalls: Receiver<Upcall>,
    pub(crate) requests: Receiver<Request>,
    pub(crate) wake: Arc<OwnedFd>,
    pub(crate) events: SyncSender<RegionEvent>,
    pub(crate) shown: Arc<Shown>,
    members: BTreeMap<Name, Member>,
    streams: Streams,
    /// Where the packet that is being judged came in.
    arrival: Option<(u8, Origin)>,
    next_tick: Moment,
    /// When it is over, whoever is still there.
    end: Option<Moment>,
}

/// What a control thread begins with.
pub(crate) struct Beginning {
    pub(crate) spec: RegionSpec,
    pub(crate) directory: Arc<Directory>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) workers: Vec<WorkerHandle>,
    pub(crate) upcalls: Receiver<Upcall>,
    pub(crate) requests: Receiver<Request>,
    pub(crate) wake: Arc<OwnedFd>,
    pub(crate) events: SyncSender<RegionEvent>,
    pub(crate) shown: Arc<Shown>,
}

impl Control {
    pub(crate) fn new(beginning: Beginning) -> Self {
        let Beginning { spec, directory, listeners, workers, upcalls, requests, wake, events, shown } = beginning;
        Self {
            pool: spec.pool(),
            places: Places::new(spec.clients),
            streams: Streams::default(),
            members: BTreeMap::new(),
            arrival: None,
            next_tick: Moment::default(),
            end: None,
            spec,
            directory,
            listeners,
            workers,
            upcalls,
            requests,
            wake,
            events,
            shown,
        }
    }

    /// Works until it is told to stop and all clients know, or the time for that is over. The workers end with it.
    pub(crate) fn run(mut self) {
        loop {
            let mut now = clock::now();
            // What was said before is about to be taken.
            let _ = rustix::io::read(&self.wake, &mut [0_u8; 8]);
            let more = self.take_upcalls(now);
            self.take_requests(now);
            self.accept(now);
            now = clock::now();
            self.pass_time(now);
            self.settle(now);
            if self.end.is_some_and(|end| end <= now || self.members.is_empty()) {
                return;
            }
            if !more {
                self.wait(now);
            }
        }
    }

    /// Takes what workers have said; whether there may be more.
    fn take_upcalls(&mut self, now: Moment) -> bool {
        for _ in 0..TURN_UPCALLS {
            let Ok(upcall) = self.upcalls.try_recv() else { return false };
            self.take_upcall(upcall, now);
            self.settle(now);
        }
        true
    }

    fn take_upcall(&mut self, upcall: Upcall, now: Moment) {
        match upcall {
            Upcall::Control { worker, origin, mut packet } => {
                // A region that is leaving takes nobody in who would be left with a dead server.
                if self.end.is_some() && !self.members.values().any(|member| member.from == origin.from) {
                    return;
                }
                self.arrival = Some((worker, origin));
                if let Some(listener) = self.listeners.get_mut(usize::from(origin.listener)) {
                    listener.server.handle_datagram(origin.from, &mut packet, now);
                }
            }
            Upcall::Floated { client, to } => self.float(client, to, now),
            Upcall::Exit { client } => self.disconnect(client, Farewell::Silent, now),
            Upcall::Worn { client } => {
                if let Some(listener) = self.listeners.get_mut(usize::from(client.0)) {
                    listener.server.renegotiate(client.1, now);
                }
            }
            Upcall::StreamEnded { listener, number, from } => {
                self.close_stream(number);
                if let Some(listener) = self.listeners.get_mut(usize::from(listener)) {
                    listener.server.closed(from, now);
                }
            }
        }
    }

    fn take_requests(&mut self, now: Moment) {
        while let Ok(request) = self.requests.try_recv() {
            let everybody: Vec<Name> = self.members.keys().copied().collect();
            match request {
                Request::Renegotiate => {
                    for (listener, client) in everybody {
                        self.listeners[usize::from(listener)].server.renegotiate(client, now);
                    }
                }
                Request::Stop(farewell) => {
                    self.end.get_or_insert(now + FAREWELL);
                    for client in everybody {
                        self.disconnect(client, farewell.clone(), now);
                    }
                }
            }
        }
    }

    fn disconnect(&mut self, (listener, client): Name, farewell: Farewell, now: Moment) {
        if let Some(listener) = self.listeners.get_mut(usize::from(listener)) {
            listener.server.disconnect(client, farewell, now);
        }
    }

    /// Takes new connections in.
    fn accept(&mut self, now: Moment) {
        if self.end.is_some() {
            return;
        }
        for index in 0..self.listeners.len() {
            while let Some((stream, from)) = self.listeners[index].accept() {
                let workers = self.workers.len();
                let listener = u8::try_from(index).unwrap_or(u8::MAX);
                // Where there are too many, the connection is closed.
                let Some((number, worker)) = self.streams.open(listener, from, workers, now) else { continue };
                self.workers[usize::from(worker)].tell(Order::Stream { number, listener, from, stream });
            }
        }
    }

    fn close_stream(&mut self, number: u16) {
        if let Some(worker) = self.streams.close(number) {
            self.workers[usize::from(worker)].tell(Order::CloseStream { number });
        }
    }

    fn pass_time(&mut self, now: Moment) {
        for listener in &mut self.listeners {
            if listener.server.poll_timeout().is_some_and(|(due, _)| due <= now) {
                listener.server.handle_timeout(now);
            }
        }
        if self.next_tick <= now {
            self.next_tick = now + TICK;
            self.tell_heard();
            for number in self.streams.idle(now) {
                self.close_stream(number);
            }
        }
    }

    /// Tells the servers when the workers last heard of each client.
    fn tell_heard(&mut self) {
        for ((listener, client), member) in &self.members {
            if member.is_in() {
                self.listeners[usize::from(*listener)].server.heard(*client, member.counters.heard());
            }
        }
    }

    /// Sends what the servers have to send, and answers what they ask, until they have no more.
    fn settle(&mut self, now: Moment) {
        for index in 0..self.listeners.len() {
            loop {
                self.send(index);
                let Some((client, event)) = self.listeners[index].server.poll_event() else { break };
                let listener = u8::try_from(index).unwrap_or(u8::MAX);
                self.answer((listener, client), event, now);
            }
        }
    }

    fn send(&mut self, index: usize) {
        let listener = &mut self.listeners[index];
        while let Some((to, packet)) = listener.server.poll_transmit() {
            if listener.send(to, &packet) {
                continue;
            }
            let Some((number, worker)) = self.streams.at(index, to) else { continue };
            self.workers[usize::from(worker)].tell(Order::SendStream { number, packet });
        }
    }

    /// Waits until something happens or is due.
    fn wait(&self, now: Moment) {
        let due = self.listeners.iter().filter_map(|listener| Some(listener.server.poll_timeout()?.0));
        let tick = (!self.members.is_empty() || !self.streams.is_empty()).then_some(self.next_tick);
        let due = due.chain(tick).chain(self.end).min();
        let timeout = due.map_or(Duration::from_secs(3_600), |due| due.since(now));
        let timeout = Timespec::try_from(timeout).ok();
        let mut sources = vec![PollFd::new(&self.wake, PollFlags::IN)];
        let streams = self.listeners.iter().filter_map(Listener::stream_fd);
        sources.extend(streams.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        // A signal ends the wait early, which is harmless.
        let _ = poll(&mut sources, timeout.as_ref());
    }

    /// Tells the region's owner; where nobody listens it is lost.
    fn tell(&self, event: RegionEvent) {
        tracing::debug!(region = self.spec.name, ?event);
        let _ = self.events.try_send(event);
    }
}
