//! The process that serves: it takes the instance's lock and a place in the network namespace, runs the engine with the
//! Linux host, answers the control socket, and reports once it is ready. It reads no file that a caller named; that was
//! done before, or the contents came in a bundle (`mrvpn up --detach`).

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use mrvpn_engine::{Command, EngineError, Progress, Start};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::{JoinError, JoinHandle};
use zeroize::Zeroizing;

use super::up::place::{self, Place};
use super::up::report::Reporter;
use super::up::signals::{self, Asked, Attended, Signals};
use super::up::watcher::{Seen, Watcher};
use crate::bundle::{Bundle, limits};
use crate::control::server::{self, Serving};
use crate::failure::{FAILED, Failure};
use crate::hardening;
use crate::instance::Instance;
use crate::load;
use crate::log_ring::LogRing;
use crate::running::{Now, Running};
use crate::state::StateDirectory;

/// 64: commands that wait for the engine.
const COMMANDS: usize = 64;
/// 1,024: events that a slow follower may be behind.
const EVENTS: usize = 1024;

/// What an engine is to do.
pub(super) struct Order {
    /// What it runs.
    pub(super) now: Now,
    /// How long it may take to be ready before it reports all the same.
    pub(super) wait: Duration,
    /// The log of this process.
    pub(super) log: LogRing,
    /// Whether it hangs on a terminal.
    pub(super) attended: Attended,
}

/// The hidden command that `up --detach` starts: in a session of its own, the bundle on its standard input, its report on
/// its standard output. A failure is reported there too.
pub(super) fn detached(wait: u64, bundle: usize, named: Option<&str>) -> u8 {
    // No terminal is this session's: one that is closed does not reach it. It leads one already where a shell made it so.
    let _ = rustix::process::setsid();
    // It was started by another name (`/proc/self/exe`); lists of processes show this one.
    let _ = rustix::thread::set_name(c"mrvpn");
    hardening::keep_secrets();
    let log = LogRing::begin();
    let reporter = Reporter::to_starter();
    let outcome = Instance::to_start(named).and_then(|instance| {
        let now = received(bundle, instance.name())?;
        run(&instance, Order { now, wait: Duration::from_secs(wait), log, attended: Attended::No }, reporter)
    });
    outcome.unwrap_or_else(|failure| {
        tracing::error!("{}", failure.sentence());
        Reporter::to_starter().failed(&failure);
        failure.code()
    })
}

/// Reads a bundle of so many bytes, straight into a buffer that does not grow: no copy of a secret stays behind.
fn received(length: usize, instance: &str) -> Result<Now, Failure> {
    let mut bytes = Zeroizing::new(vec![0; length.min(limits::BUNDLE)]);
    let pipe = std::io::stdin().as_fd().try_clone_to_owned();
    let read = pipe.and_then(|pipe| File::from(pipe).read_exact(&mut bytes));
    read.map_err(|error| Failure::failed(format!("the configuration did not arrive: {error}")))?;
    let mut bundle = Bundle::decode(&bytes)?;
    let loaded = load::load(&bundle.arguments, &mut bundle.files)?;
    Ok(Now::new(instance, bundle.arguments, loaded, bundle.answers))
}

/// Runs an engine until it is told to end. Returns the exit code of `up`.
pub(super) fn run(instance: &Instance, order: Order, reporter: Reporter) -> Result<u8, Failure> {
    let lock = instance.lock()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(serve(instance, order, reporter));
    drop(lock);
    outcome
}

async fn serve(instance: &Instance, mut order: Order, reporter: Reporter) -> Result<u8, Failure> {
    let signals = Signals::new(order.attended).map_err(|error| Failure::failed(format!("no signals: {error}")))?;
    let place = place::take(instance, &order.now.config)?;
    let mut begun = begin(instance, place, &mut order)?;
    begun.serve_commands(order.now, order.log);
    let watcher = Watcher::new(begun.commands.clone(), begun.progress.clone(), order.wait, reporter);
    let end = follow(&mut begun, signals, watcher).await;
    match end.ended {
        Ok(Ok(())) if end.given_up => Ok(FAILED),
        Ok(Ok(())) => Ok(0),
        Ok(Err(error)) => Err(Failure::failed(error.to_string())),
        Err(_) => Err(Failure::failed("the engine stopped by a fault of its own").hint("`mrvpn down` cleans up")),
    }
}

/// An engine that has been started.
struct Begun {
    engine: JoinHandle<Result<(), EngineError>>,
    commands: mpsc::Sender<Command>,
    progress: watch::Receiver<Progress>,
    events: broadcast::Sender<mrvpn_engine::Event>,
    listener: Option<tokio::net::UnixListener>,
}

/// How it ended.
struct Ended {
    ended: Result<Result<(), EngineError>, JoinError>,
    given_up: bool,
}

fn begin(instance: &Instance, place: Place, order: &mut Order) -> Result<Begun, Failure> {
    let Place { host, scope, mut warnings } = place;
    let socket = instance.socket();
    let listener =
        server::listen(&socket).map_err(|error| Failure::failed(format!("{}: {error}", socket.display())))?;
    let store = StateDirectory::of(instance.name());
    let (memory, damaged) = store.recall();
    warnings.extend(damaged);
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    order.now.config.scope = scope;
    order.now.config.warnings.extend(warnings);
    let (commands_in, commands) = mpsc::channel(COMMANDS);
    let (progress_in, progress) = watch::channel(Progress::default());
    let (events, _) = broadcast::channel(EVENTS);
    let start = Start {
        config: order.now.config.clone(),
        memory,
        store,
        commands,
        progress: progress_in,
        events: events.clone(),
    };
    let engine = tokio::spawn(mrvpn_engine::run(host, start));
    Ok(Begun { engine, commands: commands_in, progress, events, listener: Some(listener) })
}

impl Begun {
    /// Answers the control socket from now on.
    fn serve_commands(&mut self, now: Now, log: LogRing) {
        let Some(listener) = self.listener.take() else { return };
        let serving = Serving {
            commands: self.commands.clone(),
            progress: self.progress.clone(),
            events: self.events.clone(),
            log,
            running: Arc::new(Running::new(self.commands.clone(), now)),
        };
        tokio::spawn(server::serve(listener, serving));
    }
}

/// Follows the engine until it has ended: by itself, by a signal, by `mrvpn down`, or because every tunnel was refused for
/// good before it was ready.
async fn follow(begun: &mut Begun, mut signals: Signals, mut watcher: Watcher) -> Ended {
    let mut given_up = false;
    loop {
        tokio::select! {
            ended = &mut begun.engine => {
                return Ended { ended, given_up };
            }
            asked = signals.next() => match asked {
                Asked::End => drop(begun.commands.send(Command::Shutdown).await),
                Asked::EndAtOnce => signals::end_at_once(),
            },
            seen = watcher.next() => match seen {
                Seen::Change => {}
                Seen::Hopeless => {
                    given_up = true;
                    let _ = begun.commands.send(Command::Shutdown).await;
                }
            },
        }
    }
}
