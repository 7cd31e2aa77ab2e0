//! What `check` says of one file: as a good compiler prints it, or as an entry of the JSON array (contract.md section 3).
//! How a file is judged is its parent's.

use std::path::Path;

use mrvpn_profile::config::{Config, Dns, Engine};
use mrvpn_profile::escape;
use mrvpn_profile::ovpn::{Judgement, Noted};
use serde::{Serialize, Serializer};

/// The judgement of one file.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    pub(super) file: String,
    pub(super) accepted: bool,
    pub(super) used: Vec<String>,
    pub(super) ignored: Vec<Remark>,
    pub(super) refused: Vec<Remark>,
    #[serde(serialize_with = "as_lines")]
    pub(super) warnings: Vec<Remark>,
    /// What an accepted file holds, for people.
    #[serde(skip)]
    holds: String,
}

/// A directive and what is made of it. Line 0 is the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Remark {
    pub(super) line: u32,
    pub(super) directive: String,
    pub(super) why: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) hint: String,
}

impl Verdict {
    pub(super) fn of(file: &Path) -> Self {
        Self { file: escape(file.display().to_string().as_bytes()), ..Self::default() }
    }

    pub(super) fn refused_for(mut self, remark: Remark) -> Self {
        self.accepted = false;
        self.refused.push(remark);
        self
    }

    /// Refuses what was only warned of: `up` would not go on with it either.
    pub(super) fn refuse_instead(&mut self, directive: &str, why: &str, hint: &str) {
        let warned = self.warnings.iter().position(|warning| warning.directive == directive);
        let line = warned.map(|place| self.warnings.remove(place).line);
        self.used.retain(|used| used != directive);
        self.refused.push(Remark::new(line, directive, why, hint));
        self.accepted = false;
    }

    /// What became of each line of a profile, which is accepted where none is refused.
    pub(super) fn with(mut self, judgement: Judgement) -> Self {
        let lines = judgement.used.len();
        self.accepted = judgement.refused.is_empty();
        self.holds = format!("{} used", counted(lines, "line"));
        self.used = judgement.used.into_iter().map(|noted| noted.directive).collect();
        self.used.sort();
        self.used.dedup();
        self.ignored = in_order(judgement.ignored);
        self.refused = in_order(judgement.refused);
        self.warnings = in_order(judgement.warnings);
        self
    }

    /// What a configuration holds.
    pub(super) fn describe(&mut self, config: &Config) {
        let (tunnels, rules) = (config.tunnels.len(), config.rules.len());
        self.holds = format!("{}, {}", counted(tunnels, "tunnel"), counted(rules, "rule"));
        let tables = [
            ("dns", config.dns != Dns::default()),
            ("engine", config.engine != Engine::default()),
            ("rule", rules > 0),
            ("tunnel", tunnels > 0),
        ];
        self.used = tables.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned()).collect();
    }

    /// As a compiler prints it: each line of the file that needs a word, in order, then what is made of the whole.
    pub(super) fn text(&self) -> String {
        let mut lines = self.remarks();
        if !self.used.is_empty() {
            lines.push(format!("{}: used: {}", self.file, self.used.join(" ")));
        }
        lines.push(self.outcome());
        lines.join("\n")
    }

    /// In the order of the file; what is said of the file as a whole is last.
    fn remarks(&self) -> Vec<String> {
        // What is said as a warning is not said again.
        let ignored =
            self.ignored.iter().filter(|remark| !self.warnings.contains(remark)).map(|remark| ("ignored", remark));
        let warnings = self.warnings.iter().map(|remark| ("warning", remark));
        let errors = self.refused.iter().take(MOST_ERRORS).map(|remark| ("error", remark));
        let mut remarks: Vec<_> = errors.chain(warnings).chain(ignored).collect();
        remarks.sort_by_key(|(_, remark)| remark.place());
        let mut lines: Vec<String> = remarks.iter().flat_map(|(kind, remark)| remark.lines(&self.file, kind)).collect();
        let more = self.refused.len().saturating_sub(MOST_ERRORS);
        if more > 0 {
            lines.push(format!("{}: error: {more} more errors; is this a profile at all?", self.file));
        }
        lines
    }

    fn outcome(&self) -> String {
        let mut parts = Vec::new();
        match (self.accepted, self.refused.len()) {
            (true, _) => parts.push(self.holds.clone()),
            (false, errors) => parts.push(counted(errors, "error")),
        }
        if !self.ignored.is_empty() {
            parts.push(format!("{} ignored", self.ignored.len()));
        }
        if !self.warnings.is_empty() {
            parts.push(counted(self.warnings.len(), "warning"));
        }
        let word = if self.accepted { "accepted" } else { "refused" };
        format!("{}: {word}: {}", self.file, parts.join(", "))
    }
}

