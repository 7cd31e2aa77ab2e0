//! Packets in an outer TCP stream, in whatever pieces it comes.

use mrvpn_proto::limits::STREAM_PACKET;
use mrvpn_proto::stream::{Framer, LENGTH, StreamError, frame_length};
use proptest::prelude::*;

fn framed(packets: &[Vec<u8>]) -> Vec<u8> {
    packets.iter().flat_map(|packet| [frame_length(packet).unwrap().to_vec(), packet.clone()].concat()).collect()
}

/// Reads `stream` as a socket would give it: `pieces` bytes at a time, in turns.
fn read(stream: &[u8], pieces: &[usize], capacity: usize) -> Result<Vec<Vec<u8>>, StreamError> {
    let mut framer = Framer::new(capacity);
    let mut sizes = pieces.iter().cycle();
    let (mut rest, mut found) = (stream, Vec::new());
    while !rest.is_empty() {
        let spare = framer.spare();
        let len = (*sizes.next().unwrap()).clamp(1, rest.len()).min(spare.len());
        spare[..len].copy_from_slice(&rest[..len]);
        framer.filled(len);
        rest = &rest[len..];
        let mut places = Vec::new();
        while let Some(place) = framer.next_packet()? {
            places.push(place);
        }
        // All of one read at once: no place is void before the next read.
        found.extend(places.into_iter().map(|place| framer.packet(place).to_vec()));
    }
    assert!(framer.pending().is_empty());
    Ok(found)
}

proptest! {
    #[test]
    fn any_split_of_any_packets_gives_the_same_packets(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..600), 0..20),
        pieces in prop::collection::vec(1_usize..3_000, 1..8),
        capacity in 0_usize..20_000,
    ) {
        prop_assert_eq!(read(&framed(&packets), &pieces, capacity), Ok(packets));
    }

    // proves: T-48
    #[test]
    fn any_bytes_give_packets_or_an_end_and_never_more_than_they_hold(
        stream in prop::collection::vec(any::<u8>(), 0..4_000),
        piece in 1_usize..500,
    ) {
        let mut framer = Framer::new(0);
        let mut total = 0;
        for bytes in stream.chunks(piece) {
            prop_assert_eq!(framer.push(bytes), bytes.len());
            while let Ok(Some(place)) = framer.next_packet() {
                total += LENGTH + place.len();
                prop_assert!(!framer.packet(place).is_empty());
            }
            if framer.next_packet().is_err() {
                break;
            }
        }
        prop_assert!(total <= stream.len());
    }
}

#[test]
fn one_byte_at_a_time_gives_every_packet() {
    let packets = vec![vec![0x38; 14], vec![1], vec![2; STREAM_PACKET]];
    assert_eq!(read(&framed(&packets), &[1], 0), Ok(packets));
}

// proves: T-48
#[test]
fn a_length_of_nothing_or_beyond_the_limit_ends_the_stream() {
    for (length, expected) in [
        (0, Err(StreamError::Empty)),
        (1, Ok(None)),
        (STREAM_PACKET - 1, Ok(None)),
        (STREAM_PACKET, Ok(None)),
        (STREAM_PACKET + 1, Err(StreamError::Long(STREAM_PACKET + 1))),
        (65_535, Err(StreamError::Long(65_535))),
    ] {
        let mut framer = Framer::new(0);
        framer.push(&u16::try_from(length).unwrap().to_be_bytes());
        assert_eq!(framer.next_packet(), expected, "{length}");
        assert_eq!(framer.next_packet(), expected, "the stream stays as it is");
    }
}

#[test]
fn what_a_peer_would_refuse_is_not_framed() {
    assert_eq!(frame_length(&[]), Err(StreamError::Empty));
    assert_eq!(frame_length(&[0; 14]), Ok([0, 14]));
    assert_eq!(frame_length(&vec![0; STREAM_PACKET]), Ok([0x24, 0]));
    assert_eq!(frame_length(&vec![0; STREAM_PACKET + 1]), Err(StreamError::Long(STREAM_PACKET + 1)));
}

#[test]
fn the_rest_of_a_stream_can_be_handed_on() {
    let mut first = Framer::new(0);
    first.push(&[0, 2, 7, 7, 0, 3, 8]);
    assert_eq!(first.next_packet(), Ok(Some(2..4)));
    let mut second = Framer::new(0);
    second.push(first.pending());
    assert_eq!(second.next_packet(), Ok(None));
    second.push(&[8, 8]);
    let place = second.next_packet().unwrap().unwrap();
    assert_eq!(second.packet(place), [8, 8, 8]);
}

#[test]
fn a_full_buffer_takes_no_more_than_it_holds() {
    let mut framer = Framer::new(0);
    let capacity = framer.spare().len();
    assert_eq!(framer.push(&vec![1; capacity + 5]), capacity);
    framer.filled(5);
    assert_eq!(framer.pending().len(), capacity);
}
