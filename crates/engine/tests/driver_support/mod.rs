//! The driver with a host in memory: a model whose queue and watch have descriptors, which notes what is done to it and in
//! which order, and which others may change behind the engine's back. Threads, runtime and clock are real.

#![allow(dead_code, clippy::unwrap_used, reason = "a test helper, of which each test file uses its own part")]

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mrvpn_engine::{
    Command, EngineConfig, EngineError, Event, Memory, Progress, Refused, Reloaded, Start, Status, Store, TunnelConfig,
    TunnelVerb,
};
use mrvpn_netplan::model::ModelHost;
use mrvpn_netplan::{
    DeviceSpec, Host, HostError, HostFacts, Plan, Queue, QueueCapabilities, QueueError, Scope, Sessions, Step, Watch,
};
use mrvpn_profile::{Credentials, Secret, ovpn};
use mrvpn_router::{Offload, Rule, Target, TunnelId};
use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Long enough for a loaded machine; nothing waits for its end but a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A packet that is the lane's end.
pub(crate) const FAULT: &[u8] = b"fault";

/// What was done to the host, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    Facts,
    Sessions,
    Watch,
    Standing,
    Open,
    Close,
    Step(Step),
    Remember,
}

/// A host that engine and test share.
#[derive(Clone)]
pub(crate) struct World(Arc<Mutex<State>>);

pub(crate) struct State {
    pub(crate) model: ModelHost,
    pub(crate) done: Vec<Done>,
    /// How long each call takes.
    pub(crate) pace: Duration,
    /// Opening is refused so often.
    pub(crate) refuse_open: usize,
    pub(crate) refuse_save: bool,
    pub(crate) refuse_watch: bool,
    /// What was remembered last.
    pub(crate) memory: Option<Memory>,
    pub(crate) opened: Vec<Instant>,
    device: Option<TestDevice>,
    bell: Arc<OwnedFd>,
}

/// The host's end of the interface.
struct TestDevice {
    packets: UnixDatagram,
    gone: Arc<AtomicBool>,
}

pub(crate) struct TestQueue {
    packets: UnixDatagram,
    gone: Arc<AtomicBool>,
}

pub(crate) struct TestWatch(Arc<OwnedFd>);

pub(crate) struct TestStore(World);

impl World {
    /// A host on which nothing of ours stands.
    pub(crate) fn new() -> Self {
        let model = ModelHost { facts: HostFacts { may_change: true, ..HostFacts::default() }, ..ModelHost::default() };
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap();
        Self(Arc::new(Mutex::new(State {
            model,
            done: Vec::new(),
            pace: Duration::ZERO,
            refuse_open: 0,
            refuse_save: false,
            refuse_watch: false,
            memory: None,
            opened: Vec::new(),
            device: None,
            bell: Arc::new(bell),
        })))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Others change something, and the kernel tells of it.
    pub(crate) fn others(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        state.ring();
    }

    /// Someone deletes the interface.
    pub(crate) fn delete_device(&self, name: &str) {
        self.others(|state| {
            state.model.lose(name);
            if let Some(device) = state.device.take() {
                device.gone.store(true, Ordering::Release);
                // As the kernel does: whoever waits is woken.
                let _ = device.packets.send(&[0]);
            }
        });
    }

    /// A program sends a packet into the interface.
    pub(crate) fn send(&self, packet: &[u8]) {
        self.state().device.as_ref().unwrap().packets.send(packet).unwrap();
    }

    /// What stands of this scope.
    pub(crate) fn standing(&self, scope: &Scope) -> Plan {
        let mut plan = self.state().model.standing(scope).unwrap();
        plan.addresses.sort();
        plan
    }

    /// Whether nothing is left of an engine.
    pub(crate) fn is_clean(&self) -> bool {
        let state = self.state();
        let model = &state.model;
        model.devices.is_empty()
            && model.addresses.is_empty()
            && model.routes.is_empty()
            && model.rules.is_empty()
            && model.firewall.is_none()
            && model.settings.is_empty()
    }

    /// How often what stands was read.
    pub(crate) fn looks(&self) -> usize {
        self.state().done.iter().filter(|done| **done == Done::Standing).count()
    }

    fn call(&self, done: Done) -> MutexGuard<'_, State> {
        let pace = self.state().pace;
        std::thread::sleep(pace);
        let mut state = self.state();
        state.done.push(done);
        state
    }
}

