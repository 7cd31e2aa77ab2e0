//! A process that handles secrets leaves none behind: no core file, and no other process of its user reads its memory
//! (threats-and-faults.md, T-62). What is in memory is zeroed by its type, `mrvpn_profile::Secret`.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// For the rest of this process. Where the system refuses, the command goes on: it is a second wall, not the first.
pub(crate) fn keep_secrets() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!("other processes of this user can read the memory of this one: {error}");
    }
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!("a crash may write a core file: {error}");
    }
}
