//! Addresses of our own: where the anchor, the engine's own address, the bind addresses and the virtual addresses lie.
//! Engines of one network namespace share a pool, each has its eighth of both halves. Chosen before anything is on the
//! host; who gets which address is the address book's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mrvpn_router::OwnAddresses;
use thiserror::Error;

use crate::ranges::overlap;
use crate::scope::SLOTS;

/// Candidates in order: RFC 2544's test network, then two rarely used corners of the private ranges.
const CANDIDATES: [Ipv4Net; 3] = [
    Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15),
    Ipv4Net::new_assert(Ipv4Addr::new(10, 253, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 30, 0, 0), 16),
];

/// IPv6 addresses of our own: RFC 5180's test network. A unique local address as only source would make programs
/// prefer IPv4.
const POOL_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48);

/// 3 bits: the eighths of [`SLOTS`] engines.
const SLOT_BITS: u8 = 3;

/// An engine's part of the IPv6 pool: a /60 has 16 networks, of which the second holds single addresses.
const PART_V6: u8 = 60;

/// Where bind addresses begin in an engine's part.
const FIRST_BIND: u32 = 0x0101;

/// The address pools of one engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pools {
    base: Ipv4Net,
    slot: u8,
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
    /// The pools of the engine of `slot` (below [`SLOTS`]; a larger one is taken as the last).
    ///
    /// The user's `preferred` base is taken or refused, whatever is claimed. Else the candidates are gone through, the
    /// one with the base `last` first: the first that neither `local` (on-link and routed networks, addresses) nor a
    /// known claim touches; where claims touch all of them, the first that nothing local touches. What lies in such a
    /// claim is then shown as a conflict ([`crate::Resolution::PoolKept`]). A base of 198.18.0.0 means a /15, any other
    /// a /16. Routes for everything touch nothing.
    ///
    /// # Errors
    /// The host's own networks touch every candidate, or the preferred base, or that is no /16.
    pub fn choose(
        preferred: Option<Ipv4Addr>,
        slot: u8,
        local: &[IpNet],
        claims: &[IpNet],
        last: Option<Ipv4Addr>,
    ) -> Result<Self, PoolsError> {
        let slot = slot.min(SLOTS - 1);
        if let Some(base) = preferred {
            return Ok(Self { base: of_user(base, local)?, slot, skipped: Vec::new() });
        }
        let mut order = CANDIDATES;
        order.sort_by_key(|candidate| Some(candidate.addr()) != last);
        let left_by_host = order.into_iter().filter(|candidate| touched(*candidate, local).is_none());
        let mut unclaimed = left_by_host.clone().filter(|candidate| touched(*candidate, claims).is_none());
        let base = unclaimed.next().or_else(|| left_by_host.clone().next()).ok_or(PoolsError::NoneFree)?;
        let is_taken = |pool: Ipv4Net| touched(pool, local).is_some() || touched(pool, claims).is_some();
        let before = CANDIDATES.into_iter().take_while(|candidate| *candidate != base);
        Ok(Self { base, slot, skipped: before.filter(|candidate| is_taken(*candidate)).collect() })
    }

    /// Candidates before the chosen one that are in use by others now.
    #[must_use]
    pub fn skipped(&self) -> &[Ipv4Net] {
        &self.skipped
    }

    /// The IPv4 pool that all engines of a network namespace share; its first address is what
    /// [`Pools::choose`] takes as `last`.
    #[must_use]
    pub const fn base(&self) -> Ipv4Net {
        self.base
    }

    /// Whose part it is.
    #[must_use]
    pub const fn slot(&self) -> u8 {
        self.slot
    }

    /// This engine's own parts, and no other's: what is routed into the interface whatever else holds. Single addresses,
    /// virtual addresses, IPv6.
    #[must_use]
    pub fn networks(&self) -> [IpNet; 3] {
        self.networks_of(self.slot)
    }

    /// Where this engine's single addresses lie, a network a family: anchor and bind addresses, and its own.
    #[must_use]
    pub fn of_single(&self) -> [IpNet; 2] {
        [IpNet::V4(self.single_v4()), IpNet::V6(self.single_v6())]
    }

    /// The same of another engine that shares the pool.
    #[must_use]
    pub fn networks_of(&self, slot: u8) -> [IpNet; 3] {
        let of = Self { slot: slot.min(SLOTS - 1), skipped: Vec::new(), ..*self };
        [IpNet::V4(of.single_v4()), IpNet::V4(of.virtual_v4()), IpNet::V6(of.part_v6())]
    }

    /// Everything that engines of this network namespace may use, a network a family.
    #[must_use]
    pub const fn shared(&self) -> [IpNet; 2] {
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
        self.at_v6(0x0001)
    }

    /// The engine's own IPv6 address, never on the interface.
    #[must_use]
    pub fn engine_v6(&self) -> Ipv6Addr {
        self.at_v6(0x00fe)
    }

    /// The bind address of this number: `198.18.1.1` is number 0 of slot 0. Distinct, and in this engine's part, for each
    /// number below [`crate::limits::MAX_TUNNELS`].
    #[must_use]
    pub fn bind_v4(&self, number: u16) -> Ipv4Addr {
        self.at(FIRST_BIND + u32::from(number))
    }

    /// The same for IPv6: `2001:2:0:1::1:1` is number 0 of slot 0.
    #[must_use]
    pub fn bind_v6(&self, number: u16) -> Ipv6Addr {
        self.at_v6(0x1_0000 + u128::from(number.saturating_add(1)))
    }

    /// Where virtual addresses lie: an eighth of the pool's second half.
    #[must_use]
    pub fn virtual_v4(&self) -> Ipv4Net {
        let second_half = 1u32 << (31 - self.base.prefix_len());
        Ipv4Net::new_assert(self.at(second_half), self.part_length())
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

    /// Whether `address` is one of this engine's parts.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.networks().iter().any(|net| net.contains(&address))
    }

    fn single_v4(&self) -> Ipv4Net {
        Ipv4Net::new_assert(self.at(0), self.part_length())
    }

    fn single_v6(&self) -> Ipv6Net {
        Ipv6Net::new_assert(self.network_v6(1), 64)
    }

    fn part_v6(&self) -> Ipv6Net {
        Ipv6Net::new_assert(self.network_v6(0), PART_V6)
    }

    /// An eighth of a half.
    const fn part_length(&self) -> u8 {
        self.base.prefix_len() + 1 + SLOT_BITS
    }

    fn at(&self, offset: u32) -> Ipv4Addr {
        let part = u32::from(self.slot) << (32 - self.part_length());
        Ipv4Addr::from(u32::from(self.base.addr()) | part | offset)
    }

    fn at_v6(&self, offset: u128) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.network_v6(1)) | offset)
    }

    /// A /64 of this engine's part.
    fn network_v6(&self, number: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 2, 0, u16::from(self.slot) * 16 + number, 0, 0, 0, 0)
    }
}

