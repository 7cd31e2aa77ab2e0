//! The judge finds what is made wrong on purpose: a kit that has never found anything has proved little.

use super::*;
use crate::sim::hostile::packets;

const TENTH: Duration = Duration::from_millis(100);

/// What does not hold in the run of this script.
fn found(script: fn(&mut Arena<'_>)) -> Option<&'static str> {
    let mut dialogue = Dialogue::off();
    Arena::new("", 0, || 0, &mut dialogue).play(script).err().map(|violation| violation.invariant)
}

fn set_delay(arena: &mut Arena<'_>, delay: Duration) {
    let noise = Noise { delay: delay..delay, ..Noise::NONE };
    arena.network.set_noise(IpAddr::V4(CARD), remote(0).ip(), noise);
    arena.pass(TENTH);
}

/// An answer that was given before, or would be, from the server of `place`.
fn answer(place: u8, destination: Ipv4Addr) -> Vec<u8> {
    let tag = Tag { kind: Kind::Answer, place, session: 0, flow: 0, number: 1 };
    Draft {
        source: SocketAddr::new(IpAddr::V4(own_target(0)), PORTS.1),
        destination: SocketAddr::new(IpAddr::V4(destination), PORTS.0),
        protocol: UDP,
        flags: 1,
        tag,
        payload: TAG,
        id: 1,
    }
    .build()
}

fn write(arena: &mut Arena<'_>, packet: Vec<u8>) {
    arena.machine.io.queue.written.push(packet);
    arena.pass(TENTH);
}

#[test]
fn a_script_in_which_nothing_is_done_passes() {
    assert_eq!(found(|arena| arena.come_up()), None);
}

#[test]
fn a_lost_probe_and_a_late_one_are_found() {
    assert_eq!(found(|arena| set_delay(arena, Duration::from_millis(12))), Some("I-8"));
    let cut = |arena: &mut Arena<'_>| {
        arena.network.partition(remote(1).ip(), true);
        arena.pass(TENTH);
    };
    assert_eq!(found(cut), Some("I-8"));
}

#[test]
fn what_nobody_asked_for_and_what_goes_elsewhere_is_found_on_the_interface() {
    assert_eq!(found(|arena| write(arena, packets::unasked())), Some("I-4"));
    assert_eq!(found(|arena| write(arena, vec![0; 30])), Some("I-4"));
    assert_eq!(found(|arena| write(arena, answer(1, Ipv4Addr::new(198, 18, 0, 1)))), Some("I-4"));
    assert_eq!(found(|arena| write(arena, packets::error((3, 1), 0, TARGET, (CARD, 1, 2)))), Some("I-4"));
}

#[test]
fn an_answer_that_comes_twice_is_found() {
    assert_eq!(found(|arena| write(arena, answer(0, Ipv4Addr::new(198, 18, 0, 1)))), Some("I-12"));
}

#[test]
fn a_packet_at_the_wrong_server_and_one_with_a_wrong_source_are_found() {
    /// A packet of a flow from this address, at the server of t0.
    fn ask(arena: &mut Arena<'_>, flow: u32, source: [u8; 4]) {
        let tag = Tag { kind: Kind::Ask, place: APP, session: 0, flow, number: 1 };
        let (source, destination) = (SocketAddr::from((source, 1)), SocketAddr::from(([203, 0, 113, 0], 7)));
        let packet = Draft { source, destination, protocol: UDP, flags: 0, tag, payload: TAG, id: 1 };
        arena.at_server(0, &packet.build());
    }
    assert_eq!(found(|arena| ask(arena, 1, [10, 8, 0, 2])), Some("I-2"));
    assert_eq!(found(|arena| ask(arena, 0, [198, 18, 0, 1])), Some("I-3"));
}

#[test]
fn a_word_that_no_terminal_should_see_is_found() {
    let speak = |arena: &mut Arena<'_>| {
        let address = "\u{1b}[31m".to_owned();
        let event = mrvpn_engine::EventKind::AddressRemoved { tunnel: "t3".to_owned(), address };
        arena.machine.events.push(event);
    };
    assert_eq!(found(speak), Some("T-30"));
}
