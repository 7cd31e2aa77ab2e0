//! Pure packet logic: which tunnel a packet takes, and how it is translated. No I/O, no clock, no socket: bytes and a
//! [`Policy`] in, bytes and an outcome out. Crypto is `proto`'s, what the kernel captures is `netplan`'s.

#![forbid(unsafe_code)]

pub mod claim; // a prefix that belongs to a tunnel
pub mod drop_reason; // why a packet was not forwarded
pub mod id; // tunnels and leases by number
pub mod offload; // what the kernel has left undone in a packet
pub mod policy; // the immutable snapshot that decides
pub mod rule; // a match and a target

pub use claim::{Claim, ClaimOrigin};
pub use drop_reason::DropReason;
pub use id::{LeaseId, TunnelId};
pub use offload::{Checksum, Offload, SegmentKind, Segmentation};
pub use policy::{Attachment, DefaultChoice, Defaults, Fallback, OwnAddresses, TunnelState, TunnelView};
pub use rule::{PortRange, Rule, Target};
