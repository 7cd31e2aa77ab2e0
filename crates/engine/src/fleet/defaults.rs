//! Which tunnel is the default: the first in the order of the file that is told to be or whose profile or server offers
//! (design.md section 4, step 4). It does not depend on who is up. A later offer waits until every earlier tunnel that
//! may still offer has connected or failed once; once taken, the default stays, until the user stops or removes its tunnel
//! or reloads.

use mrvpn_router::{DefaultChoice, TunnelId};

/// What one tunnel says about being the default, in one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stance {
    /// It is told to be, or offers.
    pub(super) offers: bool,
    /// It has connected or failed once in this run, or its offer is known not to come.
    pub(super) settled: bool,
}

/// The default of one family over the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DefaultTunnel {
    taken: Option<TunnelId>,
}

impl DefaultTunnel {
    /// Decides again; `stances` in the order of the file, `waited` once the limit for waiting has passed.
    pub(super) fn decide(&mut self, stances: &[(TunnelId, Stance)], waited: bool) -> DefaultChoice {
        if let Some(taken) = self.taken {
            return DefaultChoice::Tunnel(taken);
        }
        let Some(first) = first_offer(stances) else { return DefaultChoice::NotOffered };
        let earlier = stances.iter().take_while(|(id, _)| *id != first);
        if !waited && earlier.into_iter().any(|(_, stance)| !stance.settled) {
            return DefaultChoice::Undecided;
        }
        self.taken = Some(first);
        DefaultChoice::Tunnel(first)
    }

    /// The user lets a tunnel go. If it was the default, the first that offers is at once: what went through a tunnel does
    /// not begin to wait by it.
    pub(super) fn release(&mut self, tunnel: TunnelId, stances: &[(TunnelId, Stance)]) {
        if self.taken == Some(tunnel) {
            self.taken = first_offer(stances);
        }
    }

    /// The user reloads: the first that offers takes over. One that may offer is not waited for where there is a default.
    pub(super) fn retake(&mut self, stances: &[(TunnelId, Stance)]) {
        if self.taken.is_some() {
            self.taken = first_offer(stances);
        }
    }

    /// Earlier tunnels whose offer came after the default was taken: they wait for a reload.
    pub(super) fn waiting(&self, stances: &[(TunnelId, Stance)]) -> Vec<TunnelId> {
        let Some(taken) = self.taken else { return Vec::new() };
        let earlier = stances.iter().take_while(|(id, _)| *id != taken);
        earlier.filter(|(_, stance)| stance.offers).map(|(id, _)| *id).collect()
    }
}

fn first_offer(stances: &[(TunnelId, Stance)]) -> Option<TunnelId> {
    stances.iter().find(|(_, stance)| stance.offers).map(|(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UK: TunnelId = TunnelId::new(7);
    const FR: TunnelId = TunnelId::new(1);

    fn stances(uk: (bool, bool), fr: (bool, bool)) -> [(TunnelId, Stance); 2] {
        [(UK, uk), (FR, fr)].map(|(id, (offers, settled))| (id, Stance { offers, settled }))
    }

    #[test]
    fn a_later_offer_waits_for_the_earlier_tunnels() {
        let mut default = DefaultTunnel::default();
        let early = stances((false, false), (true, true));
        assert_eq!(default.decide(&early, false), DefaultChoice::Undecided);
        let settled = stances((false, true), (true, true));
        assert_eq!(default.decide(&settled, false), DefaultChoice::Tunnel(FR));
        let late = stances((true, true), (true, true));
        assert_eq!(default.decide(&late, false), DefaultChoice::Tunnel(FR), "an earlier offer does not take over");
        assert_eq!(default.waiting(&late), [UK]);
        default.retake(&late);
        assert_eq!(default.decide(&late, false), DefaultChoice::Tunnel(UK), "but at a reload");
        assert_eq!(default.waiting(&late), []);
    }

    #[test]
    fn waiting_has_an_end() {
        let mut default = DefaultTunnel::default();
        assert_eq!(default.decide(&stances((false, false), (true, true)), true), DefaultChoice::Tunnel(FR));
    }

    #[test]
    fn without_an_offer_there_is_no_default() {
        let mut default = DefaultTunnel::default();
        assert_eq!(default.decide(&stances((false, false), (false, false)), true), DefaultChoice::NotOffered);
    }

    #[test]
    fn the_next_that_offers_follows_a_default_that_the_user_lets_go_and_nobody_where_none_does() {
        let mut default = DefaultTunnel::default();
        let both = stances((true, true), (true, false));
        assert_eq!(default.decide(&both, false), DefaultChoice::Tunnel(UK));
        default.release(FR, &both);
        assert_eq!(default.decide(&both, false), DefaultChoice::Tunnel(UK), "another than it was let go");
        let without = stances((false, true), (true, false));
        default.release(UK, &without);
        assert_eq!(default.decide(&without, false), DefaultChoice::Tunnel(FR));
        let none = stances((false, true), (false, false));
        default.release(FR, &none);
        assert_eq!(default.decide(&none, false), DefaultChoice::NotOffered);
    }
}
