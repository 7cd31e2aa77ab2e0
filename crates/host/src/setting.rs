//! Kernel settings that engines of a network namespace hold together: the first to hold one writes down what it was, the
//! last to release it makes it that again, unless someone else has changed it since. A killed engine holds what it held
//! until its instance is cleaned up. When a setting is needed is `netplan`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use mrvpn_netplan::Setting;
use serde::{Deserialize, Serialize};

use crate::here::{Here, Locked};
use crate::leftover;
use crate::limits::MAX_SETTINGS;

/// Where a setting is, and what it has to be.
const fn place(setting: Setting) -> (&'static str, &'static str) {
    match setting {
        // A packet that comes in is looked up the way back with its mark, as it is looked up when it goes out. Without
        // it, a strict reverse path filter takes answers to the engine's own sockets for forged: their way back,
        // unmarked, would be the device.
        Setting::SourceValidMark => ("/proc/sys/net/ipv4/conf/all/src_valid_mark", "1"),
    }
}

/// The settings of this thread's network namespace, and who holds them.
#[derive(Debug)]
pub(crate) struct Settings {
    held: Store,
}

#[derive(Debug)]
enum Store {
    /// In a directory that engines share.
    Shared(PathBuf),
    /// By this process alone.
    Alone(Held),
}

/// Who holds what, and what it was before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    /// The boot in which it was written.
    boot: String,
    settings: BTreeMap<Setting, Holders>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Holders {
    before: String,
    holders: BTreeSet<String>,
}

/// What is written down, kept locked while it is changed.
struct Open {
    held: Held,
    file: Option<Locked>,
}

impl Settings {
    /// With a directory that engines share, or for this process alone.
    pub(crate) fn new(shared: Option<&Path>) -> Self {
        let held = shared.map_or_else(|| Store::Alone(Held::default()), |path| Store::Shared(path.to_owned()));
        Self { held }
    }

    /// Makes the setting what is needed, and notes that `holder` needs it.
    pub(crate) fn hold(&mut self, setting: Setting, holder: &str) -> io::Result<()> {
        let (path, wanted) = place(setting);
        let mut open = self.open()?;
        // Read while nobody else holds or releases it.
        let now = value(path)?;
        let entry = open.held.settings.entry(setting).or_default();
        if entry.holders.is_empty() {
            entry.before.clone_from(&now);
        }
        entry.holders.insert(String::from(holder));
        // Written down before it is done.
        self.save(&mut open)?;
        if now == wanted { Ok(()) } else { fs::write(path, wanted) }
    }

    /// Notes that `holder` needs the setting no more, and makes it what it was where no other does.
    pub(crate) fn release(&mut self, setting: Setting, holder: &str) -> io::Result<()> {
        let (path, wanted) = place(setting);
        let mut open = self.open()?;
        let Some(entry) = open.held.settings.get_mut(&setting) else { return self.save(&mut open) };
        if entry.holders.remove(holder) && entry.holders.is_empty() && value(path)? == wanted {
            fs::write(path, &entry.before)?;
        }
        if entry.holders.is_empty() {
            open.held.settings.remove(&setting);
        }
        self.save(&mut open)
    }

    /// What `holder` holds and is as it has to be.
    pub(crate) fn standing(&mut self, holder: &str) -> io::Result<Vec<Setting>> {
        let mut open = self.open()?;
        let mut standing = Vec::new();
        for (setting, entry) in &open.held.settings {
            let (path, wanted) = place(*setting);
            if entry.holders.contains(holder) && value(path)? == wanted {
                standing.push(*setting);
            }
        }
        self.save(&mut open)?;
        Ok(standing)
    }

    fn open(&self) -> io::Result<Open> {
        match &self.held {
            Store::Alone(held) => Ok(Open { held: held.clone(), file: None }),
            Store::Shared(path) => {
                let here = Here::now()?;
                let mut file = Locked::open(&here.file(path, "settings"))?;
                Ok(Open { held: read(&mut file, here)?, file: Some(file) })
            }
        }
    }

