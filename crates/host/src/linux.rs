//! The host made real on Linux: steps become netlink messages, one at a time. It decides nothing and remembers only what
//! it has made itself; what should exist is the plan's. What is written down of it is [`mod@crate::journal`]'s.

use std::io;
use std::path::Path;

use mrvpn_netplan::plan::{Family, PolicyRule, RouteKind, RouteSpec};
use mrvpn_netplan::{
    DeviceSpec, Fence, Firewall, Host, HostError, HostFacts, Plan, PlannedAddress, Scope, Sessions, Setting, Step,
};
use netlink_packet_route::RouteNetlinkMessage;

use crate::journal::{Journal, Places};
use crate::netlink::{Netlink, address, is_without_family, link, route, rule};
use crate::nft::{Fingerprint, Nft, NftError};
use crate::setting::Settings;
use crate::tun::{self, LinuxQueue, Presence};
use crate::watch::NetworkWatch;
use crate::{device, facts, sessions};

/// One network namespace: that of the thread in which it was made.
pub struct LinuxHost {
    netlink: Netlink,
    nft: Option<Nft>,
    settings: Settings,
    journal: Option<Journal>,
    /// Whose host it is; unknown where it only looks.
    scope: Option<Scope>,
    /// Devices that it has made or joined.
    devices: Vec<String>,
    /// The firewall that was set last, and what the kernel said of it right after, if it could tell.
    firewall: Option<(Firewall, Option<Fingerprint>)>,
}

impl LinuxHost {
    /// Opens the routing socket in this thread's network namespace. Devices are made in the namespace of the thread that
    /// calls [`Host::open`]; that should be the same. Nothing is written down, and nobody's names are known: enough to
    /// look. An engine goes on with [`Self::with_journal`].
    ///
    /// # Errors
    /// The kernel has no routing socket for this process.
    pub fn new() -> Result<Self, HostError> {
        let what = || String::from("opening the kernel's routing socket");
        let netlink = Netlink::open().map_err(|source| HostError::System { what: what(), source })?;
        Ok(Self {
            netlink,
            nft: None,
            settings: Settings::new(None),
            journal: None,
            scope: None,
            devices: Vec::new(),
            firewall: None,
        })
    }

    /// The host of the engine of `scope`, without a journal: what it leaves when it is killed is found by number alone.
    #[must_use]
    pub fn with_scope(mut self, scope: &Scope) -> Self {
        self.scope = Some(scope.clone());
        self
    }

    /// The host of the engine of `scope`, that writes each step down before it is done; settings are held together with
    /// other engines. From now on the slot is this instance's, for others to see ([`crate::held_slots`]). Goes on with
    /// the journal of a killed engine of the same scope. The journal is removed by [`Host::close`], or when this value is
    /// dropped, once nothing stands.
    ///
    /// # Errors
    /// The journal cannot be written, or there is one of another scope: see [`crate::leftover()`].
    pub fn with_journal(self, scope: &Scope, places: &Places) -> Result<Self, HostError> {
        let journal = Journal::begin(&places.journal, scope);
        let journal = journal.map_err(|error| failed(format!("writing {}", places.journal.display()), error))?;
        Ok(Self { journal: Some(journal), ..self.beside(scope, &places.shared) })
    }

    /// The host of the engine of `scope` beside others, without a journal.
    pub(crate) fn beside(self, scope: &Scope, shared: &Path) -> Self {
        Self { settings: Settings::new(Some(shared)), ..self.with_scope(scope) }
    }

