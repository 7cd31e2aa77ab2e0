//! `mrvpn check`: judges profiles and configuration files without connecting: what is used, what is ignored and why,
//! what is refused and why, each with its line. It reads as `up` does, with the caller's own rights, and starts nothing.
//! What a verdict looks like is `check/verdict.rs`.

mod verdict; // what is said of one file

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mrvpn_profile::config::{self, Config, Located, Rule, Tunnel};
use mrvpn_profile::{escape, ovpn};

use super::answer;
use crate::failure::{FAILED, Failure};
use crate::load::files::{ProfileFiles, holds_a_secret};
use crate::load::reader::{Contents, Disk, Reader};
use crate::load::rules;
use verdict::{Remark, Verdict, summary};

pub(super) fn run(json: bool, files: &[PathBuf]) -> Result<u8, Failure> {
    let verdicts: Vec<Verdict> = files.iter().flat_map(|file| judge(file)).collect();
    if json {
        answer(&serde_json::to_string(&verdicts).map_err(|error| Failure::failed(error.to_string()))?);
    } else {
        let texts = verdicts.iter().map(Verdict::text).chain(summary(&verdicts));
        answer(&texts.collect::<Vec<_>>().join("\n\n"));
    }
    Ok(if verdicts.iter().all(|verdict| verdict.accepted) { 0 } else { FAILED })
}

/// A profile, or a configuration and the profiles that it names.
fn judge(file: &Path) -> Vec<Verdict> {
    if file.extension().is_some_and(|extension| extension == "toml") {
        judge_config(file)
    } else {
        vec![judge_profile(file, Wrapper::Unknown)]
    }
}

fn judge_config(file: &Path) -> Vec<Verdict> {
    let mut verdict = Verdict::of(file);
    let config = match read_config(file) {
        Ok(config) => config,
        Err(remark) => return vec![verdict.refused_for(remark)],
    };
    let beside = file.parent().unwrap_or_else(|| Path::new("."));
    verdict.describe(&config);
    verdict.warnings.extend(unreachable_rules(&config.rules));
    verdict.refused.extend(rules::decide(&config).err().map(|many| Remark::file(&many.why, &many.hint)));
    let tunnels = config.tunnels.iter();
    let files = tunnels.clone().filter_map(|tunnel| tunnel.credentials.as_ref()).chain(&config.engine.credentials);
    verdict.refused.extend(files.filter_map(|file| judge_credentials(beside, file)));
    let mut profiles = Vec::new();
    let mut judged = BTreeSet::new();
    for tunnel in tunnels {
        let profile = beside.join(&tunnel.profile.value);
        match read(&profile) {
            Err(why) => verdict.refused.push(unreadable("profile", &tunnel.profile, &why)),
            Ok(contents) if judged.insert(profile.clone()) => {
                profiles.push(judge_contents(&profile, &contents, Wrapper::of(tunnel)));
            }
            Ok(_) => {}
        }
    }
    verdict.accepted = verdict.refused.is_empty();
    std::iter::once(verdict).chain(profiles).collect()
}

fn read_config(file: &Path) -> Result<Config, Remark> {
    let contents = read(file).map_err(|why| Remark::file(&why, "check the path"))?;
    let text = str::from_utf8(contents.bytes.expose())
        .map_err(|_| Remark::file("it is not UTF-8 text", "save it as UTF-8"))?;
    config::parse(text).map_err(|error| Remark::new(error.line, "", &error.message, &error.hint))
}

/// Rules behind a rule that takes all that they match.
fn unreachable_rules(rules: &[Rule]) -> Vec<Remark> {
    let remark = |found: config::Unreachable| {
        let (rule, first) = (rules.get(found.rule)?, rules.get(found.taken_by)?);
        let named = |rule: &Rule| rule.name.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default();
        let first_named = format!("the rule{} in line {}", named(first), first.line);
        let why = format!("no flow reaches this rule: {first_named} takes all that it names");
        let hint = format!("move it above line {}, or remove it", first.line);
        Some(Remark::new(Some(rule.line), &format!("rule{}", named(rule)), &why, &hint))
    };
    config::unreachable(rules).into_iter().filter_map(remark).collect()
}

/// A file of user and password must be there, whole, and nobody else's to read.
fn judge_credentials(beside: &Path, named: &Located<String>) -> Option<Remark> {
    let path = beside.join(&named.value);
    let contents = match read(&path) {
        Ok(contents) => contents,
        Err(why) => return Some(unreadable("credentials", named, &why)),
    };
    if contents.open_to_others {
        return Some(Remark::new(Some(named.line), "credentials", &open_to_others(&path), &chmod(&path)));
    }
    ovpn::credentials(&contents.bytes).err().map(|why| unreadable("credentials", named, &why))
}

