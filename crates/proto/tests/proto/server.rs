//! The server half against the client half: each wrapping, many clients, renegotiation, float, exits, refusals.

use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_profile::{Cipher, Credentials, Digest, KeyDirection, Renewal, Secret, StaticKey, Wrap};
use mrvpn_proto::control_text::AuthFailure;
use mrvpn_proto::server::{
    ClientId, Farewell, Gone, Push, ServerConfig, ServerEvent, ServerKey, ServerTransport, ServerWrap,
};
use mrvpn_proto::{Dropped, EndReason, SessionConfig, Stage, limits};

use crate::many::{Answer, Many, Noise, address, push};
use crate::pair::{config, session};

pub(crate) fn key(first: u8) -> StaticKey {
    StaticKey::from_bytes((0..=255_u8).map(|byte| byte.wrapping_add(first)).collect()).unwrap()
}

pub(crate) fn server_key() -> ServerKey {
    ServerKey::from_bytes(&std::array::from_fn(|place| place as u8))
}

/// Each wrapping as the server and as the client has it.
pub(crate) fn wraps() -> Vec<(ServerWrap, Wrap)> {
    let auth = |direction, digest| {
        let key = key(0);
        (ServerWrap::TlsAuth { key: key.clone(), direction, digest }, Wrap::TlsAuth { key, direction, digest })
    };
    let own = key(77);
    let wrapped = server_key().seal(&own, &[0, 1, 2, 3]);
    vec![
        (ServerWrap::None, Wrap::None),
        auth(KeyDirection::Normal, Digest::Sha1),
        auth(KeyDirection::Inverse, Digest::Sha256),
        auth(KeyDirection::Both, Digest::Sha512),
        (ServerWrap::TlsCrypt { key: key(0) }, Wrap::TlsCrypt { key: key(0) }),
        (ServerWrap::TlsCryptV2 { server_key: server_key() }, Wrap::TlsCryptV2 { key: own, wrapped }),
    ]
}

pub(crate) fn up(server: ServerConfig, wrap: Wrap) -> Many {
    let mut many = Many::new(server, Noise::default(), 5);
    many.come(config(wrap));
    many.run_until(Duration::from_secs(10), Many::all_up);
    many.run(Duration::from_millis(100));
    assert_eq!(many.stage(0), Stage::Up, "{:?} {:?}", many.guests[0].events, many.server.dropped());
    many
}

pub(crate) fn first(many: &Many) -> ClientId {
    many.events[0].0
}

#[test]
fn a_client_comes_up_with_each_wrapping_and_packets_flow_both_ways() {
    for (server, client) in wraps() {
        let mut many = up(ServerConfig::new(server, ServerTransport::Datagram), client);
        let id = first(&many);
        assert!(
            matches!(many.events.as_slice(), [(_, ServerEvent::Began { .. }), .., (_, ServerEvent::Up)]),
            "{:?}",
            many.events
        );
        many.send_up(0, b"up");
        many.send_down(id, b"down");
        many.run(Duration::from_secs(1));
        assert_eq!(many.packets, [(id, b"up".to_vec())]);
        assert_eq!(
            many.guests[0].lane.packets.iter().map(|(_, packet)| packet.as_slice()).collect::<Vec<_>>(),
            [b"down"]
        );
        let established = many.established(0);
        assert_eq!(established.unwrap().assignment.peer_id, Some(id.get()));
    }
}

fn datagrams(wrap: ServerWrap) -> ServerConfig {
    ServerConfig::new(wrap, ServerTransport::Datagram)
}

fn never() -> Renewal {
    Renewal { reneg_sec: None, ..Renewal::default() }
}

/// Packets both ways; whether all arrived.
fn talks(many: &mut Many, guest: usize, id: ClientId) -> bool {
    let (up, down) = (many.packets.len(), many.guests[guest].lane.packets.len());
    many.send_up(guest, b"there");
    many.send_down(id, b"back");
    many.run(Duration::from_millis(50));
    many.packets.len() == up + 1 && many.guests[guest].lane.packets.len() == down + 1
}

