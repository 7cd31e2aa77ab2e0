//! A host and a queue without a kernel, for tests of this crate and of others: steps change a state in memory, and
//! [`ModelHost::route`] walks policy rules and tables (`way.rs`). Not for programs: nothing leaves it.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use mrvpn_router::Offload;

use crate::firewall::{Firewall, Setting};
use crate::host::{Host, HostError, HostFacts, Queue, QueueCapabilities, QueueError, Sessions, Watch};
use crate::plan::{DeviceSpec, Plan, PlannedAddress, PolicyRule, RouteKind, RouteSpec, Step};
use crate::scope::Scope;
use crate::way::{Probe, Way, walk};

/// A host in memory.
#[derive(Clone, Debug, Default)]
pub struct ModelHost {
    /// What [`Host::facts`] answers.
    pub facts: HostFacts,
    /// Devices that are open.
    pub devices: BTreeSet<String>,
    /// Device, address, deprecated: in the order in which they were added.
    pub addresses: Vec<(String, IpNet, bool)>,
    /// Routes.
    pub routes: BTreeSet<RouteSpec>,
    /// Policy rules, by priority and then in the order in which they were added.
    pub rules: Vec<PolicyRule>,
    /// The firewall that was set last.
    pub firewall: Option<Firewall>,
    /// Settings that are held.
    pub settings: BTreeSet<Setting>,
    /// What [`Host::sessions`] answers.
    pub sessions: Sessions,
    /// Every step that was carried out.
    pub log: Vec<Step>,
    /// Refuses the step after so many; counts down.
    pub fail_after: Option<usize>,
}

/// Where a packet goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Into this device.
    Device(String),
    /// Refused.
    Unreachable,
    /// Past all lines of ours, to the host's own routing.
    Clear,
}

impl ModelHost {
    /// Where a packet goes, as policy rules and tables say.
    #[must_use]
    pub fn route(&self, probe: &Probe) -> Verdict {
        match walk(&self.rules, self.routes.iter(), probe) {
            Way::Taken(RouteSpec { kind: RouteKind::Device(name), .. }) => Verdict::Device(name.clone()),
            Way::Taken(_) => Verdict::Unreachable,
            Way::LetOut(_) | Way::Thrown(_) | Way::Unmatched => Verdict::Clear,
        }
    }

    /// The device vanishes with its addresses and the routes into it, as when its process is killed.
    pub fn lose(&mut self, device: &str) {
        self.devices.remove(device);
        self.addresses.retain(|(name, ..)| name != device);
        self.routes.retain(|route| route.kind != RouteKind::Device(String::from(device)));
    }

    /// The IPv4 source of programs that do not bind: the address of `device` that was added first.
    #[must_use]
    pub fn source(&self, device: &str) -> Option<IpAddr> {
        let of_device = |(name, address, _): &&(String, IpNet, bool)| name == device && address.addr().is_ipv4();
        self.addresses.iter().find(of_device).map(|(_, address, _)| address.addr())
    }

    /// Whether exactly what `plan` says exists.
    #[must_use]
    pub fn stands(&self, plan: &Plan) -> bool {
        let addresses: BTreeSet<_> = self.addresses.iter().map(|(_, address, old)| (*address, *old)).collect();
        let planned: BTreeSet<_> = plan.addresses.iter().map(|planned| (planned.address, planned.deprecated)).collect();
        let mut rules = self.rules.clone();
        rules.sort();
        let surroundings = self.firewall == plan.firewall && self.settings.iter().eq(plan.settings.iter());
        addresses == planned && self.routes.iter().eq(plan.routes.iter()) && rules == plan.rules && surroundings
    }

    fn needs(&self, device: &str) -> Result<(), HostError> {
        if self.devices.contains(device) {
            return Ok(());
        }
        Err(HostError::System { what: format!("using {device}"), source: io::ErrorKind::NotFound.into() })
    }

