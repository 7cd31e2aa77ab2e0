//! What the region knows of a client that is in: who it is, where it is, what it has sent and got. The counters are written
//! by one worker each and read by anybody.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use mrvpn_clock::Moment;
use mrvpn_profile::Cipher;

use crate::spec::Transport;

/// A client, as it was when it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSeen {
    /// The user that it logged in as; empty where the region asks for none. Foreign text, escaped.
    pub user: String,
    /// The common name of its certificate. Foreign text, escaped.
    pub common_name: String,
    /// Where it is now.
    pub from: SocketAddr,
    /// How it is connected.
    pub transport: Transport,
    /// The address that it was given.
    pub address: Ipv4Addr,
    /// The same of IPv6.
    pub address6: Option<Ipv6Addr>,
    /// The data cipher; `None` until its push has arrived.
    pub cipher: Option<Cipher>,
    /// Its data keys since it is in: 1, and one more for each renegotiation.
    pub keys: u32,
    /// What went through.
    pub traffic: Traffic,
}

/// Packets within the tunnel and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets from the client.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Packets to the client.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets that were dropped, either way, whatever the reason.
    pub dropped: u64,
}

/// Counters of one client.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    received: AtomicU64,
    received_bytes: AtomicU64,
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    dropped: AtomicU64,
    /// When something authentic came last, in nanoseconds.
    heard: AtomicU64,
}

impl Counters {
    pub(crate) fn receive(&self, bytes: usize) {
        add(&self.received, 1);
        add(&self.received_bytes, bytes);
    }

    pub(crate) fn send(&self, packets: usize, bytes: usize) {
        add(&self.sent, packets);
        add(&self.sent_bytes, bytes);
    }

    pub(crate) fn lose(&self, packets: usize) {
        add(&self.dropped, packets);
    }

    pub(crate) fn hear(&self, now: Moment) {
        self.heard.store(now.as_nanos(), Ordering::Relaxed);
    }

    pub(crate) fn heard(&self) -> Moment {
        Moment::from_nanos(self.heard.load(Ordering::Relaxed))
    }

    pub(crate) fn read(&self) -> Traffic {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            received: value(&self.received),
            received_bytes: value(&self.received_bytes),
            sent: value(&self.sent),
            sent_bytes: value(&self.sent_bytes),
            dropped: value(&self.dropped),
        }
    }
}

/// One writer a counter: no locked instruction is needed.
fn add(counter: &AtomicU64, count: usize) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count as u64), Ordering::Relaxed);
}

/// Packets that were lost and belong to no client, of a whole region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// The TUN device did not take them.
    pub device: u64,
    /// One worker had no room for what another gave it.
    pub handed: u64,
    /// They are for, or claim to be from, a client that is not there.
    pub stranger: u64,
}

/// The same while it is counted, by all workers.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    device: AtomicU64,
    handed: AtomicU64,
    stranger: AtomicU64,
}

impl Losses {
    pub(crate) fn device(&self, packets: usize) {
        self.device.fetch_add(packets as u64, Ordering::Relaxed);
    }

    pub(crate) fn handed(&self) {
        self.handed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stranger(&self) {
        self.stranger.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Lost {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Lost { device: value(&self.device), handed: value(&self.handed), stranger: value(&self.stranger) }
    }
}
