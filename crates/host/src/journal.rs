//! The journal: each step of an engine is written down before it is done, so that after a crash it is known whose what
//! stands is. It is void in another boot or network namespace. It needs no write to the disk itself: after a power cut
//! there is another boot. What is done with what it says is [`mod@crate::leftover`]'s; steps are `netplan`'s.
//!
//! One JSON object a line: the header first, then devices and steps. A line that cannot be read, such as the last one of
//! an engine that was killed while it wrote, says nothing.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)
)]

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mrvpn_netplan::plan::{PLAN_VERSION, PolicyRule, RouteSpec};
use mrvpn_netplan::{Firewall, PlannedAddress, Scope, Setting, Step};
use serde::{Deserialize, Serialize};

use crate::here::Here;
use crate::limits::{COMPACT_FROM, MAX_JOURNAL};

/// Where an engine keeps what must outlive it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The journal of this instance: `SHARED/INSTANCE/journal`.
    pub journal: PathBuf,
    /// The directory that all engines of a user have in common (`/run/mrvpn`).
    pub shared: PathBuf,
}

/// First line of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// [`PLAN_VERSION`] of the program that wrote it.
    version: u32,
    pub(crate) here: Here,
    pub(crate) scope: Scope,
    /// Process that wrote it.
    pub(crate) pid: u32,
}

/// A line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Header(Header),
    /// A device is opened.
    Open(String),
    /// A device is deleted.
    Close(String),
    Step(Step),
}

/// What stands, as a journal says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    devices: BTreeSet<String>,
    addresses: BTreeSet<(String, PlannedAddress)>,
    routes: BTreeSet<RouteSpec>,
    rules: BTreeSet<PolicyRule>,
    firewall: Option<Box<Firewall>>,
    settings: BTreeSet<Setting>,
}

/// A journal being written.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    header: Header,
    standing: Standing,
    length: u64,
    compacted: u64,
}

impl Journal {
    /// Begins one, or goes on with that of a killed engine of the same scope.
    ///
    /// # Errors
    /// The file cannot be written, or the journal there is of another scope, which must be cleaned up first.
    pub(crate) fn begin(path: &Path, scope: &Scope) -> io::Result<Self> {
        let here = Here::now()?;
        let standing = match read(path)? {
            Some((header, standing)) if header.here == here && header.scope == *scope => standing,
            Some((header, standing)) if header.here == here && standing != Standing::default() => {
                let what =
                    format!("{}: {} of an engine that was killed still stands", path.display(), header.scope.device);
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
            }
            Some(_) | None => Standing::default(),
        };
        let header = Header { version: PLAN_VERSION, here, scope: scope.clone(), pid: std::process::id() };
        let (file, length) = write_anew(path, &header, &standing)?;
        Ok(Self { path: path.to_owned(), file, header, standing, length, compacted: length })
    }

    /// Writes down that a step is going to be done.
    pub(crate) fn step(&mut self, step: &Step) -> io::Result<()> {
        self.write(&Line::Step(step.clone()))
    }

    /// Writes down that a device is going to be opened.
    pub(crate) fn open(&mut self, device: &str) -> io::Result<()> {
        self.write(&Line::Open(String::from(device)))
    }

    /// Writes down that a device was deleted.
    pub(crate) fn close(&mut self, device: &str) -> io::Result<()> {
        self.write(&Line::Close(String::from(device)))
    }

