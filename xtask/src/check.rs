//! All that is judged without running the program: what a reviewer should not have to look for.

use std::process::Command;

use crate::{
    error_codes, hashes, layers,
    sources::{self, root},
    step::{Reasons, report},
    threats,
};

/// Runs every step, also after one has failed; whether all passed.
pub(crate) fn run() -> bool {
    let clippy = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    let doc = ["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"];
    let steps = [
        report("fmt", || cargo(&["fmt", "--all", "--check"])),
        report("layers", layers::check),
        report("threat rows", threats::check),
        report("error codes", error_codes::check),
        report("processes", no_processes),
        report("hashes", hashes::check),
        report("clippy", || cargo(&clippy)),
        report("doc", || cargo(&doc)),
        report("deny", deny),
    ];
    steps.iter().all(|passed| *passed)
}

fn cargo(arguments: &[&str]) -> Result<String, Reasons> {
    let output = Command::new("cargo")
        .args(arguments)
        .env("RUSTDOCFLAGS", "-D warnings")
        .current_dir(root())
        .output()
        .map_err(|error| vec![format!("cannot start cargo: {error}")])?;
    if output.status.success() {
        return Ok(String::new());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(String::from_utf8_lossy(&text).lines().map(String::from).collect())
}

/// `cargo deny`, where it is installed. Advisories need a database of the network and are asked for by hand.
fn deny() -> Result<String, Reasons> {
    if Command::new("cargo").args(["deny", "--version"]).output().is_ok_and(|output| output.status.success()) {
        return cargo(&["deny", "--log-level", "error", "check", "bans", "licenses", "sources"]);
    }
    Ok(String::from("NOT RUN: cargo-deny is not installed (cargo install --locked cargo-deny)"))
}

/// Where a program may be started: by the command line for its user, and by tests.
const MAY_START_PROGRAMS: [&str; 4] =
    ["crates/mrvpn/src/cli/", "crates/mrvpn/src/cli.rs", "crates/mrvpn/tests/", "crates/testbed/"];

/// What starts programs or ends this one without cleaning up.
const STARTS_PROGRAMS: [&str; 5] =
    ["process::Command", "process::Child", "process::Stdio", "std::process::{", "process::exit("];

/// The engine's process starts nothing: no profile and no server can have anything executed.
fn no_processes() -> Result<String, Reasons> {
    let mut reasons = Vec::new();
    for (file, text) in sources::crates() {
        if MAY_START_PROGRAMS.iter().any(|place| file.starts_with(place)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            if STARTS_PROGRAMS.iter().any(|word| line.contains(word)) {
                reasons.push(format!("{file}:{}: only crates/mrvpn/src/cli may start programs", number + 1));
            }
        }
    }
    if reasons.is_empty() {
        Ok(String::from("only crates/mrvpn/src/cli and tests start programs"))
    } else {
        Err(reasons)
    }
}
