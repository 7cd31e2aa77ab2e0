//! The program under test, run in the client's namespace as a user would run it: `mrvpn up`, `status --json`, `down`,
//! signals. It is known by the contract of its command line alone; no crate of it is linked here.

mod again; // one instance over several runs
mod commands; // other commands, other users
mod detached; // an engine in the background

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    netns::Netns,
    probe::beside_the_tests,
    process::{Process, wait_until},
    scratch::{Scratch, unique_name},
    world::World,
};

pub use commands::{User, become_user, for_all};
pub use detached::Detached;

/// How long an engine may take to end after a signal or `down`: two seconds and the exit notices of all tunnels.
pub const END: Duration = Duration::from_secs(5);

/// One engine with an instance name of its own.
#[derive(Debug)]
pub struct Mrvpn {
    process: Process,
    instance: String,
    netns: String,
}

impl Mrvpn {
    /// Starts `mrvpn up ARGUMENTS` in the foreground and does not wait.
    ///
    /// # Panics
    /// When there is no such program.
    #[must_use]
    #[track_caller]
    pub fn start<S: AsRef<str>>(world: &World, arguments: &[S]) -> Self {
        Self::start_in(&world.client, arguments, &world.scratch)
    }

    /// As [`Self::start`], in a namespace of no world.
    #[must_use]
    #[track_caller]
    pub fn start_in<S: AsRef<str>>(netns: &Netns, arguments: &[S], scratch: &Scratch) -> Self {
        let instance = unique_name();
        let command = up(netns, &instance, arguments, scratch);
        let process = Process::start(&format!("mrvpn-{instance}"), command, scratch.path());
        Self { process, instance, netns: String::from(netns.name()) }
    }

    /// Starts it and waits until each tunnel is up.
    ///
    /// # Panics
    /// When one has failed or is not up within 10 s, with status and log.
    #[must_use]
    #[track_caller]
    pub fn up<S: AsRef<str>>(world: &World, arguments: &[S]) -> Self {
        let mut this = Self::start(world, arguments);
        this.wait(|status| tunnels(status).iter().all(|tunnel| tunnel["state"] == "up"));
        this
    }

    /// Waits up to 10 s until `status --json` shows what is asked for, and returns it.
    ///
    /// # Panics
    /// When it does not, or when the engine ends; with status and log.
    #[track_caller]
    pub fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(Duration::from_secs(10), wanted)
    }

    /// As [`Self::wait`], with another limit.
    #[track_caller]
    pub fn wait_for(&mut self, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.status();
            if !tunnels(&status).is_empty() && wanted(&status) {
                return status;
            }
            assert!(self.process.is_running(), "the engine has ended\n{}", self.process.log());
            assert!(Instant::now() < deadline, "not within {limit:?}: {status:#}\n{}", self.process.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until one tunnel has a state, and returns the tunnel.
    #[track_caller]
    pub fn wait_tunnel(&mut self, name: &str, state: &str, limit: Duration) -> Value {
        let status = self.wait_for(limit, |status| tunnel(status, name)["state"] == state);
        tunnel(&status, name)
    }

    /// Waits until one tunnel has an error, and returns the tunnel.
    #[track_caller]
    pub fn wait_error(&mut self, name: &str, limit: Duration) -> Value {
        let status = self.wait_for(limit, |status| !tunnel(status, name)["error"].is_null());
        tunnel(&status, name)
    }

    /// The answer of `status --json`; `null` when it is no JSON.
    #[must_use]
    pub fn status(&self) -> Value {
        serde_json::from_slice(&self.run(&["status", "--json"]).stdout).unwrap_or_default()
    }

    /// Runs another command of the program against this engine.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.netns]).arg(program()).args(["--instance", &self.instance]);
        command.args(arguments).output().unwrap_or_else(|error| panic!("cannot start mrvpn: {error}"))
    }

    /// `mrvpn down`, and the engine's end.
    ///
    /// # Panics
    /// When either fails.
    #[track_caller]
    pub fn down(mut self) {
        let output = self.run(&["down"]);
        assert!(output.status.success(), "down: {output:?}\n{}", self.process.log());
        let status = self.process.wait_end(END);
        assert!(status.success(), "the engine ended with {status}\n{}", self.process.log());
    }

    /// Sends a signal and waits for the engine's end.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn end_by(mut self, signal: Signal) {
        self.process.signal(signal);
        let _ = self.process.wait_end(END);
    }

    /// Kills the engine without a chance to clean up; what it left is still this instance's.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Waits until the engine ends by itself; its exit code.
    #[track_caller]
    pub fn wait_end(&mut self, limit: Duration) -> Option<i32> {
        self.process.wait_end(limit).code()
    }

    /// The local port of the outer socket towards a server, as the kernel names it.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[track_caller]
    pub fn outer_port(&self, world: &World, remote: &str) -> u16 {
        wait_until("an outer socket", Duration::from_secs(2), || {
            let text = world.client.run("ss", &["-Hntu", "dst", remote]);
            text.split_whitespace().nth(4)?.rsplit_once(':')?.1.parse().ok()
        })
    }

    /// The engine's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// All that it printed.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl Drop for Mrvpn {
    fn drop(&mut self) {
        self.process.kill();
        for place in ["/run/mrvpn", "/var/lib/mrvpn"] {
            // Where the engine cleaned up by itself there is nothing to remove.
            let _ = fs::remove_dir_all(Path::new(place).join(&self.instance));
        }
    }
}

/// The tunnels of a status.
#[must_use]
pub fn tunnels(status: &Value) -> Vec<Value> {
    status["tunnels"].as_array().cloned().unwrap_or_default()
}

/// One tunnel of a status by its name; `null` when there is none.
#[must_use]
pub fn tunnel(status: &Value, name: &str) -> Value {
    tunnels(status).into_iter().find(|tunnel| tunnel["name"] == name).unwrap_or_default()
}

/// `mrvpn up ARGUMENTS` in a namespace, with signals as on a terminal: who runs the tests may have them ignored (`nohup`),
/// and the program leaves them so.
fn up<S: AsRef<str>>(netns: &Netns, instance: &str, arguments: &[S], scratch: &Scratch) -> Command {
    let mut command = netns.command("env");
    command.args(["--default-signal=HUP,INT,TERM"]).arg(program());
    command.args(["--instance", instance, "up"]).args(arguments.iter().map(AsRef::as_ref));
    command.envs([("RUST_BACKTRACE", "1"), ("MRVPN_LOG", "trace")]).current_dir(scratch.path());
    command
}

/// The program: `MRVPN_BIN`, else the one that cargo built beside the tests.
///
/// # Panics
/// When there is neither.
#[must_use]
#[track_caller]
pub fn program() -> PathBuf {
    env::var_os("MRVPN_BIN").map(PathBuf::from).or_else(|| beside_the_tests("mrvpn")).unwrap_or_else(|| {
        panic!("the program under test is not built: run `cargo xtask test`, or set MRVPN_BIN to its path")
    })
}