    fn save(&mut self, open: &mut Open) -> io::Result<()> {
        match (&mut self.held, &mut open.file) {
            (Store::Shared(_), Some(file)) => store(file, &open.held),
            (Store::Alone(held), _) => {
                held.clone_from(&open.held);
                Ok(())
            }
            (Store::Shared(_), None) => Ok(()),
        }
    }
}

/// Removes from `shared` what was written down in network namespaces that are gone: those, but for this thread's own, of
/// which no journal says anything. Who holds a setting has a journal before.
pub(crate) fn forget_gone(shared: &Path) -> io::Result<()> {
    let here = Here::now()?;
    for entry in fs::read_dir(shared)?.filter_map(Result::ok) {
        let name = entry.file_name();
        let Some(number) = name.to_str().and_then(namespace).filter(|number| *number != here.namespace) else {
            continue;
        };
        // Whoever waits for the file makes another.
        let file = Locked::open(&entry.path())?;
        if !leftover::namespaces(shared, &here.boot).contains(&number) {
            file.remove()?;
        }
    }
    Ok(())
}

/// The number of the namespace whose settings a file of this name has.
fn namespace(name: &str) -> Option<u64> {
    name.strip_prefix("netns-")?.strip_suffix(".settings")?.parse().ok()
}

fn value(path: &str) -> io::Result<String> {
    Ok(String::from(fs::read_to_string(path)?.trim()))
}

/// What the file says; nothing where it is of another boot or cannot be read.
fn read(file: &mut Locked, here: Here) -> io::Result<Held> {
    let mut text = String::new();
    (&file.file).take(MAX_SETTINGS).read_to_string(&mut text)?;
    // What was written over something longer, by an engine that was killed before it cut the rest, counts.
    let first = serde_json::Deserializer::from_str(&text).into_iter::<Held>().next();
    let held = first.and_then(Result::ok).filter(|held| held.boot == here.boot);
    Ok(held.unwrap_or_else(|| Held { boot: here.boot, settings: BTreeMap::new() }))
}

/// Writes the file, or removes it where nobody holds anything.
fn store(file: &mut Locked, held: &Held) -> io::Result<()> {
    if held.settings.is_empty() {
        return file.remove();
    }
    let text = serde_json::to_string(held)?;
    file.file.rewind()?;
    file.file.write_all(text.as_bytes())?;
    file.file.set_len(text.len() as u64)
}

#[cfg(test)]
mod tests {
    use mrvpn_netplan::Scope;

    use super::*;
    use crate::journal::Journal;
    use crate::scratch::Scratch;

    #[test]
    fn what_was_held_in_a_namespace_without_any_journal_is_forgotten_and_nothing_else() {
        let scratch = Scratch::new("settings");
        let here = Here::now().unwrap();
        let names = ["netns-1.settings", "netns-2.settings", "netns-x.settings", "netns-1.lock", "other"];
        names.iter().for_each(|name| fs::write(scratch.path().join(name), "{}").unwrap());
        fs::write(here.file(scratch.path(), "settings"), "{}").unwrap();
        let journal = Journal::begin(&scratch.path().join("work/journal"), &Scope::first()).unwrap();
        let text = fs::read_to_string(scratch.path().join("work/journal")).unwrap();
        let mut elsewhere: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        elsewhere["header"]["here"]["namespace"] = 2.into();
        fs::create_dir(scratch.path().join("far")).unwrap();
        fs::write(scratch.path().join("far/journal"), elsewhere.to_string()).unwrap();
        forget_gone(scratch.path()).unwrap();
        assert!(!scratch.path().join(names[0]).exists());
        assert!(names[1..].iter().all(|name| scratch.path().join(name).exists()));
        assert!(here.file(scratch.path(), "settings").exists());
        drop(journal);
        assert!(forget_gone(Path::new("/nonexistent")).is_err());
    }
}
