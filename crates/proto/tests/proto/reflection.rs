//! Nobody without keys makes either side send more bytes than it was sent (threats-and-faults.md T-15). Where there is no
//! wrapper one answer is longer than its question, by the protocol: the one to a reset. It is given seldom.

use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_profile::Wrap;
use mrvpn_proto::control::{Acks, ControlHead, ControlPacket};
use mrvpn_proto::ids::MessageId;
use mrvpn_proto::opcode::Opcode;
use mrvpn_proto::server::{ServerConfig, ServerTransport, ServerWrap};
use mrvpn_proto::wrapping::{Side, Wrapper};
use mrvpn_proto::{KeyId, Session, SessionId, limits};

use crate::many::{Many, Noise, address};
use crate::pair::{WALL, config, session};
use crate::server::{up, wraps};

fn bare(side: Side, session: SessionId, opcode: Opcode, message: u32) -> Vec<u8> {
    let packet = ControlPacket {
        head: ControlHead { opcode, key_id: KeyId::FIRST, session },
        acks: Acks::NONE,
        message: Some(MessageId::new(message)),
        payload: b"",
    };
    Wrapper::new(&Wrap::None, side, WALL).wrap(&packet)
}

fn sent(session: &mut Session) -> usize {
    std::iter::from_fn(|| session.poll_transmit()).map(|datagram| datagram.len()).sum()
}

// proves: T-15
#[test]
fn repeated_messages_without_a_wrapper_bring_no_more_bytes_than_they_have() {
    let mut many = Many::new(ServerConfig::new(ServerWrap::None, ServerTransport::Datagram), Noise::default(), 5);
    many.record = Some(Vec::new());
    many.come(config(Wrap::None));
    many.run(Duration::from_secs(5));
    let record = many.record.take().unwrap();
    let server = record.iter().find(|(to_server, ..)| !to_server).map(|(.., datagram)| datagram.clone()).unwrap();
    let server = SessionId::new(server[1..9].try_into().unwrap()).unwrap();
    let client = many.guests[0].session.id();
    let (mut bytes_in, mut bytes_out) = ((0, 0), (0, 0));
    for number in 0..10_000 {
        let forged = bare(Side::Server, server, Opcode::ControlV1, number % 6);
        bytes_in.0 += forged.len();
        let _ = many.guests[0].session.handle_control(&forged, many.now);
        bytes_out.0 += sent(&mut many.guests[0].session);
        let mut forged = bare(Side::Client, client, Opcode::ControlV1, number % 6);
        bytes_in.1 += forged.len();
        many.server.handle_datagram(address(0), &mut forged, many.now);
        bytes_out.1 += std::iter::from_fn(|| many.server.poll_transmit()).map(|(_, bytes)| bytes.len()).sum::<usize>();
    }
    // What came before was worth something, too.
    let most = |bytes: usize| bytes + limits::CONTROL_MESSAGE;
    assert!(bytes_out.0 > 0 && bytes_out.0 <= most(bytes_in.0), "{bytes_out:?} {bytes_in:?}");
    assert!(bytes_out.1 > 0 && bytes_out.1 <= most(bytes_in.1), "{bytes_out:?} {bytes_in:?}");
}

// proves: T-15
#[test]
fn whoever_answers_the_reset_again_and_again_makes_the_client_repeat_itself_once_a_second_at_most() {
    let mut session = session(config(Wrap::None), 1);
    assert_eq!(sent(&mut session), 14);
    let (mut bytes_in, mut hellos, mut acknowledged) = (0, 0, 0);
    for number in 1..=30_000_u64 {
        let now = Moment::default() + Duration::from_millis(number);
        let server = SessionId::new(number.to_be_bytes()).unwrap();
        let forged = bare(Side::Server, server, Opcode::HardResetServerV2, 0);
        bytes_in += forged.len();
        session.handle_control(&forged, now).unwrap();
        for datagram in std::iter::from_fn(|| session.poll_transmit()) {
            if datagram.len() > 300 {
                hellos += 1;
            } else {
                acknowledged += datagram.len();
            }
        }
    }
    assert!((25..=40).contains(&hellos), "{hellos}");
    assert!(acknowledged <= bytes_in, "{acknowledged} bytes of acknowledgements for {bytes_in} in");
}

#[test]
fn with_a_wrapper_a_server_says_nothing_to_who_has_no_key() {
    for (server, client) in wraps().into_iter().skip(1) {
        let mut many = up(ServerConfig::new(server, ServerTransport::Datagram), client);
        let before = format!("{:?}", many.server);
        for number in 0..20_000_u32 {
            let opcode =
                [Opcode::HardResetClientV2, Opcode::HardResetClientV3, Opcode::ControlV1, Opcode::ControlWkcV1];
            let opcode = opcode[number as usize % 4];
            let mut forged = bare(Side::Client, many.guests[0].session.id(), opcode, number % 3);
            forged.extend(std::iter::repeat_n(number.to_le_bytes(), number as usize % 100).flatten());
            many.server.handle_datagram(address(number as usize % 2), &mut forged, many.now);
        }
        assert!(many.server.poll_transmit().is_none());
        assert_eq!(format!("{:?}", many.server), before);
    }
}

#[test]
fn without_a_wrapper_a_reset_is_answered_by_twelve_bytes_more_a_hundred_times_in_ten_seconds() {
    let mut many = Many::new(ServerConfig::new(ServerWrap::None, ServerTransport::Datagram), Noise::default(), 5);
    let (mut asked, mut answered) = (0, 0);
    for number in 0..60_000_u64 {
        let now = Moment::default() + Duration::from_millis(number);
        let mut reset =
            bare(Side::Client, SessionId::new((number + 1).to_be_bytes()).unwrap(), Opcode::HardResetClientV2, 0);
        assert_eq!(reset.len(), 14);
        asked += reset.len();
        many.server.handle_datagram(address(number as usize % 60_000), &mut reset, now);
        while let Some((_, answer)) = many.server.poll_transmit() {
            assert_eq!(answer.len(), 26);
            answered += answer.len();
        }
    }
    assert_eq!(answered, 6 * 100 * 26);
    assert!(answered < asked && many.server.is_empty());
}
