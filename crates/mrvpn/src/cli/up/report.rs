//! What `up` tells: the progress of each tunnel, once what stands when it is ready, or why it failed. In the foreground to
//! the terminal; a detached engine writes the same as lines of JSON to the process that has started it, which tells it in
//! its place.

use std::fs::File;
use std::io::{Stdout, Write};

use mrvpn_engine::Status;
use serde::{Deserialize, Serialize};

use crate::cli::terminal::Progress;
use crate::cli::{answer, summary};
use crate::failure::{FAILED, Failure};

/// One line of a detached engine to who has started it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Report {
    /// A line of progress.
    Progress(String),
    /// Each tunnel is up or has failed, or the wait is over.
    Ready {
        /// What stands.
        status: Box<Status>,
        /// Everything is taken down: all tunnels were refused for good.
        given_up: bool,
    },
    /// It could not be started.
    Failed(Failure),
}

/// To whom it is told.
pub(in crate::cli) enum Reporter {
    /// Who runs this command.
    Here(Progress),
    /// The process that has started this one, until it was told what it waits for.
    Starter(Option<Stdout>),
}

impl Reporter {
    /// Tells whoever sits at the terminal.
    pub(in crate::cli) fn here() -> Self {
        Self::Here(Progress::new())
    }

    /// Tells the process at the other end of standard output.
    pub(in crate::cli) fn to_starter() -> Self {
        Self::Starter(Some(std::io::stdout()))
    }

    /// Tells nobody.
    #[cfg(test)]
    pub(super) fn to_nobody() -> Self {
        Self::Starter(None)
    }

    /// A line of progress.
    pub(super) fn say(&self, line: &str) {
        match self {
            Self::Here(progress) => progress.say(line),
            Self::Starter(pipe) => send(pipe.as_ref(), &Report::Progress(line.to_owned())),
        }
    }

    /// What stands; told once.
    pub(super) fn ready(&mut self, status: &Status, given_up: bool) {
        match self {
            Self::Here(_) => tell_ready(status, given_up),
            Self::Starter(pipe) => {
                let Some(pipe) = pipe.take() else { return };
                send(Some(&pipe), &Report::Ready { status: Box::new(status.clone()), given_up });
                // Who has started it waits for this end of the pipe. Given up, it waits until everything is taken down,
                // which is when this process ends.
                if !given_up {
                    let_go();
                }
            }
        }
    }

    /// Why it could not be started.
    pub(in crate::cli) fn failed(&self, failure: &Failure) {
        match self {
            Self::Here(_) => {}
            Self::Starter(pipe) => send(pipe.as_ref(), &Report::Failed(failure.clone())),
        }
    }
}

/// Prints what stands, for people.
pub(super) fn tell_ready(status: &Status, given_up: bool) {
    if given_up {
        answer(&summary::refused(status));
        let _ = writeln!(std::io::stderr(), "every tunnel was refused for good: all is taken down again");
        return;
    }
    answer(&summary::ready(status));
    for line in unfinished(status) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// The exit code of `up --detach`.
pub(super) fn exit_code(status: &Status, given_up: bool) -> u8 {
    let all_up = status.tunnels.iter().all(|tunnel| tunnel.state == "up");
    if all_up && !given_up { 0 } else { FAILED }
}

/// Tunnels that are neither up nor failed, each with its stage and what to do.
fn unfinished(status: &Status) -> Vec<String> {
    let waiting = status.tunnels.iter().filter(|tunnel| tunnel.state != "up" && tunnel.error.is_none());
    waiting
        .map(|t| format!("{} is not up yet ({}): it goes on; `mrvpn status` shows how far it is", t.name, t.state))
        .collect()
}

fn send(pipe: Option<&Stdout>, report: &Report) {
    let Some(mut pipe) = pipe else { return };
    let Ok(mut line) = serde_json::to_vec(report) else { return };
    line.push(b'\n');
    // Who has started it may be gone; the engine goes on.
    let _ = pipe.write_all(&line).and_then(|()| pipe.flush());
}

/// Standard streams lead nowhere from now on.
fn let_go() {
    if let Ok(nowhere) = File::options().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&nowhere);
        let _ = rustix::stdio::dup2_stdout(&nowhere);
        let _ = rustix::stdio::dup2_stderr(&nowhere);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A status document with tunnels in these states.
    pub(in crate::cli::up) fn status(tunnels: &[(&str, &str)]) -> Status {
        let tunnels: Vec<serde_json::Value> = tunnels
            .iter()
            .map(|(name, state)| {
                serde_json::json!({"name": name, "state": state, "since": "", "assigned": [], "presented": [], "bind": [],
                    "gateway": [], "dns": [], "routes": [], "remote": null, "remote_name": null, "cipher": null,
                    "mtu": null, "connect_ms": null, "rx_bytes": 0, "tx_bytes": 0, "drops": {}, "warnings": [],
                    "error": null})
            })
            .collect();
        serde_json::from_value(serde_json::json!({"schema": 1, "version": "", "config": null, "since": "",
            "state": "up", "interface": null, "default": null, "warnings": [], "tunnels": tunnels, "conflicts": [],
            "lan": [], "drops": {}, "guard": "off", "pid": 1}))
        .unwrap()
    }

    #[test]
    fn all_up_is_success_and_anything_else_is_not() {
        assert_eq!(exit_code(&status(&[("uk", "up"), ("fr", "up")]), false), 0);
        assert_eq!(exit_code(&status(&[("uk", "up"), ("fr", "connecting")]), false), FAILED);
        assert_eq!(exit_code(&status(&[("uk", "failed")]), true), FAILED);
    }

    #[test]
    fn a_tunnel_without_an_error_that_is_not_up_is_named_with_its_stage() {
        let lines = unfinished(&status(&[("uk", "up"), ("fr", "authenticating")]));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("fr") && lines[0].contains("authenticating") && lines[0].contains("mrvpn status"));
    }

    #[test]
    fn a_report_is_understood_at_the_other_end() {
        let failure = Failure::usage("no").at("a.toml", Some(3)).hint("yes");
        let line = serde_json::to_string(&Report::Failed(failure.clone())).unwrap();
        assert!(matches!(serde_json::from_str(&line).unwrap(), Report::Failed(told) if told == failure));
    }
}
