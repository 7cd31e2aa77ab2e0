//! Which claim holds an address: longest prefix first, whatever the state of its tunnel. It is built once a policy and
//! only read after that. Of equal prefixes the first one given counts: the order of the file, which is not that of the
//! tunnels' numbers. Rules and defaults are not here; their order is `pick.rs`'s.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{Claim, TunnelId};

/// All claims, by family and length of prefix.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClaimIndex {
    v4: Vec<Length>,
    v6: Vec<Length>,
}

/// Claims of one length of prefix.
#[derive(Clone, Debug)]
struct Length {
    bits: u8,
    /// By network, each once: that of the claim that was given first.
    nets: Vec<(u128, IpNet, TunnelId)>,
}

impl ClaimIndex {
    /// Sorts `claims`, which are in the order of the file. Of equal prefixes the first one stays.
    pub(crate) fn new(claims: &[Claim]) -> Self {
        let of_family = |v4: bool| lengths(claims.iter().filter(|claim| claim.prefix.addr().is_ipv4() == v4));
        Self { v4: of_family(true), v6: of_family(false) }
    }

    /// The longest claim that holds `address`. One search by halves for each length of prefix in use: at 16,384 claims
    /// about 14 comparisons for each of at most 33 (IPv6: 129) lengths, once a flow.
    pub(crate) fn longest(&self, address: IpAddr) -> Option<(IpNet, TunnelId)> {
        let (lengths, bits, width) = match address {
            IpAddr::V4(v4) => (&self.v4, u128::from(u32::from(v4)), 32),
            IpAddr::V6(v6) => (&self.v6, u128::from(v6), 128),
        };
        lengths.iter().find_map(|length| {
            let net = masked(bits, length.bits, width);
            let at = length.nets.binary_search_by_key(&net, |entry| entry.0).ok()?;
            length.nets.get(at).map(|&(_, prefix, tunnel)| (prefix, tunnel))
        })
    }
}

/// Claims of one family, longest prefixes first.
fn lengths<'a>(claims: impl Iterator<Item = &'a Claim>) -> Vec<Length> {
    let mut all: Vec<_> = claims.map(|claim| (claim.prefix.trunc(), claim.tunnel)).collect();
    // The sort is stable, so that of equal prefixes the first one given is the first one here.
    all.sort_by_key(|&(net, _)| (u8::MAX - net.prefix_len(), net.network()));
    all.dedup_by_key(|entry| entry.0);
    all.chunk_by(|a, b| a.0.prefix_len() == b.0.prefix_len())
        .filter_map(|same| {
            let bits = same.first()?.0.prefix_len();
            Some(Length {
                bits,
                nets: same.iter().map(|&(net, tunnel)| (number(net.network()), net, tunnel)).collect(),
            })
        })
        .collect()
}

/// An address as a number.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The first `length` of `width` bits.
fn masked(bits: u128, length: u8, width: u32) -> u128 {
    let rest = width - u32::from(length);
    bits.checked_shr(rest).and_then(|top| top.checked_shl(rest)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ClaimOrigin;

    fn claim(tunnel: u16, prefix: &str) -> Claim {
        Claim { tunnel: TunnelId::new(tunnel), prefix: prefix.parse().unwrap(), origin: ClaimOrigin::Pushed }
    }

    #[test]
    fn the_longest_prefix_wins_and_of_equal_ones_the_first_given() {
        let index = ClaimIndex::new(&[
            claim(0, "0.0.0.0/0"),
            claim(2, "10.0.0.0/8"),
            claim(1, "10.1.2.3/8"),
            claim(3, "10.1.0.0/16"),
            claim(4, "::/0"),
            claim(5, "2001:db8::1/128"),
        ]);
        let whose = |address: &str| index.longest(address.parse().unwrap()).map(|found| found.1.number());
        assert_eq!(whose("10.1.255.255"), Some(3));
        assert_eq!(whose("10.2.0.0"), Some(2), "by the order of the file, not of the numbers");
        assert_eq!(whose("192.0.2.1"), Some(0));
        assert_eq!(whose("2001:db8::1"), Some(5));
        assert_eq!(whose("2001:db8::2"), Some(4));
    }

    #[test]
    fn without_claims_nothing_is_claimed() {
        assert_eq!(ClaimIndex::new(&[]).longest("10.0.0.1".parse().unwrap()), None);
    }

    fn any_claim() -> impl Strategy<Value = Claim> {
        // Few addresses and all lengths, so that prefixes overlap often.
        (0_u16..6, any::<bool>(), prop::sample::select(vec![0_u8, 1, 128, 255]), any::<u8>(), 0_u8..=32).prop_map(
            |(tunnel, v4, first, second, bits)| {
                let prefix = if v4 {
                    IpNet::new(IpAddr::from([first, second % 4, 0, second % 3]), bits).unwrap()
                } else {
                    IpNet::new(IpAddr::from([u16::from(first) << 8, 0, 0, 0, 0, 0, 0, u16::from(second)]), bits * 4)
                        .unwrap()
                };
                Claim { tunnel: TunnelId::new(tunnel), prefix, origin: ClaimOrigin::Pushed }
            },
        )
    }

    proptest! {
        #[test]
        fn overlapping_claims_are_found_as_a_plain_search_finds_them(
            claims in prop::collection::vec(any_claim(), 0..60), probes in prop::collection::vec(any_claim(), 1..20),
        ) {
            let index = ClaimIndex::new(&claims);
            for address in probes.iter().map(|probe| probe.prefix.addr()) {
                let naive = claims
                    .iter()
                    .filter(|claim| claim.prefix.contains(&address))
                    .min_by_key(|claim| u8::MAX - claim.prefix.prefix_len())
                    .map(|claim| (claim.prefix.trunc(), claim.tunnel));
                prop_assert_eq!(index.longest(address), naive);
            }
        }
    }
}
