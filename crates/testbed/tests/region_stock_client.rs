//! Debian's openvpn client against our own region server: each wrapping and transport, each cipher, passwords,
//! renegotiation, float, the ends. So the region is honest: what our client meets there is what a stock one does.

mod region_support;

use std::collections::BTreeMap;
use std::time::Duration;

use mrvpn_profile::{Cipher, Secret};
use mrvpn_region::{Farewell, Listen, Region, RegionEvent, RegionSpec, Transport, Wrapping};
use mrvpn_testbed::{Background, Process, helper, stock_client};
use region_support::{FIRST, GATEWAY, Lab, wait_event, wait_up};
use rustix::process::Signal;

/// Starts the client and waits until it is up.
#[track_caller]
fn stock(lab: &Lab, profile: &str) -> Process {
    let path = lab.scratch.write("stock.ovpn", profile);
    stock_client::start(&lab.client, &path, "tun0", &lab.scratch)
}

/// Starts the client and does not wait.
fn stock_start(lab: &Lab, profile: &str) -> Process {
    let path = lab.scratch.write("stock.ovpn", profile);
    let mut command = lab.client.command("openvpn");
    command.args(["--config", &path.display().to_string(), "--dev", "tun0", "--dev-type", "tun"]);
    Process::start("stock-tun0", command, lab.scratch.path())
}

/// The service in the region's namespace that transfers and answers.
fn service(lab: &Lab) -> Process {
    let mut command = lab.far.command(helper());
    command.args(["serve", "--name", "uk", "--port", "7000", "--udp", GATEWAY]);
    let mut service = Process::start("service", command, lab.scratch.path());
    service.wait_for("ready", Duration::from_secs(5));
    service
}

#[track_caller]
fn check(lab: &Lab, spec: &RegionSpec, what: &str) {
    let region = lab.start(spec);
    let mut client = stock(lab, &region.profile("alice").expect("a name that fits"));
    let seen = wait_up(&region);
    assert_eq!((seen.common_name.as_str(), seen.address.to_string().as_str()), ("alice", FIRST), "{what}");
    assert_eq!(Some(seen.cipher), spec.ciphers.first().map(|cipher| Some(*cipher)), "{what}");
    let _service = service(lab);
    lab.client.run("ping", &["-n", "-c", "3", "-i", "0.05", "-s", "1472", "-M", "do", GATEWAY]);
    let outcome =
        Background::transfer(&lab.client, GATEWAY, None, 3_000_000, &lab.scratch).finish(Duration::from_secs(30));
    assert_eq!(outcome["region"], "uk", "{what}: {outcome}");
    client.signal(Signal::TERM);
    client.wait_end(Duration::from_secs(10));
    wait_event(&region, |event| matches!(event, RegionEvent::Gone { .. }));
}

#[test]
fn every_wrapping_works_by_datagrams_and_by_streams() {
    for wrapping in [Wrapping::None, Wrapping::TlsAuth, Wrapping::TlsCrypt, Wrapping::TlsCryptV2] {
        for transport in [Transport::Udp, Transport::Tcp] {
            let lab = Lab::new();
            let mut spec = lab.spec();
            spec.wrapping = wrapping;
            spec.listen = vec![Listen { transport, ..spec.listen[0] }];
            check(&lab, &spec, &format!("{wrapping:?} {transport:?}"));
        }
    }
}

#[test]
fn every_cipher_is_negotiated() {
    for cipher in Cipher::DEFAULT {
        let lab = Lab::new();
        let mut spec = lab.spec();
        spec.ciphers = vec![cipher];
        check(&lab, &spec, cipher.name());
    }
}

#[test]
fn ipv6_is_carried_inside_and_outside() {
    let lab = Lab::new();
    let mut spec = lab.spec();
    spec.listen[0].address = "[2001:db8::2]:1194".parse().unwrap();
    spec.network6 = Some("fd00:100::/64".parse().unwrap());
    let region = lab.start(&spec);
    let _client = stock(&lab, &region.profile("alice").unwrap());
    assert_eq!(wait_up(&region).address6.unwrap().to_string(), "fd00:100::2");
    lab.wait_ping("fd00:100::1");
    lab.wait_ping(GATEWAY);
}

fn with_password(lab: &Lab) -> RegionSpec {
    let mut spec = lab.spec();
    let password = Secret::new(String::from("correct horse"));
    spec.users = Some(BTreeMap::from([(String::from("alice"), password)]));
    spec
}

#[test]
fn the_right_password_is_let_in() {
    let lab = Lab::new();
    let region = lab.start(&with_password(&lab));
    let _client = stock(&lab, &region.profile("alice").unwrap());
    assert_eq!(wait_up(&region).user, "alice");
}

