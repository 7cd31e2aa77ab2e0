//! What the host is to do next, so that it looks as the fleet wants it: make the interface, carry out a plan, look whether
//! it still stands, begin anew where the interface is gone. A value without I/O: it says what to do, one thing at a time,
//! and is told what came of it. What the plan says is the fleet's, how it is carried out the host thread's.

use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_netplan::Plan;

use super::audits::Audits;
use super::rebuilds::Rebuilds;

/// 200 ms: how long it is waited after the interface could not be made.
const OPEN_PAUSE: Duration = Duration::from_millis(200);
/// 1 s: how long it is waited after the first failure to carry out a plan; twice as long after each further one...
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// ...up to 30 s.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Todo {
    /// Open the interface; told by [`Upkeep::opened`].
    Open,
    /// Carry out the plan; told by [`Upkeep::changed`].
    Change(Plan),
    /// See whether the plan stands, and put back what does not; told by [`Upkeep::audited`].
    Audit(Plan),
}

/// What the fleet is to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Nothing,
    /// The plan that it asked for last stands, or not.
    Planned(Result<(), String>),
}

/// The interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Device {
    /// Not made yet.
    #[default]
    Absent,
    /// There.
    Open,
    /// It was deleted, or could not be made; it is tried then.
    Lost(Moment),
}

/// What is done at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Busy {
    #[default]
    No,
    Opening,
    /// Carries out a plan; whether it is the one that the fleet waits for.
    Changing {
        asked: bool,
    },
    Auditing,
}

/// The host as it should be, and how far it is.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    wanted: Option<Plan>,
    /// Whether the fleet waits for word of `wanted`.
    owed: bool,
    device: Device,
    busy: Busy,
    /// The plan is carried out once more then, although nobody waits.
    again: Option<Moment>,
    pause: Duration,
    /// What the fleet was told last was a failure.
    troubled: bool,
    audits: Audits,
    rebuilds: Rebuilds,
    /// How many plans were begun.
    begun: u64,
}

impl Upkeep {
    /// The host should look like this; a verdict follows.
    pub(super) fn want(&mut self, plan: Plan) {
        self.wanted = Some(plan);
        self.owed = true;
    }

    /// Whether the fleet waits for a verdict.
    pub(super) const fn is_owed(&self) -> bool {
        self.owed
    }

    /// Whether a plan is being carried out.
    pub(super) const fn is_changing(&self) -> bool {
        matches!(self.busy, Busy::Changing { .. })
    }

    /// How many plans were begun; the next one has this number.
    pub(super) const fn begun(&self) -> u64 {
        self.begun
    }

    /// Others may have changed something.
    pub(super) fn ring(&mut self, now: Moment) {
        self.audits.ring(now);
    }

    /// The interface was deleted.
    pub(super) fn lost(&mut self, now: Moment) {
        self.device = Device::Lost(self.rebuilds.next(now));
    }

    /// What is to be done now. One thing at a time.
    pub(super) fn poll(&mut self, now: Moment) -> Option<Todo> {
        let wanted = self.wanted.as_ref().filter(|_| self.busy == Busy::No)?;
        let due = |at: Option<Moment>| at.is_some_and(|at| at <= now);
        let (busy, todo) = match self.device {
            Device::Absent => (Busy::Opening, Todo::Open),
            Device::Lost(at) if at <= now => (Busy::Opening, Todo::Open),
            Device::Lost(_) => return None,
            Device::Open if self.owed || due(self.again) => {
                self.begun += 1;
                (Busy::Changing { asked: self.owed }, Todo::Change(wanted.clone()))
            }
            Device::Open if due(self.audits.due()) => {
                self.audits.begin();
                (Busy::Auditing, Todo::Audit(wanted.clone()))
            }
            Device::Open => return None,
        };
        self.busy = busy;
        Some(todo)
    }

    /// When [`Upkeep::poll`] has something to do, if nothing happens before.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        if self.busy != Busy::No {
            return None;
        }
        match self.device {
            Device::Absent => None,
            Device::Lost(at) => Some(at),
            Device::Open => self.again.into_iter().chain(self.audits.due()).min(),
        }
    }

    /// The interface is there, or is tried again later.
    pub(super) fn opened(&mut self, there: bool, now: Moment) {
        self.busy = Busy::No;
        if there {
            self.device = Device::Open;
            self.again = Some(now);
        } else {
            self.device = Device::Lost(self.rebuilds.next(now).max(now + OPEN_PAUSE));
        }
    }

    /// What came of a plan.
    pub(super) fn changed(&mut self, outcome: Result<(), String>, now: Moment) -> Verdict {
        let asked = std::mem::take(&mut self.busy) == Busy::Changing { asked: true };
        let verdict = match outcome {
            Ok(()) => {
                (self.pause, self.again) = (Duration::ZERO, None);
                if asked || self.troubled { Verdict::Planned(Ok(())) } else { Verdict::Nothing }
            }
            // It is carried out as soon as the interface is back: until then there is nothing to tell.
            Err(_) if self.device != Device::Open => return Verdict::Nothing,
            Err(why) => {
                self.try_again(now);
                if asked { Verdict::Planned(Err(why)) } else { Verdict::Nothing }
            }
        };
        self.owed &= !asked;
        if let Verdict::Planned(outcome) = &verdict {
            self.troubled = outcome.is_err();
        }
        verdict
    }

    /// What came of a look that took so long.
    pub(super) fn audited(&mut self, stands: bool, took: Duration, now: Moment) {
        self.busy = Busy::No;
        self.audits.end(took, now);
        if !stands && self.device == Device::Open {
            self.try_again(now);
        }
    }

    /// After a failure it is tried again, later and later.
    fn try_again(&mut self, now: Moment) {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.again = Some(now + self.pause);
    }
}

