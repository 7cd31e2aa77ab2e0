//! Sealing and opening: in place, once, and nothing that was touched.

use mrvpn_clock::Moment;
use mrvpn_profile::Cipher;
use mrvpn_proto::key_block::KeyBlock;
use mrvpn_proto::wrapping::Side;
use mrvpn_proto::{DataKeys, KeyId, OpenError, PeerId, SealError, Sealer};

const NOW: Moment = Moment::from_nanos(1);

/// The keys of both sides.
fn keys(cipher: Cipher) -> (DataKeys, DataKeys) {
    let block = KeyBlock::from_bytes(std::array::from_fn(|at| at as u8));
    let of = |side| DataKeys::new(&block, side, cipher, KeyId::FIRST, PeerId::new(7).unwrap());
    (of(Side::Client), of(Side::Server))
}

fn frame(inner: &[u8]) -> Vec<u8> {
    [&[0; Sealer::HEADROOM], inner].concat()
}

#[test]
fn what_was_sealed_is_opened() {
    for cipher in Cipher::DEFAULT {
        let (mut client, mut server) = keys(cipher);
        for len in [1, 15, 16, 17, 1_400, 9_000] {
            let inner = vec![0x45; len];
            let mut datagram = frame(&inner);
            client.sealer.seal(&mut datagram).unwrap();
            assert_eq!(datagram[..4], [0x48, 0, 0, 7]);
            assert_eq!(server.opener.open(&mut datagram, NOW).unwrap(), inner);
        }
    }
}

#[test]
fn a_train_is_the_same_packets_as_one_by_one() {
    let (mut train, _) = keys(Cipher::Aes256Gcm);
    let (mut single, _) = keys(Cipher::Aes256Gcm);
    let mut frames: Vec<u8> = (0..1_000 + 24 * 4).map(|at| at as u8).collect();
    let expected: Vec<u8> = frames
        .chunks(300)
        .flat_map(|frame| {
            let mut frame = frame.to_vec();
            single.sealer.seal(&mut frame).unwrap();
            frame
        })
        .collect();
    train.sealer.seal_train(&mut frames, 300).unwrap();
    assert_eq!(frames, expected);
}

#[test]
fn a_frame_without_a_packet_is_not_sealed() {
    let (mut client, _) = keys(Cipher::Aes256Gcm);
    for len in [0, 23, 24] {
        assert_eq!(client.sealer.seal(&mut vec![0; len]), Err(SealError::Short));
    }
    assert_eq!(client.sealer.seal(&mut [0; 25]), Ok(()));
    for stride in [0, 24] {
        assert_eq!(client.sealer.seal_train(&mut [0; 100], stride), Err(SealError::Short));
    }
}

// proves: T-05
#[test]
fn every_flipped_bit_of_header_id_tag_and_body_is_refused() {
    for cipher in Cipher::DEFAULT {
        let (mut client, mut server) = keys(cipher);
        let mut good = frame(b"forty bytes of an inner packet, or so...");
        client.sealer.seal(&mut good).unwrap();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert_eq!(server.opener.open(&mut bad, NOW), Err(OpenError::Forged), "byte {at} bit {bit}");
            }
        }
        assert!(server.opener.open(&mut good, NOW).is_ok(), "the forgeries have cost nothing");
    }
}

// proves: T-01
#[test]
fn every_prefix_of_a_packet_is_refused() {
    let (mut client, mut server) = keys(Cipher::ChaCha20Poly1305);
    let mut good = frame(b"an inner packet");
    client.sealer.seal(&mut good).unwrap();
    for len in 0..good.len() {
        let expected = if len < Sealer::HEADROOM { OpenError::Short } else { OpenError::Forged };
        assert_eq!(server.opener.open(&mut good[..len].to_vec(), NOW), Err(expected), "{len}");
    }
}

// proves: T-04
#[test]
fn a_packet_is_opened_once() {
    let (mut client, mut server) = keys(Cipher::Aes128Gcm);
    let mut sealed: Vec<Vec<u8>> = (0..300).map(|_| frame(b"x")).collect();
    sealed.iter_mut().for_each(|frame| client.sealer.seal(frame).unwrap());
    let mut open = |place: usize| server.opener.open(&mut sealed[place].clone(), NOW).map(|inner| inner.len());
    assert_eq!(open(0), Ok(1));
    assert_eq!(open(0), Err(OpenError::Replayed));
    assert_eq!(open(299), Ok(1));
    assert_eq!(open(44), Ok(1), "255 behind fits the window");
    assert_eq!(open(43), Err(OpenError::Replayed), "256 behind does not");
    assert_eq!(open(200), Ok(1));
    assert_eq!(open(200), Err(OpenError::Replayed));
}

#[test]
fn the_other_directions_keys_open_nothing() {
    let (mut client, _) = keys(Cipher::Aes256Gcm);
    let mut datagram = frame(b"x");
    client.sealer.seal(&mut datagram).unwrap();
    assert_eq!(client.opener.open(&mut datagram, NOW), Err(OpenError::Forged));
}
