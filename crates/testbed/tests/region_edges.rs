//! What a region does at its edges: what it refuses to start as and what it says then, packets that are not the client's
//! own, both transports at once, a stranger's noise.

mod region_support;

use std::net::UdpSocket;
use std::time::Duration;

use mrvpn_region::{Listen, RegionError, RegionSpec, Transport};
use mrvpn_testbed::{Mrvpn, mrvpn, stock_client, wait_until};
use region_support::{GATEWAY, Lab, wait_up, within};

#[track_caller]
fn refused(lab: &Lab, spec: &RegionSpec) -> String {
    match lab.try_start(spec) {
        Ok(_) => panic!("it was started"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_cannot_be_had_is_named_with_what_to_do() {
    let lab = Lab::new();
    let spec = lab.spec();
    let _region = lab.start(&spec);
    let mut second = spec.clone();
    second.device = String::from("tun1");
    assert!(refused(&lab, &second).contains("another program has this port"));
    second.listen[0].address = "192.0.2.99:1194".parse().unwrap();
    assert!(refused(&lab, &second).contains("no device of this network namespace has this address"));
    second.listen[0].address = "192.0.2.2:1195".parse().unwrap();
    second.device = spec.device;
    assert!(matches!(lab.try_start(&second), Err(RegionError::Device { .. })));
}

#[test]
fn a_specification_that_cannot_work_is_refused_before_anything_is_opened() {
    let lab = Lab::new();
    let check = |change: fn(&mut RegionSpec), says: &str| {
        let mut spec = lab.spec();
        change(&mut spec);
        let error = refused(&lab, &spec);
        assert!(error.contains(says), "{error}");
    };
    check(|spec| spec.listen.clear(), "listens nowhere");
    check(|spec| spec.network = "10.100.0.0/31".parse().unwrap(), "no room for a client");
    check(|spec| spec.network = "10.100.0.0/30".parse().unwrap(), "no room for so many clients");
    check(|spec| spec.network6 = Some("fd00::/120".parse().unwrap()), "IPv6 network is too small");
    check(|spec| spec.ciphers.clear(), "no data cipher");
    check(|spec| spec.push = vec![String::from("route 1.2.3.4,route 5.6.7.8")], "comma");
}

#[test]
fn a_packet_from_an_address_that_is_not_the_client_s_own_is_dropped() {
    let lab = Lab::new();
    let region = lab.start(&lab.spec());
    let path = lab.scratch.write("stock.ovpn", &region.profile("alice").unwrap());
    let _client = stock_client::start(&lab.client, &path, "tun0", &lab.scratch);
    wait_up(&region);
    lab.client.ip("addr add 10.100.0.77/32 dev tun0");
    let before = region.clients()[0].traffic.dropped;
    let answered = lab.client.try_run("ping", &["-n", "-c", "2", "-W", "0.3", "-I", "10.100.0.77", GATEWAY]).is_ok();
    assert!(!answered);
    assert!(region.clients()[0].traffic.dropped >= before + 2);
    lab.wait_ping(GATEWAY);
}

#[test]
fn one_region_takes_clients_by_datagrams_and_by_streams_at_once() {
    let lab = Lab::new();
    let mut spec = lab.spec();
    spec.listen.push(Listen { transport: Transport::Tcp, ..spec.listen[0] });
    let region = lab.start(&spec);
    let only = |user: &str, proto: &str| {
        let profile = spec.profile(user).unwrap();
        let fits = |line: &&str| !line.starts_with("remote ") || line.ends_with(proto);
        let text: Vec<&str> = profile.lines().filter(fits).collect();
        format!("{user}={}", lab.scratch.write(&format!("{user}.ovpn"), &text.join("\n")).display())
    };
    let arguments = [only("alice", "udp"), only("bob", "tcp")];
    let mut engine = Mrvpn::start_in(&lab.client, &arguments, &lab.scratch);
    let status = engine.wait(|status| mrvpn::tunnels(status).iter().all(|tunnel| tunnel["state"] == "up"));
    let clients = wait_until("both", Duration::from_secs(5), || {
        let clients = region.clients();
        (clients.len() == 2).then_some(clients)
    });
    let mut ways: Vec<Transport> = clients.iter().map(|client| client.transport).collect();
    ways.sort();
    assert_eq!(ways, [Transport::Udp, Transport::Tcp]);
    for name in ["alice", "bob"] {
        let bind = mrvpn::tunnel(&status, name)["bind"][0].as_str().unwrap_or_default().to_string();
        lab.client.run("ping", &["-n", "-c", "3", "-i", "0.1", "-I", &bind, GATEWAY]);
    }
    assert!(region.clients().iter().all(|client| client.traffic.received >= 3), "{:?}", region.clients());
    engine.down();
}

#[test]
fn noise_of_strangers_is_answered_by_nothing_and_disturbs_nobody() {
    let lab = Lab::new();
    let region = lab.start(&lab.spec());
    let engine = {
        let path = lab.scratch.write("uk.ovpn", &region.profile("alice").unwrap());
        let mut engine = Mrvpn::start_in(&lab.client, &[format!("uk={}", path.display())], &lab.scratch);
        engine.wait(|status| mrvpn::tunnel(status, "uk")["state"] == "up");
        engine
    };
    within(&lab.client, || {
        let stranger = UdpSocket::bind("192.0.2.7:0").unwrap();
        stranger.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        for first in 0..=u8::MAX {
            for length in [1, 20, 60, 1_400] {
                let mut bytes = vec![first.wrapping_mul(37); length];
                bytes[0] = first;
                stranger.send_to(&bytes, region_support::OUTER).unwrap();
            }
        }
        assert!(stranger.recv(&mut [0; 2_048]).is_err(), "it was answered");
    });
    lab.client.run("ping", &["-n", "-c", "5", "-i", "0.05", GATEWAY]);
    assert_eq!(region.clients().len(), 1);
    engine.down();
}
