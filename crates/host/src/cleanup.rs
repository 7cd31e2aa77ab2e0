//! Cleaning up after an engine that was killed: its device went with it, its routes and policy rules are found by our
//! number. Nothing that carries another number is touched.

use std::io;

use mrvpn_netplan::HostError;
use mrvpn_netplan::plan::Family;
use netlink_packet_route::RouteNetlinkMessage;

use crate::linux::failed;
use crate::netlink::{Netlink, route, rule};

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Number of policy rules.
    pub rules: usize,
    /// Number of routes.
    pub routes: usize,
}

/// Which engine's leftovers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every engine's of this network namespace.
    Everything,
    /// One engine's: its hundred priorities and its two tables.
    Engine {
        /// First priority.
        rule_priority: u32,
        /// First table ([`mrvpn_netplan::PlanInput::table_all`]).
        table: u32,
    },
}

/// Removes what carries our number in this thread's network namespace. Policy rules go first, in the order of their
/// priorities.
///
/// # Errors
/// Not permitted, or the kernel does not answer; what was removed until then stays removed.
pub fn sweep(scope: Scope) -> Result<Swept, HostError> {
    let what = || String::from("removing what a killed engine left");
    let mut netlink = Netlink::open().map_err(|error| failed(what(), error))?;
    let mut swept = Swept::default();
    for family in [Family::V4, Family::V6] {
        swept.rules += sweep_rules(&mut netlink, family, scope).map_err(|error| failed(what(), error))?;
        swept.routes += sweep_routes(&mut netlink, family, scope).map_err(|error| failed(what(), error))?;
    }
    Ok(swept)
}

fn sweep_rules(netlink: &mut Netlink, family: Family, scope: Scope) -> io::Result<usize> {
    let mut swept = 0;
    for message in all(rule::all(netlink, family))? {
        if rule::is_ours(&message) && scope.has_priority(rule::priority(&message)) {
            swept += removed(netlink.change(RouteNetlinkMessage::DelRule(message)))?;
        }
    }
    Ok(swept)
}

fn sweep_routes(netlink: &mut Netlink, family: Family, scope: Scope) -> io::Result<usize> {
    let mut swept = 0;
    for message in all(route::all(netlink, family))? {
        if route::is_ours(&message) && scope.has_table(route::table(&message)) {
            swept += removed(netlink.change(RouteNetlinkMessage::DelRoute(message)))?;
        }
    }
    Ok(swept)
}

/// A kernel without this family has nothing of it.
fn all<T>(read: io::Result<Vec<T>>) -> io::Result<Vec<T>> {
    match read {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP)) => Ok(Vec::new()),
        other => other,
    }
}

/// 1, or 0 for what went by itself meanwhile.
fn removed(result: io::Result<()>) -> io::Result<usize> {
    match result {
        Ok(()) => Ok(1),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT | libc::ENODEV)) => Ok(0),
        Err(error) => Err(error),
    }
}

impl Scope {
    fn has_priority(self, priority: u32) -> bool {
        match self {
            Self::Everything => true,
            Self::Engine { rule_priority, .. } => {
                (rule_priority..=rule_priority.saturating_add(99)).contains(&priority)
            }
        }
    }

    fn has_table(self, number: u32) -> bool {
        match self {
            Self::Everything => true,
            Self::Engine { table, .. } => number == table || number == table.saturating_add(1),
        }
    }
}
