//! What a lane does with the data keys of a session, in the fewest words and apart from `mrvpn_engine`, whose own is
//! tested in the world: the newest key seals from its moment on, or once it has opened something; the key id says which
//! opens. It sees that no packet id seals or is accepted twice (threats-and-faults.md I-12).

use std::collections::BTreeSet;

use mrvpn_clock::Moment;
use mrvpn_proto::{DataKeys, KeyId, OpenError, SealError, Sealer, data_key_id};

/// The keys of one session.
#[derive(Debug, Default)]
pub(super) struct ClientKeys {
    /// Oldest first.
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    keys: DataKeys,
    /// Whether the server has sealed with it.
    shown: bool,
    sealed: Option<[u8; 4]>,
    accepted: BTreeSet<[u8; 4]>,
}

impl ClientKeys {
    /// Takes a new key.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn install(&mut self, keys: DataKeys) -> Result<(), String> {
        let key_id = keys.key_id;
        if self.keys.iter().any(|key| key.keys.key_id == key_id) {
            return Err(format!("two keys have the id {}", key_id.get()));
        }
        if self.keys.len() == 2 {
            return Err(String::from("a third key"));
        }
        self.keys.push(Key { keys, shown: false, sealed: None, accepted: BTreeSet::new() });
        Ok(())
    }

    pub(super) fn retire(&mut self, key_id: KeyId) {
        self.keys.retain(|key| key.keys.key_id != key_id);
    }

    /// Whether a new key should be made.
    pub(super) fn are_worn(&self) -> bool {
        self.keys.last().is_some_and(|key| key.keys.sealer.worn() || key.keys.opener.worn())
    }

    /// Seals an inner packet; `None` where there is no key, or none that may seal any more.
    ///
    /// # Errors
    /// A packet id that does not follow the one before.
    pub(super) fn seal(&mut self, inner: &[u8], now: Moment) -> Result<Option<Vec<u8>>, String> {
        let worn = self.keys.first().is_some_and(|key| key.keys.sealer.worn());
        let ready = |key: &Key| key.shown || worn || now >= key.keys.seal_after;
        let place = self.keys.iter().rposition(ready).unwrap_or(0);
        let Some(key) = self.keys.get_mut(place) else { return Ok(None) };
        let mut frame = vec![0; Sealer::HEADROOM];
        frame.extend_from_slice(inner);
        match key.keys.sealer.seal(&mut frame) {
            Ok(()) => {}
            Err(SealError::Worn | SealError::Short) => return Ok(None),
        }
        let id = packet_id(&frame);
        if key.sealed >= Some(id) {
            return Err(format!("packet id {id:?} seals after {:?}", key.sealed));
        }
        key.sealed = Some(id);
        Ok(Some(frame))
    }

    /// Opens a datagram; `None` where no key opens it.
    ///
    /// # Errors
    /// A packet id that is accepted again.
    pub(super) fn open(&mut self, mut datagram: Vec<u8>, now: Moment) -> Result<Option<Vec<u8>>, String> {
        let key_id = datagram.first().and_then(|first| data_key_id(*first));
        let Some(key) = self.keys.iter_mut().find(|key| Some(key.keys.key_id) == key_id) else { return Ok(None) };
        let id = packet_id(&datagram);
        match key.keys.opener.open(&mut datagram, now) {
            Ok(inner) => {
                key.shown = true;
                let inner = inner.to_vec();
                if key.accepted.insert(id) {
                    Ok(Some(inner))
                } else {
                    Err(format!("packet id {id:?} is accepted twice"))
                }
            }
            Err(OpenError::Short | OpenError::Forged | OpenError::Replayed | OpenError::Empty | OpenError::Worn) => {
                Ok(None)
            }
        }
    }
}

fn packet_id(datagram: &[u8]) -> [u8; 4] {
    datagram.get(4..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default()
}
