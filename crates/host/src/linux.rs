//! The host made real on Linux: steps become netlink messages, one at a time. It decides nothing and remembers only the
//! devices it has made; what should exist is the plan's.

use std::io;

use mrvpn_netplan::plan::{Family, PolicyRule, RouteKind, RouteSpec};
use mrvpn_netplan::{DeviceSpec, Host, HostError, HostFacts, Plan, Scope, Sessions, Step};
use netlink_packet_route::RouteNetlinkMessage;

use crate::netlink::{Netlink, address, is_without_family, link, route, rule};
use crate::tun::{self, LinuxQueue};
use crate::watch::NetworkWatch;
use crate::{device, facts};

/// One network namespace: that of the thread in which it was made.
pub struct LinuxHost {
    netlink: Netlink,
    devices: Vec<String>,
}

impl LinuxHost {
    /// Opens the routing socket in this thread's network namespace. Devices are made in the namespace of the thread that
    /// calls [`Host::open`]; that should be the same.
    ///
    /// # Errors
    /// The kernel has no routing socket for this process.
    pub fn new() -> Result<Self, HostError> {
        let what = || String::from("opening the kernel's routing socket");
        let netlink = Netlink::open().map_err(|source| HostError::System { what: what(), source })?;
        Ok(Self { netlink, devices: Vec::new() })
    }

    /// The routes and policy rules of this namespace that carry our number, as a plan has them.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn ours(&mut self) -> Result<(Vec<RouteSpec>, Vec<PolicyRule>), HostError> {
        self.read_ours().map_err(|source| HostError::System { what: String::from("reading routes and rules"), source })
    }

    fn read_ours(&mut self) -> io::Result<(Vec<RouteSpec>, Vec<PolicyRule>)> {
        let links = link::all(&mut self.netlink)?;
        let name = |index| links.iter().find(|link| link.index == index).map(|link| link.name.clone());
        let (mut routes, mut rules) = (Vec::new(), Vec::new());
        for family in [Family::V4, Family::V6] {
            routes
                .extend(route::all(&mut self.netlink, family)?.iter().filter_map(|message| route::read(message, name)));
            rules.extend(rule::all(&mut self.netlink, family)?.iter().filter_map(rule::read));
        }
        routes.sort();
        rules.sort();
        Ok((routes, rules))
    }

    fn device(&mut self, name: &str) -> io::Result<u32> {
        match link::by_name(&mut self.netlink, name)? {
            Some(link) => Ok(link.index),
            None => Err(io::Error::from_raw_os_error(libc::ENODEV)),
        }
    }

    fn add(&mut self, step: &Step) -> io::Result<()> {
        let message = match step {
            Step::AddAddress { device, address, deprecated } => {
                let device = self.device(device)?;
                RouteNetlinkMessage::NewAddress(address::message(device, *address, *deprecated))
            }
            Step::AddRoute(route) => RouteNetlinkMessage::NewRoute(self.route_message(route)?),
            Step::AddRule(rule) => RouteNetlinkMessage::NewRule(rule::message(rule)),
            Step::RemoveAddress { .. } | Step::RemoveRoute(_) | Step::RemoveRule(_) => return self.remove(step),
            Step::SetFirewall { .. } | Step::HoldSetting(_) | Step::ReleaseSetting(_) => return Ok(()),
        };
        self.netlink.add(message)
    }

    fn remove(&mut self, step: &Step) -> io::Result<()> {
        let message = match step {
            Step::RemoveAddress { device, address, deprecated } => {
                let device = self.device(device)?;
                RouteNetlinkMessage::DelAddress(address::message(device, *address, *deprecated))
            }
            Step::RemoveRoute(route) => RouteNetlinkMessage::DelRoute(self.route_message(route)?),
            Step::RemoveRule(rule) => RouteNetlinkMessage::DelRule(rule::message(rule)),
            Step::AddAddress { .. } | Step::AddRoute(_) | Step::AddRule(_) => return self.add(step),
            Step::SetFirewall { .. } | Step::HoldSetting(_) | Step::ReleaseSetting(_) => return Ok(()),
        };
        self.netlink.change(message)
    }

    fn route_message(&mut self, spec: &RouteSpec) -> io::Result<netlink_packet_route::route::RouteMessage> {
        let device = match &spec.kind {
            RouteKind::Device(name) => Some(self.device(name)?),
            RouteKind::Throw | RouteKind::Unreachable => None,
        };
        Ok(route::message(spec, device))
    }

    /// Whether exactly what the step would add is there and ours.
    fn stands(&mut self, step: &Step) -> bool {
        match step {
            // Its device is ours, and an address of it that is the same is the same.
            Step::AddAddress { device, .. } => self.devices.contains(device),
            Step::AddRoute(route) => self.read_ours().is_ok_and(|(routes, _)| routes.contains(route)),
            Step::AddRule(rule) => self.read_ours().is_ok_and(|(_, rules)| rules.contains(rule)),
            Step::RemoveAddress { .. } | Step::RemoveRoute(_) | Step::RemoveRule(_) => false,
            Step::SetFirewall { .. } | Step::HoldSetting(_) | Step::ReleaseSetting(_) => false,
        }
    }

    fn read_standing(&mut self, scope: &Scope) -> io::Result<Plan> {
        let (mut routes, mut rules) = self.read_ours()?;
        routes.retain(|route| scope.has_table(route.table));
        rules.retain(|rule| scope.has_priority(rule.priority));
        let addresses = address::on_device(&mut self.netlink, &scope.device)?;
        Ok(Plan { addresses, routes, rules, ..Plan::empty(scope) })
    }
}

