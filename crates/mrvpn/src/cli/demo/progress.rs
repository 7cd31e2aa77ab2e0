//! What the demo is doing now: one line on a terminal's stderr that the next one replaces. Nothing of it stays.

use std::io::{IsTerminal, Write};

/// Where it is shown.
pub(super) struct Progress {
    shown: bool,
}

impl Progress {
    /// On a terminal that can go back in a line.
    pub(super) fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { shown: !dumb && std::io::stderr().is_terminal() }
    }

    /// What it does now.
    pub(super) fn show(&self, what: &str) {
        self.write(&format!("\r\x1b[2K{what}"));
    }

    /// Nothing, until the next.
    pub(super) fn clear(&self) {
        self.write("\r\x1b[2K");
    }

    fn write(&self, text: &str) {
        if self.shown {
            let mut stderr = std::io::stderr();
            let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
        }
    }
}
