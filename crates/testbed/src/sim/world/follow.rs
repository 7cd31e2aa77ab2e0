//! How the reference model learns what happens: what the file says, what servers have pushed to sessions that came up, what the
//! user does, which networks the host is on. Of the engine it asks alone which tunnels are up, in which attempt, and which have
//! connected or failed once; and the numbers of bind addresses, as `status` would tell them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mrvpn_clock::Moment;
use mrvpn_engine::tunnel::TunnelState;
use mrvpn_engine::{Attempt, Memory};
use mrvpn_router::TunnelId;

use super::World;
use super::setup::{CARD, File, LAN, name, place_of};
use crate::sim::reference::{DefaultModel, Place, Reference, RuleModel, TunnelModel, Via};

/// 10 s: `establish_limit_ms`.
const ESTABLISH_LIMIT: Duration = Duration::from_secs(10);
/// A tunnel that came up is steady so much later: what was sent just before is no promise.
const GRACE: Duration = Duration::from_millis(1);
/// 198.18.0.254 and its like: where the engine's own errors come from.
pub(super) const ENGINE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(198, 18, 0, 254)), IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, 0xfe))];

/// What was last seen of a tunnel of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    place: Place,
    attempt: Attempt,
    state: TunnelState,
    settled: bool,
}

/// What holds on a host on which no engine has ever run: everything leaves in clear.
pub(super) fn without_engine() -> Reference {
    let file = File { tunnels: Vec::new(), rules: Vec::new() };
    Reference { anchors: Vec::new(), pools: Vec::new(), ..beginning(&file) }
}

/// What holds before anything has happened.
pub(super) fn beginning(file: &File) -> Reference {
    let mut reference = Reference {
        tunnels: Vec::new(),
        rules: Vec::new(),
        default: DefaultModel::default(),
        lan: vec![IpNet::V4(LAN)],
        own: vec![IpAddr::V4(CARD)],
        anchors: vec![IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, 1))],
        pools: vec![
            IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 19)),
            IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(198, 19, 0, 0), 19)),
            IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 60)),
        ],
        leases: 0,
    };
    take_file(&mut reference, file);
    reference.decide(false);
    reference
}

/// The tunnels and rules of another file; what is known of tunnels of the same name stays.
pub(super) fn take_file(reference: &mut Reference, file: &File) {
    let old = std::mem::take(&mut reference.tunnels);
    for entry in &file.tunnels {
        let known = old.iter().find(|tunnel| tunnel.place == entry.place);
        let mut tunnel = known.cloned().unwrap_or_else(|| fresh(entry.place));
        // Another profile: it connects anew, and its address is not held for it.
        if tunnel.profile != entry.routes && !tunnel.stopped {
            tunnel.lease = None;
        }
        tunnel.profile.clone_from(&entry.routes);
        (tunnel.default, tunnel.accepts) = (entry.default, entry.accepts);
        reference.tunnels.push(tunnel);
    }
    let is_there = |place: Place| file.entry(place).is_some();
    let rule = |rule: &RuleModel| match rule.via {
        Via::Tunnel(place) if !is_there(place) => RuleModel { via: Via::Block, ..rule.clone() },
        Via::Tunnel(_) | Via::Direct | Via::Block => rule.clone(),
    };
    reference.rules = file.rules.iter().map(rule).collect();
    for gone in old.iter().filter(|tunnel| !is_there(tunnel.place)) {
        let Reference { default, tunnels, .. } = reference;
        default.let_go(gone.place, tunnels);
    }
}

fn fresh(place: Place) -> TunnelModel {
    TunnelModel {
        place,
        profile: Vec::new(),
        default: false,
        accepts: false,
        pushed: None,
        stopped: false,
        settled: false,
        lease: None,
        binds: Vec::new(),
    }
}

/// The bind addresses that the engine has given out, as `status` tells them.
fn learn_binds(reference: &mut Reference, memory: &Memory) {
    for tunnel in &mut reference.tunnels {
        let Some(known) = memory.tunnels.get(&name(tunnel.place)) else { continue };
        let number = u32::from(known.bind);
        let v4 = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 1, 1)) + number);
        let v6 = Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 1, u16::try_from(number + 1).unwrap_or(0));
        tunnel.binds = vec![IpAddr::V4(v4), IpAddr::V6(v6)];
    }
}

