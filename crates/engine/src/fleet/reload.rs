//! Another configuration while the fleet runs. A transaction: the other one is tried on a copy of the roster, where all that
//! can be refused is refused; then it is taken, and only tunnels that it changes are touched.

use std::collections::BTreeSet;

use mrvpn_clock::Moment;
use mrvpn_netplan::Plan;
use mrvpn_router::{DefaultChoice, Defaults, TunnelId};

use super::decision::Decision;
use super::limits::TUNNELS;
use super::roster::{Changes, Member, Roster};
use super::runner::{HOLD, Then};
use super::{Fleet, FleetError, connector};
use crate::config::EngineConfig;
use crate::driver::{Refused, Reloaded};
use crate::memory::Memory;
use crate::tunnel::Connector;

/// What a reload comes to.
struct Revision {
    roster: Roster,
    plan: Plan,
    changes: Changes,
    reloaded: Reloaded,
}

impl Fleet {
    /// Runs another configuration from now on. Tunnels are told apart by name. One that is the same in both is not touched,
    /// wherever in the file it stands; one that differs in profile, credentials or `strict_server` connects anew, with its
    /// claims kept meanwhile; one that is gone closes, and all that it had goes. `connectors`, one a tunnel of the file,
    /// are made from the profiles where `None`. The steps of the answer are the driver's to fill in.
    ///
    /// # Errors
    /// It cannot be run; nothing has changed.
    pub fn reload(
        &mut self,
        config: EngineConfig,
        connectors: Option<Vec<Connector>>,
        now: Moment,
    ) -> Result<Reloaded, Refused> {
        let revision = self.revise(&config, now)?;
        let Revision { roster, changes, reloaded, .. } = revision;
        let connectors = Self::connectors(&roster, &changes, connectors);
        self.roster = roster;
        self.unremembered = true;
        self.accounts.follow(self.roster.in_order().map(|(id, member)| (id, &*member.config)), &changes.logins);
        self.version = self.version.wrapping_add(1);
        self.set_to_work(&changes, connectors, now);
        // First nobody is sent through a tunnel that goes, then it goes.
        self.decide_or_note(now);
        for id in changes.removed.iter().map(|(id, _)| *id).chain(changes.restarted) {
            self.with(id, now, |tunnel| tunnel.close(now));
        }
        self.dial(now);
        Ok(reloaded)
    }

    /// What [`Fleet::reload`] would change, and the plan that would follow.
    ///
    /// # Errors
    /// It could not be run.
    pub fn preview(&self, config: &EngineConfig, now: Moment) -> Result<(Reloaded, Plan), Refused> {
        let revision = self.revise(config, now)?;
        Ok((revision.reloaded, revision.plan))
    }

    fn revise(&self, config: &EngineConfig, now: Moment) -> Result<Revision, Refused> {
        check_tunnels(config)?;
        let mut roster = self.roster.clone();
        let changes = roster.adopt(config.clone(), &Memory::default());
        roster.retake_default();
        let decision = roster.decide(now);
        let plan = roster.plan(&decision).map_err(|error| Refused {
            message: error.to_string(),
            hint: "the engine runs on with the rules that it has".to_owned(),
        })?;
        let reloaded = self.describe(config, &roster, &decision, &changes);
        Ok(Revision { roster, plan, changes, reloaded })
    }

    fn describe(&self, config: &EngineConfig, roster: &Roster, decision: &Decision, changes: &Changes) -> Reloaded {
        let names = |ids: &[TunnelId]| ids.iter().filter_map(|id| roster.name(*id).map(str::to_owned)).collect();
        let mut notes = self.settings_notes(config);
        notes.extend(default_note((&self.roster, self.decision.defaults), (roster, decision.defaults)));
        Reloaded {
            added: names(&changes.added),
            removed: changes.removed.iter().map(|(_, name)| name.clone()).collect(),
            restarted: names(&changes.restarted),
            changed: names(&changes.changed),
            rules: changes.rules,
            steps: Vec::new(),
            notes,
        }
    }

    /// Settings that the host and the lanes were set up with.
    fn settings_notes(&self, config: &EngineConfig) -> Vec<String> {
        let own = &self.roster.config;
        let settings = [
            ("`mark`", own.mark != config.mark),
            ("`alias_pool`", own.alias_pool != config.alias_pool),
            ("offload", own.offload != config.offload),
            ("`interface`", own.scope.device != config.scope.device),
            ("`rule_priority`", own.scope.rule_priority != config.scope.rule_priority),
        ];
        let note = |name: &str| format!("{name} takes effect with the next `mrvpn up`");
        settings.iter().filter(|(_, differs)| *differs).map(|(name, _)| note(name)).collect()
    }

    /// The TLS engines of tunnels that are new or begin anew by another profile.
    fn connectors(roster: &Roster, changes: &Changes, given: Option<Vec<Connector>>) -> Vec<(TunnelId, Connector)> {
        let needed: BTreeSet<&TunnelId> = changes.added.iter().chain(&changes.restarted).collect();
        let mut given = given.map(Vec::into_iter);
        let make = |(id, member): (TunnelId, &Member)| {
            let given = given.as_mut().and_then(Iterator::next);
            let needed = needed.contains(&id) || (member.stopped && changes.changed.contains(&id));
            needed.then(|| (id, given.unwrap_or_else(|| connector(&member.config))))
        };
        roster.in_order().filter_map(make).collect()
    }

    /// Marks what goes and what begins anew, and makes what is new.
    fn set_to_work(&mut self, changes: &Changes, connectors: Vec<(TunnelId, Connector)>, now: Moment) {
        for (id, _) in &changes.removed {
            if let Some(runner) = self.runners.get_mut(id) {
                runner.then = Then::Leave;
            }
        }
        for (id, connector) in connectors {
            match self.runners.get_mut(&id) {
                Some(runner) => runner.connector = connector,
                None => self.engage(id, connector, now),
            }
        }
        for id in &changes.restarted {
            if let Some(runner) = self.runners.get_mut(id) {
                runner.then = Then::Begin;
                runner.hold_until = now + HOLD;
            }
        }
    }
}

/// What no configuration may have.
fn check_tunnels(config: &EngineConfig) -> Result<(), Refused> {
    if config.tunnels.len() > TUNNELS {
        return Err(Refused {
            message: FleetError::TooMany(config.tunnels.len()).to_string(),
            hint: "run the others by an engine of their own (`--instance`)".to_owned(),
        });
    }
    let mut names = BTreeSet::new();
    match config.tunnels.iter().find(|tunnel| !names.insert(tunnel.name.as_str())) {
        Some(twice) => Err(Refused {
            message: format!("two tunnels are named {}", twice.name),
            hint: "give one of them another name".to_owned(),
        }),
        None => Ok(()),
    }
}

/// Who is the default from now on, where that changes.
fn default_note(before: (&Roster, Defaults), after: (&Roster, Defaults)) -> Option<String> {
    let name = |(roster, defaults): (&Roster, Defaults)| match defaults.v4 {
        DefaultChoice::Tunnel(id) => roster.name(id).map(str::to_owned),
        DefaultChoice::NotOffered | DefaultChoice::Undecided => None,
    };
    match (name(before), name(after)) {
        (old, Some(new)) if old.as_ref() != Some(&new) => {
            Some(format!("traffic that no rule or claim names goes through {new} from now on"))
        }
        (Some(old), None) => {
            Some(format!("{old} is the default no longer: traffic that no rule or claim names is left to this host"))
        }
        (_, Some(_)) | (None, None) => None,
    }
}
