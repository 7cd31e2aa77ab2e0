//! Where the engine meets the machine: one control task on tokio that owns the [`Fleet`], one thread for the host, one
//! a lane. It carries out what the fleet asks and tells it what came of it; it decides nothing about a tunnel.

pub mod clock; // CLOCK_BOOTTIME as moments
mod host_thread; // the blocking Host on a thread of its own
mod lane_thread; // a lane with its sockets and its TUN queue
mod outer; // sockets of sessions that are being made
mod resolver; // asks for the names of remotes
pub mod socket; // marked sockets

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use mrvpn_netplan::{DeviceSpec, Host, HostError, OffloadSet, Plan, Scope, Step};
use mrvpn_router::{Attachment, DropReason, TunnelId};
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::config::EngineConfig;
use crate::event::Event;
use crate::explained::{Explained, FlowQuery};
use crate::fleet::{Counted, Fleet, FleetError, Request};
use crate::lane::{Counters, Lane, LaneCommand, LaneReport};
use crate::memory::{Memory, Store};
use crate::status::Status;
use crate::tunnel::{Ask, Tunnel, TunnelState};
use host_thread::HostThread;
use lane_thread::{LaneHandle, LaneMessage, LaneThread};
use outer::{Arrival, Arrived, Outers, Sent};

/// 256: arrivals that wait for the control task; a full queue makes the readers wait, and the kernel drops.
const ARRIVALS: usize = 256;
/// 1500: the interface's MTU, which never changes (design.md, decision 11).
const MTU: u16 = 1500;
/// 2 s: how long a clean end may take (threats-and-faults.md, F-34).
const FAREWELL: Duration = Duration::from_secs(2);

/// What the program asks of a running engine.
#[derive(Debug)]
pub enum Command {
    /// The status document.
    Status(oneshot::Sender<Status>),
    /// Where a flow goes, and why.
    Explain {
        /// Which.
        query: FlowQuery,
        /// For the answer.
        answer: oneshot::Sender<Explained>,
    },
    /// Run another configuration: what is the same in both is not touched. Nothing changes when it is refused.
    Reload {
        /// All of it; its scope is passed over.
        config: Box<EngineConfig>,
        /// Say what would change and change nothing.
        dry_run: bool,
        /// For what came of it, once the host has been changed.
        answer: oneshot::Sender<Result<Reloaded, Refused>>,
    },
    /// One tunnel, the others untouched.
    Tunnel {
        /// Its name.
        name: String,
        /// What.
        verb: TunnelVerb,
        /// For a sentence that says what holds now.
        answer: oneshot::Sender<Result<String, Refused>>,
    },
    /// End everything and leave the host as it was.
    Shutdown,
}

/// What is done to one tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelVerb {
    /// Connect again after a stop or a failure.
    Start,
    /// Disconnect: rules keep what they give to it, what its server claimed is let go.
    Stop,
    /// Disconnect and connect again.
    Restart,
}

/// What a reload has changed, or would change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Names of tunnels that are new.
    pub added: Vec<String>,
    /// Names of tunnels that are gone.
    pub removed: Vec<String>,
    /// Names of tunnels that have to connect again.
    pub restarted: Vec<String>,
    /// Names of tunnels of which only what the engine does with them has changed.
    pub changed: Vec<String>,
    /// Whether the rules are others.
    pub rules: bool,
    /// Changes of the host, in order.
    pub steps: Vec<Step>,
    /// What takes effect with the next `up` only, and other sentences for the user.
    pub notes: Vec<String>,
}

/// The engine does not do it, and nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Refused {
    /// Why.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// What an engine is started with.
pub struct Start<S> {
    /// What to run.
    pub config: EngineConfig,
    /// What the last engine remembered.
    pub memory: Memory,
    /// Where this one's memory is kept.
    pub store: S,
    /// What it is asked.
    pub commands: mpsc::Receiver<Command>,
    /// How far it is.
    pub progress: watch::Sender<Progress>,
    /// What happens.
    pub events: broadcast::Sender<Event>,
}

