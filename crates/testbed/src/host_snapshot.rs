//! A namespace's whole network state as text, for comparing before and after: what `ip`, `sysctl` and `nft` print, line by
//! line. Counters and clocks that move by themselves are left out, nothing else.

use std::collections::BTreeMap;

use crate::netns::Netns;

/// What is asked, each a section of the snapshot.
const QUESTIONS: [&[&str]; 7] = [
    &["ip", "-d", "addr"],
    &["ip", "route", "show", "table", "all"],
    &["ip", "-6", "route", "show", "table", "all"],
    &["ip", "rule"],
    &["ip", "-6", "rule"],
    &["sysctl", "-a", "-r", "^net\\."],
    &["nft", "-s", "list", "ruleset"],
];

/// Settings that the kernel itself changes.
const MOVING: [&str; 2] = ["nf_conntrack_count", "stable_secret"];

/// A line without the clocks of a bridge: words that end in `_timer` and the number behind each.
fn without_clocks(line: &str) -> String {
    let mut after_clock = false;
    let stays = |word: &&str| {
        let skipped = std::mem::replace(&mut after_clock, word.ends_with("_timer"));
        !skipped && !after_clock
    };
    if !line.contains("_timer") {
        return String::from(line);
    }
    line.split_whitespace().filter(stays).collect::<Vec<_>>().join(" ")
}

/// The state at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSnapshot(BTreeMap<String, Vec<String>>);

impl HostSnapshot {
    /// Takes it.
    ///
    /// # Panics
    /// When a question fails.
    #[must_use]
    #[track_caller]
    pub fn take(netns: &Netns) -> Self {
        let mut sections = BTreeMap::new();
        for question in QUESTIONS {
            // A setting that cannot be read makes sysctl fail after it has printed the others.
            let arguments = question.iter().skip(1).copied().collect::<Vec<_>>();
            let text = match question[0] {
                "sysctl" => netns.try_run("sysctl", &arguments).unwrap_or_else(|text| text),
                program => netns.run(program, &arguments),
            };
            let lines = text.lines().filter(|line| !MOVING.iter().any(|word| line.contains(word)));
            sections.insert(question.join(" "), lines.map(without_clocks).collect());
        }
        for file in ["resolv.conf", "hosts"] {
            sections.insert(String::from(file), netns.etc_text(file).lines().map(String::from).collect());
        }
        Self(sections)
    }

    /// The lines that are in one of the two only: `- ` before, `+ ` after; empty when nothing differs.
    #[must_use]
    pub fn difference(&self, after: &Self) -> String {
        let mut text = String::new();
        for (section, before) in &self.0 {
            let now = after.0.get(section).map(Vec::as_slice).unwrap_or_default();
            let gone = before.iter().filter(|line| !now.contains(line)).map(|line| format!("- {line}\n"));
            let new = now.iter().filter(|line| !before.contains(line)).map(|line| format!("+ {line}\n"));
            let lines: String = gone.chain(new).collect();
            // Lines that only moved, or are there twice, differ too.
            if !lines.is_empty() || before != now {
                text += &format!("{section}:\n{lines}");
            }
        }
        text
    }
}
