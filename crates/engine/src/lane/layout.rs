//! Where the headers of an IP packet end, and the few fields that cutting and joining need. Not a parser of all that
//! a packet may be: the router has judged it before. What is read here is checked again, so that no length from
//! outside is ever trusted. The neighbours are [`mod@super::split`] and [`super::coalesce`].

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)
)]

use mrvpn_router::packet::ipv4::Fragment;
use mrvpn_router::packet::ipv6::Ipv6;

use super::checksum::fill_ipv4_header;

/// IP protocol number of TCP.
pub(crate) const TCP: u8 = 6;
/// IP protocol number of UDP.
pub(crate) const UDP: u8 = 17;
/// IP protocol number of ICMPv6.
pub(crate) const ICMPV6: u8 = 58;
/// TCP flag: no more data follows.
pub(crate) const FIN: u8 = 0x01;
/// TCP flag: hand the data on.
pub(crate) const PSH: u8 = 0x08;
/// TCP flag: the acknowledgement is valid.
pub(crate) const ACK: u8 = 0x10;
/// TCP flag: the congestion window was reduced (RFC 3168).
pub(crate) const CWR: u8 = 0x80;

/// Offset of the checksum in a TCP header.
pub(crate) const TCP_CHECKSUM: usize = 16;
/// Offset of the checksum in a UDP header.
pub(crate) const UDP_CHECKSUM: usize = 6;

/// Bytes of the fixed IPv6 header.
const IPV6_HEADER: usize = 40;

/// The parts of an IP packet that carries the beginning of a TCP or UDP message and is no fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// IP protocol number: [`TCP`] or [`UDP`].
    pub(crate) protocol: u8,
    /// Bytes of the IP header, extension headers included.
    pub(crate) ip: usize,
    /// Bytes of IP and transport header together: the payload begins here.
    pub(crate) headers: usize,
    /// Whether it is IPv6.
    pub(crate) six: bool,
}

impl Layout {
    /// The layout of `packet`; `None` for anything but unfragmented TCP or UDP whose lengths fit.
    pub(crate) fn of(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::of_v4(packet),
            6 => Self::of_v6(packet),
            _ => None,
        }
    }

    fn of_v6(packet: &[u8]) -> Option<Self> {
        let ip = Ipv6::parse(packet).ok().filter(|ip| ip.fragment == Fragment::Whole)?;
        let headers = ip.header.checked_add(transport_header(ip.protocol, packet.get(ip.header..)?)?)?;
        (headers <= packet.len()).then_some(Self { protocol: ip.protocol, ip: ip.header, headers, six: true })
    }

    fn of_v4(packet: &[u8]) -> Option<Self> {
        let fixed = packet.first_chunk::<20>()?;
        let ip = usize::from(fixed[0] & 0x0f).checked_mul(4)?;
        let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        let fragment = u16::from_be_bytes([fixed[6], fixed[7]]) & 0x3fff;
        if ip < 20 || total != packet.len() || fragment != 0 {
            return None;
        }
        let transport = packet.get(ip..)?;
        let headers = ip.checked_add(transport_header(fixed[9], transport)?)?;
        (headers <= packet.len()).then_some(Self { protocol: fixed[9], ip, headers, six: false })
    }

    /// Writes the length of the whole packet into the IP header at the start of `packet`, and its checksum if it has one.
    pub(crate) fn set_length(&self, packet: &mut [u8], total: usize) {
        let total = u16::try_from(if self.six { total.saturating_sub(IPV6_HEADER) } else { total });
        let total = total.unwrap_or(u16::MAX);
        if self.six {
            set_field16(packet, 4, total);
        } else {
            set_field16(packet, 2, total);
            fill_ipv4_header(packet, self.ip);
        }
    }

    /// Offset of the transport checksum in the packet.
    pub(crate) fn checksum(&self) -> usize {
        let offset = if self.protocol == TCP { TCP_CHECKSUM } else { UDP_CHECKSUM };
        self.ip.saturating_add(offset)
    }
}

/// Length of the TCP or UDP header at the beginning of `transport`.
fn transport_header(protocol: u8, transport: &[u8]) -> Option<usize> {
    match protocol {
        TCP => {
            let fixed = transport.first_chunk::<20>()?;
            let length = usize::from(fixed[12] >> 4).checked_mul(4)?;
            (length >= 20).then_some(length)
        }
        UDP => (transport.len() >= 8).then_some(8),
        _ => None,
    }
}

/// The 16-bit field at `at`, in network order; 0 where the packet is too short.
pub(crate) fn field16(packet: &[u8], at: usize) -> u16 {
    packet.get(at..).and_then(|rest| rest.first_chunk::<2>()).map_or(0, |bytes| u16::from_be_bytes(*bytes))
}

/// The 32-bit field at `at`, in network order; 0 where the packet is too short.
pub(crate) fn field32(packet: &[u8], at: usize) -> u32 {
    packet.get(at..).and_then(|rest| rest.first_chunk::<4>()).map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// Writes a 16-bit field at `at`, in network order; nothing where the packet is too short.
pub(crate) fn set_field16(packet: &mut [u8], at: usize, value: u16) {
    if let Some(bytes) = packet.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<2>()) {
        *bytes = value.to_be_bytes();
    }
}

/// Writes a 32-bit field at `at`, in network order; nothing where the packet is too short.
pub(crate) fn set_field32(packet: &mut [u8], at: usize, value: u32) {
    if let Some(bytes) = packet.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *bytes = value.to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(options: usize, payload: usize) -> Vec<u8> {
        let mut packet = vec![0; 40 + options + payload];
        packet[0] = 0x45;
        let total = u16::try_from(packet.len()).unwrap();
        set_field16(&mut packet, 2, total);
        packet[9] = TCP;
        packet[32] = u8::try_from((20 + options) / 4).unwrap() << 4;
        packet
    }

    #[test]
    fn tcp_options_belong_to_the_headers() {
        let layout = Layout::of(&tcp(12, 100)).unwrap();
        assert_eq!((layout.ip, layout.headers, layout.checksum()), (20, 52, 36));
    }

    #[test]
    fn extension_headers_belong_to_the_ip_header() {
        let mut packet = vec![0; 40 + 8 + 20 + 5];
        packet[0] = 0x60;
        set_field16(&mut packet, 4, 33);
        packet[6] = 60;
        packet[40] = TCP;
        packet[60] = 0x50;
        let layout = Layout::of(&packet).unwrap();
        assert_eq!((layout.ip, layout.headers, layout.checksum(), layout.six), (48, 68, 64, true));
        packet[6] = 44;
        assert_eq!(Layout::of(&packet).map(|layout| layout.ip), Some(48), "a whole one with a fragment header");
        packet[43] = 1;
        assert_eq!(Layout::of(&packet), None);
    }

    #[test]
    fn a_fragment_and_a_wrong_length_have_no_layout() {
        let mut fragment = tcp(0, 8);
        fragment[6] = 0x20;
        assert_eq!(Layout::of(&fragment), None);
        let mut long = tcp(0, 8);
        long.push(0);
        assert_eq!(Layout::of(&long), None);
    }

    #[test]
    fn a_header_beyond_the_packet_has_no_layout() {
        let mut packet = tcp(0, 0);
        packet[32] = 0xf0;
        assert_eq!(Layout::of(&packet), None);
        for length in 0..40 {
            assert_eq!(Layout::of(&tcp(0, 0)[..length]), None);
        }
    }
}
