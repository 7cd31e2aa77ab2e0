//! Known answers: every vector that concerns this crate (tests/vectors/README.md).

use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::{Cipher, Credentials, Digest, KeyDirection, Secret, StaticKey, Wrap};
use mrvpn_proto::control::ControlPacket;
use mrvpn_proto::control_text::{Advance, AuthFailure, ControlText, strings};
use mrvpn_proto::ids::PacketId;
use mrvpn_proto::key_block::KeyBlock;
use mrvpn_proto::key_method::{ClientMessage, KeySource, ReceivedClientMessage, ServerMessage, emit_server_message};
use mrvpn_proto::opcode::KeyId;
use mrvpn_proto::peer_info::iv_proto;
use mrvpn_proto::replay::{ReplayWindow, Stamp, StampWindow};
use mrvpn_proto::wrapping::{Side, Wrapper};
use mrvpn_proto::{DataKeys, Dropped, Inner, OCC_EXIT, PING, PeerId};
use serde_json::Value;

use crate::known::{field, number, text, vector};

const NOW: Moment = Moment::from_nanos(1);

fn static_key() -> StaticKey {
    StaticKey::from_bytes(field(&vector("static_key_file"), "key")).unwrap()
}

/// The wrapping of a control packet vector, in the client's view.
fn wrap_of(packet: &Value) -> Wrap {
    let name = text(packet, "name");
    match text(packet, "wrap") {
        "none" => Wrap::None,
        "tls-crypt" => Wrap::TlsCrypt { key: static_key() },
        _ => {
            let direction = match packet["client_key_direction"].as_u64() {
                Some(1) => KeyDirection::Inverse,
                _ if name.contains("client_key_direction 1") => KeyDirection::Inverse,
                _ if name.contains("client_key_direction 0") => KeyDirection::Normal,
                _ => KeyDirection::Both,
            };
            Wrap::TlsAuth { key: static_key(), direction, digest: Digest::by_name(text(packet, "auth")).unwrap() }
        }
    }
}

fn control_packets() -> Vec<Value> {
    let all = vector("control_packets")["vectors"].as_array().unwrap().clone();
    all.into_iter().filter(|packet| packet.get("wrap").is_some()).collect()
}

/// Who reads a packet of this vector.
fn reader_of(packet: &Value) -> Side {
    if text(packet, "name").contains("sent by server") { Side::Client } else { Side::Server }
}

fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    }
}

#[test]
fn every_control_packet_is_read_as_openvpn_reads_it() {
    for packet in control_packets() {
        let wrapper = Wrapper::new(&wrap_of(&packet), reader_of(&packet), WallTime::from_unix(0));
        let datagram = field(&packet, "packet");
        let unwrapped = wrapper.unwrap(&datagram, NOW).unwrap_or_else(|error| panic!("{packet}: {error}"));
        let parsed = unwrapped.packet().unwrap();
        if let Some(opcode) = packet["opcode"].as_u64() {
            assert_eq!(u64::from(parsed.head.opcode.number()), opcode, "{packet}");
            let acks: Vec<u64> = parsed.acks.ids().iter().map(|id| u64::from(id.get())).collect();
            assert_eq!(serde_json::json!(acks), packet["acks"]);
            assert_eq!(parsed.message.map(|id| u64::from(id.get())), packet["message_id"].as_u64());
            assert_eq!(parsed.payload.len() as u64, packet["payload_len"].as_u64().unwrap());
            assert_eq!(parsed.head.session.to_string(), text(&packet, "session_id"));
            assert_eq!(
                parsed.acks.peer().map(|id| id.to_string()).as_deref(),
                packet["acked_peer_session_id"].as_str()
            );
        }
        if packet.get("plaintext_body").is_some() {
            let mut body = Vec::new();
            parsed.emit_body(&mut body);
            assert_eq!(body, field(&packet, "plaintext_body"));
        }
        if packet.get("packet_id").is_some() {
            let stamp = unwrapped.stamp().unwrap();
            assert_eq!((stamp.id.get(), stamp.time), (number(&packet, "packet_id"), number(&packet, "time")));
        }
    }
}

