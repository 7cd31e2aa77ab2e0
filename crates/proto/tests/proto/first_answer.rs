//! A stranger who sees the client's first packet and answers it sooner than the server (threats-and-faults.md T-03),
//! where no wrapper keeps it out. It cannot finish a handshake: the attempt comes up with the server or ends by itself,
//! and the next one, under another session id, comes up.

use std::sync::Arc;
use std::time::Duration;

use mrvpn_profile::Wrap;
use mrvpn_proto::control::{Acks, ControlHead, ControlPacket};
use mrvpn_proto::ids::MessageId;
use mrvpn_proto::opcode::Opcode;
use mrvpn_proto::peer::ScriptedConnector;
use mrvpn_proto::server::{ServerConfig, ServerTransport, ServerWrap};
use mrvpn_proto::wrapping::{Side, Wrapper};
use mrvpn_proto::{KeyId, Session, SessionId, Stage};

use crate::many::{Many, Noise, address};
use crate::pair::{WALL, config, session};

/// What the stranger sends: opcode, message id, payload.
type Words = Vec<(Opcode, Option<u32>, Vec<u8>)>;

fn datagrams(words: Words, client: SessionId, acks: bool) -> impl Iterator<Item = Vec<u8>> {
    let own = SessionId::new([0xbb; 8]).unwrap();
    let mut wrapper = Wrapper::new(&Wrap::None, Side::Server, WALL);
    words.into_iter().map(move |(opcode, message, payload)| {
        let acks = if acks { Acks::new(&[MessageId::RESET], client) } else { Acks::NONE };
        let head = ControlHead { opcode, key_id: KeyId::FIRST, session: own };
        wrapper.wrap(&ControlPacket { head, acks, message: message.map(MessageId::new), payload: &payload })
    })
}

// proves: T-03
#[test]
fn whoever_answers_first_costs_one_attempt_at_most() {
    let reset = || (Opcode::HardResetServerV2, Some(0), Vec::new());
    // Rubbish, a record that never ends, an alert.
    let streams = [vec![0x99; 400], vec![22, 0, 1, 0, 0, 7], vec![21, 0, 0, 0, 2, 2, 40]];
    let mut scripts: Vec<Words> = vec![vec![reset()], vec![reset(), (Opcode::AckV1, None, Vec::new())]];
    scripts.extend(streams.map(|stream| vec![reset(), (Opcode::ControlV1, Some(1), stream)]));
    scripts.push(vec![reset(), (Opcode::ControlV1, Some(5), vec![1; 90])]);
    for (number, script) in scripts.into_iter().enumerate() {
        for acks in [true, false] {
            let server = ServerConfig::new(ServerWrap::None, ServerTransport::Datagram);
            let mut many = Many::new(server, Noise::default(), 5);
            let attacked = many.come_as(session(config(Wrap::None), 1));
            let client = many.guests[attacked].session.id();
            for datagram in datagrams(script.clone(), client, acks) {
                // As long on its way as the client's reset, and so sooner than the server's answer.
                many.send(false, address(attacked), datagram);
            }
            many.run(Duration::from_secs(61));
            let (stage, ended) = (many.stage(attacked), many.ended(attacked));
            assert!(matches!(stage, Stage::Up | Stage::Ended), "{number}: {stage:?}");
            assert!(ended.is_none_or(|why| !why.is_final()), "{number}: {ended:?}");
            let connector = Arc::new(ScriptedConnector { seed: 2, refusal: None });
            let next = Session::new(config(Wrap::None), connector, [2; 32], WALL, many.now).unwrap();
            let next = many.come_as(next);
            many.run(Duration::from_secs(3));
            assert_eq!(many.stage(next), Stage::Up, "{number}");
        }
    }
}
