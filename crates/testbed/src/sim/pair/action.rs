//! What happens to a pair, and when: faults of the link, of both ends, of somebody on the way, and wishes of both sides.

use std::fmt;
use std::time::Duration;

use mrvpn_proto::server::Farewell;

use crate::sim::net::Noise;
use crate::sim::seed::Dice;

/// Something that happens.
#[derive(Clone, PartialEq, Eq)]
pub struct Action {
    /// When, from the beginning.
    pub at: Duration,
    /// What.
    pub what: What,
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}s {:?}", self.at.as_secs_f64(), self.what)
    }
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The link is like this from now on.
    Noise(Noise),
    /// Nothing passes for so long.
    Hole(Duration),
    /// The client's flows come from other ports.
    Rebind,
    /// The client's flows come from this one of its outside addresses.
    Move(u8),
    /// The server is killed, and back after so long without knowing anything.
    Restart(Duration),
    /// The server does nothing for so long.
    Stop(Duration),
    /// The client does nothing for so long, as one that sleeps.
    Sleep(Duration),
    /// The client wants a new key.
    ClientRenews,
    /// The server wants a new key.
    ServerRenews,
    /// The client leaves, and comes back.
    Leaves,
    /// The server sends the client away.
    SendsAway(Farewell),
    /// The server refuses the next login, for now.
    Refuses,
    /// The server takes so long over each login from now on.
    SlowLogins(Duration),
    /// The calendars of both sides are set so many seconds forth or back.
    WallJump(i64),
    /// So many packets go each way at once.
    Burst(u8),
    /// Somebody sends so many recorded datagrams again.
    Replays(u8),
    /// Somebody sends so many forged datagrams.
    Forges(u8),
}

impl What {
    /// How long it lasts.
    pub(super) const fn lasts(&self) -> Duration {
        match self {
            Self::Hole(time) | Self::Restart(time) | Self::Stop(time) | Self::Sleep(time) => *time,
            Self::Noise(_)
            | Self::Rebind
            | Self::Move(_)
            | Self::ClientRenews
            | Self::ServerRenews
            | Self::Leaves
            | Self::SendsAway(_)
            | Self::Refuses
            | Self::SlowLogins(_)
            | Self::WallJump(_)
            | Self::Burst(_)
            | Self::Replays(_)
            | Self::Forges(_) => Duration::ZERO,
        }
    }

    fn random(dice: &mut Dice) -> Self {
        match dice.below(20) {
            0 | 1 => Self::Noise(Noise::random(dice)),
            2 => Self::Hole(some_time(dice)),
            3 => Self::Rebind,
            4 => Self::Move(u8::try_from(dice.below(3)).unwrap_or(0)),
            5 => Self::Restart(some_time(dice)),
            6 => Self::Stop(some_time(dice)),
            7 => Self::Sleep(some_time(dice)),
            8 | 9 => Self::ClientRenews,
            10 | 11 => Self::ServerRenews,
            12 => Self::Leaves,
            13 => Self::SendsAway(farewell(dice)),
            14 => Self::Refuses,
            15 => Self::SlowLogins(*dice.pick(&[Duration::ZERO, Duration::from_millis(700), Duration::from_secs(6)])),
            16 => Self::WallJump(*dice.pick(&[-3_600, 3_600, -315_360_000, 315_360_000])),
            17 => Self::Burst(u8::try_from(dice.below(200)).unwrap_or(0)),
            18 => Self::Replays(u8::try_from(dice.below(100)).unwrap_or(0)),
            _ => Self::Forges(u8::try_from(dice.below(100)).unwrap_or(0)),
        }
    }
}

fn farewell(dice: &mut Dice) -> Farewell {
    match dice.below(3) {
        0 => Farewell::Restart(String::from("[1]")),
        1 => Farewell::Exit,
        _ => Farewell::Silent,
    }
}

/// From a blink to two minutes.
fn some_time(dice: &mut Dice) -> Duration {
    let most = *dice.pick(&[300, 2_000, 12_000, 120_000]);
    Duration::from_millis(1 + dice.below(most))
}

/// What happens within `length`, in order. Two things often come close together: that is when they meet.
pub(super) fn generate(seed: u64, length: Duration) -> Vec<Action> {
    let mut dice = Dice::of(seed, "actions");
    let count = 1 + dice.below(14);
    let mut actions = Vec::new();
    let mut at = Duration::ZERO;
    for _ in 0..count {
        at = match dice.below(4) {
            0 => at + dice.within(&(Duration::ZERO..Duration::from_millis(300))),
            _ => dice.within(&(Duration::ZERO..length)),
        };
        actions.push(Action { at, what: What::random(&mut dice) });
    }
    actions.sort_by_key(|action| action.at);
    actions
}
