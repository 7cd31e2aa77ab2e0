//! Cables between network namespaces: pairs of devices, their addresses, a default route. For worlds that are built from
//! nothing ([`mod@crate::own_network`]); an engine's own devices and routes are [`crate::LinuxHost`]'s.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnet::Ipv4Net;
use netlink_packet_route::address::{AddressAttribute, AddressHeader, AddressMessage};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::netlink::{Netlink, link};

/// Changes devices and addresses of the network namespace of the thread that opened it.
pub struct Wiring {
    netlink: Netlink,
}

impl Wiring {
    /// For this thread's network namespace.
    ///
    /// # Errors
    /// The kernel has no routing socket for this process.
    pub fn open() -> io::Result<Self> {
        Netlink::open().map(|netlink| Self { netlink })
    }

    /// Makes a pair of devices, one end here and one in the namespace `there`. Both are down.
    ///
    /// # Errors
    /// Either name is taken or longer than 15 bytes, or the process may not.
    pub fn join(&mut self, here: &str, peer: &str, there: BorrowedFd<'_>) -> io::Result<()> {
        let mut other = LinkMessage::default();
        other.attributes = vec![LinkAttribute::IfName(String::from(peer)), LinkAttribute::NetNsFd(there.as_raw_fd())];
        let kind = LinkInfo::Kind(InfoKind::Veth);
        let pair = LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other)));
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfName(String::from(here)), LinkAttribute::LinkInfo(vec![kind, pair])];
        self.netlink.add(RouteNetlinkMessage::NewLink(message))
    }

    /// Adds an address, with the route to its network.
    ///
    /// # Errors
    /// The device has the address already, there is no such device, or the process may not.
    pub fn add_address(&mut self, device: &str, address: Ipv4Net) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header = AddressHeader {
            family: AddressFamily::Inet,
            prefix_len: address.prefix_len(),
            index: self.index(device)?,
            ..AddressHeader::default()
        };
        let own = address.addr().into();
        message.attributes = vec![AddressAttribute::Local(own), AddressAttribute::Address(own)];
        self.netlink.add(RouteNetlinkMessage::NewAddress(message))
    }

    /// Brings a device up.
    ///
    /// # Errors
    /// There is no such device, or the process may not.
    pub fn bring_up(&mut self, device: &str) -> io::Result<()> {
        let index = self.index(device)?;
        link::set_up(&mut self.netlink, index)
    }

    /// Sends by `gateway` what no other route is for.
    ///
    /// # Errors
    /// There is a default route, or no route to the gateway.
    pub fn add_default_route(&mut self, gateway: Ipv4Addr) -> io::Result<()> {
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: AddressFamily::Inet,
            table: RouteHeader::RT_TABLE_MAIN,
            protocol: RouteProtocol::Static,
            scope: RouteScope::Universe,
            kind: RouteType::Unicast,
            ..RouteHeader::default()
        };
        message.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet(gateway))];
        self.netlink.add(RouteNetlinkMessage::NewRoute(message))
    }

    fn index(&mut self, device: &str) -> io::Result<u32> {
        let link = link::by_name(&mut self.netlink, device)?;
        link.map(|link| link.index).ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
    }
}
