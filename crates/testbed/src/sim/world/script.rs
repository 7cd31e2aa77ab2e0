//! What is done to a world, and when: by servers, the network, the user, the engine's process and others on the host. Drawn from
//! the seed as a list, so that a failing run can be shortened to what it needs. How it is done is `deeds.rs`'s.

use std::time::Duration;

use super::setup::{Entry, File, Push, Setup};
use crate::sim::Dice;
use crate::sim::reference::Place;

/// 600 s: how long things are done to a world as a rule.
const USUAL: Duration = Duration::from_secs(600);
/// One seed in so many lasts a day.
const LONG: u64 = 100;
/// 86,400 s.
const DAY: Duration = Duration::from_secs(86_400);

/// What servers say.
const FAREWELLS: [&str; 4] = ["RESTART", "HALT", "INFO,hello", "RESTART,[N]"];

/// Something done to a world.
#[derive(Clone, Debug)]
pub struct Deed {
    /// When, from the beginning.
    pub(crate) at: Duration,
    pub(crate) what: What,
}

/// What is done.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A server is killed and comes back, maybe pushing something else.
    Restart { place: Place, away: Duration, push: Option<Box<Push>> },
    /// A server says something in the control channel.
    Say { place: Place, text: &'static str },
    /// A server renegotiates.
    Renegotiate { place: Place },
    /// A server lies about what was asked, or asks itself.
    Lie { place: Place },
    /// All between the client and a server is swallowed.
    Hole { place: Place, last: Duration },
    /// The link to a server is noisy.
    Noise { place: Place, last: Duration, worst: bool },
    /// The user runs another file.
    Reload(Box<File>),
    /// The user stops, starts or restarts a tunnel.
    Stop { place: Place },
    /// See above.
    Start { place: Place },
    /// See above.
    Again { place: Place },
    /// The engine's process is killed, and another begins.
    Kill { away: Duration },
    /// The host comes to be on another network, or leaves it.
    Move { elsewhere: bool },
    /// Someone deletes what the engine made on the host.
    Tamper { which: u64 },
    /// Someone sets the interface down.
    Down { last: Duration },
    /// Someone deletes the interface.
    Delete,
}

/// Whether the world of this seed lasts a day.
pub(crate) const fn is_long(seed: u64) -> bool {
    seed % LONG == LONG - 1
}

/// How long things are done in the world of this seed.
pub(crate) fn length(seed: u64) -> Duration {
    if is_long(seed) { DAY } else { USUAL }
}

/// 1 ms: the thousandth of what most programs wait from one packet to the next; where a world lasts long they say less.
pub(crate) fn pace(seed: u64) -> Duration {
    Duration::from_millis(if is_long(seed) { 30 } else { 1 })
}

/// What is done in the world of this seed.
pub(crate) fn generate(seed: u64) -> Vec<Deed> {
    let setup = Setup::of(seed);
    let mut writer = Writer::new(&setup);
    let deeds = 4 + writer.dice.below(36);
    let length = length(seed).as_millis();
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    let mut deeds: Vec<(u64, u64)> = (0..deeds).map(|number| (writer.dice.below(length), number)).collect();
    deeds.sort_unstable();
    let at = deeds.into_iter().map(|(at, _)| Duration::from_millis(at));
    at.map(|at| Deed { at, what: writer.any() }).collect()
}

/// Draws deeds one after another: a file is made from the one before it.
struct Writer {
    dice: Dice,
    places: usize,
    calm: Vec<bool>,
    file: File,
}

impl Writer {
    fn new(setup: &Setup) -> Self {
        Self {
            dice: Dice::of(setup.seed, "deeds"),
            places: setup.places,
            calm: setup.calm.clone(),
            file: setup.file.clone(),
        }
    }

    fn any(&mut self) -> What {
        if let Some(place) = self.place() {
            match self.dice.below(20) {
                0..=2 => return self.restart(place),
                3 => {
                    return What::Say { place, text: FAREWELLS[self.dice.place(FAREWELLS.len())] };
                }
                4 => return What::Renegotiate { place },
                5 | 6 => return What::Lie { place },
                7 => return What::Hole { place, last: self.seconds(90) },
                8 | 9 => return What::Noise { place, last: self.seconds(120), worst: self.dice.one_in(3) },
                10 => return What::Stop { place },
                11 | 12 => return What::Start { place },
                13 => return What::Again { place },
                _ => {}
            }
        }
        self.of_all()
    }

    fn of_all(&mut self) -> What {
        match self.dice.below(12) {
            0 => What::Kill { away: self.seconds(5) },
            1 => What::Move { elsewhere: self.dice.one_in(2) },
            2 | 3 => What::Tamper { which: self.dice.next() },
            4 => What::Down { last: self.seconds(4) },
            5 => What::Delete,
            6 | 7 => What::Lie { place: self.dice.place(self.places) },
            _ => self.reload(),
        }
    }

    /// A tunnel to which something may be done.
    fn place(&mut self) -> Option<Place> {
        let place = self.dice.place(self.places);
        (!self.calm[place]).then_some(place)
    }

    fn seconds(&mut self, most: u64) -> Duration {
        Duration::from_millis(100 + self.dice.below(most * 1_000))
    }

    fn restart(&mut self, place: Place) -> What {
        let push = self.dice.one_in(2).then(|| Box::new(Push::any(place, self.places, &mut self.dice)));
        let away = if self.dice.one_in(3) { self.seconds(90) } else { self.seconds(3) };
        What::Restart { place, away, push }
    }

    /// A file with something changed: rules, a tunnel more, less, elsewhere in the order, or with another profile.
    fn reload(&mut self) -> What {
        let (places, calm) = (self.places, self.calm.clone());
        let (file, dice) = (&mut self.file, &mut self.dice);
        match dice.below(5) {
            0 => file.draw_rules(places, dice),
            1 => {
                let place = dice.place(places);
                if file.entry(place).is_none() {
                    let at = dice.place(file.tunnels.len() + 1);
                    file.tunnels.insert(at, Entry::any(place, dice));
                }
            }
            2 => {
                let at = dice.place(file.tunnels.len());
                if !calm[file.tunnels[at].place] && file.tunnels.len() > 1 {
                    file.tunnels.remove(at);
                    file.draw_rules(places, dice);
                }
            }
            3 => {
                let at = dice.place(file.tunnels.len());
                let entry = file.tunnels.remove(at);
                let to = dice.place(file.tunnels.len() + 1);
                file.tunnels.insert(to, entry);
            }
            _ => {
                let at = dice.place(file.tunnels.len());
                let place = file.tunnels[at].place;
                if !calm[place] {
                    file.tunnels[at] = Entry::any(place, dice);
                }
            }
        }
        What::Reload(Box::new(file.clone()))
    }
}
