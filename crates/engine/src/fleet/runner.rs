//! The session side of one tunnel of the fleet: the tunnel itself, how long packets wait for it, and what follows when it
//! has been told to end. What it claims is `roster.rs`'s.

use std::net::SocketAddr;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_netplan::AddressBook;
use mrvpn_profile::Transport;
use mrvpn_router::{TunnelId, TunnelState as Carries, TunnelView};

use crate::tunnel::{Connector, Tunnel, TunnelState};

/// 1 s: how long packets wait for a tunnel that went before they are refused (threats-and-faults.md section 2).
pub(super) const HOLD: Duration = Duration::from_secs(1);
/// Outer bytes of a data packet over IPv4: IP 20, UDP 8, header 4, packet id 4, tag 16.
const OVERHEAD_V4: u16 = 52;
/// The same over IPv6: IP 40.
const OVERHEAD_V6: u16 = 72;
/// What the path carries, until it is measured.
const PATH_MTU: u16 = 1500;

/// One tunnel at work.
pub(super) struct Runner {
    pub(super) tunnel: Tunnel,
    /// The TLS engine by which it begins the next time.
    pub(super) connector: Connector,
    /// Until when packets wait for it while it is away.
    pub(super) hold_until: Moment,
    pub(super) then: Then,
    /// What the host captures for it and the addresses it has there.
    pub(super) captured: Captured,
    /// State and code of the error that were told last.
    pub(super) told: Option<(TunnelState, Option<&'static str>)>,
}

/// Whether the host does what follows from the last push of a tunnel's server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Captured {
    /// Nothing was pushed yet, or the first push is not carried out yet.
    NotYet,
    /// The last push is carried out.
    Yes,
    /// An earlier push is, the last one not yet.
    Earlier,
}

/// What follows when the tunnel has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It has not been told to end, or all are.
    Nothing,
    /// The user stopped it.
    Stay,
    /// It has left the configuration.
    Leave,
    /// It begins anew.
    Begin,
}

impl Runner {
    pub(super) fn new(tunnel: Tunnel, connector: Connector, now: Moment) -> Self {
        Self { tunnel, connector, hold_until: now + HOLD, then: Then::Nothing, captured: Captured::NotYet, told: None }
    }

    /// Its state as the user sees it: one that was told to end is no longer what it was.
    pub(super) fn state(&self) -> TunnelState {
        match self.then {
            Then::Nothing => self.tunnel.state(),
            Then::Stay | Then::Leave => TunnelState::Stopped,
            Then::Begin => TunnelState::Reconnecting,
        }
    }

    /// Its state as it is shown: it is up when the host sends it what it claims, not before.
    pub(super) fn shown(&self) -> TunnelState {
        match (self.state(), self.captured) {
            (TunnelState::Up, Captured::NotYet) => TunnelState::Authenticating,
            (TunnelState::Up, Captured::Earlier) => TunnelState::Reconnecting,
            (state, Captured::NotYet | Captured::Yes | Captured::Earlier) => state,
        }
    }

    /// Its server has pushed something, and the host is asked to follow.
    pub(super) fn await_capture(&mut self) {
        if self.captured == Captured::Yes {
            self.captured = Captured::Earlier;
        }
    }

    /// What lanes must know of it.
    pub(super) fn view(&self, book: &AddressBook) -> TunnelView {
        let entry = book.entry(self.tunnel.id());
        let state = match self.state() {
            TunnelState::Up => Carries::Up,
            TunnelState::Failed | TunnelState::Stopped => Carries::Down,
            TunnelState::Connecting | TunnelState::Authenticating | TunnelState::Reconnecting => {
                Carries::Hold(self.hold_until)
            }
        };
        TunnelView {
            state,
            lease: entry.map(|entry| entry.lease).unwrap_or_default(),
            inner_v4: entry.and_then(|entry| entry.assigned_v4).map(|net| net.addr()),
            inner_v6: entry.and_then(|entry| entry.assigned_v6).map(|net| net.addr()),
            presented_v4: entry.and_then(|entry| entry.presented_v4),
            presented_v6: entry.and_then(|entry| entry.presented_v6),
            limit: limit(&self.tunnel),
        }
    }
}

/// The views of `runners` at the places of their numbers.
pub(super) fn views<'a>(runners: impl Iterator<Item = &'a Runner>, book: &AddressBook) -> Vec<TunnelView> {
    let mut views = Vec::new();
    for runner in runners {
        put(&mut views, runner.tunnel.id(), runner.view(book));
    }
    views
}

fn put(views: &mut Vec<TunnelView>, id: TunnelId, view: TunnelView) {
    if views.len() <= id.index() {
        views.resize(id.index() + 1, TunnelView::ABSENT);
    }
    views[id.index()] = view;
}

/// Largest inner packet of a tunnel in bytes. A stream carries packets of any size.
pub(super) fn limit(tunnel: &Tunnel) -> u16 {
    let overhead = match tunnel.remote() {
        Some((_, Transport::Tcp)) => 0,
        Some((SocketAddr::V6(_), Transport::Udp)) => OVERHEAD_V6,
        Some((SocketAddr::V4(_), Transport::Udp)) | None => OVERHEAD_V4,
    };
    let pushed = tunnel.established().map_or(PATH_MTU, |established| established.assignment.tun_mtu);
    pushed.min(PATH_MTU.saturating_sub(overhead))
}
