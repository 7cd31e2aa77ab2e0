//! One question to the kernel's routing socket: by which device would this packet leave? No packet is sent and no right is
//! needed. It answers for the network namespace that the command runs in.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{DefaultNla, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::netdevice::{index_to_name, name_to_index};
use rustix::net::{AddressFamily as Family, SocketType};

/// Attributes that the packet library does not name (linux/rtnetlink.h).
const RTA_IP_PROTO: u16 = 27;
const RTA_DPORT: u16 = 29;

/// A packet that is asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) to: IpAddr,
    pub(super) from: Option<IpAddr>,
    pub(super) proto: u8,
    pub(super) port: Option<u16>,
}

/// The device by which the packet leaves, where that is another than `device`, the engine's; `None` too where the kernel
/// has no answer, or is not the engine's.
pub(super) fn other_way(packet: Packet, device: &str) -> Option<String> {
    looked_up(packet, device).ok().flatten()
}

fn looked_up(packet: Packet, device: &str) -> io::Result<Option<String>> {
    let any = rustix::net::socket(Family::UNIX, SocketType::DGRAM, None)?;
    // Without the device this is not the engine's network namespace, and the kernel's word says nothing.
    let ours = name_to_index(&any, device)?;
    let route = ask(packet)?;
    let out = route.attributes.iter().find_map(|attribute| {
        let RouteAttribute::Oif(index) = attribute else { return None };
        Some(*index)
    });
    out.filter(|index| *index != ours).map(|index| Ok(index_to_name(&any, index)?)).transpose()
}

fn ask(packet: Packet) -> io::Result<RouteMessage> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let message = RouteNetlinkMessage::GetRoute(question(packet));
    let mut question = NetlinkMessage::new(header, NetlinkPayload::from(message));
    question.finalize();
    let mut bytes = vec![0; question.buffer_len()];
    question.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
    if let NetlinkPayload::Error(error) = &answer.payload {
        return Err(error.to_io());
    }
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) = answer.payload else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    Ok(route)
}

fn question(packet: Packet) -> RouteMessage {
    let mut message = RouteMessage::default();
    let (family, length) = if packet.to.is_ipv4() { (AddressFamily::Inet, 32) } else { (AddressFamily::Inet6, 128) };
    message.header.address_family = family;
    message.header.destination_prefix_length = length;
    message.attributes.push(RouteAttribute::Destination(address(packet.to)));
    if let Some(from) = packet.from {
        message.header.source_prefix_length = length;
        message.attributes.push(RouteAttribute::Source(address(from)));
    }
    message.attributes.push(other(RTA_IP_PROTO, &[packet.proto]));
    if let Some(port) = packet.port {
        message.attributes.push(other(RTA_DPORT, &port.to_be_bytes()));
    }
    message
}

fn other(kind: u16, value: &[u8]) -> RouteAttribute {
    RouteAttribute::Other(DefaultNla::new(kind, value.to_vec()))
}

const fn address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(to: &str) -> Packet {
        Packet { to: to.parse().unwrap(), from: None, proto: 6, port: Some(443) }
    }

    #[test]
    fn the_engine_s_own_device_and_one_that_is_not_there_are_no_other_way() {
        assert_eq!(other_way(to("127.0.0.1"), "lo"), None);
        assert_eq!(other_way(to("127.0.0.1"), "no-such-device"), None);
    }
}
