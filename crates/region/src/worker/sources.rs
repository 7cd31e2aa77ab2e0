//! A worker's sockets and streams by number: the sockets of the listeners first, streams from [`FIRST_STREAM`] on. It
//! moves bytes and decides nothing.

use std::io;
use std::net::{SocketAddr, TcpStream};

use mrvpn_engine::driver::lane_thread::{HandedStream, OuterStream, Poller};
use mrvpn_engine::lane::{ReceiveBatch, SocketError, Train};
use mrvpn_router::TunnelId;

use super::id;
use super::message::{Origin, Path};
use crate::udp_port::UdpPort;

/// The first number of streams; below are listeners.
pub(crate) const FIRST_STREAM: u16 = 256;

/// Sockets and streams.
pub(super) struct Sources {
    /// By listener; `None` where that listens for streams.
    ports: Vec<Option<UdpPort>>,
    streams: Vec<Option<Stream>>,
    /// Numbers that may have something; kept for its room.
    pub(super) ready: Vec<TunnelId>,
}

struct Stream {
    stream: OuterStream,
    listener: u8,
    from: SocketAddr,
}

impl Sources {
    pub(super) const fn new(ports: Vec<Option<UdpPort>>) -> Self {
        Self { ports, streams: Vec::new(), ready: Vec::new() }
    }

    /// Watches the sockets of all listeners.
    pub(super) fn watch(&self, poller: &Poller) -> io::Result<()> {
        for (number, port) in (0..FIRST_STREAM).zip(&self.ports) {
            if let Some(port) = port {
                poller.watch(id(number), port.as_fd())?;
            }
        }
        Ok(())
    }

    /// Takes a stream in; one that cannot be watched is closed.
    pub(super) fn adopt(&mut self, poller: &Poller, number: u16, listener: u8, from: SocketAddr, stream: TcpStream) {
        let handed = HandedStream { stream, unread: Vec::new(), unsent: Vec::new() };
        let Ok(stream) = OuterStream::new(handed) else { return };
        let place = usize::from(number.saturating_sub(FIRST_STREAM));
        if self.streams.len() <= place {
            self.streams.resize_with(place + 1, || None);
        }
        if poller.watch(id(number), stream.as_fd()).is_ok() {
            self.streams[place] = Some(Stream { stream, listener, from });
        }
    }

    pub(super) fn close(&mut self, poller: &Poller, number: u16) {
        if let Some(stream) = self.place(number).and_then(Option::take) {
            poller.forget(stream.stream.as_fd());
        }
    }

    /// The socket of a listener.
    pub(super) fn port(&self, number: u16) -> Option<&UdpPort> {
        self.ports.get(usize::from(number))?.as_ref()
    }

    /// At which listener what this number brings came in.
    pub(super) fn listener(&mut self, number: u16) -> u8 {
        match u8::try_from(number) {
            Ok(listener) => listener,
            Err(_) => self.place(number).and_then(|place| place.as_ref()).map_or(u8::MAX, |stream| stream.listener),
        }
    }

    /// Reads a stream; where its packets came from. Where it is over, it is not watched any more.
    pub(super) fn receive_stream(
        &mut self,
        poller: &Poller,
        number: u16,
        into: &mut ReceiveBatch,
    ) -> Option<(Origin, Result<usize, SocketError>)> {
        let stream = self.place(number)?.as_mut()?;
        let origin = Origin { listener: stream.listener, from: stream.from, stream: Some(number) };
        let received = stream.stream.receive(into);
        if matches!(received, Err(SocketError::Ended(_))) {
            poller.forget(stream.stream.as_fd());
        }
        Some((origin, received))
    }

    /// Sends a train on the way to a client.
    ///
    /// # Errors
    /// It was not sent, or only its beginning.
    pub(super) fn send(&mut self, poller: &Poller, path: Path, train: &Train<'_>) -> Result<(), SocketError> {
        match path {
            Path::Datagrams { listener, to } => {
                let port = self.ports.get_mut(usize::from(listener)).and_then(Option::as_mut);
                let port = port.ok_or(SocketError::Passing(io::ErrorKind::NotConnected))?;
                Ok(port.send(to, train)?)
            }
            Path::Stream(number) => self.send_stream(poller, number, train),
        }
    }

    /// Sends a train by a stream; what has no room waits in it, and it is watched for room meanwhile.
    pub(super) fn send_stream(&mut self, poller: &Poller, number: u16, train: &Train<'_>) -> Result<(), SocketError> {
        self.with_stream(poller, number, |stream| stream.send(train))
    }

    /// Sends on what waited for room.
    pub(super) fn use_room(&mut self, poller: &mut Poller) {
        while let Some(number) = poller.take_writable() {
            if self.with_stream(poller, number.number(), OuterStream::flush).is_err() {
                poller.mark_ready(number);
            }
        }
    }

    fn with_stream<T>(
        &mut self,
        poller: &Poller,
        number: u16,
        work: impl FnOnce(&mut OuterStream) -> Result<T, SocketError>,
    ) -> Result<T, SocketError> {
        let stream = self.place(number).and_then(Option::as_mut);
        let stream = &mut stream.ok_or(SocketError::Passing(io::ErrorKind::NotConnected))?.stream;
        let waited = stream.wants_room();
        let done = work(stream);
        if stream.wants_room() != waited {
            // Where it cannot be watched, the next packet tries again.
            let _ = poller.watch_room(id(number), stream.as_fd(), stream.wants_room());
        }
        done
    }

    fn place(&mut self, number: u16) -> Option<&mut Option<Stream>> {
        self.streams.get_mut(usize::from(number.checked_sub(FIRST_STREAM)?))
    }
}
