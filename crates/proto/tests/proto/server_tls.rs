//! The server half over real TLS: with and without certificates of clients, TLS 1.2 and 1.3.

use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_profile::profile::{PrivateKey, PrivateKeyFormat};
use mrvpn_profile::{Secret, TlsOptions, Wrap};
use mrvpn_proto::server::{Gone, RustlsAcceptor, Server, ServerConfig, ServerEvent, ServerTransport, ServerWrap};
use mrvpn_proto::{EndReason, RustlsConnector, Session, Stage, TlsError};
use rcgen::ExtendedKeyUsagePurpose;

use crate::certificates::{ca, params, server_params, signed, trusting};
use crate::many::{Answer, Many, Noise, push};
use crate::pair::{WALL, config};

fn client_of(options: &TlsOptions, seed: u8) -> Session {
    let connector = Arc::new(RustlsConnector::new(options, true).unwrap());
    Session::new(config(Wrap::None), connector, [seed; 32], WALL, Moment::default()).unwrap()
}

fn server_of(acceptor: RustlsAcceptor) -> Many {
    let config = ServerConfig::new(ServerWrap::None, ServerTransport::Datagram);
    Many::of(Server::new(config, Arc::new(acceptor), [3; 32], Moment::default(), WALL), Noise::default(), 5)
}

#[test]
fn a_clients_certificate_is_checked_and_its_common_name_told() {
    let (ca, stranger) = (ca(), ca());
    let server = signed(server_params(), &ca);
    let of_client = |issuer| {
        let mut params = params("ann");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let made = signed(params, issuer);
        let key = PrivateKey { format: PrivateKeyFormat::Pkcs8, der: Secret::new(made.key) };
        TlsOptions { cert: made.chain, key: Some(key), ..trusting(&ca) }
    };
    for tls12 in [false, true] {
        for (options, welcome) in [(of_client(&ca), true), (of_client(&stranger), false), (trusting(&ca), false)] {
            let acceptor = RustlsAcceptor::new(&server.chain, &server.key).unwrap();
            let acceptor = acceptor.with_client_ca(&[ca.der().to_vec()]).unwrap();
            let mut many = server_of(if tls12 { acceptor.with_tls12_only() } else { acceptor });
            many.porter = Box::new(|id, request| {
                assert_eq!(request.common_name.as_deref(), Some("ann"));
                Answer::Admit(push(id))
            });
            many.come_as(client_of(&options, 1));
            many.run(Duration::from_secs(if welcome { 5 } else { 70 }));
            let ended = many.ended(0);
            assert_eq!(many.stage(0) == Stage::Up, welcome, "{ended:?}");
            if !welcome {
                assert!(matches!(ended, Some(EndReason::Tls(TlsError::Alert(_)))), "{ended:?}");
                let last = many.events.last().map(|(_, event)| event);
                assert!(matches!(last, Some(ServerEvent::Gone(Gone::Tls(_)))), "{last:?}");
            }
        }
    }
}

#[test]
fn keys_are_renewed_over_real_tls_by_both_sides() {
    let ca = ca();
    let server = signed(server_params(), &ca);
    let mut many = server_of(RustlsAcceptor::new(&server.chain, &server.key).unwrap());
    many.come_as(client_of(&trusting(&ca), 1));
    many.run(Duration::from_secs(2));
    let id = many.events[0].0;
    for round in 0..4 {
        let now = many.now;
        if round % 2 == 0 {
            many.server.renegotiate(id, now);
        } else {
            many.guests[0].session.renegotiate(now);
        }
        many.run(Duration::from_secs(20));
        many.send_up(0, b"up");
        many.send_down(id, b"down");
        many.run(Duration::from_secs(1));
        many.guests[0].session.heard(many.now);
        assert_eq!((many.packets.len(), many.guests[0].lane.packets.len()), (round + 1, round + 1));
    }
    assert_eq!(many.guests[0].lane.installed(), 5);
}

#[test]
fn a_certificate_and_a_key_that_do_not_belong_together_are_refused_at_once() {
    let (one, other) = (signed(server_params(), &ca()), signed(server_params(), &ca()));
    assert!(matches!(RustlsAcceptor::new(&one.chain, &other.key), Err(TlsError::Protocol(_))));
    assert!(matches!(RustlsAcceptor::new(&one.chain, b"no key"), Err(TlsError::Protocol(_))));
}
