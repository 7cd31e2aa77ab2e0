//! Multicast and broadcast on a LAN, as mDNS and old printers use them: an ear that joined a group, and one datagram sent
//! from a chosen card. Addresses of IPv4 name a card by its address, groups of IPv6 by its name.

use std::time::Duration;

use serde_json::Value;

use crate::{
    netns::Netns,
    probe::{helper, run},
    process::Process,
    scratch::{Scratch, unique_name},
};

/// A socket that hears what is sent to a group, and answers each datagram.
#[derive(Debug)]
pub struct Ear(Process);

impl Ear {
    /// Joins `group` (an address with its port) on `card`; a broadcast address is only bound.
    ///
    /// # Panics
    /// When it cannot.
    #[must_use]
    #[track_caller]
    pub fn at(netns: &Netns, group: &str, card: &str, scratch: &Scratch) -> Self {
        let mut command = netns.command(helper());
        command.args(["hear", "--group", group, "--card", card]);
        let mut process = Process::start(&format!("ear-{}", unique_name()), command, scratch.path());
        process.wait_for("ready", Duration::from_secs(5));
        Self(process)
    }

    /// Waits until it has heard `text` from an address.
    ///
    /// # Panics
    /// When it has not within a second.
    #[track_caller]
    pub fn wait_heard(&mut self, from: &str, text: &str) {
        self.0.wait_for(&format!("heard {from} {text}\n"), Duration::from_secs(1));
    }
}

/// Sends `text` from `card` to `group`; who answered within a second.
///
/// # Panics
/// When it could not be sent.
#[track_caller]
pub fn tell(netns: &Netns, group: &str, card: &str, text: &str) -> Option<String> {
    let told: Value = run(netns, "tell", &["--group", group, "--card", card, "--text", text]);
    assert!(told["error"].is_null(), "{group} from {card}: {told}");
    told["answered"].as_str().map(String::from)
}
