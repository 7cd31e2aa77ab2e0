//! What the oracle knows of one flow of a program: where its packets may come out, and which must. A flow keeps its tunnel for
//! its life; what ends that life is the end of the lease, the user, and the engine.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use mrvpn_clock::Moment;

use super::{IDLE, View};
use crate::sim::apps::packet::TCP;
use crate::sim::reference::{Answer, Place, Question};

/// Packets of one flow that are remembered.
const REMEMBERED: usize = 32;

/// One flow of a program.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) protocol: u8,
    /// Known once the host has chosen it.
    pub(crate) source: Option<IpAddr>,
    /// Its own port, or identifier.
    pub(crate) port: u16,
    pub(crate) to: SocketAddr,
    /// Where its packets came out last.
    pub(crate) bound: Option<Bound>,
    /// All tunnels that it has ever come out of, a bit each.
    pub(crate) visited: u64,
    /// When it was last carried.
    last: Moment,
    pub(crate) probes: BTreeMap<u32, Probe>,
    pub(crate) sent: u32,
    /// TCP: how many of its packets were answered.
    pub(crate) acknowledged: u32,
    /// The user has given it elsewhere since it was last carried: its next packet is refused, whatever else was said.
    pub(crate) withdrawn: bool,
    /// It was refused for good, or its program has lost its address.
    pub(crate) over: bool,
}

/// Where a flow belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) place: Place,
    pub(crate) lease: Option<u32>,
    pub(crate) generation: u32,
    pub(crate) life: u32,
}

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) at: Moment,
    /// A bit for each tunnel through which it may go.
    pub(crate) allowed: u64,
    /// Whether its flow belongs to one tunnel, whatever is claimed while it waits.
    pub(crate) keeps: bool,
    /// The tunnel through which it must be answered.
    pub(crate) must: Option<Place>,
    /// As of the view in which it was sent.
    pub(crate) generation: u32,
    /// As of the view in which it was sent.
    pub(crate) life: u32,
    pub(crate) arrived: u32,
    pub(crate) answered: u32,
}

impl Flow {
    pub(crate) fn new(protocol: u8, source: Option<IpAddr>, port: u16, to: SocketAddr, now: Moment) -> Self {
        Self {
            protocol,
            source,
            port,
            to,
            bound: None,
            visited: 0,
            last: now,
            probes: BTreeMap::new(),
            sent: 0,
            acknowledged: 0,
            withdrawn: false,
            over: false,
        }
    }

    /// What is asked of its next packet.
    pub(crate) fn question(&self) -> Question {
        Question { source: self.source, destination: self.to.ip(), protocol: self.protocol, port: self.to.port() }
    }

    /// Whether it sends the same packet again.
    pub(super) const fn repeats(&self) -> bool {
        self.protocol == TCP
    }

    /// Through which tunnels a packet may go that is sent now, and whether its flow keeps that while it waits.
    pub(super) fn allowed(&self, answer: Answer, view: &View<'_>, now: Moment) -> (u64, bool) {
        match self.bound {
            None => (mask(answer), false),
            Some(bound) if self.keeps(bound, view, now) => (1 << bound.place, true),
            Some(bound) => (mask(answer) | 1 << bound.place, false),
        }
    }

    /// Through which tunnel it must be answered, where that is certain.
    pub(super) fn must(&self, answer: Answer, view: &View<'_>, now: Moment) -> Option<Place> {
        // A connection that is silent for too long is forgotten, and what is no SYN opens none.
        if self.protocol == TCP && self.sent > 0 && now.since(self.last) >= IDLE {
            return None;
        }
        let place = match (self.bound, answer) {
            (None, Answer::Tunnel(place)) if self.sent == 0 => place,
            (Some(bound), _) if self.lives(bound, view) && self.holds(bound, answer, view, now) => bound.place,
            (None | Some(_), _) => return None,
        };
        let lease = view.now.tunnel(place)?.lease.as_ref()?;
        lease.inner.iter().any(|inner| inner.is_ipv4() == self.to.is_ipv4()).then_some(place)
    }

    /// Whether nothing can have ended it.
    fn lives(&self, bound: Bound, view: &View<'_>) -> bool {
        let lease = view.now.tunnel(bound.place).and_then(|tunnel| tunnel.lease.as_ref()).map(|lease| lease.number);
        bound.life == view.life && bound.lease == lease && !self.over && !self.withdrawn
    }

    /// Whether it still belongs where it came out last, whatever is claimed now.
    fn holds(&self, bound: Bound, answer: Answer, view: &View<'_>, now: Moment) -> bool {
        answer == Answer::Tunnel(bound.place) || self.keeps(bound, view, now)
    }

    /// The same where nothing but its own past says so.
    fn keeps(&self, bound: Bound, view: &View<'_>, now: Moment) -> bool {
        self.lives(bound, view) && bound.generation == view.generation && now.since(self.last) < IDLE
    }

    pub(super) fn note_sent(&mut self, number: u32, probe: Probe) {
        match self.probes.get_mut(&number) {
            // The same packet once more: whatever it may have been the first time it may still be.
            Some(before) => {
                before.allowed |= probe.allowed;
                (before.at, before.must, before.answered) = (probe.at, probe.must, 0);
            }
            None => {
                self.probes.insert(number, probe);
            }
        }
        self.sent += 1;
        while self.probes.len() > REMEMBERED {
            self.probes.pop_first();
        }
    }

    pub(super) fn bind(&mut self, bound: Bound, now: Moment) {
        (self.bound, self.last) = (Some(bound), now);
        self.withdrawn = false;
        self.visited |= 1 << bound.place;
    }
}

/// The bit of the tunnel that an answer names.
pub(super) const fn mask(answer: Answer) -> u64 {
    match answer {
        Answer::Tunnel(place) => 1 << place,
        Answer::Clear | Answer::Nowhere => 0,
    }
}
