//! Forged, repeated and unfitting datagrams, from one who sees and can send everything but has no keys; and the same
//! without a wrapper, where only session ids protect.

use std::time::Duration;

use mrvpn_profile::{StaticKey, Wrap};
use mrvpn_proto::control::{Acks, ControlHead, ControlPacket};
use mrvpn_proto::ids::MessageId;
use mrvpn_proto::opcode::Opcode;
use mrvpn_proto::peer::TestServerConfig;
use mrvpn_proto::wrapping::{Side, Wrapper};
use mrvpn_proto::{Dropped, Event, KeyId, SessionId, Stage};
use proptest::prelude::*;

use crate::pair::{Link, Pair, WALL, config};

fn up(wrap: Wrap) -> Pair {
    let mut pair = Pair::new(config(wrap.clone()), TestServerConfig::new(wrap), Link::default(), 5);
    pair.run(Duration::from_secs(60));
    // The last acknowledgements, too.
    pair.run_until(Duration::from_secs(1), |_| false);
    assert_eq!(pair.client.stage(), Stage::Up);
    pair
}

fn tls_crypt() -> Wrap {
    Wrap::TlsCrypt { key: StaticKey::from_bytes(vec![3; 256]).unwrap() }
}

/// A packet as the server of this pair would make it, were there no wrapper.
fn forged(pair: &Pair, opcode: Opcode, key: u8, message: Option<u32>, acks: &[u32]) -> Vec<u8> {
    let server = SessionId::new(pair.sent.1[0][1..9].try_into().unwrap()).unwrap();
    let ids: Vec<MessageId> = acks.iter().copied().map(MessageId::new).collect();
    let packet = ControlPacket {
        head: ControlHead { opcode, key_id: KeyId::new(key).unwrap(), session: server },
        acks: Acks::new(&ids, pair.client.id()),
        message: message.map(MessageId::new),
        payload: b"",
    };
    Wrapper::new(&Wrap::None, Side::Server, WALL).wrap(&packet)
}

fn drops(pair: &mut Pair, datagram: &[u8], reason: Dropped) {
    let before = format!("{:?}", pair.client);
    assert_eq!(pair.client.handle_control(datagram, pair.now), Err(reason), "{datagram:02x?}");
    assert_eq!(format!("{:?}", pair.client), before);
}

// proves: T-01
#[test]
fn what_does_not_fit_is_dropped_by_its_reason() {
    let mut pair = up(Wrap::None);
    let cases = [
        (vec![], Dropped::Short),
        (vec![0x20; 8], Dropped::Short),
        (vec![0x48; 60], Dropped::Data),
        (vec![0x08; 60], Dropped::Opcode),
        (forged(&pair, Opcode::HardResetClientV2, 0, Some(0), &[]), Dropped::Opcode),
        (forged(&pair, Opcode::ControlWkcV1, 0, Some(9), &[]), Dropped::Opcode),
        (forged(&pair, Opcode::ControlV1, 1, Some(0), &[]), Dropped::KeyId),
        (forged(&pair, Opcode::AckV1, 3, None, &[0]), Dropped::KeyId),
        (forged(&pair, Opcode::SoftResetV1, 2, Some(0), &[]), Dropped::KeyId),
        (forged(&pair, Opcode::SoftResetV1, 1, Some(1), &[]), Dropped::Reset),
        (forged(&pair, Opcode::HardResetServerV2, 0, Some(1), &[]), Dropped::Reset),
        (forged(&pair, Opcode::ControlV1, 0, Some(100), &[]), Dropped::Ahead),
    ];
    for (datagram, reason) in cases {
        drops(&mut pair, &datagram, reason);
    }
}

// proves: T-01
#[test]
fn other_session_ids_are_dropped() {
    let mut pair = up(Wrap::None);
    let mut stranger = forged(&pair, Opcode::ControlV1, 0, Some(7), &[]);
    stranger[1] ^= 1;
    drops(&mut pair, &stranger, Dropped::WrongSession);
    let mut reset = forged(&pair, Opcode::HardResetServerV2, 0, Some(0), &[0]);
    reset[1] ^= 1;
    drops(&mut pair, &reset, Dropped::Reset);
    let mut for_another = forged(&pair, Opcode::AckV1, 0, None, &[1]);
    for_another[14] ^= 1;
    drops(&mut pair, &for_another, Dropped::WrongPeer);
}

