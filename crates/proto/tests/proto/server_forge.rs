//! What no honest server says reaches the client as it was made: for tests of clients above this crate.

use std::time::Duration;

use mrvpn_proto::ids::PacketId;
use mrvpn_proto::opcode::Opcode;
use mrvpn_proto::replay::Stamp;
use mrvpn_proto::server::{Forged, ForgedWrap, ServerConfig, ServerTransport};
use mrvpn_proto::{Dropped, EndReason, Event, Stage};

use crate::many::Many;
use crate::server::{first, up, wraps};

/// What the client thinks of a forged packet.
fn verdict(many: &mut Many, forged: &Forged) -> Result<(), Dropped> {
    let id = first(many);
    many.server.forge(id, forged);
    let (_, datagram) = many.server.poll_transmit().unwrap();
    many.guests[0].session.handle_control(&datagram, many.now)
}

#[test]
fn a_forged_packet_is_right_in_all_that_is_not_said() {
    for (server, client) in wraps() {
        let bare = matches!(client, mrvpn_profile::Wrap::None);
        let mut many = up(ServerConfig::new(server, ServerTransport::Datagram), client);
        let control =
            |message| Forged { opcode: Opcode::ControlV1.number(), message: Some(message), ..Forged::default() };
        assert_eq!(verdict(&mut many, &Forged::default()), Ok(()));
        assert_eq!(verdict(&mut many, &control(1)), Ok(()), "a repetition");
        assert_eq!(verdict(&mut many, &control(500)), Err(Dropped::Ahead));
        assert_eq!(verdict(&mut many, &Forged { acks: vec![0; 8], ..Forged::default() }), Ok(()));
        assert_eq!(verdict(&mut many, &Forged { acks: vec![0; 9], ..Forged::default() }), Err(Dropped::TooManyAcks));
        let elsewhere = Forged { acks: vec![0], acks_of: Some([9; 8]), ..Forged::default() };
        assert_eq!(verdict(&mut many, &elsewhere), Err(Dropped::WrongPeer));
        assert_eq!(verdict(&mut many, &Forged { key_id: Some(5), ..Forged::default() }), Err(Dropped::KeyId));
        assert_eq!(verdict(&mut many, &Forged { opcode: 31, ..Forged::default() }), Err(Dropped::Opcode));
        if bare {
            continue;
        }
        let wrong = Forged { wrap: ForgedWrap::WrongKey, payload: vec![0; 80], ..Forged::default() };
        assert_eq!(verdict(&mut many, &wrong), Err(Dropped::Forged));
        let plain = Forged { wrap: ForgedWrap::Bare, payload: vec![0; 80], ..Forged::default() };
        assert_eq!(verdict(&mut many, &plain), Err(Dropped::Forged));
        let old = Stamp { id: PacketId::FIRST, time: 0 };
        let replay = Forged { wrap: ForgedWrap::Stamped(old), ..Forged::default() };
        assert_eq!(verdict(&mut many, &replay), Err(Dropped::Replayed));
    }
}

#[test]
fn records_and_tls_bytes_of_any_content_arrive() {
    let (server, client) = wraps().swap_remove(0);
    let mut many = up(ServerConfig::new(server, ServerTransport::Datagram), client);
    let (id, now) = (first(&many), many.now);
    many.server.send_record(id, b"INFO,one\0INFO,two\0", now);
    many.run(Duration::from_secs(1));
    let shown = many.guests[0].events.iter().filter(|event| matches!(event, Event::Info(_))).count();
    assert_eq!(shown, 2);
    // Real TLS would see rubbish, too.
    let now = many.now;
    many.server.send_tls(id, &[99; 60], now);
    many.run(Duration::from_secs(1));
    assert!(many.guests[0].session.stage() == Stage::Up, "one broken channel costs no tunnel without a wrapper");
    assert!(!many.guests[0].events.iter().any(|event| matches!(event, Event::Ended(EndReason::Protocol(_)))));
}
