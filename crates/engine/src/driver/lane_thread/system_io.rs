//! The real [`LaneIo`]: a TUN queue, the tunnels' sockets, and the epoll that says which of them may be ready. It moves what
//! it is given and decides nothing about a packet.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mrvpn_netplan::{OffloadSet, Queue};
use mrvpn_router::TunnelId;

use super::HandedSocket;
use super::outer_socket::OuterSocket;
use super::outer_stream::OuterStream;
use super::poller::Poller;
use crate::lane::{LaneIo, ReceiveBatch, SocketError, Train};

/// The queue and the sockets of one lane.
pub(super) struct SystemIo<Q> {
    pub(super) queue: Q,
    sockets: Vec<Option<Outer>>,
    pub(super) poller: Poller,
    wanted: OffloadSet,
    trains_refused: Arc<AtomicBool>,
}

/// One tunnel's way to its server.
enum Outer {
    Datagrams(OuterSocket),
    Stream(OuterStream),
}

impl Outer {
    fn new(handed: HandedSocket, wanted: OffloadSet) -> io::Result<Self> {
        match handed {
            HandedSocket::Datagrams(socket) => OuterSocket::new(socket, wanted).map(Self::Datagrams),
            HandedSocket::Stream(stream) => OuterStream::new(stream).map(Self::Stream),
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Datagrams(socket) => socket.as_fd(),
            Self::Stream(stream) => stream.as_fd(),
        }
    }
}

impl<Q: AsFd> SystemIo<Q> {
    /// Stops watching a queue that is gone: it would be ready for ever.
    pub(super) fn forget_queue(&self) {
        self.poller.forget(self.queue.as_fd());
    }

    /// Takes up another queue.
    pub(super) fn replace_queue(&mut self, queue: Q) -> io::Result<()> {
        self.forget_queue();
        self.poller.watch_queue(queue.as_fd())?;
        self.queue = queue;
        Ok(())
    }
}

impl<Q> SystemIo<Q> {
    /// `poller` watches the queue already. `trains_refused` is set once a network card refuses a train.
    pub(super) const fn new(queue: Q, poller: Poller, wanted: OffloadSet, trains_refused: Arc<AtomicBool>) -> Self {
        Self { queue, sockets: Vec::new(), poller, wanted, trains_refused }
    }

    pub(super) fn adopt(&mut self, tunnel: TunnelId, handed: HandedSocket) -> io::Result<()> {
        self.release(tunnel);
        let outer = Outer::new(handed, self.wanted)?;
        self.poller.watch(tunnel, outer.as_fd())?;
        self.place(tunnel, outer);
        Ok(())
    }

    fn place(&mut self, tunnel: TunnelId, outer: Outer) {
        if matches!(&outer, Outer::Stream(stream) if stream.has_unread()) {
            self.poller.mark_ready(tunnel);
        }
        if self.sockets.len() <= tunnel.index() {
            self.sockets.resize_with(tunnel.index() + 1, || None);
        }
        self.sockets[tunnel.index()] = Some(outer);
    }

    pub(super) fn release(&mut self, tunnel: TunnelId) {
        if let Some(outer) = self.sockets.get_mut(tunnel.index()).and_then(Option::take) {
            self.poller.forget(outer.as_fd());
        }
    }

    /// Works on a tunnel's socket. A stream that waits for room afterwards is watched for it; one that is over is not
    /// watched any more, since it would be ready for ever.
    fn with<T>(
        &mut self,
        tunnel: TunnelId,
        work: impl FnOnce(&mut Outer) -> Result<T, SocketError>,
    ) -> Result<T, SocketError> {
        let outer = self.sockets.get_mut(tunnel.index()).and_then(Option::as_mut);
        let Some(outer) = outer else { return Err(SocketError::Passing(ErrorKind::NotConnected)) };
        let waited = matches!(outer, Outer::Stream(stream) if stream.wants_room());
        let done = work(outer);
        if matches!(done, Err(SocketError::Ended(_))) {
            self.poller.forget(outer.as_fd());
        } else if let Outer::Stream(stream) = outer
            && stream.wants_room() != waited
        {
            // Where it cannot be watched, the next packet tries again.
            let _ = self.poller.watch_room(tunnel, stream.as_fd(), stream.wants_room());
        }
        done
    }

    /// Sends on what waited for room. How a stream ended is told at its next read.
    fn use_room(&mut self) {
        while let Some(tunnel) = self.poller.take_writable() {
            let flushed = self.with(tunnel, |outer| match outer {
                Outer::Datagrams(_) => Ok(()),
                Outer::Stream(stream) => stream.flush(),
            });
            if flushed.is_err() {
                self.poller.mark_ready(tunnel);
            }
        }
    }
}

impl<Q: Queue> LaneIo for SystemIo<Q> {
    type Queue = Q;

    fn queue(&mut self) -> &mut Q {
        &mut self.queue
    }

    fn ready(&mut self, tunnels: &mut Vec<TunnelId>) -> bool {
        self.use_room();
        self.poller.take_ready(tunnels)
    }

    fn receive(&mut self, tunnel: TunnelId, into: &mut ReceiveBatch) -> Result<usize, SocketError> {
        self.with(tunnel, |outer| match outer {
            Outer::Datagrams(socket) => Ok(socket.receive(into)?),
            Outer::Stream(stream) => stream.receive(into),
        })
    }

    fn send(&mut self, tunnel: TunnelId, train: &Train<'_>) -> Result<(), SocketError> {
        let refused = Arc::clone(&self.trains_refused);
        self.with(tunnel, |outer| match outer {
            Outer::Datagrams(socket) => {
                let could = socket.sends_trains();
                let sent = socket.send(train);
                if could && !socket.sends_trains() {
                    refused.store(true, Ordering::Relaxed);
                }
                Ok(sent?)
            }
            Outer::Stream(stream) => stream.send(train),
        })
    }
}
