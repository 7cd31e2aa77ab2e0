//! Several engines on one machine: an instance has a name, a directory for its socket and lock, and one engine
//! (contract.md section 1).

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mrvpn_host::Places;
use rustix::fs::{FlockOperation, flock};

use crate::failure::Failure;

/// Where instances of root have their directories.
const OF_ROOT: &str = "/run/mrvpn";
/// 200 times 5 ms, so one second: how long those who only look at a lock are waited for.
const LOOKS: u32 = 200;
const LOOK: Duration = Duration::from_millis(5);
/// Whoever can open a lock can hold it, shared at least, and so keep its owner's engine from starting.
const OWNER_ONLY: u32 = 0o600;
/// The name of an instance that nobody named.
const DEFAULT_NAME: &str = "default";

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    name: String,
    base: PathBuf,
}

impl Instance {
    /// The instance to be started: the one named, else `default`.
    pub(crate) fn to_start(named: Option<&str>) -> Result<Self, Failure> {
        Self::named(named.unwrap_or(DEFAULT_NAME), base())
    }

    /// The instance to be talked to: the one named, else the only one that runs, else `default`.
    pub(crate) fn to_reach(named: Option<&str>) -> Result<Self, Failure> {
        Self::only(named, &places_of_engines(), Self::is_running)
    }

    /// The instance to be taken down: as [`Instance::to_reach`], but one whose engine was killed counts too.
    pub(crate) fn to_take_down(named: Option<&str>) -> Result<Self, Failure> {
        Self::only(named, &places_of_engines(), |instance| instance.is_running() || instance.is_left())
    }

    /// Those whose engines were killed, and what they captured stands: the one named, else all that this user can see.
    pub(crate) fn left_behind(named: Option<&str>) -> Vec<Self> {
        Self::left_in(&places_of_engines(), named)
    }

    fn left_in(bases: &[PathBuf], named: Option<&str>) -> Vec<Self> {
        let all = bases.iter().flat_map(|base| all(base));
        let meant = all.filter(|one| named.is_none_or(|named| one.name == named));
        meant.filter(|one| one.is_left() && !one.is_running()).collect()
    }

    /// The only one that is `there`, in the first of `bases` that has one.
    fn only(named: Option<&str>, bases: &[PathBuf], there: impl Fn(&Self) -> bool) -> Result<Self, Failure> {
        let own = bases.first().cloned().unwrap_or_default();
        if let Some(name) = named {
            let of_name: Vec<Self> =
                bases.iter().map(|base| Self::named(name, base.clone())).collect::<Result<_, _>>()?;
            return of_name
                .into_iter()
                .find(|one| one.is_running() || one.is_left())
                .map_or_else(|| Self::named(name, own), Ok);
        }
        let all = |base: &PathBuf| -> Vec<Self> { all(base).into_iter().filter(|one| there(one)).collect() };
        let mut found = bases.iter().map(all).find(|found| !found.is_empty()).unwrap_or_default();
        match found.len() {
            0 => Self::named(DEFAULT_NAME, own),
            1 => Ok(found.remove(0)),
            _ => {
                let names: Vec<String> = found.into_iter().map(|instance| instance.name).collect();
                Err(Failure::usage(format!("there are several engines: {}", names.join(", ")))
                    .hint("say which: `--instance NAME`"))
            }
        }
    }

