//! Refusals, and tokens instead of passwords: T-39, T-40.

use std::time::Duration;

use mrvpn_engine::driver::TunnelVerb;

use super::Script;
use crate::sim::hostile::arena::{Arena, HOSTILE, honest};
use crate::sim::hostile::far::Answer;

const SECOND: Duration = Duration::from_secs(1);

pub(super) const SCRIPTS: [Script; 5] = [
    Script::new("refusals-with-odd-words", &["T-40", "T-30"], |arena| {
        for text in [
            "",
            ",\u{1b}[31mred",
            ",a\nb",
            ",TEMP[backoff 99999999999,advance no]",
            ",TEMP[",
            ",SESSION:",
            ",CRV1:R,E:x:y:z",
            ",\u{202e}x",
            ",LONG",
        ] {
            let text = text.replace("LONG", &"w".repeat(20_000));
            arena.server().answer = Answer::Refuse(format!("AUTH_FAILED{text}"));
            arena.verb(TunnelVerb::Stop);
            arena.open();
            arena.until(20 * SECOND, |arena| arena.code().is_some());
            let words = arena.words();
            arena.must(words.len() <= 1_000, "T-40", || format!("{} bytes of words", words.len()));
        }
    }),
    Script::new("a-refusal-ends-it-for-good", &["T-40"], |arena| {
        arena.server().answer = Answer::Refuse("AUTH_FAILED,go away".to_owned());
        arena.open();
        arena.expect_code("auth-refused");
        let logins = arena.server().passwords.len();
        arena.pass(120 * SECOND);
        let later = arena.server().passwords.len();
        arena.must(logins == later, "F-29", || format!("{later} logins, then {logins}"));
    }),
    Script::new("tokens-that-are-too-large-or-odd", &["T-39"], |arena| {
        for token in ["t".repeat(5_000), "a\u{1b}b".to_owned(), String::new(), "two words".to_owned()] {
            token_of(arena, &token);
            arena.verb(TunnelVerb::Stop);
            arena.open();
            arena.until(20 * SECOND, |arena| arena.is_up() || arena.code().is_some());
            arena.say(format!("PUSH_REPLY,auth-token {token}").as_bytes());
            arena.pass(SECOND);
        }
    }),
    Script::new("a-refused-token-and-then-the-password", &["T-39"], |arena| {
        token_of(arena, "SESS_ID_1");
        arena.come_up();
        arena.server().answer = Answer::Refuse("AUTH_FAILED".to_owned());
        arena.say(b"RESTART");
        arena.until(30 * SECOND, |arena| arena.sites[HOSTILE].passwords.len() >= 2);
        arena.server().answer = Answer::Admit;
        arena.expect_up();
        let passwords = arena.server().passwords.clone();
        let right = passwords.first().is_some_and(|first| first == "secret")
            && passwords.last().is_some_and(|last| last == "secret")
            && passwords.iter().any(|password| password == "SESS_ID_1");
        arena.must(right, "T-39", || format!("the passwords were {passwords:?}"));
        arena.expect_talk();
    }),
    Script::new("a-thousand-tokens", &["T-39", "T-31"], |arena| {
        arena.come_up();
        for number in 0..1_000 {
            arena.say(format!("PUSH_REPLY,auth-token {number}{}", "t".repeat(500)).as_bytes());
            if number % 10 == 0 {
                arena.pass(Duration::from_millis(100));
            }
        }
        arena.expect_talk();
    }),
];

fn token_of(arena: &mut Arena<'_>, token: &str) {
    let mut push = honest(HOSTILE);
    push.options.push(format!("auth-token {token}"));
    arena.server().push = push;
}
