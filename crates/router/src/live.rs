//! Flows that exist, as far as they concern a question about a destination: which tunnel has them and how they are
//! translated. Read only; where a new flow would go is told in `explain.rs`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::ending::over;
use crate::flow::Flow;
use crate::{Router, TunnelId};

/// Which flows are asked for: those to `destination` for which all else that is said is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowFilter {
    /// The remote end's address.
    pub destination: IpAddr,
    /// The remote end's port; 0 for echoes and protocols without ports.
    pub port: Option<u16>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// The host's address, as the app has it.
    pub source: Option<IpAddr>,
}

/// One flow that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveFlow {
    /// IP protocol number.
    pub protocol: u8,
    /// The host's end, as the app has it; the port of an echo is its identifier.
    pub seen: (IpAddr, u16),
    /// The same end, as the tunnel's server sees it.
    pub sent: (IpAddr, u16),
    /// The other end.
    pub remote: (IpAddr, u16),
    /// Whose it is.
    pub tunnel: TunnelId,
    /// Whether packets of it may still go: its lease has not ended, and the user has not taken it back.
    pub lease_alive: bool,
}

impl Router {
    /// Flows that `filter` names, `most` at most, in no order. It looks at all flows, so it is for questions of people, not
    /// for packets.
    #[must_use]
    pub fn find_flows(&self, filter: &FlowFilter, most: usize) -> Vec<LiveFlow> {
        let named = self.flows.iter().map(|(_, flow)| flow).filter(|flow| filter.names(flow));
        let live = |flow: &Flow| LiveFlow {
            protocol: flow.protocol.number(),
            seen: (flow.inside.address, flow.inside.port),
            sent: (flow.outside.address, flow.outside.port),
            remote: (flow.remote.address, flow.remote.port),
            tunnel: flow.tunnel,
            lease_alive: over(&self.policy, flow).is_none(),
        };
        named.take(most).map(live).collect()
    }
}

impl FlowFilter {
    fn names(&self, flow: &Flow) -> bool {
        self.destination == flow.remote.address
            && self.port.is_none_or(|port| port == flow.remote.port)
            && self.protocol.is_none_or(|protocol| protocol == flow.protocol.number())
            && self.source.is_none_or(|source| source == flow.inside.address)
    }
}
