//! Later keys: begun by either side or both at once, under load, over good and bad links; when they seal and when they
//! end; tokens.

use std::time::Duration;

use mrvpn_profile::{Credentials, Digest, KeyDirection, Renewal, Secret, StaticKey, Wrap};
use mrvpn_proto::peer::{Login, TestServerConfig};
use mrvpn_proto::{EndReason, Event, SessionConfig, Stage, Timer, limits};
use proptest::prelude::*;

use crate::lane::Lane;
use crate::pair::{Link, Pair, config};
use crate::traffic::Traffic;

const SECOND: Duration = Duration::from_secs(1);

fn never() -> Renewal {
    Renewal { reneg_sec: None, ..Renewal::default() }
}

fn wraps() -> [Wrap; 3] {
    let key = StaticKey::from_bytes((0..=255).collect()).unwrap();
    [
        Wrap::None,
        Wrap::TlsAuth { key: key.clone(), direction: KeyDirection::Inverse, digest: Digest::Sha256 },
        Wrap::TlsCrypt { key },
    ]
}

/// A tunnel that is up and carries data.
fn up_with(client: SessionConfig, change: impl FnOnce(&mut TestServerConfig), link: Link, seed: u64) -> Pair {
    let mut server = TestServerConfig::new(client.wrap.clone());
    change(&mut server);
    let mut pair = Pair::new(client, server, link, seed);
    pair.lane = Some(Lane::default());
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.client.stage(), Stage::Up, "{:?}", pair.events);
    // The last acknowledgements, too.
    wait(&mut pair, SECOND / 5);
    pair
}

fn up(renewal: Renewal) -> Pair {
    up_with(SessionConfig { renewal, ..config(Wrap::None) }, |_| {}, Link::default(), 7)
}

fn wait(pair: &mut Pair, time: Duration) {
    pair.run_until(time, |_| false);
}

fn lane(pair: &Pair) -> &Lane {
    pair.lane.as_ref().unwrap()
}

fn ended(pair: &Pair) -> Option<&EndReason> {
    pair.events.iter().find_map(|event| if let Event::Ended(reason) = event { Some(reason) } else { None })
}

#[test]
fn a_new_key_comes_after_reneg_sec_and_packets_flow_under_it() {
    for wrap in wraps() {
        let renewal = Renewal { reneg_sec: Some(Duration::from_secs(4)), ..Renewal::default() };
        let mut pair = up_with(SessionConfig { renewal, ..config(wrap) }, |_| {}, Link::default(), 7);
        assert_eq!(pair.client.poll_timeout().unwrap().1, Timer::Renewal);
        let (mut traffic, since) = (Traffic::default(), pair.now);
        while pair.now.since(since) < Duration::from_secs(61) {
            traffic.step(&mut pair, Duration::from_secs(2));
        }
        assert!(lane(&pair).installed() >= 14, "{}", lane(&pair).installed());
        assert_eq!(traffic.finish(&mut pair), (vec![], vec![]));
        assert_eq!(ended(&pair), None);
    }
}

#[test]
fn key_ids_go_from_seven_to_one() {
    let mut pair = up(never());
    let mut ids = vec![lane(&pair).newest().key_id.get()];
    for _ in 0..9 {
        pair.client.renegotiate(pair.now);
        wait(&mut pair, SECOND);
        ids.push(lane(&pair).newest().key_id.get());
    }
    assert_eq!(ids, [0, 1, 2, 3, 4, 5, 6, 7, 1, 2]);
    assert_eq!(lane(&pair).ids(), [1, 2], "two keys are open, the one before is retired");
}

#[test]
fn a_server_begins_and_so_do_both_at_once() {
    for (client, server) in [(false, true), (true, true), (true, false)] {
        let mut pair = up(never());
        let (mut traffic, mut begun) = (Traffic::default(), 0);
        for round in 0..4 {
            if client {
                pair.client.renegotiate(pair.now);
            }
            if server {
                pair.server.renegotiate(pair.now);
            }
            begun += 1;
            pair.drain();
            for _ in 0..600 {
                traffic.step(&mut pair, SECOND);
            }
            assert_eq!(lane(&pair).installed(), 1 + begun, "round {round}, client {client}, server {server}");
        }
        assert_eq!(traffic.finish(&mut pair), (vec![], vec![]));
    }
}