#[test]
fn both_sides_may_ask_for_new_keys_with_each_wrapping_and_no_packet_is_lost() {
    for dynamic_wrap in [false, true] {
        for (server, client) in wraps() {
            let server = ServerConfig { dynamic_wrap, renewal: None, ..datagrams(server) };
            let mut many = Many::new(server, Noise::default(), 3);
            many.come(SessionConfig { renewal: never(), ..config(client) });
            many.run(Duration::from_secs(5));
            let id = first(&many);
            for round in 0..16 {
                let now = many.now;
                if round % 3 != 0 {
                    many.server.renegotiate(id, now);
                }
                if round % 3 != 1 {
                    many.guests[0].session.renegotiate(now);
                }
                for _ in 0..300 {
                    assert!(talks(&mut many, 0, id), "{round}");
                }
            }
            assert_eq!(many.guests[0].lane.installed(), 17);
            assert_eq!((many.ended(0), many.gone(id)), (None, None));
        }
    }
}

#[test]
fn the_server_renews_keys_by_itself_a_little_before_its_time() {
    let server = ServerConfig { renewal: Some(Duration::from_secs(600)), ..datagrams(ServerWrap::None) };
    let mut many = Many::new(server, Noise::default(), 5);
    many.come(SessionConfig { renewal: never(), ..config(Wrap::None) });
    for seconds in [539_u64, 62] {
        for _ in 0..seconds {
            many.run(Duration::from_secs(1));
            let id = first(&many);
            assert!(talks(&mut many, 0, id));
        }
        assert_eq!(many.guests[0].lane.installed(), if seconds == 539 { 1 } else { 2 });
    }
}

#[test]
fn the_best_cipher_of_the_server_that_the_client_takes_is_pushed() {
    let lists = [
        (
            vec![Cipher::ChaCha20Poly1305, Cipher::Aes128Gcm],
            vec![Cipher::Aes256Gcm, Cipher::Aes128Gcm],
            Some(Cipher::Aes128Gcm),
        ),
        (vec![Cipher::ChaCha20Poly1305], Cipher::DEFAULT.to_vec(), Some(Cipher::ChaCha20Poly1305)),
        (vec![Cipher::ChaCha20Poly1305], vec![Cipher::Aes256Gcm], None),
    ];
    for (servers, clients, expected) in lists {
        let server = ServerConfig { ciphers: servers, ..datagrams(ServerWrap::None) };
        let mut many = Many::new(server, Noise::default(), 5);
        many.come(SessionConfig { ciphers: clients, ..config(Wrap::None) });
        many.run(Duration::from_secs(5));
        let id = first(&many);
        match expected {
            Some(cipher) => {
                let established = many.established(0).map(|established| established.cipher);
                assert_eq!(established, Some(cipher));
                assert!(talks(&mut many, 0, id));
            }
            None => {
                let expected = EndReason::AuthFailed {
                    reason: Some("Data channel cipher negotiation failed (no shared cipher)".into()),
                    kind: AuthFailure::NoSharedCipher,
                };
                assert_eq!(many.ended(0), Some(&expected));
                assert_eq!(many.gone(id), Some(&Gone::NoSharedCipher));
            }
        }
    }
}

#[test]
fn keys_come_without_the_exporter_too() {
    let server = ServerConfig { exporter: false, ..datagrams(ServerWrap::None) };
    let mut many = up(server, Wrap::None);
    let id = first(&many);
    assert!(talks(&mut many, 0, id));
    let now = many.now;
    many.server.renegotiate(id, now);
    many.run(Duration::from_secs(10));
    assert_eq!(many.guests[0].lane.installed(), 2);
    assert!(talks(&mut many, 0, id));
}

#[test]
fn a_login_is_asked_of_the_owner_each_time_and_refused_by_its_words() {
    let mut many = Many::new(datagrams(ServerWrap::None), Noise::default(), 5);
    let login = Credentials { user: "ann".into(), password: Secret::new("secret".into()) };
    many.porter = Box::new(|id, request| {
        assert_eq!((request.user.as_str(), request.password.expose().as_str()), ("ann", "secret"));
        assert!(request.peer_info.contains("IV_CIPHERS=") && request.options.starts_with("V4,dev-type tun"));
        assert_eq!((request.from, request.common_name.as_ref()), (address(0), None));
        if request.renewal { Answer::Refuse("AUTH_FAILED,no more") } else { Answer::Admit(push(id)) }
    });
    many.come(SessionConfig { credentials: Some(login), ..config(Wrap::None) });
    many.run(Duration::from_secs(5));
    let id = first(&many);
    assert_eq!(many.stage(0), Stage::Up);
    many.guests[0].session.renegotiate(many.now);
    many.run(Duration::from_secs(5));
    let expected = EndReason::AuthFailed { reason: Some("no more".into()), kind: AuthFailure::Refused };
    assert_eq!(many.ended(0), Some(&expected));
    assert_eq!(many.gone(id), Some(&Gone::Refused));
    assert!(many.server.is_empty() && many.server.poll_timeout().is_none());
}

