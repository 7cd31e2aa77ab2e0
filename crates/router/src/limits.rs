//! The numbers that bound this crate's memory, work and answers, in one place. Each has a test at the limit and on both
//! sides of it, beside the code that keeps it. What a tunnel may carry is not here; it is in its [`crate::TunnelView`].

use std::time::Duration;

/// Flows over all tunnels (threats-and-faults section 2). An established flow is never given up for a new one.
pub const FLOWS: usize = 65_536;

/// Flows of one program, of one address whose programs are not known, or of the far side of one tunnel.
pub const FLOWS_PER_HOLDER: usize = 16_384;

/// Flows in the table below which nobody is asked whose a new one is. From here on each new flow is assigned and one old
/// one with it, so that nobody's flows are unknown any more when there are as many as a share: half of one.
pub const FLOWS_UNASKED: usize = FLOWS_PER_HOLDER / 2;

/// 60 s: a TCP connection that is being opened, as conntrack's `tcp_timeout_syn_recv`.
pub const TCP_OPENING: Duration = Duration::from_secs(60);

/// 7,440 s: an open TCP connection without packets, the least that RFC 5382 (REQ-5) allows.
pub const TCP_ESTABLISHED: Duration = Duration::from_secs(7_440);

/// 60 s: a TCP connection after FIN from both sides, or after RST; longer than a last retransmit.
pub const TCP_CLOSING: Duration = Duration::from_secs(60);

/// 60 s: a UDP flow that nobody has answered.
pub const UDP_UNREPLIED: Duration = Duration::from_secs(60);

/// 180 s: a UDP flow with an answer; RFC 4787 (REQ-5) asks for 120 s at least.
pub const UDP_REPLIED: Duration = Duration::from_secs(180);

/// 30 s: an echo request, as conntrack's `icmp_timeout`.
pub const ECHO: Duration = Duration::from_secs(30);

/// 600 s: a flow of any other protocol, as conntrack's `generic_timeout`.
pub const OTHER: Duration = Duration::from_secs(600);

/// 1 s: how exact the time-outs are. A flow moves to the end of its queue once in this time, not at every packet.
pub const GRAIN: Duration = Duration::from_secs(1);

/// Flows that one call of `handle_timeout` takes away at most.
pub const EXPIRED_PER_CALL: usize = 1_024;

/// Old flows that are looked at for one whose lease has ended, when the table is full.
pub const LOOKED_AT_WHEN_FULL: usize = 8;

/// Random ports that are tried for a new flow whose own port is taken.
pub const PORT_TRIES: usize = 128;

/// Ports that are allocated start here: those below have a meaning to some firewalls.
pub const FIRST_PORT: u16 = 1_024;

/// Datagrams whose later fragments are followed at a time, in each direction.
pub const FRAGMENTED: usize = 64;

/// 5 s: how long later fragments follow their first.
pub const FRAGMENTED_LIFE: Duration = Duration::from_secs(5);

/// Separate parts of one datagram that are told apart to find fragments that overlap; fragments that come in order, in
/// either direction, are one part.
pub const FRAGMENT_PARTS: usize = 16;

/// Later fragments that wait for their first, of one tunnel or attachment (threats-and-faults section 2, reassembly).
pub const FRAGMENTS_WAITING: usize = 64;

/// 1 MiB: their bytes.
pub const FRAGMENTS_WAITING_BYTES: usize = 1_048_576;

/// 16 MiB: bytes of waiting fragments over all tunnels, in each direction.
pub const FRAGMENTS_WAITING_ALL: usize = 16_777_216;

/// 120 s: how long ports of an ended lease are given to nobody else (T-74).
pub const PORT_REST: Duration = Duration::from_secs(120);

/// Ports that rest at a time; the longest resting one is forgotten for another.
pub const PORTS_RESTING: usize = FLOWS;

/// 200 ms: one refusal of a flow each, or one error told to it, so five a second ...
pub const REFUSAL_EVERY: Duration = Duration::from_millis(200);

/// ... and five at once before that, so that no second has more than ten (decision 12).
pub const REFUSAL_BURST: u32 = 5;

/// Places of the table that paces refusals; flows that share a place share its ten a second.
pub const REFUSAL_PLACES: usize = 4_096;

/// Rules that an explanation names at most, of those that did not decide ...
pub const EXPLAINED_RULES: usize = 8;

/// ... and claims. With attachment, source, default and fallback it has 16 entries at most.
pub const EXPLAINED_CLAIMS: usize = 4;

/// 576 bytes: the smallest IPv4 path MTU that an ICMP error may announce (T-46).
pub const LEAST_MTU_V4: u16 = 576;

/// 1,280 bytes: the smallest MTU of IPv6 (RFC 8200, 5): no ICMPv6 error announces less, and a tunnel that carries less
/// carries no IPv6.
pub const LEAST_MTU_V6: u16 = 1_280;

/// 576 bytes: the largest ICMP error (RFC 1812, 4.3.2.3).
pub const ICMP_ERROR_V4: usize = 576;

/// 1,280 bytes: the largest ICMPv6 error (RFC 4443, 2.4 c).
pub const ICMP_ERROR_V6: usize = 1_280;

/// Extension headers of an IPv6 packet that are walked.
pub const EXTENSION_HEADERS: usize = 8;

/// Bytes of buffer with which every refusal fits.
pub const REFUSAL_BUFFER: usize = ICMP_ERROR_V6;
