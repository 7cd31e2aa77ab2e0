//! Two namespaces joined by a veth pair of MTU 1500, a server in one, a client in the other; one run of iperf3 with what the
//! processes of both have cost meanwhile, and round trips by ping.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use mrvpn_testbed::{Mrvpn, Netns, Process, Scratch, UK, cpu_time, unique_name, wait_until};
use rustix::process::Signal;
use serde_json::Value;

use crate::far_end::{FarEnd, Kind, Wanted};

/// Seconds of one iperf3 run.
const SECONDS: &str = "5";

/// The core of the client and its iperf3, and that of the server and its iperf3.
const CORES: (&str, &str) = ("0", "1");

/// Whose client is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Debian's.
    Openvpn,
    /// Ours.
    Mrvpn,
}

/// Both, in the order of their turns.
pub(crate) const PEERS: [Peer; 2] = [Peer::Openvpn, Peer::Mrvpn];

/// What iperf3 sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// One TCP connection.
    Stream,
    /// UDP datagrams with 64 bytes of payload, as many as go.
    Datagrams,
}

/// Round trips of many pings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoundTrips {
    /// Half of them are shorter, in ms.
    pub(crate) median: f64,
    /// 99 of 100 are shorter, in ms.
    pub(crate) most: f64,
}

/// Which way the payload goes, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client.
    Up,
    /// To the client.
    Down,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// Payload received, in Gbit/s.
    pub(crate) gbits: f64,
    /// CPU seconds of the client's process per 10^9 bytes of payload received.
    pub(crate) cpu_per_gb: f64,
    /// The same of the server's.
    pub(crate) server_cpu_per_gb: f64,
    /// Datagrams received a second (of [`Load::Datagrams`]).
    pub(crate) packets: f64,
    /// CPU seconds of the client's process for each datagram received.
    pub(crate) cpu_per_packet: f64,
    /// The same of the server's.
    pub(crate) server_cpu_per_packet: f64,
    /// CPUs busy with neither the client's process nor anything else of this run, as an average; above 0.15 the run is not
    /// a quiet one.
    pub(crate) foreign: f64,
}

/// A client that is up.
pub(crate) enum Client {
    /// Debian's.
    Openvpn(Process),
    /// Ours.
    Mrvpn(Mrvpn),
}

impl Client {
    fn pid(&self) -> u32 {
        match self {
            Self::Openvpn(process) => process.pid(),
            Self::Mrvpn(engine) => engine.pid(),
        }
    }

    /// The most memory that it has had at once, in 10^6 bytes (`VmHWM`, proc(5)).
    pub(crate) fn memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        let kibibytes = line.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
        kibibytes.unwrap_or(f64::NAN) * 1024.0 / 1e6
    }

    /// Ends it and leaves the namespace as it was.
    pub(crate) fn end(self) {
        match self {
            Self::Openvpn(process) => drop(process),
            Self::Mrvpn(engine) => engine.down(),
        }
    }
}

/// Many tunnels that are up and idle.
pub(crate) enum Crowd {
    /// A process each.
    Openvpn(Vec<Process>),
    /// One process.
    Mrvpn(Box<Mrvpn>),
}

impl Crowd {
    /// What all its processes have of the memory, shared pages by their share, in 10^6 bytes (`Pss`, proc(5)).
    pub(crate) fn memory(&self) -> f64 {
        match self {
            Self::Openvpn(all) => all.iter().map(|process| shared_memory(process.pid())).sum(),
            Self::Mrvpn(engine) => shared_memory(engine.pid()),
        }
    }

    /// CPU seconds that it has cost so far.
    pub(crate) fn cpu(&self) -> f64 {
        match self {
            Self::Openvpn(all) => all.iter().map(|process| cpu_time(process.pid()).as_secs_f64()).sum(),
            Self::Mrvpn(engine) => cpu_time(engine.pid()).as_secs_f64(),
        }
    }

    /// Ends it and leaves the namespace as it was.
    pub(crate) fn end(self) {
        match self {
            Self::Openvpn(all) => drop(all),
            Self::Mrvpn(engine) => engine.down(),
        }
    }
}

fn shared_memory(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
    let kibibytes = line.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    kibibytes.unwrap_or(f64::NAN) * 1024.0 / 1e6
}

/// The place of the measurement. Fields are dropped in this order: programs before namespaces.
pub(crate) struct Lab {
    iperf: Process,
    server: FarEnd,
    client: Netns,
    _far: Netns,
    profiles: Vec<String>,
    scratch: Scratch,
}

