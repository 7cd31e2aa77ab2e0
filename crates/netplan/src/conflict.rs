//! Conflicts: what two tunnels, or a tunnel and this host, both have, and how it was settled. They are legal and shown;
//! nothing is refused because of one. Who finds them: the address book (addresses, subnets) and claims (prefixes).

use std::net::IpAddr;

use ipnet::Ipv4Net;
use mrvpn_router::TunnelId;
use serde::Serialize;

use crate::limits::MAX_LISTED;

/// One thing that two want.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// What kind.
    pub kind: ConflictKind,
    /// Whose, in the order of the file, but with the holder of an address first.
    pub tunnels: Vec<TunnelId>,
    /// The address or prefix.
    pub what: String,
    /// How it was settled.
    pub resolution: Resolution,
}

/// Kinds of conflict, as `status --json` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConflictKind {
    /// Two tunnels have the same address, or one has none.
    Address,
    /// Networks or claims of two tunnels overlap.
    Subnet,
    /// A tunnel has what the host's own network has.
    Lan,
    /// Something lies in our own address pool.
    Pool,
}

/// How a conflict was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolution {
    /// The tunnel stands on the interface under its bind address.
    PresentedAs {
        /// Which.
        tunnel: TunnelId,
        /// Its bind address.
        address: IpAddr,
    },
    /// Equal prefixes: the first of the file carries it.
    FirstInFile {
        /// Which.
        tunnel: TunnelId,
    },
    /// One prefix lies inside the other: the longer one is carried by its own tunnel.
    LongerPrefix {
        /// The tunnel with the longer prefix.
        tunnel: TunnelId,
    },
    /// The host keeps it; a rule can give it to the tunnel.
    LeftToHost,
    /// The route claims nothing: no tunnel can have loopback, link-local, multicast or reserved addresses.
    Unclaimable,
    /// Our addresses come from another pool.
    PoolMoved {
        /// That one.
        to: Ipv4Net,
    },
    /// Addresses of ours inside the claim are not reached through the tunnel.
    PoolKept,
    /// More claims than [`crate::limits::MAX_CLAIMS`]: those from here on are left out.
    TooMany,
    /// Its server assigned no address: nothing can go through this tunnel, and what it claims is refused.
    CarriesNothing {
        /// Which.
        tunnel: TunnelId,
    },
    /// So many more of the kind are not listed ([`crate::limits::MAX_LISTED`]); each is settled as those listed.
    NotListed {
        /// How many.
        more: usize,
    },
}

/// The first [`MAX_LISTED`] of conflicts of one kind; `more` and those cut off are counted in a last one.
pub(crate) fn listed(kind: ConflictKind, mut found: Vec<Conflict>, more: usize) -> Vec<Conflict> {
    let more = more + found.len().saturating_sub(MAX_LISTED);
    found.truncate(MAX_LISTED);
    if more > 0 {
        let (what, resolution) = (String::from("more of this kind"), Resolution::NotListed { more });
        found.push(Conflict { kind, tunnels: Vec::new(), what, resolution });
    }
    found
}

impl Resolution {
    /// A sentence for `status`; `name` says what a tunnel is called.
    #[must_use]
    pub fn describe(&self, name: impl Fn(TunnelId) -> String) -> String {
        match self {
            Self::PresentedAs { tunnel, address } => format!("{} presented as {address}", name(*tunnel)),
            Self::FirstInFile { tunnel } => {
                format!("{} carries it, the first in the file; a rule can give it to another", name(*tunnel))
            }
            Self::LongerPrefix { tunnel } => format!("{} carries the longer prefix", name(*tunnel)),
            Self::LeftToHost => {
                String::from("left to this host's own network; a rule that names it gives it to the tunnel")
            }
            Self::Unclaimable => String::from("not claimed: loopback, link-local, multicast or reserved"),
            Self::PoolMoved { to } => format!("mrvpn's own addresses come from {to}"),
            Self::PoolKept => String::from(
                "mrvpn's own addresses in it stay its own; set `alias_pool` to reach them through the tunnel",
            ),
            Self::TooMany => format!("only the first {} routes of all tunnels are claimed", crate::limits::MAX_CLAIMS),
            Self::CarriesNothing { tunnel } => {
                format!(
                    "{} carries nothing: its server assigned it no address; what it claims is refused",
                    name(*tunnel)
                )
            }
            Self::NotListed { more } => format!("{more} more are not listed; each is settled as these are"),
        }
    }
}
