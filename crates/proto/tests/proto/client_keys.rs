//! tls-crypt-v2: a client key that travels sealed, and the key of later TLS sessions.

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::{StaticKey, Wrap};
use mrvpn_proto::control::{Acks, ControlHead, ControlPacket};
use mrvpn_proto::ids::{MessageId, SessionId};
use mrvpn_proto::opcode::{KeyId, Opcode};
use mrvpn_proto::peer::ScriptedTls;
use mrvpn_proto::server::ServerKey;
use mrvpn_proto::wrapping::{Side, Wrapper};
use mrvpn_proto::{Dropped, Event, Session};
use serde_json::Value;

use crate::known::{field, number, text, vector};
use crate::pair::config;

const NOW: Moment = Moment::from_nanos(1);

/// The time of all packets of these vectors.
const WALL: WallTime = WallTime::from_unix(0x6500_0000);

fn wrap() -> Wrap {
    let keys = vector("tls_crypt_v2")["keys"].clone();
    let generated = keys.as_array().unwrap().iter().find(|key| text(key, "from") == "generated").unwrap().clone();
    let key = StaticKey::from_bytes(field(&generated, "Kc")).unwrap();
    Wrap::TlsCryptV2 { key, wrapped: field(&generated, "WKc") }
}

fn wrapped() -> Vec<u8> {
    let Wrap::TlsCryptV2 { wrapped, .. } = wrap() else { panic!("tls-crypt-v2") };
    wrapped
}

/// Reset of the client, answer of the server, first message of the client.
fn packets() -> [(Vec<u8>, Vec<u8>); 3] {
    let list: Vec<Value> = vector("tls_crypt_v2")["packets"].as_array().unwrap().clone();
    let both = |packet: &Value| (field(packet, "packet"), field(packet, "plaintext_body"));
    [both(&list[0]), both(&list[1]), both(&list[2])]
}

#[test]
fn packets_with_a_client_key_are_openvpns() {
    let [reset, answer, message] = packets();
    let (mut client, mut server) =
        (Wrapper::new(&wrap(), Side::Client, WALL), Wrapper::new(&wrap(), Side::Server, WALL));
    for ((datagram, plain), from_client) in [(reset, true), (answer, false), (message, true)] {
        let (reader, writer) = if from_client { (&mut server, &mut client) } else { (&mut client, &mut server) };
        let unwrapped = reader.unwrap(&datagram, NOW).unwrap();
        let packet = unwrapped.packet().unwrap();
        let mut body = Vec::new();
        packet.emit_body(&mut body);
        assert_eq!(body, plain);
        assert_eq!(writer.wrap(&packet), datagram);
    }
}

#[test]
fn client_keys_are_sealed_and_opened_as_by_openvpn() {
    let all = vector("tls_crypt_v2");
    let server = ServerKey::from_bytes(&field(&all, "server_key_file_payload").try_into().unwrap());
    for known in all["keys"].as_array().unwrap() {
        let wrapped = field(known, "WKc");
        let key = StaticKey::from_bytes(field(known, "Kc")).unwrap();
        let metadata = [vec![u8::try_from(number(known, "metadata_type")).unwrap()], field(known, "metadata")].concat();
        assert_eq!(server.seal(&key, &metadata), wrapped);
        assert_eq!(server.open(&wrapped), Some(key));
    }
}

