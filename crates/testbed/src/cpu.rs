//! What a process has cost so far, as the kernel accounts it.

use std::{fs, time::Duration};

/// One tick of `/proc/PID/stat`: USER_HZ is 100 on every Linux that these tests run on (proc(5)).
const TICK: Duration = Duration::from_millis(10);

/// User and system time of a process with all its threads.
///
/// # Panics
/// When there is no such process.
#[must_use]
#[track_caller]
pub fn cpu_time(pid: u32) -> Duration {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    // The name in parentheses may hold spaces; utime and stime are the 12th and 13th field after it (proc(5)).
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<u32>().ok()).unwrap_or(0);
    TICK * (ticks(11) + ticks(12))
}
