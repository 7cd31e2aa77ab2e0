//! Very many runs on all cores. What they come to does not depend on which core had which seed.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Failure, Scenario, Trace, judge};

/// Which seeds are run, and how.
#[derive(Clone, Copy, Debug)]
pub struct Seeds {
    /// The first.
    pub from: u64,
    /// How many.
    pub count: u64,
    /// One in so many is run twice (I-13); 0 for none.
    pub repeat_each: u64,
    /// After so many failures nothing more is begun: each costs the time of shrinking it.
    pub failures: usize,
}

impl Seeds {
    /// So many seeds; each hundredth is run twice.
    #[must_use]
    pub const fn new(from: u64, count: u64) -> Self {
        Self { from, count, repeat_each: 100, failures: 3 }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Seeds done, of [`Seeds::count`].
    pub done: u64,
    /// Seeds in all.
    pub count: u64,
    /// Real time so far.
    pub elapsed: Duration,
    /// Virtual time of all tunnels of all runs.
    pub tunnel_time: Duration,
    /// Runs with a violation.
    pub failed: u64,
}

/// What all runs came to.
#[derive(Debug, Default)]
pub struct Report {
    /// Seeds that were run.
    pub seeds: u64,
    /// Real time.
    pub elapsed: Duration,
    /// Virtual time of all runs.
    pub time: Duration,
    /// Virtual time of all tunnels of all runs.
    pub tunnel_time: Duration,
    /// All traces in one number: the same seeds give the same.
    pub hash: u64,
    /// Sums of all tallies.
    pub tallies: BTreeMap<&'static str, u64>,
    /// How long something took at most in any of them.
    pub longest: BTreeMap<&'static str, Duration>,
    /// Runs with a violation, in the order of their seeds.
    pub failures: Vec<Failure>,
}

impl Report {
    fn take(&mut self, trace: &Trace) {
        self.seeds += 1;
        self.time += trace.end.since(mrvpn_clock::Moment::default());
        self.tunnel_time += trace.tunnel_time;
        self.hash = self.hash.wrapping_add(trace.hash);
        for (what, count) in &trace.tallies {
            *self.tallies.entry(what).or_default() += count;
        }
        for (what, time) in &trace.longest {
            let longest = self.longest.entry(what).or_default();
            *longest = (*time).max(*longest);
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.seeds += 1;
        self.failures.push(failure);
        self.failures.sort_by_key(|failure| failure.seed);
    }
}

/// How often progress is told.
const EACH: Duration = Duration::from_millis(500);

/// Runs these seeds on as many threads as there are cores, and tells how far it is twice a second.
pub fn run_many<S: Scenario>(scenario: &S, seeds: Seeds, mut progress: impl FnMut(&Progress)) -> Report {
    let begin = Instant::now();
    let shared = Shared { next: AtomicU64::new(0), over: AtomicBool::new(false), report: Mutex::default() };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| shared.work(scenario, seeds))).collect();
        while !workers.iter().all(thread::ScopedJoinHandle::is_finished) {
            thread::park_timeout(EACH.min(begin.elapsed() / 4));
            progress(&shared.progress(seeds, begin));
        }
    });
    let mut report = shared.report.into_inner().unwrap_or_default();
    report.elapsed = begin.elapsed();
    report
}

struct Shared {
    next: AtomicU64,
    over: AtomicBool,
    report: Mutex<Report>,
}

impl Shared {
    fn work<S: Scenario>(&self, scenario: &S, seeds: Seeds) {
        while !self.over.load(Ordering::Relaxed) {
            let place = self.next.fetch_add(1, Ordering::Relaxed);
            if place >= seeds.count {
                return;
            }
            let repeat = seeds.repeat_each > 0 && place.is_multiple_of(seeds.repeat_each);
            let outcome = judge(scenario, seeds.from.wrapping_add(place), repeat);
            let Ok(mut report) = self.report.lock() else { return };
            match outcome {
                Ok(trace) => report.take(&trace),
                Err(failure) => report.fail(*failure),
            }
            if report.failures.len() >= seeds.failures {
                self.over.store(true, Ordering::Relaxed);
            }
        }
    }

    fn progress(&self, seeds: Seeds, begin: Instant) -> Progress {
        let Ok(report) = self.report.lock() else { return Progress::default() };
        Progress {
            done: report.seeds,
            count: seeds.count,
            elapsed: begin.elapsed(),
            tunnel_time: report.tunnel_time,
            failed: report.failures.len() as u64,
        }
    }
}
