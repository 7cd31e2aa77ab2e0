//! Runs in which a panic is a violation, with its place, and says nothing on the terminal meanwhile.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use mrvpn_clock::Moment;

use super::{Scenario, Trace, Violation};
use crate::sim::dialogue::Dialogue;

thread_local! {
    /// Words and place of the panic of the run on this thread; `None` outside of runs.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// As [`Scenario::run`], with panics caught.
pub(super) fn run<S: Scenario>(
    scenario: &S,
    seed: u64,
    actions: &[S::Action],
    dialogue: &mut Dialogue,
) -> Result<Trace, Violation> {
    listen();
    PANIC.set(Some(String::new()));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| scenario.run(seed, actions, dialogue)));
    let words = PANIC.take().unwrap_or_default();
    outcome.unwrap_or_else(|_| Err(Violation::new("I-6", format!("panic: {words}"), Moment::default())))
}

/// Panics in runs are kept; others go where they went before.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let kept = PANIC.with_borrow_mut(|slot| slot.as_mut().map(|words| *words = info.to_string()).is_some());
            if !kept {
                before(info);
            }
        }));
    });
}