#[test]
fn an_owner_may_take_its_time_and_the_push_waits_for_a_client_that_must_ask() {
    for unasked_push in [false, true] {
        let server = ServerConfig { unasked_push, ..datagrams(ServerWrap::None) };
        let mut many = Many::new(server, Noise::default(), 5);
        many.porter = Box::new(|_, _| Answer::Later);
        many.come(config(Wrap::None));
        many.run(Duration::from_secs(20));
        assert_eq!(many.stage(0), Stage::Push);
        let (id, now) = (first(&many), many.now);
        many.server.admit(id, push(id), now);
        many.run(Duration::from_secs(1));
        assert_eq!(many.stage(0), Stage::Up);
    }
}

#[test]
fn a_client_that_never_comes_up_is_gone_after_a_minute_and_no_sooner() {
    let mut many = Many::new(datagrams(ServerWrap::None), Noise::default(), 5);
    many.porter = Box::new(|_, _| Answer::Later);
    many.come(config(Wrap::None));
    many.run(Duration::from_secs(1));
    let id = first(&many);
    many.guests.clear();
    many.run(limits::HANDSHAKE - Duration::from_millis(1_500));
    assert_eq!((many.server.len(), many.gone(id)), (1, None));
    many.run(Duration::from_secs(1));
    assert_eq!((many.server.len(), many.gone(id)), (0, Some(&Gone::Handshake)));
}

#[test]
fn a_long_push_arrives_whole() {
    let mut many = Many::new(datagrams(ServerWrap::None), Noise::default(), 5);
    many.porter = Box::new(|id, _| {
        let mut push = push(id);
        push.options.extend((0..250).map(|net| format!("route 10.{net}.0.0 255.255.0.0")));
        Answer::Admit(push)
    });
    many.come(config(Wrap::None));
    many.run(Duration::from_secs(5));
    let routes = many.established(0).map(|established| established.assignment.routes.len());
    assert_eq!(routes, Some(250));
}

#[test]
fn whole_messages_are_sent_as_they_stand_and_followed() {
    let mut many = Many::new(datagrams(ServerWrap::None), Noise::default(), 5);
    many.porter = Box::new(|_, _| {
        let first = "PUSH_REPLY,ifconfig 10.9.0.2 255.255.255.0,topology subnet,push-continuation 2";
        let second = "PUSH_REPLY,peer-id 0,cipher CHACHA20-POLY1305,push-continuation 1";
        Answer::Admit(Push { options: Vec::new(), whole: Some(vec![first.into(), second.into()]) })
    });
    many.come(config(Wrap::None));
    many.run(Duration::from_secs(5));
    let id = first(&many);
    assert_eq!((many.stage(0), id.get()), (Stage::Up, 0));
    assert!(talks(&mut many, 0, id));
}

#[test]
fn each_farewell_is_heard_by_its_client_alone() {
    type Expected = fn(&EndReason) -> bool;
    let cases: [(Farewell, Expected); 4] = [
        (
            Farewell::Restart("[N]".into()),
            |why| matches!(why, EndReason::ServerRestart { farewell } if farewell.next_server),
        ),
        (Farewell::Halt(String::new()), |why| matches!(why, EndReason::ServerHalt { .. })),
        (Farewell::Exit, |why| matches!(why, EndReason::ServerExit)),
        (Farewell::Silent, |why| matches!(why, EndReason::PingRestart)),
    ];
    for (farewell, expected) in cases {
        let mut many = Many::new(datagrams(ServerWrap::None), Noise::default(), 5);
        many.come(config(Wrap::None));
        many.come(config(Wrap::None));
        many.run(Duration::from_secs(5));
        let (id, now) = (first(&many), many.now);
        let other = many.events.iter().map(|(id, _)| *id).find(|other| *other != id).unwrap();
        many.server.disconnect(id, farewell.clone(), now);
        many.run(Duration::from_millis(100));
        assert_eq!(many.gone(id), Some(&Gone::Disconnected), "{farewell:?}");
        for _ in 0..61 {
            assert!(talks(&mut many, 1, other));
            many.run(Duration::from_secs(1));
            many.guests[1].session.heard(many.now);
        }
        assert!(many.ended(0).is_some_and(expected), "{farewell:?}: {:?}", many.ended(0));
        assert_eq!(many.ended(1), None);
    }
}

