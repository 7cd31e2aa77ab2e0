//! One tunnel's connected UDP socket: trains leave with one call (`UDP_SEGMENT`), batches come with one call
//! (`recvmmsg`, `UDP_GRO`). Where the network card or the kernel cannot, or where one of them is not wanted, the same
//! datagrams leave and come one by one. It knows nothing of what it carries; that strangers cannot reach it is the
//! kernel's work, for it is connected.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use mrvpn_netplan::OffloadSet;
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};

use crate::lane::limits::RECEIVE_SLOTS;
use crate::lane::{ReceiveBatch, Train};

/// 4 MiB each way: what a server sends in 30 ms at 1 Gbit/s, for a thread that has to wait for its core.
const BUFFER: usize = 4 * 1024 * 1024;

/// A socket and what it can do.
pub(super) struct OuterSocket {
    socket: UdpSocket,
    remote: SocketAddr,
    state: UdpSocketState,
    /// Whether the socket still takes whole trains.
    trains: bool,
    /// Whether one call receives for many slots.
    many: bool,
}

impl OuterSocket {
    /// Makes a connected socket ready: non-blocking, large buffers, DF set, with those offloads that are wanted and
    /// that the kernel has.
    ///
    /// # Errors
    /// The socket is not connected, or refuses its options.
    pub(super) fn new(socket: UdpSocket, wanted: OffloadSet) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        enlarge(&socket);
        let remote = socket.peer_addr()?;
        set_dont_fragment(&socket, remote)?;
        let state = udp_state(Some(&socket).filter(|_| wanted.gro), remote)?;
        let trains = wanted.gso && state.max_gso_segments() > 1;
        Ok(Self { socket, remote, state, trains, many: wanted.recvmmsg })
    }

    /// What of `wanted` the kernel has for UDP sockets.
    ///
    /// # Errors
    /// The system gives no socket.
    pub(super) fn granted(wanted: OffloadSet) -> io::Result<OffloadSet> {
        let state = udp_state(None, (Ipv4Addr::LOCALHOST, 0).into())?;
        let (gso, gro) = (state.max_gso_segments() > 1, state.gro_segments() > 1);
        Ok(wanted.and(OffloadSet { gso, gro, ..OffloadSet::ALL }))
    }

    /// Whether it sends whole trains with one call.
    pub(super) const fn sends_trains(&self) -> bool {
        self.trains
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Fills the slots of `into` with what has come; 0 when nothing has.
    pub(super) fn receive(&self, into: &mut ReceiveBatch) -> io::Result<usize> {
        let received = if self.many { self.receive_many(into) } else { self.receive_singly(into) };
        match received {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// Sends a train, whole where the system can.
    pub(super) fn send(&mut self, train: &Train<'_>) -> io::Result<()> {
        if !self.trains || train.len() < 2 {
            return self.send_singly(train);
        }
        let transmit = Transmit {
            destination: self.remote,
            ecn: None,
            contents: train.bytes(),
            segment_size: Some(train.stride()),
            src_ip: None,
        };
        match again_if_told_of_another(|| self.state.try_send(UdpSockRef::from(&self.socket), &transmit)) {
            Err(error) if is_no_offload(&error) => {
                // The card does not cut trains, or the datagrams are too large for the path: single ones will tell.
                self.send_singly(train)?;
                self.trains = false;
                Ok(())
            }
            other => other,
        }
    }

    fn receive_many(&self, into: &mut ReceiveBatch) -> io::Result<usize> {
        let mut metas = [RecvMeta::default(); RECEIVE_SLOTS];
        let offered = into.offered();
        let mut slots = into.slots();
        let mut slices: [IoSliceMut<'_>; RECEIVE_SLOTS] =
            std::array::from_fn(|_| IoSliceMut::new(slots.next().unwrap_or_default()));
        drop(slots);
        let socket = UdpSockRef::from(&self.socket);
        let count = self.state.recv(socket, &mut slices[..offered], &mut metas[..offered])?;
        for meta in &metas[..count] {
            into.filled(meta.len, meta.stride);
        }
        Ok(count)
    }

    fn receive_singly(&self, into: &mut ReceiveBatch) -> io::Result<usize> {
        let mut count = 0;
        while count < into.offered() {
            let Some(slot) = into.slots().nth(count) else { break };
            let mut meta = [RecvMeta::default()];
            match self.state.recv(UdpSockRef::from(&self.socket), &mut [IoSliceMut::new(slot)], &mut meta) {
                Ok(_) => into.filled(meta[0].len, meta[0].stride),
                Err(_) if count > 0 => break,
                Err(error) => return Err(error),
            }
            count += 1;
        }
        Ok(count)
    }

    /// Each datagram with its own call; all are tried, the first error is told.
    fn send_singly(&self, train: &Train<'_>) -> io::Result<()> {
        let mut outcome = Ok(());
        for datagram in train.datagrams() {
            let sent = again_if_told_of_another(|| self.socket.send(datagram).map(|_| ()));
            outcome = outcome.and(sent);
        }
        outcome
    }
}

/// An ICMP error about an earlier datagram is told at the next call, whose own datagram is not sent then: it is sent again.
/// Anyone on the way can send such errors, so that they must not cost a packet each; a second that comes meanwhile, neither.
fn again_if_told_of_another(mut send: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    for _ in 0..2 {
        match send() {
            Err(error) if is_of_another(&error) => {}
            other => return other,
        }
    }
    send()
}

/// What the kernel makes of "destination unreachable" where that is an error to a connected socket (`icmp_err_convert` of
/// Linux, net/ipv4/icmp.c).
fn is_of_another(error: &io::Error) -> bool {
    const TOLD: [Errno; 6] =
        [Errno::CONNREFUSED, Errno::NOPROTOOPT, Errno::HOSTUNREACH, Errno::NETUNREACH, Errno::HOSTDOWN, Errno::NONET];
    TOLD.iter().any(|told| error.raw_os_error() == Some(told.raw_os_error()))
}

/// What the kernel says when it cannot cut a train.
fn is_no_offload(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    [Errno::IO, Errno::INVAL].iter().any(|no| errno == Some(no.raw_os_error()))
}

/// What the kernel offers to the UDP socket; without one, to any that talks to `remote`. Making it for a socket lets the
/// kernel join what that one receives.
fn udp_state(socket: Option<&UdpSocket>, remote: SocketAddr) -> io::Result<UdpSocketState> {
    match socket {
        Some(socket) => UdpSocketState::new(UdpSockRef::from(socket)),
        None => {
            let any = if remote.is_ipv6() { Ipv6Addr::LOCALHOST.into() } else { IpAddr::from(Ipv4Addr::LOCALHOST) };
            UdpSocketState::new(UdpSockRef::from(&UdpSocket::bind((any, 0))?))
        }
    }
}

/// Whole datagrams or none: the limit of a tunnel is made so that they fit (design decision 11).
fn set_dont_fragment(socket: &UdpSocket, remote: SocketAddr) -> io::Result<()> {
    match remote {
        SocketAddr::V4(_) => sockopt::set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::PROBE)?,
        SocketAddr::V6(_) => sockopt::set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::PROBE)?,
    }
    Ok(())
}

/// Large buffers, by force where that is permitted; a smaller one is no reason to fail.
fn enlarge(socket: &UdpSocket) {
    if sockopt::set_socket_recv_buffer_size_force(socket, BUFFER).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(socket, BUFFER);
    }
    if sockopt::set_socket_send_buffer_size_force(socket, BUFFER).is_err() {
        let _ = sockopt::set_socket_send_buffer_size(socket, BUFFER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(offload: OffloadSet) -> (OuterSocket, UdpSocket) {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        server.connect(client.local_addr().unwrap()).unwrap();
        (OuterSocket::new(client, offload).unwrap(), server)
    }

    fn received(server: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
        let mut buffer = [0; 2048];
        (0..count).map(|_| server.recv(&mut buffer).map(|length| buffer[..length].to_vec()).unwrap()).collect()
    }

    /// Everything, each one alone left out, nothing.
    fn sets() -> [OffloadSet; 5] {
        let all = OffloadSet::ALL;
        let without =
            [OffloadSet { gso: false, ..all }, OffloadSet { gro: false, ..all }, OffloadSet { recvmmsg: false, ..all }];
        [all, without[0], without[1], without[2], OffloadSet::NONE]
    }

    #[test]
    fn a_train_arrives_as_its_datagrams_with_and_without_each_offload() {
        for offload in sets() {
            let (mut client, server) = pair(offload);
            let bytes: Vec<u8> = (0..2_500_u32).map(|n| n.to_le_bytes()[0]).collect();
            client.send(&Train::new(&bytes, 1_000)).unwrap();
            let expected: Vec<Vec<u8>> = bytes.chunks(1_000).map(<[u8]>::to_vec).collect();
            assert_eq!(received(&server, 3), expected, "{offload:?}");
        }
    }

    #[test]
    fn what_comes_is_received_in_batches_with_and_without_each_offload() {
        for offload in sets() {
            let (client, server) = pair(offload);
            for number in 0..5 {
                server.send(&[number; 100]).unwrap();
            }
            let mut batch = ReceiveBatch::new();
            assert_eq!(client.receive(&mut batch).unwrap(), 5, "{offload:?}");
            batch.clear();
            assert_eq!(client.receive(&mut batch).unwrap(), 0, "nothing more is no error");
        }
    }

    #[test]
    fn a_server_s_train_is_the_same_datagrams_with_and_without_each_offload() {
        for offload in sets() {
            let (client, server) = pair(offload);
            let (mut sender, _) = pair(OffloadSet::ALL);
            sender.remote = client.socket.local_addr().unwrap();
            sender.socket = server;
            let bytes: Vec<u8> = (0..6_400_u32).map(|n| (n / 1_000).to_le_bytes()[0]).collect();
            sender.send(&Train::new(&bytes, 1_000)).unwrap();
            let mut batch = ReceiveBatch::new();
            let mut seen = Vec::new();
            while client.receive(&mut batch).unwrap() > 0 {
                let (storage, runs) = batch.contents();
                let datagrams = runs.iter().flat_map(|run| run.datagrams());
                seen.extend(datagrams.map(|range| storage[range].to_vec()));
                batch.clear();
            }
            let expected: Vec<Vec<u8>> = bytes.chunks(1_000).map(<[u8]>::to_vec).collect();
            assert_eq!(seen, expected, "{offload:?}");
        }
    }

    // proves: T-07
    #[test]
    fn a_stranger_is_not_heard() {
        let (client, _server) = pair(OffloadSet::ALL);
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        stranger.send_to(b"x", client.socket.local_addr().unwrap()).unwrap();
        assert_eq!(client.receive(&mut ReceiveBatch::new()).unwrap(), 0);
    }
}