    /// The routes and policy rules of this namespace that carry our number, as a plan has them.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn ours(&mut self) -> Result<(Vec<RouteSpec>, Vec<PolicyRule>), HostError> {
        self.read_ours().map_err(|source| HostError::System { what: String::from("reading routes and rules"), source })
    }

    /// Names of all devices of this namespace, sorted.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn device_names(&mut self) -> Result<Vec<String>, HostError> {
        let links = link::all(&mut self.netlink).map_err(|error| failed(String::from("reading devices"), error))?;
        let mut names: Vec<String> = links.into_iter().map(|link| link.name).collect();
        names.sort();
        Ok(names)
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

    /// Whether the device is there and was made by this engine, or by one of the same instance.
    pub(crate) fn has_device(&mut self, name: &str) -> bool {
        let tag = self.scope.as_ref().map(device::tag);
        let link = link::by_name(&mut self.netlink, name).ok().flatten();
        link.is_some_and(|link| self.devices.iter().any(|made| made == name) || (tag.is_some() && link.alias == tag))
    }

    /// Removes the tables of this name, if they are ours; whether there were any.
    pub(crate) fn remove_tables(&mut self, name: &str) -> Result<bool, HostError> {
        let removed = self.nft().and_then(|nft| nft.remove(name));
        match removed {
            // No nftables, so no tables.
            Err(error) if is_without_nftables(&error) => Ok(false),
            other => other.map_err(|error| failed(format!("removing the nftables tables {name}"), error)),
        }
    }

    fn nft(&mut self) -> io::Result<&mut Nft> {
        if self.nft.is_none() {
            self.nft = Some(Nft::open()?);
        }
        self.nft.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Writes down what is going to be done. What only removes is done even where it cannot be written.
    fn note(&mut self, step: &Step) -> Result<(), HostError> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        match journal.step(step) {
            Err(error) if adds(step) => Err(failed(String::from("writing the journal"), error)),
            Err(error) => {
                tracing::warn!(%error, "the journal cannot be written");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn carry_out(&mut self, step: &Step) -> Result<(), HostError> {
        match step {
            Step::SetFirewall { from, to } => self.set_firewall(from.as_deref(), to.as_deref()),
            Step::HoldSetting(_) | Step::ReleaseSetting(_) => {
                self.set_setting(step).map_err(|error| failed(describe(step), error))
            }
            Step::AddAddress { .. } | Step::AddRoute(_) | Step::AddRule(_) => self.add(step),
            Step::RemoveAddress { .. } | Step::RemoveRoute(_) | Step::RemoveRule(_) => self.remove(step),
        }
    }

    fn set_firewall(&mut self, from: Option<&Firewall>, to: Option<&Firewall>) -> Result<(), HostError> {
        let stands = self.firewall.take();
        if let (Some((stands, Some(fingerprint))), Some(to)) = (stands, to)
            && self.change_held(&stands, &fingerprint, to)
        {
            return Ok(());
        }
        if let Some(from) = from.filter(|from| to.is_none_or(|to| to.table != from.table)) {
            self.remove_tables(&from.table)?;
        }
        let Some(to) = to else { return Ok(()) };
        // Without the list the tables are right for everything that begins from now on.
        let asked = sessions::asked().unwrap_or_else(|error| {
            tracing::debug!(%error, "UDP flows from before are not known");
            Vec::new()
        });
        let set = self.nft().map_err(NftError::System).and_then(|nft| {
            nft.set(to, &asked)?;
            Ok(nft.fingerprint(&to.table).ok().flatten())
        });
        let fingerprint = set.map_err(|error| not_set(&to.table, error))?;
        self.firewall = Some((to.clone(), fingerprint));
        Ok(())
    }

    /// Where nothing differs but what is refused by other interfaces, and the tables are as they were set, that alone is
    /// changed. Whether it was; else they are set anew.
    fn change_held(&mut self, stands: &Firewall, fingerprint: &Fingerprint, to: &Firewall) -> bool {
        let held = to.fence.held.clone();
        if stands.with_fence(Fence { held, ..stands.fence.clone() }) != *to {
            return false;
        }
        let changed = self.nft().and_then(|nft| {
            let untouched = nft.fingerprint(&to.table)?.as_ref() == Some(fingerprint);
            if !untouched {
                return Ok(None);
            }
            nft.set_held(stands, to)?;
            nft.fingerprint(&to.table)
        });
        let Ok(Some(fingerprint)) = changed else { return false };
        self.firewall = Some((to.clone(), Some(fingerprint)));
        true
    }

    /// The firewall that was set last, if the kernel says the same of it as right after. Where it says something else it is
    /// another one than anyone wants, of no device: to be set anew, or removed. Where the kernel cannot tell, it is taken to
    /// be as it was.
    fn standing_firewall(&mut self, scope: &Scope) -> Option<Firewall> {
        let (firewall, fingerprint) = self.firewall.clone().filter(|(firewall, _)| firewall.table == scope.firewall)?;
        match self.nft().and_then(|nft| nft.fingerprint(&firewall.table)) {
            Ok(now @ Some(_)) if now == fingerprint => Some(firewall),
            Ok(Some(_)) => {
                tracing::debug!(firewall.table, "the tables are not as they were set");
                Some(Firewall { device: String::new(), ..firewall })
            }
            Ok(None) => None,
            Err(error) => {
                tracing::debug!(%error, firewall.table, "the tables cannot be read");
                Some(firewall)
            }
        }
    }

    fn set_setting(&mut self, step: &Step) -> io::Result<()> {
        let holder = self.scope.as_ref().map_or("", |scope| &scope.firewall);
        match step {
            Step::HoldSetting(setting) => self.settings.hold(*setting, holder),
            Step::ReleaseSetting(setting) => self.settings.release(*setting, holder),
            Step::AddAddress { .. }
            | Step::AddRoute(_)
            | Step::AddRule(_)
            | Step::RemoveAddress { .. }
            | Step::RemoveRoute(_)
            | Step::RemoveRule(_)
            | Step::SetFirewall { .. } => Ok(()),
        }
    }

    fn add(&mut self, step: &Step) -> Result<(), HostError> {
        match self.message(step).and_then(|message| message.map_or(Ok(()), |message| self.netlink.add(message))) {
            Ok(()) => Ok(()),
            Err(error) if is_without_ipv6(step, &error) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                if self.stands(step) {
                    Ok(())
                } else {
                    Err(HostError::Taken { what: describe(step) })
                }
            }
            Err(error) => Err(failed(describe(step), error)),
        }
    }

    fn remove(&mut self, step: &Step) -> Result<(), HostError> {
        match self.message(step).and_then(|message| message.map_or(Ok(()), |message| self.netlink.change(message))) {
            Ok(()) => Ok(()),
            Err(error) if is_without_ipv6(step, &error) || is_gone(&error) => Ok(()),
            Err(error) => Err(failed(describe(step), error)),
        }
    }

    /// The step as a message to the routing socket; `None` for steps of other kinds.
    fn message(&mut self, step: &Step) -> io::Result<Option<RouteNetlinkMessage>> {
        Ok(Some(match step {
            Step::AddAddress { device, address, deprecated } => {
                RouteNetlinkMessage::NewAddress(address::message(self.device(device)?, *address, *deprecated))
            }
            Step::RemoveAddress { device, address, deprecated } => {
                RouteNetlinkMessage::DelAddress(address::message(self.device(device)?, *address, *deprecated))
            }
            Step::AddRoute(route) => RouteNetlinkMessage::NewRoute(self.route_message(route)?),
            Step::RemoveRoute(route) => RouteNetlinkMessage::DelRoute(self.route_message(route)?),
            Step::AddRule(rule) => RouteNetlinkMessage::NewRule(rule::message(rule)),
            Step::RemoveRule(rule) => RouteNetlinkMessage::DelRule(rule::message(rule)),
            Step::SetFirewall { .. } | Step::HoldSetting(_) | Step::ReleaseSetting(_) => return Ok(None),
        }))
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
            Step::AddAddress { device, address, deprecated } => {
                let planned = PlannedAddress { address: *address, deprecated: *deprecated };
                let there = address::on_device(&mut self.netlink, device);
                self.devices.contains(device) && there.is_ok_and(|there| there.contains(&planned))
            }
            Step::AddRoute(route) => self.read_ours().is_ok_and(|(routes, _)| routes.contains(route)),
            Step::AddRule(rule) => self.read_ours().is_ok_and(|(_, rules)| rules.contains(rule)),
            Step::RemoveAddress { .. }
            | Step::RemoveRoute(_)
            | Step::RemoveRule(_)
            | Step::SetFirewall { .. }
            | Step::HoldSetting(_)
            | Step::ReleaseSetting(_) => false,
        }
    }

    fn read_standing(&mut self, scope: &Scope) -> io::Result<Plan> {
        if self.has_device(&scope.device) && device::raise(&mut self.netlink, &scope.device)? {
            tracing::warn!(device = scope.device, "somebody has put the interface down; it is up again");
        }
        let (mut routes, mut rules) = self.read_ours()?;
        routes.retain(|route| scope.has_table(route.table));
        rules.retain(|rule| scope.has_priority(rule.priority));
        let addresses = if self.has_device(&scope.device) {
            address::on_device(&mut self.netlink, &scope.device)?
        } else {
            Vec::new()
        };
        let settings = self.settings.standing(&scope.firewall)?;
        let firewall = self.standing_firewall(scope);
        Ok(Plan { settings, firewall, addresses, routes, rules, ..Plan::empty(scope) })
    }

    fn open_queues(&mut self, spec: &DeviceSpec) -> Result<Vec<LinuxQueue>, HostError> {
        match tun::open(spec, Presence::New) {
            Err(HostError::Taken { .. }) if spec.persistent && self.has_device(&spec.name) => {
                tun::open(spec, Presence::There)
            }
            other => other,
        }
    }
}

