//! How long tunnels have carried nothing: packets wait for a tunnel until a moment, and here it is known once that this
//! wait was in vain. What then ends is `ending.rs`'s; whether one packet waits is `admit.rs`'s.

use mrvpn_clock::Moment;

use crate::{TunnelId, TunnelState, TunnelView};

/// The waits of all tunnels.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    tunnels: Vec<Wait>,
    next: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// The tunnel carries packets.
    None,
    /// Its packets wait.
    Until(Moment),
    /// It carries nothing and nothing waits for it.
    Over,
}

impl Waits {
    /// Of tunnels in their first states, before there were packets.
    pub(crate) fn new(tunnels: &[TunnelView]) -> Self {
        let mut waits = Self { tunnels: tunnels.iter().map(|view| wait(view.state)).collect(), next: None };
        waits.look_ahead();
        waits
    }

    /// Follows the tunnels into other states. Returns whether a wait is over that was not before.
    pub(crate) fn follow(&mut self, tunnels: &[TunnelView], now: Moment) -> bool {
        let new = |place: usize, view: &TunnelView| {
            let before = self.tunnels.get(place).copied().unwrap_or(Wait::None);
            match (before, wait(view.state).at(now)) {
                (Wait::None | Wait::Until(_), Wait::Over) => (Wait::Over, true),
                (Wait::None | Wait::Until(_) | Wait::Over, now) => (now, false),
            }
        };
        let (waits, over): (Vec<_>, Vec<_>) = tunnels.iter().enumerate().map(|(place, view)| new(place, view)).unzip();
        self.tunnels = waits;
        self.look_ahead();
        over.contains(&true)
    }

    /// Passes time. Returns whether a wait is over that was not before.
    pub(crate) fn pass(&mut self, now: Moment) -> bool {
        if self.next.is_none_or(|next| next > now) {
            return false;
        }
        self.tunnels.iter_mut().for_each(|wait| *wait = wait.at(now));
        self.look_ahead();
        true
    }

    /// When the next wait is over.
    pub(crate) const fn deadline(&self) -> Option<Moment> {
        self.next
    }

    /// Whether `tunnel` carries nothing and nothing waits for it.
    pub(crate) fn is_over(&self, tunnel: TunnelId) -> bool {
        self.tunnels.get(tunnel.index()) == Some(&Wait::Over)
    }

    fn look_ahead(&mut self) {
        self.next = self.tunnels.iter().filter_map(|wait| wait.until()).min();
    }
}

impl Wait {
    fn at(self, now: Moment) -> Self {
        if self.until().is_some_and(|until| until <= now) { Self::Over } else { self }
    }

    const fn until(self) -> Option<Moment> {
        match self {
            Self::Until(until) => Some(until),
            Self::None | Self::Over => None,
        }
    }
}

const fn wait(state: TunnelState) -> Wait {
    match state {
        TunnelState::Up => Wait::None,
        TunnelState::Hold(until) => Wait::Until(until),
        TunnelState::Down => Wait::Over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TunnelId = TunnelId::new(0);
    const B: TunnelId = TunnelId::new(1);

    #[test]
    fn a_wait_is_over_once_at_its_moment() {
        let mut waits = Waits::new(&views(&[TunnelState::Up, TunnelState::Hold(at(5))]));
        assert_eq!((waits.deadline(), waits.is_over(B)), (Some(at(5)), false));
        assert!(!waits.pass(at(4)));
        assert!(waits.pass(at(5)));
        assert_eq!((waits.deadline(), waits.is_over(A), waits.is_over(B)), (None, false, true));
        assert!(!waits.pass(at(6)));
        assert!(!waits.follow(&views(&[TunnelState::Up, TunnelState::Hold(at(5))]), at(7)), "it is known");
    }

    #[test]
    fn a_tunnel_that_is_down_or_was_held_long_enough_is_known_at_once_and_forgotten_when_it_comes_up() {
        let mut waits = Waits::new(&views(&[TunnelState::Up, TunnelState::Up]));
        assert!(waits.follow(&views(&[TunnelState::Down, TunnelState::Hold(at(5))]), at(1)));
        assert!(!waits.follow(&views(&[TunnelState::Down, TunnelState::Hold(at(6))]), at(2)));
        assert_eq!((waits.deadline(), waits.is_over(A), waits.is_over(B)), (Some(at(6)), true, false));
        assert!(waits.follow(&views(&[TunnelState::Up, TunnelState::Hold(at(6))]), at(6)));
        assert_eq!((waits.deadline(), waits.is_over(A), waits.is_over(B)), (None, false, true));
        assert!(waits.follow(&views(&[TunnelState::Down, TunnelState::Up]), at(7)));
    }

    #[test]
    fn tunnels_may_be_more_and_fewer() {
        let mut waits = Waits::new(&[]);
        assert!(!waits.is_over(A));
        assert!(waits.follow(&views(&[TunnelState::Down]), at(1)));
        assert!(!waits.follow(&[], at(1)));
        assert!(!waits.is_over(A));
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    fn views(states: &[TunnelState]) -> Vec<TunnelView> {
        states.iter().map(|&state| TunnelView { state, ..TunnelView::ABSENT }).collect()
    }
}
