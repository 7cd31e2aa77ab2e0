//! What a TUN device needs before packets flow: MTU, queue length, no IPv6 addresses of the kernel's own making, a name
//! tag by which it is known as ours, up. All of it vanishes with the device.

use std::fs;
use std::io;

use mrvpn_netplan::{DeviceSpec, Scope};

use crate::netlink::{Netlink, link};

/// Packets that wait for a slow reader, each up to 64 KiB; the TUN driver's own 500 lose bursts.
const QUEUE_LENGTH: u32 = 1000;

/// Settings of the device under /proc/sys/net/ipv6/conf: no router advertisements are taken, and IPv6 is on even where
/// new devices have it off, or claimed IPv6 would not be captured.
const IPV6_SETTINGS: [(&str, &str); 2] = [("accept_ra", "0"), ("disable_ipv6", "0")];

/// Where the kernel's IPv4 settings are, a directory a device.
const IPV4_SETTINGS: &str = "/proc/sys/net/ipv4/conf";

/// What the alias of every engine's device begins with, and the name of its tables.
const TAG: &str = "mrvpn ";
const TABLE: &str = "mrvpn_";

/// The alias of an engine's device, as `ip link` shows it: `mrvpn` and the instance.
pub(crate) fn tag(scope: &Scope) -> String {
    format!("{TAG}{}", scope.firewall.strip_prefix(TABLE).unwrap_or(&scope.firewall))
}

/// The tables of the engine whose device has this alias; `None` where it is no engine's.
pub(crate) fn firewall_of(alias: &str) -> Option<String> {
    alias.strip_prefix(TAG).map(|instance| format!("{TABLE}{instance}"))
}

/// Prepares the device and brings it up.
pub(crate) fn bring_up(netlink: &mut Netlink, spec: &DeviceSpec, tag: Option<&str>) -> io::Result<()> {
    let link = link::by_name(netlink, &spec.name)?.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?;
    link::prepare(netlink, link.index, spec.mtu, QUEUE_LENGTH)?;
    if let Some(tag) = tag {
        link::set_alias(netlink, link.index, tag)?;
    }
    settle(&spec.name);
    link::set_up(netlink, link.index)
}

/// Brings a device up that somebody has put down; whether it was.
pub(crate) fn raise(netlink: &mut Netlink, name: &str) -> io::Result<bool> {
    let Some(link) = link::by_name(netlink, name)?.filter(|link| !link.up) else { return Ok(false) };
    settle(name);
    link::set_up(netlink, link.index)?;
    Ok(true)
}

/// The kernel settings of the device alone.
fn settle(name: &str) {
    for (setting, value) in IPV6_SETTINGS {
        set(&format!("/proc/sys/net/ipv6/conf/{name}/{setting}"), value);
    }
    set(&format!("{IPV4_SETTINGS}/{name}/rp_filter"), own_reverse_path());
}

/// The reverse path filter of our own device. The larger of this and that of all devices holds. What comes out of a
/// tunnel has been judged by the engine, and a strict filter (1) may refuse what a rule with `port` sent there: Linux 6.18
/// turns the ports round when it looks up the way back, but older kernels ask with those of the way there, or with none,
/// and find another device. So loose (2) where all others are strict, else none.
fn own_reverse_path() -> &'static str {
    match fs::read_to_string(format!("{IPV4_SETTINGS}/all/rp_filter")) {
        Ok(all) if all.trim() == "1" => "2",
        Ok(_) | Err(_) => "0",
    }
}

/// Whether a card filters strictly by the way back: the larger of its own setting and that of all.
pub(crate) fn is_strict(name: &str) -> bool {
    let value = |of: &str| {
        let text = fs::read_to_string(format!("{IPV4_SETTINGS}/{of}/rp_filter")).ok()?;
        text.trim().parse::<u8>().ok()
    };
    value("all").max(value(name)) == Some(1)
}

/// Writes one setting. A kernel without IPv6 has none of its settings, and where /proc is read-only they stay as they are.
fn set(path: &str, value: &str) {
    if let Err(error) = fs::write(path, value) {
        tracing::debug!(%path, %error, "not set");
    }
}
