//! Netlink messages by hand, for the two families whose packet libraries do not have what is needed: nftables (no `ct`,
//! no `fib`) and socket lists. A message is a kind, flags and a body of attributes; what they mean is their user's. The
//! routing socket is [`mod@crate::netlink`]'s.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic))]

use std::io;

use netlink_sys::{Socket, SocketAddr};

pub(crate) mod attribute; // a type, a length, a value

pub(crate) use attribute::Attributes;

/// Bytes of a message's header (`struct nlmsghdr`).
const HEADER: usize = 16;
/// Messages begin at multiples of this (NLMSG_ALIGNTO).
const ALIGN: usize = 4;
/// Kinds that netlink itself has (linux/netlink.h).
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// Flags of a message.
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const DUMP_INTERRUPTED: u16 = 0x10;
/// A dump that changed meanwhile is asked for again this often.
const DUMP_TRIES: u32 = 5;

/// One message, to the kernel or from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Its kind.
    pub(crate) kind: u16,
    /// Flags beyond those that every request has.
    pub(crate) flags: u16,
    /// What follows the header.
    pub(crate) body: Vec<u8>,
}

/// A message that came, with the number of the request that it answers.
struct Received<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

/// Why a batch was refused.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Place of the message; `None` where it was the batch as a whole.
    pub(crate) place: Option<usize>,
    /// The kernel's reason.
    pub(crate) source: io::Error,
}

/// A netlink socket of the network namespace of the thread that opened it.
pub(crate) struct RawNetlink {
    socket: Socket,
    sequence: u32,
}

impl RawNetlink {
    /// Opens a socket of a protocol (`NETLINK_...`).
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends messages as one datagram, in which the first and the last are brackets that are not answered; waits for the
    /// answer to the last but one.
    pub(crate) fn batch(&mut self, messages: &[Message]) -> Result<(), Refused> {
        let whole = |source| Refused { place: None, source };
        let first = self.sequence.wrapping_add(1);
        let last_answered = messages.len().saturating_sub(2);
        let mut datagram = Vec::new();
        for (place, message) in messages.iter().enumerate() {
            let ack = if place == last_answered { ACK } else { 0 };
            self.put(&mut datagram, message, ack);
        }
        make_room(&self.socket, datagram.len()).map_err(whole)?;
        self.socket.send(&datagram, 0).map_err(whole)?;
        self.batch_answer(first, last_answered)
    }

    /// The first error, or that the message at `last` was carried out.
    fn batch_answer(&self, first: u32, last: usize) -> Result<(), Refused> {
        let mut refused = None;
        loop {
            let (datagram, _) = self.socket.recv_from_full().map_err(|source| Refused { place: None, source })?;
            for received in Messages(&datagram).filter(|received| received.kind == ERROR) {
                let Ok(place) = usize::try_from(received.sequence.wrapping_sub(first)) else { continue };
                if place > last {
                    continue; // the answer to something older
                }
                if let Err(source) = code(received.body) {
                    refused.get_or_insert_with(|| Refused { place: place.checked_sub(1), source });
                }
                // An error of the opening bracket is the last that comes.
                if place == last || (place == 0 && refused.is_some()) {
                    return refused.map_or(Ok(()), Err);
                }
            }
        }
    }

    /// Asks for one thing, which the kernel answers with one message or an error.
    pub(crate) fn one(&mut self, message: &Message) -> io::Result<Message> {
        let mut request = Vec::new();
        self.put(&mut request, message, 0);
        self.socket.send(&request, 0)?;
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let answer = Messages(&datagram).find(|received| received.sequence == self.sequence);
            if let Some(Received { kind, body, .. }) = answer {
                if kind == ERROR {
                    code(body)?;
                }
                return Ok(Message { kind, flags: 0, body: body.to_vec() });
            }
        }
    }

    /// Asks for everything of a kind; the bodies of the answers. A list that changed while it was read is read again.
    pub(crate) fn dump(&mut self, message: &Message) -> io::Result<Vec<Message>> {
        for _ in 0..DUMP_TRIES {
            match self.dump_once(message) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
        Err(io::Error::new(io::ErrorKind::Interrupted, "the kernel's list changed each time it was read"))
    }

    fn dump_once(&mut self, message: &Message) -> io::Result<Vec<Message>> {
        let mut request = Vec::new();
        self.put(&mut request, message, DUMP);
        self.socket.send(&request, 0)?;
        let (mut answers, mut interrupted) = (Vec::new(), false);
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            for received in Messages(&datagram).filter(|received| received.sequence == self.sequence) {
                interrupted |= received.flags & DUMP_INTERRUPTED != 0;
                match received.kind {
                    ERROR => code(received.body)?,
                    DONE if interrupted => return Err(io::ErrorKind::Interrupted.into()),
                    DONE => return Ok(answers),
                    kind => answers.push(Message { kind, flags: 0, body: received.body.to_vec() }),
                }
            }
        }
    }

    fn put(&mut self, datagram: &mut Vec<u8>, message: &Message, flags: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let length =
            u32::try_from(HEADER.saturating_add(message.body.len())).expect("messages are cut far below 4 GiB");
        datagram.extend(length.to_ne_bytes());
        datagram.extend(message.kind.to_ne_bytes());
        datagram.extend((REQUEST | message.flags | flags).to_ne_bytes());
        datagram.extend(self.sequence.to_ne_bytes());
        datagram.extend([0; 4]);
        datagram.extend(&message.body);
        datagram.resize(datagram.len().next_multiple_of(ALIGN), 0);
    }
}

/// A datagram must fit the socket's buffer as a whole.
fn make_room(socket: &Socket, length: usize) -> io::Result<()> {
    use rustix::net::sockopt::{set_socket_send_buffer_size_force, socket_send_buffer_size};
    let socket = std::os::fd::AsFd::as_fd(socket);
    let needed = length.saturating_mul(2);
    if socket_send_buffer_size(socket)? < needed {
        // Without CAP_NET_ADMIN it stays as it is, and what is sent is refused for that reason anyway.
        let _ = set_socket_send_buffer_size_force(socket, needed);
    }
    Ok(())
}

/// The messages of one datagram.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Received<'a>;

    fn next(&mut self) -> Option<Received<'a>> {
        let (header, _) = self.0.split_first_chunk::<HEADER>()?;
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
        let body = self.0.get(HEADER..length)?;
        self.0 = self.0.get(length.checked_next_multiple_of(ALIGN)?..).unwrap_or_default();
        Some(Received {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            body,
        })
    }
}

/// What an ERROR message says: 0 is "done".
fn code(body: &[u8]) -> io::Result<()> {
    let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.saturating_abs())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(sequence: u32, code: i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [36u32, u32::from(ERROR), sequence, 0] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(code.to_ne_bytes());
        bytes.extend([0; 16]);
        bytes
    }

    #[test]
    fn messages_of_a_datagram_are_told_apart() {
        let datagram = [error(3, 0), error(4, -libc::ENOENT)].concat();
        let seen: Vec<_> =
            Messages(&datagram).map(|received| (received.sequence, code(received.body).is_ok())).collect();
        assert_eq!(seen, [(3, true), (4, false)]);
    }

    #[test]
    fn no_cut_or_flipped_datagram_stops_the_reader() {
        let whole = [error(3, 0), error(4, -1)].concat();
        for end in 0..whole.len() {
            Messages(&whole[..end]).for_each(|received| drop(code(received.body)));
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            Messages(&bytes).for_each(|received| drop(code(received.body)));
        }
    }
}
