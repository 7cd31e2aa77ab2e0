//! The server half under noise: links that lose, repeat, delay and spoil; prefixes and flipped bits of everything that
//! was ever said to it. It neither panics nor lets a datagram that does not fit change anything.

use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_profile::{Renewal, Wrap};
use mrvpn_proto::control::{Acks, ControlHead, ControlPacket};
use mrvpn_proto::ids::MessageId;
use mrvpn_proto::opcode::Opcode;
use mrvpn_proto::server::{Gone, Server, ServerConfig, ServerEvent, ServerTransport, ServerWrap};
use mrvpn_proto::wrapping::{Side, Wrapper};
use mrvpn_proto::{Dropped, EndReason, KeyId, SessionConfig, SessionId, Stage, TlsError, limits};
use proptest::prelude::*;

use crate::many::{Many, Noise, address};
use crate::pair::{WALL, config, session};
use crate::server::wraps;

fn datagrams(wrap: ServerWrap) -> ServerConfig {
    ServerConfig::new(wrap, ServerTransport::Datagram)
}

/// Everything that one client says to a server and hears from it: up, a renegotiation from each side, EXIT.
fn dialogue(server: ServerWrap, client: Wrap) -> Vec<(bool, Vec<u8>)> {
    let mut many = Many::new(datagrams(server), Noise::default(), 5);
    many.record = Some(Vec::new());
    many.come(config(client));
    many.run(Duration::from_secs(2));
    let id = many.events[0].0;
    many.guests[0].session.renegotiate(many.now);
    many.run(Duration::from_secs(2));
    many.server.renegotiate(id, many.now);
    many.run(Duration::from_secs(2));
    many.guests[0].session.close(many.now);
    many.run(Duration::from_secs(8));
    assert!(many.server.is_empty());
    many.record.take().unwrap().into_iter().map(|(to_server, _, datagram)| (to_server, datagram)).collect()
}

#[test]
fn no_prefix_and_no_flipped_bit_of_a_dialogue_changes_a_server_that_has_a_wrapper() {
    for (server, client) in wraps().into_iter().skip(1) {
        let record = dialogue(server.clone(), client.clone());
        let mut fresh = Many::new(datagrams(server.clone()), Noise::default(), 9);
        let mut busy = Many::new(datagrams(server), Noise::default(), 5);
        busy.come(config(client));
        busy.run(Duration::from_secs(2));
        for many in [&mut fresh, &mut busy] {
            let before = format!("{:?}", many.server);
            for (_, datagram) in &record {
                for len in 0..datagram.len() {
                    many.server.handle_datagram(address(0), &mut datagram[..len].to_vec(), many.now);
                }
                for bit in 0..datagram.len() * 8 {
                    let mut spoilt = datagram.clone();
                    spoilt[bit / 8] ^= 1 << (bit % 8);
                    many.server.handle_datagram(address(0), &mut spoilt, many.now);
                }
            }
            assert!(many.server.poll_transmit().is_none() && many.server.poll_event().is_none());
            assert_eq!(format!("{:?}", many.server), before);
        }
    }
}

#[test]
fn without_a_wrapper_no_prefix_and_no_flipped_bit_makes_it_panic_or_keeps_others_out() {
    let record = dialogue(ServerWrap::None, Wrap::None);
    let config_of = ServerConfig { resets: None, ..datagrams(ServerWrap::None) };
    let mut many = Many::new(config_of, Noise::default(), 5);
    many.come(config(Wrap::None));
    for (_, datagram) in &record {
        for bit in 0..datagram.len() * 8 {
            let mut spoilt = datagram.clone();
            spoilt[bit / 8] ^= 1 << (bit % 8);
            many.server.handle_datagram(address(0), &mut spoilt, many.now);
            many.server.handle_datagram(address(1), &mut spoilt[..bit / 8].to_vec(), many.now);
        }
        while many.server.poll_transmit().is_some() {}
        many.run(Duration::from_millis(20));
    }
    let other = many.come(config(Wrap::None));
    many.run(Duration::from_secs(3));
    assert_eq!(many.stage(other), Stage::Up);
}

/// A client without manners: it shows the cookie and sends these bytes as TLS, as long as it is answered.
fn send_tls(server: &mut Server, bytes: &[u8], now: Moment) {
    let mut wrapper = Wrapper::new(&Wrap::None, Side::Client, WALL);
    let session = SessionId::new([5; 8]).unwrap();
    let mut packet = |opcode, acks, message, payload: &[u8]| {
        let head = ControlHead { opcode, key_id: KeyId::FIRST, session };
        wrapper.wrap(&ControlPacket { head, acks, message: Some(MessageId::new(message)), payload })
    };
    server.handle_datagram(address(3), &mut packet(Opcode::HardResetClientV2, Acks::NONE, 0, b""), now);
    let (_, answer) = server.poll_transmit().unwrap();
    let cookie = SessionId::new(answer[1..9].try_into().unwrap()).unwrap();
    for (number, payload) in (1..).zip(bytes.chunks(1_000)) {
        let acks = Acks::new(&[MessageId::RESET], cookie);
        server.handle_datagram(address(3), &mut packet(Opcode::ControlV1, acks, number, payload), now);
        while server.poll_transmit().is_some() {}
    }
}