impl Lab {
    /// Builds it with a server of this kind.
    pub(crate) fn new(kind: Kind, wanted: &Wanted) -> Self {
        let name = unique_name();
        let scratch = Scratch::new(&name);
        let (client, far) = (Netns::new(&format!("{name}-client")), Netns::new(&format!("{name}-server")));
        client.link("eth0", &far, "out");
        client.ip(&format!("addr add {}/30 dev eth0", UK.gateway));
        far.ip(&format!("addr add {}/30 dev out", UK.outer));
        let (server, profiles) = FarEnd::start(kind, wanted, &far, &scratch);
        pin(server.pid(), CORES.1);
        let mut command = far.command("taskset");
        command.args(["-c", CORES.1, "iperf3", "--server", "--forceflush"]);
        let mut iperf = Process::start("iperf3-server", command, scratch.path());
        iperf.wait_for("listening", Duration::from_secs(5));
        Self { iperf, server, client, _far: far, profiles, scratch }
    }

    /// Starts a client and waits until the tunnel answers; after how many seconds.
    pub(crate) fn connect(&mut self, peer: Peer) -> (Client, f64) {
        assert!(self.iperf.is_running(), "{}", self.iperf.log());
        let profile = self.scratch.write("uk.ovpn", self.profiles.first().map_or("", String::as_str));
        let begin = Instant::now();
        let client = match peer {
            Peer::Openvpn => {
                let mut command = self.client.command("openvpn");
                command.args(["--config", &profile.display().to_string(), "--dev", "tun0", "--dev-type", "tun"]);
                Client::Openvpn(Process::start("stock-tun0", command, self.scratch.path()))
            }
            Peer::Mrvpn => {
                let ours = [format!("uk={}", profile.display())];
                Client::Mrvpn(Mrvpn::start_in(&self.client, &ours, &self.scratch))
            }
        };
        self.wait_ping();
        let seconds = begin.elapsed().as_secs_f64();
        pin(client.pid(), CORES.0);
        (client, seconds)
    }

    fn wait_ping(&self) {
        wait_until("a ping through the tunnel", Duration::from_secs(10), || {
            self.client.try_run("ping", &["-n", "-c", "1", "-W", "0.05", UK.inner]).ok()
        });
    }

    /// Asks a client to connect anew and waits until the server has let it in again and the tunnel answers; after how many
    /// seconds.
    pub(crate) fn reconnect(&self, client: &Client) -> f64 {
        let (before, begin) = (self.server.sessions(), Instant::now());
        match client {
            Client::Openvpn(process) => process.signal(Signal::USR1),
            Client::Mrvpn(engine) => {
                let done = engine.run(&["tunnel", "restart", "uk"]);
                assert!(done.status.success(), "{done:?}");
            }
        }
        wait_until("a new session", Duration::from_secs(10), || (self.server.sessions() > before).then_some(()));
        self.wait_ping();
        begin.elapsed().as_secs_f64()
    }

    /// Starts so many tunnels, a process each or all in one, and waits until all are up.
    pub(crate) fn connect_many(&mut self, peer: Peer, count: usize) -> Crowd {
        let path = |number: usize| {
            let text = self.profiles.get(number).map_or("", String::as_str);
            self.scratch.write(&format!("t{number}.ovpn"), text).display().to_string()
        };
        match peer {
            Peer::Openvpn => {
                let start = |number: usize| {
                    let mut command = self.client.command("openvpn");
                    command.args(["--config", &path(number), "--dev", &format!("tun{number}"), "--dev-type", "tun"]);
                    Process::start(&format!("stock-tun{number}"), command, self.scratch.path())
                };
                let mut all: Vec<Process> = (0..count).map(start).collect();
                for process in &mut all {
                    process.wait_for("Initialization Sequence Completed", Duration::from_secs(60));
                }
                Crowd::Openvpn(all)
            }
            Peer::Mrvpn => {
                let arguments: Vec<String> = (0..count).map(|number| format!("t{number}={}", path(number))).collect();
                let mut engine = Mrvpn::start_in(&self.client, &arguments, &self.scratch);
                engine.wait_for(Duration::from_secs(60), |status| {
                    mrvpn_testbed::mrvpn::tunnels(status).iter().all(|tunnel| tunnel["state"] == "up")
                });
                Crowd::Mrvpn(Box::new(engine))
            }
        }
    }

    /// 400 pings, 5 ms apart.
    pub(crate) fn round_trips(&self) -> RoundTrips {
        let text = self.client.run("ping", &["-n", "-i", "0.005", "-c", "400", UK.inner]);
        let times = text.lines().filter_map(|line| line.split_once("time=")?.1.split_whitespace().next()?.parse().ok());
        let mut times: Vec<f64> = times.collect();
        times.sort_by(f64::total_cmp);
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or(f64::NAN);
        RoundTrips { median: at(50), most: at(99) }
    }

