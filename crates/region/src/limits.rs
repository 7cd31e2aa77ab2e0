//! The bounds of a region: threads, queues, times. Those of what clients say are `mrvpn_proto`'s.

use std::time::Duration;

/// Threads of the data path at most.
pub const WORKERS: usize = 8;

/// Packets that one worker has handed to another and that are not taken yet; more are dropped, as a full interface does.
pub const HANDED: usize = 512;
/// Orders of the control thread to one worker; it waits where they are more.
pub const ORDERS: usize = 1_024;
/// Control packets and reports of workers that wait for the control thread; control packets beyond are dropped and come
/// again.
pub const UPCALLS: usize = 4_096;
/// Events that nobody has taken yet; the newest beyond are lost and counted.
pub const EVENTS: usize = 4_096;

/// TCP connections at once, clients or not.
pub const STREAMS: usize = 4_096;
/// A TCP connection that is no client's after so long is closed.
pub const IDLE_STREAM: Duration = Duration::from_secs(60);

/// How often silent clients are looked for and counters are read.
pub const TICK: Duration = Duration::from_millis(500);
/// How long a port or a device that is taken is waited for, and how often it is tried.
pub const BUSY: Duration = Duration::from_millis(500);
/// The pause between two tries.
pub const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// How long the last word may take at the end.
pub const FAREWELL: Duration = Duration::from_millis(500);
