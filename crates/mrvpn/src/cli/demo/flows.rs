//! Requests that go through one tunnel all the time, counted one by one: how many were sent, answered and refused, and
//! whether one was answered from elsewhere. What happens meanwhile is [`super::outage`]'s.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mrvpn_region::place::Seen;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::map::PUBLIC;

/// 2 s: how long the last answers are waited for where none may be missing.
const TAIL: Duration = Duration::from_secs(2);
/// 200,000 requests of one flow at most: six minutes.
const LIMIT: usize = 200_000;
/// 256 bytes: longer is no answer.
const ANSWER: usize = 256;

/// A flow that runs.
pub(super) struct Flow {
    shared: Arc<Shared>,
    thread: JoinHandle<Count>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    /// What is not answered yet is of no interest.
    cut: AtomicBool,
    sent: AtomicU64,
    answered: AtomicU64,
}

/// What became of its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Sent.
    pub(super) sent: u64,
    /// Answered by the place that they were for, each counted once.
    pub(super) answered: u64,
    /// Refused at once, by this machine.
    pub(super) refused: u64,
    /// Answered by another place.
    pub(super) elsewhere: u64,
    /// The longest time until an answer.
    pub(super) slowest: Duration,
}

impl Count {
    /// Neither answered nor refused.
    pub(super) fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.answered).saturating_sub(self.refused)
    }
}

impl Flow {
    /// Asks at `port` every `interval`, and expects `place` to answer.
    pub(super) fn start(place: &str, port: u16, interval: Duration) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((PUBLIC, port))?;
        socket.set_nonblocking(true)?;
        let shared = Arc::<Shared>::default();
        let running = Running { socket, place: place.to_owned(), sent: Vec::new(), count: Count::default() };
        let seen = Arc::clone(&shared);
        let thread = thread::Builder::new().name(format!("flow-{place}"));
        let thread = thread.spawn(move || running.run(interval, &seen))?;
        Ok(Self { shared, thread })
    }

    /// Requests so far.
    pub(super) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Answers so far.
    pub(super) fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Sends no more and says what became of all so far.
    pub(super) fn cut(self) -> Count {
        self.shared.cut.store(true, Ordering::Relaxed);
        self.finish()
    }

    /// Sends no more, waits for the last answers, and says what became of all.
    pub(super) fn finish(self) -> Count {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Nothing in it panics; where it did, nothing was proved.
        self.thread.join().unwrap_or_default()
    }
}

/// The flow's own thread.
struct Running {
    socket: UdpSocket,
    place: String,
    /// When each request was sent; `None` where it was answered.
    sent: Vec<Option<Instant>>,
    count: Count,
}

impl Running {
    fn run(mut self, interval: Duration, shared: &Shared) -> Count {
        let mut next = Instant::now();
        while !shared.stopped.load(Ordering::Relaxed) && self.sent.len() < LIMIT {
            self.send();
            // What was late is not made up for by a burst.
            next = (next + interval).max(Instant::now());
            self.hear_until(next);
            self.publish(shared);
        }
        let begun = Instant::now();
        let waits = !shared.cut.load(Ordering::Relaxed);
        while waits && self.count.lost() > 0 && begun.elapsed() < TAIL {
            self.hear_until(Instant::now() + Duration::from_millis(20));
        }
        self.publish(shared);
        self.count
    }

    fn publish(&self, shared: &Shared) {
        shared.sent.store(self.count.sent, Ordering::Relaxed);
        shared.answered.store(self.count.answered, Ordering::Relaxed);
    }

    fn send(&mut self) {
        let number = self.sent.len();
        self.count.sent += 1;
        self.sent.push(Some(Instant::now()));
        if self.socket.send(number.to_string().as_bytes()).is_err() {
            // Word of an earlier refusal comes with this request, which was not sent then.
            self.count.refused += 1;
        }
    }

    fn hear_until(&mut self, end: Instant) {
        loop {
            self.hear();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let limit = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
            let _ = poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&limit));
        }
    }

    fn hear(&mut self) {
        let mut buffer = [0; ANSWER];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => self.take(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An earlier request was refused.
                Err(_) => self.count.refused += 1,
            }
        }
    }

    fn take(&mut self, answer: &[u8]) {
        let Some(seen) = Seen::parse(answer) else { return };
        if seen.place != self.place {
            self.count.elsewhere += 1;
        }
        let number = str::from_utf8(&seen.request).ok().and_then(|text| text.parse::<usize>().ok());
        let sent = number.and_then(|number| self.sent.get_mut(number)).and_then(Option::take);
        if let Some(sent) = sent {
            self.count.answered += 1;
            self.count.slowest = self.count.slowest.max(sent.elapsed());
        }
    }
}
