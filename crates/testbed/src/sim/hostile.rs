//! The hostile-server kit (threats-and-faults.md section 5): scripts in which one server of four, or a stranger on the network,
//! does what no honest one does, at any moment, while three honest tunnels carry a probe each hundredth of a second. The engine
//! is the real one. What must hold whatever is done is judged by the arena after every step (`hostile/arena.rs`); what a script
//! must see of its own tunnel it says itself (`hostile/scripts/`). Faults without malice are `world.rs`'s.

mod arena; // four servers, the engine, and what must hold
mod far; // a server
mod packets; // packets that nobody should send
mod scripts; // what is done, row by row

use std::fmt;

use super::{Dialogue, Scenario, Trace, Violation};
use arena::Arena;
pub use scripts::all;

/// 1 MiB: what the engine may hold because of a script that is not allowed more (T-31).
const GROWTH: u64 = 1 << 20;

/// One script.
#[derive(Clone, Copy)]
pub struct Script {
    /// A sentence without spaces, by which a failure is found.
    pub name: &'static str,
    /// The rows of threats-and-faults.md that it is about.
    pub rows: &'static [&'static str],
    /// More lines of the tunnel's profile.
    profile: &'static str,
    /// How many bytes more the engine may hold because of it.
    pub growth: u64,
    play: fn(&mut Arena<'_>),
}

impl Script {
    const fn new(name: &'static str, rows: &'static [&'static str], play: fn(&mut Arena<'_>)) -> Self {
        Self { name, rows, profile: "", growth: GROWTH, play }
    }

    const fn growth(self, growth: u64) -> Self {
        Self { growth, ..self }
    }

    const fn profile(self, profile: &'static str) -> Self {
        Self { profile, ..self }
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.rows.join(", "))
    }
}

/// The scenario: seed after seed goes through the scripts, each time round with other noise on the hostile server's link.
#[derive(Clone, Debug)]
pub struct HostileScenario {
    scripts: Vec<Script>,
    held: fn() -> usize,
}

impl HostileScenario {
    /// All scripts whose rows begin with one of these, or all if there are none. `held` tells how many bytes this thread has
    /// allocated and not freed; where nobody counts, it may tell 0 always.
    #[must_use]
    pub fn of(rows: &[&str], held: fn() -> usize) -> Self {
        let wanted = |script: &Script| rows.is_empty() || script.rows.iter().any(|row| rows.contains(row));
        Self { scripts: all().into_iter().filter(wanted).collect(), held }
    }

    /// How many scripts there are: so many seeds play each once.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scripts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scripts.is_empty()
    }
}

impl Scenario for HostileScenario {
    type Action = Script;

    fn name(&self) -> &'static str {
        "hostile"
    }

    fn generate(&self, seed: u64) -> Vec<Script> {
        let count = self.scripts.len().max(1) as u64;
        usize::try_from(seed % count).ok().and_then(|place| self.scripts.get(place)).copied().into_iter().collect()
    }

    fn run(&self, seed: u64, scripts: &[Script], dialogue: &mut Dialogue) -> Result<Trace, Violation> {
        let round = seed / self.scripts.len().max(1) as u64;
        let mut trace = Trace::default();
        for script in scripts {
            trace = Arena::new(script.profile, round, self.held, dialogue).play(script.play)?;
            trace.tally(script.name);
        }
        Ok(trace)
    }
}