    /// Removes the file where nothing stands any more.
    pub(crate) fn end(&self) -> io::Result<()> {
        if self.standing == Standing::default() { remove(&self.path) } else { Ok(()) }
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let text = text(line)?;
        self.file.write_all(text.as_bytes())?;
        self.length = self.length.saturating_add(text.len() as u64);
        self.standing.take(line.clone());
        if self.length > COMPACT_FROM && self.length > self.compacted.saturating_mul(2) {
            (self.file, self.length) = write_anew(&self.path, &self.header, &self.standing)?;
            self.compacted = self.length;
        }
        Ok(())
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

impl Standing {
    fn take(&mut self, line: Line) {
        match line {
            Line::Header(_) => {}
            Line::Open(device) => drop(self.devices.insert(device)),
            Line::Close(device) => self.lose(&device),
            Line::Step(step) => self.take_step(step),
        }
    }

    fn take_step(&mut self, step: Step) {
        match step {
            Step::AddAddress { device, address, deprecated } => {
                self.addresses.insert((device, PlannedAddress { address, deprecated }));
            }
            Step::RemoveAddress { device, address, deprecated } => {
                self.addresses.remove(&(device, PlannedAddress { address, deprecated }));
            }
            Step::AddRoute(route) => drop(self.routes.insert(route)),
            Step::RemoveRoute(route) => drop(self.routes.remove(&route)),
            Step::AddRule(rule) => drop(self.rules.insert(rule)),
            Step::RemoveRule(rule) => drop(self.rules.remove(&rule)),
            Step::SetFirewall { to, .. } => self.firewall = to,
            Step::HoldSetting(setting) => drop(self.settings.insert(setting)),
            Step::ReleaseSetting(setting) => drop(self.settings.remove(&setting)),
        }
    }

    /// A device is gone, with its addresses.
    fn lose(&mut self, device: &str) {
        self.devices.remove(device);
        self.addresses.retain(|(of, _)| of != device);
    }

    /// Settings that are held.
    pub(crate) fn settings(&self) -> impl Iterator<Item = Setting> {
        self.settings.iter().copied()
    }

    /// The lines that say this.
    fn lines(&self) -> impl Iterator<Item = Line> {
        let addresses = self.addresses.iter().map(|(device, planned)| Step::AddAddress {
            device: device.clone(),
            address: planned.address,
            deprecated: planned.deprecated,
        });
        let firewall = self.firewall.clone().map(|to| Step::SetFirewall { from: None, to: Some(to) });
        let steps = self.settings.iter().copied().map(Step::HoldSetting).chain(firewall);
        let steps = steps.chain(addresses).chain(self.routes.iter().cloned().map(Step::AddRoute));
        let steps = steps.chain(self.rules.iter().cloned().map(Step::AddRule));
        self.devices.iter().cloned().map(Line::Open).chain(steps.map(Line::Step))
    }
}

/// Reads a journal; `None` where there is none, or one without a header that can be read.
pub(crate) fn read(path: &Path) -> io::Result<Option<(Header, Standing)>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(parse(&at_most(file, MAX_JOURNAL)?))
}

/// The first so many bytes.
fn at_most(from: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Option<(Header, Standing)> {
    let mut lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let Some(Line::Header(header)) = lines.next() else { return None };
    let mut standing = Standing::default();
    lines.for_each(|line| standing.take(line));
    Some((header, standing))
}

/// Removes a journal; that there is none is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Replaces the journal at once by one that says the same in fewer lines; open for more, with its length in bytes.
fn write_anew(path: &Path, header: &Header, standing: &Standing) -> io::Result<(File, u64)> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&new)?;
    let header = Line::Header(header.clone());
    let mut whole = String::new();
    for line in std::iter::once(header).chain(standing.lines()) {
        whole += &text(&line)?;
    }
    file.write_all(whole.as_bytes())?;
    fs::rename(&new, path)?;
    Ok((file, whole.len() as u64))
}

fn text(line: &Line) -> io::Result<String> {
    Ok(serde_json::to_string(line)? + "\n")
}

#[cfg(test)]
mod tests {
    use mrvpn_netplan::Fence;
    use mrvpn_netplan::plan::RouteKind;

    use super::*;
    use crate::scratch::Scratch;

    fn route(metric: u32) -> RouteSpec {
        let prefix = "10.1.0.0/16".parse().unwrap();
        RouteSpec { table: 19_713, prefix, kind: RouteKind::Throw, metric, mtu: None }
    }

    fn firewall(table: &str) -> Box<Firewall> {
        Box::new(Firewall {
            table: String::from(table),
            device: String::from("mrvpn0"),
            others: Vec::new(),
            mark: (0x4d00_0000, 0xff00_0000),
            addresses: vec!["198.18.0.1".parse().unwrap()],
            inbound: Vec::new(),
            fence: Fence::default(),
        })
    }

