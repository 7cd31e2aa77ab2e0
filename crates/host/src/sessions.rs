//! Connections and services of the host, from the kernel's list of sockets (linux/inet_diag.h): which TCP connections came
//! in, and which UDP services can be reached from outside. What follows from it is `netplan`'s.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)
)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mrvpn_netplan::{FourTuple, Sessions};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use crate::limits::{MAX_ASKED, MAX_INBOUND, MAX_SERVICES};
use crate::raw::{Message, RawNetlink};

/// SOCK_DIAG_BY_FAMILY.
const BY_FAMILY: u16 = 20;
/// IP protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
/// States of TCP sockets, as bits (include/net/tcp_states.h). UDP sockets that are connected are "established", others
/// "closed".
const ESTABLISHED: u32 = 1 << 1;
const CLOSED: u32 = 1 << 7;
const LISTENING: u32 = 1 << 10;
/// Connections of which packets may still come or go: about to be, established, half closed, closing.
const CONNECTED: u32 = ESTABLISHED | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
/// UDP ports that answer nobody who asks from outside: DHCP clients, and multicast DNS, whose answers go to all.
const QUIET_PORTS: [u16; 3] = [68, 546, 5353];

/// Reads both.
pub(crate) fn read() -> io::Result<Sessions> {
    let mut socket = RawNetlink::open(NETLINK_SOCK_DIAG)?;
    let mut listeners = Vec::new();
    let (mut connected, mut datagram_services): (Vec<FourTuple>, Vec<SocketAddr>) = (Vec::new(), Vec::new());
    for family in [libc::AF_INET, libc::AF_INET6] {
        listeners.extend(sockets(&mut socket, family, TCP, LISTENING)?);
        connected.extend(sockets(&mut socket, family, TCP, CONNECTED)?);
        datagram_services.extend(sockets(&mut socket, family, UDP, CLOSED)?.into_iter().map(|ends| ends.local));
    }
    connected.retain(|ends| !ends.remote.ip().is_loopback() && came_in(&listeners, ends));
    datagram_services.retain(answers_outside);
    Ok(Sessions { inbound: lowest(connected, MAX_INBOUND), datagram_services: lowest(datagram_services, MAX_SERVICES) })
}

/// UDP flows that this host began: connected sockets on ports on which no service waits. Programs that ask without
/// connecting cannot be told from services.
pub(crate) fn asked() -> io::Result<Vec<FourTuple>> {
    let mut socket = RawNetlink::open(NETLINK_SOCK_DIAG)?;
    let (mut waiting, mut connected) = (Vec::new(), Vec::new());
    for family in [libc::AF_INET, libc::AF_INET6] {
        waiting.extend(sockets(&mut socket, family, UDP, CLOSED)?.into_iter().map(|ends| ends.local.port()));
        connected.extend(sockets(&mut socket, family, UDP, ESTABLISHED)?);
    }
    connected.retain(|ends| !ends.remote.ip().is_loopback() && !waiting.contains(&ends.local.port()));
    Ok(lowest(connected, MAX_ASKED))
}

/// Sorted, each once, at most so many.
fn lowest<T: Ord>(mut all: Vec<T>, limit: usize) -> Vec<T> {
    all.sort();
    all.dedup();
    all.truncate(limit);
    all
}

/// A listener on the connection's own end.
fn came_in(listeners: &[FourTuple], ends: &FourTuple) -> bool {
    let local = ends.local;
    listeners.iter().any(|listener| {
        let listens = listener.local;
        // A wildcard of IPv6 may take IPv4 in as well.
        let wide = listens.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
            || (listens.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) && local.is_ipv4());
        listens.port() == local.port() && (wide || listens.ip() == local.ip())
    })
}

fn answers_outside(local: &SocketAddr) -> bool {
    local.port() != 0 && !local.ip().is_loopback() && !QUIET_PORTS.contains(&local.port())
}

