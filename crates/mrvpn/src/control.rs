//! The control socket: one line of JSON asks, one answers. The kernel says who calls; the engine believes nobody else.

pub(crate) mod client; // a command asks
pub(crate) mod server; // the engine answers

use serde::{Deserialize, Serialize};

/// 64 KiB: the longest request.
pub(crate) const REQUEST_LIMIT: usize = 64 * 1024;

/// What a command asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// The status document.
    Status,
    /// End everything.
    Down,
}

/// What the engine answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub(crate) enum Response {
    /// The status document.
    Status {
        /// It.
        status: Box<mrvpn_engine::Status>,
    },
    /// It is under way; the engine is gone when the connection ends.
    Ending,
    /// Not done.
    Refused {
        /// Why, and what to do.
        why: String,
    },
}
