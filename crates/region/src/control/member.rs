//! A client as the control thread knows it, from its first packet to its end, and the list of those that are in, which
//! the region's owner may read.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::seen::{ClientSeen, Counters};
use crate::worker::{Name, Path};

/// A client.
pub(super) struct Member {
    /// Which worker carries it.
    pub(super) worker: u8,
    pub(super) path: Path,
    /// Where it is.
    pub(super) from: SocketAddr,
    /// Its place in the pool, once it was let in.
    pub(super) place: Option<u16>,
    /// By which name it may be here once: its user, or its certificate's name.
    pub(super) who: String,
    pub(super) counters: Arc<Counters>,
    /// What is shown of it, once it was let in.
    pub(super) seen: Option<ClientSeen>,
    /// A worker has its keys.
    pub(super) carried: bool,
    /// Its push has arrived.
    pub(super) up: bool,
}

impl Member {
    pub(super) fn new(worker: u8, path: Path, from: SocketAddr) -> Self {
        Self {
            worker,
            path,
            from,
            place: None,
            who: String::new(),
            counters: Arc::default(),
            seen: None,
            carried: false,
            up: false,
        }
    }

    /// Whether packets may come from it.
    pub(super) const fn is_in(&self) -> bool {
        self.carried
    }

    /// What is shown of it, with what it has sent and got so far.
    pub(super) fn shown(&self) -> Option<ClientSeen> {
        let seen = self.seen.clone()?;
        Some(ClientSeen { traffic: self.counters.read(), ..seen })
    }
}

/// The clients that are in, for the region's owner.
#[derive(Debug, Default)]
pub(crate) struct Shown(Mutex<BTreeMap<Name, (ClientSeen, Arc<Counters>)>>);

impl Shown {
    pub(super) fn show(&self, name: Name, member: &Member) {
        if let Some(seen) = member.seen.clone() {
            self.list().insert(name, (seen, Arc::clone(&member.counters)));
        }
    }

    pub(super) fn forget(&self, name: Name) {
        self.list().remove(&name);
    }

    /// All of them, by address.
    pub(crate) fn all(&self) -> Vec<ClientSeen> {
        let mut all: Vec<ClientSeen> = self
            .list()
            .values()
            .map(|(seen, counters)| ClientSeen { traffic: counters.read(), ..seen.clone() })
            .collect();
        all.sort_by_key(|seen| seen.address);
        all
    }

    fn list(&self) -> MutexGuard<'_, BTreeMap<Name, (ClientSeen, Arc<Counters>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
