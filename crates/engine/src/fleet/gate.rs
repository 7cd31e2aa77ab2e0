//! How many handshakes begin, over all tunnels and towards one server: a crowd of tunnels that lost their servers together
//! must not be a flood when these are back (threats-and-faults.md section 2, F-26). Sockets that are asked for wait here in
//! the order of asking, and whoever waits for a crowded server holds up nobody else. When one tunnel tries again is its own
//! matter (`backoff.rs`).

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use mrvpn_clock::Moment;
use mrvpn_profile::Transport;
use mrvpn_router::TunnelId;

use super::limits::{ALL_HANDSHAKES, HANDSHAKES_AT_ONCE, Rate, SERVER_HANDSHAKES};
use crate::attempt::Attempt;

/// A socket that a tunnel wants to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) tunnel: TunnelId,
    pub(super) attempt: Attempt,
    pub(super) remote: SocketAddr,
    pub(super) transport: Transport,
}

/// Who waits, who is under way, and how much was begun.
#[derive(Debug, Default)]
pub(super) struct Gate {
    waiting: VecDeque<Opening>,
    under_way: BTreeMap<(TunnelId, Attempt), SocketAddr>,
    servers: BTreeMap<SocketAddr, Server>,
    all: Spent,
    /// When the next may pass by time alone; meaningless while `changed`.
    due: Option<Moment>,
    /// Someone came or went since it was looked who may pass.
    changed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Server {
    under_way: usize,
    spent: Spent,
}

/// How far a [`Rate`] is used up.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    until: Moment,
}

impl Spent {
    /// When one more is allowed: a burst may run ahead of time by its own length (the "virtual scheduling" of GCRA).
    fn ready_at(self, rate: Rate) -> Moment {
        let ahead = rate.every * (rate.burst - 1);
        Moment::default() + self.until.since(Moment::default() + ahead)
    }

    fn spend(&mut self, rate: Rate, now: Moment) {
        self.until = self.until.max(now) + rate.every;
    }
}

impl Gate {
    /// A tunnel wants to open a socket.
    pub(super) fn ask(&mut self, opening: Opening) {
        self.waiting.push_back(opening);
        self.changed = true;
    }

    /// The handshake of an attempt is over, or it is given up.
    pub(super) fn done(&mut self, tunnel: TunnelId, attempt: Attempt) {
        self.waiting.retain(|opening| (opening.tunnel, opening.attempt) != (tunnel, attempt));
        self.changed = true;
        let Some(remote) = self.under_way.remove(&(tunnel, attempt)) else { return };
        if let Some(server) = self.servers.get_mut(&remote) {
            server.under_way = server.under_way.saturating_sub(1);
        }
    }

    /// All that a tunnel had asked for is over.
    pub(super) fn all_done(&mut self, tunnel: TunnelId) {
        let attempts = self.under_way.range((tunnel, Attempt::default())..).take_while(|((id, _), _)| *id == tunnel);
        for attempt in attempts.map(|((_, attempt), _)| *attempt).collect::<Vec<_>>() {
            self.done(tunnel, attempt);
        }
        let before = self.waiting.len();
        self.waiting.retain(|opening| opening.tunnel != tunnel);
        self.changed |= self.waiting.len() != before;
    }

    /// The next that may pass now; it is under way then.
    pub(super) fn poll(&mut self, now: Moment) -> Option<Opening> {
        if !self.changed && self.due.is_none_or(|due| due > now) {
            return None;
        }
        let place = self.first_ready(now);
        let Some(opening) = place.and_then(|place| self.waiting.remove(place)) else {
            self.changed = false;
            return None;
        };
        self.servers.retain(|_, server| server.under_way > 0 || server.spent.until > now);
        let server = self.servers.entry(opening.remote).or_default();
        server.under_way += 1;
        server.spent.spend(SERVER_HANDSHAKES, now);
        self.all.spend(ALL_HANDSHAKES, now);
        self.under_way.insert((opening.tunnel, opening.attempt), opening.remote);
        self.changed = true;
        Some(opening)
    }

    /// When [`Gate::poll`] is due by time alone.
    pub(super) const fn poll_timeout(&self) -> Option<Moment> {
        self.due
    }