// The beginning of a handshake record that never ends.
#[test]
fn a_client_may_send_so_much_before_tls_is_up_and_no_more() {
    for (len, fits) in [(limits::TLS_FLIGHT - 1, true), (limits::TLS_FLIGHT, true), (limits::TLS_FLIGHT + 1, false)] {
        let mut many = Many::new(datagrams(ServerWrap::None), Noise::default(), 5);
        let mut bytes = vec![22, 0, 0x0f, 0, 0];
        bytes.resize(len, 0);
        send_tls(&mut many.server, &bytes, many.now);
        let now = many.now + limits::SERVER_FAREWELL;
        many.server.handle_timeout(now);
        many.drain();
        let expected = if fits { None } else { Some(&Gone::Tls(TlsError::FlightTooLong)) };
        assert_eq!(many.ends().next().map(|(_, why)| why), expected, "{len}");
        many.server.handle_timeout(many.now + limits::HANDSHAKE);
        assert!(many.server.is_empty(), "a client that drips is gone after a minute");
    }
}

#[test]
fn resets_are_answered_until_so_many_answers_wait_for_an_owner_who_does_not_poll() {
    let config_of = ServerConfig { resets: None, ..datagrams(ServerWrap::None) };
    let mut many = Many::new(config_of, Noise::default(), 5);
    for number in 0..limits::SERVER_OUTBOX + 2 {
        let seed = u64::try_from(number).unwrap();
        let mut reset = session(config(Wrap::None), seed).poll_transmit().unwrap();
        many.server.handle_datagram(address(number), &mut reset, many.now);
    }
    assert_eq!(std::iter::from_fn(|| many.server.poll_transmit()).count(), limits::SERVER_OUTBOX);
    assert_eq!(many.server.dropped().get(&Dropped::Crowded), Some(&2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // proves: I-12
    #[test]
    fn clients_come_up_renew_and_leave_over_any_link_or_end_with_a_reason_on_both_sides(
        seed in any::<u64>(),
        loss in 0u8..100,
        doubling in 0u8..100,
        delay in 0u8..120,
        damage in 0u8..20,
        wrap in 0usize..6,
        clients in 1usize..5,
        who in proptest::collection::vec(0u8..4, 0..4),
    ) {
        let (server, client) = wraps()[wrap].clone();
        // Without a wrapper damage is not seen before TLS sees it, and ends the session.
        let damage = if wrap == 0 { 0 } else { damage };
        let server = ServerConfig { renewal: None, ..datagrams(server) };
        let mut many = Many::new(server, Noise { loss, doubling, delay, damage }, seed);
        let renewal = Renewal { reneg_sec: None, ..Renewal::default() };
        for _ in 0..clients {
            many.come(SessionConfig { renewal, ..config(client.clone()) });
        }
        for _ in 0..62 {
            many.run(Duration::from_secs(1));
            many.guests.iter_mut().for_each(|guest| guest.session.heard(many.now));
        }
        let quiet = loss < 30 && damage < 5;
        let ids: std::collections::BTreeSet<_> = many.events.iter().map(|(id, _)| *id).collect();
        for who in who {
            for id in &ids {
                if who & 1 != 0 {
                    many.server.renegotiate(*id, many.now);
                }
            }
            for guest in 0..clients {
                if who & 2 != 0 {
                    many.guests[guest].session.renegotiate(many.now);
                }
            }
            for _ in 0..8 {
                for guest in 0..clients {
                    if many.stage(guest) == Stage::Up {
                        many.send_up(guest, &[0; 40]);
                        many.guests[guest].session.heard(many.now);
                    }
                }
                many.run(Duration::from_secs(1));
            }
        }
        for guest in 0..clients {
            let reason = many.ended(guest);
            let accepted = matches!(
                reason,
                None | Some(EndReason::NoAnswer | EndReason::HandshakeTimeout(_) | EndReason::PingRestart)
            );
            prop_assert!(accepted, "{:?}", reason);
            if quiet {
                prop_assert_eq!(many.stage(guest), Stage::Up);
            }
            many.guests[guest].session.close(many.now);
        }
        // What has left is gone, and so is what was never told.
        many.run(Duration::from_secs(200));
        prop_assert!(many.server.is_empty());
        let ends: Vec<&Gone> = many.ends().map(|(_, why)| why).collect();
        let begins = many.events.iter().filter(|(_, event)| matches!(event, ServerEvent::Began { .. })).count();
        prop_assert_eq!(ends.len(), begins);
        for why in ends {
            let tls = matches!(why, Gone::Tls(TlsError::Protocol(_)));
            prop_assert!(!tls && matches!(why, Gone::Exit | Gone::Handshake | Gone::PingRestart | Gone::Replaced), "{:?}", why);
        }
    }

    #[test]
    fn any_bytes_at_all_leave_a_server_without_clients_as_it_was(
        noise in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..50),
        wrap in 1usize..6,
    ) {
        let (server, _) = wraps()[wrap].clone();
        let mut many = Many::new(datagrams(server), Noise::default(), 5);
        let before = format!("{:?}", many.server);
        for mut datagram in noise {
            many.server.handle_datagram(address(0), &mut datagram, many.now);
        }
        prop_assert_eq!(format!("{:?}", many.server), before);
    }

    #[test]
    fn the_same_seed_gives_the_same_run_of_both_halves(seed in any::<u64>(), loss in 0u8..80, wrap in 0usize..6) {
        let run = || {
            let (server, client) = wraps()[wrap].clone();
            let mut many = Many::new(datagrams(server), Noise { loss, doubling: 20, delay: 60, damage: 0 }, seed);
            many.record = Some(Vec::new());
            (0..3).for_each(|_| { many.come(config(client.clone())); });
            many.run(Duration::from_secs(61));
            (many.record.take(), format!("{:?}", many.server))
        };
        prop_assert_eq!(run(), run());
    }
}
