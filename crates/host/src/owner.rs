//! Which program has a flow, from the kernel's list of sockets (linux/inet_diag.h): one question about one pair of ends, as
//! the kernel itself would look the socket up. What follows from it is the router's; whole lists are `sessions.rs`'s.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)
)]

use std::io;
use std::net::IpAddr;

use mrvpn_router::{AppId, FlowTuple};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use crate::raw::{Message, RawNetlink, attribute};

/// SOCK_DIAG_BY_FAMILY.
const BY_FAMILY: u16 = 20;
/// IP protocol numbers of which the kernel has such lists.
const TCP: u8 = 6;
const UDP: u8 = 17;
/// State of a connection that has no socket any more, only its wait (`TCP_TIME_WAIT`, include/net/tcp_states.h).
const TIME_WAIT: u8 = 6;
/// Bytes of `struct inet_diag_msg`, and where the user stands in it.
const ANSWER: usize = 72;
const USER: usize = 64;
/// The control group's number, Linux 5.9 and later (`INET_DIAG_CGROUP_ID`).
const CGROUP: u16 = 21;

/// Asks the kernel of the network namespace of the thread that asks first.
#[derive(Default)]
pub(crate) struct Owners {
    /// `None`: not asked yet, or the kernel gives no such socket.
    socket: Option<RawNetlink>,
}

impl std::fmt::Debug for Owners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owners").finish_non_exhaustive()
    }
}

impl Owners {
    /// The program that sends `flow`; `None` where the kernel knows no socket of it: forwarded packets, echoes, sockets that
    /// are bound to a device or gone.
    pub(crate) fn app(&mut self, flow: &FlowTuple) -> Option<AppId> {
        let message = Message { kind: BY_FAMILY, flags: 0, body: question(flow)? };
        if self.socket.is_none() {
            self.socket = RawNetlink::open(NETLINK_SOCK_DIAG).ok();
        }
        match self.socket.as_mut()?.one(&message) {
            Ok(answer) => owner(&answer.body),
            // No such socket, or a kernel without such a list.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => None,
            Err(error) => self.forget(&error),
        }
    }

    /// A socket whose answers cannot be read is no good for the next question either.
    fn forget(&mut self, error: &io::Error) -> Option<AppId> {
        tracing::debug!(%error, "asking for the owner of a socket");
        self.socket = None;
        None
    }
}

/// `struct inet_diag_req_v2`: family, protocol, nothing more wanted, all states, both ends, any card, any cookie.
fn question(flow: &FlowTuple) -> Option<Vec<u8>> {
    let (own, remote) = ((flow.source, flow.source_port?), (flow.destination, flow.destination_port?));
    // For UDP the kernel takes the ends as a packet that comes in has them (`udp_dump_one`, net/ipv4/udp_diag.c).
    let (first, second) = match flow.protocol {
        TCP => (own, remote),
        UDP => (remote, own),
        _ => return None,
    };
    let family = if flow.source.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut body = vec![u8::try_from(family).ok()?, flow.protocol, 0, 0];
    body.extend(u32::MAX.to_ne_bytes());
    body.extend(first.1.to_be_bytes());
    body.extend(second.1.to_be_bytes());
    for address in [first.0, second.0] {
        body.extend(octets(address));
    }
    body.extend([0; 4]);
    body.extend([0xff; 8]);
    Some(body)
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let mut all = [0; 16];
            if let Some(first) = all.first_chunk_mut() {
                *first = v4.octets();
            }
            all
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The owner in an answer (`struct inet_diag_msg` and attributes).
fn owner(answer: &[u8]) -> Option<AppId> {
    if answer.get(1) == Some(&TIME_WAIT) {
        return None;
    }
    let uid = u32::from_ne_bytes(*answer.get(USER..)?.first_chunk()?);
    let cgroup = attribute::read(answer.get(ANSWER..)?).find(|(kind, _)| *kind == CGROUP);
    let cgroup = cgroup.and_then(|(_, value)| value.first_chunk()).map_or(0, |value| u64::from_ne_bytes(*value));
    Some(AppId { uid, cgroup })
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn flow(protocol: u8, own: SocketAddr, remote: SocketAddr) -> FlowTuple {
        FlowTuple {
            source: own.ip(),
            destination: remote.ip(),
            protocol,
            source_port: Some(own.port()),
            destination_port: Some(remote.port()),
        }
    }

    fn me() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    #[test]
    fn the_kernel_knows_who_has_a_connection_and_a_datagram_socket() {
        let mut owners = Owners::default();
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(local) else { continue };
            let remote = listener.local_addr().unwrap();
            let stream = TcpStream::connect(remote).unwrap();
            let own = stream.local_addr().unwrap();
            assert_eq!(owners.app(&flow(TCP, own, remote)).map(|app| app.uid), Some(me()), "{local}");
            let asker = UdpSocket::bind(local).unwrap();
            let own = asker.local_addr().unwrap();
            assert_eq!(owners.app(&flow(UDP, own, remote)).map(|app| app.uid), Some(me()), "{local}, not connected");
            asker.connect(remote).unwrap();
            assert_eq!(owners.app(&flow(UDP, own, remote)).map(|app| app.uid), Some(me()), "{local}, connected");
            drop(asker);
            assert_eq!(owners.app(&flow(UDP, own, remote)), None, "{local}, gone");
        }
    }

    #[test]
    fn what_has_no_socket_of_that_kind_is_not_asked_for() {
        let ends = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        assert_eq!(question(&flow(47, ends.0, ends.1)), None);
        assert_eq!(question(&FlowTuple { source_port: None, ..flow(UDP, ends.0, ends.1) }), None);
        assert_eq!(question(&flow(TCP, ends.0, ends.1)).map(|body| body.len()), Some(56));
    }

    #[test]
    fn no_cut_or_flipped_answer_stops_the_reader() {
        let mut whole = vec![2, 1, 0, 0];
        whole.resize(USER, 0);
        whole.extend(1_000_u32.to_ne_bytes());
        whole.resize(ANSWER, 0);
        whole.extend([12_u16.to_ne_bytes(), CGROUP.to_ne_bytes()].concat());
        whole.extend(77_u64.to_ne_bytes());
        assert_eq!(owner(&whole), Some(AppId { uid: 1_000, cgroup: 77 }));
        for end in 0..whole.len() {
            let _ = owner(&whole[..end]);
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            let _ = owner(&bytes);
        }
        whole[1] = TIME_WAIT;
        assert_eq!(owner(&whole), None);
    }
}
