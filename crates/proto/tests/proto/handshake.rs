//! Whole sessions against the scripted server: up, refused, restarted, closed, over good and bad links.

use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_profile::{Cipher, Credentials, Digest, KeyDirection, Secret, StaticKey, Transport, Wrap};
use mrvpn_proto::control_text::AuthFailure;
use mrvpn_proto::peer::{Login, TestServerConfig, server_key};
use mrvpn_proto::session::Unsupported;
use mrvpn_proto::{DataKeys, EndReason, Established, Event, Stage, Timer, TlsError};
use proptest::prelude::*;

use crate::pair::{Link, Pair, accept, config, refusing};

const MINUTE: Duration = Duration::from_secs(61);

fn wraps() -> [Wrap; 4] {
    let key = StaticKey::from_bytes((0..=255).collect()).unwrap();
    [
        Wrap::None,
        Wrap::TlsAuth { key: key.clone(), direction: KeyDirection::Inverse, digest: Digest::Sha256 },
        Wrap::TlsCrypt { key: key.clone() },
        Wrap::TlsCryptV2 { wrapped: server_key().seal(&key, &[1; 9]), key },
    ]
}

fn pair(wrap: Wrap, change: impl FnOnce(&mut TestServerConfig)) -> Pair {
    let mut server = TestServerConfig::new(wrap.clone());
    change(&mut server);
    Pair::new(config(wrap), server, Link::default(), 1)
}

fn up(change: impl FnOnce(&mut TestServerConfig)) -> Pair {
    let mut pair = pair(Wrap::None, change);
    pair.run(MINUTE);
    assert_eq!(pair.client.stage(), Stage::Up, "{:?}", pair.events);
    pair
}

/// The end of a session against a changed server.
fn end(change: impl FnOnce(&mut TestServerConfig)) -> EndReason {
    let mut pair = pair(Wrap::None, change);
    pair.run(MINUTE);
    ended(&pair).unwrap_or_else(|| panic!("not ended: {:?}", pair.client.stage())).clone()
}

fn ended(pair: &Pair) -> Option<&EndReason> {
    pair.events.iter().find_map(|event| if let Event::Ended(reason) = event { Some(reason) } else { None })
}

fn established(pair: &Pair) -> &Established {
    let mut found =
        pair.events.iter().filter_map(|event| if let Event::Established(it) = event { Some(it) } else { None });
    found.next().unwrap()
}

fn keys(pair: &mut Pair) -> DataKeys {
    let place = pair.events.iter().position(|event| matches!(event, Event::Keys(_))).unwrap();
    let Event::Keys(keys) = pair.events.remove(place) else { panic!("keys") };
    *keys
}

#[test]
fn a_session_comes_up_under_every_wrapping() {
    for wrap in wraps() {
        let mut pair = pair(wrap, |_| {});
        pair.run(MINUTE);
        let kinds: Vec<&str> = pair.events.iter().map(kind).collect();
        assert_eq!(kinds, ["reached", "keys", "established"]);
        let established = established(&pair);
        assert_eq!(established.assignment.ipv4.unwrap().address.to_string(), "10.8.0.2/24");
        assert_eq!(established.cipher, Cipher::Aes256Gcm);
        assert_eq!(pair.client.poll_timeout().unwrap().1, Timer::PingRestart);
    }
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::Reached => "reached",
        Event::Keys(_) => "keys",
        Event::Established(_) => "established",
        Event::Retire(_) => "retire",
        Event::Token(_) => "token",
        Event::Info(_) => "info",
        Event::ExitNotify => "exit-notify",
        Event::Ended(_) => "ended",
    }
}