fn dynamic(server: &mut TestServerConfig) {
    server.push[0] = server.push[0].replace("tls-ekm", "tls-ekm dyn-tls-crypt");
}

#[test]
fn renegotiations_are_wrapped_by_a_key_of_their_own_where_the_server_wants_it() {
    for wrap in wraps() {
        let client = SessionConfig { renewal: never(), ..config(wrap) };
        let mut pair = up_with(client, dynamic, Link { loss: 30, doubling: 30, delay: 80 }, 7);
        let mut traffic = Traffic::default();
        for round in 0..9 {
            if round % 3 != 0 {
                pair.client.renegotiate(pair.now);
            }
            if round % 3 != 1 {
                pair.server.renegotiate(pair.now);
            }
            for _ in 0..1_000 {
                traffic.step(&mut pair, 10 * SECOND);
            }
        }
        assert_eq!(ended(&pair), None);
        assert_eq!(lane(&pair).installed(), 10);
        assert_eq!(traffic.finish(&mut pair), (vec![], vec![]));
        let soft = pair.sent.0.iter().filter(|datagram| datagram[0] >> 3 == 3);
        // Nine bytes of head, packet id and time, tag, and the body in cipher.
        assert!(soft.clone().count() >= 9 && soft.clone().all(|datagram| datagram.len() >= 9 + 8 + 32 + 5));
    }
}

#[test]
fn keys_without_the_exporter_follow_from_both_sides_randoms() {
    let client = SessionConfig { renewal: never(), ..config(Wrap::None) };
    let old = |server: &mut TestServerConfig| {
        server.push[0] = server.push[0].replace(",protocol-flags cc-exit tls-ekm", "");
    };
    let mut pair = up_with(client, old, Link::default(), 7);
    let mut traffic = Traffic::default();
    for round in 0..3 {
        for _ in 0..100 {
            traffic.step(&mut pair, SECOND);
        }
        if round == 0 {
            pair.client.renegotiate(pair.now)
        } else {
            pair.server.renegotiate(pair.now)
        }
        wait(&mut pair, limits::SOFT_RESET_INTERVAL);
    }
    assert_eq!(lane(&pair).installed(), 4);
    assert_eq!(traffic.finish(&mut pair), (vec![], vec![]));
}

#[test]
fn the_old_key_seals_for_half_of_the_last_interval_a_minute_at_most() {
    for (idle, patience) in [(1, 1), (10, 5), (100, 50), (1_000, 60)] {
        let mut pair = up(Renewal { reneg_sec: Some(Duration::from_secs(idle)), ..Renewal::default() });
        let since = pair.now;
        while lane(&pair).installed() < 2 {
            pair.client.heard(pair.now);
            wait(&mut pair, SECOND / 10);
        }
        let after = lane(&pair).newest().seal_after.since(since);
        let expected = Duration::from_secs(idle + patience);
        assert!(after.abs_diff(expected) < SECOND, "{idle} s idle: {after:?}");
    }
}

#[test]
fn a_negotiation_that_outlasts_the_old_key_ends_it_with_the_new_one_at_hand() {
    let mut pair = up(Renewal { tran_window: Duration::from_millis(15), ..never() });
    pair.client.renegotiate(pair.now);
    pair.run_until(SECOND, |pair| lane(pair).installed() == 2);
    assert_eq!(lane(&pair).ids(), [1]);
    assert!(pair.client.poll_timeout().is_none_or(|(at, _)| at > pair.now));
}

#[test]
fn the_old_key_seals_for_half_of_its_remaining_life_at_most() {
    let mut pair = up(Renewal { tran_window: Duration::from_secs(10), ..never() });
    for _ in 0..600 {
        pair.client.heard(pair.now);
        wait(&mut pair, SECOND);
    }
    let begun = pair.now;
    pair.client.renegotiate(begun);
    wait(&mut pair, SECOND);
    let after = lane(&pair).newest().seal_after.since(begun);
    assert!(after.abs_diff(Duration::from_secs(5)) < SECOND, "{after:?}");
}

