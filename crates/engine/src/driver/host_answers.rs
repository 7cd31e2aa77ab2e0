//! What came of the host's jobs: the interface that is there, plans that stand or do not, what others have changed. What is
//! done next is `upkeep.rs`'s.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use mrvpn_netplan::{Host, HostError, HostFacts, Step};
use mrvpn_router::Attachment;
use tokio::sync::mpsc;

use super::host_thread::Answer;
use super::lane_thread::LaneThread;
use super::start::{random_seed, thread_ended, unwatched};
use super::upkeep::Verdict;
use super::{ARRIVALS, Driver, EngineError, RunningLane, clock, resolver, words};
use crate::lane::Lane;

/// 10 s: what is put back again and again is said so seldom.
const SAID: Duration = Duration::from_secs(10);

impl<H> Driver<H>
where
    H: Host + Send + 'static,
    H::Queue: AsFd,
{
    pub(super) fn host_answered(&mut self, answer: Option<Answer<H>>) {
        match answer {
            Some(Answer::Opened(opened)) => self.opened(opened),
            Some(Answer::Changed(outcome)) => self.changed(outcome),
            Some(Answer::Audited { facts, changed, took }) => self.audited(facts, changed, took),
            Some(Answer::NotKept(error)) => self.warn_once(format!(
                "what the servers claim cannot be kept for the next start ({error}): until they have connected again, \
                 only rules and profiles hold it then"
            )),
            // Asked for before the loop and after it.
            Some(Answer::Surveyed(_) | Answer::Closed(_)) => {}
            None => self.failed = Some(thread_ended()),
        }
    }

    /// Something has changed, or nothing will be heard of it any more.
    pub(super) fn rung(&mut self, rung: std::io::Result<()>) {
        self.upkeep.ring(clock::now());
        if let Err(error) = rung {
            self.watcher = None;
            self.warn_once(unwatched(&error.to_string()));
        }
    }

    fn opened(&mut self, opened: Result<Vec<H::Queue>, HostError>) {
        let queue = opened.map_err(EngineError::from).and_then(|mut queues| {
            let none = || {
                EngineError::Host(HostError::System {
                    what: format!("making {}", self.scope.device),
                    source: std::io::Error::other("the device has no queue"),
                })
            };
            queues.pop().ok_or_else(none)
        });
        self.made |= queue.is_ok();
        match queue.and_then(|queue| self.give_queue(queue)) {
            Ok(()) => self.upkeep.opened(true, clock::now()),
            Err(error) if !self.planned => self.failed = Some(error),
            Err(error) => {
                tracing::error!("{error}; it is tried again");
                self.upkeep.opened(false, clock::now());
            }
        }
    }

    /// A new lane for the first queue; later ones go to the lane that is there, with its flows and keys.
    fn give_queue(&mut self, queue: H::Queue) -> Result<(), EngineError> {
        if let Some(lane) = &mut self.lane {
            lane.handle.replace_queue(queue);
            return Ok(());
        }
        let lane = Lane::new(random_seed()?, Arc::clone(self.fleet.policy()), Attachment::Rules);
        let counters = lane.counters();
        let (reports_in, reports) = mpsc::channel(ARRIVALS);
        let handle = LaneThread::spawn(lane, queue, self.device.offload, reports_in)
            .map_err(|source| EngineError::System { what: "a lane's thread", source })?;
        self.lane = Some(RunningLane { handle, counters, reports });
        Ok(())
    }

    fn changed(&mut self, outcome: Result<Vec<Step>, String>) {
        let now = clock::now();
        // One plan is under way at a time.
        self.waiting.note(self.upkeep.begun().saturating_sub(1), &outcome);
        match self.upkeep.changed(outcome.map(drop), now) {
            Verdict::Nothing => {}
            Verdict::Planned(Err(why)) if !self.planned => self.failed = Some(EngineError::Plan(why)),
            Verdict::Planned(outcome) => {
                self.planned = true;
                if let Err(why) = &outcome {
                    tracing::error!("the host could not be changed: {why}");
                }
                self.fleet.handle_planned(outcome, now);
            }
        }
    }

    fn audited(
        &mut self,
        facts: Result<Box<HostFacts>, HostError>,
        changed: Result<Vec<Step>, String>,
        took: Duration,
    ) {
        let now = clock::now();
        self.upkeep.audited(changed.is_ok(), took, now);
        match changed {
            Ok(steps) => self.note_put_back(steps),
            Err(why) => tracing::error!("what others have changed could not be put back: {why}"),
        }
        match facts {
            Ok(facts) if *facts != self.facts => {
                self.facts = *facts;
                self.fleet.handle_resolvers(resolver::system_resolvers());
                self.fleet.handle_facts(self.facts.clone(), now);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!("the network is not known: {error}"),
        }
    }

    fn note_put_back(&mut self, steps: Vec<Step>) {
        if steps.is_empty() {
            return;
        }
        let now = clock::now();
        let same = |(before, at): &(Vec<Step>, _)| *before == steps && now.since(*at) < SAID;
        if self.put_back.as_ref().is_some_and(same) {
            tracing::debug!("put back once more: {}", words::steps(&steps));
            return;
        }
        tracing::warn!("someone has changed what this engine made; put back: {}", words::steps(&steps));
        self.put_back = Some((steps, now));
    }

    fn warn_once(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            tracing::warn!("{warning}");
            self.warnings.push(warning);
        }
    }
}
