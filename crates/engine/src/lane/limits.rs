//! The bounds of a lane: buffers, queues and the share of one turn that each side gets. Times of flows are the router's.

use std::time::Duration;

/// Datagrams of one train: the kernel's `UDP_MAX_SEGMENTS` before Linux 6.9 (`include/linux/udp.h`).
pub const TRAIN_DATAGRAMS: usize = 64;
/// Bytes of one train: the largest UDP payload over IPv4, 65,535 less 20 (IP) and 8 (UDP).
pub const TRAIN_BYTES: usize = 65_507;
/// Trains that may be open at once. Four tunnels in turns keep their batches; 256 KiB stay in the cache of one core.
pub const TRAINS: usize = 4;

/// Datagrams, or runs of datagrams that the kernel joined, of one receive call.
pub const RECEIVE_SLOTS: usize = 32;
/// Slots that are offered while the kernel joins datagrams: 4 times 64 KiB already fill the cache of one core.
pub const RECEIVE_SLOTS_JOINED: usize = 4;
/// Room for one received datagram or run, in bytes: the largest UDP payload, rounded up to 64 KiB.
pub const RECEIVE_BYTES: usize = 65_536;

/// Bytes of a TCP stream that are read with one call: enough for 180 full packets, little enough for the cache.
pub const STREAM_READ: usize = 256 * 1024;
/// Bytes that wait in the lane for a TCP stream that takes no more; what comes then is dropped. Together with what the
/// kernel holds unsent it is the queue of the tunnel, so more would be delay alone.
pub const STREAM_QUEUE: usize = 256 * 1024;
/// Bytes that the kernel holds unsent for a TCP stream (`TCP_NOTSENT_LOWAT`): what it takes to be never idle.
pub const STREAM_UNSENT: u32 = 128 * 1024;

/// Room for one packet read from the TUN, in bytes.
pub const READ_BYTES: usize = 65_536;
/// Reads from the TUN in one turn.
pub const TURN_READS: usize = 64;
/// Bytes read from the TUN in one turn.
pub const TURN_READ_BYTES: usize = 256 * 1024;
/// Connections of an ended lease that are reset in one turn.
pub const TURN_RESETS: usize = 256;
/// Receive calls for one tunnel in one turn.
pub const TURN_RECEIVES: usize = 4;
/// Bytes received for one tunnel in one turn, after which no further call follows: what one call with joined datagrams brings,
/// 256 KiB, takes a millisecond of a slow core, and packets of others wait no longer than that.
pub const TURN_RECEIVE_BYTES: usize = 128 * 1024;

/// TCP flows that are joined at the same time.
pub const JOINED_FLOWS: usize = 8;
/// Segments of one joined packet.
pub const JOINED_SEGMENTS: usize = 64;

/// Packets that wait for one tunnel: the first packets of a few flows; an app resends what does not fit.
pub const HOLD_PACKETS: usize = 64;
/// Bytes that wait for one tunnel: super-packets of 64 KiB must not make 4 MiB of it.
pub const HOLD_BYTES: usize = 512 * 1024;

/// Control datagrams of one tunnel that wait for its session: more than two receive windows of 12 (`reliable.h`).
pub const CONTROL_QUEUED: usize = 64;
/// Datagrams of the session that wait to be sent.
pub const OUTBOX: usize = 256;
/// Pause between two reports of a socket's errors: at most 2 a second.
pub const ERROR_PAUSE: Duration = Duration::from_millis(500);
/// Pause between two reports that packets are dropped: bursts are told once a second.
pub const DROPS_PAUSE: Duration = Duration::from_secs(1);

/// Bytes by which a sealed datagram is known again: opcode and peer id, packet id, tag.
pub const LOOP_HEAD: usize = 24;
/// Datagrams of one tunnel that are known again: all that a wrapper on the same host usually has under way.
pub const LOOP_MEMORY: usize = 64;
/// Before those, every so many: 2,048 datagrams back.
pub const LOOP_STRIDE: usize = 32;
