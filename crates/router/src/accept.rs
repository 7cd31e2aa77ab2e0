//! What the user lets in: new connections from a tunnel's far side to this host. Only this opens a flow from outside;
//! whether a packet is of one is asked in `inbound.rs`.

use serde::{Deserialize, Serialize};

use crate::{PortRange, TunnelId};

/// One entry of a tunnel's `accept`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accept {
    /// Whose far side may connect.
    pub tunnel: TunnelId,
    /// IP protocol number; only TCP (6) and UDP (17) open flows.
    pub protocol: u8,
    /// Ports of this host that may be connected to.
    pub ports: PortRange,
}

impl Accept {
    /// Whether it names this.
    #[must_use]
    pub const fn names(&self, tunnel: TunnelId, protocol: u8, port: u16) -> bool {
        self.tunnel.number() == tunnel.number()
            && self.protocol == protocol
            && self.ports.first <= port
            && port <= self.ports.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_an_entry_must_fit() {
        let uk = TunnelId::new(0);
        let entry = Accept { tunnel: uk, protocol: 6, ports: PortRange { first: 80, last: 82 } };
        for (tunnel, protocol, port, named) in
            [(uk, 6, 79, false), (uk, 6, 80, true), (uk, 6, 82, true), (uk, 6, 83, false), (uk, 17, 80, false)]
        {
            assert_eq!(entry.names(tunnel, protocol, port), named);
        }
        assert!(!entry.names(TunnelId::new(1), 6, 80));
    }
}
