//! What all clients of a server share: its configuration, its randomness, its calendar, and the queues towards the
//! owner. No client is in it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore as _;

use super::acceptor::TlsAcceptor;
use super::config::ServerConfig;
use super::event::{ClientId, ServerEvent};
use crate::ids::SessionId;

pub(super) struct Shared {
    pub(super) config: ServerConfig,
    pub(super) acceptor: Arc<dyn TlsAcceptor>,
    pub(super) random: ChaCha20Rng,
    /// Calendar time and moment of the beginning.
    pub(super) epoch: (WallTime, Moment),
    pub(super) outbox: VecDeque<(SocketAddr, Vec<u8>)>,
    pub(super) events: VecDeque<(ClientId, ServerEvent)>,
}

impl Shared {
    /// The calendar time by this server's own counting.
    pub(super) fn wall(&self, now: Moment) -> WallTime {
        let (wall, began) = self.epoch;
        WallTime::from_unix(wall.unix().saturating_add(now.since(began).as_secs()))
    }

    pub(super) fn random_session_id(&mut self) -> SessionId {
        loop {
            let mut bytes = [0; SessionId::LEN];
            self.random.fill_bytes(&mut bytes);
            if let Some(id) = SessionId::new(bytes) {
                return id;
            }
        }
    }

    /// `time` less up to a tenth at random, so that clients that came together do not renew together.
    pub(super) fn shortened(&mut self, time: Duration) -> Duration {
        time - time * (self.random.next_u32() % 100) / 1_000
    }
}
