//! Queues whose members are linked in place: to join and to leave one costs the same however many wait in it. What stands
//! in them, and in which order, is `flow_table.rs`'s and `holders.rs`'s.

/// No place.
pub(crate) const NONE: u32 = u32::MAX;

/// The neighbours of one place in one queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) previous: u32,
    pub(crate) next: u32,
}

impl Link {
    /// In no queue.
    pub(crate) const NONE: Self = Self { previous: NONE, next: NONE };
}

/// A place that can stand in queues of two kinds at a time.
pub(crate) trait Linked {
    /// Its neighbours in the queue of a kind.
    fn link(&mut self, kind: Kind) -> &mut Link;
}

/// What a queue is for. A place stands in one queue of each kind at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By age, of all flows of a stage.
    Age,
    /// By age, of the flows of one holder that may be given up.
    Holder,
}

impl Kind {
    /// How many there are.
    pub(crate) const COUNT: usize = 2;
}

/// A queue of places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    pub(crate) first: u32,
    last: u32,
}

impl Chain {
    /// Nobody waits.
    pub(crate) const EMPTY: Self = Self { first: NONE, last: NONE };

    /// Puts a place, which stands in no queue of this kind, at the end.
    pub(crate) fn push(&mut self, places: &mut [impl Linked], kind: Kind, place: u32) {
        let last = self.last;
        if let Some(this) = places.get_mut(place as usize) {
            *this.link(kind) = Link { previous: last, next: NONE };
        }
        match places.get_mut(last as usize) {
            Some(before) => before.link(kind).next = place,
            None => self.first = place,
        }
        self.last = place;
    }

    /// Takes a place out, which stands in this queue.
    pub(crate) fn leave(&mut self, places: &mut [impl Linked], kind: Kind, place: u32) {
        let Some(this) = places.get_mut(place as usize) else { return };
        let Link { previous, next } = std::mem::replace(this.link(kind), Link::NONE);
        match places.get_mut(previous as usize) {
            Some(before) => before.link(kind).next = next,
            None => self.first = next,
        }
        match places.get_mut(next as usize) {
            Some(after) => after.link(kind).previous = previous,
            None => self.last = previous,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place([Link; Kind::COUNT]);

    impl Linked for Place {
        fn link(&mut self, kind: Kind) -> &mut Link {
            &mut self.0[kind as usize]
        }
    }

    fn order(chain: Chain, places: &mut [Place], kind: Kind) -> Vec<u32> {
        let mut order = Vec::new();
        let mut at = chain.first;
        while let Some(place) = places.get_mut(at as usize) {
            order.push(at);
            at = place.link(kind).next;
        }
        order
    }

    #[test]
    fn whoever_leaves_leaves_the_others_in_their_order() {
        for leaver in 0..4 {
            let mut places: Vec<Place> = (0..4).map(|_| Place([Link::NONE; Kind::COUNT])).collect();
            let (mut ages, mut holders) = (Chain::EMPTY, Chain::EMPTY);
            for place in 0..4 {
                ages.push(&mut places, Kind::Age, place);
                holders.push(&mut places, Kind::Holder, 3 - place);
            }
            ages.leave(&mut places, Kind::Age, leaver);
            let rest: Vec<u32> = (0..4).filter(|place| *place != leaver).collect();
            assert_eq!(order(ages, &mut places, Kind::Age), rest);
            assert_eq!(order(holders, &mut places, Kind::Holder), [3, 2, 1, 0]);
            ages.push(&mut places, Kind::Age, leaver);
            assert_eq!(order(ages, &mut places, Kind::Age), [rest, vec![leaver]].concat());
        }
    }
}
