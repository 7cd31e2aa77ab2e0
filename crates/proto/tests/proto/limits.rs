//! Each limit on what comes from outside at one less, at itself, at one more. Those of single types are tested where
//! the types are: acknowledgements, windows, usage of keys.

use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_profile::{Credentials, Secret, Wrap};
use mrvpn_proto::control::{Acks, ControlHead, ControlPacket};
use mrvpn_proto::ids::MessageId;
use mrvpn_proto::opcode::Opcode;
use mrvpn_proto::peer::{ScriptedTls, TestServer, TestServerConfig};
use mrvpn_proto::session::ProtocolError;
use mrvpn_proto::wrapping::{Side, Wrapper};
use mrvpn_proto::{
    Dropped, EndReason, Event, KeyId, RustlsConnector, Session, SessionConfig, SessionId, Stage, Tls, TlsError, limits,
};

use crate::certificates::{ca, trusting};
use crate::pair::{Link, Pair, WALL, config, session};

fn around(limit: usize) -> [(usize, bool); 3] {
    [(limit - 1, true), (limit, true), (limit + 1, false)]
}

fn ended(pair: &Pair) -> Option<EndReason> {
    match pair.events.last() {
        Some(Event::Ended(reason)) => Some(reason.clone()),
        _ => None,
    }
}

#[test]
fn a_control_datagram() {
    let wrapper = Wrapper::new(&Wrap::None, Side::Client, WALL);
    for (len, fits) in around(limits::CONTROL_DATAGRAM) {
        let datagram = vec![0x20; len];
        let result = wrapper.unwrap(&datagram, Moment::default());
        assert_eq!(result.err(), if fits { None } else { Some(Dropped::Long) });
    }
}

#[test]
fn the_servers_bytes_before_tls_is_up() {
    for (len, fits) in around(limits::TLS_FLIGHT) {
        let client = session(config(Wrap::None), 1);
        let accept = Box::new(move || Box::new(ScriptedTls::server_with_flight(1, len)) as Box<dyn Tls>);
        let server = TestServer::new(TestServerConfig::new(Wrap::None), accept, WALL);
        let mut pair = Pair::of(client, server, Link::default(), 1);
        pair.run(Duration::from_secs(60));
        let expected = if fits { None } else { Some(EndReason::Tls(TlsError::FlightTooLong)) };
        assert_eq!(ended(&pair), expected);
        assert_eq!(pair.client.stage() == Stage::Up, fits);
    }
}

#[test]
fn one_control_message() {
    for (len, fits) in around(limits::CONTROL_MESSAGE) {
        let mut pair = Pair::new(config(Wrap::None), TestServerConfig::new(Wrap::None), Link::default(), 1);
        pair.run(Duration::from_secs(60));
        pair.server.send_record(&[&vec![b'x'; len - 1][..], b"\0"].concat(), pair.now);
        pair.run_until(Duration::from_secs(9), |pair| pair.client.stage() == Stage::Ended);
        let expected = if fits { None } else { Some(EndReason::Protocol(ProtocolError::MessageTooLong)) };
        assert_eq!(ended(&pair), expected);
    }
}

/// A push of `total` bytes in parts of 48 KiB at most.
fn push_of(total: usize) -> Vec<String> {
    let last = TestServerConfig::new(Wrap::None).push.remove(0);
    let mut parts = Vec::new();
    let mut left = total - last.len();
    while left > 0 {
        let (begin, end) = ("PUSH_REPLY,echo ", ",push-continuation 2");
        let size = if left > 2 * 48 * 1_024 { 48 * 1_024 } else { left.min(60 * 1_024).max(left / 2) };
        parts.push(format!("{begin}{}{end}", "x".repeat(size - begin.len() - end.len())));
        left -= size;
    }
    parts.push(last);
    assert_eq!(parts.iter().map(String::len).sum::<usize>(), total);
    parts
}

