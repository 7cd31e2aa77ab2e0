//! A client as its worker has it: keys, the way to it, what it may send from. Made when its first keys are there, gone
//! when the control thread says so.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_engine::lane::Keys;
use mrvpn_proto::{DataKeys, Sealer};

use super::message::{Adoption, Name, Path};
use crate::seen::Counters;

/// MTU outside that a tunnel's packets are cut to, as OpenVPN's `mssfix` has it within one byte or two of header.
const OUTER_MTU: u16 = 1_500;
/// MTU within the tunnel.
const INNER_MTU: u16 = 1_500;

/// A client.
pub(super) struct Carried {
    /// Who it is, for reports.
    pub(super) name: Name,
    pub(super) keys: Keys,
    pub(super) path: Path,
    /// What TCP segments are cut to, with their headers.
    pub(super) segment: u16,
    pub(super) counters: Arc<Counters>,
    pub(super) last_sent: Moment,
    /// That its keys are nearly used up was said.
    pub(super) worn_reported: bool,
    address: Ipv4Addr,
    address6: Option<Ipv6Addr>,
    ping: Duration,
}

impl Carried {
    pub(super) fn new(adoption: Adoption, now: Moment) -> Self {
        let Adoption { name, place: _, keys, path, address, address6, ping, counters } = adoption;
        counters.hear(now);
        Self {
            name,
            keys: Keys::new(keys),
            path,
            segment: segment(path),
            counters,
            last_sent: now,
            worn_reported: false,
            address,
            address6,
            ping,
        }
    }

    pub(super) fn install(&mut self, keys: Box<DataKeys>) {
        self.keys.install(keys);
        self.worn_reported = false;
    }

    /// Another way to it, of the same kind.
    pub(super) fn move_to(&mut self, path: Path) {
        self.path = path;
        self.segment = segment(path);
    }

    pub(super) fn ping_is_due(&self, now: Moment) -> bool {
        self.last_sent + self.ping <= now
    }

    /// Whether it may send from this IPv4 address.
    pub(super) fn owns(&self, address: Ipv4Addr) -> bool {
        self.address == address
    }

    /// The same of IPv6.
    pub(super) fn owns6(&self, address: Ipv6Addr) -> bool {
        self.address6 == Some(address)
    }
}

/// The longest TCP segment whose datagram fits the usual way outside; in a stream all have room.
fn segment(path: Path) -> u16 {
    let headers: u16 = match path {
        Path::Datagrams { to, .. } if to.is_ipv4() => 28,
        Path::Datagrams { .. } => 48,
        Path::Stream(_) => return INNER_MTU,
    };
    OUTER_MTU - headers - u16::try_from(Sealer::HEADROOM).unwrap_or(0)
}
