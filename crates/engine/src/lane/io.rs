//! The lane's window to the outside: the TUN queue and the tunnels' sockets as one trait. The real one is in the
//! driver; tests have one made by hand.

use std::io;

use mrvpn_netplan::Queue;
use mrvpn_router::{AppId, FlowTuple, TunnelId};

use super::{ReceiveBatch, Train};

/// Moves packets for a lane. Nothing here waits.
pub trait LaneIo {
    /// The TUN queue.
    type Queue: Queue;

    /// The TUN queue.
    fn queue(&mut self) -> &mut Self::Queue;

    /// Adds to `tunnels` those whose sockets may have datagrams; returns whether the TUN queue may have packets. A
    /// wrong yes costs a call, a wrong no a delay.
    fn ready(&mut self, tunnels: &mut Vec<TunnelId>) -> bool;

    /// Receives what has come from the tunnel's server: datagrams into the slots of `into`, or a stream's packets into
    /// its space. Returns how many there are, 0 when nothing has come.
    ///
    /// # Errors
    /// The socket's own error; what came before it is still to come.
    fn receive(&mut self, tunnel: TunnelId, into: &mut ReceiveBatch) -> Result<usize, SocketError>;

    /// Sends a train to the tunnel's server.
    ///
    /// # Errors
    /// The socket's own error; none of the train, or only its beginning, was sent.
    fn send(&mut self, tunnel: TunnelId, train: &Train<'_>) -> Result<(), SocketError>;

    /// Which program of this host has a flow, if the platform knows. It is asked only where there are very many flows.
    fn app(&mut self, flow: &FlowTuple) -> Option<AppId> {
        self.queue().app(flow)
    }
}

/// What a socket says when it does not do what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketError {
    /// A datagram socket had an error: a hint, which anyone on the way can forge, and no end of anything. A stream that
    /// takes no more for now says [`io::ErrorKind::WouldBlock`].
    Passing(io::ErrorKind),
    /// The stream is over; so is all that it carried.
    Ended(io::ErrorKind),
}

impl From<io::Error> for SocketError {
    fn from(error: io::Error) -> Self {
        Self::Passing(error.kind())
    }
}
