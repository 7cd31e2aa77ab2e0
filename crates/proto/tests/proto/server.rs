//! The server half against the client half: each wrapping, many clients, renegotiation, float, exits, refusals.

use std::time::Duration;

use mrvpn_profile::{Digest, KeyDirection, StaticKey, Wrap};
use mrvpn_proto::server::{ClientId, ServerConfig, ServerEvent, ServerKey, ServerTransport, ServerWrap};
use mrvpn_proto::{Event, Stage};

use crate::many::{Many, Noise};
use crate::pair::config;

pub(crate) fn key(first: u8) -> StaticKey {
    StaticKey::from_bytes((0..=255_u8).map(|byte| byte.wrapping_add(first)).collect()).unwrap()
}

pub(crate) fn server_key() -> ServerKey {
    ServerKey::from_bytes(&std::array::from_fn(|place| place as u8))
}

/// Each wrapping as the server and as the client has it.
pub(crate) fn wraps() -> Vec<(ServerWrap, Wrap)> {
    let auth = |direction, digest| {
        let key = key(0);
        (ServerWrap::TlsAuth { key: key.clone(), direction, digest }, Wrap::TlsAuth { key, direction, digest })
    };
    let own = key(77);
    let wrapped = server_key().seal(&own, &[0, 1, 2, 3]);
    vec![
        (ServerWrap::None, Wrap::None),
        auth(KeyDirection::Normal, Digest::Sha1),
        auth(KeyDirection::Inverse, Digest::Sha256),
        auth(KeyDirection::Both, Digest::Sha512),
        (ServerWrap::TlsCrypt { key: key(0) }, Wrap::TlsCrypt { key: key(0) }),
        (ServerWrap::TlsCryptV2 { server_key: server_key() }, Wrap::TlsCryptV2 { key: own, wrapped }),
    ]
}

pub(crate) fn up(server: ServerConfig, wrap: Wrap) -> Many {
    let mut many = Many::new(server, Noise::default(), 5);
    many.come(config(wrap));
    many.run_until(Duration::from_secs(10), Many::all_up);
    many.run(Duration::from_millis(100));
    assert_eq!(many.stage(0), Stage::Up, "{:?} {:?}", many.guests[0].events, many.server.dropped());
    many
}

pub(crate) fn first(many: &Many) -> ClientId {
    many.events[0].0
}

#[test]
fn a_client_comes_up_with_each_wrapping_and_packets_flow_both_ways() {
    for (server, client) in wraps() {
        let mut many = up(ServerConfig::new(server, ServerTransport::Datagram), client);
        let id = first(&many);
        assert!(
            matches!(many.events.as_slice(), [(_, ServerEvent::Began { .. }), .., (_, ServerEvent::Up)]),
            "{:?}",
            many.events
        );
        many.send_up(0, b"up");
        many.send_down(id, b"down");
        many.run(Duration::from_secs(1));
        assert_eq!(many.packets, [(id, b"up".to_vec())]);
        assert_eq!(
            many.guests[0].lane.packets.iter().map(|(_, packet)| packet.as_slice()).collect::<Vec<_>>(),
            [b"down"]
        );
        let established = many.guests[0].events.iter().find_map(|event| match event {
            Event::Established(established) => Some(established),
            _ => None,
        });
        assert_eq!(established.unwrap().assignment.peer_id, Some(id.get()));
    }
}