    #[test]
    fn what_stands_is_read_again_and_a_cut_line_says_nothing() {
        let scratch = Scratch::new("journal");
        let path = scratch.path().join("default/journal");
        let mut journal = Journal::begin(&path, &Scope::first()).unwrap();
        journal.open("mrvpn0").unwrap();
        let kept = [
            Step::HoldSetting(Setting::SourceValidMark),
            Step::SetFirewall { from: Some(firewall("old")), to: Some(firewall("new")) },
            Step::AddRoute(route(1)),
        ];
        for step in kept.iter().chain(&[Step::AddRoute(route(2)), Step::RemoveRoute(route(2))]) {
            journal.step(step).unwrap();
        }
        let (header, standing) = read(&path).unwrap().unwrap();
        assert_eq!((&header.scope, &header.here), (&Scope::first(), &Here::now().unwrap()));
        assert_eq!(standing, journal.standing);
        assert_eq!(standing.routes.iter().collect::<Vec<_>>(), [&route(1)]);
        assert_eq!(standing.firewall, Some(firewall("new")));
        let whole = fs::read(&path).unwrap();
        assert_eq!(parse(&whole[..whole.len() - 7]).unwrap().1.routes.len(), 2);
        for end in 0..whole.len() {
            let _ = parse(&whole[..end]);
        }
    }

    #[test]
    fn no_more_is_read_than_the_limit_says() {
        for (there, read) in
            [(MAX_JOURNAL - 1, MAX_JOURNAL - 1), (MAX_JOURNAL, MAX_JOURNAL), (MAX_JOURNAL + 1, MAX_JOURNAL)]
        {
            assert_eq!(at_most(io::repeat(b'x').take(there), MAX_JOURNAL).unwrap().len() as u64, read);
        }
    }

    #[test]
    fn a_journal_ends_with_what_stands() {
        let scratch = Scratch::new("journal");
        let path = scratch.path().join("journal");
        let mut journal = Journal::begin(&path, &Scope::first()).unwrap();
        let add = Step::AddAddress {
            device: String::from("mrvpn0"),
            address: "198.18.0.1/32".parse().unwrap(),
            deprecated: false,
        };
        journal.open("mrvpn0").unwrap();
        journal.step(&add).unwrap();
        journal.end().unwrap();
        assert!(path.exists());
        journal.close("mrvpn0").unwrap();
        journal.end().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_journal_of_the_same_scope_is_gone_on_with_and_another_is_refused_while_it_holds_something() {
        let scratch = Scratch::new("journal");
        let path = scratch.path().join("journal");
        let mut first = Journal::begin(&path, &Scope::first()).unwrap();
        first.step(&Step::AddRoute(route(1))).unwrap();
        drop(first);
        assert_eq!(Journal::begin(&path, &Scope::first()).unwrap().standing.routes.len(), 1);
        let other = Scope::new(1, "default", 5300, None);
        assert!(Journal::begin(&path, &other).is_err());
        let mut first = Journal::begin(&path, &Scope::first()).unwrap();
        first.step(&Step::RemoveRoute(route(1))).unwrap();
        assert!(Journal::begin(&path, &other).is_ok());
    }

    #[test]
    fn a_long_journal_is_written_anew_and_says_the_same() {
        let scratch = Scratch::new("journal");
        let path = scratch.path().join("journal");
        let mut journal = Journal::begin(&path, &Scope::first()).unwrap();
        journal.step(&Step::AddRoute(route(7))).unwrap();
        for _ in 0..6_000 {
            journal.step(&Step::AddRoute(route(1))).unwrap();
            journal.step(&Step::RemoveRoute(route(1))).unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() < COMPACT_FROM + 4_096);
        assert_eq!(read(&path).unwrap().unwrap().1, journal.standing);
        assert_eq!(journal.standing.routes.len(), 1);
    }
}
