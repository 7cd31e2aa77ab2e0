//! One listener: the server value of the protocol, and the socket by which its control packets leave. What comes in by
//! datagrams is read by workers; connections are accepted here and then read by workers as well.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use mrvpn_proto::server::Server;

/// A listener.
pub(crate) struct Listener {
    pub(crate) server: Server,
    pub(crate) socket: Outside,
}

/// Its socket.
pub(crate) enum Outside {
    /// Datagrams: one of the workers' sockets once more.
    Datagrams(UdpSocket),
    /// Connections are accepted here.
    Streams(TcpListener),
}

impl Listener {
    /// Sends a control packet as a datagram; `false` where it must go by a stream. One that is lost comes again.
    pub(super) fn send(&self, to: SocketAddr, packet: &[u8]) -> bool {
        match &self.socket {
            Outside::Datagrams(socket) => {
                let _ = socket.send_to(packet, to);
                true
            }
            Outside::Streams(_) => false,
        }
    }

    /// The next connection that waits.
    pub(super) fn accept(&self) -> Option<(TcpStream, SocketAddr)> {
        match &self.socket {
            Outside::Datagrams(_) => None,
            Outside::Streams(listener) => listener.accept().ok(),
        }
    }

    /// What to wait for, where connections come.
    pub(super) fn stream_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.socket {
            Outside::Datagrams(_) => None,
            Outside::Streams(listener) => Some(listener.as_fd()),
        }
    }
}
