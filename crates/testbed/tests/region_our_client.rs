//! Our client through our own region server, in namespaces: traffic both ways, what the far end saw, restarts, the end.

mod region_support;

use std::time::Duration;

use mrvpn_region::{Farewell, RegionEvent};
use mrvpn_testbed::{Mrvpn, mrvpn};
use region_support::{FIRST, GATEWAY, Lab, wait_event, wait_up};

fn up(lab: &Lab, profile: &str) -> Mrvpn {
    let profile = lab.scratch.write("uk.ovpn", profile);
    let mut engine = Mrvpn::start_in(&lab.client, &[format!("uk={}", profile.display())], &lab.scratch);
    engine.wait(|status| mrvpn::tunnel(status, "uk")["state"] == "up");
    engine
}

#[test]
fn packets_go_both_ways_and_the_region_says_who_came() {
    let lab = Lab::new();
    let region = lab.start(&lab.spec());
    let engine = up(&lab, &region.profile("alice").unwrap());
    let client = wait_up(&region);
    assert_eq!((client.common_name.as_str(), client.address.to_string().as_str()), ("alice", FIRST));
    assert_eq!(client.from.ip().to_string(), "192.0.2.1");
    lab.wait_ping(GATEWAY);
    lab.client.run("ping", &["-n", "-c", "5", "-i", "0.1", "-s", "1400", GATEWAY]);
    let client = &region.clients()[0];
    assert!(client.traffic.received >= 6 && client.traffic.sent >= 6, "{client:?}");
    engine.down();
    wait_event(&region, |event| matches!(event, RegionEvent::Gone { .. }));
    assert!(region.clients().is_empty());
}

#[test]
fn a_region_that_is_restarted_with_a_word_has_its_client_back_at_once() {
    let lab = Lab::new();
    let spec = lab.spec();
    let region = lab.start(&spec);
    let engine = up(&lab, &region.profile("alice").unwrap());
    wait_up(&region);
    region.stop(Farewell::Restart(String::new()));
    let region = lab.start(&spec);
    let client = wait_up(&region);
    assert_eq!(client.address.to_string(), FIRST);
    lab.wait_ping(GATEWAY);
    engine.down();
}

#[test]
fn a_region_that_is_killed_has_its_client_back_by_the_pings() {
    let lab = Lab::new();
    let spec = lab.spec();
    let region = lab.start(&spec);
    let engine = up(&lab, &region.profile("alice").unwrap());
    wait_up(&region);
    drop(region);
    std::thread::sleep(Duration::from_secs(1));
    let region = lab.start(&spec);
    wait_up(&region);
    lab.wait_ping(GATEWAY);
    engine.down();
}
