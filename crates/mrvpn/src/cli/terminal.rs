//! The terminal: progress for people, on its stderr and nowhere else, and how much of a text it shows.

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

/// The first lines of a text that a terminal shows without scrolling; a last line says that there is more.
pub(super) fn fitted(text: &str, rows: usize, columns: usize) -> String {
    let height = |line: &str| line.len().div_ceil(columns.max(1)).max(1);
    let total: usize = text.lines().map(height).sum();
    if total < rows {
        return text.to_owned();
    }
    let mut left = rows.saturating_sub(2);
    let fits = |line: &&str| match left.checked_sub(height(line)) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let mut lines: Vec<&str> = text.lines().take_while(fits).collect();
    lines.push("... a taller terminal shows more");
    lines.join("\n")
}

/// Rows and columns of the terminal that stdout is.
pub(super) fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    let known = size.ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
    known.map_or((usize::MAX, usize::MAX), |size| (usize::from(size.ws_row), usize::from(size.ws_col)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_with_a_word() {
        assert_eq!(fitted("a\nb\nc", 4, 80), "a\nb\nc");
        assert_eq!(fitted("a\nb\nc", 3, 80), "a\n... a taller terminal shows more");
        assert_eq!(fitted("aaaaaa\nb\nc\nd", 5, 3), "aaaaaa\nb\n... a taller terminal shows more");
        assert_eq!(fitted("a\nb", usize::MAX, usize::MAX), "a\nb");
    }
}