    fn count_down(&mut self) -> Result<(), HostError> {
        match self.fail_after {
            Some(0) => {
                self.fail_after = None;
                Err(HostError::NotPermitted { what: String::from("the step that a test refuses") })
            }
            Some(left) => {
                self.fail_after = Some(left - 1);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The kernel has an address of a device once, and a route once a prefix and metric: another is "file exists".
    fn add_address(&mut self, added: (String, IpNet, bool)) -> Result<(), HostError> {
        let held = self.addresses.iter().find(|held| held.0 == added.0 && held.1.addr() == added.1.addr());
        match held {
            Some(held) if *held == added => Ok(()),
            Some(_) => Err(HostError::Taken { what: format!("adding {}", added.1) }),
            None => {
                self.addresses.push(added);
                Ok(())
            }
        }
    }

    fn add_route(&mut self, route: &RouteSpec) -> Result<(), HostError> {
        let key = |route: &RouteSpec| (route.table, route.prefix, route.metric);
        if self.routes.iter().any(|held| key(held) == key(route) && held != route) {
            return Err(HostError::Taken { what: format!("adding {} to table {}", route.prefix, route.table) });
        }
        self.routes.insert(route.clone());
        Ok(())
    }

    fn add_rule(&mut self, rule: &PolicyRule) {
        if !self.rules.contains(rule) {
            let place = self.rules.partition_point(|other| other.priority <= rule.priority);
            self.rules.insert(place, rule.clone());
        }
    }
}

impl Host for ModelHost {
    type Queue = ModelQueue;
    type Watch = ModelWatch;

    fn facts(&mut self) -> Result<HostFacts, HostError> {
        Ok(self.facts.clone())
    }

    fn sessions(&mut self) -> Result<Sessions, HostError> {
        Ok(self.sessions.clone())
    }

    fn watch(&mut self) -> Result<ModelWatch, HostError> {
        Ok(ModelWatch::default())
    }

    fn open(&mut self, device: &DeviceSpec) -> Result<Vec<ModelQueue>, HostError> {
        if !self.devices.insert(device.name.clone()) && !device.persistent {
            return Err(HostError::Taken { what: format!("making {}", device.name) });
        }
        let capabilities = QueueCapabilities::of(device.offload);
        Ok((0..device.queues).map(|_| ModelQueue { capabilities, ..ModelQueue::default() }).collect())
    }

    fn close(&mut self, device: &str) -> Result<(), HostError> {
        self.lose(device);
        Ok(())
    }

    fn standing(&mut self, scope: &Scope) -> Result<Plan, HostError> {
        let addresses = self.addresses.iter().filter(|(device, ..)| *device == scope.device);
        let rules = self.rules.iter().filter(|rule| scope.has_priority(rule.priority));
        let mut plan = Plan {
            addresses: addresses.map(|&(_, address, deprecated)| PlannedAddress { address, deprecated }).collect(),
            routes: self.routes.iter().filter(|route| scope.has_table(route.table)).cloned().collect(),
            rules: rules.cloned().collect(),
            firewall: self.firewall.clone().filter(|firewall| firewall.table == scope.firewall),
            settings: self.settings.iter().copied().collect(),
            ..Plan::empty(scope)
        };
        plan.rules.sort();
        Ok(plan)
    }

    fn apply(&mut self, step: &Step) -> Result<(), HostError> {
        self.count_down()?;
        match step {
            Step::AddAddress { device, address, deprecated } => {
                self.needs(device)?;
                self.add_address((device.clone(), *address, *deprecated))?;
            }
            Step::RemoveAddress { device, address, .. } => {
                self.addresses.retain(|(name, held, _)| (name, held) != (device, address));
            }
            Step::AddRoute(route) => {
                if let RouteKind::Device(device) = &route.kind {
                    self.needs(device)?;
                }
                self.add_route(route)?;
            }
            Step::RemoveRoute(route) => {
                self.routes.remove(route);
            }
            Step::AddRule(rule) => self.add_rule(rule),
            Step::RemoveRule(rule) => self.rules.retain(|other| other != rule),
            Step::SetFirewall { to, .. } => self.firewall = to.as_deref().cloned(),
            Step::HoldSetting(setting) => {
                self.settings.insert(*setting);
            }
            Step::ReleaseSetting(setting) => {
                self.settings.remove(setting);
            }
        }
        self.log.push(step.clone());
        Ok(())
    }
}

/// A watch that a test rings.
#[derive(Clone, Debug, Default)]
pub struct ModelWatch {
    /// Something has changed.
    pub changed: bool,
}

impl Watch for ModelWatch {
    fn drain(&mut self) -> io::Result<bool> {
        Ok(std::mem::take(&mut self.changed))
    }
}

/// A queue in memory: a test puts packets in and takes out what was written.
#[derive(Clone, Debug, Default)]
pub struct ModelQueue {
    /// What reads will bring, in order.
    pub incoming: VecDeque<(Vec<u8>, Offload)>,
    /// What was written, in order.
    pub written: Vec<(Vec<u8>, Offload)>,
    /// What [`Queue::capabilities`] answers.
    pub capabilities: QueueCapabilities,
    /// Whether writes are not taken now.
    pub full: bool,
    /// Whether the device was deleted.
    pub gone: bool,
}

impl Queue for ModelQueue {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<(usize, Offload)>, QueueError> {
        if self.gone {
            return Err(QueueError::Gone);
        }
        let Some((packet, offload)) = self.incoming.pop_front() else { return Ok(None) };
        // As the kernel does: what does not fit is cut off.
        let length = packet.len().min(buffer.len());
        buffer[..length].copy_from_slice(&packet[..length]);
        Ok(Some((length, offload)))
    }

    fn write(&mut self, offload: Offload, parts: &[&[u8]]) -> Result<bool, QueueError> {
        if self.gone {
            return Err(QueueError::Gone);
        }
        if !self.full {
            self.written.push((parts.concat(), offload));
        }
        Ok(!self.full)
    }

    fn capabilities(&self) -> QueueCapabilities {
        self.capabilities
    }
}
