//! Addresses, masks, numbers and domain names as text, read strictly: what is not exactly one of them is none. Not
//! here: which addresses a tunnel may have (`push.rs`) or may claim (`option.rs`).

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::limits;

/// An IPv4 address in four decimal parts without leading zeros.
pub(crate) fn ipv4(text: &str) -> Option<Ipv4Addr> {
    text.parse().ok()
}

/// An IPv6 address; one that hides an IPv4 address (`::ffff:a.b.c.d`) is none, for it would pass as the other family.
pub(crate) fn ipv6(text: &str) -> Option<Ipv6Addr> {
    text.parse().ok().filter(|address: &Ipv6Addr| address.to_ipv4_mapped().is_none())
}

/// An address of either family.
pub(crate) fn ip(text: &str) -> Option<IpAddr> {
    ipv4(text).map(IpAddr::V4).or_else(|| ipv6(text).map(IpAddr::V6))
}

/// The prefix length that a netmask stands for; `None` if it has holes.
pub(crate) fn mask_bits(mask: Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    let ones = bits.leading_ones();
    (bits.count_ones() == ones).then(|| u8::try_from(ones).ok()).flatten()
}

/// `ADDRESS/BITS` of IPv6; without bits, 128.
pub(crate) fn ipv6_prefix(text: &str) -> Option<(Ipv6Addr, u8)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, u8::try_from(number(bits)?).ok().filter(|bits| *bits <= 128)?),
        None => (text, 128),
    };
    Some((ipv6(address)?, bits))
}

/// A prefix or a single address of either family, host bits as written.
pub(crate) fn prefix(text: &str) -> Option<IpNet> {
    let Some((address, bits)) = text.split_once('/') else {
        return Some(IpNet::from(ip(text)?));
    };
    IpNet::new(ip(address)?, u8::try_from(number(bits)?).ok()?).ok()
}

/// The network of an IPv4 address and prefix length, host bits zeroed, and whether any was set.
pub(crate) fn network4(address: Ipv4Addr, bits: u8) -> Option<(IpNet, bool)> {
    let net = Ipv4Net::new(address, bits).ok()?.trunc();
    Some((IpNet::V4(net), net.addr() != address))
}

/// The same for IPv6.
pub(crate) fn network6(address: Ipv6Addr, bits: u8) -> Option<(IpNet, bool)> {
    let net = Ipv6Net::new(address, bits).ok()?.trunc();
    Some((IpNet::V6(net), net.addr() != address))
}

/// A number of decimal digits alone; one too large for 64 bits is the largest.
pub(crate) fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

/// A domain name of letters, digits, `.`, `_` and `-` within the limits of DNS; one dot at the end is dropped.
pub(crate) fn domain(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let fits = !name.is_empty() && name.len() <= limits::DOMAIN;
    (fits && name.split('.').all(is_label)).then(|| name.to_owned())
}

fn is_label(label: &str) -> bool {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !label.is_empty() && label.len() <= limits::LABEL && label.bytes().all(harmless)
}

/// Why a tunnel cannot have this address of its own, if so.
pub(crate) const fn no_host(address: Ipv4Addr) -> Option<&'static str> {
    match address {
        _ if address.octets()[0] == 0 => Some("is no address of a host"),
        _ if address.is_loopback() => Some("is a loopback address"),
        _ if address.is_multicast() => Some("is a multicast address"),
        _ if address.is_broadcast() => Some("is the broadcast address"),
        _ => None,
    }
}

/// The same for IPv6, with the prefix length that belongs to it.
pub(crate) fn no_host6(address: Ipv6Addr, bits: u8) -> Option<String> {
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
        return Some(format!("{address} is no address of a host"));
    }
    (bits < IPV6_BITS_MIN).then(|| format!("/{bits} would make a whole provider's addresses one network"))
}

/// 32 bits: the network of an assigned address is a claim, and a provider's allocation is a /32.
const IPV6_BITS_MIN: u8 = 32;

/// Why no tunnel can lead to `net`, if so: it lies in a range that never leaves a host or a link.
pub(crate) fn unroutable(net: &IpNet) -> Option<&'static str> {
    UNROUTABLE.iter().find(|(range, _)| inside(net, range)).map(|(_, why)| *why)
}

