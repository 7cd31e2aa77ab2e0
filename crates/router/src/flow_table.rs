//! Where flows are kept: a slab, two keyed maps into it, one queue by age for each stage, and for each holder how many it has.
//! It bounds how many there are, in all and of one holder, and gives up the least useful first. What a flow means and how
//! packets change it is `flow.rs`'s.

use ahash::RandomState;
use mrvpn_clock::Moment;

use crate::app::Holder;
use crate::chain::{Chain, Kind, Link, Linked, NONE};
use crate::flow::{Flow, InsideKey, OutsideKey};
use crate::holders::{HolderPlace, Holders, NOT_YET};
use crate::names::Names;
use crate::pace::Allowance;
use crate::progress::{Progress, Stage};
use crate::{DropReason, limits};

/// A flow's place; it never names another flow that came into the same slot later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowId {
    slot: u32,
    generation: u32,
}

/// Why there is no room for a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The table is full.
    Table,
    /// Its holder's share is.
    Share,
}

impl From<Full> for DropReason {
    fn from(full: Full) -> Self {
        match full {
            Full::Table => Self::TableFull,
            Full::Share => Self::ShareFull,
        }
    }
}

/// All flows.
pub(crate) struct FlowTable {
    slots: Vec<Slot>,
    free: u32,
    inside: Names<(u32, u128), (u32, u64, [u128; 2])>,
    outside: Names<(u64, u128), (u64, u64, u128)>,
    queues: [Chain; Stage::COUNT],
    holders: Holders,
    capacity: usize,
    share: usize,
}

struct Slot {
    generation: u32,
    /// `None`: free, and the next one by age is the next free slot.
    flow: Option<Flow>,
    /// When it was put at the end of its queues.
    queued: Moment,
    holder: HolderPlace,
    /// How often errors about it may still be told.
    errors: Allowance,
    links: [Link; Kind::COUNT],
}

impl Linked for Slot {
    fn link(&mut self, kind: Kind) -> &mut Link {
        &mut self.links[kind as usize]
    }
}

