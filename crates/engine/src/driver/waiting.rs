//! Who waits for the host to be as they have asked: a reload and a verb for a tunnel are answered once the plan that follows
//! from them stands. What they changed was decided before; here it is only told.

use mrvpn_netplan::Step;
use tokio::sync::oneshot;

use super::command::{Refused, Reloaded};

/// An answer that is ready but for the host.
enum Answer {
    Reload(Box<Reloaded>, oneshot::Sender<Result<Reloaded, Refused>>),
    Verb(String, oneshot::Sender<Result<String, Refused>>),
}

/// All who wait.
#[derive(Default)]
pub(super) struct Waiting {
    /// Each with the number of the first plan that may be its own.
    answers: Vec<(u64, Answer)>,
    /// Why the plan does not stand.
    trouble: Option<String>,
}

impl Waiting {
    /// A reload waits; plans from number `since` on are its own.
    pub(super) fn reload(
        &mut self,
        since: u64,
        reloaded: Reloaded,
        answer: oneshot::Sender<Result<Reloaded, Refused>>,
    ) {
        self.answers.push((since, Answer::Reload(Box::new(reloaded), answer)));
    }

    /// A verb for a tunnel waits.
    pub(super) fn verb(&mut self, since: u64, sentence: String, answer: oneshot::Sender<Result<String, Refused>>) {
        self.answers.push((since, Answer::Verb(sentence, answer)));
    }

    /// What came of the plan of this number.
    pub(super) fn note(&mut self, number: u64, outcome: &Result<Vec<Step>, String>) {
        self.trouble = outcome.as_ref().err().cloned();
        let steps = outcome.as_ref().map_or(&[][..], Vec::as_slice);
        for (since, answer) in &mut self.answers {
            match answer {
                Answer::Reload(reloaded, _) if number >= *since => reloaded.steps.extend_from_slice(steps),
                Answer::Reload(..) | Answer::Verb(..) => {}
            }
        }
    }

    /// Answers everyone: no plan is to come.
    pub(super) fn answer(&mut self) {
        let note = self.trouble.as_ref().map(|why| {
            format!("the host could not be changed ({why}); it stays as it was, and it is tried again until it can")
        });
        for (_, answer) in self.answers.drain(..) {
            // Whoever asked may be gone.
            match answer {
                Answer::Reload(mut reloaded, answer) => {
                    reloaded.notes.extend(note.clone());
                    let _ = answer.send(Ok(*reloaded));
                }
                Answer::Verb(sentence, answer) => {
                    let note = note.iter().map(|note| format!(" But {note}."));
                    let _ = answer.send(Ok(std::iter::once(sentence).chain(note).collect()));
                }
            }
        }
    }

    /// Refuses everyone: the engine ends.
    pub(super) fn refuse(&mut self) {
        for (_, answer) in self.answers.drain(..) {
            match answer {
                Answer::Reload(_, answer) => drop(answer.send(Err(Refused::ending()))),
                Answer::Verb(_, answer) => drop(answer.send(Err(Refused::ending()))),
            }
        }
    }
}
