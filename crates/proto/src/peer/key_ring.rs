//! The data keys of the scripted server: two at a time, used by OpenVPN's rules (openvpn-protocol.md section 10.4). It
//! keeps every authentic datagram by key and packet id, so that a nonce that seals two packets is seen
//! (threats-and-faults.md I-12).

use std::collections::BTreeMap;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_profile::Cipher;

use crate::data::{DataKeys, OpenError, Sealer};
use crate::ids::PeerId;
use crate::key_block::KeyBlock;
use crate::opcode::{KeyId, data_key_id};
use crate::wrapping::Side;

#[derive(Default)]
pub(super) struct KeyRing {
    /// Oldest first.
    keys: Vec<Key>,
    made: u64,
}

struct Key {
    keys: DataKeys,
    since: Moment,
    /// Whether the client has sealed with it.
    shown: bool,
    /// Authentic datagrams by packet id.
    seen: BTreeMap<[u8; 4], Vec<u8>>,
}

impl KeyRing {
    pub(super) fn add(&mut self, block: &KeyBlock, cipher: Cipher, key_id: KeyId, peer_id: PeerId, now: Moment) {
        let keys = DataKeys::new(block, Side::Server, cipher, key_id, peer_id);
        self.keys.push(Key { keys, since: now, shown: self.made == 0, seen: BTreeMap::new() });
        self.made += 1;
    }

    /// Leaves the newest: a renegotiation has begun.
    pub(super) fn forget_older(&mut self) {
        let older = self.keys.len().saturating_sub(1);
        self.keys.drain(..older);
    }

    /// Opens a datagram; with the newest key only if that one is `usable`.
    pub(super) fn open(&mut self, datagram: &[u8], usable: bool, now: Moment) -> Option<Vec<u8>> {
        let key_id = data_key_id(*datagram.first()?)?;
        let newest = self.keys.len().checked_sub(1)?;
        let place = self.keys.iter().position(|key| key.keys.key_id == key_id)?;
        let key = self.keys.get_mut(place)?;
        if place == newest && self.made > 1 && !key.shown && !usable {
            return None;
        }
        let mut bytes = datagram.to_vec();
        let opened = key.keys.opener.open(&mut bytes, now).map(|packet| packet.to_vec());
        if matches!(opened, Ok(_) | Err(OpenError::Replayed)) {
            key.shown = true;
            let first = key.seen.entry(*datagram.get(4..)?.first_chunk()?).or_insert_with(|| datagram.to_vec());
            assert_eq!(first, datagram, "a packet id seals two packets under one key");
        }
        opened.ok()
    }

    /// Seals with the newest key if the client has shown it or `patience` has passed since it was made.
    pub(super) fn seal(&mut self, inner: &[u8], patience: Duration, now: Moment) -> Option<Vec<u8>> {
        let ready = |key: &Key| key.shown || now >= key.since + patience;
        let place = self.keys.iter().rposition(ready).or_else(|| self.keys.len().checked_sub(1))?;
        let key = self.keys.get_mut(place)?;
        let mut frame = vec![0; Sealer::HEADROOM];
        frame.extend_from_slice(inner);
        key.keys.sealer.seal(&mut frame).ok()?;
        Some(frame)
    }
}
