//! What a server says inside TLS: T-23, T-30, T-31, T-40, T-48.

use std::time::Duration;

use super::Script;
use crate::sim::hostile::far::Answer;

const SECOND: Duration = Duration::from_secs(1);
const TENTH: Duration = Duration::from_millis(100);

/// Texts that no terminal, log or shell should see.
const ODD: [&[u8]; 9] = [
    b"\x1b[2J\x1b]0;owned\x07",
    b"a\nb\rc\td",
    b"\x00\x01\x02",
    b"\xff\xfe\xc0\x80",
    b"\xc2\x9b31m",
    "\u{202e}\u{feff}\u{85}".as_bytes(),
    b"%s%n$(id)`id`;id|id",
    b"\x7f\x08\x08",
    b"",
];

pub(super) const SCRIPTS: [Script; 14] = [
    Script::new("control-bytes-in-every-word", &["T-30", "T-40"], |arena| {
        arena.come_up();
        for word in ["INFO,", "INFO_PRE,", "ECHO,", "PUSH_UPDATE,", "WHAT,", ""] {
            for text in ODD {
                arena.say(&[word.as_bytes(), text].concat());
            }
            arena.pass(SECOND);
        }
        arena.expect_same();
    }),
    Script::new("control-bytes-in-a-restart", &["T-30", "T-41"], |arena| {
        for text in ODD {
            arena.open();
            arena.expect_up();
            arena.say(&[b"RESTART,", text].concat());
            arena.pass(2 * SECOND);
            arena.verb(mrvpn_engine::driver::TunnelVerb::Stop);
        }
    }),
    Script::new("control-bytes-in-a-halt", &["T-30", "T-41"], |arena| {
        for text in ODD {
            arena.open();
            arena.expect_up();
            arena.say(&[b"HALT,", text].concat());
            arena.pass(2 * SECOND);
            arena.verb(mrvpn_engine::driver::TunnelVerb::Stop);
        }
    }),
    Script::new("web-pages-to-be-opened", &["T-40"], |arena| {
        arena.come_up();
        for text in
            ["OPEN_URL:http://a.example/", "WEB_AUTH::file:///etc/passwd", "CR_TEXT:R,E:x", "OPEN_URL:javascript:x"]
        {
            arena.say(format!("INFO_PRE,{text}").as_bytes());
            arena.say(format!("INFO,{text}").as_bytes());
        }
        arena.pass(SECOND);
        arena.expect_same();
    }),
    Script::new("ten-thousand-words-while-up", &["T-31"], |arena| {
        arena.come_up();
        for number in 0..500 {
            for _ in 0..20 {
                arena.say(format!("INFO,{number}{}", "x".repeat(200)).as_bytes());
            }
            arena.pass(TENTH);
        }
        arena.pass(5 * SECOND);
        arena.expect_same();
    }),
    Script::new("updates-of-what-was-pushed", &["T-31"], |arena| {
        arena.come_up();
        for number in 0..1_000 {
            let route = format!("PUSH_UPDATE,route 10.{}.{}.0 255.255.255.0,-route", number % 250, number % 7);
            arena.say(route.as_bytes());
            arena.say(b"PUSH_UPDATE,ifconfig 10.99.0.2 255.255.255.0,dns server 0 address 9.9.9.9");
            if number % 20 == 0 {
                arena.pass(TENTH);
            }
        }
        arena.pass(5 * SECOND);
        arena.expect_same();
    }),
    Script::new("pushes-after-the-push", &["T-31", "T-37"], |arena| {
        arena.come_up();
        let before = arena.status().assigned;
        for number in 0..500 {
            arena.say(
                format!("PUSH_REPLY,ifconfig 10.99.{}.2 255.255.255.0,route 0.0.0.0 0.0.0.0", number % 250).as_bytes(),
            );
            if number % 20 == 0 {
                arena.pass(TENTH);
            }
        }
        arena.pass(5 * SECOND);
        let after = arena.status().assigned;
        arena.must(before == after, "T-31", || format!("assigned {after:?}, before {before:?}"));
        arena.expect_same();
    }),
    Script::new("a-message-of-300-kilobytes", &["T-31"], |arena| {
        arena.come_up();
        let now = arena.now;
        arena.server().record(&[b'a'; 300_000], now);
        arena.expect_code("server-protocol");
    }),
    Script::new("a-push-without-end", &["T-31"], |arena| {
        arena.server().push.whole = Some((0..1_000).map(|_| continued(900)).collect());
        arena.open();
        arena.expect_code("server-protocol");
    }),
    Script::new("a-push-that-waits-for-more", &["T-31"], |arena| {
        arena.server().push.whole = Some((0..20).map(|_| continued(500)).collect());
        arena.open();
        arena.expect_code("push-timeout");
    }),
    Script::new("handshake-data-without-end", &["T-23", "T-31"], |arena| {
        arena.server().answer = Answer::Silence;
        arena.open();
        arena.until(5 * SECOND, |arena| !arena.sites[3].passwords.is_empty());
        let now = arena.now;
        // A record of a handshake that is longer than anything that is ever sent.
        arena.server().tls(&[22, 0, 7, 0xff, 0xff], now);
        for _ in 0..150 {
            let now = arena.now;
            arena.server().tls(&[0; 1_000], now);
            arena.pass(TENTH);
        }
        let ended = arena.until(60 * SECOND, |arena| arena.code().is_some());
        arena.must(ended, "T-23", || "the handshake does not end".to_owned());
    }),
    Script::new("a-peer-that-drips", &["T-23", "T-48"], |arena| {
        arena.server().answer = Answer::Silence;
        let begin = arena.now;
        arena.open();
        arena.until(5 * SECOND, |arena| !arena.sites[3].passwords.is_empty());
        let now = arena.now;
        arena.server().tls(&[23, 0, 0, 0xff, 0xff], now);
        while arena.code().is_none() && arena.now.since(begin) < 70 * SECOND {
            let now = arena.now;
            arena.server().tls(&[0], now);
            arena.pass(SECOND);
        }
        let took = arena.now.since(begin);
        arena.must(took <= 63 * SECOND, "T-23", || format!("it ends after {took:?}"));
    }),
    Script::new("renegotiations-without-end", &["T-48"], |arena| {
        arena.come_up();
        for _ in 0..300 {
            let now = arena.now;
            arena.server().renegotiate(now);
            arena.pass(TENTH);
        }
        arena.expect_talk();
    }),
    Script::new("a-login-that-is-never-answered", &["T-31", "T-23"], |arena| {
        arena.server().answer = Answer::Silence;
        let begin = arena.now;
        arena.open();
        let ended = arena.until(65 * SECOND, |arena| arena.code().is_some());
        let took = arena.now.since(begin);
        arena.must(ended, "T-23", || format!("a login still waits after {took:?}"));
    }),
];

/// A part of a push after which another is to come.
fn continued(length: usize) -> String {
    format!("PUSH_REPLY,setenv x {},push-continuation 2", "y".repeat(length))
}
