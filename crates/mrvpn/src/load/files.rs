//! What a profile names (`ca`, `key`, `auth-user-pass FILE`): read once, with the caller's own rights, regular files of
//! 1 MiB at most. A file that is not where the profile says is looked for beside the profile by its base name.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mrvpn_profile::Secret;
use mrvpn_profile::ovpn::{FileWanted, Files};

/// 1 MiB: no file that a profile names is larger.
const LIMIT: u64 = 1024 * 1024;

/// The files that one profile names.
pub(crate) struct ProfileFiles {
    directory: PathBuf,
    profile: String,
    notes: Vec<String>,
}

impl ProfileFiles {
    /// For a profile: paths are relative to it.
    pub(crate) fn beside(profile: &Path) -> Self {
        let directory = profile.parent().unwrap_or_else(|| Path::new(".")).to_owned();
        Self { directory, profile: profile.display().to_string(), notes: Vec::new() }
    }

    /// What the user should know.
    pub(crate) fn notes(self) -> Vec<String> {
        self.notes
    }
}

impl Files for ProfileFiles {
    fn read(&mut self, wanted: &FileWanted) -> Result<Secret<Vec<u8>>, String> {
        let named = self.directory.join(&wanted.path);
        let error = match read_regular(&named) {
            Ok(bytes) => return Ok(bytes),
            Err(error) => error,
        };
        let Some(base) = Path::new(&wanted.path).file_name() else { return Err(error) };
        let beside = self.directory.join(base);
        if beside == named || named.exists() {
            return Err(error);
        }
        let bytes = read_regular(&beside).map_err(|_| error)?;
        self.notes.push(format!(
            "{}:{}: `{}` is not there; {} beside the profile is used",
            self.profile,
            wanted.line,
            named.display(),
            beside.display()
        ));
        Ok(bytes)
    }
}

/// The bytes of a regular file; opened once and judged by what was opened.
pub(crate) fn read_regular(path: &Path) -> Result<Secret<Vec<u8>>, String> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let mut options = File::options();
    let mut file = options.read(true).custom_flags(flags).open(path).map_err(|error| error.to_string())?;
    let about = file.metadata().map_err(|error| error.to_string())?;
    if !about.is_file() {
        return Err("is not a regular file".to_owned());
    }
    if about.len() > LIMIT {
        return Err("is larger than 1 MiB".to_owned());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0));
    file.by_ref().take(LIMIT).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(Secret::new(bytes))
}
