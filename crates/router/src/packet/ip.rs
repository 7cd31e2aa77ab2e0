//! The IP header of either version, as far as both say the same: what the router judges and translates. The versions
//! themselves are read in `ipv4.rs` and `ipv6.rs`.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::net::IpAddr;

use super::Malformed;
use super::checksum::{self, Change, Sum};
use super::ipv4::{self, Fragment, Ipv4, Side};
use super::ipv6::{self, Ipv6};

/// What an IP header says, extension headers of IPv6 included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Where the transport header begins; of a later fragment, where its bytes do.
    pub header: usize,
    /// Bytes of headers and payload.
    pub length: usize,
    /// Identification, by which fragments belong together.
    pub id: u32,
    /// Whether it must not be fragmented on the way; always so with IPv6.
    pub dont_fragment: bool,
    /// Whether it is whole, or which part.
    pub fragment: Fragment,
    /// Place of a fragment's bytes in its datagram.
    pub offset: u32,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Protocol number of what follows.
    pub protocol: u8,
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same version.
    pub destination: IpAddr,
}

impl Ip {
    /// Reads the header of a packet that ends where the header says it does.
    ///
    /// # Errors
    ///
    /// [`Malformed`], as [`Ipv4::parse`] and [`Ipv6::parse`] have it.
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        match packet.first().map(|first| first >> 4) {
            Some(4) => Ipv4::parse(packet).map(Self::from),
            Some(6) => Ipv6::parse(packet).map(Self::from),
            Some(_) | None => Err(Malformed),
        }
    }

    /// Reads the header of a packet that may be cut short, as errors quote it.
    pub(crate) fn quoted(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Ipv4::quoted(packet).map(Self::from),
            6 => Ipv6::quoted(packet).map(Self::from),
            _ => None,
        }
    }

    /// The bytes behind the header.
    #[must_use]
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet.get(self.header..).unwrap_or_default()
    }

    /// Whether the header's own checksum is right; IPv6 has none.
    #[must_use]
    #[inline]
    pub fn checksum_is_right(&self, packet: &[u8]) -> bool {
        match self.source {
            IpAddr::V4(_) => packet.get(..self.header).is_some_and(|header| Sum::of(header).fold() == 0xffff),
            IpAddr::V6(_) => true,
        }
    }

    /// The address on a side.
    #[inline]
    pub(crate) const fn address(&self, side: Side) -> IpAddr {
        match side {
            Side::Source => self.source,
            Side::Destination => self.destination,
        }
    }

    /// Writes another address of the same version into the header at the start of `packet`, mends the header's checksum
    /// and returns what changed for checksums that cover the pseudo-header.
    #[inline]
    pub(crate) fn set_address(&self, packet: &mut [u8], side: Side, new: IpAddr) -> Change {
        match (self.address(side), new) {
            (IpAddr::V4(old), IpAddr::V4(new)) => ipv4::set_address(packet, side, old, new),
            (IpAddr::V6(old), IpAddr::V6(new)) => ipv6::set_address(packet, side, old, new),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                debug_assert!(false, "a flow has addresses of one version");
                Change::NONE
            }
        }
    }
}

/// The sum of the pseudo-header of either version; `length` is that of the transport header and payload, in bytes.
pub(crate) fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, length: u16) -> Sum {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => checksum::pseudo_v4(source, destination, protocol, length),
        (IpAddr::V6(source), IpAddr::V6(destination)) => checksum::pseudo_v6(source, destination, protocol, length),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            debug_assert!(false, "a packet has addresses of one version");
            Sum::default()
        }
    }
}

/// Whether the address can be the source of a packet that crosses a network.
pub(crate) fn may_be_source(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => ipv4::may_be_source(v4),
        IpAddr::V6(v6) => ipv6::may_be_source(v6),
    }
}

impl From<Ipv4> for Ip {
    #[inline]
    fn from(ip: Ipv4) -> Self {
        Self {
            header: ip.header,
            length: ip.length,
            id: ip.id.into(),
            dont_fragment: ip.dont_fragment,
            fragment: ip.fragment,
            offset: ip.offset,
            ttl: ip.ttl,
            protocol: ip.protocol,
            source: ip.source.into(),
            destination: ip.destination.into(),
        }
    }
}

impl From<Ipv6> for Ip {
    #[inline]
    fn from(ip: Ipv6) -> Self {
        Self {
            header: ip.header,
            length: ip.length,
            id: ip.id,
            dont_fragment: true,
            fragment: ip.fragment,
            offset: ip.offset,
            ttl: ip.hop_limit,
            protocol: ip.protocol,
            source: ip.source.into(),
            destination: ip.destination.into(),
        }
    }
}