    /// The place of the first that may pass now. Where there is none, `due` says when there is, if time alone decides.
    fn first_ready(&mut self, now: Moment) -> Option<usize> {
        self.due = None;
        let all = self.all.ready_at(ALL_HANDSHAKES);
        if all > now {
            self.due = Some(all).filter(|_| !self.waiting.is_empty());
            return None;
        }
        for (place, opening) in self.waiting.iter().enumerate() {
            let server = self.servers.get(&opening.remote).copied().unwrap_or_default();
            if server.under_way >= HANDSHAKES_AT_ONCE {
                continue;
            }
            let ready = server.spent.ready_at(SERVER_HANDSHAKES);
            if ready <= now {
                return Some(place);
            }
            self.due = self.due.into_iter().chain([ready]).min();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    const START: Moment = Moment::from_nanos(1_000_000_000);

    fn opening(tunnel: u16, server: u8) -> Opening {
        let remote = (Ipv4Addr::new(192, 0, 2, server), 1194).into();
        Opening { tunnel: TunnelId::new(tunnel), attempt: Attempt::new(1), remote, transport: Transport::Udp }
    }

    fn pass(gate: &mut Gate, now: Moment) -> Vec<u16> {
        std::iter::from_fn(|| gate.poll(now)).map(|opening| opening.tunnel.number()).collect()
    }

    /// Lets a second pass from deadline to deadline; each that passes is done at once. Returns how many passed.
    fn second(gate: &mut Gate, from: Moment) -> usize {
        let (mut now, end, mut passed) = (from, from + Duration::from_secs(1), 0);
        loop {
            while let Some(opening) = gate.poll(now) {
                passed += 1;
                gate.done(opening.tunnel, opening.attempt);
            }
            match gate.poll_timeout().filter(|due| *due < end) {
                Some(due) => now = due,
                None => return passed,
            }
        }
    }

    // proves: F-26
    #[test]
    fn all_tunnels_together_begin_a_burst_of_256_and_then_50_a_second() {
        for (asked, passed) in [(255, 255), (256, 256), (257, 256)] {
            let mut gate = Gate::default();
            (0..asked).for_each(|tunnel| gate.ask(opening(tunnel, (tunnel % 200) as u8)));
            assert_eq!(pass(&mut gate, START).len(), passed);
        }
        let mut gate = Gate::default();
        (0..1_000).for_each(|tunnel| gate.ask(opening(tunnel, (tunnel % 200) as u8)));
        let seconds: Vec<usize> = (0..16).map(|at| second(&mut gate, START + Duration::from_secs(at))).collect();
        assert_eq!((seconds[0], seconds.iter().sum()), (256 + 49, 1_000));
        assert!(seconds[1..].iter().all(|passed| *passed <= 50), "{seconds:?}");
    }

    #[test]
    fn one_server_sees_32_at_first_and_then_8_a_second() {
        let mut gate = Gate::default();
        (0..100).for_each(|tunnel| gate.ask(opening(tunnel, 1)));
        let seconds: Vec<usize> = (0..10).map(|at| second(&mut gate, START + Duration::from_secs(at))).collect();
        assert_eq!(seconds[0], 32 + 7);
        assert!(seconds[1..].iter().all(|passed| *passed <= 8), "{seconds:?}");
        assert_eq!(seconds.iter().sum::<usize>(), 100);
    }

    #[test]
    fn one_server_has_8_handshakes_under_way_and_a_crowd_before_it_holds_up_nobody_else() {
        for (asked, passed) in [(7, 7), (8, 8), (9, 8)] {
            let mut gate = Gate::default();
            (0..asked).for_each(|tunnel| gate.ask(opening(tunnel, 1)));
            gate.ask(opening(99, 2));
            let passing = pass(&mut gate, START);
            assert_eq!((passing.len(), passing.last()), (passed + 1, Some(&99)));
            assert_eq!(gate.poll_timeout(), None, "time alone lets nobody in");
        }
    }

    #[test]
    fn whoever_is_done_or_gone_makes_room_for_the_next_in_line() {
        let mut gate = Gate::default();
        (0..12).for_each(|tunnel| gate.ask(opening(tunnel, 1)));
        assert_eq!(pass(&mut gate, START), (0..8).collect::<Vec<_>>());
        gate.all_done(TunnelId::new(9));
        gate.done(TunnelId::new(3), Attempt::new(1));
        gate.all_done(TunnelId::new(4));
        assert_eq!(pass(&mut gate, START), [8, 10]);
        assert_eq!(gate.waiting, [opening(11, 1)]);
        (0..12).for_each(|tunnel| gate.all_done(TunnelId::new(tunnel)));
        assert!(gate.waiting.is_empty() && gate.under_way.is_empty());
    }

    #[test]
    fn a_server_of_which_nothing_is_under_way_is_forgotten() {
        let mut gate = Gate::default();
        for server in 0..100 {
            gate.ask(opening(u16::from(server), server));
            pass(&mut gate, START + Duration::from_secs(u64::from(server)));
            gate.all_done(TunnelId::new(u16::from(server)));
        }
        assert!(gate.servers.len() < 3, "{}", gate.servers.len());
    }
}
