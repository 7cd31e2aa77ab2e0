//! What the control side tells a lane, and what a lane tells the control side. Plain values: how they travel is the
//! driver's matter.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mrvpn_proto::{DataKeys, KeyId};
use mrvpn_router::{Policy, TunnelId};

/// What a lane is told.
#[derive(Debug)]
pub enum LaneCommand {
    /// Judge packets by this from now on; packets that wait are judged again.
    Policy(Arc<Policy>),
    /// Carry a new session of this tunnel. Its socket goes to the [`super::LaneIo`] beside this command.
    Adopt {
        /// Whose.
        tunnel: TunnelId,
        /// The session's first keys.
        keys: Box<DataKeys>,
        /// Send a ping when nothing was sent for so long (`ping`); `None` never.
        ping: Option<Duration>,
    },
    /// Seal with these keys from now on; the ones before still open.
    Install {
        /// Whose.
        tunnel: TunnelId,
        /// The new keys.
        keys: Box<DataKeys>,
    },
    /// Forget the older keys of this id.
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
        /// The whole UDP payload.
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
}

/// What a lane reports.
#[derive(Debug, PartialEq, Eq)]
pub enum LaneReport {
    /// A datagram for the session: anything that is not data.
    Control {
        /// Whose.
        tunnel: TunnelId,
        /// The whole UDP payload.
        datagram: Vec<u8>,
    },
    /// The server said within the data channel that it leaves.
    PeerExit {
        /// Whose.
        tunnel: TunnelId,
    },
    /// The packet ids of the sealing key run out: the session must end or make new keys.
    KeyWorn {
        /// Whose.
        tunnel: TunnelId,
    },
    /// The tunnel's socket fails; at most twice a second.
    SocketError {
        /// Whose.
        tunnel: TunnelId,
        /// How.
        error: io::ErrorKind,
    },
    /// The TUN is gone: the lane carries nothing any more.
    QueueGone,
}
