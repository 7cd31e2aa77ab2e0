//! Places for clients that ask, and who has to leave when all are taken: so a newcomer is always served soon, whatever
//! others leave half open. A value without sockets; the server tells it what happens and closes whom it names. Clients
//! that follow something are no longer here.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Instant;

use tokio::sync::oneshot;

use super::limits::{GRACE, GRACE_OF_ANSWERS};

/// The clients that are there.
#[derive(Debug)]
pub(super) struct Places {
    limit: usize,
    next: u64,
    taken: BTreeMap<u64, Place>,
}

/// One client.
#[derive(Debug)]
struct Place {
    uid: u32,
    stage: Stage,
    since: Instant,
    /// Used to close it.
    close: oneshot::Sender<()>,
}

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its request is not whole.
    Asking,
    /// The engine works for it.
    Served,
    /// It is to take its answer.
    Answered {
        /// Whether it may do all; it is never closed then.
        owner: bool,
    },
}

/// What becomes of a newcomer.
#[derive(Debug)]
pub(super) enum Admission {
    /// It has a place, by this number; the receiver hears when it has to leave.
    In(u64, oneshot::Receiver<()>),
    /// No place, and nobody can leave before this time.
    Full(Instant),
}

impl Places {
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, next: 0, taken: BTreeMap::new() }
    }

    /// Gives a newcomer a place, and closes another's connection for it where that is needed.
    pub(super) fn admit(&mut self, uid: u32, now: Instant) -> Admission {
        if self.taken.len() >= self.limit {
            match self.leaver(now) {
                Ok(number) => {
                    if let Some(place) = self.taken.remove(&number) {
                        // Whoever has ended by itself in this moment hears nothing.
                        let _ = place.close.send(());
                    }
                }
                Err(earliest) => return Admission::Full(earliest),
            }
        }
        let (close, closed) = oneshot::channel();
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.taken.insert(number, Place { uid, stage: Stage::Asking, since: now, close });
        Admission::In(number, closed)
    }

    /// A client is further.
    pub(super) fn advance(&mut self, number: u64, stage: Stage, now: Instant) {
        if let Some(place) = self.taken.get_mut(&number) {
            (place.stage, place.since) = (stage, now);
        }
    }

    /// A client is gone, or follows something and is counted there.
    pub(super) fn leave(&mut self, number: u64) {
        self.taken.remove(&number);
    }

    /// Of those that may be closed, the one of the user with the most clients that has waited longest; else when the
    /// first may be.
    fn leaver(&self, now: Instant) -> Result<u64, Instant> {
        let clients = |uid: u32| self.taken.values().filter(|place| place.uid == uid).count();
        let closable = self.taken.iter().filter_map(|(number, place)| Some((number, place, place.closable_at()?)));
        let ripe = closable.clone().filter(|(_, _, at)| *at <= now);
        let rank = |place: &Place, number: u64| {
            (clients(place.uid), now.saturating_duration_since(place.since), Reverse(number))
        };
        let chosen = ripe.max_by_key(|(number, place, _)| rank(place, **number));
        let earliest = || closable.map(|(_, _, at)| at).min().unwrap_or(now + GRACE_OF_ANSWERS);
        chosen.map(|(number, _, _)| *number).ok_or_else(earliest)
    }
}

impl Place {
    /// When it may be closed for another; `None`: never.
    fn closable_at(&self) -> Option<Instant> {
        match self.stage {
            Stage::Asking => Some(self.since + GRACE),
            Stage::Answered { owner: false } => Some(self.since + GRACE_OF_ANSWERS),
            Stage::Served | Stage::Answered { owner: true } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use super::super::limits::CLIENTS;

    struct Table {
        places: Places,
        start: Instant,
        clients: Vec<(u64, oneshot::Receiver<()>)>,
    }

    impl Table {
        fn new() -> Self {
            Self { places: Places::new(CLIENTS), start: Instant::now(), clients: Vec::new() }
        }

        fn at(&self, milliseconds: u64) -> Instant {
            self.start + Duration::from_millis(milliseconds)
        }

        /// Whether it got a place.
        fn comes(&mut self, uid: u32, milliseconds: u64) -> bool {
            match self.places.admit(uid, self.at(milliseconds)) {
                Admission::In(number, closed) => {
                    self.clients.push((number, closed));
                    true
                }
                Admission::Full(_) => false,
            }
        }

        /// Numbers of clients, in the order in which they came, that were told to leave.
        fn closed(&mut self) -> Vec<usize> {
            let told = |(place, (_, closed)): (usize, &mut (u64, oneshot::Receiver<()>))| {
                closed.try_recv().is_ok().then_some(place)
            };
            self.clients.iter_mut().enumerate().filter_map(told).collect()
        }
    }

    // proves: T-60
    #[test]
    fn sixty_four_stay_and_one_more_makes_the_longest_waiting_leave() {
        let mut table = Table::new();
        for client in 0..63 {
            assert!(table.comes(1000, client));
        }
        assert!(table.closed().is_empty());
        assert!(table.comes(1000, 100));
        assert!(table.closed().is_empty(), "64 have room");
        assert!(table.comes(1000, 101));
        assert_eq!(table.closed(), [0]);
        assert!(table.comes(1000, 102));
        assert_eq!(table.closed(), [1]);
    }

    #[test]
    fn a_user_with_one_client_does_not_leave_for_one_with_many() {
        let mut table = Table::new();
        assert!(table.comes(7, 0));
        for client in 0..200 {
            assert!(table.comes(1000, 100 + client));
        }
        assert!(!table.closed().contains(&0));
        table.places.leave(table.clients[0].0);
        assert!(table.comes(7, 400));
        assert!(table.closed().is_empty());
    }

    #[test]
    fn who_has_just_come_has_time_to_ask() {
        let mut table = Table::new();
        for _ in 0..CLIENTS {
            assert!(table.comes(1000, 0));
        }
        let Admission::Full(until) = table.places.admit(1000, table.at(1)) else { panic!("somebody had to leave") };
        assert_eq!(until, table.at(20));
        assert!(table.comes(1000, 20));
        assert_eq!(table.closed(), [0]);
    }

    #[test]
    fn who_is_served_or_may_do_all_is_not_closed() {
        let mut table = Table::new();
        for client in 0..CLIENTS {
            assert!(table.comes(1000, 0));
            let stage = match client {
                0 => Stage::Answered { owner: false },
                1..32 => Stage::Served,
                _ => Stage::Answered { owner: true },
            };
            let (number, now) = (table.clients[client].0, table.at(10));
            table.places.advance(number, stage, now);
        }
        assert!(!table.comes(0, 1009));
        assert!(table.comes(0, 1010));
        assert_eq!(table.closed(), [0]);
        assert!(table.comes(0, 5000));
        assert_eq!(table.closed(), [64]);
    }
}