fn unreadable(key: &str, named: &Located<String>, why: &str) -> Remark {
    let why = format!("`{}`: {why}", escape(named.value.as_bytes()));
    Remark::new(Some(named.line), key, &why, "correct the path, which is relative to this file, or the file")
}

/// Whether the address behind a wrapper on this machine is known to be left to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrapper {
    Unknown,
    Bypassed,
}

impl Wrapper {
    fn of(tunnel: &Tunnel) -> Self {
        if tunnel.bypass.is_empty() { Self::Unknown } else { Self::Bypassed }
    }
}

fn judge_profile(file: &Path, wrapper: Wrapper) -> Verdict {
    match read(file) {
        Ok(contents) => judge_contents(file, &contents, wrapper),
        Err(why) => {
            Verdict::of(file).refused_for(Remark::file(&why, "check the path; a profile is a file that ends in .ovpn"))
        }
    }
}

fn judge_contents(file: &Path, contents: &Contents, wrapper: Wrapper) -> Verdict {
    let text = contents.bytes.expose();
    let mut named = ProfileFiles::beside(file);
    let judgement = ovpn::parse(text, &mut named).map_or_else(|error| *error.judgement, |parsed| parsed.judgement);
    let mut verdict = Verdict::of(file).with(judgement);
    if wrapper == Wrapper::Bypassed {
        verdict.warnings.retain(|warning| warning.why != ovpn::ON_THIS_MACHINE);
    }
    if let Some(open) = named.open_credentials() {
        verdict.refuse_instead("auth-user-pass", &open_to_others(open), &chmod(open));
    }
    verdict.warnings.extend(named.notes().iter().map(|note| Remark::note(file, note)));
    if contents.open_to_others && holds_a_secret(text) {
        verdict
            .warnings
            .push(Remark::file("others can read this file, and a key or a password is inside", &chmod(file)));
    }
    verdict
}

/// The contents of a regular file, and who else may read it.
fn read(file: &Path) -> Result<Contents, String> {
    Disk::default().read(file).map_err(|error| error.why)
}

fn open_to_others(file: &Path) -> String {
    format!("others can read `{}`", escape(file.display().to_string().as_bytes()))
}

