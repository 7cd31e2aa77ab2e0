//! Flows of all kinds that go on all the time beside a test: new UDP and TCP ones and lasting ones, to several targets. They
//! are what could leave in clear; whether they do is [`crate::ClearWatch`]'s to say.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::Value;

use crate::{
    netns::Netns, probe::helper, process::Process, region::SERVICE_PORT, scratch::Scratch, scratch::unique_name,
};

/// The running helper.
#[derive(Debug)]
pub struct Knocks {
    process: Process,
    stop: PathBuf,
}

impl Knocks {
    /// Knocks at the service of each target, `rate` times a second each, bound to `from` where that is given and there.
    ///
    /// # Panics
    /// When the helper cannot run.
    #[must_use]
    #[track_caller]
    pub fn start(netns: &Netns, targets: &[&str], from: Option<&str>, rate: u32, scratch: &Scratch) -> Self {
        let name = format!("knock-{}", unique_name());
        let stop = scratch.path().join(format!("{name}.stop"));
        let mut command = netns.command(helper());
        command.args(["knock", "--rate", &rate.to_string(), "--stop", &stop.display().to_string()]);
        for target in targets {
            let bracketed = if target.contains(':') { format!("[{target}]") } else { String::from(*target) };
            command.args(["--to", &format!("{bracketed}:{SERVICE_PORT}")]);
        }
        if let Some(from) = from {
            command.args(["--from", from]);
        }
        Self { process: Process::start(&name, command, scratch.path()), stop }
    }

    /// Ends them: how many were sent by kind (`udp`, `tcp`, `lasting`), who answered (`regions`), what was `refused`.
    ///
    /// # Panics
    /// When the helper had failed.
    #[must_use]
    #[track_caller]
    pub fn finish(mut self) -> Value {
        fs::write(&self.stop, "").unwrap_or_else(|error| panic!("{}: {error}", self.stop.display()));
        let status = self.process.wait_end(Duration::from_secs(5));
        assert!(status.success(), "{}", self.process.log());
        serde_json::from_str(&self.process.stdout()).unwrap_or_else(|error| panic!("{error}: {}", self.process.log()))
    }
}
