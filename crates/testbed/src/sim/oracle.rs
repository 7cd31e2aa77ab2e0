//! What must hold of every packet of a simulated world, after every step (threats-and-faults.md section 1). It is shown what
//! programs send and where the host lets it go, what servers receive, and what is written to the interface; what was right it
//! asks the reference model. It changes nothing.

mod flow; // what is known of one flow
mod tally; // how much was checked

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_netplan::model::Verdict;

use crate::sim::Violation;
use crate::sim::apps::packet::{self, Kind, RST, Seen, Tag};
use crate::sim::reference::{Answer, Place, Question, Reference};
use flow::mask;
pub(crate) use flow::{Bound, Flow, Probe};
pub(crate) use tally::Tally;

/// 1 s and some: how long a packet may wait for its tunnel.
const HELD: Duration = Duration::from_millis(1_100);
/// 2 s: 1 s of waiting, and all that the worst link adds.
const LONGEST: Duration = Duration::from_secs(2);
/// 20 ms there and back, and 2 ms more (I-8).
const IN_TIME: Duration = Duration::from_millis(22);
/// 25 s: a flow that was silent for so long may be forgotten (echo: 30 s).
const IDLE: Duration = Duration::from_secs(25);
/// Flows that are remembered: late packets of older ones do not come.
const REMEMBERED: usize = 20_000;

/// What holds at the moment of a packet, for its judgement.
pub(crate) struct View<'a> {
    /// What must hold now.
    pub(crate) now: &'a Reference,
    /// What held before, as long as the host may not have followed.
    pub(crate) before: &'a [Reference],
    /// Since when nothing disturbs a tunnel.
    pub(crate) steady: &'a [Option<Moment>],
    /// How often the user has changed something, or the engine has begun anew.
    pub(crate) generation: u32,
    /// How often the engine has begun anew.
    pub(crate) life: u32,
}

/// The judge.
pub(crate) struct Oracle {
    flows: BTreeMap<u32, Flow>,
    deadlines: BTreeSet<(Moment, u32, u32)>,
    recent: VecDeque<(Moment, u32, u32)>,
    violation: Option<Violation>,
    pub(crate) tally: Tally,
}

impl Oracle {
    pub(crate) fn new() -> Self {
        Self {
            flows: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            recent: VecDeque::new(),
            violation: None,
            tally: Tally::default(),
        }
    }

