//! Assignments for this crate's tests, as they follow from a push.

use mrvpn_profile::{Assignment, PullOptions, push};

/// What a server of topology `subnet` assigns that names no gateway.
pub(crate) fn assignment(address: &str) -> Assignment {
    let net: ipnet::Ipv4Net = address.parse().unwrap();
    let text = format!("PUSH_REPLY,topology subnet,ifconfig {} {}", net.addr(), net.netmask());
    push::assignment(&PullOptions::default(), &[text.into_bytes()]).unwrap()
}
