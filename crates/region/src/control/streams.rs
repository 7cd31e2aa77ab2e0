//! Accepted connections by number: which worker has each, and whether it is a client's. The connection itself is the
//! worker's.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use mrvpn_clock::Moment;

use crate::limits::{IDLE_STREAM, STREAMS};
use crate::worker::FIRST_STREAM;

/// All of them.
#[derive(Default)]
pub(super) struct Streams {
    open: BTreeMap<u16, Stream>,
    ends: BTreeMap<(u8, SocketAddr), u16>,
    next_worker: usize,
}

struct Stream {
    worker: u8,
    end: (u8, SocketAddr),
    since: Moment,
    client: bool,
}

impl Streams {
    /// A number and a worker for a new connection; `None` where there are too many.
    pub(super) fn open(&mut self, listener: u8, from: SocketAddr, workers: usize, now: Moment) -> Option<(u16, u8)> {
        let numbers = FIRST_STREAM..FIRST_STREAM.saturating_add(u16::try_from(STREAMS).unwrap_or(u16::MAX));
        let number = numbers.into_iter().find(|number| !self.open.contains_key(number))?;
        self.next_worker = (self.next_worker + 1) % workers.max(1);
        let worker = u8::try_from(self.next_worker).unwrap_or(0);
        let end = (listener, from);
        self.open.insert(number, Stream { worker, end, since: now, client: false });
        self.ends.insert(end, number);
        Some((number, worker))
    }

    /// Forgets one; its worker, if it was there.
    pub(super) fn close(&mut self, number: u16) -> Option<u8> {
        let stream = self.open.remove(&number)?;
        self.ends.remove(&stream.end);
        Some(stream.worker)
    }

    /// Number and worker of the connection to this address.
    pub(super) fn at(&self, listener: usize, to: SocketAddr) -> Option<(u16, u8)> {
        let number = *self.ends.get(&(u8::try_from(listener).ok()?, to))?;
        Some((number, self.open.get(&number)?.worker))
    }

    /// It is a client's: it stays.
    pub(super) fn keep(&mut self, number: u16) {
        if let Some(stream) = self.open.get_mut(&number) {
            stream.client = true;
        }
    }

    /// Those that are nobody's for too long.
    pub(super) fn idle(&self, now: Moment) -> Vec<u16> {
        let idle = |stream: &Stream| !stream.client && stream.since + IDLE_STREAM <= now;
        self.open.iter().filter(|(_, stream)| idle(stream)).map(|(number, _)| *number).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}