// proves: T-01
#[test]
fn without_the_key_nothing_is_taken() {
    let mut pair = up(tls_crypt());
    for opcode in [Opcode::HardResetServerV2, Opcode::ControlV1, Opcode::AckV1, Opcode::SoftResetV1] {
        let mut datagram = forged(&pair, opcode, u8::from(opcode == Opcode::SoftResetV1), Some(0), &[0]);
        drops(&mut pair, &datagram.clone(), Dropped::Short);
        datagram.resize(80, 0);
        drops(&mut pair, &datagram, Dropped::Forged);
    }
}

// proves: T-04
#[test]
fn a_repeated_control_packet_is_answered_by_an_acknowledgement_only() {
    let mut pair = up(Wrap::None);
    let old = pair.sent.1.iter().find(|datagram| datagram[0] == 0x20).unwrap().clone();
    let stage = pair.client.stage();
    for _ in 0..3 {
        pair.client.handle_control(&old, pair.now).unwrap();
        let answers: Vec<Vec<u8>> = std::iter::from_fn(|| pair.client.poll_transmit()).collect();
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0][0], 0x28, "ACK_V1");
        assert!(pair.client.poll_event().is_none());
        assert_eq!(pair.client.stage(), stage);
    }
}

// proves: T-04
#[test]
fn a_repeated_wrapped_packet_is_dropped() {
    let mut pair = up(tls_crypt());
    for datagram in pair.sent.1.clone().into_iter().filter(|datagram| !mrvpn_proto::is_data(datagram[0])) {
        drops(&mut pair, &datagram, Dropped::Replayed);
    }
}

#[test]
fn packets_that_anyone_can_make_keep_no_dead_tunnel_alive() {
    let mut pair = up(Wrap::None);
    let due = pair.client.poll_timeout();
    pair.now = pair.now + Duration::from_secs(5);
    let ack = forged(&pair, Opcode::AckV1, 0, None, &[0]);
    pair.client.handle_control(&ack, pair.now).unwrap();
    assert_eq!(pair.client.poll_timeout(), due);
}

#[test]
fn another_servers_reset_is_taken_while_nothing_else_has_come() {
    let mut pair = Pair::new(config(Wrap::None), TestServerConfig::new(Wrap::None), Link::default(), 5);
    pair.drain();
    let own = pair.client.id();
    let reset = |sid: u8| {
        let packet = ControlPacket {
            head: ControlHead {
                opcode: Opcode::HardResetServerV2,
                key_id: KeyId::FIRST,
                session: SessionId::new([sid; 8]).unwrap(),
            },
            acks: Acks::new(&[MessageId::RESET], own),
            message: Some(MessageId::RESET),
            payload: b"",
        };
        Wrapper::new(&Wrap::None, Side::Server, WALL).wrap(&packet)
    };
    pair.client.handle_control(&reset(1), pair.now).unwrap();
    assert_eq!(pair.client.stage(), Stage::Tls);
    while pair.client.poll_transmit().is_some() {}
    pair.client.handle_control(&reset(2), pair.now).unwrap();
    let again = pair.client.poll_transmit().unwrap();
    assert_eq!((again[0], &again[9..14], &again[14..22]), (0x20, &[1, 0, 0, 0, 0][..], &[2; 8][..]));
    assert!(matches!(pair.client.poll_event(), Some(Event::Reached)));
    assert!(pair.client.poll_event().is_none());
}

proptest! {
    // proves: T-01
    #[test]
    fn any_bytes_at_any_stage_do_no_harm(
        noise in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..30),
        stage in 0u64..6,
        wrapped in any::<bool>(),
    ) {
        let wrap = if wrapped { tls_crypt() } else { Wrap::None };
        let mut pair = Pair::new(config(wrap.clone()), TestServerConfig::new(wrap), Link::default(), 9);
        pair.run_until(Duration::from_millis(stage * 21), |_| false);
        let before = format!("{:?}", pair.client);
        for datagram in &noise {
            prop_assert!(pair.client.handle_control(datagram, pair.now).is_err());
        }
        prop_assert_eq!(format!("{:?}", pair.client), before);
    }
}

#[test]
fn an_ended_session_takes_nothing() {
    let mut pair = up(Wrap::None);
    let ack = forged(&pair, Opcode::AckV1, 0, None, &[0]);
    pair.server.say("EXIT", pair.now);
    pair.run_until(Duration::from_secs(2), |pair| pair.client.stage() == Stage::Ended);
    pair.drain();
    drops(&mut pair, &ack, Dropped::Ended);
    pair.client.handle_timeout(pair.now + Duration::from_secs(99));
    assert!(pair.client.poll_transmit().is_none() && pair.client.poll_event().is_none());
}