#[test]
fn the_keys_of_both_sides_fit_each_other() {
    for cipher in Cipher::DEFAULT {
        let mut pair = up(|server| {
            server.cipher = cipher;
            server.push[0] = server.push[0].replace("AES-256-GCM", cipher.name());
        });
        let mut keys = keys(&mut pair);
        let mut frame = [vec![0; 24], b"inner packet".to_vec()].concat();
        keys.sealer.seal(&mut frame).unwrap();
        pair.server.handle_datagram(&frame, pair.now);
        assert_eq!(pair.server.poll_packet().unwrap(), b"inner packet");
        pair.server.send_packet(b"the answer", Duration::ZERO, pair.now);
        let mut answer = pair.server.poll_transmit().unwrap();
        assert_eq!(keys.opener.open(&mut answer, pair.now).unwrap(), b"the answer");
    }
}

#[test]
fn the_first_packet_after_the_servers_reset_carries_its_acknowledgement() {
    let pair = up(|_| {});
    let second = &pair.sent.0[1];
    assert_eq!(second[0], 0x20, "CONTROL_V1");
    assert_eq!(second[9..14], [1, 0, 0, 0, 0], "one acknowledgement, of message 0");
}

#[test]
fn control_packets_fit_the_size_that_openvpn_sends() {
    for wrap in wraps() {
        let mut pair = pair(wrap, |_| {});
        pair.run(MINUTE);
        let largest = pair.sent.0.iter().map(Vec::len).max().unwrap();
        assert!(largest <= 1_250 - 28, "{largest}");
    }
}

#[test]
fn the_key_exchange_tells_who_we_are() {
    let mut client = config(Wrap::None);
    client.credentials = Some(Credentials { user: "alice".into(), password: Secret::new("secret".into()) });
    let mut server = TestServerConfig::new(Wrap::None);
    server.login = Login::Only(client.credentials.clone().unwrap());
    let mut pair = Pair::new(client, server, Link::default(), 1);
    pair.run(MINUTE);
    assert_eq!(pair.client.stage(), Stage::Up);
    let message = pair.server.client_message().unwrap();
    let info = String::from_utf8(message.peer_info.clone()).unwrap();
    assert!(info.starts_with("IV_VER=mrvpn-0.1.0\nIV_PLAT=linux\n") && info.ends_with("IV_PROTO=926\n"), "{info}");
    assert!(!format!("{:?}", pair.client).contains("secret"));
}

#[test]
fn a_server_that_pushes_only_when_asked_costs_no_time() {
    let (asked, unasked) = (up(|server| server.unasked_push = false), up(|_| {}));
    assert_eq!(asked.server.said(), ["PUSH_REQUEST"]);
    assert_eq!(asked.now, unasked.now);
}

#[test]
fn a_server_that_never_pushes_is_asked_every_five_seconds_until_the_minute_is_over() {
    let mut pair = pair(Wrap::None, |server| server.login = Login::Silent);
    pair.run(MINUTE);
    assert_eq!(ended(&pair), Some(&EndReason::HandshakeTimeout(Stage::Push)));
    assert_eq!(pair.server.said().len(), 13);
}

#[test]
fn a_push_in_parts_is_waited_for() {
    let pair = up(|server| {
        server.push = vec![
            String::from("PUSH_REPLY,route 10.20.0.0 255.255.0.0,ping 10,ping-restart 60,push-continuation 2"),
            String::from("PUSH_REPLY,topology subnet,ifconfig 10.8.0.2 255.255.255.0,push-continuation 2"),
            String::from("PUSH_REPLY,peer-id 7,cipher AES-256-GCM,protocol-flags cc-exit tls-ekm,push-continuation 1"),
        ];
    });
    let assignment = &established(&pair).assignment;
    assert_eq!(assignment.routes.len(), 1);
    assert_eq!(assignment.keepalive.ping_restart, Some(Duration::from_secs(60)));
}

