//! What a link does to datagrams. How it is done is `../net.rs`.

use std::ops::Range;
use std::time::Duration;

use crate::sim::seed::Dice;

/// How often something happens, out of 65,536.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Odds(u32);

impl Odds {
    /// Never.
    pub const NEVER: Self = Self(0);

    /// Once in `n`, which is not 0.
    #[must_use]
    pub const fn one_in(n: u32) -> Self {
        Self(65_536 / n)
    }

    /// So many times out of a thousand.
    #[must_use]
    pub const fn permille(n: u32) -> Self {
        Self(n * 65_536 / 1_000)
    }

    /// Whether it happens now. Where it never does, nothing is drawn.
    pub fn roll(self, dice: &mut Dice) -> bool {
        self.0 > 0 && dice.below(65_536) < u64::from(self.0)
    }
}

/// What a link does to datagrams in either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noise {
    /// How long they take. Those that are not late keep their order.
    pub delay: Range<Duration>,
    /// They vanish.
    pub loss: Odds,
    /// They are late.
    pub reorder: Odds,
    /// How much later those arrive.
    pub late: Range<Duration>,
    /// They come twice.
    pub duplicate: Odds,
    /// Some bits change, or the end is missing.
    pub corrupt: Odds,
    /// Bytes of the largest datagram carried; larger ones vanish without a word.
    pub mtu: u16,
}

const MILLISECOND: Duration = Duration::from_millis(1);

impl Noise {
    /// 10 ms, and nothing else.
    pub const NONE: Self = Self {
        delay: Duration::from_millis(10)..Duration::from_millis(10),
        loss: Odds::NEVER,
        reorder: Odds::NEVER,
        late: MILLISECOND..Duration::from_millis(60),
        duplicate: Odds::NEVER,
        corrupt: Odds::NEVER,
        mtu: u16::MAX,
    };

    /// 10 ms and so much loss out of a thousand.
    #[must_use]
    pub const fn loss(permille: u32) -> Self {
        Self { loss: Odds::permille(permille), ..Self::NONE }
    }

    /// The noise of OpenVPN 3's own tests of its protocol: 1 in 8 is late, 1 in 16 lost, 1 in 32 damaged; and 1 in 16 comes
    /// twice (threats-and-faults.md F-07).
    #[must_use]
    pub const fn openvpn3() -> Self {
        Self {
            loss: Odds::one_in(16),
            reorder: Odds::one_in(8),
            duplicate: Odds::one_in(16),
            corrupt: Odds::one_in(32),
            ..Self::NONE
        }
    }

    /// Any link, from a good one to one on which a tunnel just lives: up to 20 % loss and 150 ms. Datagrams of 1,300
    /// bytes always pass: less is no path that OpenVPN's control packets fit through.
    #[must_use]
    pub fn random(dice: &mut Dice) -> Self {
        let delay = *dice.pick(&[1, 10, 30, 150]) * MILLISECOND;
        let jitter = *dice.pick(&[0, 1, 20]) * MILLISECOND;
        Self {
            delay: delay..delay + jitter,
            loss: Odds::permille(*dice.pick(&[0, 0, 10, 50, 100, 200])),
            reorder: Odds::permille(*dice.pick(&[0, 0, 20, 125])),
            late: MILLISECOND..*dice.pick(&[60, 400, 3_000]) * MILLISECOND,
            duplicate: Odds::permille(*dice.pick(&[0, 0, 10, 62, 200])),
            corrupt: Odds::permille(*dice.pick(&[0, 0, 5, 31])),
            mtu: *dice.pick(&[u16::MAX, u16::MAX, 1_500, 1_300]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odds_are_what_they_say() {
        let count = |odds: Odds| {
            let mut dice = Dice::new(3);
            (0..10_000).filter(|_| odds.roll(&mut dice)).count()
        };
        assert_eq!(count(Odds::NEVER), 0);
        assert_eq!(count(Odds::one_in(1)), 10_000);
        assert!(count(Odds::permille(200)).abs_diff(2_000) < 200);
    }
}