impl State {
    pub(crate) fn ring(&self) {
        rustix::io::write(&self.bell, &1_u64.to_ne_bytes()).unwrap();
    }
}

fn refused(what: &str) -> HostError {
    HostError::System { what: what.to_owned(), source: io::Error::other("the test refuses it") }
}

impl Host for World {
    type Queue = TestQueue;
    type Watch = TestWatch;

    fn facts(&mut self) -> Result<HostFacts, HostError> {
        self.call(Done::Facts).model.facts()
    }

    fn sessions(&mut self) -> Result<Sessions, HostError> {
        self.call(Done::Sessions).model.sessions()
    }

    fn watch(&mut self) -> Result<TestWatch, HostError> {
        let state = self.call(Done::Watch);
        if state.refuse_watch { Err(refused("watching")) } else { Ok(TestWatch(Arc::clone(&state.bell))) }
    }

    fn open(&mut self, device: &DeviceSpec) -> Result<Vec<TestQueue>, HostError> {
        let mut state = self.call(Done::Open);
        state.opened.push(Instant::now());
        if state.refuse_open > 0 {
            state.refuse_open -= 1;
            return Err(refused("opening"));
        }
        assert!(device.persistent, "what is routed into it must not find another way when the engine is killed");
        state.model.open(device)?;
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let gone = Arc::new(AtomicBool::new(false));
        state.device = Some(TestDevice { packets: theirs, gone: Arc::clone(&gone) });
        state.ring();
        Ok(vec![TestQueue { packets: ours, gone }])
    }

    fn close(&mut self, device: &str) -> Result<(), HostError> {
        let mut state = self.call(Done::Close);
        state.device = None;
        state.model.close(device)
    }

    fn standing(&mut self, scope: &Scope) -> Result<Plan, HostError> {
        self.call(Done::Standing).model.standing(scope)
    }

    fn apply(&mut self, step: &Step) -> Result<(), HostError> {
        let mut state = self.call(Done::Step(step.clone()));
        state.model.apply(step)?;
        // Changes of the engine's own are told like those of others.
        state.ring();
        Ok(())
    }
}

impl Store for TestStore {
    fn save(&mut self, memory: &Memory) -> io::Result<()> {
        let mut state = self.0.call(Done::Remember);
        if state.refuse_save {
            return Err(io::Error::other("the disk is full"));
        }
        state.memory = Some(memory.clone());
        Ok(())
    }
}

impl Watch for TestWatch {
    fn drain(&mut self) -> io::Result<bool> {
        match rustix::io::read(&self.0, &mut [0_u8; 8]) {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for TestWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for TestQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.packets.as_fd()
    }
}

impl Queue for TestQueue {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<(usize, Offload)>, QueueError> {
        if self.gone.load(Ordering::Acquire) {
            return Err(QueueError::Gone);
        }
        match self.packets.recv(buffer) {
            Ok(length) if &buffer[..length] == FAULT => panic!("the fault that a test asked for"),
            Ok(length) => Ok(Some((length, Offload::NONE))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&mut self, _: Offload, parts: &[&[u8]]) -> Result<bool, QueueError> {
        if self.gone.load(Ordering::Acquire) {
            return Err(QueueError::Gone);
        }
        Ok(self.packets.send(&parts.concat()).is_ok())
    }

    fn capabilities(&self) -> QueueCapabilities {
        QueueCapabilities::default()
    }
}

/// An engine that runs, and all that the program has of it.
pub(crate) struct Engine {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) progress: watch::Receiver<Progress>,
    pub(crate) events: broadcast::Receiver<Event>,
    pub(crate) task: JoinHandle<Result<(), EngineError>>,
}

impl Engine {
    pub(crate) fn start(world: &World, config: EngineConfig) -> Self {
        let (commands, commands_out) = mpsc::channel(64);
        let (progress_in, progress) = watch::channel(Progress::default());
        let (events_in, events) = broadcast::channel(1024);
        let start = Start {
            config,
            memory: Memory::default(),
            store: TestStore(world.clone()),
            commands: commands_out,
            progress: progress_in,
            events: events_in,
        };
        let task = tokio::spawn(mrvpn_engine::run(world.clone(), start));
        Self { commands, progress, events, task }
    }

