//! One tunnel's TCP stream: packets with two bytes of length before each (openvpn-protocol.md section 1.4). What a
//! train holds leaves with one call, the lengths as pieces of their own; what came is read with one call and cut where
//! it lies. Order is kept and nothing waits: what the stream does not take is queued up to a bound, and then refused. It
//! knows nothing of what it carries.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use mrvpn_proto::stream::{LENGTH, first_packet, frame_length};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg};
use socket2::SockRef;

use crate::lane::limits::{STREAM_QUEUE, STREAM_READ, STREAM_UNSENT, TRAIN_DATAGRAMS};
use crate::lane::{ReceiveBatch, SocketError, Train};

/// Pieces of one train: a length and a packet each.
const PIECES: usize = 2 * TRAIN_DATAGRAMS;

/// A stream as it is handed over by who made the session.
#[derive(Debug)]
pub struct HandedStream {
    /// The connected stream.
    pub stream: TcpStream,
    /// What was read of it and is not taken yet, from the beginning of a packet on.
    pub unread: Vec<u8>,
    /// What still has to be sent before anything else.
    pub unsent: Vec<u8>,
}

/// A stream and what is on its way in it.
pub struct OuterStream {
    stream: TcpStream,
    /// The beginning of a packet whose rest has not come; at first all that came before the lane had the stream.
    unread: Vec<u8>,
    unsent: VecDeque<u8>,
    /// How the stream ended.
    end: Option<ErrorKind>,
}

impl OuterStream {
    /// Makes a connected stream ready: non-blocking, no waiting for fuller segments, little unsent in the kernel.
    ///
    /// # Errors
    /// The stream refuses to be non-blocking.
    pub fn new(handed: HandedStream) -> io::Result<Self> {
        let HandedStream { stream, unread, unsent } = handed;
        stream.set_nonblocking(true)?;
        // Without these it is slower, no more.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_notsent_lowat(STREAM_UNSENT);
        Ok(Self { stream, unread, unsent: unsent.into(), end: None })
    }

    /// Its descriptor, for a poll.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Whether something waits for room in the stream.
    #[must_use]
    pub fn wants_room(&self) -> bool {
        !self.unsent.is_empty() && self.end.is_none()
    }

    /// Whether something was read that is not taken yet.
    #[must_use]
    pub const fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Reads what has come, and says where its packets lie.
    ///
    /// # Errors
    /// [`SocketError::Ended`] once the stream is over and all that came before was given out.
    pub fn receive(&mut self, into: &mut ReceiveBatch) -> Result<usize, SocketError> {
        let kept = self.unread.len().min(STREAM_READ);
        let space = into.space();
        space[..kept].copy_from_slice(&self.unread[..kept]);
        // What was handed over comes before what is read.
        let whole = kept == self.unread.len();
        let more = if whole { self.read(&mut space[kept..STREAM_READ.max(kept + 1)]) } else { 0 };
        let filled = kept + more;
        if filled >= STREAM_READ {
            into.has_more();
        }
        let taken = self.cut(into, filled);
        self.unread.drain(..kept);
        let rest = &into.space()[taken..filled];
        // What had no room stays behind what had.
        self.unread.splice(..0, rest.iter().copied());
        match self.end {
            Some(error) if into.count() == 0 => Err(SocketError::Ended(error)),
            Some(_) | None => Ok(into.count()),
        }
    }

    /// Sends a train, after what still waits.
    ///
    /// # Errors
    /// The stream is over, or too much waits already: none of the train was taken.
    pub fn send(&mut self, train: &Train<'_>) -> Result<(), SocketError> {
        self.flush()?;
        if !self.unsent.is_empty() {
            return self.queue(train);
        }
        let mut lengths = [[0; LENGTH]; TRAIN_DATAGRAMS];
        for (length, packet) in lengths.iter_mut().zip(train.datagrams()) {
            *length = frame_length(packet).map_err(|_| SocketError::Passing(ErrorKind::InvalidInput))?;
        }
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let parts = lengths.iter().zip(train.datagrams()).flat_map(|(length, packet)| [&length[..], packet]);
        for (piece, part) in pieces.iter_mut().zip(parts) {
            *piece = IoSlice::new(part);
        }
        let pieces = &pieces[..2 * train.len().min(TRAIN_DATAGRAMS)];
        let mut sent = self.write(pieces)?;
        for piece in pieces {
            let whole = sent.min(piece.len());
            self.unsent.extend(&piece[whole..]);
            sent -= whole;
        }
        Ok(())
    }

    /// Sends what waits, as far as there is room.
    ///
    /// # Errors
    /// The stream is over.
    pub fn flush(&mut self) -> Result<(), SocketError> {
        while !self.unsent.is_empty() {
            let (front, back) = self.unsent.as_slices();
            let sent = write(&self.stream, &[IoSlice::new(front), IoSlice::new(back)]);
            match self.judge(sent)? {
                0 => break,
                sent => drop(self.unsent.drain(..sent)),
            }
        }
        Ok(())
    }

    /// Puts a train behind what waits, whole or not at all.
    fn queue(&mut self, train: &Train<'_>) -> Result<(), SocketError> {
        if self.unsent.len() + train.bytes().len() + LENGTH * train.len() > STREAM_QUEUE {
            return Err(SocketError::Passing(ErrorKind::WouldBlock));
        }
        for packet in train.datagrams() {
            let length = frame_length(packet).map_err(|_| SocketError::Passing(ErrorKind::InvalidInput))?;
            self.unsent.extend(&length);
            self.unsent.extend(packet);
        }
        Ok(())
    }

    /// Finds the packets in what was read; returns where the first one that is not whole begins.
    fn cut(&mut self, into: &mut ReceiveBatch, filled: usize) -> usize {
        let mut taken = 0;
        loop {
            match first_packet(&into.space()[taken..filled]) {
                Ok(Some(place)) => {
                    into.packet(taken + place.start..taken + place.end);
                    taken += place.end;
                }
                Ok(None) => return taken,
                Err(_) => {
                    self.end = Some(ErrorKind::InvalidData);
                    return filled;
                }
            }
        }
    }

    /// Reads once; 0 when nothing has come or the stream is over, which `end` says.
    fn read(&mut self, space: &mut [u8]) -> usize {
        if self.end.is_some() {
            return 0;
        }
        match recv(&self.stream, space, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => self.end = Some(ErrorKind::UnexpectedEof),
            Ok((_, read)) => return read,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => self.end = Some(io::Error::from(errno).kind()),
        }
        0
    }

    fn write(&mut self, pieces: &[IoSlice<'_>]) -> Result<usize, SocketError> {
        let sent = write(&self.stream, pieces);
        self.judge(sent)
    }

    /// No room is no error; everything else ends a stream.
    fn judge(&mut self, sent: Result<usize, Errno>) -> Result<usize, SocketError> {
        match (self.end, sent) {
            (Some(error), _) => Err(SocketError::Ended(error)),
            (None, Ok(sent)) => Ok(sent),
            (None, Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::NOMEM)) => Ok(0),
            (None, Err(errno)) => {
                let error = io::Error::from(errno).kind();
                self.end = Some(error);
                Err(SocketError::Ended(error))
            }
        }
    }
}

fn write(stream: &TcpStream, pieces: &[IoSlice<'_>]) -> Result<usize, Errno> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg(stream, pieces, &mut SendAncillaryBuffer::default(), flags)
}
