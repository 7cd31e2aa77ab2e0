//! Prefixes with a meaning of their own: private ranges, and what no tunnel can claim. Values only; who asks decides.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Ranges that a local network may have (RFC 1918, RFC 6598, RFC 4193, RFC 3927). A network of any other address is
/// never treated as local: whoever answers DHCP could name any (CVE-2023-36672).
pub const PRIVATE: [IpNet; 6] = [
    v4(10, 0, 0, 0, 8),
    v4(172, 16, 0, 0, 12),
    v4(192, 168, 0, 0, 16),
    v4(100, 64, 0, 0, 10),
    v4(169, 254, 0, 0, 16),
    v6(0xfc00, 7),
];

/// Left to the host wherever the LAN is: link-local, multicast, limited broadcast.
pub const ALWAYS_LOCAL: [IpNet; 5] =
    [v4(169, 254, 0, 0, 16), v4(224, 0, 0, 0, 4), v4(255, 255, 255, 255, 32), v6(0xfe80, 10), v6(0xff00, 8)];

/// Left to the host even where the LAN is blocked: without these no card gets or keeps an address.
pub const ALWAYS_DHCP: [IpNet; 3] = [v4(255, 255, 255, 255, 32), v6(0xfe80, 10), v6(0xff00, 8)];

/// What a route of a tunnel cannot claim: this host, link-local, multicast, reserved.
pub const UNCLAIMABLE: [IpNet; 7] = [
    v4(0, 0, 0, 0, 8),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(224, 0, 0, 0, 3),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
    v6(0xfe80, 10),
    v6(0xff00, 8),
];

/// Whether all of `net` lies in a private range.
#[must_use]
pub fn is_private(net: &IpNet) -> bool {
    PRIVATE.iter().any(|range| range.contains(net))
}

/// Whether two networks share an address.
#[must_use]
pub fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

const fn v6(first: u16, length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_networks_are_never_private() {
        for net in ["8.8.8.0/24", "203.0.113.0/24", "172.0.0.0/8", "192.0.2.0/24", "0.0.0.0/0", "2001:db8::/32"] {
            assert!(!is_private(&net.parse().unwrap()), "{net}");
        }
        for net in ["10.0.0.0/8", "172.31.255.0/24", "192.168.1.0/24", "100.64.0.0/10", "fd00:1::/64"] {
            assert!(is_private(&net.parse().unwrap()), "{net}");
        }
    }
}