#[test]
fn a_wrong_password_is_refused_in_the_words_that_a_client_knows() {
    let lab = Lab::new();
    let spec = with_password(&lab);
    let region = lab.start(&spec);
    let profile = spec.profile("alice").unwrap().replace("correct horse", "wrong horse");
    let mut client = stock_start(&lab, &profile);
    client.wait_for("AUTH_FAILED", Duration::from_secs(10));
    let event = wait_event(&region, |event| matches!(event, RegionEvent::Refused { .. }));
    assert!(matches!(event, RegionEvent::Refused { user, .. } if user == "alice"));
    assert!(region.clients().is_empty());
}

/// 600 pings, 10 ms apart, while `meanwhile` happens; how many were answered.
fn pings_while(lab: &Lab, meanwhile: impl FnOnce()) -> u32 {
    let mut command = lab.client.command("ping");
    command.args(["-n", "-q", "-c", "600", "-i", "0.01", GATEWAY]);
    let mut ping = Process::start("ping", command, lab.scratch.path());
    meanwhile();
    ping.wait_end(Duration::from_secs(30));
    let text = ping.stdout();
    let line = text.lines().find(|line| line.contains("received")).unwrap_or_default().to_string();
    line.split(", ").nth(1).and_then(|part| part.split(' ').next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn keys_are_renewed_by_either_side_without_a_packet_lost() {
    let lab = Lab::new();
    let region = lab.start(&lab.spec());
    let profile = region.profile("alice").unwrap() + "reneg-sec 3\n";
    let _client = stock(&lab, &profile);
    wait_up(&region);
    let answered = pings_while(&lab, || {
        std::thread::sleep(Duration::from_millis(500));
        region.renegotiate();
        for keys in 2..4 {
            wait_event(&region, |event| matches!(event, RegionEvent::Renewed { keys: now, .. } if *now >= keys));
        }
    });
    assert_eq!(answered, 600);
}

#[test]
fn a_client_that_moves_to_another_address_goes_on() {
    let lab = Lab::new();
    lab.client.sysctl("net.ipv4.conf.all.promote_secondaries", "1");
    lab.client.sysctl("net.ipv4.conf.eth0.promote_secondaries", "1");
    let region = lab.start(&lab.spec());
    let _client = stock(&lab, &region.profile("alice").unwrap());
    wait_up(&region);
    lab.wait_ping(GATEWAY);
    lab.client.ip("addr del 192.0.2.1/24 dev eth0");
    lab.wait_ping(GATEWAY);
    let event = wait_event(&region, |event| matches!(event, RegionEvent::Floated { .. }));
    assert!(matches!(event, RegionEvent::Floated { now, .. } if now.ip().to_string() == "192.0.2.7"));
    assert_eq!(region.clients()[0].from.ip().to_string(), "192.0.2.7");
    region.renegotiate();
    wait_event(&region, |event| matches!(event, RegionEvent::Renewed { .. }));
    lab.wait_ping(GATEWAY);
}

#[test]
fn a_client_comes_back_after_each_kind_of_end_of_the_region() {
    for farewell in [Farewell::Restart(String::new()), Farewell::Silent] {
        let lab = Lab::new();
        let spec = lab.spec();
        let region = lab.start(&spec);
        let _client = stock(&lab, &(region.profile("alice").unwrap() + "connect-retry 1 1\n"));
        wait_up(&region);
        region.stop(farewell);
        let region: Region = lab.start(&spec);
        wait_up(&region);
        lab.wait_ping(GATEWAY);
    }
}

#[test]
fn clients_reach_each_other_only_where_that_is_wanted() {
    for wanted in [false, true] {
        let lab = Lab::new();
        let mut spec = lab.spec();
        spec.between_clients = wanted;
        let region = lab.start(&spec);
        let _first = stock(&lab, &region.profile("alice").unwrap());
        wait_up(&region);
        let other = mrvpn_testbed::Netns::new(&format!("{}-other", mrvpn_testbed::unique_name()));
        other.link("eth0", &lab.far, "to-other");
        other.ip("addr add 192.0.3.1/24 dev eth0\nroute add default via 192.0.3.2");
        lab.far.ip("addr add 192.0.3.2/24 dev to-other");
        let path = lab.scratch.write("bob.ovpn", &region.profile("bob").unwrap());
        let _second = stock_client::start(&other, &path, "tun1", &lab.scratch);
        wait_up(&region);
        let reached = other.try_run("ping", &["-n", "-c", "2", "-W", "1", FIRST]).is_ok();
        assert_eq!(reached, wanted);
    }
}
