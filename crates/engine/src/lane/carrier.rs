//! What it takes to carry one tunnel's packets: the keys of its session, its keepalive, its counters. Made when a
//! session is adopted, gone when it is released; the socket is not here but with the [`super::LaneIo`].

use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_proto::DataKeys;

use super::TunnelCounters;
use super::keepalive::Keepalive;
use super::keys::Keys;
use super::limits::ERROR_PAUSE;

/// One session being carried.
#[derive(Debug)]
pub(crate) struct Carrier {
    pub(crate) keys: Keys,
    pub(crate) keepalive: Keepalive,
    pub(crate) counters: Arc<TunnelCounters>,
    /// Whether it was said that the sealing key must be replaced.
    pub(crate) worn_reported: bool,
    /// No socket error is reported before this moment.
    quiet_until: Moment,
}

impl Carrier {
    pub(crate) fn new(keys: Box<DataKeys>, ping: Option<Duration>, counters: Arc<TunnelCounters>, now: Moment) -> Self {
        counters.begin_session();
        let keepalive = Keepalive::new(ping, now);
        Self { keys: Keys::new(keys), keepalive, counters, worn_reported: false, quiet_until: now }
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