#[test]
fn a_worn_key_seals_ten_seconds_more_at_most() {
    for (idle, patience) in [(4, 2), (600, 10)] {
        let mut pair = up(never());
        for _ in 0..idle {
            pair.client.heard(pair.now);
            wait(&mut pair, SECOND);
        }
        let begun = pair.now;
        pair.client.renegotiate(begun);
        wait(&mut pair, SECOND);
        let after = lane(&pair).newest().seal_after.since(begun);
        assert!(after.abs_diff(Duration::from_secs(patience)) < SECOND, "{after:?}");
    }
}

#[test]
fn the_old_key_ends_after_tran_window() {
    let renewal = Renewal { tran_window: Duration::from_secs(20), ..never() };
    let mut pair = up(renewal);
    let begun = pair.now;
    pair.client.renegotiate(begun);
    wait(&mut pair, Duration::from_secs(19));
    assert_eq!(lane(&pair).ids(), [0, 1]);
    wait(&mut pair, SECOND);
    assert_eq!(lane(&pair).ids(), [1]);
}

#[test]
fn bytes_and_packets_carried_bring_a_new_key() {
    for renewal in [Renewal { reneg_bytes: Some(1_000), ..never() }, Renewal { reneg_pkts: Some(10), ..never() }] {
        let mut pair = up(renewal);
        for (bytes, packets, installed) in
            [(5_000, 500, 1), (5_999, 509, 1), (6_000, 510, 2), (6_999, 519, 2), (7_000, 520, 3)]
        {
            pair.client.carried(bytes, packets, pair.now);
            wait(&mut pair, SECOND);
            assert_eq!(lane(&pair).installed(), installed, "{bytes}");
        }
    }
}

#[test]
fn a_renegotiation_that_does_not_finish_in_hand_window_ends_the_session() {
    let mut pair = up(never());
    pair.server.forget();
    let begun = pair.now;
    pair.client.renegotiate(begun);
    while pair.client.stage() != Stage::Ended {
        pair.client.heard(pair.now);
        wait(&mut pair, SECOND);
    }
    assert_eq!(ended(&pair), Some(&EndReason::HandshakeTimeout(Stage::Reset)));
    assert_eq!(pair.now.since(begun).as_secs(), 60);
}

#[test]
fn a_server_that_begins_again_too_soon_is_answered_ten_seconds_after_the_last_time() {
    let interval = limits::SOFT_RESET_INTERVAL;
    let step = Duration::from_millis(10);
    for (after, answered) in
        [(3 * SECOND, interval), (interval - step, interval), (interval, interval), (interval + step, interval + step)]
    {
        let mut pair = up(never());
        let first = pair.now;
        pair.server.renegotiate(first);
        wait(&mut pair, after);
        pair.server.renegotiate(pair.now);
        while lane(&pair).installed() < 3 {
            pair.client.heard(pair.now);
            wait(&mut pair, step);
        }
        // Three round trips of 20 ms follow, and the way of the first packet.
        let took = pair.now.since(first);
        assert!(took >= answered && took < answered + 20 * step, "{after:?}: {took:?}");
    }
}

#[test]
fn what_a_server_began_too_soon_is_answered_at_once_when_our_own_time_has_come() {
    let mut pair = up(Renewal { reneg_sec: Some(4 * SECOND), ..Renewal::default() });
    pair.server.renegotiate(pair.now);
    wait(&mut pair, Duration::from_millis(3_900));
    pair.server.renegotiate(pair.now);
    wait(&mut pair, Duration::from_millis(400));
    assert_eq!(lane(&pair).installed(), 3);
}

#[test]
fn closing_while_the_server_waits_for_our_answer_leaves_by_the_data_channel() {
    let mut pair = up(never());
    pair.server.renegotiate(pair.now);
    wait(&mut pair, SECOND);
    pair.server.renegotiate(pair.now);
    wait(&mut pair, SECOND);
    pair.client.close(pair.now);
    pair.drain();
    assert!(matches!(pair.events[..], [.., Event::ExitNotify, Event::Ended(EndReason::Closed)]));
}

#[test]
fn the_servers_messages_are_heard_while_and_after_a_new_key_is_made() {
    let mut pair = up(never());
    pair.client.renegotiate(pair.now);
    pair.server.say("INFO,old channel", pair.now);
    wait(&mut pair, SECOND);
    pair.server.say("INFO,new channel", pair.now);
    pair.server.say("RESTART", pair.now);
    wait(&mut pair, SECOND);
    let said: Vec<&str> =
        pair.events.iter().filter_map(|e| if let Event::Info(t) = e { Some(t.as_str()) } else { None }).collect();
    assert!(said.ends_with(&["new channel"]));
    assert_eq!(ended(&pair).unwrap().code(), "server-restart");
}

