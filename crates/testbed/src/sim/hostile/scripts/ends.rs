//! Sessions that the server ends, again and again: T-35, T-41.

use std::time::Duration;

use super::Script;
use crate::sim::hostile::arena::{Arena, HOSTILE, honest};

const SECOND: Duration = Duration::from_secs(1);
/// 60 s: afterwards there is at most one attempt a second.
const FIRST_MINUTE: Duration = Duration::from_secs(60);

pub(super) const SCRIPTS: [Script; 8] = [
    Script::new("restart-at-every-chance", &["T-41", "T-35"], |arena| storm(arena, b"RESTART")),
    Script::new("restart-without-waiting", &["T-41", "T-35"], |arena| storm(arena, b"RESTART,[N],backoff 0")),
    Script::new("exit-at-every-chance", &["T-41", "T-35"], |arena| storm(arena, b"EXIT")),
    Script::new("halt-is-for-good", &["T-41"], |arena| {
        arena.come_up();
        arena.say(b"HALT");
        arena.expect_code("server-halt");
        let begun = arena.server().begun;
        arena.pass(120 * SECOND);
        let later = arena.server().begun;
        arena.must(later == begun, "T-41", || "it comes again".to_owned());
    }),
    Script::new("many-words-of-farewell-at-once", &["T-41"], |arena| {
        arena.come_up();
        for _ in 0..200 {
            for word in ["RESTART", "EXIT", "RESTART,[P]"] {
                arena.say(word.as_bytes());
            }
        }
        arena.pass(5 * SECOND);
        arena.expect_up();
    }),
    Script::new("exit-in-the-data-channel", &["T-41"], |arena| {
        arena.come_up();
        for _ in 0..100 {
            arena.send_inner(&mrvpn_proto::OCC_EXIT);
        }
        arena.pass(5 * SECOND);
        arena.expect_up();
        arena.expect_talk();
    }),
    Script::new("sessions-of-one-second", &["T-35"], |arena| {
        let mut push = honest(HOSTILE);
        push.options.extend(["session-timeout 1".to_owned(), "inactive 1".to_owned()]);
        arena.server().push = push;
        arena.open();
        count_attempts(arena, None);
    }),
    Script::new("two-hundred-sessions-that-end-at-once", &["T-35"], |arena| {
        arena.period = 60 * SECOND;
        arena.sites.iter_mut().for_each(|site| site.ping = 20 * SECOND);
        arena.open();
        arena.pass(FIRST_MINUTE);
        let (begin, first) = (arena.now, arena.server().begun);
        while arena.server().begun < 200 && arena.now.since(begin) < 20_000 * SECOND {
            if arena.is_up() {
                arena.say(b"RESTART");
            }
            arena.pass(SECOND / 4);
        }
        let (begun, time) = (arena.server().begun - first, arena.now.since(begin).as_secs());
        arena.must(u64::from(begun) <= time, "T-35", || format!("{begun} sessions in {time} s"));
    }),
];

/// Each session is ended as soon as it is up.
fn storm(arena: &mut Arena<'_>, word: &[u8]) {
    arena.open();
    count_attempts(arena, Some(word));
}

fn count_attempts(arena: &mut Arena<'_>, word: Option<&[u8]>) {
    let run = |arena: &mut Arena<'_>, seconds: u32| {
        for _ in 0..seconds * 10 {
            if let Some(word) = word
                && arena.server().came_up
            {
                arena.say(word);
            }
            arena.pass(SECOND / 10);
        }
        arena.server().begun
    };
    let first = run(arena, 60);
    let second = run(arena, 60);
    arena.must(second - first <= 60, "T-35", || format!("{} sessions in the second minute", second - first));
    arena.must(first <= 60, "T-35", || format!("{first} sessions in the first minute"));
}
