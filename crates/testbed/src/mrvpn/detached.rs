//! An engine that `mrvpn up --detach` has left running: it is nobody's child here and is known by its instance alone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{process::wait_until, scratch::unique_name, world::World};

use super::{END, commands::command_in};

/// One instance whose engine runs in the background, or not.
#[derive(Debug)]
pub struct Detached {
    instance: String,
    netns: String,
    directory: PathBuf,
}

impl Detached {
    /// An instance of its own in a world's client; nothing is started.
    #[must_use]
    pub fn new(world: &World) -> Self {
        let netns = String::from(world.client.name());
        Self { instance: unique_name(), netns, directory: world.scratch.path().to_path_buf() }
    }

    /// Its name.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// A command of the program against this instance, not started yet.
    #[must_use]
    #[track_caller]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command_in(&self.netns, &self.instance, arguments);
        command.current_dir(&self.directory).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end: its output ends with it, so that what it leaves behind must not hold that open.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap_or_else(|error| panic!("cannot start mrvpn: {error}"))
    }

    /// `mrvpn up --detach ARGUMENTS`.
    #[must_use]
    #[track_caller]
    pub fn up<S: AsRef<str>>(&self, arguments: &[S]) -> Output {
        let words: Vec<&str> = ["up", "--detach"].into_iter().chain(arguments.iter().map(AsRef::as_ref)).collect();
        self.run(&words)
    }

    /// The answer of `status --json`; `null` when it is no JSON.
    #[must_use]
    pub fn status(&self) -> Value {
        serde_json::from_slice(&self.run(&["status", "--json"]).stdout).unwrap_or_default()
    }

    /// The engine's process, as its lock names it.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        fs::read_to_string(Path::new("/run/mrvpn").join(&self.instance).join("lock")).ok()?.trim().parse().ok()
    }

    /// Whether the engine runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.pid().is_some_and(is_alive)
    }

    /// Sends the engine a signal and waits for its end; how long it took.
    ///
    /// # Panics
    /// When there is none, or it does not end.
    #[track_caller]
    pub fn end_by(&self, signal: Signal) -> Duration {
        let pid = self.pid().unwrap_or_else(|| panic!("no engine of {} runs", self.instance));
        let begun = std::time::Instant::now();
        send(pid, signal);
        wait_until("the engine's end", END, || (!is_alive(pid)).then_some(()));
        begun.elapsed()
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            send(pid, Signal::KILL);
        }
        for place in ["/run/mrvpn", "/var/lib/mrvpn"] {
            // Where the engine cleaned up by itself there is nothing to remove.
            let _ = fs::remove_dir_all(Path::new(place).join(&self.instance));
        }
    }
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended just now.
        let _ = kill_process(pid, signal);
    }
}

/// A process that has ended and that its parent has not asked for yet (`Z`) does not live.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}
