//! What happens at a region, for those who want to know what the far end saw.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::seen::ClientSeen;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegionEvent {
    /// A client is in: its push has arrived.
    Up(ClientSeen),
    /// A login was refused.
    Refused {
        /// From where it came.
        from: SocketAddr,
        /// The user. Foreign text, escaped.
        user: String,
        /// Why.
        why: &'static str,
    },
    /// A client has another data key.
    Renewed {
        /// Which client.
        client: Ipv4Addr,
        /// Its keys since it is in.
        keys: u32,
    },
    /// A client is at another address now.
    Floated {
        /// Which client.
        client: Ipv4Addr,
        /// Where it was.
        was: SocketAddr,
        /// Where it is.
        now: SocketAddr,
    },
    /// A client says that it leaves.
    Leaving {
        /// Which client.
        client: Ipv4Addr,
    },
    /// A client that was let in is gone.
    Gone {
        /// As it was last.
        client: ClientSeen,
        /// Why. Foreign text in it is escaped.
        why: String,
    },
}

/// What happens at one region, one after another; ends with the region.
#[derive(Clone, Debug)]
pub struct Events(Arc<Mutex<Receiver<RegionEvent>>>);

impl Events {
    pub(crate) fn new(receiver: Receiver<RegionEvent>) -> Self {
        Self(Arc::new(Mutex::new(receiver)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Receiver<RegionEvent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Iterator for Events {
    type Item = RegionEvent;

    fn next(&mut self) -> Option<RegionEvent> {
        self.lock().recv().ok()
    }
}