impl World<'_> {
    /// Learns what has happened in the engine since the last time.
    pub(super) fn follow(&mut self) {
        let Some(machine) = &self.machine else { return };
        let (version, waited) = (machine.fleet.version(), self.now >= self.started + ESTABLISH_LIMIT);
        if version == self.version && waited == self.waited {
            return;
        }
        (self.version, self.waited) = (version, waited);
        let before = self.reference.clone();
        if std::mem::take(&mut self.new_binds) {
            learn_binds(&mut self.reference, &self.memory);
        }
        for (id, known) in self.look() {
            self.learn(id, known);
        }
        self.reference.decide(waited);
        self.note_change(before);
        self.look_at_rest();
    }

    /// The model has changed, maybe: the host follows later, and packets wait.
    pub(super) fn note_change(&mut self, before: Reference) {
        if before != self.reference {
            self.before.push(before);
            self.oracle.follow(&self.reference, self.now);
        }
    }

    fn look(&self) -> Vec<(TunnelId, Known)> {
        let Some(machine) = &self.machine else { return Vec::new() };
        let look = |tunnel: &mrvpn_engine::Tunnel| {
            let place = place_of(&tunnel.config().name)?;
            let (attempt, state) = (tunnel.last_attempt(), tunnel.state());
            Some((tunnel.id(), Known { place, attempt, state, settled: tunnel.is_settled() }))
        };
        machine.fleet.tunnels().filter_map(look).collect()
    }

    fn learn(&mut self, id: TunnelId, known: Known) {
        let before = self.known.insert(id, known);
        if before == Some(known) {
            return;
        }
        let place = known.place;
        let settles = known.settled && before.is_none_or(|before| !before.settled);
        if settles && let Some(tunnel) = self.reference.tunnel_mut(place) {
            tunnel.settled = true;
        }
        let is_new = before.is_none_or(|before| {
            (before.place, before.attempt, before.state) != (known.place, known.attempt, known.state)
        });
        match known.state {
            TunnelState::Up if is_new => {
                let push = &self.sites[place].push;
                self.reference.established(place, &push.inner(), push.model());
                (self.broken[place], self.halted[place]) = (false, false);
                self.oracle.tally.sessions += 1;
                self.dialogue.say(self.now, "engine", || format!("{} is up", name(place)));
            }
            TunnelState::Failed => self.reference.released(place),
            TunnelState::Up
            | TunnelState::Connecting
            | TunnelState::Authenticating
            | TunnelState::Reconnecting
            | TunnelState::Stopped => {}
        }
    }

    /// Since when nothing disturbs each tunnel.
    pub(super) fn look_at_rest(&mut self) {
        let now = self.now;
        let at_work = self.machine.as_ref().filter(|machine| !machine.host_is_disturbed());
        let planned = self.machine.as_ref().is_some_and(|machine| !machine.plan_is_due());
        let mut up = vec![false; self.steady.len()];
        for known in self.known.values().filter(|known| known.state == TunnelState::Up) {
            up[known.place] = true;
        }
        for (place, up) in up.into_iter().enumerate() {
            let calm = at_work.is_some()
                && up
                && !self.broken[place]
                && !self.sites[place].is_off(now)
                && self.noisy_until[place] <= now
                && self.reference.tunnel(place).is_some();
            self.steady[place] = match (calm, self.steady[place]) {
                (false, _) => None,
                (true, None) if planned => Some(now + GRACE),
                (true, since) => since,
            };
        }
    }

    /// All faults have stopped long ago: who should be up must be.
    pub(super) fn must_be_up(&mut self) {
        for entry in self.file.tunnels.clone() {
            let place = entry.place;
            let stopped = self.reference.tunnel(place).is_none_or(|tunnel| tunnel.stopped);
            let up = self.known.values().any(|known| known.place == place && known.state == TunnelState::Up);
            if !stopped && !up && !self.halted[place] {
                let state = self.known.values().find(|known| known.place == place).copied();
                self.oracle.fail("I-7", self.now, || format!("{} is not up: {state:?}", name(place)));
            }
        }
    }

    /// Whose state in the engine is up.
    #[must_use]
    pub(super) fn is_up(&self, place: Place) -> bool {
        self.known.values().any(|known| known.place == place && known.state == TunnelState::Up)
    }

    /// A moment that is not disturbed.
    pub(super) fn disturb(&mut self, place: Place, until: Moment) {
        self.noisy_until[place] = self.noisy_until[place].max(until);
        self.look_at_rest();
    }
}