    /// One whose first plan stands, and that has looked at what it did itself.
    pub(crate) async fn standing(world: &World, config: EngineConfig) -> Self {
        let mut engine = Self::start(world, config);
        engine.planned().await;
        rest(world).await;
        engine
    }

    pub(crate) async fn planned(&mut self) {
        let planned = self.progress.wait_for(|progress| progress.planned);
        tokio::time::timeout(PATIENCE, planned).await.unwrap().unwrap();
    }

    pub(crate) async fn status(&self) -> Status {
        self.ask(Command::Status).await.unwrap()
    }

    pub(crate) async fn reload(&self, config: EngineConfig, dry_run: bool) -> Result<Reloaded, Refused> {
        self.ask(|answer| Command::Reload { config: Box::new(config), dry_run, answer }).await.unwrap()
    }

    pub(crate) async fn tunnel(&self, name: &str, verb: TunnelVerb) -> Result<String, Refused> {
        self.ask(|answer| Command::Tunnel { name: name.to_owned(), verb, answer }).await.unwrap()
    }

    pub(crate) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.ok()?;
        tokio::time::timeout(PATIENCE, answered).await.unwrap().ok()
    }

    /// Tells it to end; returns what came of it and how long it took.
    pub(crate) async fn end(self) -> (Result<(), EngineError>, Duration) {
        let begun = Instant::now();
        let _ = self.commands.send(Command::Shutdown).await;
        let outcome = tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap();
        (outcome, begun.elapsed())
    }
}

/// Waits until `holds`; returns how long that took.
pub(crate) async fn until(holds: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it never comes to be");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    begun.elapsed()
}

/// Waits until nothing has been done to the host for a while.
pub(crate) async fn rest(world: &World) {
    let mut done = world.state().done.len();
    loop {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let now = world.state().done.len();
        if now == done {
            return;
        }
        done = now;
    }
}

/// Tunnels of these names, whose servers do not answer.
pub(crate) fn config(names: &[&str]) -> EngineConfig {
    let mut config = EngineConfig::new();
    config.tunnels = names.iter().map(|name| tunnel(name)).collect();
    config
}

/// One tunnel. Its profile claims 10.77.0.0/16.
pub(crate) fn tunnel(name: &str) -> TunnelConfig {
    let text = "client\ndev tun\nremote 127.0.0.1 9\nroute 10.77.0.0 255.255.0.0\nremote-cert-tls server\nauth-user-pass\n\
                <ca>\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n</ca>\n";
    TunnelConfig {
        name: name.to_owned(),
        file: format!("{name}.ovpn"),
        profile: ovpn::parse(text.as_bytes(), &mut ovpn::NoFiles).unwrap().profile,
        credentials: Some(Credentials { user: "ann".to_owned(), password: Secret::new("secret".to_owned()) }),
        default: false,
        strict_server: false,
        accept: Vec::new(),
        bypass: Vec::new(),
        warnings: Vec::new(),
    }
}

/// A rule that gives a prefix to the tunnel at `place`.
pub(crate) fn rule(to: &str, place: u16) -> Rule {
    Rule {
        name: None,
        to: vec![to.parse().unwrap()],
        from: Vec::new(),
        proto: Vec::new(),
        port: Vec::new(),
        via: Target::Tunnel(TunnelId::new(place)),
    }
}

/// Steps by prefix, for messages.
pub(crate) fn routes(steps: &[Step]) -> BTreeMap<String, usize> {
    let mut routes = BTreeMap::new();
    for step in steps {
        if let Step::AddRoute(route) = step {
            *routes.entry(route.prefix.to_string()).or_default() += 1;
        }
    }
    routes
}
