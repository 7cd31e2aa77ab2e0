//! `mrvpn up --detach`: starts the engine in a process and session of its own, hands it what was read, and waits for its
//! report. Whoever closes the terminal afterwards closes nothing of the engine; what goes wrong before it is ready is told
//! here, with the exit code that the engine would have had.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::descriptors;
use super::report::{self, Report};
use crate::bundle::Bundle;
use crate::cli::terminal::Progress;
use crate::failure::Failure;
use crate::instance::Instance;

/// How the engine is called in lists of processes.
const NAME: &str = "mrvpn";

pub(super) fn run(instance: &Instance, bundle: &Bundle, wait: u64) -> Result<u8, Failure> {
    let bytes = bundle.encode()?;
    let mut engine =
        start(instance, wait, bytes.len()).map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    if let Some(mut pipe) = engine.stdin.take() {
        // It may have failed before it read; its report says why.
        let _ = pipe.write_all(&bytes);
    }
    drop(bytes);
    follow(&mut engine)
}

fn start(instance: &Instance, wait: u64, bundle: usize) -> std::io::Result<Child> {
    if let Err(error) = descriptors::keep_from_children() {
        tracing::warn!("the engine inherits what this program was started with: {error}");
    }
    // This very program, whatever lies at its path by now.
    let mut command = Command::new("/proc/self/exe");
    command.arg0(NAME);
    command.args([
        "--instance",
        instance.name(),
        "engine",
        "--wait",
        &wait.to_string(),
        "--bundle",
        &bundle.to_string(),
    ]);
    command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn()
}

/// Tells what the engine reports until it is ready or has ended.
fn follow(engine: &mut Child) -> Result<u8, Failure> {
    let progress = Progress::new();
    let mut code = None;
    let pipe = engine.stdout.take().map(BufReader::new);
    for line in pipe.into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(Report::Progress(line)) => progress.say(&line),
            Ok(Report::Ready { status, given_up }) => {
                report::tell_ready(&status, given_up);
                code = Some(report::exit_code(&status, given_up));
            }
            Ok(Report::Failed(failure)) => return Err(failure),
            Err(_) => {}
        }
    }
    code.ok_or_else(|| {
        Failure::failed("the engine ended before it was ready and did not say why").hint("`mrvpn down` cleans up")
    })
}
