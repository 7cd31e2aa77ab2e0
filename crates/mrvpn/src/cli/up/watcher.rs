//! Follows an engine for the command that has started it: tells each change of a tunnel's state, and reports once, when
//! each tunnel is up or has failed, or when that takes too long.

use std::time::Duration;

use mrvpn_engine::{Command, Progress, Status};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::report::Reporter;

/// What the engine's progress means for its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Seen {
    /// Nothing to be done.
    Change,
    /// Every tunnel was refused for good before it was ready. Later that would be no reason to let go what is held.
    Hopeless,
}

/// Follows one engine.
pub(in crate::cli) struct Watcher {
    commands: mpsc::Sender<Command>,
    progress: watch::Receiver<Progress>,
    limit: Instant,
    reporter: Reporter,
    reported: bool,
    /// There is a change that was not looked at.
    stale: bool,
    states: Vec<(String, String)>,
}

impl Watcher {
    /// Reports after `wait` at the latest.
    pub(in crate::cli) fn new(
        commands: mpsc::Sender<Command>,
        progress: watch::Receiver<Progress>,
        wait: Duration,
        reporter: Reporter,
    ) -> Self {
        let limit = Instant::now() + wait;
        Self { commands, progress, limit, reporter, reported: false, stale: false, states: Vec::new() }
    }

    /// Waits for the next change and tells it. Given up half-way, it loses nothing.
    pub(in crate::cli) async fn next(&mut self) -> Seen {
        if !self.stale {
            self.changed_or_late().await;
            self.stale = true;
        }
        let Some(status) = self.status().await else { return std::future::pending().await };
        self.stale = false;
        self.tell_changes(&status);
        let seen = *self.progress.borrow();
        if self.reported || !(seen.ready || Instant::now() >= self.limit) {
            return Seen::Change;
        }
        self.reported = true;
        self.reporter.ready(&status, seen.hopeless);
        if seen.hopeless { Seen::Hopeless } else { Seen::Change }
    }

    async fn changed_or_late(&mut self) {
        let (reported, limit) = (self.reported, self.limit);
        let late = async { if reported { std::future::pending().await } else { sleep_until(limit).await } };
        tokio::select! {
            changed = self.progress.changed() => {
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            () = late => {}
        }
    }

    async fn status(&self) -> Option<Status> {
        let (sender, receiver) = oneshot::channel();
        self.commands.send(Command::Status(sender)).await.ok()?;
        receiver.await.ok()
    }

    fn tell_changes(&mut self, status: &Status) {
        let states = status.tunnels.iter().map(|tunnel| (tunnel.name.clone(), tunnel.state.clone()));
        let states: Vec<(String, String)> = states.collect();
        for (tunnel, state) in status.tunnels.iter().zip(&states).filter(|(_, state)| !self.states.contains(state)) {
            let why = tunnel.error.as_ref().map(|error| format!(": {}", error.message)).unwrap_or_default();
            self.reporter.say(&format!("{} {}{why}", state.0, state.1));
        }
        self.states = states;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An engine that has no status to give, but progress.
    fn watcher(wait: Duration) -> (Watcher, watch::Sender<Progress>, mpsc::Receiver<Command>) {
        let (commands, heard) = mpsc::channel(4);
        let (sender, progress) = watch::channel(Progress::default());
        (Watcher::new(commands, progress, wait, Reporter::to_nobody()), sender, heard)
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    async fn answer(heard: &mut mpsc::Receiver<Command>) {
        let Some(Command::Status(sender)) = heard.recv().await else { panic!("no status was asked for") };
        sender.send(super::super::report::tests::status(&[("uk", "failed")])).unwrap();
    }

    #[test]
    fn all_refused_is_hopeless_until_it_was_reported_and_not_later() {
        run(async {
            let (mut watcher, progress, mut heard) = watcher(Duration::from_secs(60));
            let hopeless = |version| Progress { ready: true, hopeless: true, version, ..Progress::default() };
            progress.send_replace(hopeless(1));
            let (seen, ()) = tokio::join!(watcher.next(), answer(&mut heard));
            assert_eq!(seen, Seen::Hopeless);
            progress.send_replace(hopeless(2));
            let (seen, ()) = tokio::join!(watcher.next(), answer(&mut heard));
            assert_eq!(seen, Seen::Change);
        });
    }

    #[test]
    fn what_is_not_ready_is_reported_when_the_wait_is_over() {
        run(async {
            let (mut watcher, _progress, mut heard) = watcher(Duration::ZERO);
            let (seen, ()) = tokio::join!(watcher.next(), answer(&mut heard));
            assert_eq!((seen, watcher.reported), (Seen::Change, true));
        });
    }

    #[test]
    fn a_change_is_looked_at_even_when_the_look_was_given_up() {
        run(async {
            let (mut watcher, progress, mut heard) = watcher(Duration::from_secs(60));
            progress.send_replace(Progress { ready: true, version: 1, ..Progress::default() });
            assert!(tokio::time::timeout(Duration::from_millis(5), watcher.next()).await.is_err());
            heard.recv().await.unwrap();
            let (_, ()) = tokio::join!(watcher.next(), answer(&mut heard));
            assert!(watcher.reported);
        });
    }
}
