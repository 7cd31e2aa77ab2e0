//! One tunnel's connected UDP socket: trains leave with one call (`UDP_SEGMENT`), batches come with one call
//! (`recvmmsg`, `UDP_GRO`). Where the network card or the kernel cannot, the same trains leave datagram by datagram. It
//! knows nothing of what it carries; that strangers cannot reach it is the kernel's work, for it is connected.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::io::Errno;
use rustix::net::sockopt;

use crate::lane::limits::RECEIVE_SLOTS;
use crate::lane::{ReceiveBatch, Train};

/// 4 MiB each way: what a server sends in 30 ms at 1 Gbit/s, for a thread that has to wait for its core.
const BUFFER: usize = 4 * 1024 * 1024;

/// A socket and what it can do.
pub(super) struct OuterSocket {
    socket: UdpSocket,
    remote: SocketAddr,
    /// Offloads of the socket; `None` where they are not to be used.
    offloads: Option<UdpSocketState>,
    /// Whether the socket still takes whole trains.
    trains: bool,
}

impl OuterSocket {
    /// Makes a connected socket ready: non-blocking, large buffers, DF set, with offloads where they are wanted.
    ///
    /// # Errors
    /// The socket is not connected, or refuses its options.
    pub(super) fn new(socket: UdpSocket, offload: bool) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        enlarge(&socket);
        let remote = socket.peer_addr()?;
        let offloads = if offload { Some(UdpSocketState::new(UdpSockRef::from(&socket))?) } else { None };
        let trains = offloads.as_ref().is_some_and(|state| state.max_gso_segments() > 1);
        Ok(Self { socket, remote, offloads, trains })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Fills the slots of `into` with what has come; 0 when nothing has.
    pub(super) fn receive(&self, into: &mut ReceiveBatch) -> io::Result<usize> {
        let received = match &self.offloads {
            Some(state) => receive_many(state, &self.socket, into),
            None => receive_singly(&self.socket, into),
        };
        match received {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// Sends a train, whole where the system can.
    pub(super) fn send(&mut self, train: &Train<'_>) -> io::Result<()> {
        let state = self.offloads.as_ref().filter(|_| self.trains && train.len() > 1);
        let Some(state) = state else { return self.send_singly(train) };
        let transmit = Transmit {
            destination: self.remote,
            ecn: None,
            contents: train.bytes(),
            segment_size: Some(train.stride()),
            src_ip: None,
        };
        match again_if_refused(|| state.try_send(UdpSockRef::from(&self.socket), &transmit)) {
            Err(error) if is_no_offload(&error) => {
                // The card does not cut trains, or the datagrams are too large for the path: single ones will tell.
                self.send_singly(train)?;
                self.trains = false;
                Ok(())
            }
            other => other,
        }
    }

    /// Each datagram with its own call; all are tried, the first error is told.
    fn send_singly(&self, train: &Train<'_>) -> io::Result<()> {
        let mut outcome = Ok(());
        for datagram in train.datagrams() {
            let sent = again_if_refused(|| self.socket.send(datagram).map(|_| ()));
            outcome = outcome.and(sent);
        }
        outcome
    }
}

/// A refused port is told at the next call, whose own datagram was not sent: it is sent again.
fn again_if_refused(mut send: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    match send() {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => send(),
        other => other,
    }
}

/// What the kernel says when it cannot cut a train.
fn is_no_offload(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    [Errno::IO, Errno::INVAL].iter().any(|no| errno == Some(no.raw_os_error()))
}

fn receive_many(state: &UdpSocketState, socket: &UdpSocket, into: &mut ReceiveBatch) -> io::Result<usize> {
    let mut metas = [RecvMeta::default(); RECEIVE_SLOTS];
    let offered = into.offered();
    let mut slots = into.slots();
    let mut slices: [IoSliceMut<'_>; RECEIVE_SLOTS] =
        std::array::from_fn(|_| IoSliceMut::new(slots.next().unwrap_or_default()));
    drop(slots);
    let count = state.recv(UdpSockRef::from(socket), &mut slices[..offered], &mut metas[..offered])?;
    for meta in &metas[..count] {
        into.filled(meta.len, meta.stride);
    }
    Ok(count)
}

fn receive_singly(socket: &UdpSocket, into: &mut ReceiveBatch) -> io::Result<usize> {
    let mut count = 0;
    while count < into.offered() {
        let Some(slot) = into.slots().nth(count) else { break };
        match socket.recv(slot) {
            Ok(length) => into.filled(length, length),
            Err(_) if count > 0 => break,
            Err(error) => return Err(error),
        }
        count += 1;
    }
    Ok(count)
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

    fn pair(offload: bool) -> (OuterSocket, UdpSocket) {
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

    #[test]
    fn a_train_arrives_as_its_datagrams_with_and_without_offload() {
        for offload in [true, false] {
            let (mut client, server) = pair(offload);
            let bytes: Vec<u8> = (0..2_500_u32).map(|n| n.to_le_bytes()[0]).collect();
            client.send(&Train::new(&bytes, 1_000)).unwrap();
            let expected: Vec<Vec<u8>> = bytes.chunks(1_000).map(<[u8]>::to_vec).collect();
            assert_eq!(received(&server, 3), expected, "offload: {offload}");
        }
    }

    #[test]
    fn what_comes_is_received_in_batches_with_and_without_offload() {
        for offload in [true, false] {
            let (client, server) = pair(offload);
            for number in 0..5 {
                server.send(&[number; 100]).unwrap();
            }
            let mut batch = ReceiveBatch::new();
            assert_eq!(client.receive(&mut batch).unwrap(), 5, "offload: {offload}");
            batch.clear();
            assert_eq!(client.receive(&mut batch).unwrap(), 0, "nothing more is no error");
        }
    }

    // proves: T-07
    #[test]
    fn a_stranger_is_not_heard() {
        let (client, _server) = pair(true);
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        stranger.send_to(b"x", client.socket.local_addr().unwrap()).unwrap();
        assert_eq!(client.receive(&mut ReceiveBatch::new()).unwrap(), 0);
    }
}
