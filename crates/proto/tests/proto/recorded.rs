//! The recorded session with an OpenVPN 2.6.14 server (tests/vectors/README.md), played to a client that has the same
//! keys, and read packet by packet.

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::{Cipher, Digest, KeyDirection, StaticKey, Wrap};
use mrvpn_proto::key_block::KeyBlock;
use mrvpn_proto::wrapping::{Side, Wrapper};
use mrvpn_proto::{DataKeys, Dropped, Event, KeyId, PeerId, Session, SessionId, Stage, Tls, TlsError, is_data};
use serde_json::Value;

use crate::hex;
use crate::known::{field, recorded, text};
use crate::pair::config;

const NOW: Moment = Moment::from_nanos(1);

fn wrap() -> Wrap {
    let key = StaticKey::from_bytes(field(&recorded(), "static_key")).unwrap();
    Wrap::TlsAuth { key, direction: KeyDirection::Inverse, digest: Digest::Sha256 }
}

fn key_block() -> KeyBlock {
    KeyBlock::from_bytes(field(&recorded(), "key_block").try_into().unwrap())
}

fn data_keys(side: Side) -> DataKeys {
    DataKeys::new(&key_block(), side, Cipher::Aes128Gcm, KeyId::FIRST, PeerId::new(0).unwrap())
}

/// All datagrams of one direction with their recorded parse.
fn datagrams(direction: &str) -> Vec<(Vec<u8>, Value)> {
    let all = recorded()["packets"].as_array().unwrap().clone();
    let one_way = all.into_iter().filter(|packet| text(packet, "dir") == direction);
    one_way.map(|packet| (field(&packet, "data"), packet)).collect()
}

fn control(direction: &str) -> Vec<(Vec<u8>, Value)> {
    datagrams(direction).into_iter().filter(|(datagram, _)| !is_data(datagram[0])).collect()
}

#[test]
fn every_control_packet_is_unwrapped_parsed_and_written_again() {
    for (direction, reader, writer) in [("C>S", Side::Server, Side::Client), ("S>C", Side::Client, Side::Server)] {
        let mut reading = Wrapper::new(&wrap(), reader, WallTime::from_unix(0));
        let mut writing: Option<Wrapper> = None;
        for (datagram, parse) in control(direction) {
            let unwrapped = reading.unwrap(&datagram, NOW).unwrap();
            let packet = unwrapped.packet().unwrap();
            let acks: Vec<u32> = packet.acks.ids().iter().map(|id| id.get()).collect();
            assert_eq!(serde_json::json!(acks), parse["acks"]);
            assert_eq!(packet.message.map(|id| u64::from(id.get())), parse["message_id"].as_u64());
            assert_eq!(packet.payload.len() as u64, parse["payload_len"].as_u64().unwrap());
            let wall = WallTime::from_unix(u64::from(unwrapped.stamp().unwrap().time));
            let writing = writing.get_or_insert_with(|| Wrapper::new(&wrap(), writer, wall));
            assert_eq!(writing.wrap(&packet), datagram);
            reading.accept(&unwrapped, NOW);
            // proves: T-04
            assert_eq!(reading.unwrap(&datagram, NOW).err(), Some(Dropped::Replayed));
        }
    }
}

#[test]
fn every_data_packet_is_opened_and_sealed_again() {
    for (direction, opener, sealer) in [("C>S", Side::Server, Side::Client), ("S>C", Side::Client, Side::Server)] {
        let (mut opening, mut sealing) = (data_keys(opener).opener, data_keys(sealer).sealer);
        let data = datagrams(direction).into_iter().filter(|(datagram, _)| is_data(datagram[0]));
        let mut count = 0;
        for (datagram, parse) in data {
            let inner = hex::bytes(text(&parse, "inner"));
            assert_eq!(opening.open(&mut datagram.clone(), NOW).unwrap(), inner);
            let mut frame = [vec![0; 24], inner].concat();
            sealing.seal(&mut frame).unwrap();
            assert_eq!(frame, datagram);
            count += 1;
        }
        assert!(count > 0);
    }
}

// proves: T-01, T-05
#[test]
fn every_prefix_and_every_flipped_bit_of_a_data_packet_is_refused() {
    let mut keys = data_keys(Side::Client);
    for (datagram, _) in datagrams("S>C").into_iter().filter(|(datagram, _)| is_data(datagram[0])) {
        let before = format!("{keys:?}").replace(char::is_numeric, "");
        for len in 0..datagram.len() {
            assert!(keys.opener.open(&mut datagram[..len].to_vec(), NOW).is_err());
        }
        for (at, bit) in (0..datagram.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bad = datagram.clone();
            bad[at] ^= 1 << bit;
            assert!(keys.opener.open(&mut bad, NOW).is_err());
        }
        // Only the count of forgeries has changed.
        assert_eq!(format!("{keys:?}").replace(char::is_numeric, ""), before);
        assert!(keys.opener.open(&mut datagram.clone(), NOW).is_ok());
    }
}