#[test]
fn a_refused_login_is_told_with_the_servers_words() {
    assert_eq!(
        end(|server| server.login = Login::Refuse("AUTH_FAILED,no such user\u{e9}".into())),
        EndReason::AuthFailed { reason: Some("no such user\\xc3\\xa9".into()), kind: AuthFailure::Refused }
    );
    let wrong = Credentials { user: "bob".into(), password: Secret::new("x".into()) };
    let reason = end(|server| server.login = Login::Only(wrong));
    assert_eq!((reason.code(), reason.stage(), reason.is_final()), ("auth-refused", "auth", true));
    let later = end(|server| server.login = Login::Refuse("AUTH_FAILED,TEMP[backoff 5]:busy".into()));
    assert!(!later.is_final());
}

// proves: T-12
#[test]
fn a_cipher_outside_the_profiles_list_is_refused_by_name_however_the_server_names_it() {
    let foreign =
        ["AES-256-CBC", "AES-128-CBC", "BF-CBC", "DES-EDE3-CBC", "RC2-CBC", "none", "[null-cipher]", "AES-128-GCM"];
    for (name, pushed) in foreign.iter().flat_map(|name| [(*name, true), (*name, false)]) {
        for fallback in [None, Some(Cipher::ChaCha20Poly1305)] {
            let mut client = config(Wrap::None);
            client.ciphers = vec![Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305];
            client.fallback = fallback;
            let mut server = TestServerConfig::new(Wrap::None);
            if pushed {
                server.push[0] = server.push[0].replace("AES-256-GCM", name);
            } else {
                server.push[0] = server.push[0].replace(",cipher AES-256-GCM", "");
                server.options.push_str(&format!(",cipher {name}"));
            }
            let mut pair = Pair::new(client.clone(), server, Link::default(), 1);
            pair.run(MINUTE);
            let expected = EndReason::Cipher { server: Some(name.into()), allowed: client.ciphers };
            assert_eq!(ended(&pair), Some(&expected), "{name}, pushed: {pushed}");
            assert!(expected.to_string().contains(name) && expected.is_final());
        }
    }
}

#[test]
fn without_a_pushed_cipher_the_options_string_and_then_the_fallback_decide() {
    let unnamed = |server: &mut TestServerConfig| server.push[0] = server.push[0].replace(",cipher AES-256-GCM", "");
    let reason = end(unnamed);
    assert_eq!(reason, EndReason::Cipher { server: None, allowed: Cipher::DEFAULT.to_vec() });
    let pair = up(|server| {
        unnamed(server);
        server.options.push_str(",cipher AES-256-GCM");
    });
    assert_eq!(established(&pair).cipher, Cipher::Aes256Gcm);
    let mut client = config(Wrap::None);
    client.fallback = Some(Cipher::ChaCha20Poly1305);
    let mut server = TestServerConfig::new(Wrap::None);
    unnamed(&mut server);
    let mut pair = Pair::new(client, server, Link::default(), 1);
    pair.run(MINUTE);
    assert_eq!(established(&pair).cipher, Cipher::ChaCha20Poly1305);
}

#[test]
fn a_server_without_peer_id_or_with_the_epoch_format_is_refused_by_name() {
    let without = |text: &'static str| {
        move |server: &mut TestServerConfig| {
            server.push[0] = server.push[0].replace(text, "");
        }
    };
    assert_eq!(end(without(",peer-id 7")), EndReason::Unsupported(Unsupported::NoPeerId));
    let epoch = end(|server| server.push[0] = server.push[0].replace("tls-ekm", "tls-ekm aead-epoch"));
    assert_eq!(epoch, EndReason::Unsupported(Unsupported::AeadEpoch));
}

#[test]
fn a_silent_server_is_asked_again_and_again_until_the_minute_is_over() {
    let mut client = pair(Wrap::None, |_| {}).client;
    let (mut at, mut resets) = (Moment::default(), Vec::new());
    while let Some((next, _)) = client.poll_timeout() {
        resets.extend(client.poll_transmit().map(|_| at.as_nanos() / 1_000_000_000));
        at = next;
        client.handle_timeout(at);
    }
    assert_eq!(resets, [0, 1, 3, 7, 15, 23, 31, 39, 47, 55]);
    assert!(!client.answered());
    assert!(matches!(client.poll_event(), Some(Event::Ended(EndReason::NoAnswer))));
    assert_eq!(at.as_nanos(), 60_000_000_000);
    assert!(client.poll_event().is_none() && client.poll_transmit().is_none());
}

