//! Colours for a terminal, and none elsewhere: whether is asked once, at the top (<https://no-color.org>).

use std::io::IsTerminal;

/// Paints, or leaves texts as they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    on: bool,
}

impl Paint {
    /// For what stdout is.
    pub(super) fn of_stdout() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { on: std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb }
    }

    /// Leaves all as it is.
    #[cfg(test)]
    pub(super) const fn plain() -> Self {
        Self { on: false }
    }

    /// A heading.
    pub(super) fn heading(self, text: &str) -> String {
        self.with("1", text)
    }

    /// What is less important.
    pub(super) fn aside(self, text: &str) -> String {
        self.with("2", text)
    }

    /// A place by its own colour; `text` is its name, or what is about it.
    pub(super) fn place(self, name: &str, text: &str) -> String {
        match name {
            "uk" => self.with("36", text),
            "fr" => self.with("35", text),
            "us" => self.with("33", text),
            _ => text.to_owned(),
        }
    }

    /// Whether something is as it has to be.
    pub(super) fn verdict(self, ok: bool) -> String {
        if ok { self.with("32", "ok") } else { self.with("1;31", "FAILED") }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
