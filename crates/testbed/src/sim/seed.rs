//! Everything random in a simulated run follows from one number. This is no source of secrets, and `crate::Random`, which
//! takes its seed from the clock, is for tests with real servers. SplitMix64 (Steele, Lea and Flood 2014).

use std::ops::Range;
use std::time::Duration;

/// A generator that repeats exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dice(u64);

impl Dice {
    /// The generator of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The generator of this seed for one purpose: what another purpose draws changes nothing here.
    #[must_use]
    pub fn of(seed: u64, purpose: &str) -> Self {
        let mut mixed = Self(seed);
        for byte in purpose.bytes() {
            mixed = Self(mixed.next() ^ u64::from(byte));
        }
        mixed
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 where that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// A place in a list of this length; 0 where it is empty.
    pub fn place(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// True once in `n` on average; never where `n` is 0.
    pub fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.below(n) == 0
    }

    /// One of these.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let place = self.place(choices.len());
        choices.get(place).expect("a choice has members")
    }

    /// A time in this range, in steps of 1 µs; its start where it is empty.
    pub fn within(&mut self, range: &Range<Duration>) -> Duration {
        let span = range.end.saturating_sub(range.start).as_micros();
        range.start + Duration::from_micros(self.below(u64::try_from(span).unwrap_or(u64::MAX)))
    }

    /// 32 bytes, as a seed for others.
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_purpose_give_the_same_numbers_and_others_do_not() {
        let draw = |mut dice: Dice| [dice.next(), dice.next(), dice.next()];
        assert_eq!(draw(Dice::of(7, "noise")), draw(Dice::of(7, "noise")));
        assert_ne!(draw(Dice::of(7, "noise")), draw(Dice::of(7, "steps")));
        assert_ne!(draw(Dice::of(7, "noise")), draw(Dice::of(8, "noise")));
    }

    #[test]
    fn what_is_drawn_stays_in_its_range() {
        let mut dice = Dice::new(1);
        let range = Duration::from_millis(3)..Duration::from_millis(5);
        for _ in 0..1_000 {
            assert!(dice.below(7) < 7);
            assert!(range.contains(&dice.within(&range)));
        }
        assert_eq!((dice.below(0), dice.place(0), dice.one_in(0)), (0, 0, false));
        assert_eq!(dice.within(&(range.end..range.start)), range.end);
    }
}
