//! What the control side tells a lane, and what a lane tells the control side. Plain values: how they travel is the
//! driver's matter.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mrvpn_proto::{DataKeys, KeyId};
use mrvpn_router::{FlowFilter, LiveFlow, Policy, TunnelId};

use crate::attempt::Attempt;

/// What a lane is told.
#[derive(Debug)]
pub enum LaneCommand {
    /// Judge packets by this from now on; packets that wait are judged again.
    Policy(Arc<Policy>),
    /// Carry a new session of this tunnel. Its socket goes to the [`super::LaneIo`] beside this command.
    Adopt {
        /// Whose.
        tunnel: TunnelId,
        /// Which session: reports about it name it.
        attempt: Attempt,
        /// The session's first keys.
        keys: Box<DataKeys>,
        /// Send a ping when nothing was sent for so long (`ping`); `None` never.
        ping: Option<Duration>,
    },
    /// Open with these keys from now on, and seal with them from their moment on; the ones before still open.
    Install {
        /// Whose.
        tunnel: TunnelId,
        /// The new keys.
        keys: Box<DataKeys>,
    },
    /// Forget the keys of this id, unless they are the only ones.
    Retire {
        /// Whose.
        tunnel: TunnelId,
        /// Which.
        key_id: KeyId,
    },
    /// Send this datagram of the session as it is.
    Control {
        /// Whose.
        tunnel: TunnelId,
        /// The whole packet, without the length that goes before it in a stream.
        datagram: Vec<u8>,
    },
    /// Tell the server, within the data channel, that this client leaves (OpenVPN `occ.c`).
    ExitNotify {
        /// Whose.
        tunnel: TunnelId,
    },
    /// Forget the tunnel's keys; its socket is closed.
    Release {
        /// Whose.
        tunnel: TunnelId,
    },
    /// The adopted session's server is on this host: say it when its packets come back into the interface.
    WatchLoop {
        /// Whose.
        tunnel: TunnelId,
    },
    /// The number belongs to another tunnel now: count from 0.
    Forget {
        /// Which.
        tunnel: TunnelId,
    },
    /// Report which flows there are.
    FindFlows {
        /// Names the question in the report.
        question: u64,
        /// Which of them.
        filter: FlowFilter,
        /// How many at most.
        most: usize,
    },
}

/// What a lane reports.
#[derive(Debug, PartialEq, Eq)]
pub enum LaneReport {
    /// A datagram for the session: anything that is not data.
    Control {
        /// Whose.
        tunnel: TunnelId,
        /// The whole packet, without the length that goes before it in a stream.
        datagram: Vec<u8>,
    },
    /// The server said within the data channel that it leaves.
    PeerExit {
        /// Whose.
        tunnel: TunnelId,
        /// Which session.
        attempt: Attempt,
    },
    /// The keys are nearly used up: the session must make new ones.
    KeyWorn {
        /// Whose.
        tunnel: TunnelId,
        /// Which session.
        attempt: Attempt,
    },
    /// The TCP stream is over, by the server's wish or by a fault on the way; or a socket of any kind cannot be used at all.
    StreamEnded {
        /// Whose.
        tunnel: TunnelId,
        /// Which session.
        attempt: Attempt,
        /// How.
        error: io::ErrorKind,
    },
    /// The tunnel's socket fails; at most twice a second.
    SocketError {
        /// Whose.
        tunnel: TunnelId,
        /// How.
        error: io::ErrorKind,
    },
    /// An outer packet of the tunnel came back into the interface.
    Loop {
        /// Whose.
        tunnel: TunnelId,
        /// Which session.
        attempt: Attempt,
    },
    /// The flows that were asked for.
    Flows {
        /// Names the question.
        question: u64,
        /// In no order.
        flows: Vec<LiveFlow>,
    },
    /// Packets are dropped; once a second at most. How many, and why, the counters say.
    Dropping,
    /// The TUN takes no packets: it is down. Twice a second at most.
    QueueDown,
    /// The TUN is gone: nothing passes until there is another.
    QueueGone,
}
