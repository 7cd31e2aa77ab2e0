//! A hundred thousand forgeries by one who sees every packet and sends what it likes, but has no keys: the data of the
//! running session flows on (threats-and-faults.md T-02).

use std::time::Duration;

use mrvpn_profile::{Digest, KeyDirection, Renewal, StaticKey, Wrap};
use mrvpn_proto::control::{Acks, ControlHead, ControlPacket};
use mrvpn_proto::ids::MessageId;
use mrvpn_proto::opcode::Opcode;
use mrvpn_proto::peer::TestServerConfig;
use mrvpn_proto::wrapping::{Side, Wrapper};
use mrvpn_proto::{Dropped, Event, KeyId, SessionConfig, SessionId, Stage};

use crate::lane::Lane;
use crate::pair::{Link, Pair, WALL, config};
use crate::traffic::Traffic;

const FORGERIES: u64 = 100_000;

fn up(wrap: Wrap) -> Pair {
    let renewal = Renewal { reneg_sec: None, ..Renewal::default() };
    let client = SessionConfig { renewal, ..config(wrap.clone()) };
    let mut pair = Pair::new(client, TestServerConfig::new(wrap), Link::default(), 11);
    pair.lane = Some(Lane::default());
    pair.run(Duration::from_secs(60));
    pair.run_until(Duration::from_secs(1), |_| false);
    assert_eq!(pair.client.stage(), Stage::Up);
    pair
}

/// What the injector sends next: any opcode and key id of a server, message ids around those in use and far ahead,
/// acknowledgements of things sent and never sent, with right and wrong session ids.
fn forgery(pair: &Pair, number: u64, key_ids: u64, next: u32) -> Vec<u8> {
    let dice = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
    let opcodes = [Opcode::HardResetServerV2, Opcode::SoftResetV1, Opcode::ControlV1, Opcode::AckV1];
    let opcode = opcodes[(dice % 4) as usize];
    let mut server: [u8; 8] = pair.sent.1[0][1..9].try_into().unwrap();
    server[7] ^= u8::from(dice & 0x70 == 0);
    let ids = [0, 1, next, next + 2, next + 13, 400, 0x7fff_ffff, u32::MAX].map(MessageId::new);
    let message = ids[(dice >> 8 & 7) as usize];
    let acks = Acks::new(&ids[..(dice >> 16) as usize % 9], pair.client.id());
    let packet = ControlPacket {
        head: ControlHead {
            opcode,
            key_id: KeyId::new((dice >> 24) as u8 % key_ids as u8).unwrap(),
            session: SessionId::new(server).unwrap(),
        },
        acks,
        message: opcode.is_reliable().then_some(message),
        payload: &[0x99, 0, 0, 0, 0],
    };
    Wrapper::new(&Wrap::None, Side::Server, WALL).wrap(&packet)
}

/// The number of the server's next message, for who can read it.
fn next_message(pair: &Pair) -> u32 {
    let reader = Wrapper::new(&Wrap::None, Side::Client, WALL);
    let messages = pair.sent.1.iter().filter_map(|datagram| {
        let unwrapped = reader.unwrap(datagram, pair.now).ok()?;
        unwrapped.packet().ok()?.message
    });
    messages.map(|id| id.get()).filter(|id| *id < 100).max().unwrap_or(0) + 1
}

fn bombard(pair: &mut Pair, key_ids: u64, mut after: impl FnMut(&mut Pair, bool)) -> (Vec<u32>, Vec<u32>) {
    let mut traffic = Traffic::default();
    let (before, mut bytes_in) = (pair.sent.0.len(), 0);
    let next = next_message(pair);
    for number in 0..FORGERIES {
        let forged = forgery(pair, number, key_ids, next);
        let taken = pair.client.handle_control(&forged, pair.now).is_ok();
        bytes_in += forged.len();
        after(pair, taken);
        if number % 100 == 0 {
            traffic.step(pair, Duration::from_secs(1));
        }
    }
    let bytes_out: usize = pair.sent.0[before..].iter().map(Vec::len).sum();
    assert!(bytes_out <= bytes_in, "{bytes_out} bytes out for {bytes_in} in");
    traffic.finish(pair)
}

// proves: T-02, T-15
#[test]
fn with_a_wrapper_no_forgery_changes_anything() {
    let key = StaticKey::from_bytes((0..=255).collect()).unwrap();
    let wraps = [
        Wrap::TlsAuth { key: key.clone(), direction: KeyDirection::Inverse, digest: Digest::Sha256 },
        Wrap::TlsCrypt { key },
    ];
    for wrap in wraps {
        let mut pair = up(wrap);
        let (events, mut state, mut count) = (pair.events.len(), format!("{:?}", pair.client), 0);
        let lost = bombard(&mut pair, 8, |pair, taken| {
            assert!(!taken);
            count += 1;
            // Data heard moves one moment on, at each hundredth.
            match count % 100 {
                2 => state = format!("{:?}", pair.client),
                1 if count > 1 => assert!(format!("{:?}", pair.client) == state, "the state has changed"),
                _ => {}
            }
        });
        assert_eq!(lost, (vec![], vec![]));
        assert_eq!(pair.events.len(), events);
    }
}

// proves: T-02
#[test]
fn without_a_wrapper_but_with_dynamic_tls_crypt_no_one_else_begins_a_renegotiation() {
    let client = config(Wrap::None);
    let mut server = TestServerConfig::new(Wrap::None);
    server.push[0] = server.push[0].replace("tls-ekm", "tls-ekm dyn-tls-crypt");
    let mut pair = Pair::new(client, server, Link::default(), 11);
    pair.run(Duration::from_secs(60));
    let head = ControlHead {
        opcode: Opcode::SoftResetV1,
        key_id: KeyId::FIRST.next(),
        session: SessionId::new(pair.sent.1[0][1..9].try_into().unwrap()).unwrap(),
    };
    let packet = ControlPacket { head, acks: Acks::NONE, message: Some(MessageId::RESET), payload: &[0; 99] };
    let forged = Wrapper::new(&Wrap::None, Side::Server, WALL).wrap(&packet);
    assert_eq!(pair.client.handle_control(&forged, pair.now), Err(Dropped::Forged));
}

// proves: T-02, T-15
#[test]
fn without_a_wrapper_what_fits_costs_a_channel_at_most() {
    let mut pair = up(Wrap::None);
    // Key id 0 alone: the channel that has done its work. What spoils it brings another.
    let lost = bombard(&mut pair, 1, |pair, _| pair.drain());
    assert_eq!(lost, (vec![], vec![]));
    assert_eq!(pair.client.stage(), Stage::Up);
    assert!(!pair.events.iter().any(|event| matches!(event, Event::Ended(_))));
    assert_eq!(pair.lane.as_ref().unwrap().installed(), 2, "one renegotiation for the spoilt channel");
    pair.server.say("INFO,still there", pair.now);
    pair.run_until(Duration::from_secs(1), |_| false);
    assert!(matches!(pair.events.last(), Some(Event::Info(text)) if text == "still there"));
}