#[test]
fn a_client_that_leaves_is_known_for_five_seconds_more() {
    let mut many = up(datagrams(ServerWrap::None), Wrap::None);
    let id = first(&many);
    many.guests[0].session.close(many.now);
    many.run(Duration::from_secs(1));
    assert!(matches!(many.events.last(), Some((_, ServerEvent::ExitNotify))));
    assert_eq!((many.stage(0), many.server.len()), (Stage::Ended, 1));
    many.run(limits::SERVER_FAREWELL);
    assert_eq!((many.gone(id), many.server.len()), (Some(&Gone::Exit), 0));
}

#[test]
fn a_silent_client_is_gone_by_ping_restart() {
    let mut many = up(datagrams(ServerWrap::None), Wrap::None);
    let id = first(&many);
    many.guests.clear();
    many.run(Duration::from_secs(119));
    assert_eq!(many.gone(id), None);
    many.server.heard(id, many.now);
    many.run(Duration::from_secs(119));
    assert_eq!(many.gone(id), None);
    many.run(Duration::from_secs(2));
    assert_eq!(many.gone(id), Some(&Gone::PingRestart));
}

#[test]
fn a_client_that_floats_is_found_at_its_new_address_for_data_and_control() {
    for (server, client) in wraps() {
        let mut many = up(datagrams(server), client);
        let id = first(&many);
        many.guests[0].address = address(900);
        many.send_up(0, b"from elsewhere");
        many.run(Duration::from_secs(1));
        assert_eq!(many.server.address(id), Some(address(900)));
        assert!(talks(&mut many, 0, id));
        many.guests[0].session.renegotiate(many.now);
        many.run(Duration::from_secs(5));
        assert_eq!(many.guests[0].lane.installed(), 2);
    }
}

#[test]
fn one_that_comes_again_from_its_address_replaces_itself_only_when_it_is_let_in() {
    let mut many = up(datagrams(ServerWrap::None), Wrap::None);
    let old = first(&many);
    let again = many.come_as(session(config(Wrap::None), 99));
    many.guests[again].address = address(0);
    many.porter = Box::new(|_, _| Answer::Later);
    // Its first reset went out under another address.
    many.run(Duration::from_secs(3));
    let new = many.events.last().unwrap().0;
    assert_ne!(new, old);
    assert_eq!((many.server.len(), many.gone(old)), (2, None));
    let now = many.now;
    many.server.admit(new, push(new), now);
    many.run(Duration::from_secs(3));
    assert_eq!((many.stage(again), many.server.len()), (Stage::Up, 1));
    assert_eq!(many.gone(old), Some(&Gone::Replaced));
}

#[test]
fn in_a_stream_a_reset_makes_a_client_and_the_streams_end_ends_it() {
    for (server, client) in wraps() {
        let mut many = up(ServerConfig::new(server, ServerTransport::Stream), client);
        let id = first(&many);
        assert!(talks(&mut many, 0, id));
        many.server.closed(address(0), many.now);
        many.drain();
        assert_eq!((many.gone(id), many.server.len()), (Some(&Gone::Closed), 0));
    }
}

#[test]
fn a_thousand_clients_are_up_at_once_and_each_gets_its_own_packets() {
    const MANY: usize = 1_000;
    let config_of = |wrap| ServerConfig { resets: None, half_open: MANY, ..datagrams(wrap) };
    let (server, client) = wraps().pop().unwrap();
    let mut many = Many::new(config_of(server), Noise::default(), 5);
    for _ in 0..MANY {
        many.come(config(client.clone()));
    }
    many.run_until(Duration::from_secs(60), Many::all_up);
    many.run(Duration::from_millis(100));
    assert!(many.all_up());
    assert_eq!(many.server.len(), MANY);
    for guest in 0..MANY {
        many.send_up(guest, &u32::try_from(guest).unwrap().to_be_bytes());
    }
    many.run(Duration::from_millis(100));
    assert_eq!(many.packets.len(), MANY);
    for (id, packet) in &many.packets {
        let guest = u32::from_be_bytes(packet.as_slice().try_into().unwrap());
        assert_eq!(many.server.address(*id), Some(address(guest as usize)));
    }
}

