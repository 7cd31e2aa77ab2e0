//! Debian's OpenVPN client, unchanged: it proves that the world itself works, and is the peer of the benchmark.

use std::{path::Path, time::Duration};

use crate::{netns::Netns, process::Process, scratch::Scratch};

/// Starts it in `netns` with a profile and device `device`, and waits until it is up.
///
/// # Panics
/// When it is not up within 10 s, with its log.
#[must_use]
#[track_caller]
pub fn start(netns: &Netns, profile: &Path, device: &str, scratch: &Scratch) -> Process {
    let mut command = netns.command("openvpn");
    command.args(["--config", &profile.display().to_string(), "--dev", device, "--dev-type", "tun"]);
    let mut process = Process::start(&format!("stock-{device}"), command, scratch.path());
    process.wait_for("Initialization Sequence Completed", Duration::from_secs(10));
    process
}
