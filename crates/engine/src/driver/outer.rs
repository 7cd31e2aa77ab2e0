//! The sockets of tunnels while their sessions are being made: UDP, or TCP with its connecting. A task reads each; once
//! the session stands the socket goes to the lane and the task ends. The number of its attempt keeps late packets of an
//! old one apart. It decides nothing: which socket is opened, used and dropped is the tunnel's.

mod fresh; // datagram sockets from fresh ports
mod stream; // one TCP stream before the lane has it

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use mrvpn_profile::Transport;
use mrvpn_router::TunnelId;
use rustix::io::Errno;
use rustix::net::SendFlags;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::lane_thread::HandedSocket;
use super::socket;
use crate::attempt::Attempt;
use crate::tunnel::OpenFailure;
use fresh::FreshPorts;
use stream::EarlyStream;

/// 2048 bytes: more than any control packet has.
const DATAGRAM: usize = 2048;
/// 100 ms: how long a reader rests after an error, so that a flood of them costs nothing.
const REST: Duration = Duration::from_millis(100);

/// What came of a socket.
pub(super) enum Arrival {
    /// A packet.
    Datagram(Vec<u8>),
    /// Nothing listens at the server's port.
    PortRefused,
    /// The stream stands.
    Connected(TcpStream),
    /// There is no stream.
    NotConnected(OpenFailure),
    /// The stream is over.
    StreamEnded(io::ErrorKind),
}

/// An arrival with its tunnel and attempt.
pub(super) struct Arrived {
    pub(super) tunnel: TunnelId,
    pub(super) attempt: Attempt,
    pub(super) arrival: Arrival,
}

/// Names a socket.
type Key = (TunnelId, Attempt);

/// Where the sockets of all tunnels are.
pub(super) struct Outers {
    mark: u32,
    arrivals: mpsc::Sender<Arrived>,
    ports: FreshPorts,
    here: BTreeMap<Key, Outer>,
    with_lane: BTreeMap<TunnelId, Attempt>,
}

/// One socket, with the task that connects or reads it.
enum Outer {
    Datagrams { socket: Arc<UdpSocket>, task: JoinHandle<()> },
    Connecting { task: JoinHandle<()> },
    Stream { stream: Arc<EarlyStream>, task: JoinHandle<()> },
}

/// What became of a packet that was to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It left, or was lost, as packets may be.
    Done,
    /// The network says that nothing listens there.
    Refused,
    /// The lane has the socket.
    WithLane(Vec<u8>),
}

impl Outers {
    pub(super) fn new(mark: u32, arrivals: mpsc::Sender<Arrived>) -> Self {
        Self { mark, arrivals, ports: FreshPorts::default(), here: BTreeMap::new(), with_lane: BTreeMap::new() }
    }

    /// Opens a socket to `remote`. `Some` says at once what came of it; a stream's connecting arrives later.
    pub(super) fn open(
        &mut self,
        tunnel: TunnelId,
        attempt: Attempt,
        remote: SocketAddr,
        transport: Transport,
    ) -> Option<Result<(), OpenFailure>> {
        let to = Address { tunnel, attempt, arrivals: self.arrivals.clone() };
        let (outer, outcome) = match transport {
            Transport::Udp => match self.ports.open(remote, self.mark).and_then(|socket| begin_reading(socket, to)) {
                Ok(outer) => (outer, Some(Ok(()))),
                Err(error) => return Some(Err(error.into())),
            },
            Transport::Tcp => (Outer::Connecting { task: tokio::spawn(connect(remote, self.mark, to)) }, None),
        };
        self.here.insert((tunnel, attempt), outer);
        outcome
    }

    /// A stream stands and is read from now on; `false` where nobody waits for it any more.
    pub(super) fn connected(&mut self, tunnel: TunnelId, attempt: Attempt, stream: TcpStream) -> bool {
        let Some(outer) = self.here.get_mut(&(tunnel, attempt)) else { return false };
        let stream = Arc::new(EarlyStream::new(stream));
        let to = Address { tunnel, attempt, arrivals: self.arrivals.clone() };
        let task = tokio::spawn(read_stream(Arc::clone(&stream), to));
        *outer = Outer::Stream { stream, task };
        true
    }

