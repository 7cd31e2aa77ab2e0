//! What a fresh TUN device needs before packets flow: MTU, queue length, no IPv6 addresses of the kernel's own making,
//! up. All of it vanishes with the device.

use std::io;

use mrvpn_netplan::DeviceSpec;

use crate::netlink::{Netlink, link};

/// Packets that wait for a slow reader, each up to 64 KiB; the TUN driver's own 500 lose bursts.
const QUEUE_LENGTH: u32 = 1000;

/// Settings of the device under /proc/sys/net/ipv6/conf: no router advertisements are taken, and IPv6 is on even where
/// new devices have it off, or claimed IPv6 would not be captured.
const IPV6_SETTINGS: [(&str, &str); 2] = [("accept_ra", "0"), ("disable_ipv6", "0")];

/// Prepares the device and brings it up.
pub(crate) fn bring_up(netlink: &mut Netlink, spec: &DeviceSpec) -> io::Result<()> {
    let link = link::by_name(netlink, &spec.name)?.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?;
    link::prepare(netlink, link.index, spec.mtu, QUEUE_LENGTH)?;
    for (setting, value) in IPV6_SETTINGS {
        set(&spec.name, setting, value);
    }
    link::set_up(netlink, link.index)
}

/// Writes one setting. A kernel without IPv6 has none of them, and where /proc is read-only they stay as they are.
fn set(device: &str, setting: &str, value: &str) {
    let path = format!("/proc/sys/net/ipv6/conf/{device}/{setting}");
    if let Err(error) = std::fs::write(&path, value) {
        tracing::debug!(%path, %error, "not set");
    }
}