#[test]
fn all_of_one_push() {
    for (total, fits) in around(limits::PUSH) {
        let mut server = TestServerConfig::new(Wrap::None);
        server.push = push_of(total);
        let mut pair = Pair::new(config(Wrap::None), server, Link::default(), 1);
        pair.run(Duration::from_secs(60));
        let expected = if fits { None } else { Some(EndReason::Protocol(ProtocolError::PushTooLong)) };
        assert_eq!(ended(&pair), expected);
    }
}

/// The configuration whose key exchange message has `len` bytes.
fn with_message_of(len: usize) -> SessionConfig {
    let mut client = config(Wrap::None);
    let login = |password: usize| Credentials { user: "u".into(), password: Secret::new("p".repeat(password)) };
    client.credentials = Some(login(0));
    let mut pair = Pair::new(client.clone(), TestServerConfig::new(Wrap::None), Link::default(), 1);
    pair.run(Duration::from_secs(60));
    let got = pair.server.client_message().unwrap();
    let bare = 5 + 112 + 8 + got.options.len() + got.user.len() + got.password.len() + got.peer_info.len() + 4;
    client.credentials = Some(login(len - bare));
    client
}

#[test]
fn our_key_exchange_message() {
    for (len, fits) in around(limits::KEY_EXCHANGE) {
        let server = TestServerConfig::new(Wrap::None);
        let mut pair = Pair::new(with_message_of(len), server, Link::default(), 1);
        pair.run(Duration::from_secs(60));
        assert_eq!(ended(&pair), if fits { None } else { Some(EndReason::LoginTooLong) });
        assert_eq!(pair.client.stage() == Stage::Up, fits);
    }
}

#[test]
fn the_handshake_ends_after_a_minute_whatever_the_profile_says() {
    let mut client = config(Wrap::None);
    client.hand_window = Duration::from_secs(600);
    let deadline = Moment::default() + limits::HANDSHAKE;
    let mut session = session(client, 1);
    while let Some((at, _)) = session.poll_timeout() {
        assert!(at <= deadline);
        session.handle_timeout(at);
    }
    assert_eq!(session.stage(), Stage::Ended);
}

// proves: T-23
#[test]
fn a_server_that_drips_its_handshake_is_left_after_a_minute() {
    let connector = Arc::new(RustlsConnector::new(&trusting(&ca()), false).unwrap());
    let mut config = config(Wrap::None);
    config.hand_window = Duration::from_secs(600);
    let mut client = Session::new(config, connector, [9; 32], WALL, Moment::default()).unwrap();
    let mut server = Wrapper::new(&Wrap::None, Side::Server, WALL);
    let session = SessionId::new([5; 8]).unwrap();
    let mut packet = |opcode, id: u32, payload: &[u8]| {
        let head = ControlHead { opcode, key_id: KeyId::FIRST, session };
        let acks = Acks::new(&[MessageId::RESET], client.id());
        server.wrap(&ControlPacket { head, acks, message: Some(MessageId::new(id)), payload })
    };
    // The beginning of a record of 16 KiB that never ends, a byte in each packet.
    let record = [0x16, 0x03, 0x03, 0x3f, 0xf0, 0x02, 0x00, 0x3f, 0xec].into_iter().chain(std::iter::repeat(0));
    let drops = record.zip(1..).map(|(byte, id)| packet(Opcode::ControlV1, id, &[byte])).take(120);
    let drops: Vec<Vec<u8>> = drops.collect();
    let reset = packet(Opcode::HardResetServerV2, 0, b"");
    let mut ended = None;
    for (second, drop) in std::iter::once(reset).chain(drops).enumerate() {
        let now = Moment::default() + Duration::from_secs(second as u64);
        client.handle_timeout(now);
        let taken = client.handle_control(&drop, now);
        while client.poll_transmit().is_some() {}
        let end = std::iter::from_fn(|| client.poll_event()).find(|event| matches!(event, Event::Ended(_)));
        if let Some(end) = end {
            ended = Some((second, format!("{end:?}")));
            break;
        }
        assert_eq!(taken, Ok(()), "{second}");
    }
    let (second, end) = ended.unwrap();
    assert!(second == 60 && end.starts_with("Ended(HandshakeTimeout("), "{end} at {second} s");
}