    fn named(name: &str, base: PathBuf) -> Result<Self, Failure> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > 32 || !name.bytes().all(fits) {
            return Err(Failure::usage("an instance's name has 1 to 32 letters, digits, `-` or `_`"));
        }
        Ok(Self { name: name.to_owned(), base })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory().join("control.sock")
    }

    /// Where its engine writes down what it does to the host, and where engines of this user share what they must.
    pub(crate) fn places(&self) -> Places {
        Places { journal: self.directory().join("journal"), shared: self.base.clone() }
    }

    fn directory(&self) -> PathBuf {
        self.base.join(&self.name)
    }

    /// Refuses where an engine has it.
    pub(crate) fn must_be_free(&self) -> Result<(), Failure> {
        if self.is_running() { Err(self.taken()) } else { Ok(()) }
    }

    /// Takes the lock where there is anything of the instance; for who cleans up.
    pub(crate) fn lock_if_there(&self) -> Result<Option<Lock>, Failure> {
        if self.directory().is_dir() { self.lock().map(Some) } else { Ok(None) }
    }

    /// Makes the directory and takes the lock: one engine an instance.
    pub(crate) fn lock(&self) -> Result<Lock, Failure> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o755);
        builder.create(self.directory()).map_err(|error| cannot("make", &self.directory(), &error))?;
        let path = self.directory().join("lock");
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(OWNER_ONLY);
            let file = options.open(&path).map_err(|error| cannot("open", &path, &error))?;
            // One that an engine of another version left may be open to all.
            let closed = file.set_permissions(Permissions::from_mode(OWNER_ONLY));
            closed.map_err(|error| cannot("close", &path, &error))?;
            if !hold(&file) {
                return Err(self.taken());
            }
            // Whoever held the lock before may have removed the file between our opening and locking it.
            if same_file(&file, &path) {
                return Lock::new(file, self.clone()).map_err(|error| cannot("write", &path, &error));
            }
        }
    }

    /// Whether an engine holds the lock. Who may not open that knocks at the engine's socket, which answers a little later.
    pub(crate) fn is_running(&self) -> bool {
        match File::open(self.directory().join("lock")) {
            Ok(file) => flock(&file, FlockOperation::NonBlockingLockShared).is_err(),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => UnixStream::connect(self.socket()).is_ok(),
            Err(_) => false,
        }
    }

    /// What stands before a command for it, and behind it, where the reader needs that: `sudo `, ` --instance work`.
    pub(crate) fn as_typed(&self) -> (&'static str, String) {
        let sudo = if self.base == Path::new(OF_ROOT) && !rustix::process::geteuid().is_root() { "sudo " } else { "" };
        let named = if self.name == DEFAULT_NAME { String::new() } else { format!(" --instance {}", self.name) };
        (sudo, named)
    }

    /// Whether an engine has left a journal. While one runs it has one too.
    fn is_left(&self) -> bool {
        self.places().journal.exists()
    }

    /// The process that holds the lock, as digits.
    fn holder(&self) -> String {
        let text = fs::read_to_string(self.directory().join("lock")).unwrap_or_default();
        text.chars().filter(char::is_ascii_digit).take(10).collect()
    }

    fn taken(&self) -> Failure {
        Failure::failed(format!("instance {} is up already: process {} runs it", self.name, self.holder()))
            .hint("`mrvpn down` ends it; `--instance NAME` starts another beside it")
    }
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    let of_root = path.starts_with(OF_ROOT);
    let hint = if of_root { "type it with sudo" } else { "set XDG_RUNTIME_DIR to a directory of yours, or use sudo" };
    Failure::failed(format!("cannot {what} {}: {error}", path.display())).hint(hint)
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
        let _ = fs::remove_file(self.instance.directory().join("lock"));
        // Both stay where something is left in them, such as the journal of what could not be cleaned up.
        let _ = fs::remove_dir(self.instance.directory());
        let _ = fs::remove_dir(&self.instance.base);
    }
}

/// Takes a lock unless someone has it. A command that only looks whether an engine runs, such as `status`, has it too, for
/// less than a moment: it is waited for.
fn hold(file: &File) -> bool {
    for _ in 0..LOOKS {
        if flock(file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return true;
        }
        if flock(file, FlockOperation::NonBlockingLockShared).is_err() {
            return false;
        }
        let _ = flock(file, FlockOperation::Unlock);
        std::thread::sleep(LOOK);
    }
    false
}

fn same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(there)) => held.ino() == there.ino() && held.dev() == there.dev(),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// Every instance that has a directory in `base`, by name.
fn all(base: &Path) -> Vec<Instance> {
    let Ok(entries) = fs::read_dir(base) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut instances: Vec<Instance> = names.filter_map(|name| Instance::named(&name, base.to_owned()).ok()).collect();
    instances.sort_by(|a, b| a.name.cmp(&b.name));
    instances
}

/// Where engines are that this user may reach: the user's own, then root's, whose socket judges who calls.
fn places_of_engines() -> Vec<PathBuf> {
    let mut places = vec![base(), PathBuf::from(OF_ROOT)];
    places.dedup();
    places
}

