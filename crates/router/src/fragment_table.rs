//! Which flow the later fragments of a datagram belong to: only the first one has ports. It holds a few datagrams for a
//! few seconds and keeps no bytes; a fragment that comes before its first is dropped.

use std::net::Ipv4Addr;

use mrvpn_clock::Moment;

use crate::flow_table::FlowId;
use crate::limits;
use crate::packet::ipv4::Ipv4;

/// What fragments of one datagram have in common (RFC 791), and where they came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Datagram {
    owner: u32,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    id: u16,
}

impl Datagram {
    const fn of(owner: u32, ip: &Ipv4) -> Self {
        Self { owner, source: ip.source, destination: ip.destination, protocol: ip.protocol, id: ip.id }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    datagram: Datagram,
    flow: FlowId,
    seen: Moment,
}

/// Datagrams of one direction whose first fragment was seen.
#[derive(Debug)]
pub(crate) struct FragmentTable {
    entries: Vec<Entry>,
}

impl FragmentTable {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::with_capacity(limits::FRAGMENTED) }
    }

    /// Notes that the datagram of the first fragment `ip` belongs to `flow`. `owner` is where it came from: a tunnel or an
    /// attachment.
    pub(crate) fn first(&mut self, owner: u32, ip: &Ipv4, flow: FlowId, now: Moment) {
        let entry = Entry { datagram: Datagram::of(owner, ip), flow, seen: now };
        if let Some(same) = self.entries.iter_mut().find(|old| old.datagram == entry.datagram) {
            *same = entry;
        } else if self.entries.len() < limits::FRAGMENTED {
            self.entries.push(entry);
        } else if let Some(old) = self.least_useful(owner, now) {
            *old = entry;
        }
    }

    /// The flow of the later fragment `ip`, if its first was seen in time.
    pub(crate) fn later(&self, owner: u32, ip: &Ipv4, now: Moment) -> Option<FlowId> {
        let datagram = Datagram::of(owner, ip);
        let entry = self.entries.iter().find(|entry| entry.datagram == datagram)?;
        (!is_over(entry, now)).then_some(entry.flow)
    }

    /// One that is over, else the oldest of this owner, else the oldest: so one owner cannot push out another's once it
    /// has its own.
    fn least_useful(&mut self, owner: u32, now: Moment) -> Option<&mut Entry> {
        self.entries.iter_mut().min_by_key(|entry| (!is_over(entry, now), entry.datagram.owner != owner, entry.seen))
    }
}

fn is_over(entry: &Entry, now: Moment) -> bool {
    now.since(entry.seen) >= limits::FRAGMENTED_LIFE
}