#[test]
fn clients_half_open_ones_and_resets_are_limited() {
    // Clients at one less than the limit, at it, one more.
    for (come, fit) in [(3, 3), (4, 4), (5, 4)] {
        let mut many = Many::new(ServerConfig { clients: 4, ..datagrams(ServerWrap::None) }, Noise::default(), 5);
        for _ in 0..come {
            many.come(config(Wrap::None));
        }
        many.run(Duration::from_secs(5));
        assert_eq!((many.server.len(), many.server.dropped().contains_key(&Dropped::Crowded)), (fit, come > fit));
    }
    for (come, fit) in [(3, 3), (4, 4), (5, 4)] {
        let mut many = Many::new(ServerConfig { half_open: 4, ..datagrams(ServerWrap::None) }, Noise::default(), 5);
        many.porter = Box::new(|_, _| Answer::Later);
        for _ in 0..come {
            many.come(config(Wrap::None));
        }
        many.run(Duration::from_secs(5));
        assert_eq!((many.server.len(), many.server.dropped().contains_key(&Dropped::Crowded)), (fit, come > fit));
    }
    for (come, fit) in [(99, 99), (100, 100), (101, 100)] {
        let mut many = Many::new(datagrams(ServerWrap::None), Noise::default(), 5);
        for guest in 0..come {
            let mut reset = session(config(Wrap::None), guest).poll_transmit().unwrap();
            many.server.handle_datagram(address(guest as usize), &mut reset, many.now);
        }
        let answers = std::iter::from_fn(|| many.server.poll_transmit()).count();
        assert_eq!(answers, fit);
    }
}

#[test]
fn numbers_of_clients_are_given_again_as_late_as_possible() {
    let mut many = Many::new(ServerConfig { clients: 3, ..datagrams(ServerWrap::None) }, Noise::default(), 5);
    let mut numbers = Vec::new();
    for _ in 0..7 {
        many.come(config(Wrap::None));
        many.run(Duration::from_secs(1));
        let id = many.events.last().unwrap().0;
        numbers.push(id.get());
        many.server.disconnect(id, Farewell::Silent, many.now);
    }
    assert_eq!(numbers, [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn a_reset_costs_no_memory_and_without_the_cookie_nothing_makes_a_client() {
    for (server, client) in wraps() {
        let mut many = Many::new(ServerConfig { resets: None, ..datagrams(server) }, Noise::default(), 5);
        let before = format!("{:?}", many.server);
        for seed in 0..200 {
            let mut reset = session(config(client.clone()), seed).poll_transmit().unwrap();
            many.server.handle_datagram(address(7), &mut reset, many.now);
            assert!(many.server.poll_transmit().is_some());
            assert_eq!(format!("{:?}", many.server), before);
        }
        // The second packet of one address, from another.
        let mut honest = session(config(client.clone()), 1);
        many.server.handle_datagram(address(1), &mut honest.poll_transmit().unwrap(), many.now);
        let (_, answer) = many.server.poll_transmit().unwrap();
        honest.handle_control(&answer, many.now).unwrap();
        let mut second = honest.poll_transmit().unwrap();
        many.server.handle_datagram(address(2), &mut second.clone(), many.now);
        assert_eq!(format!("{:?}", many.server), before);
        // Later than the cookie counts.
        let late = many.now + limits::COOKIE_SLOT * 3;
        many.server.handle_datagram(address(1), &mut second.clone(), late);
        assert_eq!(format!("{:?}", many.server), before);
        many.server.handle_datagram(address(1), &mut second, Moment::default() + limits::COOKIE_SLOT);
        assert_eq!(many.server.len(), 1);
    }
}

#[test]
fn clients_with_keys_of_another_server_get_no_answer() {
    let (server, _) = wraps().pop().unwrap();
    let own = key(77);
    let foreign = ServerKey::from_bytes(&[9; ServerKey::LEN]).seal(&own, &[0, 1, 2, 3]);
    let mut many = Many::new(datagrams(server), Noise::default(), 5);
    many.come(config(Wrap::TlsCryptV2 { key: own, wrapped: foreign }));
    many.run(Duration::from_secs(61));
    assert_eq!(many.ended(0), Some(&EndReason::NoAnswer));
    assert!(many.server.dropped().contains_key(&Dropped::Forged));
}
