//! `mrvpn init`: prints a commented mrvpn.toml for profiles that are there: a tunnel and an example of a rule for each.
//! It writes no file and connects to nothing. What the file looks like is `init/template.rs`.

mod template; // the file

use std::io::Write;
use std::path::{Component, Path, PathBuf};

use mrvpn_profile::{AuthUserPass, TunnelName, escape, ovpn};

use super::answer;
use crate::failure::Failure;
use crate::load::files::{ProfileFiles, read_regular};
use template::{Shown, template};

pub(super) fn run(arguments: &[PathBuf]) -> Result<u8, Failure> {
    let here = [PathBuf::from(".")];
    let named = if arguments.is_empty() { &here[..] } else { arguments };
    let mut profiles = Vec::new();
    for argument in named {
        profiles.extend(profiles_of(argument, !arguments.is_empty())?);
    }
    if profiles.is_empty() {
        warn("there is no .ovpn file here: the tunnel in this file is an example");
    }
    let mut names = Vec::new();
    let tunnels = profiles.iter().map(|profile| shown(profile, &mut names)).collect::<Result<Vec<_>, _>>()?;
    for tunnel in tunnels.iter().filter(|tunnel| tunnel.refused.is_some()) {
        warn(&format!("{} is refused, and commented out: see `mrvpn check`", escape(tunnel.path.as_bytes())));
    }
    answer(template(&tunnels).trim_end());
    Ok(0)
}

fn warn(sentence: &str) {
    let _ = writeln!(std::io::stderr(), "warning: {sentence}");
}

/// A profile, or the profiles of a directory by name.
fn profiles_of(argument: &Path, must_have: bool) -> Result<Vec<PathBuf>, Failure> {
    let shown = argument.display().to_string();
    let failed = |error: std::io::Error| Failure::usage(error.to_string()).at(&shown, None).hint("check the path");
    if !std::fs::metadata(argument).map_err(failed)?.is_dir() {
        return Ok(vec![argument.to_owned()]);
    }
    let entries = std::fs::read_dir(argument).map_err(failed)?;
    let is_profile = |path: &PathBuf| path.extension().is_some_and(|it| it.eq_ignore_ascii_case("ovpn"));
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_profile).collect();
    found.sort();
    if found.is_empty() && must_have {
        return Err(Failure::usage("no file in this directory ends in .ovpn").at(&shown, None).hint("name a profile"));
    }
    Ok(found)
}

fn shown(profile: &Path, names: &mut Vec<TunnelName>) -> Result<Shown, Failure> {
    let path = relative(profile);
    let display = path.display().to_string();
    let text = read_regular(&path)
        .map_err(|why| Failure::usage(why).at(&display, None).hint("check the path; a profile ends in .ovpn"))?;
    let name = TunnelName::from_file_name(&display, names);
    names.push(name.clone());
    let Some(written) = path.to_str() else {
        return Err(Failure::usage("the path is not UTF-8").at(&display, None).hint("rename the file"));
    };
    let mut shown = Shown { name: name.to_string(), path: written.to_owned(), asks: false, refused: None };
    match ovpn::parse(text.expose(), &mut ProfileFiles::beside(&path)) {
        Ok(parsed) => shown.asks = matches!(parsed.profile.auth_user_pass, AuthUserPass::Ask),
        Err(error) => {
            let line = error.line.map(|line| format!("line {line}: ")).unwrap_or_default();
            shown.refused = Some(format!("{line}{}", error.message));
        }
    }
    Ok(shown)
}

/// As seen from here, where the file will most likely stand: without `./`, and without the way to here.
fn relative(path: &Path) -> PathBuf {
    let here = std::env::current_dir().ok();
    let below = here.as_ref().and_then(|here| path.strip_prefix(here).ok()).filter(|rest| *rest != Path::new(""));
    below.unwrap_or(path).components().filter(|part| *part != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::scratch::Scratch;

    const PROFILE: &str = "client\ndev tun\nremote 192.0.2.1\nauth-user-pass\n\
                           <ca>\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n</ca>\n";

    #[test]
    fn a_directory_gives_its_profiles_in_order_and_each_a_name() {
        let scratch = Scratch::new("init");
        for name in ["uk.ovpn", "FR.OVPN", "notes.txt"] {
            scratch.file(name, PROFILE, 0o600);
        }
        let found = profiles_of(scratch.path(), true).unwrap();
        assert_eq!(found, [scratch.path().join("FR.OVPN"), scratch.path().join("uk.ovpn")]);
        let mut names = Vec::new();
        let one = shown(&found[0], &mut names).unwrap();
        assert_eq!((one.name.as_str(), one.asks, one.refused), ("fr", true, None));
    }

    #[test]
    fn what_is_not_there_is_an_error_with_its_path() {
        let scratch = Scratch::new("init-absent");
        assert!(profiles_of(&scratch.path().join("absent"), true).unwrap_err().to_string().contains("absent: "));
        assert_eq!(profiles_of(scratch.path(), true).unwrap_err().code(), 2);
        assert_eq!(profiles_of(scratch.path(), false), Ok(Vec::new()));
    }

    #[test]
    fn a_refused_profile_is_said_with_its_line() {
        let scratch = Scratch::new("init-refused");
        let file = scratch.file("x.ovpn", format!("{PROFILE}plugin x.so\n"), 0o600);
        let shown = shown(&file, &mut Vec::new()).unwrap();
        assert!(shown.refused.as_ref().unwrap().contains("line 10: `plugin`"), "{shown:?}");
    }

    #[test]
    fn paths_are_as_seen_from_here() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(relative(&here.join("p/uk.ovpn")), Path::new("p/uk.ovpn"));
        assert_eq!(relative(Path::new("./uk.ovpn")), Path::new("uk.ovpn"));
        assert_eq!(relative(Path::new("/elsewhere/uk.ovpn")), Path::new("/elsewhere/uk.ovpn"));
        assert_eq!(relative(Path::new("../uk.ovpn")), Path::new("../uk.ovpn"));
    }
}
