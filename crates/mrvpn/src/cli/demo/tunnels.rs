//! The demo's client: the engine that `mrvpn up` runs, with the same loader, in this process and the calling thread's
//! network namespace. It keeps nothing on the disk and has no control socket: its commands go straight to it.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mrvpn_engine::{Command, EngineConfig, EngineError, Memory, NoStore, Progress, Start, Status};
use mrvpn_host::LinuxHost;
use mrvpn_netplan::Scope;
use mrvpn_netplan::scope::RULE_PRIORITY;
use mrvpn_profile::Secret;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::map;
use crate::control::Source;
use crate::failure::Failure;
use crate::load::arguments::Arguments;
use crate::load::reader::{Contents, Recorded};
use crate::load::{self};

/// A directory that is nowhere: files of the demo are in memory.
const NOWHERE: &str = "/demo";
/// 20 ms between two looks at the engine.
const LOOK: Duration = Duration::from_millis(20);
/// 10 s: how long it may take to leave.
const LEAVING: Duration = Duration::from_secs(10);

/// The engine, running.
pub(super) struct Tunnels {
    commands: mpsc::Sender<Command>,
    engine: Option<JoinHandle<Result<(), String>>>,
    _progress: watch::Receiver<Progress>,
}

impl Tunnels {
    /// Starts the engine in the network namespace of the calling thread, with a profile for each name.
    pub(super) fn start(profiles: &[(&str, String)]) -> Result<Self, Failure> {
        let config = configuration(profiles)?;
        let (commands_in, commands) = mpsc::channel(8);
        let (progress_in, progress) = watch::channel(Progress::default());
        let (events, _) = broadcast::channel(16);
        let start =
            Start { config, memory: Memory::default(), store: NoStore, commands, progress: progress_in, events };
        let engine = thread::Builder::new().name(String::from("engine")).spawn(move || run(start));
        let engine = engine.map_err(|error| Failure::failed(format!("starting a thread: {error}")))?;
        Ok(Self { commands: commands_in, engine: Some(engine), _progress: progress })
    }

    /// What stands.
    pub(super) fn status(&mut self) -> Result<Status, Failure> {
        let (answer, answered) = oneshot::channel();
        let status =
            self.commands.blocking_send(Command::Status(answer)).ok().and_then(|()| answered.blocking_recv().ok());
        status.ok_or_else(|| self.why_it_ended())
    }

    /// Waits until the status is as wanted; it comes as an error where it is not after `limit`.
    pub(super) fn wait(
        &mut self,
        limit: Duration,
        wanted: impl Fn(&Status) -> bool,
    ) -> Result<Result<Status, Status>, Failure> {
        let begun = Instant::now();
        loop {
            let status = self.status()?;
            if wanted(&status) {
                return Ok(Ok(status));
            }
            if begun.elapsed() > limit {
                return Ok(Err(status));
            }
            thread::sleep(LOOK);
        }
    }

    /// Takes everything down.
    pub(super) fn end(mut self) -> Result<(), Failure> {
        let _ = self.commands.blocking_send(Command::Shutdown);
        let begun = Instant::now();
        while self.engine.as_ref().is_some_and(|engine| !engine.is_finished()) {
            if begun.elapsed() > LEAVING {
                return Err(Failure::failed("the engine does not end"));
            }
            thread::sleep(LOOK);
        }
        self.result().map_err(Failure::failed)
    }

    fn why_it_ended(&mut self) -> Failure {
        Failure::failed(self.result().err().unwrap_or_else(|| String::from("the engine has ended by itself")))
    }

    fn result(&mut self) -> Result<(), String> {
        let ended = self.engine.take().map(JoinHandle::join);
        ended.unwrap_or(Ok(Ok(()))).unwrap_or_else(|_| Err(String::from("the engine stopped by a fault of its own")))
    }
}

fn run(start: Start<NoStore>) -> Result<(), String> {
    let scope = start.config.scope.clone();
    let host = LinuxHost::new().map_err(|error| error.to_string())?.with_scope(&scope);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(mrvpn_engine::run(host, start)).map_err(|error: EngineError| error.to_string())
}

/// The configuration as `mrvpn up -c mrvpn.toml` would read it, from memory.
fn configuration(profiles: &[(&str, String)]) -> Result<EngineConfig, Failure> {
    let path = |name: &str| Path::new(NOWHERE).join(name);
    let mut files = BTreeMap::from([(path("mrvpn.toml"), Ok(contents(map::config())))]);
    files.extend(profiles.iter().map(|(name, text)| (path(&format!("{name}.ovpn")), Ok(contents(text.clone())))));
    let source = Source { config: Some(path("mrvpn.toml").display().to_string()), ..Source::default() };
    let loaded = load::load(&Arguments { source, service_credentials: None }, &mut Recorded(files))?;
    Ok(EngineConfig { scope: Scope::new(0, "demo", RULE_PRIORITY, None), ..loaded.config })
}

fn contents(text: String) -> Contents {
    Contents { bytes: Secret::new(text.into_bytes()), open_to_others: false }
}