/// How far the engine is; published at each change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Each tunnel is up or has failed.
    pub ready: bool,
    /// Each tunnel was refused for good.
    pub hopeless: bool,
    /// Counts the changes.
    pub version: u64,
}

/// The engine cannot run.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The host does not do what it must.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The configuration does not fit this host.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The plan could not be carried out; the host is as before.
    #[error("the host could not be set up: {0}")]
    Plan(String),
    /// No permission to change the network.
    #[error("needs CAP_NET_ADMIN: run `sudo mrvpn up`")]
    NotPermitted,
    /// The system refuses a thread or random bytes.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// Somebody deleted the device.
    #[error("the interface {0} was deleted by someone else; everything was taken down")]
    DeviceGone(String),
}

/// Runs an engine until it is told to end.
///
/// # Errors
/// The host or the configuration does not let it run; the host is as it was then.
pub async fn run<H, S>(host: H, start: Start<S>) -> Result<(), EngineError>
where
    H: Host + Send + 'static,
    H::Queue: AsFd,
    H::Watch: AsFd,
    S: Store,
{
    let Start { config, memory: _, store: _, commands, progress, events: _ } = start;
    let host = HostThread::spawn(host).map_err(|source| EngineError::System { what: "a thread", source })?;
    let facts = host.facts().await?;
    if !facts.may_change {
        return Err(EngineError::NotPermitted);
    }
    let (scope, mark, offload) = (config.scope.clone(), config.mark.0, config.offload);
    let mut fleet = Fleet::new(config, facts, random_seed()?, clock::now())?;
    fleet.handle_resolvers(resolver::system_resolvers());
    let (arrivals_in, arrivals) = mpsc::channel(ARRIVALS);
    let (resolved_in, resolved) = mpsc::channel(ARRIVALS);
    let mut driver = Driver {
        fleet,
        host,
        applied: Plan::empty(&scope),
        scope,
        mark,
        offload,
        outers: Outers::new(mark, arrivals_in),
        lane: None,
        applying: None,
        resolved_in,
        progress,
        ending: None,
        device_gone: false,
    };
    driver.serve(Inputs { commands, arrivals, resolved }).await
}

/// What comes in by channel.
struct Inputs {
    commands: mpsc::Receiver<Command>,
    arrivals: mpsc::Receiver<Arrived>,
    resolved: mpsc::Receiver<(TunnelId, Result<Vec<IpAddr>, String>)>,
}

/// The lane that runs, and what it counts and reports.
struct RunningLane {
    handle: LaneHandle,
    counters: Arc<Counters>,
    reports: mpsc::Receiver<LaneReport>,
}

struct Driver<Q> {
    fleet: Fleet,
    host: HostThread<Q>,
    scope: Scope,
    mark: u32,
    offload: OffloadSet,
    outers: Outers,
    lane: Option<RunningLane>,
    applied: Plan,
    applying: Option<(Plan, oneshot::Receiver<Result<(), String>>)>,
    resolved_in: mpsc::Sender<(TunnelId, Result<Vec<IpAddr>, String>)>,
    progress: watch::Sender<Progress>,
    ending: Option<Instant>,
    device_gone: bool,
}