#[test]
fn closing_while_a_new_key_is_made_leaves_by_the_data_channel() {
    let mut pair = up(never());
    pair.client.renegotiate(pair.now);
    pair.client.close(pair.now);
    pair.drain();
    assert!(matches!(pair.events[..], [.., Event::ExitNotify, Event::Ended(EndReason::Closed)]));
}

// proves: T-14
#[test]
fn a_key_near_a_limit_is_replaced_without_a_gap() {
    let worn = limits::GCM_USAGE_WORN;
    for age in [(limits::DATA_PACKET_ID_WORN - 50, 0), (1, worn - 100), (limits::DATA_PACKET_ID_WORN - 50, worn - 100)]
    {
        let client = SessionConfig { renewal: never(), ..config(Wrap::None) };
        let server = TestServerConfig::new(Wrap::None);
        let mut pair = Pair::new(client, server, Link::default(), 3);
        pair.lane = Some(Lane::aged(age.0, age.1));
        pair.run(Duration::from_secs(60));
        assert!(!lane(&pair).worn());
        let mut traffic = Traffic::default();
        for _ in 0..1_000 {
            traffic.step(&mut pair, 10 * SECOND);
            if lane(&pair).worn() {
                pair.client.renegotiate(pair.now);
            }
        }
        assert_eq!(lane(&pair).installed(), 2);
        assert!(!lane(&pair).worn());
        assert_eq!(traffic.finish(&mut pair), (vec![], vec![]));
    }
}

fn login() -> Credentials {
    Credentials { user: "alice".into(), password: Secret::new("secret".into()) }
}

fn password(pair: &Pair) -> String {
    let message = pair.server.client_message().unwrap();
    String::from_utf8([&message.user[..], b":", &message.password].concat()).unwrap()
}

fn with_token(server: &mut TestServerConfig) {
    server.push[0].push_str(",auth-token SESS_ID_AT_one,auth-token-user YWxpYXMx");
}

// proves: T-39
#[test]
fn a_token_stands_for_the_password_and_is_refreshed() {
    let client = SessionConfig { renewal: never(), credentials: Some(login()), ..config(Wrap::None) };
    let mut pair = up_with(client.clone(), with_token, Link::default(), 7);
    assert_eq!(password(&pair), "alice:secret");
    pair.client.renegotiate(pair.now);
    wait(&mut pair, SECOND);
    assert_eq!(password(&pair), "alias1:SESS_ID_AT_one");
    pair.server.say("PUSH_REPLY,auth-token SESS_ID_AT_two", pair.now);
    wait(&mut pair, SECOND);
    pair.client.renegotiate(pair.now);
    wait(&mut pair, SECOND);
    assert_eq!(password(&pair), "alias1:SESS_ID_AT_two");
    let tokens: Vec<_> =
        pair.events.iter().filter_map(|e| if let Event::Token(t) = e { Some(t.clone()) } else { None }).collect();
    assert_eq!(tokens.len(), 2);
    let printed = format!("{:?} {:?}", pair.client, pair.events);
    assert!(!printed.contains("SESS_ID") && !printed.contains("secret"), "tokens do not print");
    let token = tokens.last().cloned();
    let pair = up_with(SessionConfig { token, ..client }, |_| {}, Link::default(), 8);
    assert_eq!(password(&pair), "alias1:SESS_ID_AT_two");
}

// proves: T-39
#[test]
fn a_token_that_is_too_long_or_not_printable_is_not_taken() {
    let client = SessionConfig { renewal: never(), credentials: Some(login()), ..config(Wrap::None) };
    for (token, taken) in [
        ("x".repeat(4_095), true),
        ("x".repeat(4_096), true),
        ("x".repeat(4_097), false),
        ("x".repeat(60_000), false),
        (String::from("bell\u{7}"), false),
        (String::from("esc\u{1b}[2J"), false),
    ] {
        let mut pair = up_with(client.clone(), |_| {}, Link::default(), 7);
        pair.server.say(&format!("PUSH_REPLY,auth-token {token}"), pair.now);
        wait(&mut pair, 5 * SECOND);
        assert_eq!(pair.events.iter().any(|event| matches!(event, Event::Token(_))), taken, "{} bytes", token.len());
        assert_eq!(ended(&pair), None);
    }
}

