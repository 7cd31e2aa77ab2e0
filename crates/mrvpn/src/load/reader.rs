//! The one way by which files are read. From the disk, with the rights of whoever runs this, and every outcome is written
//! down; or out of what was written down, as the engine does, which so never opens a path that a caller named (design.md,
//! decision 15). What a content means is not known here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mrvpn_profile::{Secret, limits};
use zeroize::Zeroizing;

/// Reads files.
pub(crate) trait Reader {
    /// The contents of a regular file of 1 MiB at most.
    fn read(&mut self, path: &Path) -> Outcome;
}

/// What came of reading.
pub(crate) type Outcome = Result<Contents, Unreadable>;

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Its bytes.
    pub(crate) bytes: Secret<Vec<u8>>,
    /// Whether its group or others may read it.
    pub(crate) open_to_others: bool,
}

/// Why there is no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// For the user.
    pub(crate) why: String,
    /// There is no such file.
    pub(crate) missing: bool,
}

/// What was read, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recorded(pub(crate) BTreeMap<PathBuf, Outcome>);

/// Reads from the disk, each file once, and writes the outcome down.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    seen: Recorded,
}

impl Disk {
    /// All that was read.
    pub(crate) fn into_recorded(self) -> Recorded {
        self.seen
    }
}

impl Reader for Disk {
    fn read(&mut self, path: &Path) -> Outcome {
        self.seen.0.entry(path.to_owned()).or_insert_with(|| from_disk(path)).clone()
    }
}

impl Reader for Recorded {
    fn read(&mut self, path: &Path) -> Outcome {
        let absent = || Unreadable { why: String::from("was not sent along"), missing: false };
        self.0.get(path).cloned().unwrap_or_else(|| Err(absent()))
    }
}

impl<R: Reader + ?Sized> Reader for &mut R {
    fn read(&mut self, path: &Path) -> Outcome {
        (**self).read(path)
    }
}

/// Opened once and judged by what was opened. Nothing waits: neither a FIFO nor a device holds the caller up.
fn from_disk(path: &Path) -> Outcome {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(Unreadable::because("is not a regular file"));
    }
    let limit = u64::try_from(limits::NAMED_FILE).unwrap_or(u64::MAX);
    if about.len() > limit {
        return Err(Unreadable::because("is larger than 1 MiB"));
    }
    // One byte more than there is: the buffer does not grow, so that no copy of a secret stays behind.
    let length = usize::try_from(about.len()).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.saturating_add(1)));
    file.take(limit).read_to_end(&mut bytes)?;
    let bytes = Secret::new(std::mem::take(&mut *bytes));
    Ok(Contents { bytes, open_to_others: about.permissions().mode() & 0o077 != 0 })
}

impl Unreadable {
    fn because(why: &str) -> Self {
        Self { why: why.to_owned(), missing: false }
    }
}

impl From<std::io::Error> for Unreadable {
    fn from(error: std::io::Error) -> Self {
        let missing = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
        Self { why: error.to_string(), missing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::scratch::Scratch;

    #[test]
    fn what_was_read_is_read_again_without_the_disk() {
        let scratch = Scratch::new("replay");
        let there = scratch.file("a", "content", 0o640);
        let absent = scratch.path().join("b");
        let mut disk = Disk::default();
        let outcomes = [disk.read(&there), disk.read(&absent), disk.read(scratch.path())];
        let mut recorded = disk.into_recorded();
        drop(scratch);
        assert_eq!([recorded.read(&there), recorded.read(&absent)], outcomes[..2]);
        assert!(outcomes[0].as_ref().is_ok_and(|contents| contents.open_to_others));
        assert!(outcomes[1].as_ref().is_err_and(|error| error.missing));
        assert_eq!(outcomes[2].as_ref().unwrap_err().why, "is not a regular file");
    }

    #[test]
    fn a_file_changes_nothing_once_it_was_read() {
        let scratch = Scratch::new("once");
        let path = scratch.file("a", "before", 0o600);
        let mut disk = Disk::default();
        let before = disk.read(&path);
        scratch.file("a", "after", 0o600);
        assert_eq!(disk.read(&path), before);
    }

    #[test]
    fn a_file_that_nobody_sent_is_not_looked_for() {
        let outcome = Recorded::default().read(Path::new("/etc/passwd"));
        assert_eq!(outcome.unwrap_err().why, "was not sent along");
    }

    #[test]
    fn one_mebibyte_is_read_and_a_byte_more_is_not() {
        let scratch = Scratch::new("large");
        let of = |length: usize| Disk::default().read(&scratch.file(&length.to_string(), "x".repeat(length), 0o600));
        let limit = limits::NAMED_FILE;
        assert!(of(limit - 1).is_ok() && of(limit).is_ok());
        assert_eq!(of(limit + 1).unwrap_err().why, "is larger than 1 MiB");
    }
}