#[test]
fn the_servers_messages_end_a_tunnel_that_is_up() {
    for (text, code, is_final) in [
        ("RESTART,[N]moving", "server-restart", false),
        ("HALT,for good", "server-halt", true),
        ("EXIT", "server-exit", false),
        ("AUTH_FAILED,kicked", "auth-refused", true),
    ] {
        let mut pair = up(|_| {});
        pair.server.say(text, pair.now);
        pair.run_until(MINUTE, |pair| pair.client.stage() == Stage::Ended);
        let reason = ended(&pair).unwrap();
        assert_eq!((reason.code(), reason.is_final()), (code, is_final));
    }
}

#[test]
fn information_is_passed_on_and_unknown_messages_are_not() {
    let mut pair = up(|_| {});
    pair.server.say("INFO,maintenance at 5", pair.now);
    pair.server.say("SOMETHING_NEW,x", pair.now);
    pair.server.say("PUSH_REPLY,ifconfig 10.9.9.9 255.255.255.0", pair.now);
    pair.run_until(Duration::from_secs(2), |pair| pair.events.len() > 3);
    assert!(matches!(pair.events.last(), Some(Event::Info(text)) if text == "maintenance at 5"));
    assert_eq!(pair.client.stage(), Stage::Up);
}

#[test]
fn a_login_that_waits_for_a_second_factor_gets_the_time_the_server_says_ten_minutes_at_most() {
    for (asked, lasts) in [("30", 60), ("300", 300), ("100000", 600)] {
        let mut pair = pair(Wrap::None, |server| {
            server.login = Login::Refuse(format!("AUTH_PENDING,timeout {asked}"));
        });
        pair.run(Duration::from_secs(1_000));
        assert_eq!(ended(&pair), Some(&EndReason::HandshakeTimeout(Stage::Push)));
        assert!(pair.now.as_nanos().abs_diff(lasts * 1_000_000_000) < 1_000_000_000, "{}", pair.now);
    }
}

#[test]
fn silence_for_the_time_of_ping_restart_ends_the_session_and_data_heard_puts_it_off() {
    let mut pair = up(|_| {});
    let since = pair.now;
    pair.client.heard(since + Duration::from_secs(30));
    pair.server.forget();
    pair.run_until(Duration::from_secs(200), |pair| pair.client.stage() == Stage::Ended);
    assert_eq!(ended(&pair), Some(&EndReason::PingRestart));
    assert_eq!(pair.now.since(since).as_secs(), 90);
}

#[test]
fn closing_says_exit_and_waits_for_its_acknowledgement() {
    let mut pair = up(|_| {});
    pair.client.close(pair.now);
    assert_eq!(pair.client.stage(), Stage::Closing);
    pair.run_until(Duration::from_secs(2), |pair| pair.client.stage() == Stage::Ended);
    assert_eq!(pair.server.said(), ["PUSH_REQUEST", "EXIT"]);
    assert_eq!(ended(&pair), Some(&EndReason::Closed));
    assert_eq!(pair.client.poll_timeout(), None);
}

#[test]
fn closing_waits_a_second_at_most() {
    let mut pair = up(|_| {});
    pair.server.forget();
    let since = pair.now;
    pair.client.close(pair.now);
    pair.run_until(Duration::from_secs(9), |pair| pair.client.stage() == Stage::Ended);
    assert_eq!(ended(&pair), Some(&EndReason::Closed));
    assert_eq!(pair.now.since(since), Duration::from_secs(1));
}