impl<Q: mrvpn_netplan::Queue + AsFd + Send + 'static> Driver<Q> {
    /// The one loop: carry out what is asked, wait for the next thing, tell the fleet.
    async fn serve(&mut self, mut inputs: Inputs) -> Result<(), EngineError> {
        self.set_up().await?;
        loop {
            self.carry_out();
            self.publish();
            if self.is_over() {
                break;
            }
            let due = self.due();
            tokio::select! {
                Some(command) = inputs.commands.recv() => self.obey(command),
                Some(arrived) = inputs.arrivals.recv() => self.arrive(arrived),
                Some((tunnel, answer)) = inputs.resolved.recv() => {
                    self.fleet.handle_resolved(tunnel, answer, clock::now());
                }
                Some(report) = next_report(&mut self.lane) => self.hear(report),
                outcome = applied(&mut self.applying) => self.note_applied(outcome),
                () = sleep_until(due) => {}
            }
            self.pass_time();
        }
        self.tear_down().await
    }

    /// The device, its lane and the first plan: before the first datagram leaves.
    async fn set_up(&mut self) -> Result<(), EngineError> {
        let mut first = None;
        while let Some(request) = self.fleet.poll_request() {
            match request {
                Request::Plan(plan) => first = Some(plan),
                Request::Policy(_) | Request::Tunnel { .. } => {}
            }
        }
        let Some(plan) = first else { return Ok(()) };
        let device = DeviceSpec {
            name: plan.scope.device.clone(),
            mtu: MTU,
            queues: 1,
            offload: self.offload,
            persistent: false,
        };
        self.start_lane(device).await?;
        let outcome = self.host.apply(mrvpn_netplan::diff(&self.applied, &plan), None).await;
        match outcome.unwrap_or_else(|_| Err("the host's thread has ended".to_owned())) {
            Ok(()) => self.applied = plan,
            Err(why) => {
                self.stop_lane();
                return Err(EngineError::Plan(why));
            }
        }
        self.fleet.handle_planned(Ok(()), clock::now());
        Ok(())
    }

    async fn start_lane(&mut self, device: DeviceSpec) -> Result<(), EngineError> {
        let mut queues = self.host.open(device).await?;
        let Some(queue) = queues.pop() else { return Err(EngineError::DeviceGone(self.scope.device.clone())) };
        let lane = Lane::new(random_seed()?, Arc::clone(self.fleet.policy()), Attachment::Rules);
        let counters = lane.counters();
        let (reports_in, reports) = mpsc::channel(ARRIVALS);
        let handle = LaneThread::spawn(lane, queue, self.offload, reports_in)
            .map_err(|source| EngineError::System { what: "a lane's thread", source })?;
        self.lane = Some(RunningLane { handle, counters, reports });
        Ok(())
    }

    fn carry_out(&mut self) {
        while let Some(request) = self.fleet.poll_request() {
            match request {
                Request::Policy(policy) => self.tell_lane(LaneCommand::Policy(policy)),
                Request::Plan(plan) => {
                    let steps = mrvpn_netplan::diff(&self.applied, &plan);
                    let told = self.lane.as_ref().map(|lane| lane.handle.told());
                    self.applying = Some((plan, self.host.apply(steps, told)));
                }
                Request::Tunnel { tunnel, ask } => self.serve_tunnel(tunnel, ask),
            }
        }
    }

    fn serve_tunnel(&mut self, tunnel: TunnelId, ask: Ask) {
        match ask {
            Ask::Resolve { host } => {
                let (answer, mark) = (self.resolved_in.clone(), self.mark);
                tokio::spawn(async move {
                    let found = resolver::resolve(&host, mark).await;
                    let _ = answer.send((tunnel, found)).await;
                });
            }
            Ask::Open { attempt, remote, transport } => {
                if let Some(outcome) = self.outers.open(tunnel, attempt, remote, transport) {
                    self.fleet.handle_opened(tunnel, attempt, outcome, clock::wall(), clock::now());
                }
            }
            Ask::Transmit { attempt, datagram } => match self.outers.send(tunnel, attempt, datagram) {
                Sent::Done => {}
                Sent::Refused => self.fleet.handle_port_refused(tunnel, attempt, clock::now()),
                Sent::WithLane(datagram) => self.tell_lane(LaneCommand::Control { tunnel, datagram }),
            },
            Ask::Adopt { attempt, keys, ping } => {
                let socket = self.outers.hand_over(tunnel, attempt).map(|socket| (tunnel, socket));
                let command = LaneCommand::Adopt { tunnel, attempt, keys, ping };
                self.message_lane(LaneMessage { command, socket });
            }
            Ask::Install { keys } => self.tell_lane(LaneCommand::Install { tunnel, keys }),
            Ask::Retire { key_id } => self.tell_lane(LaneCommand::Retire { tunnel, key_id }),
            Ask::ExitNotify => self.tell_lane(LaneCommand::ExitNotify { tunnel }),
            Ask::Drop { attempt } => self.outers.drop_one(tunnel, attempt),
            Ask::Close => {
                if self.outers.close(tunnel) {
                    self.tell_lane(LaneCommand::Release { tunnel });
                }
            }
        }
    }

    fn tell_lane(&mut self, command: LaneCommand) {
        self.message_lane(LaneMessage { command, socket: None });
    }

    fn message_lane(&mut self, message: LaneMessage) {
        if let Some(lane) = &self.lane {
            lane.handle.send(message);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Status(answer) => {
                if let Some(lane) = &self.lane {
                    self.fleet.handle_offloads(lane.handle.offloads());
                }
                let counted = |tunnel: Option<TunnelId>| self.counted(tunnel);
                let _ = answer.send(self.fleet.status(clock::pair(), &counted));
            }
            Command::Explain { .. } | Command::Reload { .. } | Command::Tunnel { .. } => {}
            Command::Shutdown => self.begin_end(),
        }
    }

    fn begin_end(&mut self) {
        if self.ending.is_none() {
            self.ending = Some(Instant::now() + FAREWELL);
            self.fleet.close(clock::now());
        }
    }

    fn arrive(&mut self, arrived: Arrived) {
        let Arrived { tunnel, attempt, arrival } = arrived;
        let now = clock::now();
        if !self.outers.is_alive(tunnel, attempt) {
            return;
        }
        match arrival {
            Arrival::Datagram(datagram) => {
                let taken = self.fleet.handle_datagram(tunnel, attempt, &datagram, now);
                self.note_control(tunnel, taken);
            }
            Arrival::PortRefused => self.fleet.handle_port_refused(tunnel, attempt, now),
            Arrival::Connected(stream) => {
                if self.outers.connected(tunnel, attempt, stream) {
                    self.fleet.handle_opened(tunnel, attempt, Ok(()), clock::wall(), now);
                }
            }
            Arrival::NotConnected(why) => self.fleet.handle_opened(tunnel, attempt, Err(why), clock::wall(), now),
            Arrival::StreamEnded(how) => self.fleet.handle_stream_ended(tunnel, attempt, how, now),
        }
    }

    /// Counts a control packet that no session took.
    fn note_control(&self, tunnel: TunnelId, taken: bool) {
        if !taken && let Some(lane) = &self.lane {
            lane.counters.count(Some(tunnel), DropReason::Control);
        }
    }

    fn hear(&mut self, report: LaneReport) {
        let now = clock::now();
        match report {
            LaneReport::Control { tunnel, datagram } => {
                let taken = self.fleet.handle_control(tunnel, &datagram, now);
                self.note_control(tunnel, taken);
            }
            LaneReport::PeerExit { tunnel, attempt } => self.fleet.handle_peer_exit(tunnel, attempt, now),
            LaneReport::KeyWorn { tunnel, attempt } => self.fleet.handle_key_worn(tunnel, attempt, now),
            LaneReport::StreamEnded { tunnel, attempt, error } => {
                self.fleet.handle_stream_ended(tunnel, attempt, error, now);
            }
            // A hint that anyone on the way can forge: a session that is up lives on until it is silent.
            LaneReport::SocketError { tunnel, error } => tracing::debug!(%tunnel, %error, "the tunnel's socket"),
            LaneReport::QueueGone => {
                self.device_gone = true;
                self.begin_end();
            }
        }
    }

    fn note_applied(&mut self, outcome: Result<(), String>) {
        let Some((plan, _)) = self.applying.take() else { return };
        match &outcome {
            Ok(()) => self.applied = plan,
            Err(why) => tracing::error!("the host could not be changed: {why}"),
        }
        self.fleet.handle_planned(outcome, clock::now());
    }

    /// Tells each tunnel when it was last heard before its timers are looked at: our own lateness is no dead server.
    fn pass_time(&mut self) {
        let now = clock::now();
        if let Some(lane) = &self.lane {
            let up = |tunnel: &&Tunnel| tunnel.state() == TunnelState::Up;
            let carried: Vec<TunnelId> = self.fleet.tunnels().iter().filter(up).map(Tunnel::id).collect();
            for tunnel in carried {
                if let Some(at) = lane.counters.last_heard(tunnel) {
                    self.fleet.heard(tunnel, at);
                }
                self.fleet.carried(tunnel, lane.counters.carried(tunnel), now);
            }
        }
        self.fleet.handle_timeout(clock::now());
    }

    fn due(&self) -> Instant {
        let now = clock::now();
        let fleet = self.fleet.poll_timeout().map(|at| Instant::now() + at.since(now));
        let idle = Instant::now() + Duration::from_secs(3600);
        fleet.into_iter().chain(self.ending).min().unwrap_or(idle)
    }

    fn publish(&self) {
        let fleet = &self.fleet;
        let now = Progress { ready: fleet.is_ready(), hopeless: fleet.is_hopeless(), version: fleet.version() };
        self.progress.send_if_modified(|progress| std::mem::replace(progress, now) != now);
    }

    fn is_over(&self) -> bool {
        self.ending.is_some_and(|limit| self.fleet.is_closed() || Instant::now() >= limit)
    }

    fn counted(&self, tunnel: Option<TunnelId>) -> Counted {
        let Some(lane) = &self.lane else { return Counted::default() };
        let counters = &lane.counters;
        let drops = DropReason::ALL.iter().map(|reason| (reason.name().to_owned(), counters.drops(tunnel, *reason)));
        Counted {
            rx_bytes: tunnel.map_or(0, |tunnel| counters.rx_bytes(tunnel)),
            tx_bytes: tunnel.map_or(0, |tunnel| counters.tx_bytes(tunnel)),
            drops: drops.filter(|(_, count)| *count > 0).collect(),
        }
    }

    fn stop_lane(&mut self) {
        if let Some(lane) = self.lane.take() {
            lane.handle.stop();
        }
    }

    /// Takes down what was made: routes and rules first, then the device with its lane.
    async fn tear_down(&mut self) -> Result<(), EngineError> {
        if let Some((plan, answer)) = self.applying.take()
            && let Ok(Ok(())) = answer.await
        {
            self.applied = plan;
        }
        let outcome = self.host.apply(mrvpn_netplan::diff(&self.applied, &Plan::empty(&self.scope)), None).await;
        self.stop_lane();
        if let Err(why) = outcome.unwrap_or_else(|_| Err("the host's thread has ended".to_owned())) {
            return Err(EngineError::Plan(why));
        }
        if self.device_gone { Err(EngineError::DeviceGone(self.scope.device.clone())) } else { Ok(()) }
    }
}

/// The lane's next report; never, while there is no lane.
async fn next_report(lane: &mut Option<RunningLane>) -> Option<LaneReport> {
    match lane {
        Some(lane) => lane.reports.recv().await,
        None => std::future::pending().await,
    }
}

/// The outcome of the plan that is being applied; never, while there is none.
async fn applied(applying: &mut Option<(Plan, oneshot::Receiver<Result<(), String>>)>) -> Result<(), String> {
    match applying {
        Some((_, answer)) => answer.await.unwrap_or_else(|_| Err("the host's thread has ended".to_owned())),
        None => std::future::pending().await,
    }
}

fn random_seed() -> Result<[u8; 32], EngineError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| EngineError::System { what: "random bytes", source: std::io::Error::other(error) })?;
    Ok(seed)
}
