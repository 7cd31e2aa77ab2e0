//! Other commands against an instance than those that [`super::Mrvpn`] needs itself: not waited for, in another namespace,
//! as another user.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rustix::process::Signal;

use crate::{
    netns::Netns,
    process::Process,
    scratch::{Scratch, unique_name},
    world::World,
};

use super::{Mrvpn, program};

/// A user without a name and rights of its own, with groups.
#[derive(Clone, Copy, Debug)]
pub struct User<'a> {
    /// Its number, that of its first group too.
    pub uid: u32,
    /// Further groups.
    pub groups: &'a [u32],
}

impl Mrvpn {
    /// Starts `mrvpn up ARGUMENTS` as root, as a user who types `sudo` does.
    ///
    /// # Panics
    /// When there is no such program.
    #[must_use]
    #[track_caller]
    pub fn start_by_sudo<S: AsRef<str>>(world: &World, arguments: &[S], uid: u32) -> Self {
        let instance = unique_name();
        let words: Vec<&str> = ["up"].into_iter().chain(arguments.iter().map(AsRef::as_ref)).collect();
        let mut command = command_in(world.client.name(), &instance, &words);
        command.env("SUDO_UID", uid.to_string()).current_dir(world.scratch.path());
        let process = Process::start(&format!("mrvpn-{instance}"), command, world.scratch.path());
        Self { process, instance, netns: String::from(world.client.name()) }
    }

    /// The name of the instance.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// A command of the program against this instance, not started yet.
    #[must_use]
    #[track_caller]
    pub fn command(&self, arguments: &[&str]) -> Command {
        command_in(&self.netns, &self.instance, arguments)
    }

    /// Runs a command against this instance from another namespace.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    #[track_caller]
    pub fn run_in(&self, netns: &Netns, arguments: &[&str]) -> Output {
        let mut command = command_in(netns.name(), &self.instance, arguments);
        command.output().unwrap_or_else(|error| panic!("cannot start mrvpn: {error}"))
    }

    /// Runs a command as another user.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    #[track_caller]
    pub fn run_as(&self, user: User<'_>, arguments: &[&str], scratch: &Scratch) -> Output {
        let program = for_all(&program(), scratch);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.netns]).args(become_user(user)).arg(program);
        command.args(["--instance", &self.instance]).args(arguments);
        command.output().unwrap_or_else(|error| panic!("cannot start mrvpn: {error}"))
    }

    /// Sends a signal to the engine.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Whether the engine still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }
}

/// The words that make a command another user's.
#[must_use]
pub fn become_user(user: User<'_>) -> Vec<String> {
    let uid = user.uid.to_string();
    let groups = user.groups.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let groups = if groups.is_empty() { String::from("--clear-groups") } else { format!("--groups={groups}") };
    let words = ["setpriv", "--reuid", &uid, "--regid", &uid, &groups, "--inh-caps=-all", "--bounding-set=-all"];
    words.map(String::from).into()
}

#[track_caller]
pub(super) fn command_in(netns: &str, instance: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", netns]).arg(program()).args(["--instance", instance]).args(arguments);
    command
}

/// A copy of a program that every user may start, wherever it was built.
///
/// # Panics
/// When it cannot be made.
#[must_use]
#[track_caller]
pub fn for_all(program: &Path, scratch: &Scratch) -> PathBuf {
    let path = scratch.path().join(format!("{}-for-all", program.file_name().unwrap_or_default().display()));
    if !path.exists() {
        let copied = fs::copy(program, &path).map(drop);
        let allowed = copied.and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)));
        allowed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    path
}
