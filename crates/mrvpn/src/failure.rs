//! An error as the user reads it: what happened, where, and what to do. Printed once, at the top.

use std::fmt;

/// Exit code 1: it failed.
pub(crate) const FAILED: u8 = 1;
/// Exit code 2: wrong usage or configuration.
pub(crate) const USAGE: u8 = 2;
/// Exit code 3: no engine runs (`status`).
pub(crate) const NOT_RUNNING: u8 = 3;

/// What went wrong, with its exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    code: u8,
    message: String,
    place: Option<Place>,
    hint: Option<String>,
}

/// A file and a line in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    file: String,
    line: Option<u32>,
}

impl Failure {
    /// It failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { code: FAILED, message: message.into(), place: None, hint: None }
    }

    /// Wrong usage or configuration.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: USAGE, message: message.into(), place: None, hint: None }
    }

    /// In this file, at this line.
    pub(crate) fn at(mut self, file: &str, line: Option<u32>) -> Self {
        self.place = Some(Place { file: mrvpn_profile::escape(file.as_bytes()), line });
        self
    }

    /// What to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        self.hint = (!hint.is_empty()).then_some(hint);
        self
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("error: ")?;
        match &self.place {
            Some(Place { file, line: Some(line) }) => write!(f, "{file}:{line}: ")?,
            Some(Place { file, line: None }) => write!(f, "{file}: ")?,
            None => {}
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_file_line_and_the_mend() {
        let failure = Failure::usage("unknown directive").at("uk.ovpn", Some(7)).hint("remove the line");
        assert_eq!(failure.to_string(), "error: uk.ovpn:7: unknown directive\nhint: remove the line");
        assert_eq!(failure.code(), USAGE);
    }
}