    /// The same while one TCP connection sends to the client as fast as it can.
    pub(crate) fn round_trips_beside_a_transfer(&self) -> RoundTrips {
        let mut command = self.client.command("taskset");
        command.args(["-c", CORES.0, "iperf3", "--client", UK.inner, "--time", SECONDS, "--reverse"]);
        let mut transfer = Process::start("iperf3-beside", command, self.scratch.path());
        std::thread::sleep(Duration::from_secs(1));
        let seen = self.round_trips();
        let _ = transfer.wait_end(Duration::from_secs(30));
        seen
    }

    /// Runs iperf3 once through the tunnel; again where its server is still busy with the end of the run before, which a
    /// tunnel by TCP delivers late.
    ///
    /// # Panics
    /// When no run brings anything for 30 s.
    pub(crate) fn measure(&self, client: &Client, direction: Direction, load: Load) -> Run {
        wait_until("a run of iperf3", Duration::from_secs(30), || {
            let run = self.try_measure(client, direction, load);
            if run.is_none() {
                std::thread::sleep(Duration::from_secs(2));
            }
            run
        })
    }

    /// One run, if iperf3 has a result.
    fn try_measure(&self, client: &Client, direction: Direction, load: Load) -> Option<Run> {
        let (cpu, busy, begin) = (cpu_time(client.pid()), all_busy(), Instant::now());
        let (server, own) = (cpu_time(self.server.pid()), cpu_time(self.iperf.pid()));
        let mut words = vec!["-c", CORES.0, "iperf3", "--client", UK.inner, "--time", SECONDS, "--json"];
        if load == Load::Datagrams {
            words.extend(["--udp", "--length", "64", "--bitrate", "0"]);
        }
        if direction == Direction::Down {
            words.push("--reverse");
        }
        let text = self.client.run("taskset", &words);
        let (cpu, wall) = (cpu_time(client.pid()) - cpu, begin.elapsed());
        let report: Value = serde_json::from_str(&text).unwrap_or_default();
        let end = &report["end"];
        end["sum_received"]["bytes"].as_f64()?;
        let received = |figure: &str| end["sum_received"][figure].as_f64().unwrap_or(f64::NAN);
        let bytes = received("bytes");
        let packets = received("packets") - received("lost_packets");
        let local = end["cpu_utilization_percent"]["host_total"].as_f64().unwrap_or(0.0) / 100.0 * wall.as_secs_f64();
        let server = cpu_time(self.server.pid()) - server;
        let ours = cpu + server + (cpu_time(self.iperf.pid()) - own);
        let foreign = (all_busy() - busy).as_secs_f64() - ours.as_secs_f64() - local;
        // The server closes its connections a moment later, and is busy for good where the tunnel is gone by then.
        std::thread::sleep(Duration::from_secs(1));
        Some(Run {
            gbits: received("bits_per_second") / 1e9,
            packets: packets / received("seconds"),
            cpu_per_packet: cpu.as_secs_f64() / packets,
            server_cpu_per_packet: server.as_secs_f64() / packets,
            cpu_per_gb: cpu.as_secs_f64() / (bytes / 1e9),
            server_cpu_per_gb: server.as_secs_f64() / (bytes / 1e9),
            foreign: foreign.max(0.0) / wall.as_secs_f64(),
        })
    }
}

/// Puts a process with all its threads onto one core.
fn pin(pid: u32, core: &str) {
    let status = Command::new("taskset").args(["-a", "-p", "-c", core, &pid.to_string()]).output();
    assert!(status.is_ok_and(|output| output.status.success()), "taskset cannot pin process {pid} to core {core}");
}

/// Time that all cores together were not idle (the first line of /proc/stat, proc(5)).
fn all_busy() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, (idle, iowait), irq, softirq, steal.
    let busy: u64 = [0, 1, 2, 5, 6].iter().filter_map(|place| ticks.get(*place)).sum();
    Duration::from_millis(busy * 10)
}

/// What stands above the table: machine, kernel, date, commit, command.
pub(crate) fn machine() -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string()).unwrap_or_default()
    };
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let count = processors.lines().filter(|line| line.starts_with("processor")).count();
    format!(
        "{count} × {}, Linux {}, {}, {}; commit {}, {}.\n`cargo xtask bench`: TCP by iperf3, {SECONDS} s a run, peers in turns; \
         client and iperf3 client on core {}, server and iperf3 server on core {}; server and peer: {}; no wrapping, link \
         MTU 1500; AES-256-GCM by UDP where the case does not say otherwise.",
        model.unwrap_or("processor unknown"),
        said("uname", &["-r"]),
        said("iperf3", &["--version"]).lines().next().unwrap_or_default(),
        said("openssl", &["version"]).split(" (").next().unwrap_or_default(),
        said("git", &["rev-parse", "--short", "HEAD"]),
        said("date", &["+%Y-%m-%d"]),
        CORES.0,
        CORES.1,
        said("openvpn", &["--version"]).split(' ').take(2).collect::<Vec<_>>().join(" "),
    )
}
