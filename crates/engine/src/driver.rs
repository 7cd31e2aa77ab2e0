//! Where the engine meets the machine: one control task on tokio that owns the [`Fleet`], one thread for the host, one
//! a lane. It carries out what the fleet asks and tells it what came of it; it decides nothing about a tunnel. Here is the
//! loop; each thing that wakes it is served in a file of its own.

mod asks; // what the fleet asks for
mod audits; // when to look at the host
pub mod clock; // CLOCK_BOOTTIME as moments
mod command; // what the program asks, as values
mod end; // the end, in good order
mod events; // what happens, on its way to listeners
mod hear; // what sockets and the lane report
mod host_answers; // what came of the host's jobs
mod host_thread; // the blocking Host on a thread of its own
pub mod lane_thread; // a lane with its sockets and its TUN queue
mod obey; // what the program asks
mod outer; // sockets of sessions that are being made
mod questions; // explanations that wait for the lane
mod rebuilds; // how often the interface is made anew
mod resolver; // asks for the names of remotes
pub mod socket; // marked sockets
mod start; // up to the first plan
mod upkeep; // what the host is to do next
mod waiting; // answers that wait for the host
mod watcher; // word of changes of the network
mod words; // steps in words

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use mrvpn_clock::Moment;
use mrvpn_netplan::{DeviceSpec, Host, HostError, HostFacts, Scope, Step};
use mrvpn_router::TunnelId;
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::config::EngineConfig;
use crate::event::Event;
use crate::fleet::{Fleet, FleetError};
use crate::lane::{Counters, LaneReport};
use crate::memory::{Memory, Store};
use crate::tunnel::{Tunnel, TunnelState};
pub use command::{Command, Refused, Reloaded, TunnelVerb};
use events::{Bursts, Events};
use host_thread::HostThread;
use lane_thread::LaneHandle;
use outer::{Arrived, Outers};
use questions::Questions;
use upkeep::Upkeep;
use waiting::Waiting;
use watcher::Watcher;

/// 256: arrivals that wait for the control task; a full queue makes the readers wait, and the kernel drops.
const ARRIVALS: usize = 256;
/// An hour: how long the loop waits when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

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
    /// The first plan stands: what rules and known claims hold is held.
    pub planned: bool,
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
    /// The first plan could not be carried out, and the host is as before; or the last one, and `mrvpn down` cleans up.
    #[error("the host could not be set up: {0}")]
    Plan(String),
    /// What was made could not all be taken down.
    #[error("the host could not be left as it was, `mrvpn down` cleans up: {0}")]
    Left(String),
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
}

/// Runs an engine until it is told to end. What rules and known claims hold is held before the first datagram leaves.
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
    let Some((mut driver, inputs)) = start::begin(host, start).await? else { return Ok(()) };
    driver.serve(inputs).await
}

/// What comes in by channel.
struct Inputs {
    commands: mpsc::Receiver<Command>,
    arrivals: mpsc::Receiver<Arrived>,
    resolved: mpsc::Receiver<Resolved>,
}

/// What was found for a name of a remote.
struct Resolved {
    tunnel: TunnelId,
    host: String,
    answer: Result<Vec<IpAddr>, String>,
}

/// The lane that runs, and what it counts and reports.
struct RunningLane<Q> {
    handle: LaneHandle<Q>,
    counters: Arc<Counters>,
    reports: mpsc::Receiver<LaneReport>,
}

struct Driver<H: Host> {
    fleet: Fleet,
    host: HostThread<H>,
    upkeep: Upkeep,
    device: DeviceSpec,
    scope: Scope,
    /// What the host looked like last.
    facts: HostFacts,
    /// Whether something of this scope stood before us.
    found: bool,
    /// Whether the interface was opened.
    made: bool,
    watcher: Option<Watcher>,
    outers: Outers,
    lane: Option<RunningLane<H::Queue>>,
    questions: Questions,
    waiting: Waiting,
    events: Events,
    bursts: Bursts,
    /// Sentences for `status`, of the driver's own.
    warnings: Vec<String>,
    /// What was put back last, and when.
    put_back: Option<(Vec<Step>, Moment)>,
    mark: u32,
    resolved_in: mpsc::Sender<Resolved>,
    progress: watch::Sender<Progress>,
    /// The first plan stands.
    planned: bool,
    /// When it ends at the latest.
    ending: Option<Instant>,
    /// Why it cannot run.
    failed: Option<EngineError>,
}

impl<H> Driver<H>
where
    H: Host + Send + 'static,
    H::Queue: AsFd,
{
    /// The one loop: carry out what is asked, wait for the next thing, tell the fleet.
    async fn serve(&mut self, mut inputs: Inputs) -> Result<(), EngineError> {
        loop {
            self.carry_out();
            self.keep_up();
            self.answer_waiting();
            self.publish();
            if self.is_over() {
                return self.tear_down().await;
            }
            let due = self.due();
            tokio::select! {
                Some(command) = inputs.commands.recv() => self.obey(command),
                Some(arrived) = inputs.arrivals.recv() => self.arrive(arrived),
                Some(resolved) = inputs.resolved.recv() => self.resolved(resolved),
                report = next_report(&mut self.lane) => self.heard(report),
                answer = self.host.next() => self.host_answered(answer),
                rung = watcher::rung(&mut self.watcher) => self.rung(rung),
                () = sleep_until(due) => {}
            }
            self.pass_time();
        }
    }

    /// Tells each tunnel when it was last heard before its timers are looked at: our own lateness is no dead server.
    fn pass_time(&mut self) {
        let now = clock::now();
        self.fleet.handle_clocks(clock::pair());
        if let Some(lane) = &self.lane {
            let up = |tunnel: &&Tunnel| tunnel.state() == TunnelState::Up;
            let carried: Vec<TunnelId> = self.fleet.tunnels().filter(up).map(Tunnel::id).collect();
            for tunnel in carried {
                if let Some(at) = lane.counters.last_heard(tunnel) {
                    self.fleet.heard(tunnel, at);
                }
                self.fleet.carried(tunnel, lane.counters.carried(tunnel), now);
            }
        }
        self.fleet.handle_timeout(now);
        self.answer_overdue(now);
        self.tell_bursts(now);
    }

    fn due(&self) -> Instant {
        let now = clock::now();
        let host = if self.ending.is_none() { self.upkeep.poll_timeout() } else { None };
        let timers = [self.fleet.poll_timeout(), host, self.questions.poll_timeout(), self.bursts.poll_timeout()];
        let at = |due: Moment| Instant::now() + due.since(now);
        timers.into_iter().flatten().map(at).chain(self.ending).min().unwrap_or_else(|| Instant::now() + IDLE)
    }

    fn publish(&self) {
        let (fleet, planned) = (&self.fleet, self.planned);
        let now =
            Progress { planned, ready: fleet.is_ready(), hopeless: fleet.is_hopeless(), version: fleet.version() };
        self.progress.send_if_modified(|progress| std::mem::replace(progress, now) != now);
    }
}

/// The lane's next report, `None` when it has ended; never, while there is no lane.
async fn next_report<Q>(lane: &mut Option<RunningLane<Q>>) -> Option<LaneReport> {
    match lane {
        Some(lane) => lane.reports.recv().await,
        None => std::future::pending().await,
    }
}
