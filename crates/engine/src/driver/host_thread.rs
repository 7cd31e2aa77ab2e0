//! The thread on which the blocking `Host` lives. Jobs come by channel, one at a time, each with its answer.

use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use mrvpn_netplan::{DeviceSpec, Host, HostError, HostFacts, Step};
use tokio::sync::{mpsc, oneshot};

/// 1 s: how long a change waits for the lane at most; a lane that does not answer is stopped soon.
const LANE: Duration = Duration::from_secs(1);

enum Job<Q> {
    Facts(oneshot::Sender<Result<HostFacts, HostError>>),
    Open(DeviceSpec, oneshot::Sender<Result<Vec<Q>, HostError>>),
    Apply(Vec<Step>, Option<Receiver<()>>, oneshot::Sender<Result<(), String>>),
}

/// The way to the host's thread.
pub(super) struct HostThread<Q> {
    jobs: mpsc::UnboundedSender<Job<Q>>,
}

impl<Q: Send + 'static> HostThread<Q> {
    /// Moves `host` to a thread of its own.
    pub(super) fn spawn<H: Host<Queue = Q> + Send + 'static>(mut host: H) -> std::io::Result<Self> {
        let (jobs, mut todo) = mpsc::unbounded_channel();
        thread::Builder::new().name("host".to_owned()).spawn(move || {
            while let Some(job) = todo.blocking_recv() {
                carry_out(&mut host, job);
            }
        })?;
        Ok(Self { jobs })
    }

    /// What the host looks like.
    pub(super) async fn facts(&self) -> Result<HostFacts, HostError> {
        self.ask(Job::Facts).await?
    }

    /// Makes the device.
    pub(super) async fn open(&self, device: DeviceSpec) -> Result<Vec<Q>, HostError> {
        self.ask(|answer| Job::Open(device, answer)).await?
    }

    /// Carries out all steps, or none, once `told` has given word: a reset for an address that has left the host would reach
    /// nobody. Does not wait: the answer comes by the returned channel.
    pub(super) fn apply(&self, steps: Vec<Step>, told: Option<Receiver<()>>) -> oneshot::Receiver<Result<(), String>> {
        let (answer, answered) = oneshot::channel();
        let _ = self.jobs.send(Job::Apply(steps, told, answer));
        answered
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job<Q>) -> Result<T, HostError> {
        let (answer, answered) = oneshot::channel();
        let _ = self.jobs.send(job(answer));
        answered.await.map_err(|_| HostError::System {
            what: "the host's thread".to_owned(),
            source: std::io::Error::other("it has ended"),
        })
    }
}

/// Does one job. Whoever asked may be gone; then nobody wants the answer.
fn carry_out<H: Host>(host: &mut H, job: Job<H::Queue>) {
    match job {
        Job::Facts(answer) => {
            let _ = answer.send(host.facts());
        }
        Job::Open(device, answer) => {
            let _ = answer.send(host.open(&device));
        }
        Job::Apply(steps, told, answer) => {
            // A lane that has ended tells nobody.
            let _ = told.map(|told| told.recv_timeout(LANE));
            let outcome = mrvpn_netplan::apply(host, &steps).map_err(|error| chain(&error));
            let _ = answer.send(outcome);
        }
    }
}

/// An error with all its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
