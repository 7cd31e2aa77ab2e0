//! Four recorded sessions with real servers, 2.5, 2.6 and 2.7, UDP and TCP (tests/vectors/README.md): every control
//! packet is read and written again byte for byte by the code that the client runs. What one of them says to a client,
//! and its data packets, are in `recorded.rs`.

use std::collections::BTreeMap;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::{Digest, KeyDirection, StaticKey, Wrap};
use mrvpn_proto::stream::{Framer, frame_length};
use mrvpn_proto::wrapping::{Side, Wrapper};
use mrvpn_proto::{Dropped, KeyId, data_key_id, is_data};
use serde_json::Value;

use crate::known::{field, number, text};

const NOW: Moment = Moment::from_nanos(1);

const FILES: [&str; 4] = [
    include_str!("../vectors/tls_crypt_v2_epoch_gcm.json"),
    include_str!("../vectors/tls_auth_gcm.json"),
    include_str!("../vectors/plain_cbc_prf.json"),
    include_str!("../vectors/tcp_tls_crypt_epoch_chacha_reneg.json"),
];

fn sessions() -> Vec<Value> {
    FILES.iter().map(|file| serde_json::from_str::<Value>(file).unwrap()["session"].clone()).collect()
}

fn key(session: &Value, name: &str) -> StaticKey {
    StaticKey::from_bytes(field(session, name)).unwrap()
}

/// The wrapping in the client's view; from the second TLS session on it is tls-crypt with a key of its own (section 2.6).
fn wrap(session: &Value, key_id: KeyId) -> Wrap {
    if key_id != KeyId::FIRST {
        return Wrap::TlsCrypt { key: key(session, "dynamic_tls_crypt_key") };
    }
    match text(session, "wrap") {
        "none" => Wrap::None,
        "tls-auth" => Wrap::TlsAuth {
            key: key(session, "static_key"),
            direction: KeyDirection::Inverse,
            digest: Digest::by_name(text(session, "auth")).unwrap(),
        },
        "tls-crypt" => Wrap::TlsCrypt { key: key(session, "static_key") },
        "tls-crypt-v2" => Wrap::TlsCryptV2 { key: key(session, "static_key"), wrapped: field(session, "wkc") },
        other => panic!("{other}"),
    }
}

/// The control packets of one direction with their recorded parse.
fn control(session: &Value, direction: &str) -> Vec<(Vec<u8>, Value)> {
    let packets = session["packets"].as_array().unwrap().iter().filter(|packet| text(packet, "dir") == direction);
    packets.map(|packet| (field(packet, "data"), packet.clone())).filter(|(data, _)| !is_data(data[0])).collect()
}

/// Reads and writes one direction of one session.
fn read_and_write(session: &Value, direction: &str, reader: Side, writer: Side) -> usize {
    // One counter for the first TLS session, another for all that follow with the dynamic key.
    let mut wrappers: BTreeMap<bool, (Wrapper, Option<Wrapper>)> = BTreeMap::new();
    let packets = control(session, direction);
    for (datagram, parse) in &packets {
        let key_id = KeyId::new(u8::try_from(number(parse, "key_id")).unwrap()).unwrap();
        let wrap = wrap(session, key_id);
        let fresh = || (Wrapper::new(&wrap, reader, WallTime::from_unix(0)), None);
        let (reading, writing) = wrappers.entry(key_id == KeyId::FIRST).or_insert_with(fresh);
        let unwrapped = reading.unwrap(datagram, NOW).unwrap_or_else(|error| panic!("{parse}: {error}"));
        let packet = unwrapped.packet().unwrap();
        assert_eq!(u32::from(packet.head.opcode.number()), number(parse, "opcode"));
        assert_eq!(packet.head.key_id, key_id);
        let acks: Vec<u32> = packet.acks.ids().iter().map(|id| id.get()).collect();
        assert_eq!(serde_json::json!(acks), parse["acks"]);
        assert_eq!(packet.message.map(|id| u64::from(id.get())), parse["message_id"].as_u64());
        assert_eq!(packet.payload.len() as u64, parse["payload_len"].as_u64().unwrap());
        let wall = WallTime::from_unix(unwrapped.stamp().map_or(0, |stamp| u64::from(stamp.time)));
        let writing = writing.get_or_insert_with(|| Wrapper::new(&wrap, writer, wall));
        assert_eq!(writing.wrap(&packet), *datagram, "{parse}");
        reading.accept(&unwrapped, NOW);
        if !reading.is_none() {
            assert_eq!(reading.unwrap(datagram, NOW).err(), Some(Dropped::Replayed));
        }
    }
    packets.len()
}

// proves: T-04
#[test]
fn every_control_packet_of_every_recorded_session_is_read_and_written_again() {
    let counts: Vec<usize> = sessions()
        .iter()
        .map(|session| {
            read_and_write(session, "C>S", Side::Server, Side::Client)
                + read_and_write(session, "S>C", Side::Client, Side::Server)
        })
        .collect();
    assert_eq!(counts, [21, 19, 17, 30]);
}

// proves: T-01, T-05
#[test]
fn every_prefix_and_every_flipped_bit_of_a_wrapped_packet_of_a_server_is_refused() {
    for session in sessions().iter().filter(|session| text(session, "wrap") != "none") {
        for (datagram, parse) in control(session, "S>C") {
            let key_id = KeyId::new(u8::try_from(number(&parse, "key_id")).unwrap()).unwrap();
            let reader = Wrapper::new(&wrap(session, key_id), Side::Client, WallTime::from_unix(0));
            assert!((0..datagram.len()).all(|len| reader.unwrap(&datagram[..len], NOW).is_err()), "{parse}");
            for at in 0..datagram.len() {
                let mut bad = datagram.clone();
                bad[at] ^= 1 << (at % 8);
                assert!(reader.unwrap(&bad, NOW).is_err(), "byte {at} of {parse}");
            }
        }
    }
}

#[test]
fn the_recorded_tcp_session_is_cut_out_of_its_stream() {
    let session = &sessions()[3];
    let packets: Vec<Vec<u8>> =
        session["packets"].as_array().unwrap().iter().map(|packet| field(packet, "data")).collect();
    let stream: Vec<u8> =
        packets.iter().flat_map(|packet| [frame_length(packet).unwrap().to_vec(), packet.clone()].concat()).collect();
    for piece in [1, 2, 3, 1_000, stream.len()] {
        let mut framer = Framer::new(stream.len());
        let mut found = Vec::new();
        for bytes in stream.chunks(piece) {
            assert_eq!(framer.push(bytes), bytes.len());
            while let Some(place) = framer.next_packet().unwrap() {
                found.push(framer.packet(place).to_vec());
            }
        }
        assert!(found == packets, "in pieces of {piece} bytes");
    }
}

#[test]
fn data_packets_tell_their_key() {
    let keys = |session: &Value| {
        let packets = session["packets"].as_array().unwrap().iter().map(|packet| field(packet, "data")[0]);
        let mut keys: Vec<u8> = packets.filter_map(data_key_id).map(KeyId::get).collect();
        keys.dedup();
        keys
    };
    assert_eq!(sessions().iter().map(keys).collect::<Vec<_>>(), [vec![0], vec![0], vec![0], vec![0, 1]]);
}
