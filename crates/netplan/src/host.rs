//! The platform as traits: [`Host`] opens devices and applies steps, [`Queue`] moves packets. `host` makes them real on
//! Linux; tests have a model. `Host` is blocking and called from one thread.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use mrvpn_router::{AppId, FlowTuple, Offload, PortRange};
use thiserror::Error;

use crate::firewall::FourTuple;
use crate::offload_set::OffloadSet;
use crate::plan::{DeviceSpec, Family, Plan, Step};
use crate::scope::Scope;

/// The platform: devices, addresses, routes, policy rules.
pub trait Host {
    /// A TUN queue of this platform.
    type Queue: Queue + Send + 'static;
    /// What tells of changes that others make.
    type Watch: Watch + Send + 'static;

    /// What is there now: addresses, on-link networks, routes, taken priorities.
    ///
    /// # Errors
    /// The kernel does not answer.
    fn facts(&mut self) -> Result<HostFacts, HostError>;

    /// Connections and services that are there before anything is captured.
    ///
    /// # Errors
    /// The kernel does not answer.
    fn sessions(&mut self) -> Result<Sessions, HostError>;

    /// Watches for changes of devices, addresses, routes, policy rules and firewall tables.
    ///
    /// # Errors
    /// The kernel has no such socket for this process.
    fn watch(&mut self) -> Result<Self::Watch, HostError>;

    /// Makes the device and opens its queues, or attaches to the one that a killed engine of the same scope left. A
    /// persistent device stays until [`Host::close`]; another vanishes when the last queue is dropped.
    ///
    /// # Errors
    /// No permission, no TUN driver, a device of that name that is not ours.
    fn open(&mut self, device: &DeviceSpec) -> Result<Vec<Self::Queue>, HostError>;

    /// Deletes the device. That it is gone already is fine.
    ///
    /// # Errors
    /// The kernel refuses.
    fn close(&mut self, device: &str) -> Result<(), HostError>;

    /// What of `scope` stands on the host now, whoever made it: what an engine that was killed left, or what others have
    /// left of ours. A firewall of which it is not sure that it is as it was made is not part of the answer.
    ///
    /// # Errors
    /// The kernel does not answer.
    fn standing(&mut self, scope: &Scope) -> Result<Plan, HostError>;

    /// Carries out one step. A step that finds its work done already is fine. Its undo is `step.undo()`.
    ///
    /// # Errors
    /// The kernel refuses; nothing has changed then.
    fn apply(&mut self, step: &Step) -> Result<(), HostError>;
}

/// What the host looks like at the moment of planning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Networks that the host is directly on, loopback and devices of our own left out.
    pub on_link: Vec<OnLink>,
    /// Other prefixes that the host routes by a route of its own (main table, no default route, not ours).
    pub routed: Vec<IpNet>,
    /// Every address of the host, loopback and devices of our own left out.
    pub addresses: Vec<IpAddr>,
    /// Whether this process may change the network (CAP_NET_ADMIN).
    pub may_change: bool,
    /// Whether a card filters by the way back, strictly (`rp_filter` 1, of the card or of all).
    pub strict_reverse_path: bool,
    /// Other engines of this network namespace, by slot.
    pub engines: Vec<EngineSeen>,
    /// Priorities of policy rules that are not ours, sorted; those of the kernel's own tables left out.
    pub foreign_priorities: Vec<u32>,
    /// Marks and masks of policy rules that are not ours, sorted.
    pub foreign_marks: Vec<(u32, u32)>,
    /// Tables with routes that are not ours, sorted; main, local and default left out.
    pub foreign_tables: Vec<u32>,
    /// Policy rules of others that the kernel asks before those of the engine, for what this host sends, in its order;
    /// those that let nothing leave are left out.
    pub foreign_rules: Vec<ForeignRule>,
}

/// A policy rule of others: what it asks for, as far as a packet shows it, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignRule {
    /// Priority.
    pub priority: u32,
    /// Family.
    pub family: Family,
    /// Source prefix.
    pub from: Option<IpNet>,
    /// Destination prefix.
    pub to: Option<IpNet>,
    /// IP protocol.
    pub proto: Option<u8>,
    /// Destination ports.
    pub port: Option<PortRange>,
    /// Firewall mark and mask.
    pub mark: Option<(u32, u32)>,
    /// Where it leads.
    pub way: ForeignWay,
}

