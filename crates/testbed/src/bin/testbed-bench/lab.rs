//! Two namespaces joined by a veth pair of MTU 1500, a stock server in one, a client in the other; one run of iperf3 with
//! what the client's process has cost meanwhile.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use mrvpn_testbed::{
    Mrvpn, Netns, OpenvpnServer, Outside, Pki, Process, ProfileText, Scratch, Seat, ServerOptions, UK, Wrapping,
    cpu_time, stock_client, unique_name, wait_until,
};
use serde_json::Value;

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

    /// Ends it and leaves the namespace as it was.
    pub(crate) fn end(self) {
        match self {
            Self::Openvpn(process) => drop(process),
            Self::Mrvpn(engine) => engine.down(),
        }
    }
}

/// The place of the measurement. Fields are dropped in this order: programs before namespaces.
pub(crate) struct Lab {
    iperf: Process,
    server: OpenvpnServer,
    client: Netns,
    _far: Netns,
    pki: Pki,
    scratch: Scratch,
}

impl Lab {
    /// Builds it: AES-256-GCM, no wrapping, the server's defaults.
    pub(crate) fn new() -> Self {
        let name = unique_name();
        let scratch = Scratch::new(&name);
        let (client, far) = (Netns::new(&format!("{name}-client")), Netns::new(&format!("{name}-server")));
        client.link("eth0", &far, "out");
        client.ip(&format!("addr add {}/30 dev eth0", UK.gateway));
        far.ip(&format!("addr add {}/30 dev out", UK.outer));
        let pki = Pki::new(scratch.path());
        let mut server =
            OpenvpnServer::new(Seat::of(UK, Outside::Four), ServerOptions::new(Wrapping::None), &pki, scratch.path());
        server.start(&far);
        pin(server.pid(), CORES.1);
        let mut command = far.command("taskset");
        command.args(["-c", CORES.1, "iperf3", "--server", "--forceflush"]);
        let mut iperf = Process::start("iperf3-server", command, scratch.path());
        iperf.wait_for("listening", Duration::from_secs(5));
        Self { iperf, server, client, _far: far, pki, scratch }
    }

    /// Starts a client and waits until the tunnel answers.
    pub(crate) fn connect(&mut self, peer: Peer) -> Client {
        assert!(self.iperf.is_running(), "{}", self.iperf.log());
        let text = ProfileText::new(UK, Wrapping::None, &self.pki).text();
        let profile = self.scratch.write("uk.ovpn", &text);
        let ours = [format!("uk={}", profile.display())];
        let client = match peer {
            Peer::Openvpn => Client::Openvpn(stock_client::start(&self.client, &profile, "tun0", &self.scratch)),
            Peer::Mrvpn => Client::Mrvpn(Mrvpn::start_in(&self.client, &ours, &self.scratch)),
        };
        wait_until("a ping through the tunnel", Duration::from_secs(10), || {
            self.client.try_run("ping", &["-n", "-c", "1", "-W", "1", UK.inner]).ok()
        });
        pin(client.pid(), CORES.0);
        client
    }

    /// Runs iperf3 once through the tunnel.
    pub(crate) fn measure(&self, client: &Client, direction: Direction) -> Run {
        let (cpu, busy, begin) = (cpu_time(client.pid()), all_busy(), Instant::now());
        let (server, own) = (cpu_time(self.server.pid()), cpu_time(self.iperf.pid()));
        let mut words = vec!["-c", CORES.0, "iperf3", "--client", UK.inner, "--time", SECONDS, "--json"];
        if direction == Direction::Down {
            words.push("--reverse");
        }
        let text = self.client.run("taskset", &words);
        let (cpu, wall) = (cpu_time(client.pid()) - cpu, begin.elapsed());
        let report: Value = serde_json::from_str(&text).unwrap_or_default();
        let end = &report["end"];
        let bytes = end["sum_received"]["bytes"].as_f64().unwrap_or(f64::NAN);
        let local = end["cpu_utilization_percent"]["host_total"].as_f64().unwrap_or(0.0) / 100.0 * wall.as_secs_f64();
        let ours = cpu + (cpu_time(self.server.pid()) - server) + (cpu_time(self.iperf.pid()) - own);
        let foreign = (all_busy() - busy).as_secs_f64() - ours.as_secs_f64() - local;
        Run {
            gbits: end["sum_received"]["bits_per_second"].as_f64().unwrap_or(f64::NAN) / 1e9,
            cpu_per_gb: cpu.as_secs_f64() / (bytes / 1e9),
            foreign: foreign.max(0.0) / wall.as_secs_f64(),
        }
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
         client and iperf3 client on core {}, server and iperf3 server on core {}; server and peer: {}; AES-256-GCM, UDP, no \
         wrapping, link MTU 1500.",
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
