//! A thread that waits for word that the host's network has changed, and hands it on to the control task. What has changed is
//! found by looking.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mrvpn_netplan::Watch;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use tokio::sync::mpsc;

/// 10 ms: from one word to the next at least, so that a flood of changes costs little.
const HUSH: Duration = Duration::from_millis(10);

/// The control side's end of a watch. Dropping it ends the thread.
pub(super) struct Watcher {
    /// Word that is not heard yet stands for all that comes meanwhile.
    words: mpsc::Receiver<io::Result<()>>,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Begins to wait.
    ///
    /// # Errors
    /// The system gives no thread or no descriptor.
    pub(super) fn spawn<W: Watch + AsFd + Send + 'static>(mut watch: W) -> io::Result<Self> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (hand_on, words) = mpsc::channel(1);
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("watch".to_owned()).spawn(move || {
            while let Some(word) = wait(&mut watch, &stopped) {
                let broken = word.is_err();
                let sent = if broken { hand_on.blocking_send(word).is_ok() } else { hand_on_word(&hand_on, word) };
                if broken || !sent {
                    return;
                }
                thread::sleep(HUSH);
            }
        })?;
        Ok(Self { words, stop, thread: Some(thread) })
    }
}

/// Waits for one word; `None` when it is to end.
fn wait<W: Watch + AsFd>(watch: &mut W, stop: &OwnedFd) -> Option<io::Result<()>> {
    loop {
        let mut fds = [PollFd::new(&*watch, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Some(Err(error.into())),
        }
        if !fds[1].revents().is_empty() {
            return None;
        }
        if fds[0].revents().is_empty() {
            continue;
        }
        match watch.drain() {
            Ok(true) => return Some(Ok(())),
            Ok(false) => thread::sleep(HUSH),
            Err(error) => return Some(Err(error)),
        }
    }
}

/// Hands on a word, unless one is there already; `false` when nobody listens any more.
fn hand_on_word(words: &mpsc::Sender<io::Result<()>>, word: io::Result<()>) -> bool {
    match words.try_send(word) {
        Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => true,
        Err(mpsc::error::TrySendError::Closed(_)) => false,
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        // A thread that waits for room to tell its end is freed by this.
        self.words.close();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that watches the network has panicked");
        }
    }
}

/// Returns when something has changed; never, where nothing is watched.
///
/// # Errors
/// The watch is broken.
pub(super) async fn rung(watcher: &mut Option<Watcher>) -> io::Result<()> {
    match watcher {
        Some(watcher) => watcher.words.recv().await.unwrap_or_else(|| Err(io::Error::other("its thread has ended"))),
        None => std::future::pending().await,
    }
}
