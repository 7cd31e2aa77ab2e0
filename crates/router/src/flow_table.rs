//! Where flows are kept: a slab, two keyed maps into it, and one queue by age for each stage. It bounds how many there
//! are and gives up the least useful first. What a flow means and how packets change it is `flow.rs`'s.

use std::collections::HashMap;
use std::hash::Hash;

use ahash::RandomState;
use mrvpn_clock::Moment;

use crate::flow::{Flow, InsideKey, Key, OutsideKey};
use crate::limits;
use crate::progress::{Progress, Stage};

/// No slot.
const NONE: u32 = u32::MAX;

/// A flow's place; it never names another flow that came into the same slot later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowId {
    slot: u32,
    generation: u32,
}

/// All flows.
pub(crate) struct FlowTable {
    slots: Vec<Slot>,
    free: u32,
    inside: Names<(u32, u128), (u32, u64, [u128; 2])>,
    outside: Names<(u64, u128), (u64, u64, u128)>,
    queues: [Queue; Stage::COUNT],
    capacity: usize,
}

/// Names of flows, a map for each version of IP.
struct Names<V4, V6> {
    v4: HashMap<V4, u32, RandomState>,
    v6: HashMap<V6, u32, RandomState>,
}

impl<V4: Eq + Hash, V6: Eq + Hash> Names<V4, V6> {
    fn new(keyed: &RandomState) -> Self {
        Self { v4: HashMap::with_hasher(keyed.clone()), v6: HashMap::with_hasher(keyed.clone()) }
    }

    fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    fn get(&self, key: &Key<V4, V6>) -> Option<u32> {
        match key {
            Key::V4(key) => self.v4.get(key).copied(),
            Key::V6(key) => self.v6.get(key).copied(),
        }
    }

    fn insert(&mut self, key: Key<V4, V6>, slot: u32) {
        match key {
            Key::V4(key) => self.v4.insert(key, slot),
            Key::V6(key) => self.v6.insert(key, slot),
        };
    }

    fn remove(&mut self, key: &Key<V4, V6>) {
        match key {
            Key::V4(key) => self.v4.remove(key),
            Key::V6(key) => self.v6.remove(key),
        };
    }
}

struct Slot {
    generation: u32,
    /// `None`: free, and `next` names the next free slot.
    flow: Option<Flow>,
    /// When it was put at the end of its queue.
    queued: Moment,
    previous: u32,
    next: u32,
}

/// Flows of one stage, the longest idle first.
#[derive(Clone, Copy)]
struct Queue {
    first: u32,
    last: u32,
}

impl FlowTable {
    /// An empty table for `capacity` flows, whose hashes are keyed by `seeds` (against hash flooding).
    pub(crate) fn new(capacity: usize, seeds: [u64; 4]) -> Self {
        let keyed = RandomState::with_seeds(seeds[0], seeds[1], seeds[2], seeds[3]);
        Self {
            slots: Vec::new(),
            free: NONE,
            inside: Names::new(&keyed),
            outside: Names::new(&keyed),
            queues: [Queue { first: NONE, last: NONE }; Stage::COUNT],
            capacity,
        }
    }

    /// How many flows there are.
    pub(crate) fn len(&self) -> usize {
        self.inside.len()
    }

    /// The flow that a packet of the host names.
    pub(crate) fn find_inside(&mut self, key: &InsideKey, now: Moment) -> Option<FlowId> {
        let slot = self.inside.get(key)?;
        self.alive(slot, now)
    }

    /// The flow that a packet of a server names.
    pub(crate) fn find_outside(&mut self, key: &OutsideKey, now: Moment) -> Option<FlowId> {
        let slot = self.outside.get(key)?;
        self.alive(slot, now)
    }

    /// Whether a server's packets already have this name.
    pub(crate) fn is_taken(&self, key: &OutsideKey) -> bool {
        self.outside.get(key).is_some()
    }

    /// Whether a packet of the host already has this name.
    pub(crate) fn is_known(&self, key: &InsideKey) -> bool {
        self.inside.get(key).is_some()
    }

