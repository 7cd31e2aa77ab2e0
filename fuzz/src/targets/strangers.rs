//! What anyone can send: answers to lookups, and bytes of an outer stream.

use std::hint::black_box;

use mrvpn_engine::bootstrap::{Answer, Question, answer, in_hosts_file, in_resolv_conf};
use mrvpn_proto::limits::STREAM_PACKET;
use mrvpn_proto::stream::{Framer, LENGTH, first_packet};

/// An answer to the question for `vpn.example` with id 0x1234; the same bytes as a hosts file and a resolv.conf.
pub fn dns_answer(bytes: &[u8]) {
    for family in [Question::Ipv4, Question::Ipv6] {
        if let Some(Answer::Addresses(list)) = answer(bytes, "vpn.example", family, 0x1234) {
            assert!(list.iter().all(|ip| ip.is_ipv4() == (family == Question::Ipv4)));
        }
    }
    let text = String::from_utf8_lossy(bytes);
    black_box(in_hosts_file(&text, "vpn.example"));
    black_box(in_resolv_conf(&text));
}

/// A stream that comes in pieces of as many bytes as the first byte says.
pub fn stream(bytes: &[u8]) {
    let Some((piece, stream)) = bytes.split_first() else { return };
    let mut framer = Framer::new(0);
    let (mut rest, mut ended) = (stream, false);
    for bytes in stream.chunks(usize::from(*piece).max(1)) {
        assert_eq!(framer.push(bytes), bytes.len(), "there is always room for a piece");
        while let Ok(Some(place)) = framer.next_packet() {
            assert!((1..=STREAM_PACKET).contains(&place.len()));
            let whole = first_packet(rest).ok().flatten().map(|place| &rest[place]);
            assert_eq!(whole, Some(&*framer.packet(place.clone())), "as if it had come at once");
            rest = &rest[LENGTH + place.len()..];
        }
        ended = framer.next_packet().is_err();
        if ended {
            break;
        }
    }
    if !ended {
        assert_eq!(framer.pending(), rest, "no byte is lost");
    }
}
