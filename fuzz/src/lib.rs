//! What libFuzzer runs; see README.md. The targets are plain functions, so that `cargo test` replays their corpora too
//! (crates/testbed/tests/fuzz_corpus.rs).

pub mod targets; // one function a parser or state machine
