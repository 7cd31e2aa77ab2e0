//! What is printed: a line of progress on standard error, overwritten where that is a terminal; results on standard output.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use mrvpn_testbed::sim::runner::Progress;
use mrvpn_testbed::sim::{Report, Seeds};

/// Writes a line to standard output.
pub(crate) fn say(line: &str) {
    // Nobody is left to be told when the output is gone.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// How far it is.
pub(crate) fn progress(name: &str, progress: &Progress) {
    let mut output = std::io::stderr();
    let rate = rate(progress.done, progress.elapsed);
    let line = format!(
        "{name}: {} of {} seeds, {rate:.0} a second, {} of tunnel time, {} failed",
        progress.done,
        progress.count,
        time(progress.tunnel_time),
        progress.failed
    );
    let _ = if output.is_terminal() { write!(output, "\r{line}\x1b[K") } else { Ok(()) };
}

/// What it came to.
pub(crate) fn report(name: &str, seeds: Seeds, report: &Report) {
    if std::io::stderr().is_terminal() {
        let _ = writeln!(std::io::stderr());
    }
    for failure in &report.failures {
        say(&format!("{failure}\n"));
    }
    say(&format!(
        "{name}: seeds {} to {}: {} run, {} failed; {:.1} s, {:.0} a second; {} of virtual time, {} of tunnel time; \
         trace {:016x}",
        seeds.from,
        seeds.from.wrapping_add(seeds.count).wrapping_sub(1),
        report.seeds,
        report.failures.len(),
        report.elapsed.as_secs_f64(),
        rate(report.seeds, report.elapsed),
        time(report.time),
        time(report.tunnel_time),
        report.hash
    ));
    for (what, count) in &report.tallies {
        say(&format!("    {what:<28} {count:>14}"));
    }
    for (what, time) in &report.longest {
        say(&format!("    {what:<28} {:>12.3} s at most", time.as_secs_f64()));
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is shown with three digits")]
fn rate(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(0.001)
}

/// Days where they are many, else seconds.
fn time(time: Duration) -> String {
    const DAY: f64 = 86_400.0;
    let seconds = time.as_secs_f64();
    if seconds < 2.0 * DAY { format!("{seconds:.0} s") } else { format!("{:.1} days", seconds / DAY) }
}
