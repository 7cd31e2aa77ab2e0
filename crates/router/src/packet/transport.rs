//! What follows an IP header in a whole packet or a first fragment: one of the protocols that can be translated, an
//! ICMP error, or something else. Later fragments have no transport header and never come here.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use super::icmp::Icmp;
use super::ip::Ip;
use super::ipv4::Fragment;
use super::tcp::Tcp;
use super::udp::Udp;
use super::{Malformed, protocol};

/// The transport header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp(Tcp),
    /// UDP.
    Udp(Udp),
    /// An echo request with its identifier.
    EchoRequest(u16),
    /// An echo reply with its identifier.
    EchoReply(u16),
    /// An ICMP or ICMPv6 error.
    IcmpError {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// An ICMPv6 message that means nothing beyond the link.
    Neighbours,
    /// Any other ICMP or ICMPv6 message, which is not translated.
    IcmpOther,
    /// Any other protocol, translated by its addresses alone.
    Other,
}

impl Transport {
    /// Reads what follows `ip` in `packet`.
    ///
    /// # Errors
    ///
    /// [`Malformed`]: a header that does not fit, or a UDP length that does not fit a whole packet. A first fragment too
    /// short for its transport header counts here as well (RFC 1858), and ICMP of the other IP version.
    pub fn parse(packet: &[u8], ip: &Ip) -> Result<Self, Malformed> {
        let payload = ip.payload(packet);
        match ip.protocol {
            protocol::TCP => Tcp::parse(payload).map(Self::Tcp).ok_or(Malformed),
            protocol::UDP => {
                let udp = Udp::parse(payload).ok_or(Malformed)?;
                let fits = ip.fragment == Fragment::First || usize::from(udp.length) <= payload.len();
                fits.then_some(Self::Udp(udp)).ok_or(Malformed)
            }
            protocol::ICMP if ip.source.is_ipv4() => Icmp::parse(payload).map(Self::of_icmp).ok_or(Malformed),
            protocol::ICMPV6 if ip.source.is_ipv6() => Icmp::parse_v6(payload).map(Self::of_icmp).ok_or(Malformed),
            protocol::ICMP | protocol::ICMPV6 => Err(Malformed),
            _ => Ok(Self::Other),
        }
    }

    const fn of_icmp(icmp: Icmp) -> Self {
        match icmp {
            Icmp::EchoRequest(id) => Self::EchoRequest(id),
            Icmp::EchoReply(id) => Self::EchoReply(id),
            Icmp::Error { kind, code } => Self::IcmpError { kind, code },
            Icmp::Neighbours(_) => Self::Neighbours,
            Icmp::Other(_) => Self::IcmpOther,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(version: u8, protocol: u8, payload: &[u8]) -> Result<Transport, Malformed> {
        let length = payload.len() as u8;
        let mut packet = match version {
            4 => vec![0x45, 0, 0, length.strict_add(20), 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2],
            _ => {
                let mut packet = vec![0x60, 0, 0, 0, 0, length, protocol, 64];
                packet.extend([0xfd; 32]);
                packet
            }
        };
        packet.extend(payload);
        Transport::parse(&packet, &Ip::parse(&packet).unwrap())
    }

    // proves: T-44
    #[test]
    fn icmp_of_the_other_version_is_malformed() {
        let (echo, echo_v6) = ([8, 0, 0, 0, 0, 7, 0, 1], [128, 0, 0, 0, 0, 7, 0, 1]);
        assert_eq!(parsed(4, protocol::ICMP, &echo), Ok(Transport::EchoRequest(7)));
        assert_eq!(parsed(6, protocol::ICMPV6, &echo_v6), Ok(Transport::EchoRequest(7)));
        assert_eq!(parsed(6, protocol::ICMP, &echo), Err(Malformed));
        assert_eq!(parsed(4, protocol::ICMPV6, &echo_v6), Err(Malformed));
    }
}
