//! Several engines on one machine: an instance has a name, a directory for its socket and lock, and one engine
//! (contract.md section 1).

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::failure::Failure;

/// The name of an instance that nobody named.
const DEFAULT_NAME: &str = "default";

/// One instance.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    name: String,
    directory: PathBuf,
}

impl Instance {
    /// The instance to be started: the one named, else `default`.
    pub(crate) fn to_start(named: Option<&str>) -> Result<Self, Failure> {
        Self::named(named.unwrap_or(DEFAULT_NAME))
    }

    /// The instance to be talked to: the one named, else the only one that runs, else `default`.
    pub(crate) fn to_reach(named: Option<&str>) -> Result<Self, Failure> {
        if let Some(name) = named {
            return Self::named(name);
        }
        let mut running = running();
        match running.len() {
            0 => Self::named(DEFAULT_NAME),
            1 => Ok(running.remove(0)),
            _ => {
                let names: Vec<String> = running.into_iter().map(|instance| instance.name).collect();
                Err(Failure::usage(format!("several engines run: {}", names.join(", ")))
                    .hint("say which: `--instance NAME`"))
            }
        }
    }

    fn named(name: &str) -> Result<Self, Failure> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > 32 || !name.bytes().all(fits) {
            return Err(Failure::usage("an instance's name has 1 to 32 letters, digits, `-` or `_`"));
        }
        Ok(Self { name: name.to_owned(), directory: base().join(name) })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("control.sock")
    }

    /// Makes the directory and takes the lock: one engine an instance.
    pub(crate) fn lock(&self) -> Result<Lock, Failure> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o755);
        builder.create(&self.directory).map_err(|error| self.cannot("make", &self.directory, &error))?;
        let path = self.directory.join("lock");
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o644);
            let mut file = options.open(&path).map_err(|error| self.cannot("open", &path, &error))?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                return Err(self.taken(&mut file));
            }
            // Whoever held the lock before may have removed the file between our opening and locking it.
            if same_file(&file, &path) {
                return Lock::new(file, self.clone()).map_err(|error| self.cannot("write", &path, &error));
            }
        }
    }

    /// Whether an engine holds the lock.
    pub(crate) fn is_running(&self) -> bool {
        let Ok(file) = File::open(self.directory.join("lock")) else { return false };
        flock(&file, FlockOperation::NonBlockingLockShared).is_err()
    }

    fn taken(&self, file: &mut File) -> Failure {
        let mut holder = String::new();
        let _ = file.read_to_string(&mut holder);
        let holder: String = holder.chars().filter(char::is_ascii_digit).take(10).collect();
        Failure::failed(format!("instance {} is up already: process {holder} runs it", self.name))
            .hint("`mrvpn down` ends it; `--instance NAME` starts another beside it")
    }

    fn cannot(&self, what: &str, path: &Path, error: &std::io::Error) -> Failure {
        Failure::failed(format!("cannot {what} {}: {error}", path.display()))
            .hint("run it with sudo, or set XDG_RUNTIME_DIR to a directory of yours")
    }
}

/// The lock of a running engine. Dropped, it removes the files of the instance.
pub(crate) struct Lock {
    _file: File,
    instance: Instance,
}

impl Lock {
    fn new(mut file: File, instance: Instance) -> std::io::Result<Self> {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { _file: file, instance })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.instance.socket());
        let _ = fs::remove_file(self.instance.directory.join("lock"));
        let _ = fs::remove_dir(&self.instance.directory);
        let _ = fs::remove_dir(base());
    }
}

fn same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(there)) => held.ino() == there.ino() && held.dev() == there.dev(),
        _ => false,
    }
}

/// Every instance whose engine runs.
fn running() -> Vec<Instance> {
    let Ok(entries) = fs::read_dir(base()) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut instances: Vec<Instance> = names.filter_map(|name| Instance::named(&name).ok()).collect();
    instances.retain(Instance::is_running);
    instances.sort_by(|a, b| a.name.cmp(&b.name));
    instances
}

/// Where instances have their directories: `/run/mrvpn` for root, else below XDG_RUNTIME_DIR.
fn base() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/run/mrvpn");
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR")
        .map_or_else(|| PathBuf::from(format!("/run/user/{}", rustix::process::geteuid().as_raw())), PathBuf::from);
    runtime.join("mrvpn")
}
