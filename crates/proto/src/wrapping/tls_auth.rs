//! tls-auth: an HMAC between session id and replay fields (openvpn-protocol.md section 2.2; OpenVPN `ssl_pkt.c`,
//! `swap_hmac`, and `crypto.c`). It authenticates and hides nothing.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::fmt;

use aws_lc_rs::{constant_time, hmac};
use mrvpn_profile::static_key::KeySlot;
use mrvpn_profile::{Digest, KeyDirection, StaticKey};

use super::Side;
use crate::control::ControlHead;
use crate::dropped::Dropped;
use crate::ids::PacketId;
use crate::reader::Reader;
use crate::replay::Stamp;

/// The two HMAC keys of a session.
#[derive(Clone)]
pub(super) struct TlsAuth {
    send: hmac::Key,
    receive: hmac::Key,
    digest: Digest,
}

impl TlsAuth {
    pub(super) fn new(key: &StaticKey, client: KeyDirection, digest: Digest, side: Side) -> Self {
        let (send, receive) = slots(client, side);
        Self { send: hmac_key(key, send, digest), receive: hmac_key(key, receive, digest), digest }
    }

    /// Tag, packet id and time.
    pub(super) const fn overhead(&self) -> usize {
        self.digest.len().saturating_add(8)
    }

    pub(super) fn wrap(&self, head: ControlHead, body: &[u8], stamp: Stamp, out: &mut Vec<u8>) {
        let head = head.bytes();
        let replay = replay_fields(stamp);
        out.extend_from_slice(&head);
        out.extend_from_slice(tag(&self.send, &replay, &head, body).as_ref());
        out.extend_from_slice(&replay);
        out.extend_from_slice(body);
    }

    pub(super) fn unwrap(&self, head: ControlHead, rest: &[u8]) -> Result<(Vec<u8>, Stamp), Dropped> {
        let mut reader = Reader::new(rest);
        let claimed = reader.take(self.digest.len()).ok_or(Dropped::Short)?;
        let replay: [u8; 8] = reader.array().ok_or(Dropped::Short)?;
        let expected = tag(&self.receive, &replay, &head.bytes(), reader.rest());
        constant_time::verify_slices_are_equal(claimed, expected.as_ref()).map_err(|_| Dropped::Forged)?;
        Ok((reader.rest().to_vec(), stamp(replay)?))
    }
}

/// The HMAC's input has the replay fields in front.
fn tag(key: &hmac::Key, replay: &[u8; 8], head: &[u8; ControlHead::LEN], body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(replay);
    context.update(head);
    context.update(body);
    context.sign()
}

/// The replay fields of tls-auth and tls-crypt as on the wire.
pub(super) fn replay_fields(stamp: Stamp) -> [u8; 8] {
    let [a, b, c, d] = stamp.id.get().to_be_bytes();
    let [e, f, g, h] = stamp.time.to_be_bytes();
    [a, b, c, d, e, f, g, h]
}

/// The stamp in authenticated replay fields.
pub(super) fn stamp(fields: [u8; 8]) -> Result<Stamp, Dropped> {
    let [a, b, c, d, e, f, g, h] = fields;
    let id = PacketId::new(u32::from_be_bytes([a, b, c, d])).ok_or(Dropped::Replayed)?;
    Ok(Stamp { id, time: u32::from_be_bytes([e, f, g, h]) })
}

/// Send and receive slot (section 2.1). The server's view is the mirror of the client's.
const fn slots(client: KeyDirection, side: Side) -> (KeySlot, KeySlot) {
    match (client, side) {
        (KeyDirection::Both, _) => (KeySlot::First, KeySlot::First),
        (KeyDirection::Normal, Side::Client) | (KeyDirection::Inverse, Side::Server) => {
            (KeySlot::First, KeySlot::Second)
        }
        (KeyDirection::Inverse, Side::Client) | (KeyDirection::Normal, Side::Server) => {
            (KeySlot::Second, KeySlot::First)
        }
    }
}

fn hmac_key(key: &StaticKey, slot: KeySlot, digest: Digest) -> hmac::Key {
    let algorithm = match digest {
        Digest::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Digest::Sha256 => hmac::HMAC_SHA256,
        Digest::Sha384 => hmac::HMAC_SHA384,
        Digest::Sha512 => hmac::HMAC_SHA512,
    };
    let slot = key.hmac(slot);
    hmac::Key::new(algorithm, slot.get(..digest.len()).unwrap_or(slot))
}

impl fmt::Debug for TlsAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsAuth({})", self.digest.name())
    }
}
