//! `mrvpn check`: judges profiles and configuration files without connecting: what is used, what is ignored and why,
//! what is refused and why, each with its line. It reads as `up` does and starts nothing.

use std::path::{Path, PathBuf};

use mrvpn_profile::escape;
use mrvpn_profile::ovpn::{self, Judgement, Noted};
use serde::Serialize;

use super::answer;
use crate::failure::{FAILED, Failure};
use crate::load::files::{ProfileFiles, read_regular};

/// The judgement of one file (contract.md section 3).
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Verdict {
    file: String,
    accepted: bool,
    used: Vec<String>,
    ignored: Vec<Remark>,
    refused: Vec<Remark>,
    warnings: Vec<String>,
}

/// A directive and what is made of it. Line 0 is the file as a whole.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Remark {
    line: u32,
    directive: String,
    why: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    hint: String,
}

pub(super) fn run(json: bool, files: &[PathBuf]) -> Result<u8, Failure> {
    let verdicts: Vec<Verdict> = files.iter().flat_map(|file| judge(file)).collect();
    if json {
        answer(&serde_json::to_string(&verdicts).map_err(|error| Failure::failed(error.to_string()))?);
    } else {
        let texts: Vec<String> = verdicts.iter().map(Verdict::text).collect();
        answer(&texts.join("\n\n"));
    }
    Ok(if verdicts.iter().all(|verdict| verdict.accepted) { 0 } else { FAILED })
}

/// A profile, or a configuration and the profiles that it names.
fn judge(file: &Path) -> Vec<Verdict> {
    if file.extension().is_some_and(|extension| extension == "toml") {
        judge_config(file)
    } else {
        vec![judge_profile(file)]
    }
}

fn judge_config(file: &Path) -> Vec<Verdict> {
    let parsed = std::fs::read_to_string(file).map_err(|error| (None, error.to_string(), String::new()));
    let parsed = parsed
        .and_then(|text| mrvpn_profile::config::parse(&text).map_err(|error| (error.line, error.message, error.hint)));
    match parsed {
        Ok(config) => {
            let beside = file.parent().unwrap_or_else(|| Path::new("."));
            let profiles = config.tunnels.iter().map(|tunnel| judge_profile(&beside.join(&tunnel.profile.value)));
            std::iter::once(Verdict { accepted: true, ..Verdict::of(file) }).chain(profiles).collect()
        }
        Err((line, why, hint)) => vec![Verdict::of(file).refuse(line, why, hint)],
    }
}

fn judge_profile(file: &Path) -> Verdict {
    let text = match read_regular(file) {
        Ok(text) => text,
        Err(why) => return Verdict::of(file).refuse(None, why, String::new()),
    };
    let mut named = ProfileFiles::beside(file);
    let mut verdict = match ovpn::parse(text.expose(), &mut named) {
        Ok(parsed) => Verdict { accepted: true, ..Verdict::of(file) }.with(parsed.judgement),
        Err(error) => {
            let said = !error.judgement.refused.is_empty();
            let verdict = Verdict::of(file).with(*error.judgement);
            if said { verdict } else { verdict.refuse(error.line, error.message, error.hint) }
        }
    };
    verdict.warnings.extend(named.notes());
    verdict
}

impl Verdict {
    fn of(file: &Path) -> Self {
        Self { file: escape(file.display().to_string().as_bytes()), ..Self::default() }
    }

    fn refuse(mut self, line: Option<u32>, why: String, hint: String) -> Self {
        self.refused.push(Remark { line: line.unwrap_or(0), directive: String::new(), why, hint });
        self
    }

    fn with(mut self, judgement: Judgement) -> Self {
        self.used = judgement.used.into_iter().map(|noted| noted.directive).collect();
        self.used.sort();
        self.used.dedup();
        self.ignored = judgement.ignored.into_iter().map(Remark::from).collect();
        self.refused = judgement.refused.into_iter().map(Remark::from).collect();
        self.warnings = judgement.warnings;
        self
    }

    /// As a compiler prints it: refusals first, each with its place.
    fn text(&self) -> String {
        let mut lines = Vec::new();
        lines.extend(self.refused.iter().flat_map(|remark| remark.lines(&self.file, "error")));
        lines.extend(self.warnings.iter().map(|warning| format!("{}: warning: {warning}", self.file)));
        lines.extend(self.ignored.iter().flat_map(|remark| remark.lines(&self.file, "ignored")));
        let word = if self.accepted { "accepted" } else { "refused" };
        let used = if self.used.is_empty() { String::new() } else { format!("; used: {}", self.used.join(" ")) };
        lines.push(format!("{}: {word}{used}", self.file));
        lines.join("\n")
    }
}

impl Remark {
    fn lines(&self, file: &str, kind: &str) -> Vec<String> {
        let place = if self.line == 0 { file.to_owned() } else { format!("{file}:{}", self.line) };
        let what = if self.directive.is_empty() { String::new() } else { format!("`{}`: ", self.directive) };
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own for one test; removed at its end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("mrvpn-check-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const PROFILE: &str = "client\ndev tun\nremote 192.0.2.1\nauth-user-pass\nup /bin/true\n\
                           <ca>\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n</ca>\n";

    #[test]
    fn a_program_in_a_profile_is_ignored_with_its_line() {
        let scratch = Scratch::new("up");
        let verdict = judge(&scratch.file("a.ovpn", PROFILE)).remove(0);
        assert!(verdict.accepted, "{verdict:?}");
        assert!(
            verdict.ignored.iter().any(|remark| remark.line == 5 && remark.directive.starts_with("up")),
            "{verdict:?}"
        );
        assert!(verdict.used.iter().any(|directive| directive.starts_with("remote")), "{verdict:?}");
    }

    #[test]
    fn a_profile_that_loads_code_is_refused_with_line_and_reason() {
        let scratch = Scratch::new("plugin");
        let verdict = judge(&scratch.file("a.ovpn", &format!("{PROFILE}plugin x.so\n"))).remove(0);
        assert!(!verdict.accepted);
        assert!(verdict.text().contains("a.ovpn:11: error: `plugin"), "{}", verdict.text());
    }

    #[test]
    fn a_configuration_is_judged_with_the_profiles_that_it_names() {
        let scratch = Scratch::new("toml");
        scratch.file("uk.ovpn", PROFILE);
        let config = scratch.file("mrvpn.toml", "[[tunnel]]\nname = \"uk\"\nprofile = \"uk.ovpn\"\n");
        let verdicts = judge(&config);
        assert_eq!(verdicts.iter().map(|verdict| verdict.accepted).collect::<Vec<_>>(), [true, true]);
        let broken = scratch.file("broken.toml", "[[tunnel]]\nname = \"uk\"\nprofle = \"uk.ovpn\"\n");
        assert_eq!(judge(&broken)[0].refused[0].line, 3);
    }

    #[test]
    fn the_json_has_the_names_of_the_contract() {
        let scratch = Scratch::new("json");
        let verdict = judge(&scratch.file("a.ovpn", PROFILE)).remove(0);
        let json = serde_json::to_value(&verdict).unwrap();
        for key in ["file", "accepted", "used", "ignored", "refused", "warnings"] {
            assert!(json.get(key).is_some(), "{key}");
        }
        assert!(json["ignored"][0]["why"].is_string());
    }
}
