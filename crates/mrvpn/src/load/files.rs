//! What a profile names (`ca`, `key`, `auth-user-pass FILE`). A file that is not where the profile says is looked for
//! beside the profile by its base name. How a file is read is `reader.rs`.

use std::path::{Path, PathBuf};

use mrvpn_profile::Secret;
use mrvpn_profile::ovpn::{FileWanted, Files};

use super::reader::{Contents, Disk, Outcome, Reader};

/// The files that one profile names.
pub(crate) struct ProfileFiles<R> {
    reader: R,
    directory: PathBuf,
    profile: String,
    notes: Vec<String>,
    open_credentials: Option<PathBuf>,
}

impl ProfileFiles<Disk> {
    /// For a profile on the disk: paths are relative to it.
    pub(crate) fn beside(profile: &Path) -> Self {
        Self::through(profile, Disk::default())
    }
}

impl<R: Reader> ProfileFiles<R> {
    /// For a profile whose files are read by `reader`.
    pub(crate) fn through(profile: &Path, reader: R) -> Self {
        let directory = profile.parent().unwrap_or_else(|| Path::new(".")).to_owned();
        let profile = profile.display().to_string();
        Self { reader, directory, profile, notes: Vec::new(), open_credentials: None }
    }

    /// A file of user and password that others can read, if there was one: it is not used.
    pub(crate) fn open_credentials(&self) -> Option<&Path> {
        self.open_credentials.as_deref()
    }

    /// What the user should know.
    pub(crate) fn notes(self) -> Vec<String> {
        self.notes
    }

    /// The file named, else that of the same base name beside the profile.
    fn find(&mut self, wanted: &FileWanted) -> (PathBuf, Outcome) {
        let named = self.directory.join(&wanted.path);
        let outcome = self.reader.read(&named);
        let missing = outcome.as_ref().is_err_and(|error| error.missing);
        let Some(base) = Path::new(&wanted.path).file_name().filter(|_| missing) else { return (named, outcome) };
        let beside = self.directory.join(base);
        if beside == named {
            return (named, outcome);
        }
        let Ok(contents) = self.reader.read(&beside) else { return (named, outcome) };
        self.notes.push(format!(
            "{}:{}: `{}` is not there; {} beside the profile is used",
            self.profile,
            wanted.line,
            named.display(),
            beside.display()
        ));
        (beside, Ok(contents))
    }
}

impl<R: Reader> Files for ProfileFiles<R> {
    fn read(&mut self, wanted: &FileWanted) -> Result<Secret<Vec<u8>>, String> {
        let (path, outcome) = self.find(wanted);
        let Contents { bytes, open_to_others } = outcome.map_err(|error| error.why)?;
        if open_to_others && wanted.directive == "auth-user-pass" {
            let why = format!("others can read it: chmod 600 {}", path.display());
            self.open_credentials = Some(path);
            return Err(why);
        }
        Ok(bytes)
    }
}

/// The bytes of a regular file of 1 MiB at most, from the disk.
pub(crate) fn read_regular(path: &Path) -> Result<Secret<Vec<u8>>, String> {
    Disk::default().read(path).map(|contents| contents.bytes).map_err(|error| error.why)
}

/// Whether a private key or a password stands in a profile itself.
pub(crate) fn holds_a_secret(text: &[u8]) -> bool {
    SECRETS.iter().any(|mark| text.windows(mark.len()).any(|window| window == *mark))
}

const SECRETS: [&[u8]; 2] = [b"PRIVATE KEY-----", b"<auth-user-pass>"];
