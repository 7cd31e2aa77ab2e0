//! Who holds how many flows, and which of a holder's may go for another of its own. A flow whose holder is not known yet
//! counts for nobody. What a flow is, and when one must go, is `flow_table.rs`'s.

use std::collections::HashMap;

use ahash::RandomState;

use crate::app::Holder;
use crate::chain::{Chain, NONE};
use crate::progress::Stage;

/// A holder's place among the holders; one that has no flow left has none.
pub(crate) type HolderPlace = u32;

/// The place that stands for flows whose holder is not known yet.
pub(crate) const NOT_YET: HolderPlace = 0;

/// Queues of one holder: flows that may go at any time, and answered datagram flows, which may once they are idle.
const SHELVES: usize = 2;

/// All holders.
pub(crate) struct Holders {
    places: HashMap<Holder, HolderPlace, RandomState>,
    entries: Vec<Entry>,
    free: HolderPlace,
}

struct Entry {
    name: Option<Holder>,
    flows: usize,
    shelves: [Chain; SHELVES],
    next_free: HolderPlace,
}

impl Entry {
    const fn new(name: Option<Holder>) -> Self {
        Self { name, flows: 0, shelves: [Chain::EMPTY; SHELVES], next_free: NONE }
    }
}

impl Holders {
    /// None yet; `keyed` hashes their names.
    pub(crate) fn new(keyed: &RandomState) -> Self {
        let places = HashMap::with_hasher(keyed.clone());
        Self { places, entries: vec![Entry::new(None)], free: NONE }
    }

    /// Where a holder stands that has flows.
    pub(crate) fn find(&self, holder: Holder) -> Option<HolderPlace> {
        self.places.get(&holder).copied()
    }

    /// How many flows the holder at a place has.
    pub(crate) fn flows(&self, place: HolderPlace) -> usize {
        self.entry(place).map_or(0, |entry| entry.flows)
    }

    /// Counts a flow for a holder, or for nobody yet, and says where that one stands.
    pub(crate) fn count(&mut self, holder: Option<Holder>) -> HolderPlace {
        let place = holder.map_or(NOT_YET, |holder| self.find(holder).unwrap_or_else(|| self.enter(holder)));
        if let Some(entry) = self.entries.get_mut(place as usize) {
            entry.flows += 1;
        }
        place
    }

    /// Counts a flow no more, which stands in none of the holder's queues.
    pub(crate) fn discount(&mut self, place: HolderPlace) {
        let Some(entry) = self.entries.get_mut(place as usize) else { return };
        entry.flows = entry.flows.saturating_sub(1);
        if entry.flows == 0
            && let Some(holder) = entry.name.take()
        {
            entry.next_free = std::mem::replace(&mut self.free, place);
            self.places.remove(&holder);
        }
    }

    /// The queue in which a flow of this holder and stage stands, if in any. Of nobody's flows all stand in one.
    pub(crate) fn shelf(&mut self, place: HolderPlace, stage: Stage) -> Option<&mut Chain> {
        let shelf = if place == NOT_YET { Some(0) } else { shelf(stage) };
        self.entries.get_mut(place as usize)?.shelves.get_mut(shelf?)
    }

    /// The holder's flow that may go first, whatever its age.
    pub(crate) fn first_expendable(&self, place: HolderPlace) -> u32 {
        self.entry(place).map_or(NONE, |entry| entry.shelves[0].first)
    }

    /// The holder's answered datagram flow that has been idle the longest.
    pub(crate) fn first_answered(&self, place: HolderPlace) -> u32 {
        self.entry(place).map_or(NONE, |entry| entry.shelves[1].first)
    }

    fn enter(&mut self, holder: Holder) -> HolderPlace {
        let place = match self.entries.get_mut(self.free as usize) {
            Some(entry) => {
                let next = entry.next_free;
                *entry = Entry::new(Some(holder));
                std::mem::replace(&mut self.free, next)
            }
            None => {
                self.entries.push(Entry::new(Some(holder)));
                // There are never more holders than flows.
                (self.entries.len() - 1) as HolderPlace
            }
        };
        self.places.insert(holder, place);
        place
    }

    fn entry(&self, place: HolderPlace) -> Option<&Entry> {
        self.entries.get(place as usize)
    }
}

/// Where a flow of this stage stands among its holder's.
const fn shelf(stage: Stage) -> Option<usize> {
    match stage {
        Stage::TcpOpening | Stage::TcpClosing | Stage::UdpUnreplied | Stage::Echo | Stage::OtherUnreplied => Some(0),
        Stage::UdpReplied => Some(1),
        Stage::TcpEstablished | Stage::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn holder(number: u32) -> Holder {
        Holder::Address(IpAddr::V4(Ipv4Addr::from(number)))
    }

    #[test]
    fn a_holder_without_flows_leaves_its_place_to_another() {
        let mut holders = Holders::new(&RandomState::with_seeds(1, 2, 3, 4));
        let first = holders.count(Some(holder(1)));
        assert_eq!((holders.count(Some(holder(1))), holders.flows(first)), (first, 2));
        let second = holders.count(Some(holder(2)));
        assert_ne!(first, second);
        holders.discount(first);
        assert_eq!((holders.find(holder(1)), holders.flows(first)), (Some(first), 1));
        holders.discount(first);
        assert_eq!(holders.find(holder(1)), None);
        assert_eq!(holders.count(Some(holder(3))), first);
        assert_eq!((holders.places.len(), holders.entries.len()), (2, 3));
    }

    #[test]
    fn flows_of_nobody_yet_are_counted_apart() {
        let mut holders = Holders::new(&RandomState::with_seeds(1, 2, 3, 4));
        assert_eq!(holders.count(None), NOT_YET);
        holders.discount(NOT_YET);
        assert_eq!((holders.flows(NOT_YET), holders.count(None)), (0, NOT_YET));
    }

    #[test]
    fn what_may_be_given_up_in_the_whole_table_may_be_among_a_holders() {
        for stage in Stage::ALL {
            assert_eq!(shelf(stage) == Some(0), Stage::EXPENDABLE.contains(&stage), "{stage:?}");
        }
    }
}
