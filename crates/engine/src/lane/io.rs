//! The lane's window to the outside: the TUN queue and the tunnels' sockets as one trait. The real one is in the
//! driver; tests have one made by hand.

use std::io;

use mrvpn_netplan::Queue;
use mrvpn_router::TunnelId;

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

    /// Receives what has come from the tunnel's server into the slots of `into`; returns how many are filled, 0 when
    /// nothing has come.
    ///
    /// # Errors
    /// The socket's own error; what came before it is still to come.
    fn receive(&mut self, tunnel: TunnelId, into: &mut ReceiveBatch) -> io::Result<usize>;

    /// Sends a train to the tunnel's server.
    ///
    /// # Errors
    /// The socket's own error; none of the train, or only its beginning, was sent.
    fn send(&mut self, tunnel: TunnelId, train: &Train<'_>) -> io::Result<()>;
}
