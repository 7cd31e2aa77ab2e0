//! Why a region cannot be started, and what to do. What clients do wrong is no error of the region: it is an event, or
//! nothing.

use std::io;
use std::net::SocketAddr;

use mrvpn_netplan::HostError;
use thiserror::Error;

/// Why a region was not started.
#[derive(Debug, Error)]
pub enum RegionError {
    /// The specification cannot be carried out.
    #[error("region {region}: {what}")]
    Spec {
        /// Which region.
        region: String,
        /// What is wrong with it.
        what: String,
    },
    /// An address or a port cannot be had.
    #[error("region {region}: listening on {address}: {source}{}", hint(.source))]
    Listen {
        /// Which region.
        region: String,
        /// Where it should listen.
        address: SocketAddr,
        /// Why it cannot.
        #[source]
        source: io::Error,
    },
    /// The TUN device cannot be had.
    #[error("region {region}: {source}")]
    Device {
        /// Which region.
        region: String,
        /// Why it cannot.
        #[source]
        source: HostError,
    },
    /// The device's address cannot be set.
    #[error("region {region}: giving {device} its address: {source}")]
    Address {
        /// Which region.
        region: String,
        /// The device.
        device: String,
        /// Why it cannot.
        #[source]
        source: io::Error,
    },
    /// The system gives no thread or no descriptor.
    #[error("region {region}: {source}")]
    System {
        /// Which region.
        region: String,
        /// Why it does not.
        #[source]
        source: io::Error,
    },
    /// A certificate cannot be made.
    #[error("making a certificate: {0}")]
    Certificate(String),
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Randomness,
}

impl RegionError {
    /// Whether somebody else has what is wanted.
    pub(crate) fn is_taken(&self) -> bool {
        match self {
            Self::Listen { source, .. } => source.kind() == io::ErrorKind::AddrInUse,
            Self::Device { source, .. } => matches!(source, HostError::Taken { .. }),
            Self::Spec { .. }
            | Self::Address { .. }
            | Self::System { .. }
            | Self::Certificate(_)
            | Self::Randomness => false,
        }
    }
}

/// What to do about a port that cannot be had.
fn hint(error: &io::Error) -> &'static str {
    const HINTS: [(io::ErrorKind, &str); 3] = [
        (io::ErrorKind::AddrInUse, " (another program has this port: stop it, or name another port)"),
        (io::ErrorKind::AddrNotAvailable, " (no device of this network namespace has this address: add it first)"),
        (io::ErrorKind::PermissionDenied, " (ports below 1024 need root: name a higher one)"),
    ];
    HINTS.iter().find(|(kind, _)| *kind == error.kind()).map_or("", |(_, hint)| hint)
}
