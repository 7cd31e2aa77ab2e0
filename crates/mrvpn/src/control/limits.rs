//! Limits of the control socket (contract.md section 1, "Who may"). What they are held by is [`super::places`] and
//! [`super::message`].

use std::time::Duration;

/// 64 KiB: the longest request, its end of line counted in.
pub(crate) const REQUEST_LIMIT: usize = 64 * 1024;

/// 64 MiB: the longest bundle, from who may change things.
pub(crate) const BUNDLE_LIMIT: usize = 64 * 1024 * 1024;

/// 64: clients at once that ask or wait for an answer.
pub(super) const CLIENTS: usize = 64;

/// 64: clients at once that follow something; they are beside [`CLIENTS`].
pub(super) const STREAMS: usize = 64;

/// 32: of [`STREAMS`], those of who may only look, so that who may do all always finds one.
pub(super) const STREAMS_OF_READERS: usize = 32;

/// 5 s: for a whole request, and for a whole answer (a line of a stream) to be taken.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// 20 ms: a connection that is younger is not closed for want of places; a program sends its request at once.
pub(super) const GRACE: Duration = Duration::from_millis(20);

/// 1 s: after it, an answer that is not taken makes room for others, if it is not to who may do all.
pub(super) const GRACE_OF_ANSWERS: Duration = Duration::from_secs(1);

/// 128: connections that wait in the kernel to be accepted.
pub(super) const BACKLOG: i32 = 128;
