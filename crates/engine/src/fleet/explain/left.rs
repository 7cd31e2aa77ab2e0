//! Why the host keeps a flow and does not hand it to the engine: its own addresses, and what the plan lets go. The plan is
//! asked line by line ([`Plan::way`]); which tunnel a flow takes that comes in is the router's.

use std::net::IpAddr;

use ipnet::IpNet;
use mrvpn_netplan::plan::PolicyRule;
use mrvpn_netplan::ranges::ALWAYS_LOCAL;
use mrvpn_netplan::{Plan, Probe, Way, left_to_host};
use mrvpn_router::TunnelId;

use super::super::Fleet;
use super::super::roster::Member;
use crate::explained::FlowQuery;

impl Fleet {
    /// Why a flow of a program is left to the host, as what follows a colon; `None`: the engine gets it.
    pub(super) fn left(&self, query: &FlowQuery) -> Option<String> {
        // Linux looks into its own table before any line of ours.
        if let Some(why) = self.of_this_machine(query.to) {
            return Some(why);
        }
        let FlowQuery { from, to, proto, port } = *query;
        match self.wanted.way(&Probe { from, to, proto, port, mark: 0, local: true }) {
            Way::Taken(_) => None,
            Way::LetOut(rule) => Some(self.let_out(rule, to)),
            Way::Thrown(route) => Some(self.thrown(route.prefix)),
            Way::Unmatched => Some(String::from("nothing claims it")),
        }
    }

    fn of_this_machine(&self, to: IpAddr) -> Option<String> {
        let facts = &self.roster.facts;
        if to.is_loopback() || to.is_unspecified() || facts.addresses.contains(&to) || has_address(&self.wanted, to) {
            return Some(String::from("it is an address of this machine itself"));
        }
        let on = facts.on_link.iter().find(|on| broadcast_of(&on.net) == Some(to))?;
        Some(format!("it is the broadcast address of {}, a network of this machine ({})", on.net, on.device))
    }

    /// A line that lets go: a rule of the user's is told by its place and not here, unless it looks at a source that is
    /// chosen later.
    fn let_out(&self, rule: &PolicyRule, to: IpAddr) -> String {
        let bypassing = |(_, member): &(TunnelId, &Member)| member.config.bypass.iter().any(|net| net.contains(&to));
        match self.roster.in_order().find(bypassing) {
            Some((_, member)) => format!("`bypass` of {} names it", member.config.name),
            None if rule.port.is_some() && !self.roster.config.lan_allowed => {
                String::from("without DHCP no card keeps its address")
            }
            None => String::from("a rule lets it go"),
        }
    }

    /// What the prefix of a `throw` is.
    fn thrown(&self, prefix: IpNet) -> String {
        let facts = &self.roster.facts;
        if ALWAYS_LOCAL.contains(&prefix) {
            return format!("multicast, broadcast and link-local addresses ({prefix}) stay on the LAN");
        }
        if let Some(on) = facts.on_link.iter().find(|on| on.net.trunc() == prefix) {
            return format!("it is in {prefix}, a network that this machine is on ({})", on.device);
        }
        if facts.routed.iter().any(|net| net.trunc() == prefix) {
            return format!("this machine has a route of its own to {prefix}");
        }
        let leaves = |(_, member): &(TunnelId, &Member)| left_to_host(&member.config.profile.pull).contains(&prefix);
        match self.roster.in_order().find(leaves) {
            Some((_, member)) => format!("the profile of {} leaves {prefix} to `net_gateway`", member.config.name),
            None => format!("{prefix} is of another engine of mrvpn on this machine"),
        }
    }
}

fn has_address(plan: &Plan, address: IpAddr) -> bool {
    plan.addresses.iter().any(|planned| planned.address.addr() == address)
}

/// /31 and /32 have none (RFC 3021), and IPv6 neither.
fn broadcast_of(net: &IpNet) -> Option<IpAddr> {
    match net {
        IpNet::V4(net) if net.prefix_len() < 31 => Some(IpAddr::V4(net.broadcast())),
        IpNet::V4(_) | IpNet::V6(_) => None,
    }
}
