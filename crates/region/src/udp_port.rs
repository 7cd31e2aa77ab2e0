//! One worker's UDP socket of one listener: unconnected, many clients behind it. Trains leave with one call
//! (`UDP_SEGMENT`), batches come with one (`recvmmsg`, `UDP_GRO`); where the kernel cannot, the same datagrams leave one by
//! one. All workers' sockets of a listener have one address (`SO_REUSEPORT`), and the kernel gives each client's datagrams
//! to one of them. The client's end is `mrvpn_engine`'s; how it differs: that one is connected and has DF set.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use mrvpn_engine::lane::limits::RECEIVE_SLOTS;
use mrvpn_engine::lane::{ReceiveBatch, Train};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use socket2::{Domain, Protocol, Socket, Type};

/// 4 MiB each way: what clients send in 30 ms at 1 Gbit/s, for a thread that has to wait for its core.
const BUFFER: usize = 4 * 1024 * 1024;
/// The usual MTU outside: longer datagrams are not sent in trains, which the kernel refuses to cut so.
const PATH_MTU: usize = 1_500;
/// IPv4 and IPv6 header, each with that of UDP.
const OUTER_HEADERS: (usize, usize) = (28, 48);

/// A socket and what it can do.
#[derive(Debug)]
pub(crate) struct UdpPort {
    socket: UdpSocket,
    state: UdpSocketState,
    /// The longest datagram that goes in trains.
    longest: usize,
    /// Whether the socket still takes whole trains.
    trains: bool,
}

impl UdpPort {
    /// Binds one of several sockets of the same address.
    ///
    /// # Errors
    /// The address is not here, or its port is taken.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from(socket);
        enlarge(&socket);
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let headers = if address.is_ipv4() { OUTER_HEADERS.0 } else { OUTER_HEADERS.1 };
        allow_fragments(&socket, address)?;
        let trains = state.max_gso_segments() > 1;
        Ok(Self { socket, state, longest: PATH_MTU - headers, trains })
    }

    /// The same socket once more, for the control thread.
    pub(crate) fn twin(&self) -> io::Result<UdpSocket> {
        self.socket.try_clone()
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Fills the slots of `into`, and `from` with where each came from; 0 when nothing has come. An error is told as
    /// nothing: it is about a datagram that somebody did not get.
    pub(crate) fn receive(&self, into: &mut ReceiveBatch, from: &mut Vec<SocketAddr>) -> usize {
        let mut metas = [RecvMeta::default(); RECEIVE_SLOTS];
        let offered = into.offered();
        let mut slots = into.slots();
        let mut slices: [IoSliceMut<'_>; RECEIVE_SLOTS] =
            std::array::from_fn(|_| IoSliceMut::new(slots.next().unwrap_or_default()));
        drop(slots);
        let socket = UdpSockRef::from(&self.socket);
        let count = self.state.recv(socket, &mut slices[..offered], &mut metas[..offered]).unwrap_or(0);
        from.clear();
        for meta in &metas[..count] {
            into.filled(meta.len, meta.stride);
            from.push(meta.addr);
        }
        count
    }

    /// Sends a train, whole where the system can.
    ///
    /// # Errors
    /// The socket's own: none of it was sent, or only its beginning.
    pub(crate) fn send(&mut self, destination: SocketAddr, train: &Train<'_>) -> io::Result<()> {
        if !self.trains || train.len() < 2 || train.stride() > self.longest {
            return self.send_singly(destination, train);
        }
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: train.bytes(),
            segment_size: Some(train.stride()),
            src_ip: None,
        };
        match self.state.try_send(UdpSockRef::from(&self.socket), &transmit) {
            Err(error) if is_no_offload(&error) => {
                // The card does not cut trains, or the way is narrower than usual: single ones will tell.
                self.trains = false;
                self.send_singly(destination, train)
            }
            other => other,
        }
    }

    /// Each datagram with its own call; all are tried, the first error is told.
    fn send_singly(&self, destination: SocketAddr, train: &Train<'_>) -> io::Result<()> {
        let mut outcome = Ok(());
        for datagram in train.datagrams() {
            let sent = self.socket.send_to(datagram, destination).map(|_| ());
            outcome = outcome.and(sent);
        }
        outcome
    }
}

/// What the kernel says when it cannot cut a train.
fn is_no_offload(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    error.kind() != ErrorKind::WouldBlock && [Errno::IO, Errno::INVAL].iter().any(|no| errno == Some(no.raw_os_error()))
}

/// As a stock server: a datagram that is too long for the way is fragmented on it.
fn allow_fragments(socket: &UdpSocket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => sockopt::set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT)?,
        SocketAddr::V6(_) => sockopt::set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DONT)?,
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

    #[test]
    fn trains_and_long_datagrams_arrive_as_they_were_sent() {
        let mut port = UdpPort::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = client.local_addr().unwrap();
        let bytes: Vec<u8> = (0..3_500_u32).map(|n| n.to_le_bytes()[0]).collect();
        for stride in [1_000, 1_600] {
            port.send(to, &Train::new(&bytes, stride)).unwrap();
            let mut buffer = [0; 2_048];
            for expected in bytes.chunks(stride) {
                let length = client.recv(&mut buffer).unwrap();
                assert_eq!(&buffer[..length], expected);
            }
        }
    }

    #[test]
    fn what_came_is_told_with_its_sender() {
        let port = UdpPort::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let to = port.socket.local_addr().unwrap();
        let clients = [UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap()];
        for client in &clients {
            client.send_to(&[7; 50], to).unwrap();
        }
        let (mut batch, mut from) = (ReceiveBatch::new(), Vec::new());
        assert_eq!(port.receive(&mut batch, &mut from), 2);
        assert_eq!(from, clients.map(|client| client.local_addr().unwrap()));
        batch.clear();
        assert_eq!(port.receive(&mut batch, &mut from), 0);
    }
}
