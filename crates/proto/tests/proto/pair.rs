//! A client and a scripted server, joined by a link that loses, repeats and reorders datagrams as a seed says. Time
//! jumps to the next deadline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::{Cipher, Digest, PullOptions, Renewal, Transport, Wrap};
use mrvpn_proto::peer::{ScriptedConnector, ScriptedTls, TestServer, TestServerConfig};
use mrvpn_proto::{Event, Session, SessionConfig, Stage, Tls, TlsError, is_data};

use crate::lane::Lane;

pub(crate) const WALL: WallTime = WallTime::from_unix(1_764_000_000);

/// A configuration without anything special.
pub(crate) fn config(wrap: Wrap) -> SessionConfig {
    SessionConfig {
        wrap,
        ipv6_outside: false,
        transport: Transport::Udp,
        credentials: None,
        token: None,
        ciphers: Cipher::DEFAULT.to_vec(),
        fallback: None,
        digest: Digest::Sha1,
        pull: PullOptions::default(),
        hand_window: Duration::from_secs(60),
        renewal: Renewal::default(),
        explicit_exit_notify: None,
        version: String::from("0.1.0"),
    }
}

/// Out of 256: how often a datagram is lost, doubled, delayed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Link {
    pub(crate) loss: u8,
    pub(crate) doubling: u8,
    pub(crate) delay: u8,
}

pub(crate) struct Pair {
    pub(crate) client: Session,
    pub(crate) server: TestServer,
    pub(crate) now: Moment,
    pub(crate) events: Vec<Event>,
    /// Who seals and opens data, where a test has data.
    pub(crate) lane: Option<Lane>,
    /// Control datagrams that each side sent.
    pub(crate) sent: (Vec<Vec<u8>>, Vec<Vec<u8>>),
    pub(crate) link: Link,
    random: u64,
    /// Datagrams on the way, by arrival and order; true: to the server.
    wire: BTreeMap<(Moment, u64), (bool, Vec<u8>)>,
    count: u64,
}

impl Pair {
    pub(crate) fn new(client: SessionConfig, server: TestServerConfig, link: Link, seed: u64) -> Self {
        Self::of(session(client, seed), TestServer::new(server, accept(seed), WALL), link, seed)
    }

    pub(crate) fn of(client: Session, server: TestServer, link: Link, seed: u64) -> Self {
        Self {
            client,
            server,
            now: Moment::default(),
            events: Vec::new(),
            lane: None,
            sent: (Vec::new(), Vec::new()),
            link,
            random: seed ^ 0x9e37_79b9_7f4a_7c15,
            wire: BTreeMap::new(),
            count: 0,
        }
    }

    /// Runs until the client is up or has ended, or `limit` has passed.
    pub(crate) fn run(&mut self, limit: Duration) {
        self.run_until(limit, |pair| matches!(pair.client.stage(), Stage::Up | Stage::Ended));
    }

    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.now + limit;
        self.drain();
        while !done(self) {
            let next = self.next_moment().filter(|next| *next <= end);
            let Some(next) = next else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            self.step();
        }
    }

    fn next_moment(&self) -> Option<Moment> {
        let arrival = self.wire.keys().next().map(|(at, _)| *at);
        let timers = [self.client.poll_timeout().map(|(at, _)| at), self.server.poll_timeout(), arrival];
        timers.into_iter().flatten().min()
    }

    fn step(&mut self) {
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (to_server, datagram) = entry.remove();
            if to_server {
                self.server.handle_datagram(&datagram, self.now);
            } else if is_data(datagram[0]) {
                if let Some(lane) = &mut self.lane {
                    lane.open(datagram, self.now);
                }
            } else {
                let _ = self.client.handle_control(&datagram, self.now);
            }
            self.drain();
        }
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
        self.drain();
        if let Some((next, timer)) = self.client.poll_timeout() {
            assert!(next > self.now, "a deadline is left behind: {timer:?}");
        }
    }

    /// Empties every queue, and checks that no deadline is left behind.
    pub(crate) fn drain(&mut self) {
        while let Some(datagram) = self.client.poll_transmit() {
            self.sent.0.push(datagram.clone());
            self.send(true, datagram);
        }
        while let Some(datagram) = self.server.poll_transmit() {
            self.sent.1.push(datagram.clone());
            self.send(false, datagram);
        }
        while let Some(event) = self.client.poll_event() {
            match (event, &mut self.lane) {
                (Event::Keys(keys), Some(lane)) => lane.install(*keys),
                (Event::Retire(key_id), Some(lane)) => lane.retire(key_id),
                (event, _) => self.events.push(event),
            }
        }
    }

    /// Sends a data packet to the server.
    pub(crate) fn send_data(&mut self, inner: &[u8]) {
        let Some(lane) = &mut self.lane else { return };
        let datagram = lane.seal(inner, self.now);
        self.send(true, datagram);
    }

    fn send(&mut self, to_server: bool, datagram: Vec<u8>) {
        let [loss, doubling, delay, _, ..] = self.roll();
        // What happens to data is then the keys' doing alone.
        if loss < self.link.loss && !is_data(datagram[0]) {
            return;
        }
        let copies = if doubling < self.link.doubling { 2 } else { 1 };
        for copy in 0..copies {
            let late = if delay < self.link.delay { u64::from(delay) + 40 * copy } else { 0 };
            let at = self.now + Duration::from_millis(10 + late);
            self.count += 1;
            self.wire.insert((at, self.count), (to_server, datagram.clone()));
        }
    }

    /// SplitMix64.
    fn roll(&mut self) -> [u8; 8] {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_be_bytes()
    }
}

/// A session over scripted TLS.
pub(crate) fn session(config: SessionConfig, seed: u64) -> Session {
    refusing(config, seed, None)
}

/// A session over scripted TLS that refuses every server for this reason.
pub(crate) fn refusing(config: SessionConfig, seed: u64, refusal: Option<TlsError>) -> Session {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    Session::new(config, Arc::new(ScriptedConnector { seed, refusal }), bytes, WALL, Moment::default()).unwrap()
}

/// Scripted TLS of a server: other randoms each time.
pub(crate) fn accept(mut seed: u64) -> Box<dyn FnMut() -> Box<dyn Tls> + Send> {
    Box::new(move || {
        seed = seed.wrapping_add(1);
        Box::new(ScriptedTls::server(seed))
    })
}
