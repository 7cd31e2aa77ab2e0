//! What a server says inside TLS, and its certificate.

use std::hint::black_box;

use mrvpn_clock::WallTime;
use mrvpn_profile::profile::{PullFilter, PullFilterAction};
use mrvpn_profile::push::{assignment, auth_token, continuation};
use mrvpn_profile::{Assignment, PeerName, PullOptions, TlsOptions, limits};
use mrvpn_proto::tls::judge_certificate;

use super::pieces::pieces;

/// The parts of a push. The first byte chooses what the profile itself says.
pub fn push(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let messages: Vec<Vec<u8>> = pieces(rest).into_iter().map(<[u8]>::to_vec).collect();
    let own = own_options(*choice);
    for message in &messages {
        black_box(continuation(message));
    }
    let token = auth_token(&own, &messages);
    assert!(token.is_none_or(|token| (1..=limits::AUTH_TOKEN).contains(&token.token.expose().len())));
    match assignment(&own, &messages) {
        Ok(assignment) => check(&assignment),
        Err(error) => assert!(error.to_string().is_ascii() && !error.hint().is_empty()),
    }
}

fn own_options(choice: u8) -> PullOptions {
    let filter = PullFilter::parse(PullFilterAction::Ignore, "route 10.").into_iter();
    PullOptions {
        route_nopull: choice & 1 != 0,
        filters: filter.filter(|_| choice & 2 != 0).collect(),
        ifconfig_ipv6: (choice & 4 != 0).then_some((std::net::Ipv6Addr::LOCALHOST, 64)),
        ..PullOptions::default()
    }
}

fn check(assignment: &Assignment) {
    assert!((limits::TUN_MTU_MIN..=limits::TUN_MTU_MAX).contains(&assignment.tun_mtu));
    assert!(assignment.routes.len() <= limits::ROUTES);
    assert!(assignment.routes.iter().all(|route| route.net.trunc() == route.net));
    assert!(assignment.dns.len() <= limits::DNS_SERVERS && assignment.search_domains.len() <= limits::DOMAINS);
    assert!(assignment.skipped.len() <= limits::NOTES + 1);
    assert!(assignment.skipped.iter().all(|skipped| skipped.option.is_ascii() && skipped.option.len() <= 256));
    let keepalive = assignment.keepalive;
    if let (Some(ping), Some(restart)) = (keepalive.ping, keepalive.ping_restart) {
        assert!(restart >= ping * 2 || restart == limits::TIMER_MAX);
    }
}

/// A chain, the leaf first. The first byte chooses what is asked of it.
pub fn certificate(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let chain: Vec<Vec<u8>> = pieces(rest).into_iter().map(<[u8]>::to_vec).collect();
    let name = || String::from("server");
    let options = TlsOptions {
        ca: vec![CA.to_vec()],
        remote_cert_tls_server: choice & 1 != 0,
        verify_x509_name: match (choice >> 1) & 3 {
            1 => Some(PeerName::Subject(name())),
            2 => Some(PeerName::CommonName(name())),
            3 => Some(PeerName::CommonNamePrefix(name())),
            _ => None,
        },
        ns_cert_type_server: choice & 8 != 0,
        ..TlsOptions::default()
    };
    let wall = WallTime::from_unix(1_790_000_000);
    let judged = judge_certificate(&options, choice & 16 != 0, &chain, wall);
    let shown = judged.map_or_else(|error| error, |warnings| warnings.concat());
    assert!(shown.is_ascii(), "{shown}");
    // Any of them may stand in a profile as the CA too.
    for der in chain {
        let options = TlsOptions { ca: vec![der], ..TlsOptions::default() };
        let _ = black_box(judge_certificate(&options, false, &[CA.to_vec()], wall));
    }
}

const CA: &[u8] = include_bytes!("../../../crates/proto/tests/vectors/weak/ca-rsa2048.der");