#[test]
fn a_sealed_key_that_is_cut_longer_or_changed_in_one_bit_is_not_opened() {
    let server = ServerKey::from_bytes(&[7; ServerKey::LEN]);
    let key = StaticKey::from_bytes((0..=255).collect()).unwrap();
    let wrapped = server.seal(&key, &[0]);
    assert_eq!(wrapped.len(), 32 + 256 + 1 + 2);
    for len in 0..wrapped.len() {
        assert_eq!(server.open(&wrapped[..len]), None);
    }
    for bit in 0..wrapped.len() * 8 {
        let mut spoilt = wrapped.clone();
        spoilt[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(server.open(&spoilt), None);
    }
    assert_eq!(server.open(&[&[0], wrapped.as_slice()].concat()), None);
    // With the longest metadata, one byte less, one more: that is cut.
    for (metadata, len) in [(733, 1_023), (734, 1_024), (735, 1_024)] {
        let wrapped = server.seal(&key, &vec![1; metadata]);
        assert_eq!(wrapped.len(), len);
        assert_eq!(server.open(&wrapped), Some(key.clone()));
    }
}

#[test]
fn the_sealed_key_stands_behind_the_packets_that_carry_it_and_behind_no_other() {
    let mut client = Wrapper::new(&wrap(), Side::Client, WALL);
    let session = SessionId::new([1; 8]).unwrap();
    for (opcode, carries) in [
        (Opcode::HardResetClientV3, true),
        (Opcode::ControlWkcV1, true),
        (Opcode::ControlV1, false),
        (Opcode::SoftResetV1, false),
    ] {
        let head = ControlHead { opcode, key_id: KeyId::FIRST, session };
        let packet = ControlPacket { head, acks: Acks::NONE, message: Some(MessageId::RESET), payload: b"tls" };
        let once = client.wrap(&packet);
        let again = client.wrap(&packet);
        assert_ne!(once, again, "every transmission has an id of its own");
        for datagram in [once, again] {
            assert_eq!(datagram.ends_with(&wrapped()), carries, "{opcode:?}");
            assert_eq!(datagram.len(), 9 + client.overhead() + 1 + 4 + 3 + client.trailer(opcode));
        }
    }
}

#[test]
fn a_reset_with_another_sealed_key_or_with_none_is_forged() {
    let server = Wrapper::new(&wrap(), Side::Server, WALL);
    let (reset, _) = &packets()[0];
    for len in 0..reset.len() {
        assert!(server.unwrap(&reset[..len], NOW).is_err(), "{len}");
    }
    let mut other = reset.clone();
    *other.last_mut().unwrap() ^= 1;
    assert_eq!(server.unwrap(&other, NOW).err(), Some(Dropped::Forged));
}

/// A client before anything has come; its first datagram.
fn client() -> (Session, Vec<u8>) {
    let own = SessionId::new([1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    let mut client = Session::with_id(config(wrap()), Box::new(ScriptedTls::client(1)), own, WALL, NOW);
    let first = client.poll_transmit().unwrap();
    assert!(client.poll_transmit().is_none());
    (client, first)
}

#[test]
fn a_session_begins_with_the_packet_of_the_vector() {
    assert_eq!(client().1, packets()[0].0);
}

fn head_of(datagram: &[u8]) -> (Opcode, bool) {
    (Opcode::of(datagram[0]), datagram.ends_with(&wrapped()))
}

#[test]
fn a_server_without_state_gets_the_sealed_key_again_with_every_transmission_of_the_first_message() {
    let (mut client, _) = client();
    client.handle_control(&packets()[1].0, NOW).unwrap();
    assert!(matches!(client.poll_event(), Some(Event::Reached)));
    let sent: Vec<Vec<u8>> = std::iter::from_fn(|| client.poll_transmit()).collect();
    assert_eq!(head_of(&sent[0]), (Opcode::ControlWkcV1, true));
    assert!(sent[1..].iter().all(|datagram| head_of(datagram) == (Opcode::ControlV1, false)));
    assert!(sent.iter().all(|datagram| datagram.len() + 28 <= mrvpn_proto::limits::CONTROL_IP_PACKET));
    let reader = Wrapper::new(&wrap(), Side::Server, WALL);
    let first = reader.unwrap(&sent[0], NOW).unwrap();
    assert_eq!(first.packet().unwrap().message, Some(MessageId::new(1)));
    assert_eq!(first.packet().unwrap().acks.ids(), [MessageId::RESET], "the first packet acknowledges the reset");
    assert_eq!(first.stamp().unwrap().id.get(), 0x0f00_0002);
    // Nothing is acknowledged: all of it goes again.
    let (due, _) = client.poll_timeout().unwrap();
    client.handle_timeout(due);
    let again: Vec<Vec<u8>> = std::iter::from_fn(|| client.poll_transmit()).collect();
    assert_eq!(head_of(&again[0]), (Opcode::ControlWkcV1, true));
    assert_ne!(again[0], sent[0]);
}

#[test]
fn a_server_that_keeps_state_gets_plain_messages() {
    for payload in [&[][..], &[0, 1, 0, 2, 0, 0], &[0, 7, 0, 0]] {
        let (mut client, _) = client();
        client.handle_control(&server_reset(payload), NOW).unwrap();
        let sent: Vec<Vec<u8>> = std::iter::from_fn(|| client.poll_transmit()).collect();
        assert!(sent.iter().all(|datagram| head_of(datagram) == (Opcode::ControlV1, false)), "{payload:?}");
    }
}

// proves: T-01
#[test]
fn a_reset_whose_early_negotiation_is_cut_off_changes_nothing() {
    let (mut client, _) = client();
    let before = format!("{client:?}");
    for payload in [&[0][..], &[0, 1, 0], &[0, 1, 0, 2, 0], &[0, 1, 0, 1, 1], &[0, 7, 0xff, 0xff]] {
        assert_eq!(client.handle_control(&server_reset(payload), NOW), Err(Dropped::Reset), "{payload:?}");
        assert_eq!(format!("{client:?}"), before);
    }
    client.handle_control(&server_reset(&[]), NOW).unwrap();
}

fn server_reset(payload: &[u8]) -> Vec<u8> {
    let head = ControlHead {
        opcode: Opcode::HardResetServerV2,
        key_id: KeyId::FIRST,
        session: SessionId::new([0xa1; 8]).unwrap(),
    };
    let acks = Acks::new(&[MessageId::RESET], SessionId::new([1, 2, 3, 4, 5, 6, 7, 8]).unwrap());
    let packet = ControlPacket { head, acks, message: Some(MessageId::RESET), payload };
    Wrapper::new(&wrap(), Side::Server, WALL).wrap(&packet)
}

#[test]
fn a_later_tls_session_with_a_key_of_its_own_is_tls_crypt() {
    let list = vector("dynamic_tls_crypt")["vectors"].as_array().unwrap().clone();
    let (known, reset) = (&list[1], field(&list[1], "client_soft_reset_packet"));
    let shared = field(&vector("static_key_file"), "key");
    let derived: Vec<u8> = field(known, "ekm").iter().zip(&shared).map(|(one, other)| one ^ other).collect();
    assert_eq!(derived, field(known, "derived_key"));
    let wrap = Wrap::TlsCrypt { key: StaticKey::from_bytes(derived).unwrap() };
    let unwrapped = Wrapper::new(&wrap, Side::Server, WALL).unwrap(&reset, NOW).unwrap();
    let packet = unwrapped.packet().unwrap();
    assert_eq!((packet.head.opcode, packet.head.key_id.get()), (Opcode::SoftResetV1, 1));
    assert_eq!(Wrapper::new(&wrap, Side::Client, WALL).wrap(&packet), reset);
}
