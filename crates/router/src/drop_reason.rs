//! Why a packet was not forwarded. One list for log field, status counter and test assertion.

use serde::{Deserialize, Serialize};

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a packet was not forwarded.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum DropReason { $($(#[$doc])* $variant,)* }

        impl DropReason {
            /// All reasons, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in `status --json`, in kebab-case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

drop_reasons! {
    /// Not an IP packet, or its lengths do not fit.
    Malformed = "malformed",
    /// The rule, claim or default gave it to a tunnel that is not up.
    TunnelDown = "tunnel-down",
    /// It waited for its tunnel and there was no more room, or the wait was over.
    HoldFull = "hold-full",
    /// A rule says `block`.
    Blocked = "blocked",
    /// A rule says `direct`, but the flow is bound to a tunnel's address and cannot go direct with it.
    BoundDirect = "bound-direct",
    /// Nothing claims it, yet it came into the interface.
    Unclaimed = "unclaimed",
    /// The tunnel has no address of this family.
    NoAddress = "no-address",
    /// A message that cannot be translated: ICMP other than echo and errors.
    Protocol = "protocol",
    /// A later fragment whose first did not come, or one that overlaps another.
    Fragment = "fragment",
    /// Broadcast, multicast, link-local, or a message to neighbours.
    Multicast = "multicast",
    /// An outbound flow that began before a claim held it: its source is no address of ours.
    OlderThanClaim = "older-than-claim",
    /// Outbound TCP without SYN of no known flow.
    NotSyn = "not-syn",
    /// The flow's lease has ended.
    LeaseEnded = "lease-ended",
    /// The user has changed the rules, or stopped the tunnel, so that the flow's packets go elsewhere now.
    Withdrawn = "withdrawn",
    /// The flow table is full.
    TableFull = "table-full",
    /// The program has as many flows as one may have.
    ShareFull = "share-full",
    /// No free source port.
    PortsUsed = "ports-used",
    /// Larger than the tunnel carries.
    TooBig = "too-big",
    /// From a server: its destination is not this tunnel's address.
    NotOurAddress = "not-our-address",
    /// It belongs to no flow that the host opened: from a server, or an ICMP message of the host that goes with none.
    NoFlow = "no-flow",
    /// From a server: more errors about one flow than it is told in a second.
    TooManyErrors = "too-many-errors",
    /// From a server: it would open a connection to this host.
    Unasked = "unasked",
    /// The interface did not take it.
    InterfaceFull = "interface-full",
    /// The tunnel's socket did not take it.
    SocketFull = "socket-full",
    /// A data packet whose key is not known.
    UnknownKey = "unknown-key",
    /// A data packet that does not authenticate.
    Forged = "forged",
    /// A data packet that came twice or too late.
    Replayed = "replayed",
    /// A control packet that the session did not take.
    Control = "control",
    /// The session's queue of control packets was full.
    ControlFull = "control-full",
    /// A datagram from another address than the server's.
    Stranger = "stranger",
    /// The key's packet ids are used up.
    KeyWorn = "key-worn",
    /// A tunnel's own outer packet, which came into the interface: it would go round for ever.
    Loop = "loop",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_json_writes() {
        for reason in DropReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.name());
        }
    }
}