/// Where this user's instances have their directories: `/run/mrvpn` for root, else below XDG_RUNTIME_DIR.
pub(crate) fn base() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from(OF_ROOT);
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR")
        .map_or_else(|| PathBuf::from(format!("/run/user/{}", rustix::process::geteuid().as_raw())), PathBuf::from);
    runtime.join("mrvpn")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::scratch::Scratch;

    fn of(base: &Path, name: &str) -> Instance {
        Instance::named(name, base.to_owned()).unwrap()
    }

    fn names(bases: &[PathBuf], named: Option<&str>) -> Result<(PathBuf, String), Failure> {
        let found = Instance::only(named, bases, |one| one.is_running() || one.is_left())?;
        Ok((found.base, found.name))
    }

    // proves: F-20
    #[test]
    fn a_second_engine_of_an_instance_is_told_who_has_it() {
        let scratch = Scratch::new("instance-second");
        let instance = of(scratch.path(), "work");
        let lock = instance.lock().unwrap();
        let told = instance.lock().err().unwrap().to_string();
        assert!(told.contains(&std::process::id().to_string()) && told.contains("mrvpn down"), "{told}");
        assert!(instance.must_be_free().is_err());
        drop(lock);
        assert!(instance.must_be_free().is_ok());
    }

    #[test]
    fn an_engine_starts_while_others_look_whether_one_runs() {
        let scratch = Scratch::new("instance-looked-at");
        let instance = of(scratch.path(), "work");
        drop(instance.lock().unwrap());
        fs::create_dir_all(instance.directory()).unwrap();
        fs::write(instance.directory().join("lock"), "").unwrap();
        let looks = File::open(instance.directory().join("lock")).unwrap();
        flock(&looks, FlockOperation::NonBlockingLockShared).unwrap();
        let ends = std::thread::spawn(move || {
            std::thread::sleep(LOOK * 4);
            drop(looks);
        });
        assert!(instance.lock().is_ok(), "who looks is no engine");
        ends.join().unwrap();
    }

    #[test]
    fn nobody_but_its_owner_can_open_a_lock_one_that_stood_open_included() {
        let scratch = Scratch::new("instance-lock");
        let instance = of(scratch.path(), "work");
        fs::create_dir_all(instance.directory()).unwrap();
        let path = scratch.file("work/lock", "", 0o644);
        let lock = instance.lock().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(lock);
        drop(instance.lock().unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_engine_left_is_found_and_what_a_running_one_has_is_not() {
        let scratch = Scratch::new("instance-left");
        let bases = [scratch.path().to_owned()];
        let (killed, runs) = (of(scratch.path(), "killed"), of(scratch.path(), "runs"));
        let lock = runs.lock().unwrap();
        drop(killed.lock().unwrap());
        fs::create_dir_all(killed.directory()).unwrap();
        for one in [&killed, &runs] {
            fs::write(one.places().journal, "").unwrap();
        }
        for named in [None, Some("killed")] {
            assert_eq!(Instance::left_in(&bases, named), std::slice::from_ref(&killed));
        }
        assert_eq!(Instance::left_in(&bases, Some("runs")), []);
        drop(lock);
    }

    #[test]
    fn an_instance_that_ended_leaves_nothing_and_a_journal_stays() {
        let scratch = Scratch::new("instance-files");
        let (ended, killed) = (of(scratch.path(), "ended"), of(scratch.path(), "killed"));
        let locks = (ended.lock().unwrap(), killed.lock().unwrap());
        fs::write(killed.places().journal, "").unwrap();
        drop(locks);
        assert!(!ended.directory().exists());
        assert!(killed.is_left() && !killed.is_running());
        assert!(killed.lock_if_there().unwrap().is_some());
        assert!(ended.lock_if_there().unwrap().is_none());
    }

    #[test]
    fn the_only_engine_is_meant_where_none_is_named_and_several_are_listed() {
        let scratch = Scratch::new("instance-only");
        let bases = [scratch.path().join("own"), scratch.path().join("root")];
        let nothing = names(&bases, None).unwrap();
        assert_eq!(nothing, (bases[0].clone(), String::from("default")));
        let one = of(&bases[1], "work").lock().unwrap();
        assert_eq!(names(&bases, None).unwrap(), (bases[1].clone(), String::from("work")));
        let two = of(&bases[1], "play").lock().unwrap();
        let told = names(&bases, None).unwrap_err();
        assert_eq!(told.code(), crate::failure::USAGE);
        assert!(told.to_string().contains("play, work"), "{told}");
        assert_eq!(names(&bases, Some("work")).unwrap().0, bases[1]);
        let own = of(&bases[0], "home").lock().unwrap();
        assert_eq!(names(&bases, None).unwrap(), (bases[0].clone(), String::from("home")));
        drop((one, two, own));
    }

    #[test]
    fn a_name_cannot_leave_its_directory() {
        for name in ["", ".", "..", "a/b", "a b", "netns-4026531840.lock", &"x".repeat(33)] {
            assert!(Instance::named(name, PathBuf::new()).is_err(), "{name}");
        }
    }
}
