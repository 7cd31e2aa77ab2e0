//! A network namespace of a test: made empty, filled by `ip -batch`, and gone with all that runs in it when it is dropped,
//! a panic included. Nothing of the host's own network is touched: links are made inside, from one namespace to another.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::command::{run, try_run};

/// One network namespace, named for `ip netns`.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes an empty namespace with `lo` up, no IPv6 duplicate detection (addresses are usable at once) and no other
    /// setting changed. Namespaces that a killed test run left behind are removed first.
    ///
    /// # Panics
    /// When it may not be made: kernel tests need root.
    #[must_use]
    #[track_caller]
    pub fn new(name: &str) -> Self {
        sweep();
        run("ip", &["netns", "add", name]);
        let this = Self { name: String::from(name) };
        this.sysctl("net.ipv6.conf.all.accept_dad", "0");
        this.sysctl("net.ipv6.conf.default.accept_dad", "0");
        this.run("ip", &["link", "set", "lo", "up"]);
        this
    }

    /// Its name for `ip netns`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside. `/etc` holds the files that [`Self::etc`] wrote.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program.as_ref());
        command
    }

    /// Runs a program inside to its end.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        run("ip", &[&["netns", "exec", &self.name, program], arguments].concat())
    }

    /// Runs a program inside to its end.
    ///
    /// # Errors
    /// What it said, when it fails.
    pub fn try_run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        try_run("ip", &[&["netns", "exec", &self.name, program], arguments].concat())
    }

    /// Carries out lines of `ip` commands (without the word `ip`).
    ///
    /// # Panics
    /// At the first that fails.
    #[track_caller]
    pub fn ip(&self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            run("ip", &[&["-n", &self.name], words.as_slice()].concat());
        }
    }

    /// Makes a pair of joined interfaces, one here, one in `other`, both up.
    #[track_caller]
    pub fn link(&self, here: &str, other: &Self, there: &str) {
        self.ip(&format!("link add {here} type veth peer name {there} netns {}\nlink set {here} up", other.name));
        other.ip(&format!("link set {there} up"));
    }

    /// Sets a kernel setting inside.
    #[track_caller]
    pub fn sysctl(&self, key: &str, value: &str) {
        self.run("sysctl", &["-q", "-w", &format!("{key}={value}")]);
    }

    /// Loads an nftables file inside.
    ///
    /// # Panics
    /// When nft refuses it.
    #[track_caller]
    pub fn nft(&self, rules: &Path) {
        self.run("nft", &["-f", &rules.display().to_string()]);
    }

    /// Writes a file that programs inside see as `/etc/NAME` (a bind mount of `ip netns exec`).
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn etc(&self, file: &str, text: &str) {
        let directory = etc_directory(&self.name);
        fs::create_dir_all(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let path = directory.join(file);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// What programs inside see as `/etc/NAME`, as it stands on disk.
    #[must_use]
    pub fn etc_text(&self, file: &str) -> String {
        fs::read_to_string(etc_directory(&self.name).join(file)).unwrap_or_default()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

fn etc_directory(name: &str) -> PathBuf {
    Path::new("/etc/netns").join(name)
}

/// Ends what runs inside and deletes the namespace. Errors are left: there is nobody to mend them at that moment.
fn remove(name: &str) {
    let pids = try_run("ip", &["netns", "pids", name]).unwrap_or_default();
    for pid in pids.lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?)) {
        let _ = kill_process(pid, Signal::KILL);
    }
    let _ = try_run("ip", &["netns", "del", name]);
    let _ = fs::remove_dir_all(etc_directory(name));
}

/// Removes the namespaces of test processes that no longer run.
fn sweep() {
    let names = try_run("ip", &["netns", "list"]).unwrap_or_default();
    for name in names.lines().filter_map(|line| line.split_whitespace().next()) {
        if owner(name).is_some_and(|pid| pid != process::id() && !Path::new(&format!("/proc/{pid}")).exists()) {
            remove(name);
        }
    }
}

/// The process that made a namespace of ours: `mt1234x0-uk` is 1234's.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix("mt")?.split_once('x')?.0.parse().ok()
}
