//! The end: tunnels are closed and their servers told, then all that was made is taken down in the order in which nothing
//! leaks that rules and claims hold until the last moment. It takes two seconds at most, whenever it comes
//! (threats-and-faults.md, F-34).

use std::os::fd::AsFd;
use std::time::Duration;

use mrvpn_netplan::{Host, HostError, Plan};
use tokio::time::Instant;

use super::host_thread::{Answer, Job};
use super::start::thread_ended;
use super::{Driver, EngineError, clock};

/// 1.5 s: how long tunnels may take to close; the rest of two seconds is the host's.
const FAREWELL: Duration = Duration::from_millis(1_500);

impl<H> Driver<H>
where
    H: Host + Send + 'static,
    H::Queue: AsFd,
{
    pub(super) fn begin_end(&mut self) {
        if self.ending.is_none() {
            self.ending = Some(Instant::now() + FAREWELL);
            self.waiting.refuse();
            self.fleet.close(clock::now());
        }
    }

    /// Whether there is nothing left to be done but taking down.
    pub(super) fn is_over(&self) -> bool {
        let closed = || self.ending.is_some_and(|limit| self.fleet.is_closed() || Instant::now() >= limit);
        self.failed.is_some() || closed()
    }

    /// Takes down what was made: the lane once everyone is told, routes and rules, then the device. A start that failed
    /// leaves alone what an engine before it has left: what that one held stays refused.
    pub(super) async fn tear_down(&mut self) -> Result<(), EngineError> {
        if self.failed.is_some() && !self.planned && (self.found || !self.made) {
            self.stop_lane();
            return self.failed.take().map_or(Ok(()), Err);
        }
        let changed = self.take_away().await;
        self.stop_lane();
        let closed = if self.made { self.close_device().await } else { Ok(()) };
        match (self.failed.take(), changed, closed) {
            (Some(error), ..) | (None, Err(error), _) => Err(error),
            (None, Ok(()), closed) => closed,
        }
    }

    async fn take_away(&mut self) -> Result<(), EngineError> {
        let told = self.lane.as_ref().map(|lane| lane.handle.told_and_ended());
        let wanted = Box::new(Plan::empty(&self.scope));
        // What is under way comes first; its answer is the first of two.
        let mut before = self.upkeep.is_changing();
        self.host.order(Job::Change { wanted, told });
        loop {
            match self.host.next().await.ok_or_else(thread_ended)? {
                Answer::Changed(_) if std::mem::take(&mut before) => {}
                Answer::Changed(outcome) => return outcome.map(drop).map_err(EngineError::Left),
                Answer::Opened(opened) => self.made |= opened.is_ok(),
                Answer::Surveyed(_) | Answer::Closed(_) | Answer::Audited { .. } | Answer::NotKept(_) => {}
            }
        }
    }

    async fn close_device(&mut self) -> Result<(), EngineError> {
        self.host.order(Job::Close(self.scope.device.clone()));
        loop {
            match self.host.next().await.ok_or_else(thread_ended)? {
                Answer::Closed(outcome) => return outcome.map_err(left),
                Answer::Surveyed(_)
                | Answer::Opened(_)
                | Answer::Changed(_)
                | Answer::Audited { .. }
                | Answer::NotKept(_) => {}
            }
        }
    }

    pub(super) fn stop_lane(&mut self) {
        if let Some(lane) = self.lane.take() {
            lane.handle.stop();
        }
    }
}

fn left(error: HostError) -> EngineError {
    EngineError::Left(error.to_string())
}