#[test]
fn without_cc_exit_the_lane_is_asked_to_say_goodbye_where_the_profile_wants_it() {
    for (wanted, kinds) in [(Some(1), &["exit-notify", "ended"][..]), (None, &["ended"]), (Some(0), &["ended"])] {
        let mut client = config(Wrap::None);
        client.explicit_exit_notify = wanted;
        let mut server = TestServerConfig::new(Wrap::None);
        server.push[0] = server.push[0].replace("cc-exit ", "");
        let mut pair = Pair::new(client, server, Link::default(), 1);
        pair.run(MINUTE);
        pair.events.clear();
        pair.client.close(pair.now);
        pair.drain();
        assert_eq!(pair.events.iter().map(kind).collect::<Vec<_>>(), kinds);
    }
}

#[test]
fn closing_before_tls_is_up_ends_at_once() {
    for time in [0, 25] {
        let mut pair = pair(Wrap::None, |_| {});
        pair.run_until(Duration::from_millis(time), |_| false);
        pair.client.close(pair.now);
        pair.drain();
        assert_eq!(ended(&pair), Some(&EndReason::Closed));
    }
}

#[test]
fn a_session_that_is_left_before_it_is_up_is_told_to_the_server() {
    let mut pair = pair(Wrap::None, |server| server.login = Login::Silent);
    pair.run_until(Duration::from_secs(3), |pair| pair.client.stage() == Stage::Push);
    pair.client.close(pair.now);
    assert_eq!(pair.client.stage(), Stage::Closing);
    pair.run_until(Duration::from_secs(2), |pair| pair.client.stage() == Stage::Ended);
    assert_eq!(ended(&pair), Some(&EndReason::Closed));
    assert_eq!(pair.server.said(), ["PUSH_REQUEST", "EXIT"]);
}

#[test]
fn a_session_that_we_give_up_is_told_to_the_server() {
    let changes: [fn(&mut TestServerConfig); 3] = [
        |server| server.push[0] = server.push[0].replace("AES-256-GCM", "AES-256-CBC"),
        |server| server.push[0] = server.push[0].replace(",peer-id 7", ""),
        |server| server.push[0] = server.push[0].replace("10.8.0.2 ", "10.8.0.2"),
    ];
    for change in changes {
        let mut pair = pair(Wrap::None, change);
        pair.run(MINUTE);
        assert!(ended(&pair).is_some());
        pair.run_until(Duration::from_secs(1), |_| false);
        assert_eq!(pair.server.said(), ["PUSH_REQUEST", "EXIT"], "{:?}", ended(&pair));
    }
}

#[test]
fn what_the_server_ends_is_not_told_to_it() {
    let mut pair = up(|_| {});
    pair.server.say("RESTART", pair.now);
    pair.run_until(MINUTE, |pair| pair.client.stage() == Stage::Ended);
    pair.run_until(Duration::from_secs(1), |_| false);
    assert_eq!(pair.server.said(), ["PUSH_REQUEST"]);
}

#[test]
fn over_tcp_the_end_of_the_stream_is_the_farewell() {
    let mut client = config(Wrap::None);
    client.transport = Transport::Tcp;
    client.explicit_exit_notify = Some(1);
    let mut pair = Pair::new(client, TestServerConfig::new(Wrap::None), Link::default(), 1);
    pair.run(MINUTE);
    let options = String::from_utf8(pair.server.client_message().unwrap().options.clone()).unwrap();
    assert!(options.contains(",proto TCPv4_CLIENT,"), "{options}");
    pair.client.close(pair.now);
    pair.drain();
    assert_eq!(pair.events.iter().map(kind).collect::<Vec<_>>(), ["reached", "keys", "established", "ended"]);
}

