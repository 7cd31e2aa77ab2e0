//! `mrvpn up`: the engine in the foreground, until a signal or `mrvpn down`.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use mrvpn_engine::{Command, Progress as EngineProgress, Status};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::terminal::Progress;
use super::{UpArguments, answer, summary};
use crate::control::server;
use crate::failure::{FAILED, Failure};
use crate::instance::{Instance, Lock};
use crate::load;

/// 30 s: when `up` reports at the latest (contract.md section 1).
const REPORT_LIMIT: Duration = Duration::from_secs(30);
/// 2 s: a second signal within this time ends at once and leaves cleaning to `down`.
const SECOND_SIGNAL: Duration = Duration::from_secs(2);

pub(super) fn run(arguments: UpArguments, named: Option<&str>) -> Result<u8, Failure> {
    log_to_stderr();
    let instance = Instance::to_start(named)?;
    let loaded = load::load(arguments.config.as_deref(), &arguments.profiles, arguments.credentials.as_deref())?;
    for note in &loaded.notes {
        let _ = writeln!(std::io::stderr(), "warning: {note}");
    }
    let lock = instance.lock()?;
    mrvpn_host::sweep(&crate::instance::base()).map_err(|error| Failure::failed(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    runtime.block_on(serve(loaded.config, &instance, lock))
}

async fn serve(config: mrvpn_engine::EngineConfig, instance: &Instance, lock: Lock) -> Result<u8, Failure> {
    let mut signals = Signals::new().map_err(|error| Failure::failed(format!("no signals: {error}")))?;
    let host = mrvpn_host::LinuxHost::new().map_err(|error| Failure::failed(error.to_string()))?;
    let listener = server::listen(&instance.socket())
        .map_err(|error| Failure::failed(format!("{}: {error}", instance.socket().display())))?;
    let (commands, commands_out) = mpsc::channel(64);
    let (progress_in, progress) = watch::channel(EngineProgress::default());
    tokio::spawn(server::serve(listener, commands.clone()));
    let (events, _) = tokio::sync::broadcast::channel(1024);
    let start = mrvpn_engine::Start {
        config,
        memory: mrvpn_engine::Memory::default(),
        store: mrvpn_engine::NoStore,
        commands: commands_out,
        progress: progress_in,
        events,
    };
    let mut engine = tokio::spawn(mrvpn_engine::run(host, start));
    let mut watcher = Watcher::new(commands, progress);
    let mut hopeless = false;
    let outcome = loop {
        tokio::select! {
            ended = &mut engine => break ended,
            () = signals.next() => signals.ask_end(&watcher.commands).await,
            seen = watcher.next() => {
                if seen == Seen::Hopeless && !hopeless {
                    hopeless = true;
                    let _ = watcher.commands.send(Command::Shutdown).await;
                }
            }
        }
    };
    drop(lock);
    match outcome {
        Ok(Ok(())) if hopeless => Ok(FAILED),
        Ok(Ok(())) => Ok(0),
        Ok(Err(error)) => Err(Failure::failed(error.to_string())),
        Err(_) => Err(Failure::failed("the engine stopped by a fault of its own").hint("`mrvpn down` cleans up")),
    }
}

/// Ctrl-C, SIGTERM and a closed terminal.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    first: Option<Instant>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            first: None,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }

    /// The first one ends in good order; a second one soon after ends at once.
    async fn ask_end(&mut self, commands: &mpsc::Sender<Command>) {
        if self.first.is_some_and(|first| first.elapsed() < SECOND_SIGNAL) {
            let _ = writeln!(std::io::stderr(), "ended at once; `mrvpn down` cleans up");
            std::process::exit(i32::from(FAILED));
        }
        self.first = Some(Instant::now());
        let _ = commands.send(Command::Shutdown).await;
    }
}

/// What the engine's progress means for the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Nothing to be done.
    Change,
    /// Every tunnel was refused for good.
    Hopeless,
}

/// Follows the engine, reports once when it is ready and then every change of a tunnel's state.
struct Watcher {
    commands: mpsc::Sender<Command>,
    progress: watch::Receiver<EngineProgress>,
    limit: Instant,
    reported: bool,
    terminal: Progress,
    states: Vec<String>,
}

impl Watcher {
    fn new(commands: mpsc::Sender<Command>, progress: watch::Receiver<EngineProgress>) -> Self {
        let limit = Instant::now() + REPORT_LIMIT;
        Self { commands, progress, limit, reported: false, terminal: Progress::new(), states: Vec::new() }
    }

    async fn next(&mut self) -> Seen {
        let late = async { if self.reported { std::future::pending().await } else { sleep_until(self.limit).await } };
        let due = tokio::select! {
            changed = self.progress.changed() => {
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
                false
            }
            () = late => true,
        };
        let seen = *self.progress.borrow_and_update();
        if let Some(status) = self.status().await {
            self.tell_changes(&status);
            if !self.reported && (seen.ready || due) {
                self.reported = true;
                answer(&summary::ready(&status));
            }
        }
        if seen.hopeless { Seen::Hopeless } else { Seen::Change }
    }

    async fn status(&self) -> Option<Status> {
        let (sender, receiver) = oneshot::channel();
        self.commands.send(Command::Status(sender)).await.ok()?;
        receiver.await.ok()
    }

    fn tell_changes(&mut self, status: &Status) {
        let states: Vec<String> = status.tunnels.iter().map(|tunnel| tunnel.state.clone()).collect();
        for (place, tunnel) in status.tunnels.iter().enumerate() {
            if self.states.get(place) != Some(&tunnel.state) {
                let why = tunnel.error.as_ref().map(|error| format!(": {}", error.message)).unwrap_or_default();
                self.terminal.say(&format!("{} {}{why}", tunnel.name, tunnel.state));
            }
        }
        self.states = states;
    }
}

/// Warnings and worse of the engine go to stderr; `MRVPN_LOG` asks for more. On a terminal the progress says what a
/// warning would.
fn log_to_stderr() {
    let usual = if std::io::stderr().is_terminal() { "error" } else { "warn" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("MRVPN_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(usual));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
}
