//! Notes on pushed options that were left out or changed, for people: escaped, bounded, and without tokens.

use crate::assignment::SkippedOption;
use crate::escape::escape;
use crate::limits;

/// Notes on what was left out: a bounded list, then a count.
#[derive(Default)]
pub(super) struct Notes {
    list: Vec<SkippedOption>,
    more: usize,
}

impl Notes {
    pub(super) fn add(&mut self, option: String, why: &str) {
        if self.list.len() < limits::NOTES {
            self.list.push(SkippedOption { option, why: why.to_owned() });
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    pub(super) fn decide(mut self) -> Vec<SkippedOption> {
        if self.more > 0 {
            let why = format!("{} more options were left out", self.more);
            self.list.push(SkippedOption { option: String::from("..."), why });
        }
        self.list
    }
}

/// The option for people: escaped, and a token is not shown.
pub(super) fn shown(item: &str) -> String {
    let item = item.trim();
    if item.contains("auth-token") { String::from("auth-token ***") } else { escape(item.as_bytes()) }
}
