//! Outer packets that come back into the interface. A tunnel whose server is a wrapper on this host (stunnel, obfs4)
//! sends to loopback, and what the wrapper sends on is not marked as ours: where its own peer is captured, each packet
//! would be sealed again and again. What such a tunnel sealed last is known here by its beginning. That the tunnel then
//! stops is the fleet's; a wrapper that encrypts what it is given cannot be seen through.

use mrvpn_router::packet::ip::Ip;
use mrvpn_router::packet::{protocol, udp};

use super::limits::{LOOP_HEAD, LOOP_MEMORY};

/// The beginnings of what one tunnel sealed last.
#[derive(Debug)]
pub(crate) struct SentHeads {
    heads: [[u8; LOOP_HEAD]; LOOP_MEMORY],
    next: usize,
    filled: usize,
}

impl Default for SentHeads {
    fn default() -> Self {
        Self { heads: [[0; LOOP_HEAD]; LOOP_MEMORY], next: 0, filled: 0 }
    }
}

impl SentHeads {
    /// Remembers a sealed datagram; the oldest is forgotten for it. One that is shorter than a head is none of ours.
    pub(crate) fn note(&mut self, datagram: &[u8]) {
        let Some(head) = datagram.first_chunk::<LOOP_HEAD>() else { return };
        self.heads[self.next] = *head;
        self.next = (self.next + 1) % LOOP_MEMORY;
        self.filled = (self.filled + 1).min(LOOP_MEMORY);
    }

    /// Whether the payload begins as one that was sealed lately.
    pub(crate) fn has(&self, payload: &[u8]) -> bool {
        let Some(head) = payload.first_chunk::<LOOP_HEAD>() else { return false };
        self.heads[..self.filled].contains(head)
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
        let datagram = |number: u8| [&[number; LOOP_HEAD][..], b"sealed"].concat();
        assert!(!heads.has(&[0; 100]), "nothing was sealed");
        let memory = u8::try_from(LOOP_MEMORY).unwrap();
        (0..=memory).for_each(|number| heads.note(&datagram(number)));
        assert!(!heads.has(&datagram(0)), "the oldest is forgotten");
        assert!((1..=memory).all(|number| heads.has(&datagram(number))));
        assert!(!heads.has(&[1; LOOP_HEAD - 1]));
        heads.note(&[9; LOOP_HEAD - 1]);
        assert!(!heads.has(&[200; LOOP_HEAD]));
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
