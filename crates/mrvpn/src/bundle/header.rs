//! The first line of a bundle: what follows it and how long each part is. Lengths are in bytes. It holds no secret.

use serde::{Deserialize, Serialize};

use crate::load::arguments::Arguments;
use crate::load::reader::{Contents, Outcome, Unreadable};

/// Version of [`Header`] and of what follows it.
pub(super) const VERSION: u32 = 1;

/// What a bundle holds. The contents follow in this order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) arguments: Arguments,
    pub(super) files: Vec<File>,
    pub(super) answers: Vec<Answer>,
}

/// A file that was read, or tried.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) read: Read,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Read {
    Contents { length: usize, open_to_others: bool },
    Unreadable { why: String, missing: bool },
}

/// User and password of one tunnel; both follow.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) tunnel: String,
    pub(super) user: usize,
    pub(super) password: usize,
}

impl Header {
    /// All that follows; `None` where that is more than there can be.
    pub(super) fn contents_length(&self) -> Option<usize> {
        let file = |file: &File| match file.read {
            Read::Contents { length, .. } => length,
            Read::Unreadable { .. } => 0,
        };
        let answers = self.answers.iter().flat_map(|answer| [answer.user, answer.password]);
        self.files.iter().map(file).chain(answers).try_fold(0_usize, usize::checked_add)
    }
}

impl Read {
    pub(super) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Ok(Contents { bytes, open_to_others }) => {
                Self::Contents { length: bytes.expose().len(), open_to_others: *open_to_others }
            }
            Err(Unreadable { why, missing }) => Self::Unreadable { why: why.clone(), missing: *missing },
        }
    }
}
