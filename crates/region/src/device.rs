//! The region's TUN device: opened by `mrvpn_host` with all offloads, one queue a worker, and given the server's address
//! in the clients' network, which makes the kernel route that network into it. It vanishes with its last queue.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use mrvpn_host::{LinuxHost, LinuxQueue};
use mrvpn_netplan::{DeviceSpec, Host, OffloadSet};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeader, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::error::RegionError;
use crate::pool::Pool;
use crate::spec::RegionSpec;

/// MTU of the device and of all that is within the tunnels, as OpenVPN's.
const MTU: u16 = 1_500;

/// Opens the device of `spec` with so many queues.
///
/// # Errors
/// No permission, no driver, a device of that name is there.
pub(crate) fn open(spec: &RegionSpec, queues: usize) -> Result<Vec<LinuxQueue>, RegionError> {
    let failed = |source| RegionError::Device { region: spec.name.clone(), source };
    let device = DeviceSpec {
        name: spec.device.clone(),
        mtu: MTU,
        queues: u16::try_from(queues).unwrap_or(1),
        offload: OffloadSet::ALL,
        persistent: false,
    };
    let queues = LinuxHost::new().and_then(|mut host| host.open(&device)).map_err(failed)?;
    for address in addresses(&spec.pool()) {
        let added = add_address(&spec.device, address);
        added.map_err(|source| RegionError::Address {
            region: spec.name.clone(),
            device: spec.device.clone(),
            source,
        })?;
    }
    Ok(queues)
}

/// The server's addresses with the prefix lengths of their networks.
fn addresses(pool: &Pool) -> Vec<IpNet> {
    let four = IpNet::new(pool.gateway().into(), pool.four().prefix_len()).ok();
    let six = pool.gateway6().zip(pool.six());
    let six = six.and_then(|(gateway, net)| IpNet::new(gateway.into(), net.prefix_len()).ok());
    [four, six].into_iter().flatten().collect()
}

fn add_address(device: &str, address: IpNet) -> io::Result<()> {
    let index = rustix::net::netdevice::name_to_index(
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?,
        device,
    )?;
    let mut message = AddressMessage::default();
    message.header = AddressHeader {
        family: match address.addr() {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        },
        prefix_len: address.prefix_len(),
        index,
        ..AddressHeader::default()
    };
    message.attributes = vec![
        AddressAttribute::Local(address.addr()),
        AddressAttribute::Address(address.addr()),
        // Nobody else is on a TUN: without the search for doubles the address can be used at once.
        AddressAttribute::Flags(AddressFlags::Nodad),
    ];
    request(RouteNetlinkMessage::NewAddress(message))
}

/// Says one thing to the kernel and waits for its answer.
fn request(message: RouteNetlinkMessage) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;
    let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
    packet.finalize();
    let mut buffer = vec![0; packet.buffer_len()];
    packet.serialize(&mut buffer);
    socket.send(&buffer, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
    if let NetlinkPayload::Error(error) = answer.payload
        && error.code.is_some()
    {
        return Err(error.to_io());
    }
    Ok(())
}
