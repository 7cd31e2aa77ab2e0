//! The program's `check` as a user runs it: over profiles in the shapes that providers and firewalls write, and over
//! hostile ones. All files were made for these tests; their certificates and keys are throw-away material. What the
//! directives mean one by one is tested in `crates/profile`.

#![expect(clippy::tests_outside_test_module, reason = "all of this is a test")]

mod bombs; // files that are made to cost time or memory
#[path = "../support/expected.rs"]
mod expected; // what was said against what shall be
mod hostile; // files that would run, load or write something
mod named_files; // files that name files
mod program; // running the program
#[path = "../../src/load/scratch.rs"]
mod scratch; // directories
mod snapshots; // each judgement as it is printed
