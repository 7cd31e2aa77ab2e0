//! The server half of the protocol: many clients behind one socket, as one value without I/O, clock or randomness of its
//! own, in the same shape as [`crate::Session`]. Data packets never pass here: the owner's data path finds their client by
//! peer id ([`ClientId`]) and is handed the keys. There is no address pool, no user list and no certificate authority
//! here either: the owner answers [`ServerEvent::Login`].
//!
//! Straight line: [`Server::handle_datagram`] finds the client, or `first_contact.rs` makes one; `intake.rs` judges and
//! takes; `handshake.rs` goes from TLS to the login; `push.rs` and `renewal.rs` make keys; `timers.rs` has the deadlines;
//! `farewell.rs` ends a client.

mod abilities;
mod acceptor;
mod client;
mod client_key;
mod config;
mod cookie;
mod data;
mod event;
mod farewell;
mod first_contact;
#[cfg(any(test, feature = "test-peer"))]
mod forge;
mod handshake;
mod intake;
mod negotiation;
mod push;
mod renewal;
mod reset_rate;
mod rustls_acceptor;
mod shared;
mod timers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use mrvpn_clock::{Moment, WallTime};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use zeroize::Zeroizing;

use crate::channel::Channel;
use crate::control::ControlHead;
use crate::dropped::Dropped;
use crate::ids::SessionId;
use client::{Beginning, Client};
use cookie::Cookies;
use negotiation::{Negotiation, Step};
use reset_rate::ResetRate;
use shared::Shared;

pub use acceptor::TlsAcceptor;
pub use client_key::ServerKey;
pub use config::{ServerConfig, ServerTransport, ServerWrap};
pub use data::ServerData;
pub use event::{ClientId, Farewell, Gone, LoginRequest, Push, ServerEvent, ServerTimer};
#[cfg(any(test, feature = "test-peer"))]
pub use forge::{Forged, ForgedWrap};
pub use rustls_acceptor::RustlsAcceptor;

/// A server.
///
/// `handle_*` and the commands take the outside world in, `poll_*` gives it out. After each call `poll_transmit` and
/// `poll_event` until they return `None`; then `poll_timeout` is later than the moment handed to `handle_timeout` last.
/// `now` never goes back. A command for a client that is gone does nothing.
pub struct Server {
    clients: BTreeMap<ClientId, Client>,
    /// Clients by address and their own session id: one that begins anew from the same address is another.
    sessions: BTreeMap<(SocketAddr, SessionId), ClientId>,
    deadlines: BTreeSet<(Moment, ClientId)>,
    last_id: u32,
    cookies: Cookies,
    resets: ResetRate,
    dropped: BTreeMap<Dropped, u64>,
    shared: Shared,
}

impl Server {
    /// A server without clients.
    ///
    /// `acceptor` makes the TLS of each negotiation. `seed` makes session ids, cookies and randoms: use a fresh one for
    /// each server, from the system's random source. `wall` is the calendar time now.
    #[must_use]
    pub fn new(
        config: ServerConfig,
        acceptor: Arc<dyn TlsAcceptor>,
        seed: [u8; 32],
        now: Moment,
        wall: WallTime,
    ) -> Self {
        let mut random = ChaCha20Rng::from_seed(seed);
        let mut key = Zeroizing::new([0; 32]);
        random.fill_bytes(key.as_mut_slice());
        Self {
            clients: BTreeMap::new(),
            sessions: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            last_id: u32::MAX,
            cookies: Cookies::new(&key),
            resets: ResetRate::new(config.resets, now),
            dropped: BTreeMap::new(),
            shared: Shared {
                config,
                acceptor,
                random,
                epoch: (wall, now),
                outbox: VecDeque::new(),
                events: VecDeque::new(),
            },
        }
    }

    /// Takes any datagram that is not a data packet. What does not fit changes nothing but [`Self::dropped`].
    pub fn handle_datagram(&mut self, from: SocketAddr, datagram: &mut [u8], now: Moment) {
        if let Err(why) = self.take_datagram(from, datagram, now) {
            let count = self.dropped.entry(why).or_default();
            *count = count.saturating_add(1);
        }
    }

    fn take_datagram(&mut self, from: SocketAddr, datagram: &[u8], now: Moment) -> Result<(), Dropped> {
        let (head, _) = ControlHead::parse(datagram)?;
        let Some(&id) = self.sessions.get(&(from, head.session)) else {
            return self.greet(from, datagram, now);
        };
        self.with(id, now, |client, shared| client.take_datagram(shared, datagram, now)).unwrap_or(Err(Dropped::Ended))
    }

    /// Does all that is due at `now`. To call it early is harmless.
    pub fn handle_timeout(&mut self, now: Moment) {
        let due: Vec<ClientId> = self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect();
        for id in due {
            self.with(id, now, |client, shared| client.take_timeout(shared, now));
        }
    }

