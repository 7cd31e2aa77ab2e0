//! The servers of a simulated world, with the hosts behind them: what a client sends comes out here and is answered. They push
//! what they are told to, forget everything when they are killed, and say nothing while they are off. What of it arrives is
//! judged by the oracle.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_proto::PING;
use mrvpn_proto::peer::{Login, ScriptedTls, TestServer, TestServerConfig};

use super::machine::WALL;
use super::setup::Push;
use crate::sim::apps::packet::{self, FragmentOf, Seen};
use crate::sim::reference::Place;

/// How long a server seals with the old key after a renewal.
const PATIENCE: Duration = Duration::from_secs(2);

/// One server.
pub(crate) struct Site {
    place: Place,
    server: TestServer,
    /// What it pushes.
    pub(crate) push: Push,
    /// Until when it says nothing, where it is off.
    pub(crate) off_until: Option<Moment>,
    /// Where its client is.
    client: Option<SocketAddr>,
    /// How often it was started.
    lives: u32,
    next_ping: Moment,
    fragments: BTreeMap<FragmentOf, BTreeMap<usize, Vec<u8>>>,
    /// What asked lately: what it lies about is none of these.
    pub(crate) lately: VecDeque<Seen>,
}

impl Site {
    pub(crate) fn new(place: Place, push: Push, now: Moment) -> Self {
        Self {
            place,
            server: server(place, &push, 0),
            push,
            off_until: None,
            client: None,
            lives: 0,
            next_ping: now,
            fragments: BTreeMap::new(),
            lately: VecDeque::new(),
        }
    }

    /// It is killed and begins anew with another push, once it is back.
    pub(crate) fn restart(&mut self, push: Push, back: Moment) {
        self.lives += 1;
        self.server = server(self.place, &push, self.lives);
        (self.push, self.off_until, self.client) = (push, Some(back), None);
        self.fragments.clear();
        self.lately.clear();
    }

    /// Whether it says nothing at `now`.
    pub(crate) fn is_off(&self, now: Moment) -> bool {
        self.off_until.is_some_and(|until| now < until)
    }

    /// Names its session in the whole run.
    pub(crate) fn session(&self) -> u32 {
        self.lives * 10_000 + u32::try_from(self.server.sessions()).unwrap_or(u32::MAX)
    }

    /// The addresses that its session was assigned.
    pub(crate) fn inner(&self) -> Vec<IpAddr> {
        self.push.inner()
    }

    /// Takes a datagram.
    pub(crate) fn arrive(&mut self, from: SocketAddr, datagram: &[u8], now: Moment) {
        if !self.is_off(now) {
            self.server.handle_datagram(datagram, now);
            self.client = Some(from);
        }
    }

    /// Lets time pass.
    pub(crate) fn pass_time(&mut self, now: Moment) {
        if self.is_off(now) {
            return;
        }
        self.server.handle_timeout(now);
        if self.next_ping <= now {
            self.next_ping = now + Duration::from_secs(u64::from(self.push.ping));
            self.server.send_packet(&PING, PATIENCE, now);
        }
    }

    /// When time is to pass.
    pub(crate) fn poll_timeout(&self, now: Moment) -> Option<Moment> {
        let due = self.server.poll_timeout().into_iter().chain([self.next_ping]).min();
        match self.off_until {
            Some(until) if now < until => due.map(|due| due.max(until)),
            Some(_) | None => due,
        }
    }

    /// The next datagram, and where to.
    pub(crate) fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        let datagram = self.server.poll_transmit()?;
        Some((self.client?, datagram))
    }

    /// The next whole packet that its client has sent.
    pub(crate) fn poll_packet(&mut self) -> Option<Vec<u8>> {
        loop {
            let inner = self.server.poll_packet()?;
            if !packet::is_packet(&inner) {
                continue;
            }
            match packet::fragment(&inner) {
                None => return Some(inner),
                Some(part) => {
                    if let Some(whole) = self.join(part, inner) {
                        return Some(whole);
                    }
                }
            }
        }
    }

    fn join(&mut self, (of, offset, _): (FragmentOf, usize, bool), piece: Vec<u8>) -> Option<Vec<u8>> {
        let pieces = self.fragments.entry(of).or_default();
        pieces.insert(offset, piece);
        let whole = packet::join(pieces)?;
        self.fragments.remove(&of);
        Some(whole)
    }

    /// Sends a packet to its client, cut to 1,500 bytes.
    pub(crate) fn send(&mut self, inner: &[u8], now: Moment) {
        for piece in packet::cut(inner, 1_400) {
            self.server.send_packet(&piece, PATIENCE, now);
        }
    }

    /// Says a control string.
    pub(crate) fn say(&mut self, text: &str, now: Moment) {
        self.server.say(text, now);
    }

    /// Begins a renegotiation.
    pub(crate) fn renegotiate(&mut self, now: Moment) {
        self.server.renegotiate(now);
    }

    /// Remembers that it was asked.
    pub(crate) fn note(&mut self, seen: Seen) {
        if self.lately.len() == 64 {
            self.lately.pop_front();
        }
        self.lately.push_back(seen);
    }
}

fn server(place: Place, push: &Push, lives: u32) -> TestServer {
    let mut config = TestServerConfig::new(mrvpn_profile::Wrap::None);
    config.login = Login::Any;
    config.peer_id = u32::try_from(place).unwrap_or(0);
    let peer_id = config.peer_id;
    config.push = vec![format!(
        "PUSH_REPLY,{},peer-id {peer_id},cipher AES-256-GCM,protocol-flags cc-exit tls-ekm",
        push.options().join(",")
    )];
    let mut seed = 1_000_000 * (place as u64 + 1) + 1_000 * u64::from(lives);
    let accept = move || {
        seed += 1;
        Box::new(ScriptedTls::server(seed)) as _
    };
    TestServer::new(config, Box::new(accept), WALL)
}
