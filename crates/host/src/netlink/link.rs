//! Messages about devices: names and numbers, and what the TUN needs before it is up.

use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkMessage};

use super::{Netlink, is_without_family};

/// A device of this namespace.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) loopback: bool,
    /// Somebody has brought it up and nobody down.
    pub(crate) up: bool,
    /// Somebody is at the other end: of a TUN, that a process has it open.
    pub(crate) carrier: bool,
    /// What it was given as a second name.
    pub(crate) alias: Option<String>,
}

/// All devices.
pub(crate) fn all(netlink: &mut Netlink) -> io::Result<Vec<Link>> {
    let answers = netlink.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    Ok(answers.iter().filter_map(link).collect())
}

/// The device of this name, if there is one.
pub(crate) fn by_name(netlink: &mut Netlink, name: &str) -> io::Result<Option<Link>> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(String::from(name)));
    match netlink.get(RouteNetlinkMessage::GetLink(message)) {
        Ok(answers) => Ok(answers.iter().find_map(link)),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sets MTU and queue length, and keeps the kernel from giving the device IPv6 addresses of its own.
pub(crate) fn prepare(netlink: &mut Netlink, index: u32, mtu: u16, queue_length: u32) -> io::Result<()> {
    let mut message = of(index);
    message.attributes = vec![LinkAttribute::Mtu(u32::from(mtu)), LinkAttribute::TxQueueLen(queue_length)];
    netlink.change(RouteNetlinkMessage::SetLink(message))?;
    match netlink.change(RouteNetlinkMessage::SetLink(without_generated_addresses(index))) {
        Err(error) if is_without_family(&error) => Ok(()),
        other => other,
    }
}

/// Gives the device a second name; an empty one takes it away.
pub(crate) fn set_alias(netlink: &mut Netlink, index: u32, alias: &str) -> io::Result<()> {
    let mut message = of(index);
    message.attributes.push(LinkAttribute::IfAlias(String::from(alias)));
    netlink.change(RouteNetlinkMessage::SetLink(message))
}

/// Brings the device up.
pub(crate) fn set_up(netlink: &mut Netlink, index: u32) -> io::Result<()> {
    let mut message = of(index);
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    netlink.change(RouteNetlinkMessage::SetLink(message))
}

/// Deletes the device of this name; that there is none is fine.
pub(crate) fn delete(netlink: &mut Netlink, name: &str) -> io::Result<()> {
    let Some(link) = by_name(netlink, name)? else { return Ok(()) };
    match netlink.change(RouteNetlinkMessage::DelLink(of(link.index))) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        other => other,
    }
}

fn without_generated_addresses(index: u32) -> LinkMessage {
    let mut message = of(index);
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    message.attributes = vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])])];
    message
}

fn of(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn link(message: &RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        loopback: message.header.flags.contains(LinkFlags::Loopback),
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: false,
        alias: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::Carrier(carrier) => link.carrier = *carrier != 0,
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}
