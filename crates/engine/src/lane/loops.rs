//! Outer packets that come back into the interface. A tunnel whose server is a wrapper on this host (stunnel, obfs4)
//! sends to loopback, and what the wrapper sends on is not marked as ours: where its own peer is captured, each packet
//! would be sealed again and again. What such a tunnel sealed last is known here by its beginning. That the tunnel then
//! stops is the fleet's; a wrapper that encrypts what it is given cannot be seen through.

use mrvpn_router::packet::ip::Ip;
use mrvpn_router::packet::{protocol, udp};

use super::limits::{LOOP_HEAD, LOOP_MEMORY, LOOP_STRIDE};

/// The beginnings of what one tunnel has sealed: of the last datagrams, and of every few before them, so that a loop is found
/// even where more are under way than are known.
#[derive(Debug, Default)]
pub(crate) struct SentHeads {
    last: Ring,
    before: Ring,
    count: usize,
}

/// The beginnings of a few datagrams; the oldest is forgotten for a new one.
#[derive(Debug)]
struct Ring {
    heads: [[u8; LOOP_HEAD]; LOOP_MEMORY],
    next: usize,
    filled: usize,
}

impl Default for Ring {
    fn default() -> Self {
        Self { heads: [[0; LOOP_HEAD]; LOOP_MEMORY], next: 0, filled: 0 }
    }
}

impl Ring {
    fn note(&mut self, head: [u8; LOOP_HEAD]) {
        self.heads[self.next] = head;
        self.next = (self.next + 1) % LOOP_MEMORY;
        self.filled = (self.filled + 1).min(LOOP_MEMORY);
    }

    fn has(&self, head: &[u8; LOOP_HEAD]) -> bool {
        self.heads[..self.filled].contains(head)
    }
}

impl SentHeads {
    /// Remembers a sealed datagram. One that is shorter than a head is none of ours.
    pub(crate) fn note(&mut self, datagram: &[u8]) {
        let Some(head) = datagram.first_chunk::<LOOP_HEAD>() else { return };
        self.last.note(*head);
        if self.count.is_multiple_of(LOOP_STRIDE) {
            self.before.note(*head);
        }
        self.count = self.count.wrapping_add(1);
    }

    /// Whether the payload begins as one that is remembered.
    pub(crate) fn has(&self, payload: &[u8]) -> bool {
        payload.first_chunk::<LOOP_HEAD>().is_some_and(|head| self.last.has(head) || self.before.has(head))
    }
}

/// What a UDP packet carries, as far as it is in this fragment; `None` for any other packet and later fragments.
pub(crate) fn udp_payload(packet: &[u8]) -> Option<&[u8]> {
    let ip = Ip::parse(packet).ok().filter(|ip| ip.protocol == protocol::UDP && !ip.fragment.is_later())?;
    ip.payload(packet).get(udp::HEADER..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::sample;

    #[test]
    fn what_was_sealed_lately_is_known_by_its_beginning() {
        let mut heads = SentHeads::default();
        assert!(!heads.has(&[0; 100]), "nothing was sealed");
        let datagram = |number: usize| [&number.to_be_bytes().repeat(LOOP_HEAD / 8)[..], b"sealed"].concat();
        let many = LOOP_MEMORY * LOOP_STRIDE;
        (0..many).for_each(|number| heads.note(&datagram(number)));
        let known = |number: &usize| heads.has(&datagram(*number));
        assert!((many - LOOP_MEMORY..many).all(|number| known(&number)), "the last ones");
        assert!((0..many).step_by(LOOP_STRIDE).all(|number| known(&number)), "every few before them");
        assert_eq!((0..many).filter(known).count(), 2 * LOOP_MEMORY - LOOP_MEMORY / LOOP_STRIDE);
        heads.note(&[9; LOOP_HEAD - 1]);
        assert!(!heads.has(&[9; LOOP_HEAD - 1]), "too short to be told from others");
    }

    #[test]
    fn only_the_beginning_of_a_udp_packet_has_a_payload() {
        let packet = sample::udp(b"payload");
        assert_eq!(udp_payload(&packet), Some(&b"payload"[..]));
        let mut tcp = packet.clone();
        tcp[9] = 6;
        assert_eq!(udp_payload(&tcp), None);
        let mut later = packet;
        later[7] = 1;
        assert_eq!(udp_payload(&later), None);
        assert_eq!(udp_payload(&[]), None);
    }
}
