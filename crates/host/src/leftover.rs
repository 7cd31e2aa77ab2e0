//! After an engine that was killed: what its journal and the kernel say that it left, and undoing it. Only what belongs
//! to its scope is touched. What has no journal is [`crate::cleanup`]'s.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mrvpn_netplan::{Host, HostError, Plan, Scope, Step, diff};

use crate::here::Here;
use crate::journal::{self, Places, Standing};
use crate::linux::{LinuxHost, failed};

/// What a killed engine of this instance left in this network namespace.
#[derive(Clone, Debug)]
pub struct Leftover {
    /// What was its own.
    pub scope: Scope,
    /// Its process.
    pub pid: u32,
    standing: Standing,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Policy rules.
    pub rules: usize,
    /// Routes.
    pub routes: usize,
    /// Kernel settings given back.
    pub settings: usize,
    /// The nftables tables.
    pub firewall: bool,
    /// The interface, with its addresses.
    pub device: bool,
}

impl Cleaned {
    /// How many things there were.
    #[must_use]
    pub fn total(&self) -> usize {
        self.rules + self.routes + self.settings + usize::from(self.firewall) + usize::from(self.device)
    }
}

/// What a killed engine of this instance left in this thread's network namespace. A journal of another boot or namespace
/// is removed. Only for who holds the instance's lock: a running engine has such a journal too.
///
/// # Errors
/// The journal is there and cannot be read.
pub fn leftover(places: &Places) -> Result<Option<Leftover>, HostError> {
    let found = here(&places.journal);
    let found = found.map_err(|error| failed(format!("reading {}", places.journal.display()), error))?;
    if found.is_none() {
        // Where it cannot be removed it is void all the same.
        let _ = journal::remove(&places.journal);
    }
    Ok(found)
}

/// Removes what a killed engine left: policy rules and routes of its scope, its tables, its interface, what it held of
/// settings, then the journal.
///
/// # Errors
/// The first thing that the kernel refuses; the others are tried all the same, and the journal stays.
pub fn clean(places: &Places, leftover: &Leftover) -> Result<Cleaned, HostError> {
    let mut host = LinuxHost::new()?.beside(&leftover.scope, &places.shared);
    let mut plan = host.standing(&leftover.scope)?;
    let held = leftover.standing.settings().filter(|setting| !plan.settings.contains(setting));
    let held: Vec<_> = held.collect();
    plan.settings.extend(held);
    let mut cleaned = Cleaned { rules: plan.rules.len(), routes: plan.routes.len(), ..Cleaned::default() };
    cleaned.settings = plan.settings.len();
    let mut first = None;
    for step in diff(&plan, &Plan::empty(&leftover.scope)).iter().chain(&releases(&plan)) {
        if let Err(error) = host.apply(step) {
            first.get_or_insert(error);
        }
    }
    cleaned.firewall = host.remove_tables(&leftover.scope.firewall).unwrap_or_else(|error| {
        first.get_or_insert(error);
        false
    });
    cleaned.device = host.has_device(&leftover.scope.device);
    if let Err(error) = host.close(&leftover.scope.device) {
        first.get_or_insert(error);
    }
    match first {
        Some(error) => Err(error),
        None => {
            journal::remove(&places.journal)
                .map_err(|error| failed(format!("removing {}", places.journal.display()), error))?;
            Ok(cleaned)
        }
    }
}

/// Settings are let go even where nothing else stands, which no difference of plans has steps for.
fn releases(plan: &Plan) -> Vec<Step> {
    plan.settings.iter().copied().map(Step::ReleaseSetting).collect()
}

/// Slots that other instances hold in this thread's network namespace, dead or alive: by their journals.
#[must_use]
pub fn held_slots(places: &Places) -> Vec<u8> {
    let own = places.journal.as_path();
    let mut slots: Vec<u8> = held(&places.shared, Some(own)).into_iter().map(|scope| scope.slot).collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}

/// Numbers of the network namespaces of this boot of which a journal below `shared` says something.
pub(crate) fn namespaces(shared: &Path, boot: &str) -> BTreeSet<u64> {
    let read = journals(shared).into_iter().filter_map(|path| journal::read(&path).ok().flatten());
    read.map(|(header, _)| header.here).filter(|here| here.boot == boot).map(|here| here.namespace).collect()
}

/// Scopes of all journals below `shared` that hold in this namespace, but for that at `except`.
pub(crate) fn held(shared: &Path, except: Option<&Path>) -> Vec<Scope> {
    let journals = journals(shared).into_iter().filter(|path| except != Some(path.as_path()));
    journals.filter_map(|path| here(&path).ok().flatten()).map(|leftover| leftover.scope).collect()
}

fn journals(shared: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(shared).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path().join("journal")).collect();
    paths.sort();
    paths
}

/// What a journal says, where it is of this boot and namespace.
fn here(path: &Path) -> io::Result<Option<Leftover>> {
    let here = Here::now()?;
    let read = journal::read(path)?.filter(|(header, _)| header.here == here);
    Ok(read.map(|(header, standing)| Leftover { scope: header.scope, pid: header.pid, standing }))
}
