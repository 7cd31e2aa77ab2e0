//! What a run leaves: a number by which two runs are compared, and what it was made of.

use std::collections::BTreeMap;
use std::time::Duration;

use mrvpn_clock::Moment;

/// What a run without violation leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Of everything that was sent, received and decided, in order ([`TraceHash`]).
    pub hash: u64,
    /// The virtual clock at the end; runs begin at 0.
    pub end: Moment,
    /// Virtual time of all tunnels together.
    pub tunnel_time: Duration,
    /// What happened, and how often: a run in which nothing happens proves nothing.
    pub tallies: BTreeMap<&'static str, u64>,
    /// How long something took at most.
    pub longest: BTreeMap<&'static str, Duration>,
}

impl Trace {
    /// Adds one to a tally.
    pub fn tally(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    /// Notes how long something took.
    pub fn took(&mut self, what: &'static str, time: Duration) {
        let longest = self.longest.entry(what).or_default();
        *longest = time.max(*longest);
    }

    /// Adds to a tally.
    pub fn add(&mut self, what: &'static str, count: u64) {
        *self.tallies.entry(what).or_default() += count;
    }
}

/// Makes a number of all that is noted. Any difference changes it; it keeps nothing secret.
#[derive(Clone, Copy, Debug)]
pub struct TraceHash(u64);

impl Default for TraceHash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl TraceHash {
    /// Notes a number.
    pub const fn number(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 29);
    }

    /// Notes a moment.
    pub const fn moment(&mut self, at: Moment) {
        self.number(at.as_nanos());
    }

    /// Notes bytes and their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            self.number(u64::from_be_bytes(word));
        }
    }

    /// The number so far.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[&[u8]]) -> u64 {
        let mut hash = TraceHash::default();
        parts.iter().for_each(|part| hash.bytes(part));
        hash.get()
    }

    #[test]
    fn order_length_and_every_bit_count() {
        let whole = of(&[b"abcdefghij", b"k"]);
        for other in
            [of(&[b"k", b"abcdefghij"]), of(&[b"abcdefghi", b"jk"]), of(&[b"abcdefghik", b"k"]), of(&[b"abcdefghij"])]
        {
            assert_ne!(whole, other);
        }
        assert_eq!(whole, of(&[b"abcdefghij", b"k"]));
    }
}
