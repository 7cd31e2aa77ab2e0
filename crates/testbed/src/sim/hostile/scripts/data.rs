//! What comes out of the tunnel: T-13, T-34, T-44 to T-46. Whatever of it reaches the host the arena judges.

use std::net::Ipv4Addr;
use std::time::Duration;

use mrvpn_router::DropReason;

use super::Script;
use crate::sim::apps::packet::{self, TCP, UDP};
use crate::sim::hostile::arena::{ASSIGNED, Arena, TARGET};
use crate::sim::hostile::packets::{self, FLOW, ODD, PROTOCOLS};

const MOMENT: Duration = Duration::from_millis(10);
const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 99);

pub(super) const SCRIPTS: [Script; 14] = [
    Script::new("martians-of-every-kind", &["T-44"], |arena| {
        arena.come_up();
        for odd in ODD {
            for protocol in PROTOCOLS {
                arena.send_inner(&packets::lie(odd, ASSIGNED, protocol, (53, 5_000)));
                arena.send_inner(&packets::lie(odd, ASSIGNED, protocol, (FLOW.2, FLOW.1)));
            }
            arena.pass(MOMENT);
        }
        arena.expect_same();
    }),
    Script::new("destinations-of-every-kind", &["T-44"], |arena| {
        arena.come_up();
        for odd in ODD {
            for protocol in PROTOCOLS {
                arena.send_inner(&packets::lie(TARGET, odd, protocol, (FLOW.2, FLOW.1)));
            }
            arena.pass(MOMENT);
        }
        dropped(arena, DropReason::NotOurAddress, 1);
        arena.expect_same();
    }),
    Script::new("packets-that-are-none", &["T-44"], |arena| {
        arena.come_up();
        for first in 0..=255 {
            for length in [1, 4, 19, 20, 28, 60, 1_400] {
                let mut packet = vec![0; length];
                packet[0] = first;
                arena.send_inner(&packet);
            }
            arena.pass(MOMENT);
        }
        dropped(arena, DropReason::Malformed, 50);
        arena.expect_same();
    }),
    Script::new("lengths-that-are-wrong", &["T-44"], |arena| {
        arena.come_up();
        for length in [0_u16, 19, 20, 27, 47, 49, 1_500, 65_535] {
            for protocol in PROTOCOLS {
                let mut packet = packets::lie(TARGET, ASSIGNED, protocol, (FLOW.2, FLOW.1));
                if usize::from(length) != packet.len() {
                    packet[2..4].copy_from_slice(&length.to_be_bytes());
                    packets::mend(&mut packet);
                    arena.send_inner(&packet[..packet.len() - usize::from(length > 48)]);
                }
            }
            arena.pass(MOMENT);
        }
        arena.expect_same();
    }),
    Script::new("headers-with-options-and-odd-fields", &["T-44"], |arena| {
        arena.come_up();
        for header in 0..16 {
            for (at, value) in
                [(1, 0xff), (6, 0x80), (6, 0x20), (6, 0x1f), (8, 0), (8, 1), (9, 0), (9, 2), (9, 47), (9, 50), (9, 255)]
            {
                let mut packet = packets::lie(FAR, ASSIGNED, UDP, (53, 5_000));
                (packet[0], packet[at]) = (0x40 | header, value);
                packets::mend(&mut packet);
                arena.send_inner(&packet);
            }
            arena.pass(MOMENT);
        }
        arena.expect_same();
    }),
    Script::new("packets-of-the-other-family", &["T-44"], |arena| {
        arena.come_up();
        for length in [40_usize, 48, 100] {
            for next in 0..=255 {
                let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
                packet.resize(length, 1);
                packet[4..6].copy_from_slice(&u16::try_from(length - 40).unwrap_or(0).to_be_bytes());
                arena.send_inner(&packet);
            }
            arena.pass(MOMENT);
        }
        arena.expect_same();
    }),
    Script::new("ports-that-are-tried-one-by-one", &["T-45"], |arena| {
        arena.come_up();
        for port in (1..20_000).step_by(19) {
            for protocol in PROTOCOLS {
                arena.send_inner(&packets::lie(FAR, ASSIGNED, protocol, (53, port)));
            }
            if port % 10 == 0 {
                arena.pass(MOMENT);
            }
        }
        let enough = if arena.is_quiet() { 3_000 } else { 500 };
        let sum = arena.drops(DropReason::Unasked) + arena.drops(DropReason::NoFlow);
        arena.must(sum >= enough, "T-45", || format!("{sum} are counted"));
        arena.expect_same();
    }),
    Script::new("answers-from-elsewhere", &["T-45"], |arena| {
        arena.come_up();
        for port in [0, 1, 8, 53, 65_535] {
            arena.send_inner(&packets::lie(TARGET, ASSIGNED, UDP, (port, FLOW.1)));
            arena.send_inner(&packets::lie(FAR, ASSIGNED, UDP, (FLOW.2, FLOW.1)));
            arena.send_inner(&packets::lie(TARGET, ASSIGNED, TCP, (FLOW.2, FLOW.1)));
            arena.pass(MOMENT);
        }
        arena.expect_same();
    }),
    Script::new("packets-for-the-flows-of-others", &["T-45", "T-44"], |arena| {
        arena.come_up();
        for other in 0..3 {
            let (target, inner) = ([203, 0, 113, other], [10, 8, 0, other + 2]);
            let port = 40_000 + u16::from(other);
            for destination in [Ipv4Addr::from(inner), ASSIGNED, Ipv4Addr::new(198, 18, 0, 1)] {
                arena.send_inner(&packets::lie(target, destination, UDP, (7, port)));
            }
            arena.pass(MOMENT);
        }
        arena.expect_same();
    }),
    Script::new("fragments-that-never-end", &["T-34", "T-44"], |arena| {
        arena.come_up();
        for id in 0..2_000_u16 {
            let mut whole = packets::ip(TARGET, ASSIGNED, UDP, &[7; 2_000]);
            whole[4..6].copy_from_slice(&id.to_be_bytes());
            let pieces = packet::cut(&whole, 600);
            arena.send_inner(&pieces[usize::from(id) % pieces.len()]);
            if id % 20 == 0 {
                arena.pass(MOMENT);
            }
        }
        arena.expect_same();
    }),
    Script::new("errors-that-quote-the-flows-of-others", &["T-46"], |arena| {
        arena.come_up();
        for other in [0, 1, 2, 77] {
            let about = (Ipv4Addr::new(203, 0, 113, other), 40_000 + u16::from(other), 7);
            for kind in [(3, 0), (3, 1), (3, 3), (3, 4), (3, 13), (11, 0), (12, 0), (4, 0), (5, 1)] {
                arena.send_inner(&packets::error(kind, 0, FAR, about));
            }
            arena.pass(MOMENT);
        }
        let told = arena.errors();
        arena.must(told == 0, "T-46", || format!("{told} are handed on"));
        arena.expect_same();
    }),
    Script::new("errors-without-end-about-its-own-flow", &["T-46"], |arena| {
        arena.come_up();
        arena.expect_talk();
        for _ in 0..300 {
            for kind in [(3, 1), (3, 3), (11, 0)] {
                arena.send_inner(&packets::error(kind, 0, TARGET, FLOW));
            }
            arena.pass(MOMENT);
        }
        arena.expect_same();
    }),
    Script::new("sizes-that-no-path-has", &["T-46"], |arena| {
        arena.come_up();
        arena.expect_talk();
        for mtu in [0, 1, 67, 68, 575, 576, 1_279, 65_535] {
            arena.send_inner(&packets::error((3, 4), mtu, FAR, FLOW));
            arena.pass(Duration::from_millis(200));
        }
        arena.expect_same();
    }),
    Script::new("redirects", &["T-46"], |arena| {
        arena.come_up();
        arena.expect_talk();
        let before = arena.errors();
        for code in 0..4 {
            arena.send_inner(&packets::error((5, code), u32::from(FAR), TARGET, FLOW));
            arena.pass(MOMENT);
        }
        arena.pass(Duration::from_millis(300));
        let after = arena.errors();
        arena.must(after == before, "T-46", || "a redirect is handed on".to_owned());
        arena.expect_same();
    }),
];

/// At least so many were dropped for this reason, on a link that loses none.
fn dropped(arena: &mut Arena<'_>, reason: DropReason, least: u64) {
    let (count, quiet) = (arena.drops(reason), arena.is_quiet());
    arena.must(count >= least || !quiet, "script", || format!("{count} dropped as {}", reason.name()));
}
