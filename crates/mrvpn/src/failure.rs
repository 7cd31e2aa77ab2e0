//! An error as the user reads it: what happened, where, and what to do. Printed once, at the top.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Exit code 1: it failed.
pub(crate) const FAILED: u8 = 1;
/// Exit code 2: wrong usage or configuration.
pub(crate) const USAGE: u8 = 2;
/// Exit code 3: no engine runs (`status`).
pub(crate) const NOT_RUNNING: u8 = 3;

/// What went wrong, with its exit code. It can be sent: a detached engine fails in the words of the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    code: u8,
    message: String,
    place: Option<Place>,
    hint: Option<String>,
}

/// A file and a line in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

    /// What happened and where, without the hint.
    pub(crate) fn sentence(&self) -> String {
        match &self.place {
            Some(Place { file, line: Some(line) }) => format!("{file}:{line}: {}", self.message),
            Some(Place { file, line: None }) => format!("{file}: {}", self.message),
            None => self.message.clone(),
        }
    }

    /// What to do.
    pub(crate) fn hinted(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.sentence())?;
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
