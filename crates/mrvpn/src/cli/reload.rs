//! `mrvpn reload`: reads again what the engine was started with, as the caller, and hands it over. A broken file changes
//! nothing. `--dry-run` says what would change, with every step on the host. What changes is the engine's to say.

use super::up::tell_notes;
use super::{answer, tunnel};
use crate::control::client::unexpected;
use crate::control::{ReloadedShown, Request, Response};
use crate::failure::Failure;
use crate::hardening;
use crate::instance::Instance;
use crate::load::{self, arguments::Arguments};

pub(super) fn run(dry_run: bool, named: Option<&str>) -> Result<u8, Failure> {
    hardening::keep_secrets();
    let instance = Instance::to_reach(named)?;
    let Response::Source { source } = tunnel::ask(&instance, &Request::Source, &[])? else { return Err(unexpected()) };
    let answered = source.answered.clone();
    let gathered = load::gather(Arguments::again(source))?;
    tell_notes(&gathered.loaded.notes);
    let (_, bundle) = gathered.ask(&answered)?;
    let bytes = bundle.encode()?;
    let request = Request::Reload { bundle: bytes.len(), dry_run };
    let Response::Reloaded { reloaded } = tunnel::ask(&instance, &request, &bytes)? else { return Err(unexpected()) };
    tell_notes(&reloaded.notes);
    answer(&text(&reloaded, dry_run));
    Ok(0)
}

/// What has changed, or would change, in a few lines.
fn text(reloaded: &ReloadedShown, dry_run: bool) -> String {
    let named = [
        ("added", &reloaded.added),
        ("removed", &reloaded.removed),
        ("connects again", &reloaded.restarted),
        ("changed, its session stays", &reloaded.changed),
    ];
    let of_tunnels = named.iter().filter(|(_, names)| !names.is_empty());
    let mut lines: Vec<String> = of_tunnels.map(|(what, names)| format!("{what}: {}", names.join(", "))).collect();
    lines.extend(reloaded.rules.then(|| String::from("the rules are others")));
    if dry_run {
        lines.extend(reloaded.steps.iter().cloned());
    }
    match (lines.is_empty(), dry_run) {
        (true, true) => String::from("nothing would change"),
        (true, false) => String::from("nothing has changed"),
        (false, _) => lines.join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_says_what_changed_and_steps_only_where_they_are_asked_for() {
        let reloaded = ReloadedShown {
            added: vec![String::from("de")],
            restarted: vec![String::from("uk"), String::from("fr")],
            rules: true,
            steps: vec![String::from("add route")],
            ..ReloadedShown::default()
        };
        assert_eq!(text(&reloaded, false), "added: de\nconnects again: uk, fr\nthe rules are others");
        assert!(text(&reloaded, true).ends_with("\nadd route"));
        assert_eq!(text(&ReloadedShown::default(), false), "nothing has changed");
        assert_eq!(text(&ReloadedShown::default(), true), "nothing would change");
    }
}
