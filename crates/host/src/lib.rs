//! The host made real: Linux netlink and TUN devices. It carries out steps that `netplan` decided and reads what is
//! there; it decides nothing. Unsafe code is in `sys` alone.

pub mod cleanup; // after an engine that was killed
mod device; // what a fresh TUN needs
mod facts; // what the host looks like
pub mod linux; // steps as netlink messages
mod netlink; // the kernel's routing socket
mod sys; // ioctls of /dev/net/tun
pub mod tun; // queues of TUN devices
pub mod watch; // that the network has changed

pub use cleanup::sweep;
pub use linux::LinuxHost;
pub use netlink::PROTOCOL;
pub use tun::LinuxQueue;
pub use watch::NetworkWatch;
