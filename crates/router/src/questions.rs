//! What the router wants to know of the platform: which program has a flow. While the table is so empty that nobody can have
//! more than a share, nothing is asked, so that the usual flow costs no system call. Above that each new flow is asked about,
//! and one old one with it: when the table has as many flows as one share, all of them are known, and no share is ever
//! exceeded ([`crate::limits::FLOWS_UNASKED`]).

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::collections::VecDeque;

use crate::admit::{Candidate, Stop};
use crate::app::Holder;
use crate::flow::InsideKey;
use crate::flow_table::FlowId;
use crate::{AppId, FlowTuple, Router, limits};

/// Which program has this flow?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The flow as the program knows it; its source is the program's end.
    pub flow: FlowTuple,
    about: About,
}

/// What the answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// A flow that is about to begin.
    New(InsideKey),
    /// One that stands.
    Old(FlowId),
}

/// Questions that wait, and the answer for a flow that is about to begin.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    waiting: VecDeque<Question>,
    answered: Option<(InsideKey, Holder)>,
}

impl Router {
    /// What is to be found out before a packet is presented again ([`crate::Outbound::Ask`]): answer by [`Router::answer`].
    pub fn poll_question(&mut self) -> Option<Question> {
        self.questions.waiting.pop_front()
    }

    /// Which program it is; `None` where the platform does not know, and the flow then counts for its source address.
    pub fn answer(&mut self, question: Question, app: Option<AppId>) {
        let holder = app.map_or(Holder::Address(question.flow.source), Holder::App);
        match question.about {
            About::New(key) => self.questions.answered = Some((key, holder)),
            About::Old(id) => self.flows.assign(id, holder),
        }
    }

    /// Whom a new flow counts for, if that matters; it must be asked first where it does and is not known.
    pub(crate) fn holder_of(&mut self, candidate: &Candidate) -> Result<Option<Holder>, Stop> {
        if self.flows.len() < limits::FLOWS_UNASKED {
            return Ok(None);
        }
        let key = candidate.key();
        if let Some((_, holder)) = self.questions.answered.take().filter(|(about, _)| *about == key) {
            return Ok(Some(holder));
        }
        self.questions.waiting.clear();
        self.questions.waiting.push_back(Question { flow: candidate.tuple(), about: About::New(key) });
        if let Some((id, flow)) = self.flows.first_unassigned() {
            self.questions.waiting.push_back(Question { flow: flow.tuple(), about: About::Old(id) });
        }
        Err(Stop::Ask)
    }
}
