//! Addresses of our own: where the anchor, the engine's own address, the bind addresses and the virtual addresses lie.
//! Chosen once, before anything is on the host; who gets which is the address book's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mrvpn_router::{OwnAddresses, TunnelId};
use thiserror::Error;

use crate::ranges::overlap;

/// Candidates in order: RFC 2544's test network, then two rarely used corners of the private ranges.
const CANDIDATES: [Ipv4Net; 3] = [
    Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15),
    Ipv4Net::new_assert(Ipv4Addr::new(10, 253, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 30, 0, 0), 16),
];

/// IPv6 addresses of our own: RFC 5180's test network. A unique local address as only source would make programs
/// prefer IPv4.
const POOL_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48);

/// Where bind addresses begin, from the pool's base.
const FIRST_BIND: u32 = 0x0101;

/// The address pools of one engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pools {
    base: Ipv4Net,
    skipped: Vec<Ipv4Net>,
}

/// No pool can be had.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PoolsError {
    /// Every candidate touches a network of this host.
    #[error(
        "no address pool is free: 198.18.0.0/15, 10.253.0.0/16 and 172.30.0.0/16 all touch networks of this host; set `alias_pool` to a /16 that is not in use"
    )]
    NoneFree,
    /// The user's own choice touches something.
    #[error("alias_pool {pool} touches {taken}, a network of this host; choose one that is not in use")]
    Taken {
        /// The pool asked for.
        pool: Ipv4Net,
        /// What it touches.
        taken: IpNet,
    },
    /// Not the first address of a /16.
    #[error("alias_pool {base} is not the first address of a /16, as 10.253.0.0 is")]
    NotAligned {
        /// The address asked for.
        base: Ipv4Addr,
    },
}

impl Pools {
    /// The first candidate that nothing in `taken` touches (on-link and routed networks, addresses, claims known
    /// already), or the user's `preferred` base and nothing else. An even /16 base that is 198.18.0.0 is taken as /15.
    ///
    /// # Errors
    /// Nothing is free, or the preferred base is taken or no /16.
    pub fn choose(preferred: Option<Ipv4Addr>, taken: &[IpNet]) -> Result<Self, PoolsError> {
        if let Some(base) = preferred {
            return Self::of_user(base, taken);
        }
        let mut skipped = Vec::new();
        for candidate in CANDIDATES {
            if touched(candidate, taken).is_none() {
                return Ok(Self { base: candidate, skipped });
            }
            skipped.push(candidate);
        }
        Err(PoolsError::NoneFree)
    }

    fn of_user(base: Ipv4Addr, taken: &[IpNet]) -> Result<Self, PoolsError> {
        let length = if base == CANDIDATES[0].addr() { 15 } else { 16 };
        let pool = Ipv4Net::new_assert(base, length);
        if pool.trunc() != pool || base.is_unspecified() {
            return Err(PoolsError::NotAligned { base });
        }
        match touched(pool, taken) {
            Some(taken) => Err(PoolsError::Taken { pool, taken }),
            None => Ok(Self { base: pool, skipped: Vec::new() }),
        }
    }

    /// Candidates that were taken and passed over.
    #[must_use]
    pub fn skipped(&self) -> &[Ipv4Net] {
        &self.skipped
    }

    /// Everything of ours, a network a family: what is routed into the interface whatever else holds.
    #[must_use]
    pub fn networks(&self) -> [IpNet; 2] {
        [IpNet::V4(self.base), IpNet::V6(POOL_V6)]
    }

    /// The IPv4 anchor.
    #[must_use]
    pub fn anchor_v4(&self) -> Ipv4Addr {
        self.at(0x0001)
    }

    /// Where the resolver answers.
    #[must_use]
    pub fn resolver_v4(&self) -> Ipv4Addr {
        self.at(0x0035)
    }

    /// The engine's own IPv4 address, never on the interface.
    #[must_use]
    pub fn engine_v4(&self) -> Ipv4Addr {
        self.at(0x00fe)
    }

