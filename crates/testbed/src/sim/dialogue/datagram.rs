//! What a datagram says, in a line: opcode, key id, session, message id, acknowledgements, size. It reads what is wrapped by
//! the profile's own key; of a packet with another one only what stands in clear.

use std::fmt::Write as _;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::Wrap;
use mrvpn_proto::control::{ControlHead, ControlPacket};
use mrvpn_proto::is_data;
use mrvpn_proto::opcode::{KeyId, Opcode};
use mrvpn_proto::wrapping::{Side, Wrapper};

/// Reads the datagrams of both sides. It takes part in nothing.
#[derive(Debug)]
pub struct Reader {
    client: Wrapper,
    server: Wrapper,
}

impl Reader {
    /// For a wrapping in the words of the client's profile.
    #[must_use]
    pub fn new(wrap: &Wrap, wall: WallTime) -> Self {
        Self { client: Wrapper::new(wrap, Side::Client, wall), server: Wrapper::new(wrap, Side::Server, wall) }
    }

    /// What a datagram from this side says.
    #[must_use]
    pub fn describe(&self, from: Side, datagram: &[u8], now: Moment) -> String {
        let Some(first) = datagram.first() else { return String::from("nothing, 0 bytes") };
        let mut text = format!("{:?} key {}", Opcode::of(*first), KeyId::of(*first).get());
        if is_data(*first) {
            text.push_str(&data(datagram));
        } else {
            let wrapper = match from {
                Side::Client => &self.server,
                Side::Server => &self.client,
            };
            match wrapper
                .unwrap(datagram, now)
                .ok()
                .and_then(|unwrapped| unwrapped.packet().ok().map(|it| control(&it)))
            {
                Some(what) => text.push_str(&what),
                None => text.push_str(&head(datagram)),
            }
        }
        // Writing to a string cannot fail.
        let _ = write!(text, ", {} bytes", datagram.len());
        text
    }
}

fn control(packet: &ControlPacket<'_>) -> String {
    let mut text = format!(" session {}", packet.head.session);
    if let Some(id) = packet.message {
        let _ = write!(text, " message {id}");
    }
    if !packet.acks.ids().is_empty() {
        let ids: Vec<String> = packet.acks.ids().iter().map(ToString::to_string).collect();
        let _ = write!(text, " acks {}", ids.join(" "));
    }
    text
}

fn head(datagram: &[u8]) -> String {
    match ControlHead::parse(datagram) {
        Ok((head, _)) => format!(" session {} (not readable)", head.session),
        Err(_) => String::from(" (broken)"),
    }
}

/// Peer id and packet id.
fn data(datagram: &[u8]) -> String {
    match datagram.first_chunk() {
        Some(&[_, p, q, r, a, b, c, d]) => {
            format!(" peer {} packet {}", u32::from_be_bytes([0, p, q, r]), u32::from_be_bytes([a, b, c, d]))
        }
        None => String::from(" (broken)"),
    }
}
