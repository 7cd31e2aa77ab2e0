//! The host made real: Linux netlink and TUN devices. It carries out steps that `netplan` decided and reads what is
//! there; it decides nothing. Unsafe code is in `sys` alone.

pub mod cleanup; // the same where nothing was written down
mod device; // what a fresh TUN needs
mod facts; // what the host looks like
mod here; // which boot and network namespace
pub mod journal; // what was done, written down before
pub mod leftover; // after an engine that was killed
pub mod limits; // every hard limit
pub mod linux; // steps as messages to the kernel
mod netlink; // the kernel's routing socket
mod nft; // nftables: who may use our addresses, what leaves as it came
pub mod own_network; // a network namespace of this thread's own
mod owner; // which program has a flow
mod raw; // netlink messages by hand
#[cfg(test)]
mod scratch; // a directory of a test
mod sessions; // its connections and services
mod setting; // kernel settings that engines hold together
mod sys; // ioctls of /dev/net/tun
pub mod tun; // queues of TUN devices
pub mod watch; // that the network has changed
pub mod wiring; // cables between network namespaces

pub use cleanup::sweep;
pub use here::{NamespaceLock, lock_namespace};
pub use journal::Places;
pub use leftover::{Cleaned, Leftover, clean, held_slots, leftover};
pub use linux::LinuxHost;
pub use netlink::PROTOCOL;
pub use tun::LinuxQueue;
pub use watch::NetworkWatch;
pub use wiring::Wiring;
