//! Session ids that are cookies: made from the client's address, its session id and the time, so that a server need keep
//! nothing of a client before it has shown that its address is its own (openvpn-protocol.md section 3.5; OpenVPN
//! `ssl_pkt.c`, `calculate_session_id_hmac`). What is done with them is `first_contact.rs`.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::{constant_time, hmac};
use mrvpn_clock::Moment;

use crate::ids::SessionId;
use crate::limits;

pub(super) struct Cookies {
    key: hmac::Key,
}

impl Cookies {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The server's session id for this client now; `None` for the one in 2^64 that is no session id.
    pub(super) fn bake(&self, from: SocketAddr, client: SessionId, now: Moment) -> Option<SessionId> {
        self.of_slot(slot(now), from, client)
    }

    /// Whether `claimed` was baked for this client lately.
    pub(super) fn knows(&self, claimed: SessionId, from: SocketAddr, client: SessionId, now: Moment) -> bool {
        let now = slot(now);
        (0..3_u64).filter_map(|back| now.checked_sub(back)).any(|slot| {
            let baked = self.of_slot(slot, from, client);
            baked.is_some_and(|id| constant_time::verify_slices_are_equal(id.bytes(), claimed.bytes()).is_ok())
        })
    }

    fn of_slot(&self, slot: u64, from: SocketAddr, client: SessionId) -> Option<SessionId> {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&slot.to_be_bytes());
        match from.ip() {
            IpAddr::V4(ip) => context.update(&ip.octets()),
            IpAddr::V6(ip) => context.update(&ip.octets()),
        }
        context.update(&from.port().to_be_bytes());
        context.update(client.bytes());
        context.sign().as_ref().first_chunk().copied().and_then(SessionId::new)
    }
}

fn slot(now: Moment) -> u64 {
    now.since(Moment::default()).as_secs().checked_div(limits::COOKIE_SLOT.as_secs()).unwrap_or(0)
}

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookies(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_counts_for_its_client_for_a_minute_and_more() {
        let cookies = Cookies::new(&[7; 32]);
        let from: SocketAddr = "192.0.2.1:4000".parse().unwrap();
        let client = SessionId::new([5; 8]).unwrap();
        let start = Moment::default() + limits::COOKIE_SLOT;
        let cookie = cookies.bake(from, client, start).unwrap();
        for (slots, known) in [(0, true), (1, true), (2, true), (3, false)] {
            assert_eq!(cookies.knows(cookie, from, client, start + limits::COOKIE_SLOT * slots), known, "{slots}");
        }
        assert!(!cookies.knows(cookie, from, client, Moment::default()));
        assert!(!cookies.knows(cookie, "192.0.2.1:4001".parse().unwrap(), client, start));
        assert!(!cookies.knows(cookie, "192.0.2.2:4000".parse().unwrap(), client, start));
        assert!(!cookies.knows(cookie, from, SessionId::new([6; 8]).unwrap(), start));
        assert!(!Cookies::new(&[8; 32]).knows(cookie, from, client, start));
    }
}
