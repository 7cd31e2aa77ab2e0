//! Pure packet logic: which tunnel a packet takes, and how it is translated. No I/O, no clock, no socket: bytes and a
//! [`Policy`] in, bytes and an outcome out. Crypto is `proto`'s, what the kernel captures is `netplan`'s.

#![forbid(unsafe_code)]

pub mod accept; // what may be connected to from outside
mod admit; // whether a packet of the host may go
mod app; // whose a flow is
mod chain; // queues that are linked in place
pub mod claim; // a prefix that belongs to a tunnel
mod claim_index; // which claim holds an address
pub mod drop_reason; // why a packet was not forwarded
pub mod drops; // counters of these
mod ending; // flows that end before their time
pub mod explain; // why there and not elsewhere
mod flow; // what was decided for a five-tuple
mod flow_table; // where flows are kept, and for how long
pub mod fragment; // cutting a packet to a tunnel's size
mod fragment_queue; // fragments that came before their first
mod fragment_table; // later fragments follow their first
mod holders; // who holds how many flows
mod icmp_error; // errors that quote a flow
pub mod id; // tunnels and leases by number
pub mod inbound; // from a tunnel to the host
pub mod limits; // the numbers that bound all this
pub mod live; // flows that exist
mod names; // from what a packet says to its flow
mod nat; // how a packet is translated
pub mod offload; // what the kernel has left undone in a packet
pub mod outbound; // from the host to a tunnel
mod pace; // how often a flow is answered
pub mod packet; // views of packets, checksums
pub mod pick; // which tunnel a packet takes
pub mod policy; // the immutable snapshot that decides
mod ports; // the port of a new flow
mod progress; // how far a flow has come
pub mod questions; // which program has a flow
pub mod refuse; // answers that make a refusal felt
mod resting; // ports of ended leases
pub mod router; // the face: packets in, outcomes out
pub mod rule; // a match and a target
mod waits; // how long tunnels have carried nothing
mod withdrawal; // what the user takes back

pub use accept::Accept;
pub use app::AppId;
pub use claim::{Claim, ClaimOrigin};
pub use drop_reason::DropReason;
pub use drops::Drops;
pub use explain::{Explanation, Rejected, WhyNot, explain, source_sent};
pub use id::{LeaseId, TunnelId};
pub use inbound::Inbound;
pub use live::{FlowFilter, LiveFlow};
pub use offload::{Checksum, Offload, SegmentKind, Segmentation};
pub use outbound::Outbound;
pub use pick::{By, FlowTuple, Pick, Via, pick};
pub use policy::{
    Attachment, DefaultChoice, Defaults, Fallback, OwnAddresses, Policy, PolicyInput, Sources, TunnelState, TunnelView,
};
pub use questions::Question;
pub use refuse::Refusal;
pub use router::Router;
pub use rule::{Field, PortRange, Rule, Target};
