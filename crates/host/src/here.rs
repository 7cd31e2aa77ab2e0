//! Which boot and which network namespace this thread is in: what is written down in one of them says nothing in
//! another. Also the lock by which engines of one namespace choose their places one after another.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mrvpn_netplan::HostError;
use rustix::fs::{FlockOperation, flock};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

use crate::linux::failed;
use crate::sys;

/// A boot and a network namespace of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Here {
    /// The kernel's own name of this boot.
    pub(crate) boot: String,
    /// Number of the namespace: its cookie, which no other has had since boot. On a kernel without cookies (before 5.14) the
    /// inode of `/proc/thread-self/ns/net`, which a later namespace may have again.
    pub(crate) namespace: u64,
}

impl Here {
    /// That of this thread.
    pub(crate) fn now() -> io::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let namespace = match cookie() {
            Ok(number) => number,
            Err(_) => fs::metadata("/proc/thread-self/ns/net")?.ino(),
        };
        Ok(Self { boot: String::from(boot.trim()), namespace })
    }

    /// A file of this namespace in a directory that engines share. Its name has a dot, which no instance's has.
    pub(crate) fn file(&self, shared: &Path, what: &str) -> PathBuf {
        shared.join(format!("netns-{}.{what}", self.namespace))
    }
}

fn cookie() -> io::Result<u64> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sys::namespace_number(socket.as_fd())
}

/// Held while an engine chooses its place. Dropped, the next one may.
#[derive(Debug)]
pub struct NamespaceLock {
    file: Locked,
}

/// Waits until no other engine of this thread's network namespace chooses its place. `shared` is the directory that they
/// have in common; it is made where it is missing. Hold it until the engine's journal is there
/// ([`crate::LinuxHost::with_journal`]).
///
/// # Errors
/// The directory or the file cannot be made.
pub fn lock_namespace(shared: &Path) -> Result<NamespaceLock, HostError> {
    let locked = Here::now().and_then(|here| Locked::open(&here.file(shared, "lock")));
    let what = || format!("locking the network namespace in {}", shared.display());
    locked.map(|file| NamespaceLock { file }).map_err(|error| failed(what(), error))
}

/// A file that nobody else has open this way.
#[derive(Debug)]
pub(crate) struct Locked {
    pub(crate) file: File,
    path: PathBuf,
}

impl Locked {
    /// Opens and locks it; it is made where it is missing, as is its directory.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
        }
        loop {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            // Whoever held the lock before may have removed the file between our opening and locking it.
            if is_at(&file, path) {
                return Ok(Self { file, path: path.to_owned() });
            }
        }
    }

    /// Removes the file; whoever waits for it makes another.
    pub(crate) fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

impl Drop for NamespaceLock {
    fn drop(&mut self) {
        // It holds nothing; where it cannot be removed it stays, empty.
        let _ = self.file.remove();
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn engines_of_one_namespace_choose_one_after_another() {
        let scratch = Scratch::new("lock");
        let first = lock_namespace(scratch.path()).unwrap();
        let chosen = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                let lock = lock_namespace(scratch.path()).unwrap();
                assert!(chosen.load(Ordering::SeqCst));
                drop(lock);
            });
            std::thread::sleep(Duration::from_millis(20));
            chosen.store(true, Ordering::SeqCst);
            drop(first);
            second.join().unwrap();
        });
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
