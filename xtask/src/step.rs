//! Output of the commands: a line a step with its time, and the reasons below it where it failed.

use std::{io::Write, time::Instant};

/// Why a step failed: one line each.
pub(crate) type Reasons = Vec<String>;

/// Runs a step and prints how it went; whether it passed. `Ok` may carry a remark.
pub(crate) fn report(name: &str, step: impl FnOnce() -> Result<String, Reasons>) -> bool {
    let begin = Instant::now();
    let outcome = step();
    let seconds = begin.elapsed().as_secs_f64();
    match outcome {
        Ok(remark) => {
            say(&format!("ok    {name:<12} {seconds:6.1} s  {remark}"));
            true
        }
        Err(reasons) => {
            say(&format!("FAIL  {name:<12} {seconds:6.1} s"));
            for reason in reasons {
                say(&format!("      {reason}"));
            }
            false
        }
    }
}

/// Writes a line to standard output.
pub(crate) fn say(line: &str) {
    // Nobody is left to be told when the output is gone.
    let _ = writeln!(std::io::stdout(), "{line}");
}
