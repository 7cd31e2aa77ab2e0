//! The data keys of one tunnel: at most two at a time, so that packets under the old key are still read while the new
//! one takes over. The newest seals; the key id of a datagram says which opens. When a key is made or retired is the
//! session's decision; `proto` does the cryptography.

use mrvpn_proto::{DataKeys, KeyId, Opener, Sealer};

/// Keys of one session, the newest first.
#[derive(Debug)]
pub(crate) struct Keys {
    newest: Box<DataKeys>,
    older: Option<Box<DataKeys>>,
}

impl Keys {
    /// The first keys of a session.
    pub(crate) const fn new(keys: Box<DataKeys>) -> Self {
        Self { newest: keys, older: None }
    }

    /// Seals with `keys` from now on; what was the newest only opens, what was older is gone.
    pub(crate) fn install(&mut self, keys: Box<DataKeys>) {
        self.older = Some(std::mem::replace(&mut self.newest, keys));
    }

    /// Forgets the older keys, if they have this id. The newest stay: a session always has some.
    pub(crate) fn retire(&mut self, key_id: KeyId) {
        if self.older.as_ref().is_some_and(|keys| keys.key_id == key_id) {
            self.older = None;
        }
    }

    /// What seals.
    pub(crate) const fn sealer(&mut self) -> &mut Sealer {
        &mut self.newest.sealer
    }

    /// What opens datagrams of this key id; `None` where there is no such key. Key ids come round again, so the newest
    /// goes first.
    pub(crate) fn opener(&mut self, key_id: KeyId) -> Option<&mut Opener> {
        if self.newest.key_id == key_id {
            return Some(&mut self.newest.opener);
        }
        self.older.as_mut().filter(|keys| keys.key_id == key_id).map(|keys| &mut keys.opener)
    }
}