    /// All flows, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (FlowId, &Flow)> {
        self.slots.iter().zip(0..).filter_map(|(slot, number)| {
            Some((FlowId { slot: number, generation: slot.generation }, slot.flow.as_ref()?))
        })
    }

    /// The flow, if it is still there.
    pub(crate) fn get(&self, id: FlowId) -> Option<&Flow> {
        self.slot(id.slot).filter(|slot| slot.generation == id.generation)?.flow.as_ref()
    }

    /// Puts a flow in, when neither of its names is taken. In a full table an idle one goes for it, or one of those for
    /// which `ended` is true.
    ///
    /// Returns `None` when there is no room.
    pub(crate) fn insert(&mut self, flow: Flow, ended: impl Fn(&Flow) -> bool, now: Moment) -> Option<FlowId> {
        let (inside, outside) = (flow.inside_key(), flow.outside_key());
        debug_assert!(self.inside.get(&inside).is_none() && !self.is_taken(&outside), "names are looked up before");
        if self.len() >= self.capacity {
            let expendable = self.expendable(ended, now)?;
            self.remove(expendable);
        }
        let stage = flow.progress.stage;
        let id = self.place(flow)?;
        self.inside.insert(inside, id.slot);
        self.outside.insert(outside, id.slot);
        self.link(id.slot, stage, now);
        Some(id)
    }

    /// Notes a packet of the flow, after which it has come to `progress`.
    pub(crate) fn touch(&mut self, id: FlowId, progress: Progress, now: Moment) {
        let Some(slot) = self.slots.get_mut(id.slot as usize) else { return };
        let queued = slot.queued;
        let Some(flow) = slot.flow.as_mut().filter(|_| slot.generation == id.generation) else { return };
        let before = flow.progress.stage;
        flow.progress = progress;
        if before != progress.stage || now.since(queued) >= limits::GRAIN {
            self.unlink(id.slot, before);
            self.link(id.slot, progress.stage, now);
        }
    }

    /// Marks a flow as taken back by the user. It grows no younger by that.
    pub(crate) fn withdraw(&mut self, id: FlowId) {
        let slot = self.slots.get_mut(id.slot as usize).filter(|slot| slot.generation == id.generation);
        if let Some(flow) = slot.and_then(|slot| slot.flow.as_mut()) {
            flow.progress = flow.progress.withdraw();
        }
    }

    /// Takes a flow out.
    pub(crate) fn remove(&mut self, id: FlowId) {
        let Some(flow) = self.get(id).copied() else { return };
        self.inside.remove(&flow.inside_key());
        self.outside.remove(&flow.outside_key());
        self.unlink(id.slot, flow.progress.stage);
        let free = self.free;
        if let Some(slot) = self.slots.get_mut(id.slot as usize) {
            slot.flow = None;
            slot.generation = slot.generation.wrapping_add(1);
            slot.next = free;
            self.free = id.slot;
        }
    }

    /// When the first flow is due to end.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        Stage::ALL.iter().filter_map(|stage| self.due(self.queue(*stage).first)).min()
    }

    /// Takes out flows that are due, at most `most`.
    pub(crate) fn expire(&mut self, most: usize, now: Moment) {
        let mut left = most;
        for stage in Stage::ALL {
            while left > 0 {
                let first = self.queue(stage).first;
                let Some(id) = self.id(first).filter(|_| self.due(first).is_some_and(|due| due <= now)) else { break };
                self.remove(id);
                left -= 1;
            }
        }
    }

    /// The flow in `slot`, unless its time is over; then it goes.
    fn alive(&mut self, slot: u32, now: Moment) -> Option<FlowId> {
        let id = self.id(slot)?;
        if self.due(slot)? <= now {
            self.remove(id);
            return None;
        }
        Some(id)
    }

    /// A flow that may go for a new one: half-open and unanswered ones, then an answered UDP flow that has been idle for as
    /// long as an unanswered one lives, then one that has ended. Never an established one.
    fn expendable(&self, ended: impl Fn(&Flow) -> bool, now: Moment) -> Option<FlowId> {
        let idle = || {
            let first = self.queue(Stage::UdpReplied).first;
            self.slot(first).filter(|slot| now.since(slot.queued) >= limits::UDP_UNREPLIED).and_then(|_| self.id(first))
        };
        let over = |stage| self.oldest(stage).find(|id| self.get(*id).is_some_and(&ended));
        Stage::EXPENDABLE
            .iter()
            .find_map(|stage| self.id(self.queue(*stage).first))
            .or_else(idle)
            .or_else(|| over(Stage::TcpEstablished))
            .or_else(|| over(Stage::UdpReplied))
    }

    /// The longest idle flows of a stage, a few.
    fn oldest(&self, stage: Stage) -> impl Iterator<Item = FlowId> {
        let slots = std::iter::successors(Some(self.queue(stage).first), |slot| Some(self.slot(*slot)?.next));
        slots.map_while(|slot| self.id(slot)).take(limits::LOOKED_AT_WHEN_FULL)
    }

    /// Finds a slot for a flow.
    fn place(&mut self, flow: Flow) -> Option<FlowId> {
        if let Some(slot) = self.slots.get_mut(self.free as usize) {
            let id = FlowId { slot: self.free, generation: slot.generation };
            self.free = slot.next;
            slot.flow = Some(flow);
            return Some(id);
        }
        let slot = u32::try_from(self.slots.len()).ok().filter(|slot| *slot != NONE)?;
        self.slots.push(Slot {
            generation: 0,
            flow: Some(flow),
            queued: Moment::default(),
            previous: NONE,
            next: NONE,
        });
        Some(FlowId { slot, generation: 0 })
    }

    /// Puts a slot at the end of a queue.
    fn link(&mut self, slot: u32, stage: Stage, now: Moment) {
        let last = self.queue(stage).last;
        if let Some(this) = self.slots.get_mut(slot as usize) {
            (this.previous, this.next, this.queued) = (last, NONE, now);
        }
        match self.slots.get_mut(last as usize) {
            Some(before) => before.next = slot,
            None => self.queue_mut(stage).first = slot,
        }
        self.queue_mut(stage).last = slot;
    }

    /// Takes a slot out of a queue.
    fn unlink(&mut self, slot: u32, stage: Stage) {
        let Some(&Slot { previous, next, .. }) = self.slot(slot) else { return };
        match self.slots.get_mut(previous as usize) {
            Some(before) => before.next = next,
            None => self.queue_mut(stage).first = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(after) => after.previous = previous,
            None => self.queue_mut(stage).last = previous,
        }
    }

    /// When the flow in `slot` ends, if it has no more packets.
    fn due(&self, slot: u32) -> Option<Moment> {
        let slot = self.slot(slot)?;
        // The grain is added, since packets within it did not move the flow in its queue.
        Some(slot.queued + slot.flow.as_ref()?.progress.stage.time_out() + limits::GRAIN)
    }

    fn id(&self, slot: u32) -> Option<FlowId> {
        self.slot(slot).filter(|found| found.flow.is_some()).map(|found| FlowId { slot, generation: found.generation })
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(slot as usize)
    }

    fn queue(&self, stage: Stage) -> Queue {
        self.queues[stage as usize]
    }

    fn queue_mut(&mut self, stage: Stage) -> &mut Queue {
        &mut self.queues[stage as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::flow::{Inside, Outside, Protocol, Remote};
    use crate::progress::Way;
    use crate::{Attachment, LeaseId, TunnelId};

    const START: Moment = Moment::from_nanos(1_000_000_000);

    #[test]
    fn an_answered_datagram_flow_is_given_up_only_when_it_is_idle() {
        let mut table = FlowTable::new(1, [1; 4]);
        let old = insert(&mut table, 1, START).unwrap();
        answered(&mut table, old, START);
        let early = START + (limits::UDP_UNREPLIED - Duration::from_nanos(1));
        assert_eq!(insert(&mut table, 2, early), None);
        let late = START + limits::UDP_UNREPLIED;
        assert!(insert(&mut table, 2, late).is_some());
        assert_eq!((table.get(old), table.len()), (None, 1));
    }

    #[test]
    fn the_longest_idle_goes_first() {
        let mut table = FlowTable::new(2, [1; 4]);
        let first = insert(&mut table, 1, START).unwrap();
        let second = insert(&mut table, 2, START + limits::GRAIN).unwrap();
        let progress = table.get(first).unwrap().progress.after(Way::Out, None);
        table.touch(first, progress, START + limits::GRAIN);
        assert!(insert(&mut table, 3, START + limits::GRAIN).is_some());
        assert!(table.get(first).is_some());
        assert_eq!(table.get(second), None);
    }

    #[test]
    fn a_place_that_is_taken_again_answers_to_its_new_flow_alone() {
        let mut table = FlowTable::new(2, [1; 4]);
        let old = insert(&mut table, 1, START).unwrap();
        table.remove(old);
        table.remove(old);
        let new = insert(&mut table, 2, START).unwrap();
        assert_eq!((new.slot, table.len()), (old.slot, 1));
        assert_eq!(table.get(old), None);
        table.touch(old, flow(2).progress.after(Way::In, None), START);
        assert_eq!(table.get(new), Some(&flow(2)));
    }

    #[test]
    fn a_table_holds_as_many_as_it_may() {
        for (count, held) in [(2, 2), (3, 3), (4, 3)] {
            let mut table = FlowTable::new(3, [1; 4]);
            let ids: Vec<_> = (0..count).map(|number| insert(&mut table, number, START)).collect();
            assert!(ids.iter().all(Option::is_some), "unanswered ones make room");
            assert_eq!(table.len(), held);
        }
    }

    fn answered(table: &mut FlowTable, id: FlowId, now: Moment) {
        let progress = table.get(id).unwrap().progress.after(Way::In, None);
        table.touch(id, progress, now);
    }

    fn insert(table: &mut FlowTable, number: u16, now: Moment) -> Option<FlowId> {
        table.insert(flow(number), |_| false, now)
    }

    fn flow(number: u16) -> Flow {
        Flow {
            attachment: Attachment::Rules,
            tunnel: TunnelId::new(0),
            lease: LeaseId::new(1),
            protocol: Protocol::Udp,
            inside: Inside { address: Ipv4Addr::new(198, 18, 0, 1).into(), port: number },
            outside: Outside { address: Ipv4Addr::new(10, 8, 0, 2).into(), port: number },
            remote: Remote { address: Ipv4Addr::new(203, 0, 113, 1).into(), port: 53 },
            progress: Progress::new(Protocol::Udp),
        }
    }
}