fn inside(net: &IpNet, range: &str) -> bool {
    prefix(range).is_some_and(|range| range.contains(net))
}

const UNROUTABLE: [(&str, &str); 9] = [
    ("127.0.0.0/8", "loopback never leaves this machine"),
    ("169.254.0.0/16", "link-local addresses never leave their link"),
    ("224.0.0.0/4", "multicast is not routed through tunnels"),
    ("255.255.255.255/32", "the broadcast address never leaves its link"),
    ("0.0.0.0/8", "0.0.0.0/8 is no place to go to"),
    ("::/127", "the unspecified address and loopback never leave this machine"),
    ("fe80::/10", "link-local addresses never leave their link"),
    ("ff00::/8", "multicast is not routed through tunnels"),
    ("::ffff:0:0/96", "IPv4 addresses in IPv6 form are no IPv6 network"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // proves: T-33
    #[test]
    fn forms_that_hide_another_family_are_no_address() {
        for bad in ["::ffff:10.0.0.1", "::ffff:0a00:1", "10.0.0", "010.0.0.1", "10.0.0.1 ", "0x0a.1.1.1", "fe80::1%1"] {
            assert_eq!(ip(bad), None, "{bad}");
        }
        assert_eq!(ipv4("::1"), None);
        assert_eq!(ipv6("10.0.0.1"), None);
    }

    // proves: T-33
    #[test]
    fn a_netmask_with_holes_is_none() {
        assert_eq!(mask_bits(Ipv4Addr::new(255, 255, 0, 0)), Some(16));
        assert_eq!(mask_bits(Ipv4Addr::new(0, 0, 0, 0)), Some(0));
        assert_eq!(mask_bits(Ipv4Addr::new(255, 0, 255, 0)), None);
        assert_eq!(mask_bits(Ipv4Addr::new(255, 255, 255, 1)), None);
    }

    #[test]
    fn a_whole_family_is_routable_but_nothing_inside_loopback_is() {
        let net = |text: &str| prefix(text).unwrap();
        assert_eq!(unroutable(&net("0.0.0.0/0")), None);
        assert_eq!(unroutable(&net("::/0")), None);
        assert_eq!(unroutable(&net("10.0.0.0/8")), None);
        for bad in
            ["127.0.0.1/32", "224.0.0.0/24", "169.254.1.1/32", "::1/128", "fe80::/64", "ff02::1/128", "0.0.0.0/8"]
        {
            assert!(unroutable(&net(bad)).is_some(), "{bad}");
        }
    }

    #[test]
    fn domains_are_letters_digits_dots_underscores_and_hyphens() {
        assert_eq!(domain("corp.example."), Some(String::from("corp.example")));
        assert_eq!(domain("_srv.a-b"), Some(String::from("_srv.a-b")));
        for bad in ["", ".", "a..b", "x;id", "a b", "$(id)", "é"] {
            assert_eq!(domain(bad), None, "{bad}");
        }
        let label = |len: usize| domain(&"a".repeat(len)).is_some();
        assert!(label(62) && label(63) && !label(64));
        let long =
            |len: usize| domain(&format!("{}a", "a.".repeat(126)).chars().take(len).collect::<String>()).is_some();
        assert!(long(253) && long(251));
        assert!(domain(&format!("{}a", "a.".repeat(127))).is_none());
    }

    proptest! {
        // proves: T-33
        #[test]
        fn an_address_printed_and_parsed_again_is_the_same(v4: u32, v6: u128, bits in 0_u8..=32) {
            let four = Ipv4Addr::from_bits(v4);
            prop_assert_eq!(ipv4(&four.to_string()), Some(four));
            let six = Ipv6Addr::from_bits(v6);
            if six.to_ipv4_mapped().is_none() {
                prop_assert_eq!(ipv6(&six.to_string()), Some(six));
                prop_assert_eq!(ipv6_prefix(&format!("{six}/{bits}")), Some((six, bits)));
            }
            let (net, _) = network4(four, bits).unwrap();
            prop_assert_eq!(prefix(&net.to_string()), Some(net));
            let IpAddr::V4(mask) = net.netmask() else { return Err(TestCaseError::fail("an IPv4 network")) };
            prop_assert_eq!(mask_bits(mask), Some(bits));
        }
    }
}
