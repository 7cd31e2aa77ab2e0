//! Each judgement as it is printed, for people and as JSON, against `expected/`. With `MRVPN_WRITE_EXPECTED=1` the files
//! there are written anew: read what changed as the user who gets it would.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::expected::compare;
use crate::program::{Said, check};
use crate::scratch::Scratch;

#[test]
fn profiles_in_the_shapes_that_are_found_in_the_wild_are_judged_as_expected() {
    let scratch = Scratch::new("shapes");
    let mut names = Vec::new();
    for entry in fs::read_dir(here("profiles")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        scratch.file(&name, fs::read(&path).unwrap(), 0o600);
        names.push(name);
    }
    names.retain(|name| name.ends_with(".ovpn") || name.ends_with(".toml"));
    names.sort();
    let mut expected = BTreeSet::new();
    let mut differences = Vec::new();
    for name in &names {
        let text = check(scratch.path(), &[name]);
        let json = check(scratch.path(), &["--json", name]);
        assert_eq!((text.code, text.err.as_str()), (json.code, json.err.as_str()), "{name}");
        for (form, got) in [("txt", as_text(&text)), ("json", as_json(&json))] {
            let file = format!("{name}.{form}");
            differences.extend(compare(&here("expected").join(&file), &got));
            expected.insert(file);
        }
    }
    let stale = fs::read_dir(here("expected")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let stale: Vec<String> = stale.filter(|name| !expected.contains(name)).collect();
    assert!(stale.is_empty(), "no profile belongs to {stale:?}");
    assert!(differences.is_empty(), "{}\n(MRVPN_WRITE_EXPECTED=1 writes them anew)", differences.join("\n"));
}

#[test]
fn several_files_have_one_array_and_one_summary_and_the_worst_decides() {
    let scratch = Scratch::new("several");
    scratch.file("good.ovpn", crate::program::profile(""), 0o600);
    scratch.file("bad.ovpn", crate::program::profile("plugin x\n"), 0o600);
    let both = check(scratch.path(), &["good.ovpn", "bad.ovpn"]);
    assert_eq!(both.code, 1);
    assert!(both.out.ends_with("\n\n2 files: 1 accepted, 1 refused\n"), "{}", both.out);
    let json = check(scratch.path(), &["--json", "good.ovpn", "bad.ovpn"]).json();
    let accepted: Vec<bool> = json.as_array().unwrap().iter().map(|file| file["accepted"].as_bool().unwrap()).collect();
    assert_eq!(accepted, [true, false]);
    assert_eq!(check(scratch.path(), &["good.ovpn"]).code, 0);
    assert_eq!(check(scratch.path(), &["absent.ovpn"]).code, 1);
    assert_eq!(check(scratch.path(), &[]).code, 2, "wrong usage");
}

fn as_text(said: &Said) -> String {
    format!("{}exit {}\n", said.out, said.code)
}

/// An entry a line would be hard to read in a review.
fn as_json(said: &Said) -> String {
    format!("{}\n", serde_json::to_string_pretty(&said.json()).expect("a value is JSON"))
}

fn here(directory: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check").join(directory)
}