impl Host for LinuxHost {
    type Queue = LinuxQueue;
    type Watch = NetworkWatch;

    fn facts(&mut self) -> Result<HostFacts, HostError> {
        let what = || String::from("reading addresses and routes");
        facts::read(&mut self.netlink, &self.devices, self.scope.as_ref())
            .map_err(|source| HostError::System { what: what(), source })
    }

    fn sessions(&mut self) -> Result<Sessions, HostError> {
        sessions::read().map_err(|error| failed(String::from("reading the host's connections"), error))
    }

    fn watch(&mut self) -> Result<NetworkWatch, HostError> {
        NetworkWatch::new()
    }

    fn open(&mut self, spec: &DeviceSpec) -> Result<Vec<LinuxQueue>, HostError> {
        if let Some(journal) = &mut self.journal {
            journal.open(&spec.name).map_err(|error| failed(String::from("writing the journal"), error))?;
        }
        let queues = self.open_queues(spec)?;
        let tag = self.scope.as_ref().map(device::tag);
        let up = device::bring_up(&mut self.netlink, spec, tag.as_deref());
        // Persistent last: until it is known by its alias, it goes with its engine.
        let up =
            up.and_then(
                |()| if spec.persistent { queues.iter().try_for_each(LinuxQueue::make_persistent) } else { Ok(()) },
            );
        up.map_err(|source| failed(format!("bringing up {}", spec.name), source))?;
        if !self.devices.contains(&spec.name) {
            self.devices.push(spec.name.clone());
        }
        Ok(queues)
    }