    /// When to call [`Self::handle_timeout`], and why; `None` while there are no clients.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Moment, ServerTimer)> {
        let (_, id) = self.deadlines.first()?;
        self.clients.get(id)?.noted
    }

    /// The next datagram, and for whom.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.shared.outbox.pop_front()
    }

    /// The next event, and of whom.
    pub fn poll_event(&mut self) -> Option<(ClientId, ServerEvent)> {
        self.shared.events.pop_front()
    }

    /// Lets a client in whose [`ServerEvent::Login`] came.
    pub fn admit(&mut self, client: ClientId, push: Push, now: Moment) {
        self.with(client, now, |client, shared| client.admit(shared, push, now));
        self.replace_others(client, now);
    }

    /// Refuses a client whose [`ServerEvent::Login`] came, or any: it is told `text`, such as `AUTH_FAILED`, and ends.
    pub fn refuse(&mut self, client: ClientId, text: &str, now: Moment) {
        self.with(client, now, |client, _| client.refuse(text, now));
    }

    /// Says a control string to a client, with a NUL behind it.
    pub fn say(&mut self, client: ClientId, text: &[u8], now: Moment) {
        self.with(client, now, |client, _| client.say(text));
    }

    /// Begins a renegotiation, where the client is up and none is on.
    pub fn renegotiate(&mut self, client: ClientId, now: Moment) {
        self.with(client, now, |client, shared| {
            if client.may_renew() {
                client.begin_renewal(shared, now);
            }
        });
    }

    /// The data path saw an authentic packet of this client from another address: that is its address now.
    pub fn floated(&mut self, client: ClientId, to: SocketAddr, now: Moment) {
        let Some(found) = self.clients.get_mut(&client) else { return };
        self.sessions.remove(&(found.address, found.peer));
        found.address = to;
        found.heard(now);
        self.sessions.insert((to, found.peer), client);
    }

    /// The data path opened a packet of this client at the moment `at`.
    pub fn heard(&mut self, client: ClientId, at: Moment) {
        if let Some(client) = self.clients.get_mut(&client) {
            client.heard(at);
        }
    }

    /// Sends a client away. [`ServerEvent::Gone`] follows when it has acknowledged the last word, in 5 s at the latest.
    pub fn disconnect(&mut self, client: ClientId, farewell: Farewell, now: Moment) {
        self.with(client, now, |client, _| client.disconnect(&farewell, now));
    }

    /// The stream of this address has ended: its clients are gone.
    pub fn closed(&mut self, from: SocketAddr, now: Moment) {
        for id in self.at(from) {
            self.with(id, now, |client, _| client.vanish(Gone::Closed));
        }
    }

    /// Where a client is.
    #[must_use]
    pub fn address(&self, client: ClientId) -> Option<SocketAddr> {
        self.clients.get(&client).map(|client| client.address)
    }

    /// How many clients there are, half-open ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there are no clients.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// How many datagrams were dropped, and why.
    #[must_use]
    pub const fn dropped(&self) -> &BTreeMap<Dropped, u64> {
        &self.dropped
    }

    /// Acts on a client, puts on the wire what follows, and removes it if it is gone.
    fn with<T>(&mut self, id: ClientId, now: Moment, act: impl FnOnce(&mut Client, &mut Shared) -> T) -> Option<T> {
        let client = self.clients.get_mut(&id)?;
        let answer = act(client, &mut self.shared);
        client.flush(&mut self.shared, now);
        if let Some((at, _)) = client.noted.take() {
            self.deadlines.remove(&(at, id));
        }
        client.noted = client.due(&self.shared);
        if let Some((at, _)) = client.noted {
            self.deadlines.insert((at, id));
        }
        if let Some(why) = client.gone().cloned() {
            self.sessions.remove(&(client.address, client.peer));
            self.clients.remove(&id);
            self.shared.events.push_back((id, ServerEvent::Gone(why)));
        }
        Some(answer)
    }

    /// Takes a new client in; `datagram` is its first.
    fn begin(
        &mut self,
        beginning: Beginning,
        channel: Channel,
        step: Step,
        datagram: &[u8],
        now: Moment,
    ) -> Result<(), Dropped> {
        let (id, from, peer) = (beginning.id, beginning.address, beginning.peer);
        let deadline = now + self.shared.config.handshake;
        let negotiation = Negotiation::new(channel, step, &mut self.shared.random, now, deadline);
        self.last_id = id.get();
        self.sessions.insert((from, peer), id);
        self.clients.insert(id, Client::new(beginning, negotiation, now));
        self.shared.events.push_back((id, ServerEvent::Began { from }));
        self.with(id, now, |client, shared| client.take_datagram(shared, datagram, now)).unwrap_or(Err(Dropped::Ended))
    }

    fn make_room(&self) -> Result<(), Dropped> {
        let half_open = self.clients.values().filter(|client| client.is_half_open()).count();
        if half_open >= self.shared.config.half_open { Err(Dropped::Crowded) } else { Ok(()) }
    }

    /// The next free number.
    fn next_id(&self) -> Result<ClientId, Dropped> {
        const MOST: u32 = 0x00ff_ffff;
        let most = self.shared.config.clients.min(MOST);
        let after = self.last_id.wrapping_add(1);
        let free = |number: &u32| !self.clients.contains_key(&ClientId(*number));
        let (first, second) = (after.min(most)..most, 0..after.min(most));
        first.chain(second).find(free).map(ClientId).ok_or(Dropped::Crowded)
    }

    /// A client that is let in replaces others of its address: one that began anew there has forgotten them.
    fn replace_others(&mut self, client: ClientId, now: Moment) {
        let Some(found) = self.clients.get(&client).filter(|client| !client.is_half_open()) else { return };
        for other in self.at(found.address).into_iter().filter(|other| *other != client) {
            self.with(other, now, |client, _| client.vanish(Gone::Replaced));
        }
    }

    fn at(&self, address: SocketAddr) -> Vec<ClientId> {
        let least = SessionId::new([0, 0, 0, 0, 0, 0, 0, 1]).expect("it is not all zero");
        let here = self.sessions.range((address, least)..).take_while(|((at, _), _)| *at == address);
        here.map(|(_, id)| *id).collect()
    }
}

/// All state but secrets and counters; two servers that print the same behave the same as far as datagrams can change
/// them.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("clients", &self.clients)
            .field("resets", &self.resets)
            .field("outbox", &self.shared.outbox)
            .field("events", &self.shared.events)
            .finish_non_exhaustive()
    }
}