#[test]
fn every_control_packet_is_written_as_openvpn_writes_it() {
    for packet in control_packets() {
        let datagram = field(&packet, "packet");
        let reader = Wrapper::new(&wrap_of(&packet), reader_of(&packet), WallTime::from_unix(0));
        let unwrapped = reader.unwrap(&datagram, NOW).unwrap();
        let parsed = unwrapped.packet().unwrap();
        let wall = unwrapped.stamp().map_or(0, |stamp| u64::from(stamp.time));
        let mut writer = Wrapper::new(&wrap_of(&packet), other(reader_of(&packet)), WallTime::from_unix(wall));
        let packet_id = unwrapped.stamp().map_or(1, |stamp| stamp.id.get());
        let written = (0..packet_id).map(|_| writer.wrap(&parsed)).last().unwrap();
        assert_eq!(written, datagram, "{packet}");
    }
}

// proves: T-05
#[test]
fn every_single_byte_change_of_a_wrapped_packet_is_refused() {
    for packet in control_packets().iter().filter(|packet| text(packet, "wrap") != "none") {
        let wrapper = Wrapper::new(&wrap_of(packet), reader_of(packet), WallTime::from_unix(0));
        let good = field(packet, "packet");
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(wrapper.unwrap(&bad, NOW).is_err(), "byte {at} bit {bit} of {packet}");
            }
        }
    }
}

#[test]
fn a_packet_is_refused_by_the_opposite_direction_and_by_another_wrapping() {
    for packet in control_packets() {
        let datagram = field(&packet, "packet");
        let wrap = wrap_of(&packet);
        let mirrored = Wrapper::new(&wrap, other(reader_of(&packet)), WallTime::from_unix(0));
        let directed = !matches!(wrap, Wrap::None | Wrap::TlsAuth { direction: KeyDirection::Both, .. });
        if directed {
            assert_eq!(mirrored.unwrap(&datagram, NOW).err(), Some(Dropped::Forged), "{packet}");
        }
        if wrap == Wrap::None {
            for strict in [
                Wrap::TlsCrypt { key: static_key() },
                Wrap::TlsAuth { key: static_key(), direction: KeyDirection::Inverse, digest: Digest::Sha1 },
            ] {
                let reader = Wrapper::new(&strict, Side::Server, WallTime::from_unix(0));
                assert!(reader.unwrap(&datagram, NOW).is_err());
            }
        }
    }
}

#[test]
fn the_static_key_has_the_slices_of_openvpn() {
    use mrvpn_profile::static_key::KeySlot;
    let file = vector("static_key_file");
    let key = static_key();
    assert_eq!(key.cipher(KeySlot::First), field(&file["slices"], "keys0_cipher"));
    assert_eq!(key.hmac(KeySlot::First), field(&file["slices"], "keys0_hmac"));
    assert_eq!(key.cipher(KeySlot::Second), field(&file["slices"], "keys1_cipher"));
    assert_eq!(key.hmac(KeySlot::Second), field(&file["slices"], "keys1_hmac"));
}

#[test]
fn a_key_block_is_cut_as_openvpn_cuts_it() {
    let run = vector("key_method_2_prf_run");
    let block = KeyBlock::from_bytes(field(&run, "key_block").try_into().unwrap());
    let slices = &run["slices"];
    assert_eq!(block.half(Side::Client).cipher, field(slices, "client_to_server_cipher"));
    assert_eq!(block.half(Side::Client).hmac, field(slices, "client_to_server_hmac"));
    assert_eq!(block.half(Side::Server).cipher, field(slices, "server_to_client_cipher"));
    assert_eq!(block.half(Side::Server).hmac, field(slices, "server_to_client_hmac"));
}

fn data_vectors() -> (KeyBlock, Vec<(Value, Cipher)>) {
    let all = vector("data_aead");
    let block = KeyBlock::from_bytes(field(&all, "key_block").try_into().unwrap());
    let ours = all["vectors"].as_array().unwrap().iter().filter(|v| text(v, "format") == "P_DATA_V2");
    let spoken = ours.filter_map(|v| Cipher::by_name(text(v, "cipher")).map(|cipher| (v.clone(), cipher)));
    (block.clone(), spoken.collect())
}

