//! `mrvpn up`: reads what it is told to bring up with its caller's rights, asks for what is missing, and runs the engine:
//! in this process until a signal or `mrvpn down`, or in one of its own (`--detach`). `--dry-run` only says what would be
//! done. The engine's process is `engine.rs`.

mod descriptors; // what is not inherited
mod detach; // the engine in a process of its own
mod dry_run; // what would be done
pub(super) mod place; // which place of the network namespace is this engine's
pub(super) mod report; // what is told, here or by the pipe of who has started it
pub(super) mod signals; // Ctrl-C, SIGTERM, a closed terminal
pub(super) mod watcher; // follows the engine until it is ready, and then on

use std::io::Write;
use std::time::Duration;

use super::UpArguments;
use super::engine::{self, Order};
use crate::bundle::Bundle;
use crate::failure::Failure;
use crate::hardening;
use crate::instance::Instance;
use crate::load::{self, arguments::Arguments};
use crate::log_ring::LogRing;
use crate::running::Now;
use report::Reporter;
use signals::Attended;

pub(super) fn run(arguments: &UpArguments, named: Option<&str>) -> Result<u8, Failure> {
    hardening::keep_secrets();
    let log = LogRing::begin();
    let instance = Instance::to_start(named)?;
    let source = Arguments::of(arguments.config.as_deref(), &arguments.profiles, arguments.credentials.as_deref())?;
    let gathered = load::gather(source)?;
    tell_notes(&gathered.loaded.notes);
    instance.must_be_free()?;
    if arguments.dry_run {
        return dry_run::run(&instance, gathered.loaded.config);
    }
    place::must_be_permitted()?;
    let (loaded, bundle) = gathered.ask(&[])?;
    let wait = Duration::from_secs(arguments.wait);
    if arguments.detach {
        return detach::run(&instance, &bundle, arguments.wait);
    }
    let Bundle { arguments, files, answers } = bundle;
    // What was read has become the configuration; keys as they stood in files are zeroed now.
    drop(files);
    let now = Now::new(instance.name(), arguments, loaded, answers);
    engine::run(&instance, Order { now, wait, log, attended: Attended::Yes }, Reporter::here())
}

/// What the user should know about the files.
pub(super) fn tell_notes(notes: &[String]) {
    for note in notes {
        let _ = writeln!(std::io::stderr(), "warning: {note}");
    }
}
