//! The sockets of tunnels while their sessions are being made. A task reads each; once the session stands the socket
//! goes to the lane and the task ends. A number for each attempt keeps late datagrams of an old one apart.

use std::io;
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use mrvpn_router::TunnelId;
use rustix::io::Errno;
use rustix::net::SendFlags;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::socket;

/// 2048 bytes: more than any control packet has.
const DATAGRAM: usize = 2048;
/// 100 ms: how long a reader rests after an error, so that a flood of them costs nothing.
const REST: Duration = Duration::from_millis(100);

/// What a reader found.
pub(super) enum Arrival {
    /// A datagram.
    Datagram(Vec<u8>),
    /// Nothing listens at the server's port.
    PortRefused,
}

/// An arrival with its tunnel and attempt.
pub(super) struct Arrived {
    pub(super) tunnel: TunnelId,
    pub(super) attempt: u64,
    pub(super) arrival: Arrival,
}

/// Where a tunnel's socket is.
pub(super) enum Outer {
    /// Nowhere.
    Closed,
    /// Here, with the task that reads it.
    Here { socket: Arc<UdpSocket>, reader: JoinHandle<()>, attempt: u64 },
    /// With the lane.
    WithLane,
}

impl Outer {
    /// Opens a socket to `remote` and begins to read it.
    pub(super) fn open(
        tunnel: TunnelId,
        remote: SocketAddr,
        mark: u32,
        attempt: u64,
        arrivals: mpsc::Sender<Arrived>,
    ) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::from_std(socket::open(remote, mark)?)?);
        let reader = tokio::spawn(read(Arc::clone(&socket), tunnel, attempt, arrivals));
        Ok(Self::Here { socket, reader, attempt })
    }

    /// Whether an arrival of `attempt` is of this socket.
    pub(super) fn is_attempt(&self, wanted: u64) -> bool {
        matches!(self, Self::Here { attempt, .. } if *attempt == wanted)
    }

    /// Sends a datagram, past tokio: it believes a fresh socket unready until it has waited for it once, and the first
    /// datagram should leave at once.
    pub(super) fn send(&self, datagram: &[u8]) -> Result<(), Errno> {
        let Self::Here { socket, .. } = self else { return Err(Errno::NOTCONN) };
        rustix::net::send(socket, datagram, SendFlags::DONTWAIT).map(|_| ())
    }

    /// The socket for the lane; the reader ends.
    pub(super) fn hand_over(&mut self) -> Option<StdSocket> {
        let Self::Here { socket, reader, .. } = self else { return None };
        reader.abort();
        let twin = socket.as_fd().try_clone_to_owned().ok();
        *self = Self::WithLane;
        twin.map(StdSocket::from)
    }

    /// Forgets the socket.
    pub(super) fn close(&mut self) {
        if let Self::Here { reader, .. } = self {
            reader.abort();
        }
        *self = Self::Closed;
    }
}

async fn read(socket: Arc<UdpSocket>, tunnel: TunnelId, attempt: u64, arrivals: mpsc::Sender<Arrived>) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let arrival = match socket.recv(&mut buffer).await {
            Ok(length) => Arrival::Datagram(buffer[..length].to_vec()),
            Err(error) => {
                tokio::time::sleep(REST).await;
                if error.kind() != io::ErrorKind::ConnectionRefused {
                    continue;
                }
                Arrival::PortRefused
            }
        };
        if arrivals.send(Arrived { tunnel, attempt, arrival }).await.is_err() {
            return;
        }
    }
}
