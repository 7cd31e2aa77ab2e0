//! The engine's own log: the last 10,000 lines, kept in memory for `mrvpn logs`. A line is one event of level INFO or
//! above of our own crates: time in UTC, level, tunnel, text, all of it printable ASCII. Not a file, and not what stderr
//! shows; secrets cannot be in it, because their types print as `***`.

mod events; // what happens
mod layer; // events of `tracing` into lines
mod pace; // no tunnel fills the ring alone

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub(crate) use events::log_events;
use layer::RingLayer;
use pace::Pace;

/// 10,000 lines are kept.
const LINES: usize = 10_000;

/// The ring. Clones are the same ring.
#[derive(Clone, Debug)]
pub(crate) struct LogRing {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    kept: Mutex<Kept>,
    /// Number of the next line: who follows waits for it to grow.
    news: watch::Sender<u64>,
}

#[derive(Debug)]
struct Kept {
    limit: usize,
    lines: VecDeque<Line>,
    next: u64,
    pace: Pace,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The tunnel that it is about.
    pub(crate) tunnel: Option<String>,
    /// The whole line, without its end.
    pub(crate) text: String,
}

/// Lines that follow one another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines {
    /// Them.
    pub(crate) lines: Vec<Line>,
    /// Number of the line behind them.
    pub(crate) next: u64,
    /// So many before them have left the ring.
    pub(crate) missed: u64,
}

impl LogRing {
    /// An empty ring.
    pub(crate) fn new() -> Self {
        Self::with_room(LINES)
    }

    fn with_room(limit: usize) -> Self {
        let kept = Kept { limit, lines: VecDeque::new(), next: 0, pace: Pace::new() };
        Self { shared: Arc::new(Shared { kept: Mutex::new(kept), news: watch::Sender::new(0) }) }
    }

    /// Begins logging in this process: INFO and above into a ring; to stderr warnings and worse, on a terminal errors
    /// alone (its progress says what a warning would), or what `MRVPN_LOG` asks for.
    pub(crate) fn begin() -> Self {
        let ring = Self::new();
        let usual = if std::io::stderr().is_terminal() { "error" } else { "warn" };
        let filter = EnvFilter::try_from_env("MRVPN_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
        let stderr = tracing_subscriber::fmt::layer()
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .with_filter(filter);
        let kept = RingLayer::new(ring.clone()).with_filter(LevelFilter::INFO);
        // Whoever has begun before (a test) goes on.
        let _ = tracing_subscriber::registry().with(stderr).with(kept).try_init();
        ring
    }

    /// The lines from number `from` on that the ring still has, `most` at most.
    pub(crate) fn read(&self, from: u64, most: usize) -> Lines {
        let mut kept = self.kept();
        kept.tell_suppressed(Instant::now());
        let first = kept.first();
        let start = from.max(first).min(kept.next);
        let skipped = usize::try_from(start - first).unwrap_or(usize::MAX);
        let lines: Vec<Line> = kept.lines.iter().skip(skipped).take(most).cloned().collect();
        let count = u64::try_from(lines.len()).unwrap_or(0);
        Lines { lines, next: start + count, missed: first.saturating_sub(from) }
    }

    /// Changes when there are new lines.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.shared.news.subscribe()
    }

    /// What this thread logs while it does `work` goes into this ring.
    #[cfg(test)]
    pub(crate) fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        let kept = RingLayer::new(self.clone()).with_filter(LevelFilter::INFO);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(kept), work)
    }

    #[cfg(test)]
    pub(crate) fn say_for_test(&self, text: &str, tunnel: &str) {
        self.take("T", "INFO", Some(tunnel.to_owned()), text);
    }

    /// Takes a line, if its tunnel has not had too many.
    fn take(&self, stamp: &str, level: &str, tunnel: Option<String>, text: &str) {
        let mut kept = self.kept();
        let now = Instant::now();
        kept.tell_suppressed(now);
        if kept.pace.admit(tunnel.as_deref(), now) {
            let text = format!("{stamp} {level:<5} {}: {text}", tunnel.as_deref().unwrap_or("engine"));
            kept.push(Line { tunnel, text });
            let next = kept.next;
            drop(kept);
            self.shared.news.send_replace(next);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A thread that panicked while it held the lock left a whole line or none.
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn first(&self) -> u64 {
        self.next.saturating_sub(u64::try_from(self.lines.len()).unwrap_or(0))
    }

    fn push(&mut self, line: Line) {
        if self.lines.len() >= self.limit {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
        self.next += 1;
    }

    /// One line for all that a tunnel had too many of, once it may speak again.
    fn tell_suppressed(&mut self, now: Instant) {
        while let Some((tunnel, count)) = self.pace.suppressed(now) {
            let stamp = layer::stamp();
            let text = format!("{stamp} WARN  {}: {count} lines suppressed", tunnel.as_deref().unwrap_or("engine"));
            self.push(Line { tunnel, text });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(ring: &LogRing, tunnel: Option<&str>, text: &str) {
        ring.take("T", "INFO", tunnel.map(str::to_owned), text);
    }

    fn texts(lines: &Lines) -> Vec<&str> {
        lines.lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn the_ring_keeps_the_last_lines_and_knows_what_has_left() {
        let ring = LogRing::with_room(3);
        for number in 0..2 {
            say(&ring, None, &number.to_string());
        }
        assert_eq!(texts(&ring.read(0, 10)), ["T INFO  engine: 0", "T INFO  engine: 1"]);
        for number in 2..5 {
            say(&ring, Some("uk"), &number.to_string());
        }
        let read = ring.read(0, 10);
        assert_eq!(texts(&read), ["T INFO  uk: 2", "T INFO  uk: 3", "T INFO  uk: 4"]);
        assert_eq!((read.next, read.missed), (5, 2));
        let two = ring.read(2, 2);
        assert_eq!((two.lines.len(), two.next, two.missed), (2, 4, 0));
        assert_eq!(ring.read(5, 10), Lines { lines: Vec::new(), next: 5, missed: 0 });
        assert_eq!(ring.read(u64::MAX, 10).next, 5);
    }

    #[test]
    fn ten_thousand_lines_are_the_most() {
        let ring = LogRing::new();
        for number in 0..=LINES {
            // A tunnel each hundred lines: none has too many.
            say(&ring, Some(&format!("t{}", number / 100)), "x");
        }
        let read = ring.read(0, usize::MAX);
        assert_eq!((read.lines.len(), read.missed), (LINES, 1));
    }

    #[test]
    fn a_tunnel_that_says_too_much_is_cut_and_told_about() {
        let ring = LogRing::new();
        for _ in 0..300 {
            say(&ring, Some("uk"), "again");
        }
        say(&ring, Some("fr"), "once");
        let read = ring.read(0, usize::MAX);
        let of = |name: &str| read.lines.iter().filter(|line| line.tunnel.as_deref() == Some(name)).count();
        assert!((100..150).contains(&of("uk")), "{}", of("uk"));
        assert_eq!(of("fr"), 1);
        std::thread::sleep(std::time::Duration::from_millis(120));
        let last = ring.read(0, usize::MAX).lines.pop().unwrap();
        assert!(last.text.ends_with(" lines suppressed") && last.tunnel.as_deref() == Some("uk"), "{last:?}");
    }

    #[test]
    fn who_follows_hears_of_a_new_line() {
        let ring = LogRing::new();
        let mut news = ring.news();
        assert!(!news.has_changed().unwrap());
        say(&ring, None, "x");
        assert!(news.has_changed().unwrap());
        assert_eq!(*news.borrow_and_update(), 1);
    }
}
