//! The kernel's routing socket: one request, one answer, blocking. It knows messages and errors and nothing of plans;
//! what each message says is in the modules below. The socket belongs to the network namespace of the thread that opened
//! it, wherever it is used.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the packet library's enums name everything that the kernel can say, and more with each release"
)]

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::RouteProtocol;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

pub(crate) mod address; // addresses of the device
pub(crate) mod foreign; // policy rules of others, and where they lead
pub(crate) mod link; // the device itself
pub(crate) mod route; // routes in tables of ours
pub(crate) mod rule; // policy rules

/// On every route and policy rule of ours: by this number they are found after a crash. Not in use by any routing
/// daemon (iproute2, rt_protos).
pub const PROTOCOL: u8 = 77;

/// Netlink messages begin at multiples of this (NLMSG_ALIGNTO).
const ALIGN: usize = 4;
/// A dump that changed meanwhile is asked for again this often.
const DUMP_TRIES: u32 = 5;

/// Our number as the packet library has it.
pub(crate) const OURS: RouteProtocol = RouteProtocol::Other(PROTOCOL);

/// A routing socket.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens a socket in this thread's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Adds something that is not there; `AlreadyExists` when it is.
    pub(crate) fn add(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.request(message, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK).map(drop)
    }

    /// Changes or removes something.
    pub(crate) fn change(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.request(message, NLM_F_ACK).map(drop)
    }

    /// Asks for one thing.
    pub(crate) fn get(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.request(message, NLM_F_ACK)
    }

    /// Asks for everything of a kind. A list that changed while it was read is read again; a kernel without the family
    /// that is asked for has nothing of it.
    pub(crate) fn dump(&mut self, message: &RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        for _ in 0..DUMP_TRIES {
            match self.request(message.clone(), NLM_F_DUMP) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_without_family(&error) => return Ok(Vec::new()),
                other => return other,
            }
        }
        Err(io::Error::new(io::ErrorKind::Interrupted, "the kernel's list changed each time it was read"))
    }

    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
        packet.finalize();
        let mut buffer = vec![0; packet.buffer_len()];
        packet.serialize(&mut buffer);
        self.socket.send(&buffer, 0)?;
        self.answer()
    }

    fn answer(&self) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut answer = Answer::default();
        while !answer.complete {
            let (datagram, _) = self.socket.recv_from_full()?;
            answer.take(&datagram, self.sequence)?;
        }
        if answer.interrupted { Err(io::ErrorKind::Interrupted.into()) } else { Ok(answer.messages) }
    }
}

/// What has come so far.
#[derive(Default)]
struct Answer {
    messages: Vec<RouteNetlinkMessage>,
    complete: bool,
    interrupted: bool,
}

impl Answer {
    fn take(&mut self, datagram: &[u8], sequence: u32) -> io::Result<()> {
        let mut rest = datagram;
        while let Some(length) = message_length(rest) {
            let (message, after) = rest.split_at(length);
            rest = after.get(padding(length)..).unwrap_or_default();
            // Kinds of attribute that the library cannot read are no reason to stop: such a message is of no interest.
            match NetlinkMessage::<RouteNetlinkMessage>::deserialize(message) {
                Ok(message) if message.header.sequence_number == sequence => self.take_one(message)?,
                Ok(_) => {}
                Err(error) => tracing::trace!(%error, "netlink message passed over"),
            }
        }
        Ok(())
    }

    fn take_one(&mut self, message: NetlinkMessage<RouteNetlinkMessage>) -> io::Result<()> {
        let (header, payload) = message.into_parts();
        self.interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
        match payload {
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => self.complete = true,
            NetlinkPayload::InnerMessage(message) => self.messages.push(message),
            NetlinkPayload::Overrun(_) => return Err(io::Error::other("netlink overrun")),
            _ => {}
        }
        Ok(())
    }
}

/// Whether the kernel does not speak the address family at all.
pub(crate) fn is_without_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP))
}

/// Length of the first message in `bytes`, from its header; `None` at the end.
fn message_length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_ne_bytes(*bytes.first_chunk::<4>()?);
    let length = usize::try_from(length).ok()?;
    (16..=bytes.len()).contains(&length).then_some(length)
}

const fn padding(length: usize) -> usize {
    length.next_multiple_of(ALIGN) - length
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An acknowledgement with an error of ENODEV, as the kernel sends it, of request 7.
    fn refusal() -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [36u32, 2, 7, 0] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend((-libc::ENODEV).to_ne_bytes());
        for word in [16u32, 24, 7, 0] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn a_refusal_is_the_systems_own_error() {
        let error = Answer::default().take(&refusal(), 7).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn an_answer_to_another_request_is_passed_over() {
        let mut answer = Answer::default();
        answer.take(&refusal(), 8).unwrap();
        assert!(!answer.complete && answer.messages.is_empty());
    }

    #[test]
    fn no_cut_or_flipped_answer_stops_the_reader() {
        let whole = refusal();
        for end in 0..whole.len() {
            let _ = Answer::default().take(&whole[..end], 7);
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            let _ = Answer::default().take(&bytes, 7);
        }
    }
}
