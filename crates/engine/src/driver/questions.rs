//! Questions about flows that wait for the lane's word on those that exist. A lane that is busy may be late: the answer is
//! then given without them.

use std::collections::BTreeMap;
use std::time::Duration;

use mrvpn_clock::Moment;
use tokio::sync::oneshot;

use crate::explained::{Explained, FlowQuery};

/// 200 ms: how long a question waits for the lane.
const PATIENCE: Duration = Duration::from_millis(200);

/// A question and who wants to know.
pub(super) struct Question {
    pub(super) query: FlowQuery,
    pub(super) answer: oneshot::Sender<Explained>,
}

/// The questions that wait, by number.
#[derive(Default)]
pub(super) struct Questions {
    open: BTreeMap<u64, (Question, Moment)>,
    asked: u64,
}

impl Questions {
    /// Lets a question wait; returns its number.
    pub(super) fn ask(&mut self, question: Question, now: Moment) -> u64 {
        self.asked += 1;
        self.open.insert(self.asked, (question, now + PATIENCE));
        self.asked
    }

    /// The question of this number, if it still waits.
    pub(super) fn take(&mut self, number: u64) -> Option<Question> {
        self.open.remove(&number).map(|(question, _)| question)
    }

    /// A question that has waited for too long.
    pub(super) fn overdue(&mut self, now: Moment) -> Option<Question> {
        let number = self.open.iter().find(|(_, (_, until))| *until <= now).map(|(number, _)| *number)?;
        self.take(number)
    }

    /// When the next one has waited for too long.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        self.open.values().map(|(_, until)| *until).min()
    }
}