// proves: T-40
#[test]
fn what_the_server_says_is_shown_as_printable_text_of_bounded_length() {
    let long = "x".repeat(5_000);
    let texts = [
        "INFO_PRE,WEB_AUTH:external:https://login.example/a?b=c",
        "INFO_PRE,OPEN_URL:http://plain.example/",
        "INFO,caf\u{e9} \u{202e}gnp.exe \u{7f}",
        "INFO,\u{1b}[2J\u{1b}]0;owned\u{7}",
        "AUTH_FAILED,no such user \u{202e}",
        "AUTH_FAILED,TEMP[backoff 5,advance addr]:busy \u{e9}",
        "AUTH_FAILED,CRV1:R,E:c3RhdGU=:dXNlcg==:what is it\u{e9}?",
        "RESTART,[N]elsewhere \u{2028}",
        "HALT,no more \u{e9}",
        "RESTART,\u{9b}31m",
    ];
    for text in texts
        .map(String::from)
        .into_iter()
        .chain(["INFO,", "AUTH_FAILED,", "HALT,"].map(|kind| format!("{kind}{long}")))
    {
        let mut pair = up(|_| {});
        pair.server.say(&text, pair.now);
        pair.run_until(Duration::from_secs(1), |_| false);
        for event in &pair.events {
            let shown = match event {
                Event::Info(text) => text.clone(),
                Event::Ended(reason) => reason.to_string(),
                Event::Reached | Event::Keys(_) | Event::Retire(_) | Event::Established(_) | Event::Token(_) => {
                    continue;
                }
                Event::ExitNotify => continue,
            };
            assert!(shown.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{text:?}: {shown:?}");
            assert!(shown.len() < 400, "{text:?}: {} bytes", shown.len());
        }
    }
}

#[test]
fn a_refused_certificate_ends_the_session_with_an_alert_to_the_server() {
    use mrvpn_proto::peer::TestServer;
    let refusal = TlsError::UnknownIssuer { subject: "CN=x".into() };
    let session = refusing(config(Wrap::None), 1, Some(refusal.clone()));
    let server = TestServer::new(TestServerConfig::new(Wrap::None), accept(1), crate::pair::WALL);
    let mut pair = Pair::of(session, server, Link::default(), 1);
    pair.run(MINUTE);
    assert_eq!(ended(&pair), Some(&EndReason::Tls(refusal)));
    let last = pair.sent.0.last().unwrap();
    assert!(last.ends_with(&[21, 0, 0, 0, 2, 2, 48]), "the alert");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // proves: T-04
    #[test]
    fn a_handshake_ends_up_or_with_a_reason_over_any_link(
        seed in any::<u64>(),
        loss in 0u8..200,
        doubling in 0u8..120,
        delay in 0u8..200,
        wrap in 0usize..4,
        parts in 1usize..20,
    ) {
        let wrap = wraps()[wrap].clone();
        let mut server = TestServerConfig::new(wrap.clone());
        let last = server.push.remove(0);
        for part in 0..parts {
            server.push.push(format!("PUSH_REPLY,{}push-continuation 2", format!("route 10.{part}.0.0 255.255.0.0,").repeat(20)));
        }
        server.push.push(last);
        let mut pair = Pair::new(config(wrap), server, Link { loss, doubling, delay }, seed);
        pair.run(MINUTE);
        let stage = pair.client.stage();
        prop_assert!(matches!(stage, Stage::Up | Stage::Ended), "{stage:?}");
        let ends = pair.events.iter().filter(|event| matches!(event, Event::Ended(_))).count();
        prop_assert_eq!(ends, usize::from(stage == Stage::Ended));
        if stage == Stage::Ended {
            let reason = ended(&pair).unwrap();
            prop_assert!(matches!(reason, EndReason::NoAnswer | EndReason::HandshakeTimeout(_)), "{:?}", reason);
        }
        if loss < 40 {
            prop_assert_eq!(stage, Stage::Up);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_run(seed in any::<u64>(), loss in 0u8..100) {
        let run = || {
            let link = Link { loss, doubling: 20, delay: 60 };
            let mut pair = Pair::new(config(Wrap::None), TestServerConfig::new(Wrap::None), link, seed);
            pair.run(MINUTE);
            (pair.sent, pair.now)
        };
        prop_assert_eq!(run(), run());
    }
}