// proves: T-39
#[test]
fn a_refused_token_is_no_refused_login() {
    let refusals = ["AUTH_FAILED", "AUTH_FAILED,SESSION:expired", "AUTH_FAILED,CRV1:R:state:dXNlcg==:code?"];
    for text in refusals {
        let client = SessionConfig { renewal: never(), credentials: Some(login()), ..config(Wrap::None) };
        let mut pair = up_with(client, with_token, Link::default(), 7);
        pair.server.set_login(Login::Refuse(text.into()));
        pair.client.renegotiate(pair.now);
        wait(&mut pair, SECOND);
        let reason = ended(&pair).unwrap();
        assert!(matches!(reason, EndReason::TokenRefused { .. }), "{text}: {reason:?}");
        assert!(!reason.is_final());
    }
}

#[test]
fn a_refused_password_at_a_renegotiation_is_final() {
    let client = SessionConfig { renewal: never(), credentials: Some(login()), ..config(Wrap::None) };
    let mut pair = up_with(client, |_| {}, Link::default(), 7);
    pair.server.set_login(Login::Refuse("AUTH_FAILED,locked".into()));
    pair.client.renegotiate(pair.now);
    wait(&mut pair, SECOND);
    assert_eq!((ended(&pair).unwrap().code(), ended(&pair).unwrap().is_final()), ("auth-refused", true));
}

// proves: F-27
#[test]
fn no_gap_is_longer_than_a_second_with_a_fifth_of_control_lost_and_both_sides_at_once() {
    for (seed, wrap) in (0..12).map(|seed| (seed, wraps()[usize::try_from(seed % 3).unwrap()].clone())) {
        let link = Link { loss: 51, doubling: 25, delay: 80 };
        let renewal = Renewal { reneg_sec: Some(60 * SECOND), ..never() };
        let mut pair = up_with(SessionConfig { renewal, ..config(wrap) }, |_| {}, link, seed);
        let (mut traffic, mut keys) = (Traffic::default(), 1);
        while keys < 5 {
            traffic.step(&mut pair, 30 * SECOND);
            let Some((due, Timer::Renewal)) = pair.client.poll_timeout() else { continue };
            if due.since(pair.now) < Duration::from_millis(20) {
                keys += 1;
                pair.server.renegotiate(pair.now);
            }
        }
        (0..2_000).for_each(|_| traffic.step(&mut pair, 30 * SECOND));
        assert!(lane(&pair).installed() >= 5, "seed {seed}");
        let (up, down) = traffic.finish(&mut pair);
        for missing in [up, down] {
            // 50 packets are one second.
            assert!(missing.windows(50).all(|run| run[49] - run[0] > 49), "seed {seed}: {missing:?}");
        }
        assert_eq!(ended(&pair), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    // proves: I-12
    #[test]
    fn a_renegotiation_ends_with_a_key_or_with_a_reason_over_any_link(
        seed in any::<u64>(),
        loss in 0u8..120,
        doubling in 0u8..120,
        delay in 0u8..200,
        who in proptest::collection::vec(0u8..4, 1..12),
        wrap in 0usize..3,
    ) {
        let link = Link { loss, doubling, delay };
        let client = SessionConfig { renewal: never(), ..config(wraps()[wrap].clone()) };
        let mut pair = up_with(client, |_| {}, Link::default(), seed);
        pair.link = link;
        let mut traffic = Traffic::default();
        for who in who {
            if who & 1 != 0 {
                pair.client.renegotiate(pair.now);
            }
            if who & 2 != 0 {
                pair.server.renegotiate(pair.now);
            }
            for _ in 0..30 {
                traffic.step(&mut pair, Duration::from_millis(300));
            }
        }
        for _ in 0..62 {
            pair.client.heard(pair.now);
            wait(&mut pair, SECOND);
        }
        let reason = ended(&pair);
        prop_assert!(matches!(reason, None | Some(EndReason::HandshakeTimeout(_))), "{:?}", reason);
        if loss < 40 {
            prop_assert_eq!(reason, None);
        }
    }
}
