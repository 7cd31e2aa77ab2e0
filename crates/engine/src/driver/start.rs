//! From nothing to a driver that runs: the host is looked at before anything is changed, the fleet is made of what it says.
//! The interface and the first plan come in the loop, before anything is dialled, so that an end may come at any moment.

use std::collections::VecDeque;
use std::os::fd::AsFd;

use mrvpn_netplan::{DeviceSpec, Host, Plan, Scope};
use tokio::sync::mpsc;

use super::host_thread::{Answer, HostThread, Job, Survey};
use super::{
    ARRIVALS, Bursts, Command, Driver, EngineError, Events, Inputs, Outers, Questions, Start, Upkeep, Waiting,
};
use super::{clock, resolver, watcher::Watcher};
use crate::fleet::Fleet;
use crate::memory::Store;

/// 1500: the interface's MTU, which never changes (design.md, decision 11).
const MTU: u16 = 1500;

/// Looks at the host and makes the fleet. `None`: it was told to end meanwhile, and nothing was changed.
pub(super) async fn begin<H, S>(host: H, start: Start<S>) -> Result<Option<(Driver<H>, Inputs)>, EngineError>
where
    H: Host + Send + 'static,
    H::Queue: AsFd,
    H::Watch: AsFd,
    S: Store,
{
    let Start { config, memory, store, mut commands, progress, events } = start;
    let mut host = HostThread::spawn(host, store).map_err(|source| EngineError::System { what: "a thread", source })?;
    let scope = config.scope.clone();
    let mut early = VecDeque::new();
    let Some(survey) = survey(&mut host, &scope, &mut commands, &mut early).await? else { return Ok(None) };
    let Survey { facts, sessions, standing, watch } = *survey;
    let (mark, offload) = (config.mark.0, config.offload);
    let mut fleet = Fleet::new(config, memory, facts.clone(), sessions, random_seed()?, clock::now())?;
    fleet.handle_clocks(clock::pair());
    fleet.handle_resolvers(resolver::system_resolvers());
    let (arrivals_in, arrivals) = mpsc::channel(ARRIVALS);
    let (resolved_in, resolved) = mpsc::channel(ARRIVALS);
    let mut warnings = Vec::new();
    let watch = watch.map_err(|error| error.to_string());
    let watcher = watch.and_then(|watch| Watcher::spawn(watch).map_err(|error| error.to_string()));
    let watcher = watcher.map_err(|why| warnings.push(unwatched(&why))).ok();
    let mut driver = Driver {
        fleet,
        host,
        upkeep: Upkeep::default(),
        device: DeviceSpec { name: scope.device.clone(), mtu: MTU, queues: 1, offload, persistent: true },
        facts,
        made: false,
        found: standing != Plan::empty(&scope),
        scope,
        watcher,
        outers: Outers::new(mark, arrivals_in),
        lane: None,
        questions: Questions::default(),
        waiting: Waiting::default(),
        events: Events::new(events),
        bursts: Bursts::default(),
        warnings,
        put_back: None,
        mark,
        resolved_in,
        progress,
        planned: false,
        ending: None,
        failed: None,
    };
    early.into_iter().for_each(|command| driver.obey(command));
    Ok(Some((driver, Inputs { commands, arrivals, resolved })))
}

/// What the host looks like, or `None` where the end comes first. Other commands wait until there is someone to obey them.
async fn survey<H>(
    host: &mut HostThread<H>,
    scope: &Scope,
    commands: &mut mpsc::Receiver<Command>,
    early: &mut VecDeque<Command>,
) -> Result<Option<Box<Survey<H>>>, EngineError>
where
    H: Host + Send + 'static,
{
    host.order(Job::Survey(scope.clone()));
    let survey = loop {
        tokio::select! {
            answer = host.next() => match answer {
                Some(Answer::Surveyed(survey)) => break survey?,
                Some(_) => {}
                None => return Err(thread_ended()),
            },
            Some(command) = commands.recv() => match command {
                Command::Shutdown => return Ok(None),
                Command::Status(_) | Command::Explain { .. } | Command::Reload { .. } | Command::Tunnel { .. } => {
                    early.push_back(command);
                }
            },
        }
    };
    if survey.facts.may_change { Ok(Some(survey)) } else { Err(EngineError::NotPermitted) }
}

/// A sentence for `status`.
pub(super) fn unwatched(why: &str) -> String {
    format!("changes that other programs make to the network are not noticed: {why}")
}

/// The host's thread has ended before its time.
pub(super) fn thread_ended() -> EngineError {
    EngineError::System { what: "the host's thread", source: std::io::Error::other("it has ended") }
}

pub(super) fn random_seed() -> Result<[u8; 32], EngineError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| EngineError::System { what: "random bytes", source: std::io::Error::other(error) })?;
    Ok(seed)
}
