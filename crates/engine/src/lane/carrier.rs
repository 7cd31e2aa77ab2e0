//! What it takes to carry one tunnel's packets: the keys of its session, its keepalive, its counters. Made when a
//! session is adopted, gone when it is released; the socket is not here but with the [`super::LaneIo`].

use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_proto::DataKeys;

use super::counters::{Carried, TunnelCounters};
use super::keepalive::Keepalive;
use super::keys::Keys;
use super::limits::ERROR_PAUSE;
use super::loops::SentHeads;
use crate::attempt::Attempt;

/// One session being carried.
#[derive(Debug)]
pub(crate) struct Carrier {
    /// Which session of the tunnel it is.
    pub(crate) attempt: Attempt,
    pub(crate) keys: Keys,
    pub(crate) keepalive: Keepalive,
    pub(crate) counters: Arc<TunnelCounters>,
    /// What the tunnel has sealed and opened, in earlier sessions as well.
    carried: Carried,
    /// Whether the kernel joins the datagrams of its server.
    pub(crate) joined: bool,
    /// Whether it used up its share of the last turn in which it received: those that did not are served before it.
    pub(crate) used_up: bool,
    /// Whether it was said that the keys must be replaced.
    pub(crate) worn_reported: bool,
    /// Whether it was said that the stream is over.
    pub(crate) end_reported: bool,
    /// Whether it was said that its packets come back.
    pub(crate) loop_reported: bool,
    /// What was sent last, where it may come back.
    sent: Option<Box<SentHeads>>,
    /// No socket error is reported before this moment.
    quiet_until: Moment,
}

impl Carrier {
    pub(crate) fn new(
        attempt: Attempt,
        keys: Box<DataKeys>,
        ping: Option<Duration>,
        counters: Arc<TunnelCounters>,
        now: Moment,
    ) -> Self {
        counters.begin_session();
        Self {
            attempt,
            keys: Keys::new(keys),
            keepalive: Keepalive::new(ping, now),
            carried: counters.carried(),
            counters,
            joined: false,
            used_up: false,
            worn_reported: false,
            end_reported: false,
            loop_reported: false,
            sent: None,
            quiet_until: now,
        }
    }

    /// Counts packets that were sealed or opened: the session renews its keys by this.
    pub(crate) const fn carry(&mut self, bytes: usize, packets: usize) {
        self.carried.bytes = self.carried.bytes.wrapping_add(bytes as u64);
        self.carried.packets = self.carried.packets.wrapping_add(packets as u64);
    }

    /// Shows what was carried to the control side.
    pub(crate) fn publish(&self) {
        self.counters.carry(self.carried);
    }

    /// Remembers from now on what is sent: its server is on this host, and what that sends on may come back.
    pub(crate) fn watch_loops(&mut self) {
        self.sent.get_or_insert_default();
    }

    pub(crate) const fn watches_loops(&self) -> bool {
        self.sent.is_some()
    }

    /// Remembers a datagram that was sent, if it may come back.
    pub(crate) fn note_sent(&mut self, datagram: &[u8]) {
        if let Some(sent) = &mut self.sent {
            sent.note(datagram);
        }
    }

    /// Whether this is what it has sent lately.
    pub(crate) fn has_sent(&self, payload: &[u8]) -> bool {
        self.sent.as_ref().is_some_and(|sent| sent.has(payload))
    }

    /// Whether a socket error is to be reported now: at most one each [`ERROR_PAUSE`].
    pub(crate) fn may_report_error(&mut self, now: Moment) -> bool {
        let may = self.quiet_until <= now;
        if may {
            self.quiet_until = now + ERROR_PAUSE;
        }
        may
    }
}