fn data_keys(block: &KeyBlock, vector: &Value, cipher: Cipher, side: Side) -> DataKeys {
    let key_id = KeyId::new(u8::try_from(number(vector, "key_id")).unwrap()).unwrap();
    DataKeys::new(block, side, cipher, key_id, PeerId::new(number(vector, "peer_id")).unwrap())
}

fn sender_of(vector: &Value) -> Side {
    if text(vector, "direction") == "client_to_server" { Side::Client } else { Side::Server }
}

#[test]
fn data_packets_are_sealed_as_openvpn_seals_them() {
    let (block, vectors) = data_vectors();
    assert_eq!(vectors.len(), 4);
    for (vector, cipher) in vectors {
        let mut keys = data_keys(&block, &vector, cipher, sender_of(&vector));
        let mut frame = Vec::new();
        for _ in 0..number(&vector, "packet_id") {
            frame = [vec![0; 24], field(&vector, "plaintext")].concat();
            keys.sealer.seal(&mut frame).unwrap();
        }
        assert_eq!(frame, field(&vector, "packet"), "{vector}");
    }
}

#[test]
fn data_packets_are_opened_as_openvpn_opens_them() {
    let (block, vectors) = data_vectors();
    for (vector, cipher) in vectors {
        let mut keys = data_keys(&block, &vector, cipher, other(sender_of(&vector)));
        let mut datagram = field(&vector, "packet");
        assert_eq!(keys.opener.open(&mut datagram, NOW).unwrap(), field(&vector, "plaintext"), "{vector}");
    }
}

// proves: T-04
#[test]
fn the_replay_window_gives_openvpns_verdicts() {
    for case in vector("replay")["cases"].as_array().unwrap() {
        // A window of 0 means strict order, which no receiver of ours uses.
        if number(case, "window") != 64 {
            continue;
        }
        let (mut short, mut long) = (ReplayWindow::<64>::new(), StampWindow::default());
        for event in case["events"].as_array().unwrap() {
            let now = NOW + Duration::from_secs(u64::from(number(event, "t")));
            let verdict = match (PacketId::new(number(event, "id")), event.get("packet_time")) {
                (None, _) => false,
                (Some(id), None) => short.accept(id, now),
                (Some(id), Some(_)) => long.accept(Stamp { id, time: number(event, "packet_time") }, now),
            };
            assert_eq!(Some(verdict), event["accept"].as_bool(), "{} {event}", case["name"]);
        }
    }
}

#[test]
fn the_key_exchange_message_has_openvpns_layout() {
    let client = &vector("key_method_2")["client"];
    let array = |name: &str| -> [u8; 32] { field(client, name).try_into().unwrap() };
    let pre_master: [u8; 48] = field(client, "pre_master").try_into().unwrap();
    let source = KeySource { pre_master: pre_master.into(), random1: array("random1"), random2: array("random2") };
    let credentials = Credentials {
        user: String::from(text(client, "username")),
        password: Secret::new(String::from(text(client, "password"))),
    };
    let message = ClientMessage {
        source: &source,
        options: text(client, "options"),
        login: Some((&credentials).into()),
        peer_info: text(client, "peer_info"),
    }
    .emit();
    assert_eq!(*message, field(client, "message"));
    let received = ReceivedClientMessage::parse(&message).unwrap();
    assert_eq!((received.user.as_slice(), received.password.as_slice()), (&b"user"[..], &b"pass"[..]));
}

#[test]
fn absent_credentials_are_empty_strings_of_length_zero() {
    let source = KeySource { pre_master: [0; 48].into(), random1: [0; 32], random2: [0; 32] };
    let message = ClientMessage { source: &source, options: "V4", login: None, peer_info: "" }.emit();
    assert_eq!(message[5 + 48 + 64..], [0, 3, b'V', b'4', 0, 0, 0, 0, 0, 0, 1, 0]);
}