/// The recorded server's side of TLS: application data appears when its last byte has come.
struct RecordedTls {
    expected: Vec<u8>,
    taken: usize,
    handshake_end: usize,
    /// Application data by the number of bytes after which it is whole.
    records: Vec<(usize, Vec<u8>)>,
    out: Vec<u8>,
}

impl RecordedTls {
    fn new() -> Self {
        let wrapper = Wrapper::new(&wrap(), Side::Client, WallTime::from_unix(0));
        let payloads: Vec<Vec<u8>> = control("S>C")
            .iter()
            .map(|(datagram, _)| wrapper.unwrap(datagram, NOW).unwrap().packet().unwrap().payload.to_vec())
            .filter(|payload| !payload.is_empty())
            .collect();
        let ends: Vec<usize> = payloads
            .iter()
            .scan(0, |sum, payload| {
                *sum += payload.len();
                Some(*sum)
            })
            .collect();
        let session = recorded();
        let plain = session["tls_plaintext"].as_array().unwrap();
        let texts: Vec<Vec<u8>> =
            plain.iter().filter(|part| text(part, "dir") == "S>C").map(|part| field(part, "data")).collect();
        // Messages 1 and 2 are the handshake, 3 the tickets, then one record each.
        let records = ends[3..].iter().copied().zip(texts).collect();
        Self { expected: payloads.concat(), taken: 0, handshake_end: ends[1], records, out: vec![22; 1_530] }
    }
}

impl Tls for RecordedTls {
    fn read_tls(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        let end = self.taken + bytes.len();
        assert_eq!(bytes, &self.expected[self.taken..end], "every byte once and in order");
        self.taken = end;
        Ok(())
    }
    fn write_tls(&mut self, into: &mut Vec<u8>) {
        into.append(&mut self.out);
    }
    fn is_handshaking(&self) -> bool {
        self.taken < self.handshake_end
    }
    fn write_plaintext(&mut self, one_record: &[u8]) -> Result<(), TlsError> {
        self.out.extend_from_slice(one_record);
        Ok(())
    }
    fn read_plaintext(&mut self) -> Option<Vec<u8>> {
        let whole = self.records.first().is_some_and(|(end, _)| *end <= self.taken);
        whole.then(|| self.records.remove(0).1)
    }
    fn export(&self, _label: &str, into: &mut [u8]) -> Result<(), TlsError> {
        into.copy_from_slice(&field(&recorded(), "key_block"));
        Ok(())
    }
}

fn client() -> Session {
    let own = SessionId::new(field(&recorded(), "client_session_id").try_into().unwrap()).unwrap();
    Session::with_id(config(wrap()), Box::new(RecordedTls::new()), own, WallTime::from_unix(1), NOW)
}

fn drain(client: &mut Session) -> Vec<Event> {
    while client.poll_transmit().is_some() {}
    std::iter::from_fn(|| client.poll_event()).collect()
}

#[test]
fn the_recorded_server_brings_the_tunnel_up() {
    let mut client = client();
    let mut events = Vec::new();
    for (datagram, _) in control("S>C") {
        client.handle_control(&datagram, NOW).unwrap();
        events.extend(drain(&mut client));
    }
    assert_eq!(client.stage(), Stage::Up);
    let [Event::Reached, Event::Keys(_), Event::Established(established)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(established.cipher, Cipher::Aes128Gcm);
    assert_eq!(established.assignment.ipv4.unwrap().address.to_string(), "10.8.0.2/24");
    assert_eq!(established.assignment.peer_id, Some(0));
}

/// Hands a bad datagram to the client and checks that nothing has changed.
fn refuses(client: &mut Session, bad: &[u8], before: &str) {
    assert!(client.handle_control(bad, NOW).is_err());
    assert_eq!(format!("{client:?}"), before);
}

// proves: T-01, T-05
#[test]
fn every_prefix_and_every_flipped_byte_of_the_recorded_session_is_dropped_without_a_trace() {
    let mut client = client();
    drain(&mut client);
    for (datagram, _) in control("S>C") {
        let before = format!("{client:?}");
        for len in 0..datagram.len() {
            refuses(&mut client, &datagram[..len], &before);
        }
        for (at, flip) in (0..datagram.len()).flat_map(|at| [0x01, 0x80, 0xff].map(|flip| (at, flip))) {
            let mut bad = datagram.clone();
            bad[at] ^= flip;
            refuses(&mut client, &bad, &before);
        }
        client.handle_control(&datagram, NOW).unwrap();
        drain(&mut client);
        let after = format!("{client:?}");
        // proves: T-04
        refuses(&mut client, &datagram, &after);
    }
    assert_eq!(client.stage(), Stage::Up);
}