    /// The IPv6 anchor.
    #[must_use]
    pub fn anchor_v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, 1)
    }

    /// The engine's own IPv6 address, never on the interface.
    #[must_use]
    pub fn engine_v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, 0xfe)
    }

    /// The bind address of a tunnel: `198.18.1.1` for the first of the file. Distinct for every place below
    /// [`crate::limits::MAX_TUNNELS`].
    #[must_use]
    pub fn bind_v4(&self, tunnel: TunnelId) -> Ipv4Addr {
        self.at(FIRST_BIND + u32::from(tunnel.number()))
    }

    /// The IPv6 bind address of a tunnel: `2001:2:0:1::1:1` for the first of the file.
    #[must_use]
    pub fn bind_v6(&self, tunnel: TunnelId) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 1, tunnel.number().saturating_add(1))
    }

    /// Where virtual addresses lie: the second half of the pool.
    #[must_use]
    pub fn virtual_v4(&self) -> Ipv4Net {
        let half = self.base.prefix_len() + 1;
        let offset = 1u32 << (32 - half);
        Ipv4Net::new_assert(self.at(offset), half)
    }

    /// The addresses that are ours and no tunnel's.
    #[must_use]
    pub fn own(&self) -> OwnAddresses {
        OwnAddresses {
            anchor_v4: self.anchor_v4(),
            anchor_v6: self.anchor_v6(),
            engine_v4: self.engine_v4(),
            engine_v6: self.engine_v6(),
        }
    }

    /// Whether `address` is one of ours.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.networks().iter().any(|net| net.contains(&address))
    }

    fn at(&self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base.addr()) | offset)
    }
}

fn touched(pool: Ipv4Net, taken: &[IpNet]) -> Option<IpNet> {
    taken.iter().find(|net| net.prefix_len() > 0 && overlap(&IpNet::V4(pool), net)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_TUNNELS;

    #[test]
    fn the_first_tunnel_has_the_address_that_the_documents_name() {
        let pools = Pools::choose(None, &[]).unwrap();
        assert_eq!(pools.anchor_v4(), Ipv4Addr::new(198, 18, 0, 1));
        assert_eq!(pools.resolver_v4(), Ipv4Addr::new(198, 18, 0, 53));
        assert_eq!(pools.engine_v4(), Ipv4Addr::new(198, 18, 0, 254));
        assert_eq!(pools.bind_v4(TunnelId::new(0)), Ipv4Addr::new(198, 18, 1, 1));
        assert_eq!(pools.bind_v4(TunnelId::new(299)), Ipv4Addr::new(198, 18, 2, 44));
        assert_eq!(pools.virtual_v4(), "198.19.0.0/16".parse().unwrap());
    }

    #[test]
    fn a_taken_pool_is_passed_over_and_said() {
        let taken = ["198.19.7.0/24".parse().unwrap(), "10.253.4.4/32".parse().unwrap()];
        let pools = Pools::choose(None, &taken).unwrap();
        assert_eq!(pools.anchor_v4(), Ipv4Addr::new(172, 30, 0, 1));
        assert_eq!(pools.skipped(), &CANDIDATES[..2]);
        assert_eq!(pools.virtual_v4(), "172.30.128.0/17".parse().unwrap());
    }

    #[test]
    fn no_free_pool_is_an_error_with_the_way_out() {
        let taken = ["198.18.0.0/16", "10.0.0.0/8", "172.16.0.0/12"].map(|net| net.parse().unwrap());
        let error = Pools::choose(None, &taken).unwrap_err();
        assert!(error.to_string().contains("alias_pool"));
    }

    #[test]
    fn a_default_route_takes_no_pool() {
        let pools = Pools::choose(None, &["0.0.0.0/0".parse().unwrap()]).unwrap();
        assert!(pools.skipped().is_empty());
    }

    #[test]
    fn the_user_may_choose_a_base_but_not_a_taken_or_crooked_one() {
        let base = Ipv4Addr::new(10, 7, 0, 0);
        assert_eq!(Pools::choose(Some(base), &[]).unwrap().anchor_v4(), Ipv4Addr::new(10, 7, 0, 1));
        let taken = ["10.7.3.0/24".parse().unwrap()];
        assert!(matches!(Pools::choose(Some(base), &taken), Err(PoolsError::Taken { .. })));
        let crooked = Ipv4Addr::new(10, 7, 1, 0);
        assert_eq!(Pools::choose(Some(crooked), &[]), Err(PoolsError::NotAligned { base: crooked }));
    }

    #[test]
    fn bind_addresses_stay_clear_of_the_virtual_ones_in_every_pool() {
        for base in CANDIDATES {
            let pools = Pools { base, skipped: Vec::new() };
            let last = pools.bind_v4(TunnelId::new(MAX_TUNNELS - 1));
            assert!(base.contains(&last) && !pools.virtual_v4().contains(&last), "{last}");
        }
    }
}