#[test]
fn a_servers_key_exchange_message_is_read_even_if_it_ends_early() {
    let server = &vector("key_method_2")["server"];
    let whole = field(server, "message");
    let array = |name: &str| -> [u8; 32] { field(server, name).try_into().unwrap() };
    assert_eq!(emit_server_message(&array("random1"), &array("random2"), text(server, "options")), whole);
    let parsed = ServerMessage::parse(&whole).unwrap();
    assert_eq!(parsed.options, text(server, "options").as_bytes());
    assert_eq!(parsed.option("auth"), Some("SHA1"));
    assert_eq!(parsed.option("cipher"), None);
    assert_eq!(ServerMessage::parse(&whole[..whole.len() - 6]).unwrap(), parsed);
    // proves: T-01
    for len in 0..whole.len() - 6 {
        assert!(ServerMessage::parse(&whole[..len]).is_err(), "{len}");
    }
}

#[test]
fn the_bits_of_iv_proto_are_openvpns() {
    let bits = &vector("iv_proto")["bits"];
    let bit = |name: &str| 1u32 << number(bits, name);
    assert_eq!(iv_proto::DATA_V2, bit("data_v2"));
    assert_eq!(iv_proto::REQUEST_PUSH, bit("request_push"));
    assert_eq!(iv_proto::TLS_KEY_EXPORT, bit("tls_key_export"));
    assert_eq!(iv_proto::AUTH_PENDING_KW, bit("auth_pending_kw"));
    assert_eq!(iv_proto::CC_EXIT_NOTIFY, bit("cc_exit_notify"));
    assert_eq!(iv_proto::AUTH_FAIL_TEMP, bit("auth_fail_temp"));
}

#[test]
fn keepalives_and_exit_are_openvpns() {
    let known = vector("keepalive_and_occ");
    assert_eq!(PING.as_slice(), field(&known, "ping"));
    assert_eq!(OCC_EXIT.as_slice(), field(&known, "occ_exit"));
    assert_eq!(Inner::of(&field(&known, "occ_request")), Inner::Occ);
    assert_eq!(Inner::of(&field(&known, "occ_reply_example")), Inner::Occ);
    assert_eq!(Inner::of(&field(&known, "ping")), Inner::Ping);
}

// proves: T-30
#[test]
fn control_strings_are_cut_as_openvpn_cuts_them() {
    let known = vector("control_string_split");
    let record = field(&known, "in");
    let cut: Vec<&str> = strings(&record).map(|text| std::str::from_utf8(text).unwrap()).collect();
    let expected: Vec<&str> = known["out"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(cut, expected);
    assert_eq!(strings(&field(&known, "no_nul_in")).count(), 0);
}

#[test]
fn a_temporary_refusal_says_when_and_where_to_try_again() {
    for case in vector("auth_failed_temp")["vectors"].as_array().unwrap() {
        let message = format!("AUTH_FAILED,TEMP{}", text(case, "in"));
        let ControlText::AuthFailed(refusal) = ControlText::parse(message.as_bytes()) else { panic!("{case}") };
        let advance = match case["advance"].as_str() {
            None => None,
            Some("no") => Some(Advance::No),
            Some("addr") => Some(Advance::Address),
            Some(_) => Some(Advance::Remote),
        };
        let backoff = case["backoff"].as_u64().map(Duration::from_secs);
        assert_eq!(refusal.kind, AuthFailure::Temporary { backoff, advance });
        assert_eq!(refusal.reason.as_deref().unwrap_or(""), text(case, "message"));
    }
}

#[test]
fn the_usage_limits_are_openvpns() {
    let known = vector("aead_limits");
    assert_eq!(Some(mrvpn_proto::limits::GCM_USAGE), known["limit"].as_u64());
    assert_eq!(Some(mrvpn_proto::limits::GCM_USAGE_WORN), known["renegotiate_at_7_8"].as_u64());
    assert_eq!(Some(mrvpn_proto::limits::FORGERIES), known["aead_decrypt_fail_refuse"].as_u64());
    assert_eq!(mrvpn_proto::limits::DATA_PACKET_ID_WORN, number(&known, "packet_id_renegotiate"));
}

#[test]
fn parsing_never_needs_more_than_the_bytes_it_was_given() {
    let packet = ControlPacket::parse;
    let head = mrvpn_proto::control::ControlHead::parse(&field(&control_packets()[4], "packet")).unwrap().0;
    assert_eq!(packet(head, &[]).err(), Some(Dropped::Short));
}
