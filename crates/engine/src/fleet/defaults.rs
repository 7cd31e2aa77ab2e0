//! Which tunnel is the default: the first in the order of the file that is told to be or whose profile or server offers
//! (design.md section 4, step 4). It does not depend on who is up. A later offer waits until every earlier tunnel that
//! may still offer has connected or failed once; once taken, the default stays for the run.

use mrvpn_router::{DefaultChoice, TunnelId};

/// What one tunnel says about being the default, in one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stance {
    /// It is told to be, or offers.
    pub(super) offers: bool,
    /// It has connected or failed once in this run, or can never offer.
    pub(super) settled: bool,
}

/// The default of one family over the run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DefaultTunnel {
    taken: Option<TunnelId>,
}

impl DefaultTunnel {
    /// Decides again; `stances` in the order of the file, `waited` once the limit for waiting has passed.
    pub(super) fn decide(&mut self, stances: &[Stance], waited: bool) -> DefaultChoice {
        if let Some(taken) = self.taken {
            return DefaultChoice::Tunnel(taken);
        }
        let Some(first) = stances.iter().position(|stance| stance.offers) else { return DefaultChoice::NotOffered };
        if !waited && stances.iter().take(first).any(|stance| !stance.settled) {
            return DefaultChoice::Undecided;
        }
        let Ok(place) = u16::try_from(first) else { return DefaultChoice::NotOffered };
        self.taken = Some(TunnelId::new(place));
        DefaultChoice::Tunnel(TunnelId::new(place))
    }

    /// Earlier tunnels whose offer came after the default was taken: they wait for a restart.
    pub(super) fn waiting(&self, stances: &[Stance]) -> Vec<TunnelId> {
        let Some(taken) = self.taken else { return Vec::new() };
        let earlier = stances.iter().take(taken.index()).enumerate();
        earlier.filter(|(_, s)| s.offers).filter_map(|(i, _)| u16::try_from(i).ok().map(TunnelId::new)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stance(offers: bool, settled: bool) -> Stance {
        Stance { offers, settled }
    }

    #[test]
    fn a_later_offer_waits_for_the_earlier_tunnels() {
        let mut default = DefaultTunnel::default();
        assert_eq!(default.decide(&[stance(false, false), stance(true, true)], false), DefaultChoice::Undecided);
        let second = DefaultChoice::Tunnel(TunnelId::new(1));
        assert_eq!(default.decide(&[stance(false, true), stance(true, true)], false), second);
        let late = [stance(true, true), stance(true, true)];
        assert_eq!(default.decide(&late, false), second, "an earlier offer that comes later does not take over");
        assert_eq!(default.waiting(&late), [TunnelId::new(0)]);
    }

    #[test]
    fn waiting_has_an_end() {
        let mut default = DefaultTunnel::default();
        let stances = [stance(false, false), stance(true, true)];
        assert_eq!(default.decide(&stances, true), DefaultChoice::Tunnel(TunnelId::new(1)));
    }

    #[test]
    fn without_an_offer_there_is_no_default() {
        let mut default = DefaultTunnel::default();
        assert_eq!(default.decide(&[stance(false, false)], true), DefaultChoice::NotOffered);
    }
}
