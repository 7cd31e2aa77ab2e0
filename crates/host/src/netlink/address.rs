//! Messages about addresses: /32 and /128, without the route that the kernel would make for a prefix.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use mrvpn_netplan::PlannedAddress;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeader, AddressMessage, CacheInfo};

use super::rule::family_of;
use super::{Netlink, link};

/// A lifetime that does not end (INFINITY_LIFE_TIME).
const FOREVER: u32 = u32::MAX;

/// The address as it is to be on the device.
pub(crate) fn message(device: u32, address: IpNet, deprecated: bool) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header = AddressHeader {
        family: family_of(&address),
        prefix_len: address.prefix_len(),
        index: device,
        ..AddressHeader::default()
    };
    message.attributes = vec![AddressAttribute::Local(address.addr()), AddressAttribute::Address(address.addr())];
    let mut flags = AddressFlags::Noprefixroute;
    if address.addr().is_ipv6() {
        // No duplicate detection: nobody else is on a TUN, and until it is over the address could not be used.
        flags |= AddressFlags::Nodad;
    }
    message.attributes.push(AddressAttribute::Flags(flags));
    if deprecated {
        let mut lifetimes = CacheInfo::default();
        lifetimes.ifa_preferred = 0;
        lifetimes.ifa_valid = FOREVER;
        message.attributes.push(AddressAttribute::CacheInfo(lifetimes));
    }
    message
}

/// Every address of the device of this name, IPv4 first, each family in the order in which they were added; none where
/// there is no such device.
pub(crate) fn on_device(netlink: &mut Netlink, name: &str) -> io::Result<Vec<PlannedAddress>> {
    let Some(link) = link::by_name(netlink, name)? else { return Ok(Vec::new()) };
    let answers = netlink.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    let read = |answer: &RouteNetlinkMessage| match answer {
        RouteNetlinkMessage::NewAddress(message) if message.header.index == link.index => planned(message),
        _ => None,
    };
    let (v4, mut v6): (Vec<_>, Vec<_>) =
        answers.iter().filter_map(read).partition(|planned: &PlannedAddress| planned.address.addr().is_ipv4());
    // The kernel puts a new IPv6 address before the others of its scope.
    v6.reverse();
    Ok([v4, v6].concat())
}

fn planned(message: &AddressMessage) -> Option<PlannedAddress> {
    let address = IpNet::new(local(message)?, message.header.prefix_len).ok()?;
    let unused = |attribute: &AddressAttribute| match attribute {
        AddressAttribute::CacheInfo(lifetimes) => lifetimes.ifa_preferred == 0,
        _ => false,
    };
    Some(PlannedAddress { address, deprecated: message.attributes.iter().any(unused) })
}

/// What a message names: the address itself, not the peer's.
pub(crate) fn local(message: &AddressMessage) -> Option<IpAddr> {
    let mut peer = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => return Some(*address),
            AddressAttribute::Address(address) => peer = Some(*address),
            _ => {}
        }
    }
    peer
}