/// One line for all files, where there are several.
pub(super) fn summary(verdicts: &[Verdict]) -> Option<String> {
    let accepted = verdicts.iter().filter(|verdict| verdict.accepted).count();
    let refused = verdicts.len().saturating_sub(accepted);
    (verdicts.len() > 1).then(|| format!("{} files: {accepted} accepted, {refused} refused", verdicts.len()))
}

impl Remark {
    pub(super) fn new(line: Option<u32>, directive: &str, why: &str, hint: &str) -> Self {
        Self { line: line.unwrap_or(0), directive: directive.to_owned(), why: why.to_owned(), hint: hint.to_owned() }
    }

    /// About the file as a whole.
    pub(super) fn file(why: &str, hint: &str) -> Self {
        Self::new(None, "", why, hint)
    }

    /// What was found when a file that `profile` names was read, as in `uk.ovpn:7: it is elsewhere`.
    pub(super) fn note(profile: &Path, note: &str) -> Self {
        let place = note.strip_prefix(&format!("{}:", profile.display())).and_then(|rest| rest.split_once(": "));
        let placed = place.and_then(|(line, why)| Some((line.parse().ok()?, why)));
        let (line, why) = placed.map_or((None, note), |(line, why)| (Some(line), why));
        Self::new(line, "", &escape(why.as_bytes()), "")
    }

    /// Where it stands among others: the file as a whole after all lines.
    const fn place(&self) -> u32 {
        self.line.wrapping_sub(1)
    }

    fn lines(&self, file: &str, kind: &str) -> Vec<String> {
        let place = if self.line == 0 { file.to_owned() } else { format!("{file}:{}", self.line) };
        let quoted = self
            .directive
            .split_once(' ')
            .map_or_else(|| format!("`{}`: ", self.directive), |_| format!("{}: ", self.directive));
        let what = if self.directive.is_empty() { String::new() } else { quoted };
        let mut lines = vec![format!("{place}: {kind}: {what}{}", self.why)];
        if !self.hint.is_empty() {
            lines.push(format!("  hint: {}", self.hint));
        }
        lines
    }
}

impl From<Noted> for Remark {
    fn from(noted: Noted) -> Self {
        Self { line: noted.line, directive: noted.directive, why: noted.why, hint: noted.hint }
    }
}

/// As the lines stand in the file; what is about the file as a whole is last.
fn in_order(noted: Vec<Noted>) -> Vec<Remark> {
    let mut remarks: Vec<Remark> = noted.into_iter().map(Remark::from).collect();
    remarks.sort_by_key(Remark::place);
    remarks
}

/// A warning is a line of text in the JSON, as in `status`.
fn as_lines<S: Serializer>(warnings: &[Remark], serializer: S) -> Result<S::Ok, S::Error> {
    let line = |remark: &Remark| {
        let Remark { line, directive, why, hint } = remark.clone();
        Noted { line, directive, why, hint }.to_string()
    };
    serializer.collect_seq(warnings.iter().map(line))
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// 50: what nobody reads to its end, as of a file that is no profile.
const MOST_ERRORS: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_the_names_of_the_contract() {
        let mut verdict = Verdict::of(Path::new("a.ovpn")).refused_for(Remark::new(Some(3), "plugin", "why", "mend"));
        verdict.warnings.push(Remark::new(Some(4), "remote", "it is here", "name it"));
        verdict.ignored.push(Remark::new(Some(5), "verb", "no use", ""));
        let json = serde_json::to_value(&verdict).unwrap();
        let expected = serde_json::json!({
            "file": "a.ovpn", "accepted": false, "used": [],
            "ignored": [{"line": 5, "directive": "verb", "why": "no use"}],
            "refused": [{"line": 3, "directive": "plugin", "why": "why", "hint": "mend"}],
            "warnings": ["line 4: remote: it is here; name it"],
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_note_finds_its_line_and_is_escaped() {
        let note = |text: &str| Remark::note(Path::new("uk.ovpn"), text);
        assert_eq!(note("uk.ovpn:7: `x` is not there"), Remark::new(Some(7), "", "`x` is not there", ""));
        assert_eq!(note("else"), Remark::new(None, "", "else", ""));
        assert_eq!(note("uk.ovpn:7: \u{1b}[2J").why, "\\x1b[2J");
    }

    #[test]
    fn a_file_of_nothing_but_errors_is_cut_short() {
        let mut verdict = Verdict::of(Path::new("a.ovpn"));
        verdict.refused = (1..=51).map(|line| Remark::new(Some(line), "frob", "unknown", "")).collect();
        let text = verdict.text();
        assert_eq!(text.lines().count(), 52, "{text}");
        assert!(text.contains("1 more errors") && text.ends_with("a.ovpn: refused: 51 errors"), "{text}");
    }
}