impl Host for LinuxHost {
    type Queue = LinuxQueue;
    type Watch = NetworkWatch;

    fn sessions(&mut self) -> Result<Sessions, HostError> {
        Ok(Sessions::default())
    }

    fn watch(&mut self) -> Result<NetworkWatch, HostError> {
        NetworkWatch::new()
    }

    fn close(&mut self, device: &str) -> Result<(), HostError> {
        self.devices.retain(|name| name != device);
        let deleted = link::delete(&mut self.netlink, device);
        deleted.map_err(|source| failed(format!("deleting {device}"), source))
    }

    fn standing(&mut self, scope: &Scope) -> Result<Plan, HostError> {
        self.read_standing(scope).map_err(|source| failed(String::from("reading what stands"), source))
    }

    fn facts(&mut self) -> Result<HostFacts, HostError> {
        let what = || String::from("reading addresses and routes");
        facts::read(&mut self.netlink, &self.devices).map_err(|source| HostError::System { what: what(), source })
    }

    fn open(&mut self, spec: &DeviceSpec) -> Result<Vec<LinuxQueue>, HostError> {
        let queues = tun::open(spec)?;
        device::bring_up(&mut self.netlink, spec)
            .map_err(|source| failed(format!("bringing up {}", spec.name), source))?;
        if !self.devices.contains(&spec.name) {
            self.devices.push(spec.name.clone());
        }
        Ok(queues)
    }

    fn apply(&mut self, step: &Step) -> Result<(), HostError> {
        tracing::debug!(?step, "network step");
        let Err(error) = (if adds(step) { self.add(step) } else { self.remove(step) }) else { return Ok(()) };
        if is_without_ipv6(step, &error) || (!adds(step) && is_gone(&error)) {
            return Ok(());
        }
        if error.raw_os_error() != Some(libc::EEXIST) {
            return Err(failed(describe(step), error));
        }
        if self.stands(step) { Ok(()) } else { Err(HostError::Taken { what: describe(step) }) }
    }
}

const fn adds(step: &Step) -> bool {
    match step {
        Step::AddAddress { .. } | Step::AddRoute(_) | Step::AddRule(_) => true,
        Step::RemoveAddress { .. } | Step::RemoveRoute(_) | Step::RemoveRule(_) => false,
        Step::SetFirewall { .. } | Step::HoldSetting(_) | Step::ReleaseSetting(_) => false,
    }
}

/// What the kernel says when something to be removed is not there: routes, rules, addresses, devices.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT | libc::EADDRNOTAVAIL | libc::ENODEV | libc::ENXIO))
}

/// A kernel without IPv6 sends none, in clear or otherwise: there is nothing to do.
fn is_without_ipv6(step: &Step, error: &io::Error) -> bool {
    is_without_family(error) && family(step) == Some(Family::V6)
}

const fn family(step: &Step) -> Option<Family> {
    match step {
        Step::AddAddress { address, .. } | Step::RemoveAddress { address, .. } => Some(Family::of(address)),
        Step::AddRoute(route) | Step::RemoveRoute(route) => Some(Family::of(&route.prefix)),
        Step::AddRule(rule) | Step::RemoveRule(rule) => Some(rule.family),
        Step::SetFirewall { .. } | Step::HoldSetting(_) | Step::ReleaseSetting(_) => None,
    }
}

pub(crate) fn failed(what: String, source: io::Error) -> HostError {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => HostError::NotPermitted { what },
        _ => HostError::System { what, source },
    }
}

fn describe(step: &Step) -> String {
    let (verb, object) = match step {
        Step::AddAddress { device, address, .. } => ("adding", format!("address {address} to {device}")),
        Step::RemoveAddress { device, address, .. } => ("removing", format!("address {address} from {device}")),
        Step::AddRoute(route) => ("adding", format!("route {} to table {}", route.prefix, route.table)),
        Step::RemoveRoute(route) => ("removing", format!("route {} from table {}", route.prefix, route.table)),
        Step::AddRule(rule) => ("adding", format!("policy rule at priority {}", rule.priority)),
        Step::RemoveRule(rule) => ("removing", format!("policy rule at priority {}", rule.priority)),
        Step::SetFirewall { .. } => ("setting", String::from("the firewall")),
        Step::HoldSetting(_) => ("holding", String::from("a setting")),
        Step::ReleaseSetting(_) => ("releasing", String::from("a setting")),
    };
    format!("{verb} {object}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_step_and_what_to_do() {
        let route = RouteSpec {
            table: 19713,
            prefix: "10.1.0.0/16".parse().unwrap(),
            kind: RouteKind::Throw,
            metric: 1,
            mtu: None,
        };
        let what = describe(&Step::AddRoute(route));
        assert_eq!(what, "adding route 10.1.0.0/16 to table 19713");
        let error = failed(what, io::Error::from_raw_os_error(libc::EPERM));
        assert!(matches!(error, HostError::NotPermitted { .. }));
        assert!(error.to_string().contains("sudo"));
    }

    #[test]
    fn only_ipv6_may_be_missing() {
        let missing = io::Error::from_raw_os_error(libc::EAFNOSUPPORT);
        let route = |prefix: &str| {
            Step::AddRoute(RouteSpec {
                table: 1,
                prefix: prefix.parse().unwrap(),
                kind: RouteKind::Throw,
                metric: 1,
                mtu: None,
            })
        };
        assert!(is_without_ipv6(&route("fd00::/8"), &missing));
        assert!(!is_without_ipv6(&route("10.0.0.0/8"), &missing));
    }
}
