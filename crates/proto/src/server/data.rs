//! The data path of one client, simple: up to two keys, used by OpenVPN's rules (openvpn-protocol.md section 10.4). For
//! tests, simulations and whoever has few packets; a fast server owns sealers and openers itself.
//!
//! Where tests are built it keeps every authentic datagram by key and packet id, so that a nonce that seals two packets
//! is seen (threats-and-faults.md I-12).

#[cfg(any(test, feature = "test-peer"))]
use std::collections::BTreeMap;

use mrvpn_clock::Moment;

use crate::data::{DataKeys, OpenError, SealError, Sealer};
use crate::opcode::{KeyId, data_key_id};

/// The data keys of one client.
#[derive(Debug, Default)]
pub struct ServerData {
    /// Oldest first.
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    keys: DataKeys,
    /// When it was installed.
    #[cfg(any(test, feature = "test-peer"))]
    since: Moment,
    /// Whether the client has sealed with it.
    shown: bool,
    /// Authentic datagrams by packet id.
    #[cfg(any(test, feature = "test-peer"))]
    seen: BTreeMap<[u8; 4], Vec<u8>>,
}

impl ServerData {
    /// Takes a key of [`super::ServerEvent::Keys`].
    #[cfg_attr(not(any(test, feature = "test-peer")), expect(unused_variables, reason = "tests alone have patience"))]
    pub fn install(&mut self, keys: DataKeys, now: Moment) {
        self.keys.push(Key {
            keys,
            shown: false,
            #[cfg(any(test, feature = "test-peer"))]
            since: now,
            #[cfg(any(test, feature = "test-peer"))]
            seen: BTreeMap::new(),
        });
    }

    /// Forgets the key of [`super::ServerEvent::Retire`].
    pub fn retire(&mut self, key_id: KeyId) {
        self.keys.retain(|key| key.keys.key_id != key_id);
    }

    /// Whether there is a key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Opens a datagram; the inner packet.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::Forged`] also for a key id without a key.
    ///
    /// # Panics
    /// Where tests are built: if a packet id has sealed two different packets under one key.
    pub fn open(&mut self, datagram: &[u8], now: Moment) -> Result<Vec<u8>, OpenError> {
        let key_id = datagram.first().and_then(|first| data_key_id(*first)).ok_or(OpenError::Short)?;
        let key = self.keys.iter_mut().find(|key| key.keys.key_id == key_id).ok_or(OpenError::Forged)?;
        let mut bytes = datagram.to_vec();
        let opened = key.keys.opener.open(&mut bytes, now).map(|packet| packet.to_vec());
        if matches!(opened, Ok(_) | Err(OpenError::Replayed)) {
            key.shown = true;
            #[cfg(any(test, feature = "test-peer"))]
            key.note_nonce(datagram);
        }
        opened
    }

    /// Seals an inner packet with the newest key that may seal already.
    ///
    /// # Errors
    /// [`SealError`]; [`SealError::Worn`] also where there is no key.
    pub fn seal(&mut self, inner: &[u8], now: Moment) -> Result<Vec<u8>, SealError> {
        self.seal_by(inner, |key| now >= key.keys.seal_after)
    }

    /// The same, but a key seals from `patience` after it was installed.
    #[cfg(any(test, feature = "test-peer"))]
    pub(crate) fn seal_patiently(
        &mut self,
        inner: &[u8],
        patience: std::time::Duration,
        now: Moment,
    ) -> Result<Vec<u8>, SealError> {
        self.seal_by(inner, |key| now >= key.since + patience)
    }

    fn seal_by(&mut self, inner: &[u8], ready: impl Fn(&Key) -> bool) -> Result<Vec<u8>, SealError> {
        let newest = self.keys.iter().rposition(|key| key.shown || ready(key));
        let place = newest.or_else(|| self.keys.len().checked_sub(1)).ok_or(SealError::Worn)?;
        let key = self.keys.get_mut(place).ok_or(SealError::Worn)?;
        let mut frame = vec![0; Sealer::HEADROOM];
        frame.extend_from_slice(inner);
        key.keys.sealer.seal(&mut frame)?;
        Ok(frame)
    }
}

impl Key {
    #[cfg(any(test, feature = "test-peer"))]
    fn note_nonce(&mut self, datagram: &[u8]) {
        let Some(id) = datagram.get(4..).and_then(|rest| rest.first_chunk()) else { return };
        let first = self.seen.entry(*id).or_insert_with(|| datagram.to_vec());
        assert_eq!(first, datagram, "a packet id seals two packets under one key");
    }
}