fn chmod(file: &Path) -> String {
    format!("chmod 600 {}", escape(file.display().to_string().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::scratch::Scratch;

    const PROFILE: &str = "client\ndev tun\nremote 192.0.2.1\nauth-user-pass\nup /bin/true\n\
                           <ca>\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n</ca>\n";
    const CONFIG: &str = "[[tunnel]]\nname = \"uk\"\nprofile = \"uk.ovpn\"\n";

    #[test]
    fn a_program_in_a_profile_is_ignored_with_its_line() {
        let scratch = Scratch::new("check-up");
        let verdict = judge(&scratch.file("a.ovpn", PROFILE, 0o600)).remove(0);
        assert!(verdict.accepted, "{verdict:?}");
        assert!(
            verdict.ignored.iter().any(|remark| (remark.line, remark.directive.as_str()) == (5, "up")),
            "{verdict:?}"
        );
        assert!(verdict.used.contains(&String::from("remote")), "{verdict:?}");
    }

    #[test]
    fn a_profile_that_loads_code_is_refused_with_line_and_reason() {
        let scratch = Scratch::new("check-plugin");
        let verdict = judge(&scratch.file("a.ovpn", format!("{PROFILE}plugin x.so\n"), 0o600)).remove(0);
        assert!(!verdict.accepted);
        assert!(verdict.text().contains("a.ovpn:11: error: `plugin`"), "{}", verdict.text());
    }

    #[test]
    fn a_configuration_is_judged_with_the_profiles_that_it_names_once_each() {
        let scratch = Scratch::new("check-toml");
        scratch.file("uk.ovpn", PROFILE, 0o600);
        let twice = format!("{CONFIG}{}", CONFIG.replace("name = \"uk\"", "name = \"uk2\""));
        let verdicts = judge(&scratch.file("mrvpn.toml", &twice, 0o600));
        assert_eq!(verdicts.iter().map(|verdict| verdict.accepted).collect::<Vec<_>>(), [true, true]);
        let broken = scratch.file("broken.toml", "[[tunnel]]\nname = \"uk\"\nprofle = \"uk.ovpn\"\n", 0o600);
        assert_eq!(judge(&broken)[0].refused[0].line, 3);
    }

    #[test]
    fn a_profile_or_credentials_that_are_not_there_refuse_the_configuration_at_their_line() {
        let scratch = Scratch::new("check-absent");
        let verdicts = judge(&scratch.file("mrvpn.toml", format!("{CONFIG}credentials = \"uk.auth\"\n"), 0o600));
        let lines: Vec<_> = verdicts[0].refused.iter().map(|remark| (remark.line, remark.directive.as_str())).collect();
        assert_eq!(lines, [(4, "credentials"), (3, "profile")]);
        assert!(!verdicts[0].accepted && verdicts.len() == 1);
    }

    #[test]
    fn credentials_that_others_can_read_are_refused_with_the_line_to_type() {
        let scratch = Scratch::new("check-auth");
        scratch.file("uk.ovpn", PROFILE, 0o600);
        let config = scratch.file("mrvpn.toml", format!("{CONFIG}credentials = \"uk.auth\"\n"), 0o600);
        scratch.file("uk.auth", "ann\nsecret\n", 0o640);
        assert!(judge(&config)[0].refused[0].hint.starts_with("chmod 600 "));
        scratch.file("uk.auth", "ann\nsecret\n", 0o600);
        assert!(judge(&config)[0].accepted);
        scratch.file("uk.auth", "ann\n", 0o600);
        assert!(judge(&config)[0].refused[0].why.contains("no password"));
    }

    #[test]
    fn a_profile_with_a_key_inside_that_others_can_read_is_warned_of() {
        let scratch = Scratch::new("check-open");
        let inline = format!("{PROFILE}<auth-user-pass>\nann\nsecret\n</auth-user-pass>\n");
        let warned = |text: &str, mode: u32| {
            let verdict = judge(&scratch.file("a.ovpn", text, mode)).remove(0);
            assert!(verdict.accepted, "{verdict:?}");
            verdict.warnings.iter().any(|warning| warning.hint.starts_with("chmod 600 "))
        };
        assert!(warned(&inline, 0o644));
        assert!(!warned(&inline, 0o600) && !warned(PROFILE, 0o644));
    }

    #[test]
    fn a_file_of_user_and_password_that_the_profile_names_is_refused_where_others_can_read_it() {
        let scratch = Scratch::new("check-named");
        let profile = scratch.file("a.ovpn", PROFILE.replace("auth-user-pass", "auth-user-pass a.auth"), 0o600);
        scratch.file("a.auth", "ann\nsecret\n", 0o644);
        let verdict = judge(&profile).remove(0);
        assert!(
            !verdict.accepted && verdict.warnings.iter().all(|warning| warning.directive.is_empty()),
            "{verdict:?}"
        );
        assert_eq!((verdict.refused[0].line, verdict.refused.len()), (4, 1));
        assert!(verdict.refused[0].hint.starts_with("chmod 600 "));
        scratch.file("a.auth", "ann\nsecret\n", 0o600);
        assert!(judge(&profile)[0].accepted);
    }

    #[test]
    fn a_bypass_answers_the_warning_of_a_server_on_this_machine() {
        let scratch = Scratch::new("check-bypass");
        let profile = scratch.file("uk.ovpn", PROFILE.replace("192.0.2.1", "127.0.0.1"), 0o600);
        let warned = |verdict: &Verdict| verdict.warnings.iter().any(|warning| warning.directive == "remote");
        assert!(warned(&judge(&profile)[0]));
        let without = scratch.file("a.toml", CONFIG, 0o600);
        let with = scratch.file("b.toml", format!("{CONFIG}bypass = \"203.0.113.9\"\n"), 0o600);
        assert_eq!((warned(&judge(&without)[1]), warned(&judge(&with)[1])), (true, false));
    }

    #[test]
    fn rules_that_cannot_be_captured_are_refused_with_the_way_out() {
        let scratch = Scratch::new("check-runs");
        scratch.file("uk.ovpn", PROFILE, 0o600);
        let rules = |count: usize| -> String {
            let via = |n: usize| if n.is_multiple_of(2) { "uk" } else { "direct" };
            let rule = |n: usize| format!("[[rule]]\nport = {}\nvia = \"{}\"\n", n + 1, via(n));
            format!("{CONFIG}{}", (0..count).map(rule).collect::<String>())
        };
        for (count, accepted) in [(17, true), (18, true), (19, false)] {
            let verdict = judge(&scratch.file("mrvpn.toml", rules(count), 0o600)).remove(0);
            assert_eq!(verdict.accepted, accepted, "{verdict:?}");
            let said = verdict.text();
            assert_eq!(said.contains("hint: put rules with `to` alone after it"), !accepted, "{said}");
        }
    }

    #[test]
    fn a_rule_that_no_flow_can_reach_is_warned_of_with_both_lines() {
        let scratch = Scratch::new("check-rules");
        scratch.file("uk.ovpn", PROFILE, 0o600);
        let rules = "[[rule]]\nname = \"all\"\nvia = \"uk\"\n[[rule]]\nto = \"10.0.0.0/8\"\nvia = \"direct\"\n";
        let verdict = judge(&scratch.file("mrvpn.toml", format!("{CONFIG}{rules}"), 0o600)).remove(0);
        assert!(verdict.accepted);
        let text = verdict.text();
        assert!(
            text.contains("mrvpn.toml:7: warning: `rule`: no flow reaches this rule: the rule `all` in line 4"),
            "{text}"
        );
    }
}
