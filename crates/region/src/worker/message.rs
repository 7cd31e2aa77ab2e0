//! What the threads of a region say to each other. All of it goes through bounded channels.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use mrvpn_proto::server::ClientId;
use mrvpn_proto::{DataKeys, KeyId};
use mrvpn_router::Offload;

use crate::seen::Counters;

/// A client of the region: the listener at which it came, and what its server calls it.
pub(crate) type Name = (u8, ClientId);

/// The way to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// By datagrams of this listener.
    Datagrams {
        /// Which listener.
        listener: u8,
        /// The client's address.
        to: SocketAddr,
    },
    /// By the stream of this number.
    Stream(u16),
}

/// Where a packet from outside came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// At which listener.
    pub(crate) listener: u8,
    /// From which address.
    pub(crate) from: SocketAddr,
    /// By which stream, if by one.
    pub(crate) stream: Option<u16>,
}

impl Origin {
    /// The way back.
    pub(crate) const fn path(self) -> Path {
        match self.stream {
            Some(number) => Path::Stream(number),
            None => Path::Datagrams { listener: self.listener, to: self.from },
        }
    }
}

/// A client for a worker.
pub(crate) struct Adoption {
    /// Who it is.
    pub(crate) name: Name,
    /// Its place in the pool.
    pub(crate) place: u16,
    /// Its first keys.
    pub(crate) keys: Box<DataKeys>,
    /// The way to it.
    pub(crate) path: Path,
    /// Its addresses: it may send from no other.
    pub(crate) address: Ipv4Addr,
    /// The same of IPv6.
    pub(crate) address6: Option<Ipv6Addr>,
    /// A ping goes out after so much silence.
    pub(crate) ping: Duration,
    /// What goes through is counted here.
    pub(crate) counters: Arc<Counters>,
}

/// What the control thread tells a worker.
pub(crate) enum Order {
    /// A client is in.
    Adopt(Box<Adoption>),
    /// It has newer keys.
    Install { place: u16, keys: Box<DataKeys> },
    /// Its older keys are over.
    Retire { place: u16, key_id: KeyId },
    /// It is gone.
    Release { place: u16 },
    /// A connection was accepted.
    Stream { number: u16, listener: u8, from: SocketAddr, stream: TcpStream },
    /// A control packet for a stream.
    SendStream { number: u16, packet: Vec<u8> },
    /// A connection is no longer wanted.
    CloseStream { number: u16 },
    /// The end.
    Stop,
}

/// What a worker tells the control thread.
pub(crate) enum Upcall {
    /// A control packet came.
    Control { worker: u8, origin: Origin, packet: Vec<u8> },
    /// An authentic packet of a client came from another address.
    Floated { client: Name, to: SocketAddr },
    /// A client said in the data channel that it leaves.
    Exit { client: Name },
    /// A client's keys are nearly used up.
    Worn { client: Name },
    /// A stream is over.
    StreamEnded { listener: u8, number: u16, from: SocketAddr },
}

/// What a worker gives to another, whose client it is.
pub(crate) enum Handed {
    /// A datagram from outside.
    Datagram { origin: Origin, bytes: Vec<u8> },
    /// A packet from the TUN, or of another client.
    Packet { place: u16, offload: Offload, bytes: Vec<u8> },
}
