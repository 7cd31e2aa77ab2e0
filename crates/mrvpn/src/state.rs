//! The state directory of an instance: what outlasts its engines and boots. One file, `memory.json`, written whole or not
//! at all, for its owner alone. A file that cannot be read is a warning and counts as empty: no engine stays down for it.
//! What is remembered, and why, is the engine's ([`mrvpn_engine::Memory`]).

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mrvpn_engine::memory::MEMORY_VERSION;
use mrvpn_engine::{Memory, Store};

/// 256 MiB: a thousand tunnels with 4,096 claims each, at some 50 bytes a claim. A longer file is not read.
const LIMIT: u64 = 256 * 1024 * 1024;

/// The state directory of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateDirectory(PathBuf);

impl StateDirectory {
    /// `/var/lib/mrvpn/NAME` for root, else below XDG_STATE_HOME. It is made when something is to be kept.
    pub(crate) fn of(instance: &str) -> Self {
        Self(base().join(instance))
    }

    /// What the last engine remembered; with a sentence for the user where that cannot be read.
    pub(crate) fn recall(&self) -> (Memory, Option<String>) {
        match read(&self.file()) {
            Ok(memory) => (memory.unwrap_or_default(), None),
            Err(why) => {
                let file = self.file().display().to_string();
                let warning =
                    format!("{file}: {why}: what servers claimed before is not known until their tunnels are up again");
                (Memory::default(), Some(warning))
            }
        }
    }

    fn file(&self) -> PathBuf {
        self.0.join("memory.json")
    }
}

impl Store for StateDirectory {
    fn save(&mut self, memory: &Memory) -> io::Result<()> {
        let text = serde_json::to_vec(memory)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let (file, new) = (self.file(), self.0.join("memory.json.new"));
        let _ = fs::remove_file(&new);
        let mut written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        written.write_all(&text)?;
        written.sync_all()?;
        fs::rename(&new, &file)?;
        File::open(&self.0)?.sync_all()
    }
}

/// `None` where nothing was ever kept.
fn read(file: &Path) -> Result<Option<Memory>, String> {
    let file = match File::open(file) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let memory: Memory = serde_json::from_slice(&bytes).map_err(|_| String::from("it is damaged"))?;
    if memory.version == MEMORY_VERSION { Ok(Some(memory)) } else { Err(String::from("it is of another version")) }
}

fn base() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/mrvpn");
    }
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
    state.map_or_else(|| crate::instance::base().join("state"), |state| state.join("mrvpn"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use mrvpn_engine::memory::Remembered;

    use super::*;
    use crate::load::scratch::Scratch;

    fn memory(bind: u16) -> Memory {
        let uk = Remembered { bind, pushed: None };
        Memory { tunnels: [(String::from("uk"), uk)].into(), ..Memory::default() }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_was_kept_is_recalled_and_is_its_owners_alone() {
        let scratch = Scratch::new("state");
        let mut directory = StateDirectory(scratch.path().join("mrvpn/default"));
        assert_eq!(directory.recall(), (Memory::default(), None));
        directory.save(&memory(1)).unwrap();
        directory.save(&memory(2)).unwrap();
        assert_eq!(directory.recall(), (memory(2), None));
        assert_eq!((mode(&directory.0), mode(&directory.file())), (0o700, 0o600));
        assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1);
    }

    #[test]
    fn what_an_engine_that_was_killed_while_it_wrote_left_is_in_nobodys_way() {
        let scratch = Scratch::new("state-killed");
        let mut directory = StateDirectory(scratch.path().to_owned());
        directory.save(&memory(1)).unwrap();
        scratch.file("memory.json.new", "{\"version\":1,\"tun", 0o600);
        assert_eq!(directory.recall(), (memory(1), None));
        directory.save(&memory(2)).unwrap();
        assert_eq!(directory.recall().0, memory(2));
    }

    #[test]
    fn a_damaged_file_or_one_of_another_version_is_a_warning_and_counts_as_empty() {
        let scratch = Scratch::new("state-damaged");
        let directory = StateDirectory(scratch.path().to_owned());
        for (text, why) in [("{", "damaged"), ("{\"version\":9,\"pool\":null,\"tunnels\":{}}", "another version")] {
            let file = scratch.file("memory.json", text, 0o600);
            let (memory, warning) = directory.recall();
            let warning = warning.unwrap();
            assert_eq!(memory, Memory::default());
            assert!(warning.contains(why) && warning.contains(&file.display().to_string()), "{warning}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_an_error_and_leaves_what_was_there() {
        let scratch = Scratch::new("state-full");
        scratch.file("in-the-way", "", 0o600);
        let mut directory = StateDirectory(scratch.path().join("in-the-way/default"));
        assert!(directory.save(&memory(1)).is_err());
    }
}
