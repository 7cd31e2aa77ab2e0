//! Keeps TCP's segments within the tunnel, as OpenVPN's `mssfix` does: the MSS of a SYN is lowered to what fits. Only the
//! option and the checksum change.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)
)]

use mrvpn_router::packet::tcp::{CHECKSUM, Flags, clamp_mss};
use mrvpn_router::{Checksum, Offload};

/// IP protocol number of TCP.
const TCP: u8 = 6;
/// Bytes of an IPv6 header; SYNs behind extension headers are left as they are.
const SIX: usize = 40;
/// Bytes of a TCP header without options.
const TCP_HEADER: usize = 20;

/// Lowers the MSS of a SYN so that its segments with all headers have at most `limit` bytes.
pub(crate) fn clamp(packet: &mut [u8], limit: u16, offload: &Offload) {
    let Some((ip, headers)) = syn(packet) else { return };
    let Some(segment) = packet.get_mut(ip..) else { return };
    let most = usize::from(limit).saturating_sub(headers.saturating_add(TCP_HEADER));
    let header = segment.get(12).map_or(0, |byte| usize::from(byte >> 4).saturating_mul(4));
    let change = clamp_mss(segment, header, u16::try_from(most).unwrap_or(u16::MAX));
    // A sum that is not made yet covers the option when it is.
    if offload.checksum == Checksum::Complete
        && let Some(field) = segment.get_mut(CHECKSUM..).and_then(|rest| rest.first_chunk_mut::<2>())
    {
        *field = change.apply(u16::from_be_bytes(*field)).to_be_bytes();
    }
}

/// Where the TCP header of a SYN begins, and the IP header that its segments will have.
fn syn(packet: &[u8]) -> Option<(usize, usize)> {
    let (ip, protocol) = match packet.first()? >> 4 {
        4 => {
            let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x1fff;
            let protocol = if fragment == 0 { *packet.get(9)? } else { 0 };
            (usize::from(packet.first()? & 0x0f).saturating_mul(4), protocol)
        }
        _ => (SIX, *packet.get(6)?),
    };
    let flags = Flags::new(*packet.get(ip.saturating_add(13))?);
    (protocol == TCP && flags.has(Flags::SYN)).then_some((ip, ip))
}

#[cfg(test)]
mod tests {
    use mrvpn_router::packet::checksum::{Sum, pseudo_v4};

    use super::*;

    /// A SYN from 10.0.0.1 to 10.0.0.2 that offers an MSS of 1460, its checksum right.
    fn a_syn(flags: u8) -> Vec<u8> {
        let mut packet = vec![0; 44];
        packet[0] = 0x45;
        packet[3] = 44;
        packet[9] = TCP;
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet[32] = 0x60;
        packet[33] = flags;
        packet[40..44].copy_from_slice(&[2, 4, 0x05, 0xb4]);
        let sum = sum(&packet).checksum();
        packet[36..38].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    fn sum(packet: &[u8]) -> Sum {
        pseudo_v4([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), TCP, 24).and(Sum::of(&packet[20..]))
    }

    #[test]
    fn the_mss_of_a_syn_is_lowered_and_its_checksum_stays_right() {
        let mut packet = a_syn(Flags::SYN);
        clamp(&mut packet, 1_448, &Offload::NONE);
        assert_eq!(packet[42..44], 1_408_u16.to_be_bytes());
        assert_eq!(sum(&packet).fold(), 0xffff);
    }

    #[test]
    fn what_is_small_enough_or_no_syn_stays_as_it_is() {
        for (limit, flags) in [(1_500, Flags::SYN), (1_448, Flags::ACK)] {
            let mut packet = a_syn(flags);
            clamp(&mut packet, limit, &Offload::NONE);
            assert_eq!(packet, a_syn(flags));
        }
    }

    #[test]
    fn no_cut_packet_panics() {
        let packet = a_syn(Flags::SYN);
        for length in 0..packet.len() {
            clamp(&mut packet[..length].to_vec(), 1_448, &Offload::NONE);
        }
    }
}
