//! Every limit on what comes from outside, and every time of the session, in one place (threats-and-faults.md section
//! 2; openvpn-protocol.md section 15.1). What they guard is in the file that uses them.

use std::time::Duration;

/// Bytes of the largest control datagram taken. OpenVPN 2.x sends up to 1,250 and its own buffers hold about 1,700;
/// 2.x peers accept at least 2,048 (section 1.6).
pub const CONTROL_DATAGRAM: usize = 2_048;

/// Bytes of one packet in an outer TCP stream (section 1.4): the largest MTU inside a tunnel, 9,000, and more than any
/// header, tag and framing around it. OpenVPN 2.x takes the MTU and about 200.
pub const STREAM_PACKET: usize = 9_216;

/// Bytes of TLS taken from the server until the TLS handshake is over.
pub const TLS_FLIGHT: usize = 64 * 1_024;

/// Bytes of one control message (one TLS record of application data).
pub const CONTROL_MESSAGE: usize = 64 * 1_024;

/// Bytes of all parts of one PUSH_REPLY together.
pub const PUSH: usize = 768 * 1_024;

/// Certificates in a server's chain, its own included.
pub const CHAIN_DEPTH: usize = 10;

/// Acknowledgements in one packet (section 1.3; `reliable.h` RELIABLE_ACK_SIZE).
pub const ACKS: usize = 8;

/// Acknowledgements that we put into a packet with a message of its own (`ssl.c`, CONTROL_SEND_ACK_MAX).
pub const ACKS_WITH_MESSAGE: usize = 4;

/// Messages in flight (`ssl.h`, TLS_RELIABLE_N_SEND_BUFFERS).
pub const SEND_WINDOW: usize = 6;

/// Messages ahead of the next expected one that are kept (`ssl.h`, TLS_RELIABLE_N_REC_BUFFERS).
pub const RECEIVE_WINDOW: u32 = 12;

/// Acknowledgements of later messages after which one is sent again at once (`reliable.c`, N_ACK_RETRANSMIT).
pub const FAST_RETRANSMIT_ACKS: u8 = 3;

/// First retransmission while no round trip has been measured.
pub const RETRANSMIT_FIRST: Duration = Duration::from_secs(1);

/// No retransmission sooner than this.
pub const RETRANSMIT_MIN: Duration = Duration::from_millis(250);

/// No two retransmissions further apart than this.
pub const RETRANSMIT_MAX: Duration = Duration::from_secs(8);

/// Bytes of an IP packet that carries control (`options.c`, max-packet-size default).
pub const CONTROL_IP_PACKET: usize = 1_250;

/// The longest handshake, whatever `hand-window` says.
pub const HANDSHAKE: Duration = Duration::from_secs(60);

/// The longest AUTH_PENDING, whatever the server asks.
pub const AUTH_PENDING: Duration = Duration::from_secs(600);

/// PUSH_REQUEST goes out right behind our key exchange message, and again so long after the server's (section 8.1):
/// one that is still busy with the login forgets the first.
pub const PUSH_REQUEST_AGAIN: Duration = Duration::from_secs(1);

/// Further PUSH_REQUESTs (`push.h`, PUSH_REQUEST_INTERVAL).
pub const PUSH_REQUEST_INTERVAL: Duration = Duration::from_secs(5);

/// A server that changes its session id makes us send everything again at once, but not twice within this time: without
/// a wrapper anyone can say that it has.
pub const HASTE_INTERVAL: Duration = Duration::from_secs(1);

/// How long EXIT waits for its acknowledgement.
pub const EXIT_WAIT: Duration = Duration::from_secs(1);

/// Renegotiations that a server starts: at most one in this time (threats-and-faults.md section 2). One that comes too
/// soon is answered when the time has passed.
pub const SOFT_RESET_INTERVAL: Duration = Duration::from_secs(10);

/// How long the old key seals at least once the new one is there, unless the server is seen to use the new one: the
/// server has it only when our last acknowledgement arrives, and asks for a lost one again after 2 s.
pub const OLD_KEY_SEALS: Duration = Duration::from_secs(1);

/// How long a worn key seals at most once the new one is there: the ids behind [`DATA_PACKET_ID_WORN`] last that long at
/// 1.6 million packets a second.
pub const WORN_KEY_SEALS: Duration = Duration::from_secs(10);

/// Datagrams kept for a caller who does not poll; then acknowledgements wait.
pub const OUTBOX: usize = 64;

/// Slots of the replay window of wrapped control packets (`packet_id.h`, DEFAULT_SEQ_BACKTRACK).
pub const CONTROL_REPLAY_WINDOW: usize = 64;

/// Slots of the replay window of data packets: wider than OpenVPN's 64, since a batch of a fast path reorders more.
pub const DATA_REPLAY_WINDOW: usize = 256;

/// Seconds after which a hole behind a packet that came is closed (`packet_id.h`, DEFAULT_TIME_BACKTRACK).
pub const REPLAY_SECONDS: u32 = 15;

/// Packet id of a data key from which it should be replaced (section 6.6; `packet_id.h`, PACKET_ID_WRAP_TRIGGER).
pub const DATA_PACKET_ID_WORN: u32 = 0xff00_0000;

/// Blocks and packets under one AES-GCM key (section 6.6; `crypto.c`).
pub const GCM_USAGE: u64 = (1 << 36) - 1;

/// Blocks and packets from which an AES-GCM key should be replaced: 7/8 of [`GCM_USAGE`].
pub const GCM_USAGE_WORN: u64 = GCM_USAGE / 8 * 7;

/// Packets that do not authenticate under one data key, after which it opens no more (section 6.6).
pub const FORGERIES: u64 = 1 << 36;

/// Bytes of our key exchange message: it must be one TLS record, and an OpenVPN server reads no more at once (section
/// 5.1).
pub const KEY_EXCHANGE: usize = 2_048;

/// Control datagrams that a server keeps for an owner who does not poll; then it answers no more resets.
pub const SERVER_OUTBOX: usize = 4_096;

/// Bytes of one message of a pushed list, its NUL included (`push.h`, PUSH_BUNDLE_SIZE): older clients take no more.
pub const PUSH_MESSAGE: usize = 1_024;

/// How long a server waits until the last word to a client is acknowledged, and how long it knows a client that has left
/// (section 10.3).
pub const SERVER_FAREWELL: Duration = Duration::from_secs(5);

/// How long a server's cookie counts under one number of its clock; that of the two before counts too (section 3.5).
pub const COOKIE_SLOT: Duration = Duration::from_secs(30);

/// Bytes of a client key sealed for the server (section 2.5): with its metadata it has no more.
pub const WRAPPED_KEY: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_limits_are_openvpns() {
        assert_eq!(GCM_USAGE, 68_719_476_735);
        assert_eq!(GCM_USAGE_WORN, 60_129_542_137);
    }
}
