//! Applying steps as one transaction: all of them, or none. It decides nothing; the order is [`mod@crate::diff`]'s.

use thiserror::Error;

use crate::host::{Host, HostError};
use crate::plan::Step;

/// A change was taken back.
#[derive(Debug, Error)]
#[error("the network could not be changed{}", not_undone(.left.len()))]
pub struct ApplyError {
    /// Place of the step that failed.
    pub step: usize,
    /// Why.
    #[source]
    pub source: HostError,
    /// Steps that stand although they should have been taken back, with the reason; empty when the host is as before.
    pub left: Vec<(Step, HostError)>,
}

/// Carries out `steps` in order. When one fails, those before it are undone in reverse, and the rest is not tried.
///
/// # Errors
/// A step failed; [`ApplyError::left`] says what could not be undone.
pub fn apply<H: Host>(host: &mut H, steps: &[Step]) -> Result<(), ApplyError> {
    for (place, step) in steps.iter().enumerate() {
        if let Err(source) = host.apply(step) {
            let left = undo(host, steps.iter().take(place));
            return Err(ApplyError { step: place, source, left });
        }
    }
    Ok(())
}

fn undo<'a, H: Host>(host: &mut H, done: impl DoubleEndedIterator<Item = &'a Step>) -> Vec<(Step, HostError)> {
    done.rev().filter_map(|step| host.apply(&step.undo()).err().map(|error| (step.clone(), error))).collect()
}

fn not_undone(left: usize) -> String {
    match left {
        0 => String::from(" and is as it was before"),
        left => format!(", and {left} steps could not be taken back; `mrvpn down` removes them"),
    }
}
