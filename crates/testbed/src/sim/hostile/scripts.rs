//! The scripts, by who acts and when.

mod control; // what is said inside TLS
mod data; // what comes out of the tunnel
mod ends; // sessions that end, again and again
mod login; // refusals and tokens
mod push; // what is pushed
mod strangers; // who has no keys

use super::Script;
use super::arena::Arena;

/// All scripts.
#[must_use]
pub fn all() -> Vec<Script> {
    let calm = Script::new("nothing-at-all", &["calm"], |arena: &mut Arena<'_>| {
        arena.come_up();
        arena.expect_talk();
    });
    let mut all = vec![calm];
    all.extend(strangers::SCRIPTS);
    all.extend(control::SCRIPTS);
    all.extend(push::SCRIPTS);
    all.extend(login::SCRIPTS);
    all.extend(ends::SCRIPTS);
    all.extend(data::SCRIPTS);
    all
}
