//! Messages about routes, from a [`RouteSpec`] and back.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use mrvpn_netplan::plan::{Family, RouteKind, RouteSpec};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteScope, RouteType,
};

use super::rule::{address_family, family, family_of, prefix};
use super::{Netlink, OURS};

/// All routes of one family, in all tables.
pub(crate) fn all(netlink: &mut Netlink, family: Family) -> io::Result<Vec<RouteMessage>> {
    let mut message = RouteMessage::default();
    message.header.address_family = address_family(family);
    let answers = netlink.dump(&RouteNetlinkMessage::GetRoute(message))?;
    Ok(answers.into_iter().filter_map(new_route).collect())
}

/// The route as a message; `device` is the number of the device where it has one.
pub(crate) fn message(route: &RouteSpec, device: Option<u32>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family_of(&route.prefix),
        destination_prefix_length: route.prefix.prefix_len(),
        protocol: OURS,
        scope: scope(route),
        kind: kind(&route.kind),
        ..RouteHeader::default()
    };
    message.attributes = vec![
        RouteAttribute::Table(route.table),
        RouteAttribute::Priority(route.metric),
        RouteAttribute::Destination(RouteAddress::from(route.prefix.network())),
    ];
    message.attributes.extend(device.map(RouteAttribute::Oif));
    let mtu = route.mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(u32::from(mtu))]));
    message.attributes.extend(mtu);
    message
}

/// Reads a route of ours back; `None` for routes of others. `name` says what a device is called.
pub(crate) fn read(message: &RouteMessage, name: impl Fn(u32) -> Option<String>) -> Option<RouteSpec> {
    if !is_ours(message) {
        return None;
    }
    let kind = match message.header.kind {
        RouteType::Unicast => RouteKind::Device(name(device(message)?)?),
        RouteType::Throw => RouteKind::Throw,
        RouteType::Unreachable => RouteKind::Unreachable,
        _ => return None,
    };
    let (table, prefix, metric) = (table(message), destination(message)?, metric(message));
    Some(RouteSpec { table, prefix, kind, metric, mtu: mtu(message) })
}

/// Whether it carries our number.
pub(crate) fn is_ours(message: &RouteMessage) -> bool {
    message.header.protocol == OURS
}

/// The table a route is in.
pub(crate) fn table(message: &RouteMessage) -> u32 {
    let table = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    };
    message.attributes.iter().find_map(table).unwrap_or_else(|| u32::from(message.header.table))
}

/// The destination; /0 for a default route.
pub(crate) fn destination(message: &RouteMessage) -> Option<IpNet> {
    let family = family(message.header.address_family)?;
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    });
    let length = message.header.destination_prefix_length;
    Some(prefix(family, address, length).unwrap_or_else(|| family.everything()))
}

/// The number of the device it goes to, where it has exactly one.
pub(crate) fn device(message: &RouteMessage) -> Option<u32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

/// Whether it goes to somebody else who carries on, and not to the network itself.
pub(crate) fn has_gateway(message: &RouteMessage) -> bool {
    let goes_on = |attribute: &RouteAttribute| {
        matches!(attribute, RouteAttribute::Gateway(_) | RouteAttribute::Via(_) | RouteAttribute::MultiPath(_))
    };
    message.attributes.iter().any(goes_on)
}

fn metric(message: &RouteMessage) -> u32 {
    let metric = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    };
    message.attributes.iter().find_map(metric).unwrap_or(0)
}

fn mtu(message: &RouteMessage) -> Option<u16> {
    let metrics = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Metrics(metrics) => Some(metrics),
        _ => None,
    })?;
    metrics.iter().find_map(|metric| match metric {
        RouteMetric::Mtu(mtu) => u16::try_from(*mtu).ok(),
        _ => None,
    })
}

fn new_route(message: RouteNetlinkMessage) -> Option<RouteMessage> {
    match message {
        RouteNetlinkMessage::NewRoute(message) => Some(message),
        _ => None,
    }
}

/// IPv4 wants a route without gateway to be of scope `link`; IPv6 knows no scope.
const fn scope(route: &RouteSpec) -> RouteScope {
    match (&route.kind, &route.prefix) {
        (RouteKind::Device(_), IpNet::V4(_)) => RouteScope::Link,
        (RouteKind::Device(_), IpNet::V6(_)) | (RouteKind::Throw | RouteKind::Unreachable, _) => RouteScope::Universe,
    }
}

const fn kind(kind: &RouteKind) -> RouteType {
    match kind {
        RouteKind::Device(_) => RouteType::Unicast,
        RouteKind::Throw => RouteType::Throw,
        RouteKind::Unreachable => RouteType::Unreachable,
    }
}
