//! What happens, as `events` tells it (contract.md section 3): numbered, one after another. Made by the fleet; numbers
//! and calendar time are the driver's.

use serde::{Deserialize, Serialize};

use crate::status::ErrorStatus;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number, from 1, without gaps in one run of an engine.
    pub n: u64,
    /// When, RFC 3339.
    pub at: String,
    /// What.
    #[serde(flatten)]
    pub what: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// A tunnel is in another state.
    TunnelState {
        /// Its name.
        tunnel: String,
        /// As in `status`.
        state: String,
        /// What went wrong, if anything.
        error: Option<ErrorStatus>,
    },
    /// A server assigned an address to a tunnel that had none of that family.
    AddressAssigned {
        /// Name of the tunnel.
        tunnel: String,
        /// With the prefix length that was pushed.
        address: String,
        /// As it stands on the interface, with prefix length.
        presented: String,
    },
    /// A server assigned another address than the tunnel had.
    AddressChanged {
        /// Name of the tunnel.
        tunnel: String,
        /// What it had, with the prefix length that was pushed.
        before: String,
        /// With the prefix length that was pushed.
        address: String,
        /// As it stands on the interface, with prefix length.
        presented: String,
    },
    /// A tunnel's address left the interface.
    AddressRemoved {
        /// Name of the tunnel.
        tunnel: String,
        /// What it had, with the prefix length that was pushed.
        address: String,
    },
    /// An interface is there and carries routes.
    InterfaceEstablished {
        /// Its name.
        name: String,
        /// Its number.
        generation: u32,
        /// Its addresses with prefix length, anchor first.
        addresses: Vec<String>,
    },
    /// Two want the same.
    Conflict {
        /// `address`, `subnet`, `lan` or `pool`.
        kind: String,
        /// Names of the tunnels.
        tunnels: Vec<String>,
        /// The address or prefix.
        what: String,
        /// A sentence.
        resolution: String,
    },
    /// Many packets were not forwarded within a second.
    DropBurst {
        /// Name of the tunnel; `None` where they belong to none.
        tunnel: Option<String>,
        /// Why.
        reason: String,
        /// How many.
        count: u64,
    },
}