/// Where a policy rule of others leads. What it asks for and no packet shows, such as a user, makes it lead there no less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForeignWay {
    /// To these networks by these interfaces, sorted; elsewhere the next rule decides.
    Routes(Vec<(IpNet, String)>),
    /// That cannot be told.
    Anywhere,
}

impl HostFacts {
    /// Whether `address` is one of the host's, or of a network that it is on.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address) || self.on_link.iter().any(|on| on.net.contains(&address))
    }
}

/// Another engine, as its routes show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EngineSeen {
    /// Its slot.
    pub slot: u8,
    /// Its interface; `None` where that is gone.
    pub device: Option<String>,
    /// Prefixes that it captures for its tunnels, defaults left out; sorted.
    pub claims: Vec<IpNet>,
    /// Addresses of its interface, sorted: what is bound to them is its own.
    pub sources: Vec<IpAddr>,
}

/// Connections and services of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// Established TCP connections whose local port a listener has: they came in. Loopback left out; sorted.
    pub inbound: Vec<FourTuple>,
    /// UDP services that listen on an address by which they can be reached from outside, wildcard included; sorted. What
    /// they answer cannot be told from what the host asks.
    pub datagram_services: Vec<SocketAddr>,
}

/// Tells that something has changed.
pub trait Watch {
    /// Takes in all that has come; whether there was anything. Changes of our own making are among it.
    ///
    /// # Errors
    /// The watch is broken.
    fn drain(&mut self) -> std::io::Result<bool>;
}

/// A network that the host is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnLink {
    /// The network, host bits zero.
    pub net: IpNet,
    /// The card.
    pub device: String,
}

/// The host did not do what it was told.
#[derive(Debug, Error)]
pub enum HostError {
    /// Not allowed.
    #[error("{what}: not permitted; run it with sudo, or give the program CAP_NET_ADMIN")]
    NotPermitted {
        /// What was tried.
        what: String,
    },
    /// Something that is not ours is in the way.
    #[error("{what}: already there and not made by mrvpn")]
    Taken {
        /// What was tried.
        what: String,
    },
    /// The system's own error.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// One queue of a TUN device: packets with their offload state, by borrowed buffers.
///
/// With offload on, one read brings up to 64 KiB that the kernel has not cut yet, one write gives as much back: one
/// call is a batch. A queue without offload gives and takes single packets with [`Offload::NONE`].
pub trait Queue {
    /// Reads the next packet into `buffer` (65,536 bytes or more); `None` when there is none now. Returns its length
    /// and offload state.
    ///
    /// # Errors
    /// The device is gone.
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<(usize, Offload)>, QueueError>;

    /// Writes one packet, given in `parts` that follow each other. `Ok(false)` when the device does not take it now.
    ///
    /// # Errors
    /// The device is gone.
    fn write(&mut self, offload: Offload, parts: &[&[u8]]) -> Result<bool, QueueError>;

    /// What the device accepts in [`Queue::write`] and may give in [`Queue::read`].
    fn capabilities(&self) -> QueueCapabilities;

    /// Which program sends a flow that was read here, if the platform knows; `flow.source` is the program's end. It costs a
    /// system call or two, so it is asked only where there are very many flows.
    fn app(&mut self, flow: &FlowTuple) -> Option<AppId> {
        let _ = flow;
        None
    }
}

/// What a queue's device can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCapabilities {
    /// Partial checksums.
    pub checksum: bool,
    /// TCP super-packets in both directions.
    pub tso: bool,
    /// UDP super-packets (Linux 6.2 and later).
    pub uso: bool,
}

impl QueueCapabilities {
    /// Those of `set` that a queue has; super-packets need partial checksums.
    #[must_use]
    pub const fn of(set: OffloadSet) -> Self {
        Self { checksum: set.checksum, tso: set.tso && set.checksum, uso: set.uso && set.checksum }
    }
}

/// A queue ended.
#[derive(Debug, Error)]
pub enum QueueError {
    /// The device was deleted.
    #[error("the TUN device is gone")]
    Gone,
    /// The system's own error.
    #[error("TUN: {0}")]
    System(#[from] std::io::Error),
}
