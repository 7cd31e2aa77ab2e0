//! What a lane does with the keys of a session, in the fewest words: the newest key seals from its moment on or once it
//! has opened something; the key id says which opens.

use std::collections::BTreeSet;

use mrvpn_clock::Moment;
use mrvpn_proto::{DataKeys, KeyId, Sealer, data_key_id};

#[derive(Default)]
pub(crate) struct Lane {
    /// Oldest first, and whether the server has sealed with it.
    keys: Vec<(DataKeys, bool)>,
    pub(crate) packets: Vec<(Moment, Vec<u8>)>,
    /// Every key and packet id that sealed.
    nonces: BTreeSet<(usize, [u8; 4])>,
    installed: usize,
    /// Next packet id and use with which the first key begins.
    age: Option<(u32, u64)>,
}

impl Lane {
    /// One whose first key has been used long before.
    pub(crate) fn aged(next: u32, spent: u64) -> Self {
        Self { age: Some((next, spent)), ..Self::default() }
    }

    /// Whether the sealing key wants to be replaced.
    pub(crate) fn worn(&self) -> bool {
        self.keys.last().is_some_and(|(keys, _)| keys.sealer.worn() || keys.opener.worn())
    }

    pub(crate) fn install(&mut self, keys: DataKeys) {
        assert!(self.keys.iter().all(|(other, _)| other.key_id != keys.key_id), "two keys have one id");
        let keys = match self.age.take() {
            Some((next, spent)) => keys.aged(next, spent),
            None => keys,
        };
        self.keys.push((keys, false));
        self.installed += 1;
        assert!(self.keys.len() <= 2, "a third key");
    }

    pub(crate) fn retire(&mut self, key_id: KeyId) {
        self.keys.retain(|(keys, _)| keys.key_id != key_id);
    }

    pub(crate) fn installed(&self) -> usize {
        self.installed
    }

    pub(crate) fn ids(&self) -> Vec<u8> {
        self.keys.iter().map(|(keys, _)| keys.key_id.get()).collect()
    }

    pub(crate) fn newest(&self) -> &DataKeys {
        &self.keys.last().unwrap().0
    }

    pub(crate) fn seal(&mut self, inner: &[u8], now: Moment) -> Vec<u8> {
        let due = |(keys, shown): &(DataKeys, bool)| *shown || keys.seal_after <= now;
        let place = self.keys.iter().rposition(due).unwrap_or(0);
        let mut frame = [vec![0; Sealer::HEADROOM], inner.to_vec()].concat();
        self.keys[place].0.sealer.seal(&mut frame).unwrap();
        let generation = self.installed - (self.keys.len() - place);
        // proves: I-12
        assert!(self.nonces.insert((generation, frame[4..8].try_into().unwrap())), "a nonce came twice");
        frame
    }

    pub(crate) fn open(&mut self, mut datagram: Vec<u8>, now: Moment) {
        let key_id = data_key_id(datagram[0]);
        let Some((keys, shown)) = self.keys.iter_mut().find(|(keys, _)| Some(keys.key_id) == key_id) else { return };
        if let Ok(packet) = keys.opener.open(&mut datagram, now) {
            *shown = true;
            self.packets.push((now, packet.to_vec()));
        }
    }
}
