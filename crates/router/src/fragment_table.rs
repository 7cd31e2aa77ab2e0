//! Which flow the later fragments of a datagram belong to: only the first one has ports. It holds a few datagrams for a
//! few seconds and keeps no bytes, only which of them came: a fragment that overlaps another spoils its datagram. Those
//! that come before their first wait in `fragment_queue.rs`.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::net::IpAddr;

use mrvpn_clock::Moment;

use crate::flow_table::FlowId;
use crate::limits;
use crate::packet::ip::Ip;
use crate::packet::ipv4::Fragment;

/// What fragments of one datagram have in common (RFC 791; of IPv6 the protocol is not part of it, RFC 8200), and where
/// they came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) owner: u32,
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    id: u32,
}

impl Datagram {
    pub(crate) const fn of(owner: u32, ip: &Ip) -> Self {
        let protocol = if ip.source.is_ipv4() { ip.protocol } else { 0 };
        Self { owner, source: ip.source, destination: ip.destination, protocol, id: ip.id }
    }
}

/// What a later fragment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Following {
    /// This flow.
    Flow(FlowId),
    /// Nothing that is known: its first has not come.
    Unknown,
    /// A datagram of which no more is taken, since fragments overlap.
    Spoiled,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    datagram: Datagram,
    flow: FlowId,
    seen: Moment,
    parts: Parts,
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
    /// attachment. `false` if it overlaps what came already, so that it may not go on.
    pub(crate) fn first(&mut self, owner: u32, ip: &Ip, flow: FlowId, now: Moment) -> bool {
        let entry = Entry { datagram: Datagram::of(owner, ip), flow, seen: now, parts: Parts::of(ip) };
        if let Some(same) = self.entries.iter_mut().find(|old| old.datagram == entry.datagram) {
            if is_over(same, now) {
                *same = entry;
                return true;
            }
            return same.parts.add(ip);
        }
        if self.entries.len() < limits::FRAGMENTED {
            self.entries.push(entry);
        } else if let Some(old) = self.least_useful(owner, now) {
            *old = entry;
        }
        true
    }

    /// What the later fragment `ip` belongs to, if its first was seen in time. With the last byte of a datagram it is
    /// forgotten.
    pub(crate) fn later(&mut self, owner: u32, ip: &Ip, now: Moment) -> Following {
        let datagram = Datagram::of(owner, ip);
        let found = self.entries.iter().position(|entry| entry.datagram == datagram && !is_over(entry, now));
        let Some((place, entry)) = found.and_then(|place| Some((place, self.entries.get_mut(place)?))) else {
            return Following::Unknown;
        };
        if !entry.parts.add(ip) {
            return Following::Spoiled;
        }
        let flow = entry.flow;
        if entry.parts.is_whole() {
            self.entries.swap_remove(place);
        }
        Following::Flow(flow)
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

/// Which bytes of a datagram came, as parts that do not touch.
#[derive(Clone, Copy, Debug)]
struct Parts {
    parts: [(u32, u32); limits::FRAGMENT_PARTS],
    count: usize,
    /// Where the datagram ends, once that is known.
    end: Option<u32>,
    spoiled: bool,
}

impl Parts {
    /// Those of a first fragment.
    fn of(ip: &Ip) -> Self {
        let mut parts = Self { parts: [(0, 0); limits::FRAGMENT_PARTS], count: 0, end: None, spoiled: false };
        parts.add(ip);
        parts
    }

    /// Takes a fragment in; `false` if it overlaps another, reaches beyond the end, or there are too many gaps. Nothing
    /// of the datagram is taken after that.
    fn add(&mut self, ip: &Ip) -> bool {
        let length = u32::try_from(ip.length.saturating_sub(ip.header)).unwrap_or(u32::MAX);
        let (start, end) = (ip.offset, ip.offset.saturating_add(length));
        let last = ip.fragment == Fragment::Last;
        let fits = self.end.is_none_or(|known| end <= known && !last) && (!last || self.reaches() <= end);
        self.spoiled |= !fits || !self.insert(start, end);
        if last {
            self.end = Some(end);
        }
        !self.spoiled
    }

    fn insert(&mut self, start: u32, end: u32) -> bool {
        let known = self.parts.get(..self.count).unwrap_or_default();
        if start >= end || known.iter().any(|(from, to)| start < *to && *from < end) {
            return false;
        }
        let before = known.iter().position(|(_, to)| *to == start);
        let after = known.iter().position(|(from, _)| *from == end);
        match (before, after) {
            (Some(before), Some(after)) => {
                let end = known.get(after).map_or(end, |part| part.1);
                self.set(before, |part| part.1 = end);
                self.take_out(after);
            }
            (Some(before), None) => self.set(before, |part| part.1 = end),
            (None, Some(after)) => self.set(after, |part| part.0 = start),
            (None, None) => {
                let Some(place) = self.parts.get_mut(self.count) else { return false };
                *place = (start, end);
                self.count = self.count.saturating_add(1);
            }
        }
        true
    }

    fn set(&mut self, place: usize, change: impl FnOnce(&mut (u32, u32))) {
        if let Some(part) = self.parts.get_mut(place) {
            change(part);
        }
    }

    fn take_out(&mut self, place: usize) {
        self.count = self.count.saturating_sub(1);
        let last = self.parts.get(self.count).copied().unwrap_or_default();
        self.set(place, |part| *part = last);
    }

    /// The furthest byte that came.
    fn reaches(&self) -> u32 {
        self.parts.iter().take(self.count).map(|(_, to)| *to).max().unwrap_or(0)
    }

    /// Whether nothing is missing.
    fn is_whole(&self) -> bool {
        self.count == 1
            && self.end.is_some()
            && self.parts.first().map(|(from, to)| (*from, Some(*to))) == Some((0, self.end))
    }
}
