//! Which tunnel a packet takes: the one place where that is decided. It knows neither the state of a tunnel nor a flow
//! table; a flow keeps what was decided for its first packet, and what becomes of it while its tunnel is down is
//! `router.rs`'s. The order is: rule, source, claim, default, fallback.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::packet::protocol;
use crate::{Attachment, DefaultChoice, Fallback, Policy, Rule, Target, TunnelId};

/// What is looked at of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FlowTuple {
    /// Source address, as the app has it.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Source port, of protocols that have ports.
    pub source_port: Option<u16>,
    /// Destination port, of protocols that have ports.
    pub destination_port: Option<u16>,
}

/// Where a flow goes, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pick {
    /// Where.
    pub via: Via,
    /// Why.
    pub by: By,
}

/// Where a flow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Via {
    /// Through this tunnel, or nowhere.
    Tunnel(TunnelId),
    /// As if mrvpn did not run. It is not captured where the host can say so; inside the interface it is refused.
    Direct,
    /// Nowhere.
    Block,
    /// To the default tunnel, once that is known.
    Undecided,
    /// Nothing claims it: left to the host.
    Nobody,
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum By {
    /// The rule at this place of the file, from 0.
    Rule(usize),
    /// The source that the app bound to.
    Source,
    /// This claim.
    Claim(IpNet),
    /// The default.
    Default,
    /// The fallback.
    Fallback,
    /// The device or namespace that it came from.
    Attachment,
}

/// Decides where `flow`, which came from `attachment`, goes.
#[must_use]
pub fn pick(policy: &Policy, attachment: Attachment, flow: &FlowTuple) -> Pick {
    let rule = policy.rules().iter().enumerate().find(|(_, rule)| rule.matches(flow));
    match (attachment, rule) {
        (Attachment::Only(tunnel), Some((_, Rule { via: Target::Tunnel(_) | Target::Direct, .. })) | None) => {
            Pick { via: Via::Tunnel(tunnel), by: By::Attachment }
        }
        (_, Some((place, rule))) => Pick { via: rule.via.into(), by: By::Rule(place) },
        (Attachment::Prefer(tunnel), None) => Pick { via: Via::Tunnel(tunnel), by: By::Attachment },
        (Attachment::Rules, None) => by_address(policy, flow),
    }
}

/// Source, claim, default, fallback.
fn by_address(policy: &Policy, flow: &FlowTuple) -> Pick {
    if let Some(tunnel) = policy.tunnel_of_source(flow.source) {
        return Pick { via: Via::Tunnel(tunnel), by: By::Source };
    }
    if let Some((prefix, tunnel)) = policy.claim_of(flow.destination) {
        return Pick { via: Via::Tunnel(tunnel), by: By::Claim(prefix) };
    }
    match (policy.default_for(flow.destination), policy.fallback()) {
        (DefaultChoice::Tunnel(tunnel), _) => Pick { via: Via::Tunnel(tunnel), by: By::Default },
        (DefaultChoice::Undecided, _) => Pick { via: Via::Undecided, by: By::Default },
        (DefaultChoice::NotOffered, Fallback::Auto) => Pick { via: Via::Nobody, by: By::Fallback },
    }
}

impl Rule {
    /// Whether all fields of this rule match `flow`.
    #[must_use]
    pub fn matches(&self, flow: &FlowTuple) -> bool {
        any_or_empty(&self.to, |net| net.contains(&flow.destination))
            && any_or_empty(&self.from, |net| net.contains(&flow.source))
            && any_or_empty(&self.proto, |proto| *proto == flow.protocol)
            && any_or_empty(&self.port, |range| {
                let port = flow.destination_port.filter(|_| has_ports(flow.protocol));
                port.is_some_and(|port| (range.first..=range.last).contains(&port))
            })
    }
}

impl From<Target> for Via {
    fn from(target: Target) -> Self {
        match target {
            Target::Tunnel(tunnel) => Self::Tunnel(tunnel),
            Target::Direct => Self::Direct,
            Target::Block => Self::Block,
        }
    }
}

/// Whether a rule's ports mean something for a protocol.
#[must_use]
pub const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP | protocol::DCCP)
}

/// An empty list matches anything, a list means any of.
fn any_or_empty<T>(list: &[T], matches: impl Fn(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(matches)
}