    /// Whether what arrives from this attempt still counts.
    pub(super) fn is_alive(&self, tunnel: TunnelId, attempt: Attempt) -> bool {
        self.here.contains_key(&(tunnel, attempt)) || self.with_lane.get(&tunnel) == Some(&attempt)
    }

    /// Sends a packet, past tokio: it believes a fresh socket unready until it has waited for it once, and the first
    /// packet should leave at once.
    pub(super) fn send(&self, tunnel: TunnelId, attempt: Attempt, datagram: Vec<u8>) -> Sent {
        match self.here.get(&(tunnel, attempt)) {
            Some(Outer::Datagrams { socket, .. }) => match rustix::net::send(socket, &datagram, SendFlags::DONTWAIT) {
                Err(Errno::CONNREFUSED) => Sent::Refused,
                Ok(_) | Err(_) => Sent::Done,
            },
            Some(Outer::Stream { stream, .. }) => {
                stream.send(&datagram);
                Sent::Done
            }
            None if self.with_lane.get(&tunnel) == Some(&attempt) => Sent::WithLane(datagram),
            Some(Outer::Connecting { .. }) | None => Sent::Done,
        }
    }

    /// The socket for the lane; its task ends.
    pub(super) fn hand_over(&mut self, tunnel: TunnelId, attempt: Attempt) -> Option<HandedSocket> {
        let outer = self.here.remove(&(tunnel, attempt))?;
        let handed = match &outer {
            Outer::Datagrams { socket, .. } => {
                let twin = socket.as_fd().try_clone_to_owned().ok()?;
                Some(HandedSocket::Datagrams(twin.into()))
            }
            Outer::Stream { stream, .. } => stream.hand_over().map(HandedSocket::Stream),
            Outer::Connecting { .. } => None,
        };
        self.with_lane.insert(tunnel, attempt);
        handed
    }

    /// The sockets that the lane has.
    pub(super) fn with_lane(&self) -> Vec<(TunnelId, Attempt)> {
        self.with_lane.iter().map(|(tunnel, attempt)| (*tunnel, *attempt)).collect()
    }

    /// Closes one socket that is here.
    pub(super) fn drop_one(&mut self, tunnel: TunnelId, attempt: Attempt) {
        self.here.remove(&(tunnel, attempt));
    }

    /// Closes all sockets of a tunnel that are here; returns whether the lane has one.
    pub(super) fn close(&mut self, tunnel: TunnelId) -> bool {
        self.here.retain(|(owner, _), _| *owner != tunnel);
        self.with_lane.remove(&tunnel).is_some()
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        match self {
            Self::Datagrams { task, .. } | Self::Connecting { task } | Self::Stream { task, .. } => task.abort(),
        }
    }
}

/// Where the arrivals of one socket go.
struct Address {
    tunnel: TunnelId,
    attempt: Attempt,
    arrivals: mpsc::Sender<Arrived>,
}

impl Address {
    /// Tells it; `false` when nobody listens any more.
    async fn tell(&self, arrival: Arrival) -> bool {
        let arrived = Arrived { tunnel: self.tunnel, attempt: self.attempt, arrival };
        self.arrivals.send(arrived).await.is_ok()
    }
}

fn begin_reading(socket: std::net::UdpSocket, to: Address) -> io::Result<Outer> {
    let socket = Arc::new(UdpSocket::from_std(socket)?);
    let task = tokio::spawn(read_datagrams(Arc::clone(&socket), to));
    Ok(Outer::Datagrams { socket, task })
}

async fn read_datagrams(socket: Arc<UdpSocket>, to: Address) {
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
        if !to.tell(arrival).await {
            return;
        }
    }
}

async fn connect(remote: SocketAddr, mark: u32, to: Address) {
    let connected = match socket::stream(remote, mark) {
        Ok(socket) => socket.connect(remote).await,
        Err(error) => Err(error),
    };
    let arrival = match connected {
        Ok(stream) => Arrival::Connected(stream),
        Err(error) => Arrival::NotConnected(error.into()),
    };
    to.tell(arrival).await;
}

async fn read_stream(stream: Arc<EarlyStream>, to: Address) {
    loop {
        let (packets, end) = stream.read().await;
        for packet in packets {
            if !to.tell(Arrival::Datagram(packet)).await {
                return;
            }
        }
        if let Some(how) = end {
            to.tell(Arrival::StreamEnded(how)).await;
            return;
        }
    }
}
