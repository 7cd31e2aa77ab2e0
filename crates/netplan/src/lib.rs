//! Pure host logic: the address book, what is captured, the plan of what should exist, and the traits by which a
//! platform carries it out. Nothing here touches a device or a socket; `host` and the tests' model do.

#![forbid(unsafe_code)]

pub mod host; // the traits `Host` and `Queue`
pub mod plan; // what should exist, and the steps towards it

pub use host::{Host, HostError, HostFacts, OnLink, Queue, QueueCapabilities, QueueError};
pub use plan::{DeviceSpec, Step};