    fn close(&mut self, device: &str) -> Result<(), HostError> {
        if self.has_device(device) {
            let deleted = link::delete(&mut self.netlink, device);
            deleted.map_err(|error| failed(format!("deleting {device}"), error))?;
        }
        self.devices.retain(|name| name != device);
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.close(device).and_then(|()| journal.end())
        {
            tracing::warn!(%error, "the journal cannot be written");
        }
        Ok(())
    }

    fn standing(&mut self, scope: &Scope) -> Result<Plan, HostError> {
        self.read_standing(scope).map_err(|source| failed(String::from("reading what stands"), source))
    }

    fn apply(&mut self, step: &Step) -> Result<(), HostError> {
        tracing::debug!(?step, "network step");
        self.note(step)?;
        let done = self.carry_out(step);
        if done.is_err() {
            let _ = self.note(&step.undo());
        }
        done
    }
}

/// Whether the kernel has no netfilter at all.
pub(crate) fn is_without_nftables(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EPROTONOSUPPORT)
}

/// What the kernel says to new tables.
fn not_set(table: &str, error: NftError) -> HostError {
    let what = format!("setting the nftables tables {table}");
    match error {
        NftError::Foreign => HostError::Taken { what },
        NftError::System(error) => match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => HostError::NotPermitted { what },
            // No netfilter, no nf_tables, no such family or expression.
            Some(libc::EPROTONOSUPPORT | libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::ENOENT | libc::EINVAL) => {
                let what = format!(
                    "{what} (does the kernel have nf_tables with ct, fib and reject, for inet and arp? try `sudo modprobe -a nf_tables nft_ct nft_fib_inet nft_reject_inet`)"
                );
                HostError::System { what, source: error }
            }
            _ => HostError::System { what, source: error },
        },
    }
}

const fn adds(step: &Step) -> bool {
    match step {
        Step::AddAddress { .. } | Step::AddRoute(_) | Step::AddRule(_) | Step::HoldSetting(_) => true,
        Step::RemoveAddress { .. } | Step::RemoveRoute(_) | Step::RemoveRule(_) | Step::ReleaseSetting(_) => false,
        Step::SetFirewall { to, .. } => to.is_some(),
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
        Step::SetFirewall { to: Some(to), .. } => ("setting", format!("the nftables tables {}", to.table)),
        Step::SetFirewall { to: None, .. } => ("removing", String::from("the nftables tables")),
        Step::HoldSetting(setting) => ("setting", setting_name(*setting)),
        Step::ReleaseSetting(setting) => ("giving back", setting_name(*setting)),
    };
    format!("{verb} {object}")
}

fn setting_name(setting: Setting) -> String {
    String::from(match setting {
        Setting::SourceValidMark => "net.ipv4.conf.all.src_valid_mark",
    })
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
    fn a_kernel_without_nftables_is_named_with_what_to_do_and_others_tables_are_theirs() {
        for code in [libc::EPROTONOSUPPORT, libc::EOPNOTSUPP, libc::EAFNOSUPPORT, libc::ENOENT] {
            let error = not_set("mrvpn_work", NftError::System(io::Error::from_raw_os_error(code)));
            let text = error.to_string();
            assert!(text.contains("mrvpn_work") && text.contains("modprobe"), "{text}");
        }
        let error = not_set("mrvpn_work", NftError::System(io::Error::from_raw_os_error(libc::EPERM)));
        assert!(matches!(error, HostError::NotPermitted { .. }));
        assert!(matches!(not_set("mrvpn_work", NftError::Foreign), HostError::Taken { .. }));
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