/// Both ends of all sockets of a kind.
fn sockets(socket: &mut RawNetlink, family: i32, protocol: u8, states: u32) -> io::Result<Vec<FourTuple>> {
    let family = u8::try_from(family).unwrap_or_default();
    let mut body = vec![family, protocol, 0, 0];
    body.extend(states.to_ne_bytes());
    body.extend([0; 48]);
    match socket.dump(&Message { kind: BY_FAMILY, flags: 0, body }) {
        // A kernel without the family, or without the list of its sockets.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EAFNOSUPPORT)) => Ok(Vec::new()),
        other => Ok(other?.iter().filter_map(|answer| ends(&answer.body)).collect()),
    }
}

/// Both ends of one socket (`struct inet_diag_msg`): family at 0, ports at 4 and 6, addresses at 8 and 24.
fn ends(body: &[u8]) -> Option<FourTuple> {
    let family = i32::from(*body.first()?);
    let port = |at: usize| Some(u16::from_be_bytes(*body.get(at..)?.first_chunk()?));
    let address = |at: usize| match family {
        libc::AF_INET => Some(IpAddr::from(*body.get(at..)?.first_chunk::<4>()?)),
        libc::AF_INET6 => Some(IpAddr::from(*body.get(at..)?.first_chunk::<16>()?).to_canonical()),
        _ => None,
    };
    Some(FourTuple { local: SocketAddr::new(address(8)?, port(4)?), remote: SocketAddr::new(address(24)?, port(6)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(family: u8, local: (&[u8], u16), remote: (&[u8], u16)) -> Vec<u8> {
        let mut body = vec![family, 1, 0, 0];
        body.extend(local.1.to_be_bytes());
        body.extend(remote.1.to_be_bytes());
        for address in [local.0, remote.0] {
            body.extend(address);
            body.resize(body.len() + 16 - address.len(), 0);
        }
        body
    }

    #[test]
    fn a_mapped_address_is_written_as_ipv4() {
        let mapped = Ipv4Addr::new(192, 168, 7, 2).to_ipv6_mapped().octets();
        let other = Ipv4Addr::new(203, 0, 113, 9).to_ipv6_mapped().octets();
        let read = ends(&message(10, (&mapped, 22), (&other, 40_000))).unwrap();
        assert_eq!(
            (read.local, read.remote),
            ("192.168.7.2:22".parse().unwrap(), "203.0.113.9:40000".parse().unwrap())
        );
        assert_eq!(ends(&message(2, (&[192, 168, 7, 2], 22), (&[203, 0, 113, 9], 40_000))), Some(read));
    }

    #[test]
    fn no_cut_or_flipped_answer_stops_the_reader() {
        let whole = message(10, (&[1; 16], 22), (&[2; 16], 23));
        for end in 0..whole.len() {
            let _ = ends(&whole[..end]);
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            let _ = ends(&bytes);
        }
    }

    #[test]
    fn a_connection_came_in_where_a_listener_has_its_own_end() {
        let tuple = |local: &str| FourTuple { local: local.parse().unwrap(), remote: "203.0.113.9:9".parse().unwrap() };
        let listeners = [tuple("[::]:22"), tuple("127.0.0.1:40000"), tuple("192.168.7.2:80")];
        assert!(came_in(&listeners, &tuple("192.168.7.2:22")) && came_in(&listeners, &tuple("192.168.7.2:80")));
        assert!(!came_in(&listeners, &tuple("192.168.7.2:40000")) && !came_in(&listeners, &tuple("10.0.0.1:80")));
    }

    #[test]
    fn no_more_connections_and_services_are_taken_in_than_the_limits_say() {
        for limit in [MAX_INBOUND, MAX_SERVICES, MAX_ASKED] {
            for (there, taken) in [(limit - 1, limit - 1), (limit, limit), (limit + 1, limit)] {
                assert_eq!(lowest((0..there).rev().collect(), limit), (0..taken).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn services_of_this_host_alone_and_dhcp_are_left_out() {
        for (address, outside) in [
            ("0.0.0.0:53", true),
            ("[::]:500", true),
            ("192.168.7.2:53", true),
            ("127.0.0.53:53", false),
            ("[::1]:323", false),
            ("0.0.0.0:68", false),
            ("[::]:546", false),
            ("0.0.0.0:5353", false),
        ] {
            assert_eq!(answers_outside(&address.parse().unwrap()), outside, "{address}");
        }
    }
}
