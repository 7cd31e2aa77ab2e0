//! A directory of a test's own under the temporary directory, gone when the test ends.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Distinguishes the directories and namespaces of one test process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A name that no other running test has: `mt`, the process id, and a letter-number of its own.
#[must_use]
pub fn unique_name() -> String {
    format!("mt{}x{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A directory that is removed on drop. With `MRVPN_TESTBED_KEEP` set it stays, for looking at logs.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the directory `NAME` under the temporary directory.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let path = env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that only its owner may read and returns its path.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path.join(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&path, mode).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if env::var_os("MRVPN_TESTBED_KEEP").is_none() {
            // A leftover in the temporary directory is not worth a failed test.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
