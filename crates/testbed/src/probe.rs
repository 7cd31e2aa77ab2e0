//! Questions asked from inside a namespace, by the helper program: one question, a thousand a second, megabytes, a
//! connection that is kept busy. Each gives what the client saw; what the servers saw is in [`crate::Counters`].

use std::{env, path::PathBuf, process::Command, time::Duration};

use serde_json::Value;

use crate::{netns::Netns, process::Process, region::SERVICE_PORT, scratch::Scratch};

/// The outcome of one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who answered: `uk`, `fr`, `us`, `internet`.
    pub region: Option<String>,
    /// The client's address as seen there, without the port.
    pub seen: Option<String>,
    /// The client's port as seen there.
    pub seen_port: Option<u16>,
    /// The error instead: `ConnectionRefused`, `HostUnreachable`, `TimedOut`, ...
    pub error: Option<String>,
    /// After how long.
    pub after: Duration,
}

impl Answer {
    /// Whether this region answered and saw this client address.
    #[must_use]
    pub fn is(&self, region: &str, seen: &str) -> bool {
        self.region.as_deref() == Some(region) && self.seen.as_deref() == Some(seen)
    }
}

/// How a question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proto {
    /// A TCP connection and its greeting.
    Tcp,
    /// One datagram each way, over a connected socket.
    Udp,
}

/// Both, for tests that ask the same by each.
pub const PROTOS: [Proto; 2] = [Proto::Tcp, Proto::Udp];

/// Asks the service at `to` from inside a namespace; `from` is the address to bind, if any.
///
/// # Panics
/// When the helper cannot run.
#[must_use]
#[track_caller]
pub fn ask(netns: &Netns, proto: Proto, to: &str, from: Option<&str>) -> Answer {
    let proto = match proto {
        Proto::Tcp => "tcp",
        Proto::Udp => "udp",
    };
    let value = run(netns, "ask", &with_from(&["--proto", proto, "--to", &service(to)], from));
    let text = |key: &str| value[key].as_str().map(String::from);
    let peer = text("peer").and_then(|peer| peer.parse::<std::net::SocketAddr>().ok());
    Answer {
        region: text("region"),
        seen: peer.map(|peer| peer.ip().to_string()),
        seen_port: peer.map(|peer| peer.port()),
        error: text("error"),
        after: Duration::from_millis(value["ms"].as_u64().unwrap_or(u64::MAX)),
    }
}

/// Whether `address` answers a ping within a second; `from` is the address to bind, if any.
#[must_use]
pub fn ping(netns: &Netns, address: &str, from: Option<&str>) -> bool {
    let bind: Vec<&str> = from.iter().flat_map(|address| ["-I", address]).collect();
    netns.try_run("ping", &[&["-n", "-c", "1", "-W", "1"], bind.as_slice(), &[address]].concat()).is_ok()
}

/// Runs a command of the helper to its end and reads its answer.
///
/// # Panics
/// When it fails.
#[track_caller]
pub fn run(netns: &Netns, command: &str, arguments: &[&str]) -> Value {
    let path = helper().display().to_string();
    let text = netns.run(&path, &[&[command], arguments].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{command}: {error}: {text}"))
}

/// A question that goes on beside the test.
#[derive(Debug)]
pub struct Background(Process);

impl Background {
    /// `rate` numbered datagrams a second to `to` for `time`.
    #[must_use]
    #[track_caller]
    pub fn probe(netns: &Netns, to: &str, from: Option<&str>, rate: u32, time: Duration, scratch: &Scratch) -> Self {
        let (to, rate, ms) = (service(to), rate.to_string(), time.as_millis().to_string());
        let arguments = with_from(&["--to", &to, "--rate", &rate, "--ms", &ms], from);
        Self::start(netns, "probe", &arguments, scratch)
    }

    /// `bytes` each way over TCP, compared.
    #[must_use]
    #[track_caller]
    pub fn transfer(netns: &Netns, to: &str, from: Option<&str>, bytes: u64, scratch: &Scratch) -> Self {
        let (to, bytes) = (service(to), bytes.to_string());
        Self::start(netns, "transfer", &with_from(&["--to", &to, "--up", &bytes, "--down", &bytes], from), scratch)
    }

    /// One TCP connection kept busy for `time`.
    #[must_use]
    #[track_caller]
    pub fn stream(netns: &Netns, to: &str, from: Option<&str>, time: Duration, scratch: &Scratch) -> Self {
        let (to, ms) = (service(to), time.as_millis().to_string());
        Self::start(netns, "stream", &with_from(&["--to", &to, "--ms", &ms], from), scratch)
    }

    /// `flows` UDP flows at once for `time`, each asking twice a second.
    #[must_use]
    #[track_caller]
    pub fn flows(netns: &Netns, to: &str, flows: u32, time: Duration, scratch: &Scratch) -> Self {
        let (to, flows, ms) = (service(to), flows.to_string(), time.as_millis().to_string());
        Self::start(netns, "flows", &["--to", &to, "--flows", &flows, "--ms", &ms], scratch)
    }

    /// As [`Self::flows`], bound to an address.
    #[must_use]
    #[track_caller]
    pub fn flows_from(netns: &Netns, to: &str, from: &str, flows: u32, time: Duration, scratch: &Scratch) -> Self {
        let (to, flows, ms) = (service(to), flows.to_string(), time.as_millis().to_string());
        let arguments = with_from(&["--to", &to, "--flows", &flows, "--ms", &ms], Some(from));
        Self::start(netns, "flows", &arguments, scratch)
    }

    /// Waits for its end and reads its answer.
    ///
    /// # Panics
    /// When it takes longer than `limit` or fails.
    #[must_use]
    #[track_caller]
    pub fn finish(mut self, limit: Duration) -> Value {
        let status = self.0.wait_end(limit);
        assert!(status.success(), "{}", self.0.log());
        serde_json::from_str(&self.0.stdout()).unwrap_or_else(|error| panic!("{error}: {}", self.0.log()))
    }

    #[track_caller]
    fn start(netns: &Netns, name: &str, arguments: &[&str], scratch: &Scratch) -> Self {
        let mut command: Command = netns.command(helper());
        command.arg(name).args(arguments);
        Self(Process::start(&format!("{name}-{}", crate::scratch::unique_name()), command, scratch.path()))
    }
}

/// The helper program, built beside the tests by cargo.
///
/// # Panics
/// When it is not there: tests run by `cargo test`, which builds it.
#[must_use]
#[track_caller]
pub fn helper() -> PathBuf {
    beside_the_tests("testbed-helper").unwrap_or_else(|| panic!("testbed-helper is not built: run `cargo xtask test`"))
}

/// A program in the directory to which cargo builds programs when it builds the running test.
pub(crate) fn beside_the_tests(name: &str) -> Option<PathBuf> {
    let test = env::current_exe().ok()?;
    let path = test.parent()?.parent()?.join(name);
    path.exists().then_some(path)
}

fn service(address: &str) -> String {
    match address.contains(':') {
        true => format!("[{address}]:{SERVICE_PORT}"),
        false => format!("{address}:{SERVICE_PORT}"),
    }
}

fn with_from<'a>(arguments: &[&'a str], from: Option<&'a str>) -> Vec<&'a str> {
    let mut all = arguments.to_vec();
    all.extend(from.iter().flat_map(|address| ["--from", address]));
    all
}
