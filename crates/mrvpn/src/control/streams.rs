//! Clients that follow something: the status, events, the log. They have places of their own. Nobody waits for one: a
//! client that does not take a line within its time, or falls behind what is kept, is dropped; of each there is one line
//! in memory at most.

use std::time::Duration;

use mrvpn_engine::{Command, Status};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::WriteHalf;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;

use super::caller::Caller;
use super::limits::{STREAMS, STREAMS_OF_READERS};
use super::server::Serving;
use super::{Response, message};

/// 50 ms: changes that follow one another faster are one.
const SETTLE: Duration = Duration::from_millis(50);
/// 256 lines of the log are taken out of the ring at once.
const LINES_AT_ONCE: usize = 256;

/// The places of clients that follow.
pub(super) struct Streams {
    all: Semaphore,
    of_readers: Semaphore,
}

/// One of them; free again when dropped.
pub(super) struct Taken<'a> {
    _one_of_all: SemaphorePermit<'a>,
    _one_of_readers: Option<SemaphorePermit<'a>>,
}

/// What is followed.
pub(super) enum Followed {
    /// The status document.
    Status,
    /// Events.
    Events,
    /// The log.
    Log {
        /// Of this tunnel only.
        tunnel: Option<String>,
        /// Lines to come too.
        follow: bool,
    },
}

/// It does not take what it asked for, or is gone.
struct Gone;

impl Streams {
    pub(super) fn new() -> Self {
        Self { all: Semaphore::new(STREAMS), of_readers: Semaphore::new(STREAMS_OF_READERS) }
    }

    /// A place, where there is one for this caller.
    pub(super) fn take(&self, caller: Caller) -> Option<Taken<'_>> {
        let of_readers = match caller {
            Caller::Owner => None,
            Caller::Starter | Caller::Stranger => Some(self.of_readers.try_acquire().ok()?),
        };
        Some(Taken { _one_of_all: self.all.try_acquire().ok()?, _one_of_readers: of_readers })
    }
}

/// Sends what is followed until the client or the engine goes; a line that is not taken within `patience` ends it.
pub(super) async fn follow(stream: &mut UnixStream, what: Followed, serving: &Serving, patience: Duration) {
    let (mut read, write) = stream.split();
    let mut follower = Follower { write, serving, patience };
    let telling = async {
        let end = match what {
            Followed::Status => follower.status().await,
            Followed::Events => follower.events().await,
            Followed::Log { tunnel, follow: false } => follower.kept(tunnel.as_deref(), 0).await.map(|_| ()),
            Followed::Log { tunnel, follow: true } => follower.log(tunnel.as_deref()).await,
        };
        if end.is_ok() {
            // Whoever is gone or too slow is dropped: the connection ends with this function.
            let _ = follower.tell(&Response::End).await;
        }
    };
    let mut more = [0; 64];
    tokio::select! {
        () = telling => {}
        // It has gone, or says more where nothing is to be said.
        _ = read.read(&mut more) => {}
    }
}

/// One client that follows.
struct Follower<'a> {
    write: WriteHalf<'a>,
    serving: &'a Serving,
    patience: Duration,
}

impl Follower<'_> {
    /// The document now, and again when more than its counters has changed.
    async fn status(&mut self) -> Result<(), Gone> {
        let mut progress = self.serving.progress.clone();
        let mut told: Option<Status> = None;
        loop {
            progress.borrow_and_update();
            let Some(status) = ask_status(&self.serving.commands).await else { return Ok(()) };
            if told.as_ref() != Some(&without_counters(&status)) {
                told = Some(without_counters(&status));
                self.tell(&Response::Status { status: Box::new(status) }).await?;
            }
            if progress.changed().await.is_err() {
                return Ok(());
            }
            tokio::time::sleep(SETTLE).await;
        }
    }

    async fn events(&mut self) -> Result<(), Gone> {
        let mut events = self.serving.events.subscribe();
        loop {
            match events.recv().await {
                Ok(event) => self.tell(&Response::Event { event }).await?,
                Err(RecvError::Closed) => return Ok(()),
                Err(RecvError::Lagged(count)) => return self.too_slow("events", count).await,
            }
        }
    }

    async fn log(&mut self, tunnel: Option<&str>) -> Result<(), Gone> {
        let mut news = self.serving.log.news();
        let mut next = 0;
        loop {
            news.borrow_and_update();
            next = self.kept(tunnel, next).await?;
            if news.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    /// Sends the lines from number `next` on that are there; the number of the first that is not.
    async fn kept(&mut self, tunnel: Option<&str>, mut next: u64) -> Result<u64, Gone> {
        loop {
            let read = self.serving.log.read(next, LINES_AT_ONCE);
            if next > 0 && read.missed > 0 {
                self.too_slow("lines", read.missed).await?;
            }
            if read.lines.is_empty() {
                return Ok(read.next);
            }
            next = read.next;
            for line in read.lines {
                if tunnel.is_none() || line.tunnel.as_deref() == tunnel {
                    self.tell(&Response::Log { line: line.text }).await?;
                }
            }
        }
    }

    /// It has not read in time, and is told so if it reads now.
    async fn too_slow(&mut self, what: &str, count: u64) -> Result<(), Gone> {
        let why = format!("{count} {what} were not read in time");
        self.tell(&Response::Refused { why, hint: Some(String::from("start it again, and read faster")) }).await?;
        Err(Gone)
    }

    async fn tell(&mut self, response: &Response) -> Result<(), Gone> {
        match timeout(self.patience, message::send(&mut self.write, response)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

/// Counters grow with every packet; that is no change.
fn without_counters(status: &Status) -> Status {
    let mut status = status.clone();
    status.drops.clear();
    for tunnel in &mut status.tunnels {
        tunnel.drops.clear();
        (tunnel.rx_bytes, tunnel.tx_bytes) = (0, 0);
    }
    status
}

/// The status document; `None` where the engine ends.
pub(super) async fn ask_status(commands: &mpsc::Sender<Command>) -> Option<Status> {
    let (sender, receiver) = oneshot::channel();
    commands.send(Command::Status(sender)).await.ok()?;
    receiver.await.ok()
}
