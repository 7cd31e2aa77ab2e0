//! Packets of the control channel, from a server or from anyone who poses as one, and what is inside TLS first.

use std::hint::black_box;
use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::ovpn::{NoFiles, parse};
use mrvpn_profile::{Digest, KeyDirection, StaticKey, Wrap};
use mrvpn_proto::control::{ControlHead, ControlPacket};
use mrvpn_proto::control_text::{ControlText, strings};
use mrvpn_proto::ids::SessionId;
use mrvpn_proto::key_method::ServerMessage;
use mrvpn_proto::peer::ScriptedTls;
use mrvpn_proto::wrapping::{Side, Wrapper};
use mrvpn_proto::{Session, SessionConfig, is_data};

use super::pieces::pieces;

const WALL: WallTime = WallTime::from_unix(0x6500_0000);

/// Our session id: inputs can fit it.
const OWN: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// Datagrams to a client. The first byte chooses the wrapping.
pub fn control(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let wrap = wrap(*choice);
    let mut now = Moment::from_nanos(1);
    let mut reader = Wrapper::new(&wrap, Side::Client, WALL);
    let mut session = session(wrap);
    for datagram in pieces(rest) {
        parse_bare(datagram);
        if let Ok(unwrapped) = reader.unwrap(datagram, now) {
            let _ = black_box(unwrapped.packet());
            reader.accept(&unwrapped, now);
        }
        hand_over(&mut session, datagram, now);
        now = now + Duration::from_millis(300);
        session.handle_timeout(now);
        drain(&mut session, now);
    }
}

fn wrap(choice: u8) -> Wrap {
    let Some(key) = StaticKey::from_bytes(vec![7; StaticKey::LEN]) else { return Wrap::None };
    match choice % 4 {
        0 => Wrap::None,
        1 => Wrap::TlsAuth { key, direction: KeyDirection::Both, digest: Digest::Sha1 },
        2 => Wrap::TlsCrypt { key },
        _ => Wrap::TlsCryptV2 { key, wrapped: [vec![9; 288], vec![1, 34]].concat() },
    }
}

const PROFILE: &str = "client\nremote a.example\nauth-user-pass\npeer-fingerprint \
                       00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00\n";

fn session(wrap: Wrap) -> Session {
    let profile = parse(PROFILE.as_bytes(), &mut NoFiles).expect("the profile is good").profile;
    let config = SessionConfig { wrap, ..SessionConfig::from_profile(&profile, None, false) };
    let own = SessionId::new(OWN).expect("not zero");
    let mut session = Session::with_id(config, Box::new(ScriptedTls::client(1)), own, WALL, Moment::from_nanos(1));
    drain(&mut session, Moment::from_nanos(1));
    session
}

/// What does not fit changes nothing.
fn hand_over(session: &mut Session, datagram: &[u8], now: Moment) {
    let before = format!("{session:?}");
    if session.handle_control(datagram, now).is_err() {
        assert_eq!(format!("{session:?}"), before);
    }
    drain(session, now);
}

fn drain(session: &mut Session, now: Moment) {
    while session.poll_transmit().is_some() {}
    while session.poll_event().is_some() {}
    assert!(session.poll_timeout().is_none_or(|(due, _)| due > now), "a deadline in the past is a busy loop");
}

/// As without wrapping: what was read is written as it was.
fn parse_bare(datagram: &[u8]) {
    let Ok((head, body)) = ControlHead::parse(datagram) else { return };
    assert!(!is_data(datagram[0]));
    let Ok(packet) = ControlPacket::parse(head, body) else { return };
    let mut written = packet.head.bytes().to_vec();
    packet.emit_body(&mut written);
    assert_eq!(written, datagram);
}

/// A record of strings.
pub fn control_text(bytes: &[u8]) {
    for text in strings(bytes) {
        assert!(text.iter().all(|byte| !byte.is_ascii_control()));
        let shown = format!("{:?}", ControlText::parse(text));
        assert!(shown.is_ascii(), "{shown}");
    }
}

/// The key exchange message of a server.
pub fn key_method(bytes: &[u8]) {
    let Ok(message) = ServerMessage::parse(bytes) else { return };
    for name in ["cipher", "auth", "link-mtu", ""] {
        black_box(message.option(name));
    }
}