#[cfg(test)]
mod tests {
    use mrvpn_netplan::Scope;

    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::default() + Duration::from_millis(millis)
    }

    fn plan() -> Plan {
        Plan::empty(&Scope::first())
    }

    /// One whose first plan stands.
    fn standing() -> Upkeep {
        let mut upkeep = Upkeep::default();
        upkeep.want(plan());
        assert_eq!(upkeep.poll(at(0)), Some(Todo::Open));
        assert_eq!(upkeep.poll(at(0)), None, "one thing at a time");
        upkeep.opened(true, at(0));
        assert_eq!(upkeep.poll(at(0)), Some(Todo::Change(plan())));
        assert_eq!(upkeep.changed(Ok(()), at(0)), Verdict::Planned(Ok(())));
        assert_eq!((upkeep.poll(at(0)), upkeep.poll_timeout(), upkeep.is_owed()), (None, None, false));
        upkeep
    }

    #[test]
    fn a_change_by_others_is_looked_at_and_that_is_all() {
        let mut upkeep = standing();
        upkeep.ring(at(1_000));
        assert_eq!((upkeep.poll(at(1_000)), upkeep.poll_timeout()), (None, Some(at(1_050))));
        assert_eq!(upkeep.poll(at(1_050)), Some(Todo::Audit(plan())));
        upkeep.audited(true, Duration::from_millis(1), at(1_060));
        assert_eq!((upkeep.poll(at(1_060)), upkeep.poll_timeout()), (None, None));
    }

    #[test]
    fn a_look_waits_while_a_plan_is_carried_out() {
        let mut upkeep = standing();
        upkeep.ring(at(1_000));
        upkeep.want(plan());
        assert_eq!(upkeep.poll(at(1_050)), Some(Todo::Change(plan())));
        assert_eq!((upkeep.poll(at(1_100)), upkeep.poll_timeout()), (None, None));
        upkeep.changed(Ok(()), at(1_200));
        assert_eq!(upkeep.poll(at(1_200)), Some(Todo::Audit(plan())));
    }

    // proves: F-16
    #[test]
    fn a_deleted_interface_is_made_anew_and_the_plan_carried_out_without_being_asked() {
        let mut upkeep = standing();
        upkeep.lost(at(1_000));
        assert_eq!(upkeep.poll(at(1_000)), Some(Todo::Open));
        upkeep.opened(true, at(1_010));
        assert_eq!(upkeep.poll(at(1_010)), Some(Todo::Change(plan())));
        assert_eq!(upkeep.changed(Ok(()), at(1_020)), Verdict::Nothing);
        assert_eq!((upkeep.poll(at(1_020)), upkeep.poll_timeout()), (None, None));
    }

    #[test]
    fn a_plan_that_met_no_interface_is_told_when_it_stands() {
        let mut upkeep = standing();
        upkeep.want(plan());
        assert_eq!(upkeep.poll(at(0)), Some(Todo::Change(plan())));
        upkeep.lost(at(0));
        assert_eq!(upkeep.changed(Err("no device".to_owned()), at(0)), Verdict::Nothing);
        assert_eq!(upkeep.poll(at(0)), Some(Todo::Open));
        upkeep.opened(true, at(0));
        assert_eq!(upkeep.poll(at(0)), Some(Todo::Change(plan())));
        assert_eq!(upkeep.changed(Ok(()), at(0)), Verdict::Planned(Ok(())));
    }

    #[test]
    fn an_interface_that_cannot_be_made_is_tried_for_ever_and_seldom() {
        let mut upkeep = standing();
        upkeep.lost(at(0));
        let mut tries = 0;
        for now in 0..600_000 {
            if upkeep.poll(at(now)) == Some(Todo::Open) {
                tries += 1;
                upkeep.opened(false, at(now));
            }
        }
        assert!((20..40).contains(&tries), "{tries} tries in ten minutes");
    }

    #[test]
    fn a_plan_that_fails_is_told_once_and_tried_until_it_stands() {
        let mut upkeep = standing();
        upkeep.want(plan());
        assert_eq!(upkeep.poll(at(0)), Some(Todo::Change(plan())));
        assert_eq!(upkeep.changed(Err("no".to_owned()), at(0)), Verdict::Planned(Err("no".to_owned())));
        for again in [1_000, 3_000, 7_000] {
            assert_eq!((upkeep.poll(at(again - 1)), upkeep.poll_timeout()), (None, Some(at(again))));
            assert_eq!(upkeep.poll(at(again)), Some(Todo::Change(plan())));
            assert_eq!(upkeep.changed(Err("no".to_owned()), at(again)), Verdict::Nothing);
        }
        assert_eq!(upkeep.poll(at(15_000)), Some(Todo::Change(plan())));
        assert_eq!(upkeep.changed(Ok(()), at(15_000)), Verdict::Planned(Ok(())), "the trouble is over");
        assert_eq!(upkeep.poll_timeout(), None);
    }

    #[test]
    fn a_plan_that_is_asked_for_while_another_is_carried_out_anew_gets_its_own_verdict() {
        let mut upkeep = standing();
        upkeep.lost(at(0));
        assert_eq!(upkeep.poll(at(0)), Some(Todo::Open));
        upkeep.opened(true, at(0));
        assert_eq!(upkeep.poll(at(0)), Some(Todo::Change(plan())));
        upkeep.want(plan());
        assert_eq!(upkeep.changed(Ok(()), at(0)), Verdict::Nothing);
        assert!(upkeep.is_owed());
        assert_eq!(upkeep.poll(at(0)), Some(Todo::Change(plan())));
        assert_eq!(upkeep.changed(Ok(()), at(0)), Verdict::Planned(Ok(())));
    }
}
