//! Progress for people: on a terminal's stderr and nowhere else.

use std::io::{IsTerminal, Write};

/// Where progress goes.
pub(super) struct Progress {
    shown: bool,
}

impl Progress {
    /// Shown only where stderr is a terminal.
    pub(super) fn new() -> Self {
        Self { shown: std::io::stderr().is_terminal() }
    }

    /// One line.
    pub(super) fn say(&self, line: &str) {
        if self.shown {
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
}
