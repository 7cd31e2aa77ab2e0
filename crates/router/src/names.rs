//! Names of flows: keyed maps from what a packet says to the place of its flow, one a version of IP. Everything in a name can
//! be chosen by a stranger, so the hash has a key that no stranger knows (T-76).

use std::collections::HashMap;
use std::hash::Hash;

use ahash::RandomState;

use crate::flow::Key;

/// Names of flows, a map for each version of IP.
pub(crate) struct Names<V4, V6> {
    v4: HashMap<V4, u32, RandomState>,
    v6: HashMap<V6, u32, RandomState>,
}

impl<V4: Eq + Hash, V6: Eq + Hash> Names<V4, V6> {
    /// No names yet, to be hashed by `keyed`.
    pub(crate) fn new(keyed: &RandomState) -> Self {
        Self { v4: HashMap::with_hasher(keyed.clone()), v6: HashMap::with_hasher(keyed.clone()) }
    }

    pub(crate) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    pub(crate) fn get(&self, key: &Key<V4, V6>) -> Option<u32> {
        match key {
            Key::V4(key) => self.v4.get(key).copied(),
            Key::V6(key) => self.v6.get(key).copied(),
        }
    }

    pub(crate) fn insert(&mut self, key: Key<V4, V6>, slot: u32) {
        match key {
            Key::V4(key) => self.v4.insert(key, slot),
            Key::V6(key) => self.v6.insert(key, slot),
        };
    }

    pub(crate) fn remove(&mut self, key: &Key<V4, V6>) {
        match key {
            Key::V4(key) => self.v4.remove(key),
            Key::V6(key) => self.v6.remove(key),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::hash::Hasher;

    use super::*;

    thread_local! {
        /// How often two names were compared: a look-up that probes its way past strangers does it once for each.
        static COMPARED: Cell<usize> = const { Cell::new(0) };
    }

    /// A name that counts what it is compared with.
    struct Counted((u32, u128));

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            COMPARED.set(COMPARED.get() + 1);
            self.0 == other.0
        }
    }

    impl Eq for Counted {}

    impl Hash for Counted {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }

    /// How often names are compared while each of `crafted` is looked up once.
    fn compared(keyed: &RandomState, crafted: &[(u32, u128)]) -> usize {
        let mut names: Names<Counted, Counted> = Names::new(keyed);
        for key in crafted {
            names.insert(Key::V4(Counted(*key)), 0);
        }
        COMPARED.set(0);
        assert!(crafted.iter().all(|key| names.get(&Key::V4(Counted(*key))).is_some()));
        COMPARED.get()
    }

    const KNOWN: [u64; 4] = [1, 2, 3, 4];
    const SECRET: [u64; 4] = [0x9d3a, 0x5bc1, 0x77ee, 0x0f52];

    fn keyed([a, b, c, d]: [u64; 4]) -> RandomState {
        RandomState::with_seeds(a, b, c, d)
    }

    /// 256 names that are alike to a map whose key is [`KNOWN`]: in one of 64 places, with one tag (its seven highest bits).
    fn crafted() -> Vec<(u32, u128)> {
        let hash = keyed(KNOWN);
        let alike = |key: &(u32, u128)| hash.hash_one(key) & (0x7f << 57 | 0x3f) == 0;
        (0..u128::MAX).map(|port| (0, port << 32)).filter(alike).take(256).collect()
    }

    // proves: T-76
    #[test]
    fn names_crafted_for_one_key_are_nothing_special_under_another() {
        let crafted = crafted();
        let helpless = compared(&keyed(KNOWN), &crafted);
        assert!(helpless > 4 * crafted.len(), "{helpless} comparisons: whoever knows the key can craft names");
        let safe = compared(&keyed(SECRET), &crafted);
        assert!(safe < crafted.len() + 32, "{safe} comparisons of {} names", crafted.len());
    }

    // proves: T-76
    #[test]
    fn names_that_differ_in_a_few_bits_are_as_good_as_any() {
        for shift in [0, 16, 32, 64, 96, 111] {
            let names: Vec<_> = (0..1_u128 << 16).map(|number| (0, number << shift)).collect();
            let compared = compared(&keyed(SECRET), &names);
            assert!(compared < names.len() * 11 / 10, "{compared} comparisons by bits from {shift}");
        }
    }
}