impl FlowTable {
    /// An empty table for `capacity` flows, `share` of one holder, whose hashes are keyed by `seeds` (against hash flooding).
    pub(crate) fn new(capacity: usize, share: usize, seeds: [u64; 4]) -> Self {
        let keyed = RandomState::with_seeds(seeds[0], seeds[1], seeds[2], seeds[3]);
        Self {
            slots: Vec::new(),
            free: NONE,
            inside: Names::new(&keyed),
            outside: Names::new(&keyed),
            queues: [Chain::EMPTY; Stage::COUNT],
            holders: Holders::new(&keyed),
            capacity,
            share,
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

    /// Puts a flow in, when neither of its names is taken, and counts it for `holder`. Where the holder has its share, or the
    /// table is full, an idle one of the holder's or of all goes for it, or one of those for which `ended` is true.
    ///
    /// # Errors
    /// There is no room.
    pub(crate) fn insert(
        &mut self,
        flow: Flow,
        holder: Option<Holder>,
        ended: impl Fn(&Flow) -> bool,
        now: Moment,
    ) -> Result<FlowId, Full> {
        let (inside, outside) = (flow.inside_key(), flow.outside_key());
        debug_assert!(self.inside.get(&inside).is_none() && !self.is_taken(&outside), "names are looked up before");
        if let Some(place) = holder.and_then(|holder| self.holders.find(holder))
            && self.holders.flows(place) >= self.share
        {
            let expendable = self.expendable_of(place, &ended, now).ok_or(Full::Share)?;
            self.remove(expendable);
        }
        if self.len() >= self.capacity {
            let expendable = self.expendable(ended, now).ok_or(Full::Table)?;
            self.remove(expendable);
        }
        let id = self.place(flow).ok_or(Full::Table)?;
        self.inside.insert(inside, id.slot);
        self.outside.insert(outside, id.slot);
        self.hand_to(id.slot, holder);
        self.link(id.slot, now);
        Ok(id)
    }

    /// Counts a flow for `holder` that has counted for nobody yet. It grows no younger by that.
    pub(crate) fn assign(&mut self, id: FlowId, holder: Holder) {
        if self.get(id).is_some() && self.holder(id.slot) == NOT_YET {
            self.unshelve(id.slot);
            self.holders.discount(NOT_YET);
            self.hand_to(id.slot, Some(holder));
            self.shelve(id.slot);
        }
    }

    /// The flow that has counted for nobody the longest without a packet.
    pub(crate) fn first_unassigned(&self) -> Option<(FlowId, &Flow)> {
        let id = self.id(self.holders.first_expendable(NOT_YET))?;
        Some((id, self.get(id)?))
    }

    /// Whether an error about the flow may be told now; if so, it is counted.
    pub(crate) fn may_tell_error(&mut self, id: FlowId, now: Moment) -> bool {
        self.slot_mut(id).is_some_and(|slot| slot.errors.take(now))
    }

    /// Notes a packet of the flow, after which it has come to `progress`.
    pub(crate) fn touch(&mut self, id: FlowId, progress: Progress, now: Moment) {
        let Some(slot) = self.slot_mut(id) else { return };
        let queued = slot.queued;
        let Some(flow) = slot.flow.as_mut() else { return };
        if flow.progress.stage == progress.stage && now.since(queued) < limits::GRAIN {
            flow.progress = progress;
            return;
        }
        self.unlink(id.slot);
        if let Some(flow) = self.slot_mut(id).and_then(|slot| slot.flow.as_mut()) {
            flow.progress = progress;
        }
        self.link(id.slot, now);
    }

    /// Marks a flow as taken back by the user. It grows no younger by that.
    pub(crate) fn withdraw(&mut self, id: FlowId) {
        if let Some(flow) = self.slot_mut(id).and_then(|slot| slot.flow.as_mut()) {
            flow.progress = flow.progress.withdraw();
        }
    }

    /// Takes a flow out.
    pub(crate) fn remove(&mut self, id: FlowId) {
        let Some(flow) = self.get(id).copied() else { return };
        self.inside.remove(&flow.inside_key());
        self.outside.remove(&flow.outside_key());
        self.unlink(id.slot);
        self.holders.discount(self.holder(id.slot));
        let free = self.free;
        if let Some(slot) = self.slots.get_mut(id.slot as usize) {
            slot.flow = None;
            slot.generation = slot.generation.wrapping_add(1);
            slot.link(Kind::Age).next = free;
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
        let first = |stage| self.queue(stage).first;
        Stage::EXPENDABLE
            .iter()
            .find_map(|stage| self.id(first(*stage)))
            .or_else(|| self.idle(first(Stage::UdpReplied), now))
            .or_else(|| self.ended_from(first(Stage::TcpEstablished), Kind::Age, &ended))
            .or_else(|| self.ended_from(first(Stage::UdpReplied), Kind::Age, &ended))
    }

    /// The same among a holder's own. Its connections that have ended are told so, and go by that.
    fn expendable_of(&self, place: HolderPlace, ended: impl Fn(&Flow) -> bool, now: Moment) -> Option<FlowId> {
        let answered = self.holders.first_answered(place);
        self.id(self.holders.first_expendable(place))
            .or_else(|| self.idle(answered, now))
            .or_else(|| self.ended_from(answered, Kind::Holder, ended))
    }

    /// The answered UDP flow in `slot`, if it has been idle for as long as an unanswered one lives.
    fn idle(&self, slot: u32, now: Moment) -> Option<FlowId> {
        let id = self.id(slot)?;
        (now.since(self.slot(slot)?.queued) >= limits::UDP_UNREPLIED).then_some(id)
    }

    /// One that has ended, of a few from `first` on.
    fn ended_from(&self, first: u32, kind: Kind, ended: impl Fn(&Flow) -> bool) -> Option<FlowId> {
        let slots = std::iter::successors(Some(first), |slot| Some(self.slot(*slot)?.links[kind as usize].next));
        let mut oldest = slots.map_while(|slot| self.id(slot)).take(limits::LOOKED_AT_WHEN_FULL);
        oldest.find(|id| self.get(*id).is_some_and(&ended))
    }

    /// Finds a slot for a flow.
    fn place(&mut self, flow: Flow) -> Option<FlowId> {
        if let Some(slot) = self.slots.get_mut(self.free as usize) {
            let id = FlowId { slot: self.free, generation: slot.generation };
            self.free = slot.link(Kind::Age).next;
            *slot = Slot::new(flow, id.generation);
            return Some(id);
        }
        let slot = u32::try_from(self.slots.len()).ok().filter(|slot| *slot != NONE)?;
        self.slots.push(Slot::new(flow, 0));
        Some(FlowId { slot, generation: 0 })
    }

    /// Counts the flow in `slot`, which stands in no queue, for a holder.
    fn hand_to(&mut self, slot: u32, holder: Option<Holder>) {
        let place = self.holders.count(holder);
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            slot.holder = place;
        }
    }

    /// Puts a flow at the end of the queues of its stage and its holder.
    fn link(&mut self, slot: u32, now: Moment) {
        let Some(Slot { flow: Some(flow), queued, .. }) = self.slots.get_mut(slot as usize) else { return };
        *queued = now;
        let stage = flow.progress.stage;
        self.queues[stage as usize].push(&mut self.slots, Kind::Age, slot);
        self.shelve(slot);
    }

    /// Takes a flow out of both queues.
    fn unlink(&mut self, slot: u32) {
        let Some(Slot { flow: Some(flow), .. }) = self.slot(slot) else { return };
        let stage = flow.progress.stage;
        self.queues[stage as usize].leave(&mut self.slots, Kind::Age, slot);
        self.unshelve(slot);
    }

    fn shelve(&mut self, slot: u32) {
        let Some(Slot { flow: Some(flow), holder, .. }) = self.slots.get(slot as usize) else { return };
        if let Some(shelf) = self.holders.shelf(*holder, flow.progress.stage) {
            shelf.push(&mut self.slots, Kind::Holder, slot);
        }
    }

    fn unshelve(&mut self, slot: u32) {
        let Some(Slot { flow: Some(flow), holder, .. }) = self.slots.get(slot as usize) else { return };
        if let Some(shelf) = self.holders.shelf(*holder, flow.progress.stage) {
            shelf.leave(&mut self.slots, Kind::Holder, slot);
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

    fn slot_mut(&mut self, id: FlowId) -> Option<&mut Slot> {
        self.slots.get_mut(id.slot as usize).filter(|slot| slot.generation == id.generation)
    }

    fn holder(&self, slot: u32) -> HolderPlace {
        self.slot(slot).map_or(NOT_YET, |slot| slot.holder)
    }

    fn queue(&self, stage: Stage) -> Chain {
        self.queues[stage as usize]
    }
}

impl Slot {
    /// With a flow that stands in no queue and counts for nobody.
    fn new(flow: Flow, generation: u32) -> Self {
        Self {
            generation,
            flow: Some(flow),
            queued: Moment::default(),
            holder: NOT_YET,
            errors: Allowance::default(),
            links: [Link::NONE; Kind::COUNT],
        }
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
        let mut table = table(1);
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
        let mut table = table(2);
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
        let mut table = table(2);
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
            let mut table = table(3);
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
        table.insert(flow(number), None, |_| false, now).ok()
    }

    /// A table in which nobody has less than all.
    fn table(capacity: usize) -> FlowTable {
        FlowTable::new(capacity, capacity, [1; 4])
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
