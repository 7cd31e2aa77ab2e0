//! The signals that end an engine in good order: SIGTERM always; Ctrl-C and a closed terminal where it hangs on one. What
//! `nohup` or a shell has told the process to ignore stays ignored. What ending means is the engine's.

use std::io::Write;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::failure::FAILED;

/// 2 s: a second signal within this time ends at once and leaves cleaning to `down` (contract.md section 1).
const SECOND_SIGNAL: Duration = Duration::from_secs(2);

/// Whether an engine hangs on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Attended {
    /// It does: what ends the terminal ends the engine.
    Yes,
    /// It has a session of its own.
    No,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Asked {
    /// To end in good order.
    End,
    /// To end now.
    EndAtOnce,
}

/// The signals of this process.
pub(in crate::cli) struct Signals {
    terminate: Signal,
    interrupt: Option<Signal>,
    hangup: Option<Signal>,
    hangup_ends: bool,
    first: Option<Instant>,
}

impl Signals {
    /// Takes them over.
    ///
    /// # Errors
    /// The system has no signals for this process.
    pub(in crate::cli) fn new(attended: Attended) -> std::io::Result<Self> {
        let ignored = ignored();
        let unless_ignored = |kind: SignalKind| {
            let bit = 1_u64 << kind.as_raw_value().saturating_sub(1).clamp(0, 63);
            if ignored & bit == 0 { signal(kind).map(Some) } else { Ok(None) }
        };
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: unless_ignored(SignalKind::interrupt())?,
            hangup: unless_ignored(SignalKind::hangup())?,
            hangup_ends: attended == Attended::Yes,
            first: None,
        })
    }

    /// Waits for one that ends the engine. The first one ends it in good order, another one soon after at once.
    pub(in crate::cli) async fn next(&mut self) -> Asked {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                () = heard(&mut self.interrupt) => break,
                () = heard(&mut self.hangup) => if self.hangup_ends { break },
            }
        }
        let soon = self.first.is_some_and(|first| first.elapsed() < SECOND_SIGNAL);
        self.first = Some(Instant::now());
        if soon { Asked::EndAtOnce } else { Asked::End }
    }
}

/// Ends this process without cleaning up; the journal stays for `mrvpn down`.
pub(in crate::cli) fn end_at_once() -> ! {
    let _ = writeln!(std::io::stderr(), "ended at once; `mrvpn down` cleans up");
    std::process::exit(i32::from(FAILED));
}

async fn heard(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Bits of the signals that this process was started to ignore (proc(5), `SigIgn`).
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
}
