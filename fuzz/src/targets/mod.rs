//! One function a parser or state machine that takes bytes from outside: any bytes may be given, and a panic is a bug.
//! What must hold for every input is asserted. `fuzz_targets/` hands them to libFuzzer, and
//! `crates/testbed/tests/fuzz_corpus.rs` replays the committed corpora.

mod control; // packets of the control channel
mod files; // what users write
mod inside; // packets inside the tunnels
mod pieces; // several datagrams or strings in one input
mod said; // what a server says inside TLS
mod served; // packets to our server half
mod strangers; // DNS answers and streams

pub use control::{control, control_text, key_method};
pub use files::{config, profile};
pub use inside::router;
pub use said::{certificate, push};
pub use served::server;
pub use strangers::{dns_answer, stream};

/// A target.
pub type Target = fn(&[u8]);

/// Each target with its name, which is that of its corpus too.
pub const ALL: [(&str, Target); 11] = [
    ("profile", profile),
    ("push", push),
    ("config", config),
    ("control", control),
    ("control_text", control_text),
    ("key_method", key_method),
    ("certificate", certificate),
    ("router", router),
    ("dns_answer", dns_answer),
    ("stream", stream),
    ("server", server),
];
