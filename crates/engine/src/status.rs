//! `status --json` (contract.md section 3) as values. Made by the fleet; moments become calendar time by the clock pair
//! that the driver gives.

use std::collections::BTreeMap;

use mrvpn_clock::{Moment, WallTime};
use serde::{Deserialize, Serialize};

/// The whole document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Always 1.
    pub schema: u32,
    /// Version of the engine.
    pub version: String,
    /// mrvpn.toml, if one was given.
    pub config: Option<String>,
    /// Since when the engine runs, RFC 3339.
    pub since: String,
    /// `up`, `connecting`, `reconnecting`, `degraded` or `down`.
    pub state: String,
    /// The shared interface.
    pub interface: Option<InterfaceStatus>,
    /// The default tunnel.
    pub default: Option<DefaultStatus>,
    /// Private networks that this host is on; they stay reachable as before.
    pub lan: Vec<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// The tunnels, in the order of the file.
    pub tunnels: Vec<TunnelStatus>,
    /// Addresses and networks that clash, and what was made of it.
    pub conflicts: Vec<ConflictStatus>,
    /// `off`: there is none in this version.
    pub guard: String,
    /// Packets that were not forwarded and belong to no tunnel, by reason.
    pub drops: BTreeMap<String, u64>,
    /// Process number of the engine.
    pub pid: u32,
}

/// The shared interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Name of the device.
    pub name: String,
    /// `alias`.
    pub strategy: String,
    /// MTU in bytes.
    pub mtu: u16,
    /// Number of the interface.
    pub generation: u32,
    /// Offloads in use: `tso`, `uso` and `checksum` of the device, `gso`, `gro` and `recvmmsg` of UDP sockets.
    pub offloads: Vec<String>,
    /// Its addresses with prefix length, anchor first.
    pub addresses: Vec<String>,
}

/// The default tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultStatus {
    /// Its name.
    pub via: String,
    /// Why it and no other.
    pub why: String,
    /// Earlier tunnels whose offer came later.
    pub waiting: Vec<String>,
}

/// What two want, and how it was settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictStatus {
    /// `address`, `subnet`, `lan` or `pool`.
    pub kind: String,
    /// Names of the tunnels.
    pub tunnels: Vec<String>,
    /// The address or prefix.
    pub what: String,
    /// A sentence.
    pub resolution: String,
}

/// One tunnel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunnelStatus {
    /// Its name.
    pub name: String,
    /// `up`, `connecting`, `authenticating`, `reconnecting`, `failed` or `stopped`.
    pub state: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Addresses as assigned.
    pub assigned: Vec<String>,
    /// Addresses as presented on the interface.
    pub presented: Vec<String>,
    /// Its bind addresses.
    pub bind: Vec<String>,
    /// The server's gateways.
    pub gateway: Vec<String>,
    /// Its DNS servers.
    pub dns: Vec<String>,
    /// What it claims.
    pub routes: Vec<String>,
    /// `address:port/udp` in use, or last used.
    pub remote: Option<String>,
    /// The `remote` of the profile.
    pub remote_name: Option<String>,
    /// Data cipher.
    pub cipher: Option<String>,
    /// Largest inner packet in bytes.
    pub mtu: Option<u16>,
    /// From the first datagram of the last session to its assignment, in milliseconds.
    pub connect_ms: Option<u64>,
    /// Inner bytes received.
    pub rx_bytes: u64,
    /// Inner bytes sent.
    pub tx_bytes: u64,
    /// Packets that were not forwarded, by reason.
    pub drops: BTreeMap<String, u64>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// What went wrong.
    pub error: Option<ErrorStatus>,
}

/// What went wrong with a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorStatus {
    /// Stable code.
    pub code: String,
    /// Stage.
    pub stage: String,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// The profile's file.
    pub file: Option<String>,
    /// Line in it.
    pub line: Option<u32>,
    /// When, RFC 3339.
    pub at: String,
    /// When it tries again, RFC 3339; `None` while it does, and where it does not (state `failed`).
    pub retry_at: Option<String>,
}

/// One instant on both clocks: turns moments into calendar time.
#[derive(Clone, Copy, Debug)]
pub struct ClockPair {
    /// The instant on the engine's clock at which the second `wall` began.
    pub moment: Moment,
    /// That second on the wall.
    pub wall: WallTime,
}

impl ClockPair {
    /// `moment` in RFC 3339, to the second.
    #[must_use]
    pub fn rfc3339(self, moment: Moment) -> String {
        let wall = i64::try_from(self.wall.unix()).unwrap_or(i64::MAX);
        let ahead = i64::try_from(moment.since(self.moment).as_secs()).unwrap_or(0);
        // A part of a second before the beginning of a second belongs to the one before it.
        let behind = i64::try_from(self.moment.since(moment).as_nanos().div_ceil(1_000_000_000)).unwrap_or(0);
        let second = wall.saturating_add(ahead).saturating_sub(behind);
        jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_moment_becomes_calendar_time() {
        let moment = Moment::from_nanos(5_000_000_000);
        let clocks = ClockPair { moment, wall: WallTime::from_unix(1_700_000_000) };
        assert_eq!(clocks.rfc3339(moment), "2023-11-14T22:13:20Z");
        assert_eq!(clocks.rfc3339(moment + Duration::from_secs(60)), "2023-11-14T22:14:20Z");
        assert_eq!(clocks.rfc3339(Moment::from_nanos(0)), "2023-11-14T22:13:15Z");
    }

    #[test]
    fn a_moment_is_the_same_second_whenever_it_is_asked_for() {
        let event = Moment::from_nanos(5_700_000_000);
        let at = |second: u64| ClockPair {
            moment: Moment::from_nanos(second * 1_000_000_000),
            wall: WallTime::from_unix(1_700_000_000 + second),
        };
        for second in [0, 5, 6, 7, 100] {
            assert_eq!(at(second).rfc3339(event), "2023-11-14T22:13:25Z", "asked in second {second}");
        }
    }
}
