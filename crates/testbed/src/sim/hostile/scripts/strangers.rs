//! Strangers on the network, who have no keys: T-01 to T-15.

use std::time::Duration;

use mrvpn_proto::server::{Forged, ForgedWrap};

use super::Script;
use crate::sim::hostile::arena::HOSTILE;
use crate::sim::hostile::arena::{Arena, WRAPPED};
use crate::sim::hostile::packets;
use crate::sim::world::setup::remote;

const MOMENT: Duration = Duration::from_millis(10);
const LENGTHS: [usize; 9] = [0, 1, 5, 13, 24, 25, 60, 1_500, 9_000];

pub(super) const SCRIPTS: [Script; 15] = [
    Script::new("garbage-of-every-first-byte", &["T-01"], |arena| {
        arena.come_up();
        garbage(arena);
        arena.expect_same();
    }),
    Script::new("garbage-at-a-wrapped-tunnel", &["T-01", "T-05"], |arena| {
        arena.come_up();
        garbage(arena);
        arena.expect_same();
    })
    .profile(WRAPPED),
    Script::new("garbage-in-the-handshake", &["T-01"], |arena| {
        arena.open();
        for _ in 0..40 {
            for first in 0..=255 {
                arena.inject_as_server(&filled(first, 40));
            }
            arena.pass(MOMENT);
        }
        arena.expect_up();
        arena.expect_talk();
    })
    .profile(WRAPPED),
    Script::new("every-prefix-of-what-was-said", &["T-01"], |arena| {
        arena.come_up();
        arena.pass(Duration::from_secs(2));
        for datagram in recorded(arena) {
            for end in 0..datagram.len().min(200) {
                arena.inject_as_server(&datagram[..end]);
            }
            arena.pass(MOMENT);
        }
        arena.expect_same();
    })
    .profile(WRAPPED),
    Script::new("every-byte-of-what-was-said-changed", &["T-01", "T-05"], |arena| {
        arena.come_up();
        arena.pass(Duration::from_secs(2));
        for datagram in recorded(arena) {
            for place in 0..datagram.len().min(120) {
                let mut other = datagram.clone();
                other[place] ^= 1 << (place % 8);
                arena.inject_as_server(&other);
            }
            arena.pass(MOMENT);
        }
        arena.expect_same();
    })
    .profile(WRAPPED),
    Script::new("other-keys-and-peers-in-data-packets", &["T-01"], |arena| {
        arena.come_up();
        let now = arena.now;
        for first in 0..=255 {
            for peer in 0..4 {
                if let Some(mut datagram) = arena.server().seal(&packets::unasked(), now) {
                    (datagram[0], datagram[3]) = (first, datagram[3] ^ peer);
                    arena.inject_as_server(&datagram);
                }
            }
        }
        arena.expect_same();
    })
    .profile(WRAPPED),
    Script::new("forged-packets-of-every-kind-with-right-sessions", &["T-02"], |arena| {
        arena.come_up();
        forge_all(arena, None, ForgedWrap::Right);
        arena.expect_same();
    }),
    Script::new("forged-packets-of-every-kind-with-wrong-sessions", &["T-02"], |arena| {
        arena.come_up();
        forge_all(arena, Some([7; 8]), ForgedWrap::Right);
        arena.expect_same();
    }),
    Script::new("forged-packets-without-and-with-another-wrap", &["T-02", "T-05"], |arena| {
        arena.come_up();
        forge_all(arena, None, ForgedWrap::Bare);
        forge_all(arena, None, ForgedWrap::WrongKey);
        arena.expect_same();
    })
    .profile(WRAPPED),
    Script::new("a-hundred-thousand-forgeries", &["T-02"], |arena| {
        arena.come_up();
        let opcodes = [4, 5, 7, 8, 10, 11, 31];
        for number in 0..100_000_u32 {
            // Every clear-text field right, then one of them wrong; never the next message, which nobody could tell from the
            // server's where nothing is wrapped.
            let odd = |kind: u32| number % 4 == kind;
            let forged = Forged {
                opcode: opcodes[number as usize % opcodes.len()],
                session: odd(0).then_some([7; 8]),
                acks: if odd(1) { vec![number; 4] } else { Vec::new() },
                acks_of: odd(2).then_some([9; 8]),
                message: Some(1_000 + number),
                payload: vec![0x5a; 20],
                ..Forged::default()
            };
            arena.server().forge(&forged);
            if number % 100 == 99 {
                arena.pass(MOMENT);
            }
        }
        arena.expect_same();
    }),
    Script::new("acknowledgements-of-what-was-never-sent", &["T-02"], |arena| {
        arena.come_up();
        for id in [0, 1, 5, 6, 100, 0x7fff_ffff, u32::MAX] {
            for count in [1, 4, 8, 9, 200, 255] {
                let forged = Forged { acks: vec![id; count], ..Forged::default() };
                arena.server().forge(&forged);
            }
        }
        arena.pass(Duration::from_secs(1));
        arena.expect_same();
    }),
    Script::new("who-answers-first-has-not-won", &["T-03"], |arena| {
        arena.server().off = true;
        arena.open();
        let before = arena.sent.1;
        arena.until(Duration::from_secs(5), |arena| arena.sent.1 > before);
        let first = arena.last_sent.clone();
        arena.inject_as_server(&packets::server_reset([9; 8], &first));
        arena.server().off = false;
        arena.expect_up();
        arena.expect_talk();
    }),
    Script::new("all-that-was-said-is-said-again", &["T-04"], |arena| {
        arena.come_up();
        arena.pass(Duration::from_secs(3));
        for _ in 0..3 {
            for datagram in arena.heard.clone() {
                arena.inject_as_server(&datagram);
            }
            arena.pass(Duration::from_secs(1));
        }
        arena.expect_same();
    }),
    Script::new("a-thousand-refusals-a-second", &["T-06"], |arena| {
        arena.come_up();
        let before = arena.sent.1;
        for _ in 0..3_000 {
            for _ in 0..10 {
                arena.refuse_port();
            }
            arena.pass(MOMENT);
        }
        // 300 packets of its flow, pings, and a probe a second.
        let sent = arena.sent.1 - before;
        arena.must(sent <= 300 + 30 + 60 + 30, "T-06", || format!("{sent} packets in 30 s"));
        arena.expect_same();
    }),
    Script::new("nothing-is-gained-by-asking", &["T-15"], |arena| {
        arena.come_up();
        arena.pass(Duration::from_secs(1));
        let begin = arena.sent.0;
        arena.pass(Duration::from_secs(10));
        let (calm, begin) = (arena.sent.0 - begin, arena.sent.0);
        let mut came = 0;
        for _ in 0..1_000 {
            for opcode in [3_u8, 4, 5, 7, 8, 10, 11] {
                let datagram = filled(opcode << 3, 14 + usize::from(opcode));
                came += datagram.len() as u64;
                arena.inject_as_server(&datagram);
            }
            arena.pass(MOMENT);
        }
        let gained = (arena.sent.0 - begin).saturating_sub(calm + calm / 4);
        arena.must(gained <= came, "T-15", || format!("{came} bytes in, {gained} more out"));
        arena.expect_same();
    }),
];