    /// What did not hold first.
    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    pub(crate) fn fail(&mut self, invariant: &'static str, now: Moment, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation::new(invariant, what(), now));
        }
    }

    pub(crate) fn begin(&mut self, number: u32, flow: Flow) {
        self.flows.insert(number, flow);
        while self.flows.len() > REMEMBERED {
            self.flows.pop_first();
        }
    }

    pub(crate) fn flow(&self, number: u32) -> Option<&Flow> {
        self.flows.get(&number)
    }

    pub(crate) fn flow_mut(&mut self, number: u32) -> Option<&mut Flow> {
        self.flows.get_mut(&number)
    }

    /// How many packets of flows that are bound to a tunnel were answered, of those that are remembered.
    pub(crate) fn answers_through(&self, place: Place) -> u32 {
        let bound = self.flows.values().filter(|flow| flow.bound.is_some_and(|bound| bound.place == place));
        bound.map(|flow| flow.acknowledged).max().unwrap_or(0)
    }

    /// When a packet is overdue next.
    pub(crate) fn poll_timeout(&self) -> Option<Moment> {
        self.deadlines.first().map(|(at, ..)| *at)
    }

    /// A program sends its packet `number` of a flow, and the host decides about its way.
    pub(crate) fn sent(
        &mut self,
        (id, number): (u32, u32),
        question: &Question,
        way: &Verdict,
        view: &View<'_>,
        now: Moment,
    ) {
        let answer = view.now.answer(question);
        if *way == Verdict::Clear {
            self.tally.clear += 1;
            let may = |reference: &Reference| reference.answer(question) == Answer::Clear;
            if !may(view.now) && !view.before.iter().any(may) {
                self.fail("I-1", now, || {
                    format!("{question:?} of flow {id} leaves in clear; it must go to {answer:?}")
                });
            }
            return;
        }
        let Some(flow) = self.flows.get_mut(&id) else { return };
        let must = flow.must(answer, view, now);
        let (allowed, keeps) = flow.allowed(answer, view, now);
        let in_device = matches!(way, Verdict::Device(_));
        let must = must
            .filter(|place| in_device && view.steady.get(*place).copied().flatten().is_some_and(|since| since <= now));
        let View { generation, life, .. } = *view;
        let probe = Probe { at: now, allowed, keeps, must, generation, life, arrived: 0, answered: 0 };
        flow.note_sent(number, probe);
        self.tally.asked += 1;
        if must.is_some() {
            self.tally.must += 1;
            self.deadlines.insert((now + IN_TIME, id, number));
        }
        if in_device {
            self.recent.push_back((now, id, number));
        }
    }

    /// Between two steps of a change of the host: nothing that was and will be held is let go.
    pub(crate) fn between(
        &mut self,
        question: &Question,
        way: &Verdict,
        now_holds: &Reference,
        before: &[Reference],
        now: Moment,
    ) {
        self.tally.between += 1;
        let may = |reference: &Reference| reference.answer(question) == Answer::Clear;
        if *way == Verdict::Clear && !may(now_holds) && !before.iter().any(may) {
            self.fail("I-1", now, || format!("{question:?} would leave in clear between two steps of a change"));
        }
    }

    /// What must hold has changed: a packet that waits may go where it must go now.
    pub(crate) fn follow(&mut self, reference: &Reference, now: Moment) {
        while self.recent.front().is_some_and(|(at, ..)| *at + HELD < now) {
            self.recent.pop_front();
        }
        for (_, id, number) in &self.recent {
            let Some(flow) = self.flows.get_mut(id) else { continue };
            let answer = reference.answer(&flow.question());
            if let Some(probe) = flow.probes.get_mut(number).filter(|probe| probe.arrived == 0)
                && !probe.keeps
            {
                probe.allowed |= mask(answer);
            }
        }
    }

    /// The user has changed something: of flows that go elsewhere now no answer is owed any more.
    pub(crate) fn withdraw(&mut self, reference: &Reference) {
        for flow in self.flows.values_mut() {
            let Some(bound) = flow.bound else { continue };
            flow.withdrawn |= reference.answer(&flow.question()) != Answer::Tunnel(bound.place);
        }
        for (_, id, number) in &self.deadlines {
            let Some(flow) = self.flows.get_mut(id) else { continue };
            let answer = reference.answer(&flow.question());
            if let Some(probe) = flow.probes.get_mut(number) {
                probe.must = probe.must.filter(|place| answer == Answer::Tunnel(*place));
            }
        }
    }

    /// A packet has come out at the server of `place`, whose session was assigned `inner`. Returns what the far end is asked.
    pub(crate) fn at_server(
        &mut self,
        place: Place,
        inner: &[IpAddr],
        packet: &[u8],
        view: &View<'_>,
        now: Moment,
    ) -> Option<Seen> {
        let Some(seen) = Seen::read(packet) else {
            self.fail("I-3", now, || format!("no packet at the server of {place}"));
            return None;
        };
        if !inner.contains(&seen.source.ip()) {
            self.fail("I-3", now, || format!("{seen:?} at the server of {place}, which assigned {inner:?}"));
        }
        if !seen.sound {
            self.fail("I-3", now, || format!("a wrong checksum at the server of {place}: {seen:?}"));
        }
        // Errors and resets of the host's own have no tag.
        let tag = seen.tag?;
        let flow = self.flows.get_mut(&tag.flow)?;
        let repeats = flow.repeats();
        let Some(probe) = flow.probes.get_mut(&tag.number) else { return Some(seen) };
        probe.arrived += 1;
        let (allowed, arrived, bound, waited) = (probe.allowed, probe.arrived, flow.bound, now.since(probe.at));
        let (generation, life) = (probe.generation, probe.life);
        self.tally.arrived += 1;
        if tag.kind != Kind::Ask || allowed & (1 << place) == 0 {
            self.fail("I-2", now, || {
                format!(
                    "packet {} of flow {} is at the server of {place}; allowed were {allowed:#b}, bound {bound:?}",
                    tag.number, tag.flow
                )
            });
        }
        if arrived > 1 && !repeats {
            self.fail("I-12", now, || format!("packet {} of flow {} arrives twice", tag.number, tag.flow));
        }
        if waited > LONGEST {
            self.fail("I-9", now, || format!("packet {} of flow {} has waited for {waited:?}", tag.number, tag.flow));
        }
        let lease = view.now.tunnel(place).and_then(|tunnel| tunnel.lease.as_ref()).map(|lease| lease.number);
        if let Some(flow) = self.flows.get_mut(&tag.flow) {
            flow.bind(Bound { place, lease, generation, life }, now);
        }
        Some(seen)
    }

    /// A whole packet was written to the interface. Returns the answer's flow and number, or the flow that was refused.
    pub(crate) fn at_host(&mut self, packet: &[u8], engine: &[IpAddr], view: &View<'_>, now: Moment) -> Told {
        let Some(seen) = Seen::read(packet) else {
            self.fail("I-4", now, || "what is written to the interface is no packet".to_owned());
            return Told::Nothing;
        };
        if !seen.sound {
            self.fail("I-4", now, || format!("a wrong checksum at the interface: {seen:?}"));
        }
        match seen.tag {
            Some(tag) => self.answered(&seen, tag, view, now),
            None => self.refused(&seen, engine, now),
        }
    }

    fn answered(&mut self, seen: &Seen, tag: Tag, view: &View<'_>, now: Moment) -> Told {
        match tag.kind {
            Kind::Ask => self.fail("I-4", now, || format!("a program's own packet comes back: {seen:?}")),
            Kind::Forged => self.fail("I-4", now, || format!("a lie reaches the host: {seen:?}")),
            Kind::Unasked => self.unasked(seen, tag, view, now),
            Kind::Answer => return self.take_answer(seen, tag, view, now),
        }
        Told::Nothing
    }

    /// Only what `accept` names, and to the address by which the interface shows the tunnel.
    fn unasked(&mut self, seen: &Seen, tag: Tag, view: &View<'_>, now: Moment) {
        let place = Place::from(tag.place);
        let tunnel = view.now.tunnel(place).filter(|tunnel| tunnel.accepts);
        let shown = |tunnel: &crate::sim::reference::TunnelModel| {
            tunnel.lease.as_ref().is_some_and(|lease| lease.shown.contains(&seen.destination.ip()))
        };
        let accepted = seen.destination.port() == crate::sim::world::setup::ACCEPTED && seen.protocol == packet::UDP;
        if !accepted || !tunnel.is_some_and(shown) {
            self.fail("I-4", now, || format!("{seen:?} reaches the host unasked, from the server of {place}"));
        }
        self.tally.accepted += 1;
    }

    fn take_answer(&mut self, seen: &Seen, tag: Tag, view: &View<'_>, now: Moment) -> Told {
        let Some(flow) = self.flows.get_mut(&tag.flow) else { return Told::Nothing };
        let (source, port, to, bound) = (flow.source, flow.port, flow.to, flow.bound);
        let repeats = flow.repeats();
        let answered = flow.probes.get_mut(&tag.number).map(|probe| {
            probe.answered += 1;
            probe.answered
        });
        self.tally.answered += 1;
        let is_right = Some(seen.destination.ip()) == source && seen.destination.port() == port && seen.source == to;
        if !is_right {
            self.fail("I-4", now, || format!("{seen:?} answers flow {} of {source:?} port {port} to {to}", tag.flow));
        }
        if bound.is_none_or(|bound| bound.place != Place::from(tag.place)) {
            self.fail("I-4", now, || {
                format!("{seen:?} comes from the server of {}, flow {} is bound to {bound:?}", tag.place, tag.flow)
            });
        }
        let lease = view.now.tunnel(Place::from(tag.place)).and_then(|tunnel| tunnel.lease.as_ref());
        if let Some(bound) = bound
            && bound.lease != lease.map(|lease| lease.number)
        {
            self.fail("I-4", now, || format!("{seen:?} answers flow {} of another lease", tag.flow));
        }
        if answered.is_some_and(|answered| answered > 1) && !repeats {
            self.fail("I-12", now, || format!("the answer {} of flow {} comes twice", tag.number, tag.flow));
        }
        Told::Answered(tag.flow, tag.number)
    }

    /// The engine's own answers: a reset from where the connection went, an error from its own address.
    fn refused(&mut self, seen: &Seen, engine: &[IpAddr], now: Moment) -> Told {
        self.tally.refused += 1;
        if seen.error {
            if !engine.contains(&seen.source.ip()) {
                self.fail("I-4", now, || format!("an error that is not the engine's: {seen:?}"));
            }
            return Told::Nothing;
        }
        if seen.protocol != packet::TCP || seen.flags & RST == 0 {
            self.fail("I-4", now, || format!("nobody made this: {seen:?}"));
            return Told::Nothing;
        }
        let ends = |flow: &Flow| {
            flow.port == seen.destination.port() && flow.source == Some(seen.destination.ip()) && flow.to == seen.source
        };
        match self.flows.iter().rev().find(|(_, flow)| ends(flow)) {
            Some((id, _)) => Told::Reset(*id),
            None => {
                self.fail("I-4", now, || format!("a reset of no connection: {seen:?}"));
                Told::Nothing
            }
        }
    }

    /// Looks whether what must have been answered by now was.
    pub(crate) fn pass_time(&mut self, steady: &[Option<Moment>], now: Moment) {
        while let Some((at, id, number)) = self.deadlines.first().copied().filter(|(at, ..)| *at <= now) {
            self.deadlines.remove(&(at, id, number));
            let Some(flow) = self.flows.get(&id) else { continue };
            let Some(probe) = flow.probes.get(&number) else { continue };
            let Some(place) = probe.must.filter(|_| probe.answered == 0) else { continue };
            let steadily = steady.get(place).copied().flatten().is_some_and(|since| since <= probe.at);
            if steadily {
                let (bound, protocol, arrived) = (flow.bound, flow.protocol, probe.arrived);
                self.fail("I-8", now, || {
                    format!(
                        "packet {number} of flow {id} (protocol {protocol}) through {place} is not answered in time \
                         although nothing was done to it; it arrived {arrived} times, bound {bound:?}"
                    )
                });
            }
        }
    }
}

/// What a packet from the interface is to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Nothing,
    Answered(u32, u32),
    Reset(u32),
}