fn of_user(base: Ipv4Addr, local: &[IpNet]) -> Result<Ipv4Net, PoolsError> {
    let length = if base == CANDIDATES[0].addr() { 15 } else { 16 };
    let pool = Ipv4Net::new_assert(base, length);
    if pool.trunc() != pool || base.is_unspecified() {
        return Err(PoolsError::NotAligned { base });
    }
    match touched(pool, local) {
        Some(taken) => Err(PoolsError::Taken { pool, taken }),
        None => Ok(pool),
    }
}

fn touched(pool: Ipv4Net, taken: &[IpNet]) -> Option<IpNet> {
    taken.iter().find(|net| net.prefix_len() > 0 && overlap(&IpNet::V4(pool), net)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_TUNNELS;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn chosen(local: &[&str], claims: &[&str], last: Option<&str>) -> Pools {
        let last = last.map(|last| last.parse().unwrap());
        Pools::choose(None, 0, &nets(local), &nets(claims), last).unwrap()
    }

    fn at_slot(base: Ipv4Net, slot: u8) -> Pools {
        Pools { base, slot, skipped: Vec::new() }
    }

    #[test]
    fn the_first_engine_has_the_addresses_that_the_documents_name() {
        let pools = chosen(&[], &[], None);
        assert_eq!(pools.anchor_v4(), Ipv4Addr::new(198, 18, 0, 1));
        assert_eq!(pools.resolver_v4(), Ipv4Addr::new(198, 18, 0, 53));
        assert_eq!(pools.engine_v4(), Ipv4Addr::new(198, 18, 0, 254));
        assert_eq!(pools.bind_v4(0), Ipv4Addr::new(198, 18, 1, 1));
        assert_eq!(pools.bind_v4(299), Ipv4Addr::new(198, 18, 2, 44));
        assert_eq!(pools.virtual_v4(), "198.19.0.0/19".parse().unwrap());
        assert_eq!(pools.anchor_v6(), "2001:2:0:1::1".parse::<Ipv6Addr>().unwrap());
        assert_eq!(pools.engine_v6(), "2001:2:0:1::fe".parse::<Ipv6Addr>().unwrap());
        assert_eq!(pools.bind_v6(0), "2001:2:0:1::1:1".parse::<Ipv6Addr>().unwrap());
        assert_eq!(pools.networks().to_vec(), nets(&["198.18.0.0/19", "198.19.0.0/19", "2001:2::/60"]));
    }

    #[test]
    fn eight_engines_share_each_pool_and_no_address_is_of_two() {
        for base in CANDIDATES {
            let parts: Vec<[IpNet; 3]> = (0..SLOTS).map(|slot| at_slot(base, slot).networks()).collect();
            for (place, part) in parts.iter().enumerate() {
                let others = parts.iter().enumerate().filter(|(other, _)| *other != place);
                let mut of_others = others.flat_map(|(_, nets)| nets);
                assert!(of_others.all(|other| part.iter().all(|net| !overlap(net, other))), "{part:?}");
                assert!(!overlap(&part[0], &part[1]));
                let shared = at_slot(base, 0).shared();
                assert!(part.iter().all(|net| shared.iter().any(|pool| pool.contains(net))));
            }
        }
        let third = at_slot(CANDIDATES[0], 2);
        assert_eq!(third.anchor_v4(), Ipv4Addr::new(198, 18, 64, 1));
        assert_eq!(third.anchor_v6(), "2001:2:0:21::1".parse::<Ipv6Addr>().unwrap());
        assert_eq!(third.networks_of(0), at_slot(CANDIDATES[0], 0).networks());
    }

    // limits: the smaller kind of pool, on both sides of it.
    #[test]
    fn every_bind_address_lies_in_the_engines_own_part_of_every_pool() {
        for base in CANDIDATES {
            for slot in 0..SLOTS {
                let pools = at_slot(base, slot);
                let last = pools.bind_v4(MAX_TUNNELS - 1);
                assert!(pools.single_v4().contains(&last) && last != pools.single_v4().broadcast(), "{last}");
                assert!(pools.part_v6().contains(&pools.bind_v6(MAX_TUNNELS - 1)));
                for own in [pools.anchor_v4(), pools.resolver_v4(), pools.engine_v4()] {
                    assert!(pools.contains(own.into()) && own < pools.bind_v4(0));
                }
            }
        }
    }

    #[test]
    fn a_pool_that_the_host_has_is_passed_over_and_said() {
        let pools = chosen(&["198.19.7.0/24", "10.253.4.4/32"], &[], None);
        assert_eq!(pools.anchor_v4(), Ipv4Addr::new(172, 30, 0, 1));
        assert_eq!(pools.skipped(), &CANDIDATES[..2]);
        assert_eq!(pools.virtual_v4(), "172.30.128.0/20".parse().unwrap());
    }

    #[test]
    fn a_claimed_pool_is_passed_over_unless_all_are_claimed() {
        assert_eq!(chosen(&[], &["198.18.0.0/24"], None).base(), CANDIDATES[1]);
        assert_eq!(chosen(&[], &["198.18.0.0/24"], None).skipped(), &CANDIDATES[..1]);
        assert_eq!(chosen(&[], &["198.0.0.0/8", "10.0.0.0/8", "172.0.0.0/8"], None).base(), CANDIDATES[0]);
        let local_too = chosen(&["198.18.0.0/15"], &["10.0.0.0/8", "172.0.0.0/8"], None);
        assert_eq!(local_too.base(), CANDIDATES[1], "the host comes before a claim");
        assert_eq!(local_too.skipped(), &CANDIDATES[..1]);
    }

    #[test]
    fn the_pool_of_last_time_is_taken_again_while_it_is_free() {
        assert_eq!(chosen(&[], &[], Some("10.253.0.0")).base(), CANDIDATES[1]);
        assert!(chosen(&[], &[], Some("10.253.0.0")).skipped().is_empty(), "nobody else has the first");
        assert_eq!(chosen(&["10.253.1.0/24"], &[], Some("10.253.0.0")).base(), CANDIDATES[0]);
        assert_eq!(chosen(&[], &["10.253.1.0/24"], Some("10.253.0.0")).base(), CANDIDATES[0]);
        assert_eq!(chosen(&[], &[], Some("10.7.0.0")).base(), CANDIDATES[0], "no candidate any more");
    }

    #[test]
    fn no_free_pool_is_an_error_with_the_way_out() {
        let taken = nets(&["198.18.0.0/16", "10.0.0.0/8", "172.16.0.0/12"]);
        let error = Pools::choose(None, 0, &taken, &[], None).unwrap_err();
        assert!(error.to_string().contains("alias_pool"));
    }

    #[test]
    fn a_route_for_everything_takes_no_pool() {
        assert!(chosen(&["0.0.0.0/0"], &["0.0.0.0/0"], None).skipped().is_empty());
    }

    #[test]
    fn the_user_may_choose_a_base_but_not_a_taken_or_crooked_one() {
        let base = Ipv4Addr::new(10, 7, 0, 0);
        let taken = nets(&["10.7.3.0/24"]);
        let of_user = |base, local: &[IpNet], claims: &[IpNet]| Pools::choose(Some(base), 0, local, claims, None);
        assert_eq!(of_user(base, &[], &[]).unwrap().anchor_v4(), Ipv4Addr::new(10, 7, 0, 1));
        assert!(of_user(base, &[], &taken).is_ok(), "what servers claim does not move the user's choice");
        assert!(matches!(of_user(base, &taken, &[]), Err(PoolsError::Taken { .. })));
        let crooked = Ipv4Addr::new(10, 7, 1, 0);
        assert_eq!(of_user(crooked, &[], &[]), Err(PoolsError::NotAligned { base: crooked }));
    }
}
