//! Who said what, and when, in a run that failed: a line each, the last of them. It is off while runs succeed, and costs
//! nothing then. What a datagram says is `dialogue/datagram.rs`.

mod datagram;

use std::collections::VecDeque;
use std::fmt::{self, Display};

use mrvpn_clock::Moment;

pub use datagram::Reader;

/// Lines that are kept.
const LINES: usize = 300;

/// The last that was said.
#[derive(Debug)]
pub struct Dialogue {
    lines: Option<VecDeque<String>>,
    left_out: u64,
}

impl Dialogue {
    /// One that keeps nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self { lines: None, left_out: 0 }
    }

    /// One that keeps the last 300 lines.
    #[must_use]
    pub const fn on() -> Self {
        Self { lines: Some(VecDeque::new()), left_out: 0 }
    }

    /// Whether anything is kept: what costs something to say need not be said otherwise.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// Notes what `who` said or did; `what` is asked only where lines are kept.
    pub fn say<T: Display>(&mut self, now: Moment, who: &str, what: impl FnOnce() -> T) {
        let Some(lines) = &mut self.lines else { return };
        if lines.len() == LINES {
            lines.pop_front();
            self.left_out += 1;
        }
        lines.push_back(format!("{now:>16} {who:<10} {}", what()));
    }
}

impl Display for Dialogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.left_out > 0 {
            writeln!(f, "    ({} lines before these)", self.left_out)?;
        }
        self.lines.iter().flatten().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_the_others_counted() {
        let mut dialogue = Dialogue::on();
        for number in 0..310 {
            dialogue.say(Moment::default(), "client", || format!("line {number}."));
        }
        let text = dialogue.to_string();
        assert!(text.contains("(10 lines before these)") && text.contains("line 10.") && text.contains("line 309."));
        assert!(!text.contains("line 9."));
    }

    #[test]
    fn one_that_is_off_asks_nobody() {
        let mut dialogue = Dialogue::off();
        dialogue.say(Moment::default(), "client", || -> String { unreachable!("nobody is asked") });
        assert_eq!(dialogue.to_string(), "");
    }
}
