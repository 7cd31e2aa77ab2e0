//! A claim: a prefix that belongs to a tunnel, in whatever state that tunnel is. The offer to be default gateway is not
//! here; it is decided once for all tunnels and stands in [`crate::Defaults`].

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::TunnelId;

/// One prefix of one tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// Whose.
    pub tunnel: TunnelId,
    /// What.
    pub prefix: IpNet,
    /// Who said so.
    pub origin: ClaimOrigin,
}

/// Where a claim comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ClaimOrigin {
    /// A `route` of the profile.
    Profile,
    /// A route that the server pushed.
    Pushed,
    /// The network of the assigned address.
    Assigned,
}
