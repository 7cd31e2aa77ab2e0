//! Who is the default (design.md section 4, step 4): the first of the file that is told to be, or whose server offers. An offer
//! waits while an earlier tunnel may still make one; once taken, it stays until the user lets it go or reloads. Both families
//! have the same default here, since an offer of IPv4 is one of IPv6 too and no server here offers IPv6 alone.

use super::{Place, TunnelModel};

/// The default over the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DefaultModel {
    taken: Option<Place>,
    /// There is an offer, and an earlier tunnel may still make one.
    undecided: bool,
}

impl DefaultModel {
    /// Whether what nobody claims is held by the interface.
    pub(super) const fn captures(&self) -> bool {
        self.taken.is_some() || self.undecided
    }

    /// The default, where it is decided.
    pub(super) const fn tunnel(&self) -> Option<Place> {
        self.taken
    }

    /// `waited`: nobody is waited for any more.
    pub(super) fn decide(&mut self, tunnels: &[TunnelModel], waited: bool) {
        let first = tunnels.iter().position(TunnelModel::offers);
        let open = |before: usize| tunnels.iter().take(before).any(|tunnel| !tunnel.is_known());
        self.undecided = self.taken.is_none() && first.is_some_and(|first| !waited && open(first));
        if self.taken.is_none() && !self.undecided {
            self.taken = first.map(|first| tunnels[first].place);
        }
    }

    /// The user lets a tunnel go.
    pub(crate) fn let_go(&mut self, place: Place, tunnels: &[TunnelModel]) {
        if self.taken == Some(place) {
            self.taken = first_offer(tunnels);
        }
    }

    /// The user reloads.
    pub(crate) fn reloaded(&mut self, tunnels: &[TunnelModel]) {
        if self.taken.is_some() {
            self.taken = first_offer(tunnels);
        }
    }
}

fn first_offer(tunnels: &[TunnelModel]) -> Option<Place> {
    tunnels.iter().find(|tunnel| tunnel.offers()).map(|tunnel| tunnel.place)
}

impl TunnelModel {
    fn offers(&self) -> bool {
        !self.stopped && (self.default || self.pushed.as_ref().is_some_and(|pushed| pushed.offers))
    }

    /// Whether no offer can come of it that is not there.
    fn is_known(&self) -> bool {
        self.stopped || self.settled || self.pushed.as_ref().is_some_and(|pushed| !pushed.offers)
    }
}
