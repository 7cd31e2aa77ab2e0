//! Pure host logic: the address book, what is captured, the plan of what should exist, and the traits by which a
//! platform carries it out. Nothing here touches a device or a socket; `host` and the tests' model do.

#![forbid(unsafe_code)]

pub mod address_book; // which address does a tunnel get?
pub mod capture; // which packets the host hands to the engine
pub mod claims; // which prefixes belong to a tunnel, and who offers to be the default
pub mod conflict; // what two want, and how it was settled
pub mod diff; // the steps from one plan to another, in their order
pub mod fence; // what leaves by no other interface
pub mod firewall; // who may use our addresses, what leaves as it came
pub mod host; // the traits `Host` and `Queue`
pub mod limits; // every hard limit
pub mod model; // a host and a queue in memory, for tests
pub(crate) mod nesting; // prefixes of several tunnels that share addresses
pub mod offload_set; // which offloads are in use
pub mod plan; // what should exist, and the steps towards it
pub mod pools; // addresses of our own
pub mod ranges; // private and special prefixes
#[cfg(test)]
mod samples; // assignments for tests
pub mod scope; // what belongs to one engine
pub mod slot; // which place is free for an engine
pub mod spans; // sets of addresses as ranges
pub mod standing; // which claims stand on this host
mod step_text; // a step as one plain line
pub mod transaction; // all steps or none
pub mod way; // the way of one packet through rules and tables

pub use address_book::{AddressBook, Entry};
pub use capture::{PlanInput, can_be_captured};
pub use claims::{Offer, claims, claims_of, left_to_host, offers_default, pushed_claims};
pub use conflict::{Conflict, ConflictKind, Resolution};
pub use diff::diff;
pub use fence::{Fence, FenceLine};
pub use firewall::{Firewall, FourTuple, Setting};
pub use host::{
    EngineSeen, ForeignRule, ForeignWay, Host, HostError, HostFacts, OnLink, Queue, QueueCapabilities, QueueError,
    Sessions, Watch,
};
pub use offload_set::OffloadSet;
pub use plan::{DeviceSpec, Plan, PlanError, PlannedAddress, Step, plan};
pub use pools::{Pools, PoolsError};
pub use scope::Scope;
pub use slot::{SlotChoice, SlotError};
pub use spans::Spans;
pub use standing::{claim_conflicts, effective};
pub use transaction::{ApplyError, apply};
pub use way::{Probe, Way};
