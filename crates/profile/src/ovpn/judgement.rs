//! What became of each line of a file. Lists only; who decides is `draft.rs` and its parts.

use std::collections::BTreeSet;
use std::fmt;

use super::directives;
use crate::escape::escape;

/// The judgement of a whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Directives that are acted upon.
    pub used: Vec<Noted>,
    /// Directives that are not, with what holds instead.
    pub ignored: Vec<Noted>,
    /// Directives because of which the profile cannot be used.
    pub refused: Vec<Noted>,
    /// What the user should know though the profile is used.
    pub warnings: Vec<Noted>,
}

/// A directive and what became of it. Its `Display` is one line without the file: `line 5: remote: why; hint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Line in the file, from 1; 0 where something is missing in the file as a whole.
    pub line: u32,
    /// The directive, escaped; empty in a warning that is about none.
    pub directive: String,
    /// Why; may be empty for a used one.
    pub why: String,
    /// What to do; empty unless refused or warned of.
    pub hint: String,
}

impl fmt::Display for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        let parts = [(self.directive.as_str(), ": "), (self.why.as_str(), "; "), (self.hint.as_str(), "")];
        let said: Vec<_> = parts.into_iter().filter(|(text, _)| !text.is_empty()).collect();
        for (place, (text, separator)) in said.iter().enumerate() {
            let last = place.saturating_add(1) == said.len();
            write!(f, "{text}{}", if last { "" } else { separator })?;
        }
        Ok(())
    }
}

impl Judgement {
    pub(super) fn refuse(&mut self, line: u32, directive: &str, why: &str, hint: &str) {
        self.refused.push(noted(line, directive, why, hint));
    }

    pub(super) fn ignore(&mut self, line: u32, directive: &str, why: &str) {
        self.ignored.push(noted(line, directive, why, ""));
    }

    pub(super) fn warn(&mut self, line: u32, directive: &str, why: &str, hint: &str) {
        self.warnings.push(noted(line, directive, why, hint));
    }

    /// A directive that was entered as used is not, as something later in the file shows.
    pub(super) fn overrule(&mut self, line: u32, directive: &str, why: &str) {
        self.used.retain(|noted| noted.line != line || noted.directive != directive);
        self.ignore(line, directive, why);
    }

    /// What was entered as used and refused later is refused alone: a file that cannot be read, for one.
    pub(super) fn settle(&mut self) {
        let refused: BTreeSet<_> = self.refused.iter().map(|noted| (noted.line, noted.directive.as_str())).collect();
        self.used.retain(|noted| !refused.contains(&(noted.line, noted.directive.as_str())));
    }

    /// Whether `directive` is refused already, so that what follows from it need not be said too.
    pub(super) fn has_refused(&self, directive: &str) -> bool {
        self.refused.iter().any(|noted| noted.directive == directive)
    }

    /// Enters the fate of one directive.
    pub(super) fn enter(&mut self, line: u32, directive: &str, fate: Fate) {
        match fate {
            Fate::Used => self.used.push(noted(line, directive, "", "")),
            Fate::UsedBut(why) => {
                self.warn(line, directive, &why, "");
                self.used.push(noted(line, directive, &why, ""));
            }
            Fate::UsedInPart(why) => {
                self.ignore(line, directive, &why);
                self.used.push(noted(line, directive, &why, ""));
            }
            Fate::Ignored(why) => self.ignore(line, directive, &why),
            Fate::Refused { why, hint } | Fate::Wrong { why, hint } => self.refuse(line, directive, &why, &hint),
            Fate::Unknown => self.unknown(line, directive),
        }
    }

    /// The first few have the directive that was probably meant; with more of them this is no profile at all.
    fn unknown(&mut self, line: u32, directive: &str) {
        if CONFLICT_MARKS.contains(&directive) {
            let hint = "keep one of the two versions between the marks, and remove the marks";
            return self.refuse(line, directive, "this is the mark of a merge conflict", hint);
        }
        let meant = if self.refused.len() < GUESSES { directives::meant(directive) } else { None };
        let guess = meant.map(|meant| format!("did you mean `{meant}`? ")).unwrap_or_default();
        self.refuse(line, directive, "unknown directive", &format!("{guess}{UNKNOWN_HINT}"));
    }
}

fn noted(line: u32, directive: &str, why: &str, hint: &str) -> Noted {
    Noted { line, directive: escape(directive.as_bytes()), why: why.to_owned(), hint: hint.to_owned() }
}

/// What becomes of one directive.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Used,
    /// Used, with something that the user should know.
    UsedBut(String),
    /// Used, but for a part that is ignored for this reason.
    UsedInPart(String),
    Ignored(String),
    Refused {
        why: String,
        hint: String,
    },
    /// Its parameters are wrong: refused, unless the file says that it may be left out.
    Wrong {
        why: String,
        hint: String,
    },
    /// No such directive: refused, unless the file says that it may be left out.
    Unknown,
}

impl Fate {
    pub(super) fn ignored(why: &str) -> Self {
        Self::Ignored(why.to_owned())
    }

    pub(super) fn refused(why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused { why: why.into(), hint: hint.into() }
    }

    pub(super) fn wrong(why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Wrong { why: why.into(), hint: hint.into() }
    }

    /// The same where the file says that the directive may be left out (`setenv opt` and its like).
    pub(super) fn optional(self) -> Self {
        match self {
            Self::Unknown => Self::ignored("unknown, and the file says that it may be left out"),
            Self::Wrong { why, .. } => Self::Ignored(format!("{why}; the file says that it may be left out")),
            Self::Used | Self::UsedBut(_) | Self::UsedInPart(_) | Self::Ignored(_) | Self::Refused { .. } => self,
        }
    }
}

/// Why a profile cannot be used: the first refusal in the file, and the judgement of all of it. Always the user's or
/// the provider's to mend.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ProfileError {
    /// Line in the file, from 1; `None` where something is missing in the file as a whole.
    pub line: Option<u32>,
    /// What is wrong, without file and line; text of the file is escaped.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// What became of each line.
    pub judgement: Box<Judgement>,
}

impl ProfileError {
    pub(super) fn of(judgement: Judgement) -> Self {
        // A line before what is missing as a whole: it is the nearer cause.
        let first = judgement.refused.iter().min_by_key(|noted| noted.line.wrapping_sub(1));
        let (line, message, hint) = match first {
            Some(first) if first.line > 0 => {
                (Some(first.line), format!("`{}`: {}", first.directive, first.why), first.hint.clone())
            }
            Some(first) => (None, first.why.clone(), first.hint.clone()),
            None => (None, String::from("the profile cannot be used"), String::new()),
        };
        Self { line, message, hint, judgement: Box::new(judgement) }
    }
}

impl fmt::Debug for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProfileError").field("line", &self.line).field("message", &self.message).finish_non_exhaustive()
    }
}

const UNKNOWN_HINT: &str = "correct it, remove it, or write `ignore-unknown-option` with its name in a line above";

/// What version control leaves in a file that two have changed.
const CONFLICT_MARKS: [&str; 4] = ["<<<<<<<", "|||||||", "=======", ">>>>>>>"];

/// 16: each guess compares with all that is known.
const GUESSES: usize = 16;