fn filled(first: u8, length: usize) -> Vec<u8> {
    let mut datagram = vec![0x5a; length];
    if let Some(byte) = datagram.first_mut() {
        *byte = first;
    }
    datagram
}

fn garbage(arena: &mut Arena<'_>) {
    for length in LENGTHS {
        for first in 0..=255 {
            arena.inject_as_server(&filled(first, length));
            arena.inject(remote(HOSTILE - 1), &filled(first, length));
        }
        arena.pass(MOMENT);
    }
}

/// Some of what was said, control packets and data.
fn recorded(arena: &Arena<'_>) -> Vec<Vec<u8>> {
    let mut heard = arena.heard.clone();
    let late = heard.split_off(heard.len().saturating_sub(6));
    heard.truncate(12);
    [heard, late].concat()
}

fn forge_all(arena: &mut Arena<'_>, session: Option<[u8; 8]>, wrap: ForgedWrap) {
    for opcode in 0..32 {
        for key_id in 0..8 {
            for message in [None, Some(0), Some(500), Some(u32::MAX)] {
                let payload = vec![opcode; 30];
                // What fits in all but its bytes would be of its TLS, as no stranger can wrap it.
                let key_id = Some(key_id);
                let forged = Forged { opcode, key_id, session, message, payload, wrap, ..Forged::default() };
                arena.server().forge(&forged);
            }
        }
        arena.pass(MOMENT);
    }
    arena.pass(Duration::from_secs(1));
}
