//! The model host of a simulated world: netplan's [`ModelHost`] with a TUN queue that can be down or deleted, the networks that
//! the host is on, and the steps of a plan carried out one by one. What goes past the interface is on the physical link, where
//! the oracle sees it. Who decides what should stand is the engine.

use std::collections::VecDeque;
use std::net::IpAddr;

use ipnet::IpNet;
use mrvpn_netplan::host::QueueError;
use mrvpn_netplan::model::{ModelHost, Verdict};
use mrvpn_netplan::{Host, HostFacts, OnLink, Plan, Probe, Queue, QueueCapabilities, Scope};
use mrvpn_router::Offload;

use crate::sim::world::setup::{CARD, LAN, OTHER_LAN};

/// Mark of the engine's own sockets.
pub(crate) const MARK: u32 = 0x4d00_0000;

/// The TUN queue.
#[derive(Debug, Default)]
pub(crate) struct SimQueue {
    pub(crate) incoming: VecDeque<Vec<u8>>,
    pub(crate) written: Vec<Vec<u8>>,
    pub(crate) down: bool,
    pub(crate) gone: bool,
}

impl Queue for SimQueue {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<(usize, Offload)>, QueueError> {
        self.usable()?;
        let Some(packet) = self.incoming.pop_front() else { return Ok(None) };
        let length = packet.len().min(buffer.len());
        buffer[..length].copy_from_slice(&packet[..length]);
        Ok(Some((length, Offload::NONE)))
    }

    fn write(&mut self, _: Offload, parts: &[&[u8]]) -> Result<bool, QueueError> {
        self.usable()?;
        self.written.push(parts.concat());
        Ok(true)
    }

    fn capabilities(&self) -> QueueCapabilities {
        QueueCapabilities::default()
    }
}

impl SimQueue {
    fn usable(&self) -> Result<(), QueueError> {
        if self.gone {
            return Err(QueueError::Gone);
        }
        if self.down {
            // EIO, as Linux answers where the device is down.
            return Err(QueueError::System(std::io::Error::from_raw_os_error(5)));
        }
        Ok(())
    }
}

/// The host, and what stands on it.
#[derive(Debug, Default)]
pub(crate) struct SimHost {
    pub(crate) model: ModelHost,
    scope: Option<Scope>,
}

impl SimHost {
    /// A host on the usual network.
    pub(crate) fn new() -> Self {
        let mut host = Self { model: ModelHost::default(), scope: Some(Scope::first()) };
        host.model.facts = facts(false);
        host
    }

    pub(crate) fn scope(&self) -> Scope {
        self.scope.clone().unwrap_or_else(Scope::first)
    }

    /// What of the engine's stands.
    pub(crate) fn standing(&mut self) -> Plan {
        let scope = self.scope();
        self.model.standing(&scope).expect("a model host answers")
    }

    /// Where a packet goes that a program of this host sends.
    pub(crate) fn way(&self, source: Option<IpAddr>, to: IpAddr, proto: u8, port: u16) -> Verdict {
        self.model.route(&Probe { from: source, to, proto, port: Some(port), mark: 0, local: true })
    }

    /// Where a datagram of the engine's own sockets goes.
    pub(crate) fn marked(&self, to: IpAddr) -> Verdict {
        self.model.route(&Probe { from: None, to, proto: 17, port: Some(1194), mark: MARK, local: true })
    }

    /// Whether a program can be bound to `address` now.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.model.facts.addresses.contains(&address)
            || self.model.addresses.iter().any(|(_, held, _)| held.addr() == address)
    }

    /// The source of a program that has not bound, on the interface.
    pub(crate) fn unbound(&self, device: &str, like: IpAddr) -> Option<IpAddr> {
        let usable = |(name, held, old): &&(String, IpNet, bool)| {
            name == device && !old && held.addr().is_ipv4() == like.is_ipv4()
        };
        self.model.addresses.iter().find(usable).map(|(_, held, _)| held.addr())
    }
}

/// What the host looks like; `elsewhere`: it is on the other network too.
pub(crate) fn facts(elsewhere: bool) -> HostFacts {
    let mut facts = HostFacts { may_change: true, ..HostFacts::default() };
    facts.on_link.push(OnLink { net: IpNet::V4(LAN), device: "eth0".to_owned() });
    facts.addresses.push(IpAddr::V4(CARD));
    if elsewhere {
        facts.on_link.push(OnLink { net: IpNet::V4(OTHER_LAN), device: "wlan0".to_owned() });
        facts.addresses.push(IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 51, 10)));
    }
    facts
}
