//! Datagrams to our server half, from clients and from anyone who poses as one.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::{Moment, WallTime};
use mrvpn_profile::{Digest, KeyDirection, StaticKey};
use mrvpn_proto::is_data;
use mrvpn_proto::peer::ScriptedAcceptor;
use mrvpn_proto::server::{
    ClientId, Push, Server, ServerConfig, ServerData, ServerEvent, ServerKey, ServerTransport, ServerWrap,
};

use super::pieces::pieces;

/// Datagrams to a server. The first byte chooses wrapping and transport; the first byte of each piece is where it comes
/// from.
pub fn server(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let mut now = Moment::from_nanos(1);
    let mut site = Site::new(*choice, now);
    for piece in pieces(rest) {
        if let Some((place, datagram)) = piece.split_first() {
            site.hand_over(*place, datagram, now);
        }
        now = now + Duration::from_millis(300);
        site.server.handle_timeout(now);
        site.drain(now);
    }
    // Whoever came is gone in the end.
    for _ in 0..4_000 {
        let Some((due, _)) = site.server.poll_timeout() else { break };
        now = now.max(due);
        site.server.handle_timeout(now);
        site.drain(now);
    }
    assert!(site.server.is_empty());
}

/// The server and what its owner keeps.
struct Site {
    server: Server,
    data: Vec<(ClientId, ServerData)>,
}

impl Site {
    fn new(choice: u8, now: Moment) -> Self {
        let transport = if choice & 4 == 0 { ServerTransport::Datagram } else { ServerTransport::Stream };
        let config = ServerConfig { clients: 4, ..ServerConfig::new(wrap(choice), transport) };
        let wall = WallTime::from_unix(0x6500_0000);
        let server = Server::new(config, Arc::new(ScriptedAcceptor::new(1)), [7; 32], now, wall);
        Self { server, data: Vec::new() }
    }

    /// What does not fit changes nothing.
    fn hand_over(&mut self, place: u8, datagram: &[u8], now: Moment) {
        if datagram.first().is_some_and(|first| is_data(*first)) {
            self.data.iter_mut().for_each(|(_, data)| drop(data.open(datagram, now)));
            return;
        }
        let (before, known, dropped) = (format!("{:?}", self.server), self.server.len(), self.dropped());
        let from = SocketAddr::from((Ipv4Addr::new(192, 0, 2, place % 4), 1_194));
        self.server.handle_datagram(from, &mut datagram.to_vec(), now);
        // The first packet of a client may make it and not fit it.
        if self.dropped() > dropped && self.server.len() == known {
            assert_eq!(format!("{:?}", self.server), before);
        }
        self.drain(now);
    }

    fn dropped(&self) -> u64 {
        self.server.dropped().values().sum()
    }

    fn drain(&mut self, now: Moment) {
        while let Some((id, event)) = self.server.poll_event() {
            match event {
                ServerEvent::Login(request) if request.user == "nobody" => self.server.refuse(id, "AUTH_FAILED", now),
                ServerEvent::Login(_) => self.server.admit(id, Push::default(), now),
                ServerEvent::Keys(keys) => {
                    let mut data = ServerData::default();
                    data.install(*keys, now);
                    self.data.push((id, data));
                }
                ServerEvent::Gone(_) => self.data.retain(|(other, _)| *other != id),
                ServerEvent::Began { .. }
                | ServerEvent::Retire(_)
                | ServerEvent::Up
                | ServerEvent::ExitNotify
                | ServerEvent::Said(_) => {}
            }
        }
        while self.server.poll_transmit().is_some() {}
        assert!(self.server.poll_timeout().is_none_or(|(due, _)| due > now), "a deadline in the past is a busy loop");
    }
}

fn wrap(choice: u8) -> ServerWrap {
    let Some(key) = StaticKey::from_bytes(vec![7; StaticKey::LEN]) else { return ServerWrap::None };
    match choice % 4 {
        0 => ServerWrap::None,
        1 => ServerWrap::TlsAuth { key, direction: KeyDirection::Both, digest: Digest::Sha1 },
        2 => ServerWrap::TlsCrypt { key },
        _ => ServerWrap::TlsCryptV2 { server_key: ServerKey::from_bytes(&[9; ServerKey::LEN]) },
    }
}
