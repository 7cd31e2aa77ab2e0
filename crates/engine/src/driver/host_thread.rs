//! The thread on which the blocking [`Host`] lives, with what keeps the engine's memory. Jobs come by channel and are done
//! one after another: what is to be remembered is on disk before the plan that was asked for after it is carried out. What
//! stands is read from the host for each change, and the steps from there are made here; which jobs there are, and when, is
//! `upkeep.rs`'s.

use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use mrvpn_netplan::{DeviceSpec, Host, HostError, HostFacts, Plan, Scope, Sessions, Step};
use tokio::sync::{mpsc, oneshot};

use super::command::{Refused, Reloaded};
use crate::memory::{Memory, Store};

/// 400 ms: how long a change waits for the lane at most; a lane that does not answer is stopped soon.
const LANE: Duration = Duration::from_millis(400);

/// What the host is to do.
pub(super) enum Job {
    /// Look at everything before the first plan.
    Survey(Scope),
    /// Make the device, or attach to it.
    Open(DeviceSpec),
    /// Delete the device.
    Close(String),
    /// Make what stands what the plan says: all of it, or nothing. Once `told` has given word: a reset for an address that has
    /// left the host would reach nobody.
    Change { wanted: Box<Plan>, told: Option<Receiver<()>> },
    /// The same where others have changed something; the facts are read anew as well.
    Audit { wanted: Box<Plan> },
    /// Say what [`Job::Change`] would do, to whoever asked for a preview of a reload.
    Preview { wanted: Box<Plan>, reloaded: Box<Reloaded>, answer: oneshot::Sender<Result<Reloaded, Refused>> },
    /// Keep this.
    Remember(Memory),
}

/// What came of a job.
pub(super) enum Answer<H: Host> {
    Surveyed(Result<Box<Survey<H>>, HostError>),
    Opened(Result<Vec<H::Queue>, HostError>),
    Closed(Result<(), HostError>),
    /// The steps that were carried out.
    Changed(Result<Vec<Step>, String>),
    Audited {
        facts: Result<Box<HostFacts>, HostError>,
        changed: Result<Vec<Step>, String>,
        /// How long it took, reading included.
        took: Duration,
    },
    /// The memory was not kept.
    NotKept(std::io::Error),
}

/// The host before the first plan.
pub(super) struct Survey<H: Host> {
    pub(super) facts: HostFacts,
    pub(super) sessions: Sessions,
    /// What an engine of the same scope has left.
    pub(super) standing: Plan,
    pub(super) watch: Result<H::Watch, HostError>,
}

/// The way to the host's thread and back.
pub(super) struct HostThread<H: Host> {
    jobs: mpsc::UnboundedSender<Job>,
    answers: mpsc::UnboundedReceiver<Answer<H>>,
}

impl<H: Host + Send + 'static> HostThread<H> {
    /// Moves `host` and `store` to a thread of their own.
    pub(super) fn spawn(host: H, store: impl Store) -> std::io::Result<Self> {
        let (jobs, mut todo) = mpsc::unbounded_channel();
        let (told, answers) = mpsc::unbounded_channel();
        let mut worker = Worker { host, store };
        thread::Builder::new().name("host".to_owned()).spawn(move || {
            while let Some(job) = todo.blocking_recv() {
                if worker.carry_out(job).is_some_and(|answer| told.send(answer).is_err()) {
                    return;
                }
            }
        })?;
        Ok(Self { jobs, answers })
    }

    /// Gives a job. Where the thread has ended, [`HostThread::next`] says so.
    pub(super) fn order(&self, job: Job) {
        let _ = self.jobs.send(job);
    }

    /// The next answer; `None` when the thread has ended.
    pub(super) async fn next(&mut self) -> Option<Answer<H>> {
        self.answers.recv().await
    }
}

/// The host at work.
struct Worker<H, S> {
    host: H,
    store: S,
}

impl<H: Host, S: Store> Worker<H, S> {
    fn carry_out(&mut self, job: Job) -> Option<Answer<H>> {
        Some(match job {
            Job::Survey(scope) => Answer::Surveyed(self.survey(&scope).map(Box::new)),
            Job::Open(device) => Answer::Opened(self.host.open(&device)),
            Job::Close(device) => Answer::Closed(self.host.close(&device)),
            Job::Change { wanted, told } => {
                // A lane that has ended tells nobody.
                let _ = told.map(|told| told.recv_timeout(LANE));
                Answer::Changed(self.change(&wanted))
            }
            Job::Audit { wanted } => {
                let begun = Instant::now();
                let facts = self.host.facts().map(Box::new);
                Answer::Audited { facts, changed: self.change(&wanted), took: begun.elapsed() }
            }
            Job::Preview { wanted, reloaded, answer } => {
                // Whoever asked may be gone.
                let _ = answer.send(self.preview(&wanted, *reloaded));
                return None;
            }
            Job::Remember(memory) => return self.store.save(&memory).err().map(Answer::NotKept),
        })
    }

    fn survey(&mut self, scope: &Scope) -> Result<Survey<H>, HostError> {
        Ok(Survey {
            facts: self.host.facts()?,
            sessions: self.host.sessions()?,
            standing: self.host.standing(scope)?,
            watch: self.host.watch(),
        })
    }

    fn steps(&mut self, wanted: &Plan) -> Result<Vec<Step>, String> {
        let standing = self.host.standing(&wanted.scope).map_err(|error| chain(&error))?;
        Ok(mrvpn_netplan::diff(&standing, wanted))
    }

    fn change(&mut self, wanted: &Plan) -> Result<Vec<Step>, String> {
        let steps = self.steps(wanted)?;
        mrvpn_netplan::apply(&mut self.host, &steps).map_err(|error| chain(&error))?;
        Ok(steps)
    }

    fn preview(&mut self, wanted: &Plan, reloaded: Reloaded) -> Result<Reloaded, Refused> {
        let hint = || "the kernel does not say what stands; nothing was changed".to_owned();
        let steps = self.steps(wanted).map_err(|message| Refused { message, hint: hint() })?;
        Ok(Reloaded { steps, ..reloaded })
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
