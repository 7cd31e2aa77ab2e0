//! The data keys of one tunnel: at most two at a time, so that packets under the old key are still read while the new
//! one takes over. New keys open at once; they seal from the moment that the session names, or as soon as the server
//! has shown that it has them (openvpn-protocol.md section 10.4). When a key is made or retired is the session's
//! decision; `proto` does the cryptography.

use mrvpn_clock::Moment;
use mrvpn_proto::{DataKeys, KeyId, Opener, Sealer};

/// Keys of one session.
#[derive(Debug)]
pub struct Keys {
    sealing: Box<DataKeys>,
    other: Option<Other>,
}

/// The key that does not seal.
#[derive(Debug)]
enum Other {
    /// It takes over at its moment, or earlier.
    Newer(Box<DataKeys>),
    /// It was in use before.
    Older(Box<DataKeys>),
}

impl Other {
    const fn keys(&mut self) -> &mut DataKeys {
        match self {
            Self::Newer(keys) | Self::Older(keys) => keys,
        }
    }

    const fn key_id(&self) -> KeyId {
        match self {
            Self::Newer(keys) | Self::Older(keys) => keys.key_id,
        }
    }
}

impl Keys {
    /// The first keys of a session.
    #[must_use]
    pub const fn new(keys: Box<DataKeys>) -> Self {
        Self { sealing: keys, other: None }
    }

    /// Takes newer keys, which seal from their `seal_after` on. What seals until then, or did before, only opens afterwards;
    /// what was older is gone.
    pub fn install(&mut self, keys: Box<DataKeys>) {
        self.take_over();
        self.other = Some(Other::Newer(keys));
    }

    /// Forgets the keys of this id. Where they seal, newer ones take over; the only keys stay: a session always has
    /// some.
    pub fn retire(&mut self, key_id: KeyId) {
        if self.sealing.key_id == key_id {
            self.take_over();
        }
        if self.other.as_ref().is_some_and(|other| other.key_id() == key_id) {
            self.other = None;
        }
    }

    /// What seals now.
    pub fn sealer(&mut self, now: Moment) -> &mut Sealer {
        let due = match &self.other {
            Some(Other::Newer(keys)) => keys.seal_after <= now || self.sealing.sealer.worn(),
            Some(Other::Older(_)) | None => false,
        };
        if due {
            self.take_over();
        }
        &mut self.sealing.sealer
    }

    /// What opens datagrams of this key id; `None` where there is no such key. Two keys that are alive at once never
    /// have the same id.
    pub fn opener(&mut self, key_id: KeyId) -> Option<&mut Opener> {
        if self.sealing.key_id == key_id {
            return Some(&mut self.sealing.opener);
        }
        let other = self.other.as_mut()?;
        (other.key_id() == key_id).then(|| &mut other.keys().opener)
    }

    /// A datagram of this key id was authentic: where it is the newer key, the server has it, and it seals from now on.
    pub fn opened(&mut self, key_id: KeyId) {
        if self.sealing.key_id != key_id && matches!(&self.other, Some(Other::Newer(keys)) if keys.key_id == key_id) {
            self.take_over();
        }
    }

    /// Whether the session should make new keys: those that seal are nearly used up in either direction, and no newer
    /// ones are here.
    #[must_use]
    pub fn are_worn(&self) -> bool {
        let worn = self.sealing.sealer.worn() || self.sealing.opener.worn();
        worn && !matches!(self.other, Some(Other::Newer(..)))
    }

    /// The newer keys, if there are any, seal from now on.
    fn take_over(&mut self) {
        match self.other.take() {
            Some(Other::Newer(keys)) => {
                let older = std::mem::replace(&mut self.sealing, keys);
                self.other = Some(Other::Older(older));
            }
            other @ (Some(Other::Older(_)) | None) => self.other = other,
        }
    }
}

#[cfg(test)]
mod tests {
    use mrvpn_profile::Cipher;
    use mrvpn_proto::key_block::KeyBlock;
    use mrvpn_proto::wrapping::Side;
    use mrvpn_proto::{PeerId, data_key_id};

    use super::*;

    fn id(number: u8) -> KeyId {
        KeyId::new(number).unwrap()
    }

    fn fresh(number: u8) -> Box<DataKeys> {
        let block = KeyBlock::from_bytes([number; KeyBlock::LEN]);
        Box::new(DataKeys::new(&block, Side::Client, Cipher::Aes128Gcm, id(number), PeerId::new(1).unwrap()))
    }

    fn due(number: u8, seconds: u64) -> Box<DataKeys> {
        Box::new(DataKeys { seal_after: at(seconds), ..*fresh(number) })
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    fn seals_with(keys: &mut Keys, now: Moment) -> KeyId {
        let mut frame = [0; 40];
        keys.sealer(now).seal(&mut frame).unwrap();
        data_key_id(frame[0]).unwrap()
    }

    #[test]
    fn the_old_key_seals_until_the_moment_of_the_new_one_and_both_open() {
        let mut keys = Keys::new(fresh(0));
        keys.install(due(1, 60));
        assert_eq!(seals_with(&mut keys, at(59)), id(0));
        assert!(keys.opener(id(0)).is_some() && keys.opener(id(1)).is_some());
        assert_eq!(seals_with(&mut keys, at(60)), id(1));
        assert!(keys.opener(id(0)).is_some() && keys.opener(id(1)).is_some());
        assert!(keys.opener(id(2)).is_none());
    }

    #[test]
    fn a_packet_of_the_new_key_makes_it_seal_at_once() {
        let mut keys = Keys::new(fresh(0));
        keys.install(due(1, 60));
        keys.opened(id(0));
        assert_eq!(seals_with(&mut keys, at(1)), id(0), "the server still uses the old one");
        keys.opened(id(1));
        assert_eq!(seals_with(&mut keys, at(1)), id(1));
    }

    #[test]
    fn old_key_is_refused_once_it_is_retired_and_the_only_key_stays() {
        let mut keys = Keys::new(fresh(0));
        keys.retire(id(0));
        assert_eq!(seals_with(&mut keys, at(1)), id(0));
        keys.install(due(1, 60));
        keys.retire(id(0));
        assert_eq!(seals_with(&mut keys, at(1)), id(1), "what was to seal until then is gone");
        assert!(keys.opener(id(0)).is_none());
    }

    #[test]
    fn a_third_key_ends_the_first_and_ids_come_round_to_one() {
        let mut keys = Keys::new(fresh(6));
        keys.install(due(7, 0));
        assert_eq!(seals_with(&mut keys, at(0)), id(7));
        keys.install(due(1, 60));
        assert!(keys.opener(id(6)).is_none());
        assert_eq!(seals_with(&mut keys, at(0)), id(7));
        assert_eq!(seals_with(&mut keys, at(60)), id(1));
    }

    #[test]
    fn newer_keys_that_never_sealed_yet_are_not_lost_to_still_newer_ones() {
        let mut keys = Keys::new(fresh(0));
        keys.install(due(1, 60));
        keys.install(due(2, 120));
        assert!(keys.opener(id(1)).is_some() && keys.opener(id(2)).is_some() && keys.opener(id(0)).is_none());
        assert_eq!(seals_with(&mut keys, at(1)), id(1));
    }
}
