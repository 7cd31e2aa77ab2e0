use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream as Socket;
use std::path::PathBuf;

use mrvpn_engine::{EngineConfig, EventKind, Status};
use rustix::process::{Resource, Rlimit, Uid};

use super::*;
use crate::control::client::{Connection, Next};
use crate::load::scratch::Scratch;
use crate::running::Now;

/// A server with an engine that answers what a test gives it, on a thread of its own.
struct Stand {
    scratch: Scratch,
    status: Arc<Mutex<Status>>,
    progress: watch::Sender<Progress>,
    events: broadcast::Sender<Event>,
    log: LogRing,
}

/// An engine's user that no test runs as.
const ANOTHER: u32 = 4_000_000;

impl Stand {
    fn new(name: &str, judge: Judge) -> Self {
        Self::with_patience(name, judge, PATIENCE)
    }

    fn with_patience(name: &str, judge: Judge, patience: Duration) -> Self {
        let stand = Self {
            scratch: Scratch::new(name),
            status: Arc::new(Mutex::new(status())),
            progress: watch::Sender::new(Progress::default()),
            events: broadcast::Sender::new(64),
            log: LogRing::new(),
        };
        let (commands, heard) = mpsc::channel(64);
        let serving = Serving {
            commands: commands.clone(),
            progress: stand.progress.subscribe(),
            events: stand.events.clone(),
            log: stand.log.clone(),
            running: Arc::new(Running::new(commands, now())),
        };
        let (path, answers) = (stand.socket(), Arc::clone(&stand.status));
        let (ready, is_ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = listen(&path).unwrap();
                ready.send(()).unwrap();
                tokio::select! {
                    () = serve_judged(listener, serving, judge, patience) => {}
                    () = engine(heard, answers) => {}
                }
            });
        });
        is_ready.recv().unwrap();
        stand
    }

    fn socket(&self) -> PathBuf {
        self.scratch.path().join("control.sock")
    }

    fn ask(&self, request: &Request) -> Result<Response, String> {
        ask(&self.socket(), request)
    }

    /// A client that sends a request and reads nothing.
    fn client(&self, request: &str) -> Socket {
        let mut client = Socket::connect(self.socket()).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        client
    }
}

fn ask(socket: &Path, request: &Request) -> Result<Response, String> {
    Connection::open(socket).unwrap().unwrap().ask(request).map_err(|failure| failure.to_string())
}

async fn engine(mut commands: mpsc::Receiver<Command>, status: Arc<Mutex<Status>>) {
    while let Some(command) = commands.recv().await {
        match command {
            Command::Status(answer) => drop(answer.send(status.lock().unwrap().clone())),
            Command::Tunnel { name, verb, answer } => drop(answer.send(Ok(format!("{verb:?} {name}")))),
            Command::Explain { .. } | Command::Reload { .. } => {}
            Command::Shutdown => return tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

fn now() -> Now {
    Now {
        instance: String::from("test"),
        config: EngineConfig::new(),
        arguments: crate::load::arguments::Arguments::default(),
        answers: std::collections::BTreeMap::new(),
    }
}

fn status() -> Status {
    Status {
        schema: 1,
        version: String::from("0"),
        config: None,
        since: String::from("2026-11-22T10:00:00Z"),
        state: String::from("up"),
        interface: None,
        default: None,
        lan: Vec::new(),
        warnings: Vec::new(),
        tunnels: Vec::new(),
        conflicts: Vec::new(),
        guard: String::from("off"),
        drops: std::collections::BTreeMap::new(),
        pid: 1,
    }
}

fn event(n: u64) -> Event {
    let what = EventKind::AddressRemoved { tunnel: String::from("uk"), address: "x".repeat(1000) };
    Event { n, at: String::from("2026-11-22T10:00:00Z"), what }
}

/// Runs as a user that is neither root nor the engine's: another user, where the tests run as root.
fn as_another_user<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let become_nobody = || {
        if rustix::process::geteuid().is_root() {
            rustix::thread::set_thread_groups(&[]).unwrap();
            let nobody = Uid::from_raw(another_user());
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        }
    };
    std::thread::spawn(move || {
        become_nobody();
        run()
    })
    .join()
    .unwrap()
}

fn another_user() -> u32 {
    if rustix::process::geteuid().is_root() { 65_534 } else { rustix::process::geteuid().as_raw() }
}

/// Room for both ends of a thousand connections in one process.
fn many_descriptors() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(8192, |maximum| maximum.min(8192));
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }).unwrap();
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

// proves: T-60
#[test]
fn another_user_is_refused_with_the_group_to_join() {
    let stand = Stand::new("server-stranger", Judge::new(ANOTHER, None));
    let socket = stand.socket();
    for request in [Request::Status, Request::Down, Request::Reload { bundle: 1 << 30, dry_run: true }] {
        let socket = socket.clone();
        let told = as_another_user(move || ask(&socket, &request)).unwrap_err();
        assert!(told.contains("members of the group mrvpn") && told.contains("usermod -aG mrvpn $USER"), "{told}");
    }
}

// proves: T-60
#[test]
fn who_typed_sudo_may_look_and_not_change() {
    let stand = Stand::new("server-starter", Judge::new(ANOTHER, Some(another_user())));
    let socket = stand.socket();
    assert!(as_another_user(move || ask(&socket, &Request::Status)).is_ok());
    let changes = [
        Request::Down,
        Request::Source,
        Request::TunnelStop { name: String::from("uk") },
        Request::TunnelAdd { bundle: 10 },
        Request::Reload { bundle: 10, dry_run: true },
    ];
    for request in changes {
        let (socket, verb) = (stand.socket(), format!("`mrvpn {}` is for root", request.verb()));
        let told = as_another_user(move || ask(&socket, &request)).unwrap_err();
        assert!(told.contains(&verb), "{told}");
    }
}

#[test]
fn who_may_do_all_is_carried_to_the_engine() {
    let stand = Stand::new("server-owner", Judge::new(rustix::process::geteuid().as_raw(), None));
    let response = stand.ask(&Request::TunnelStop { name: String::from("uk") });
    assert!(matches!(response, Ok(Response::Done { message }) if message == "Stop uk"));
    assert!(matches!(stand.ask(&Request::Source), Ok(Response::Source { .. })));
    let told = stand.ask(&Request::Reload { bundle: 100 << 20, dry_run: false }).unwrap_err();
    assert!(told.contains("67108864 are the most"), "{told}");
    let mut connection = Connection::open(&stand.socket()).unwrap().unwrap();
    assert!(matches!(connection.ask(&Request::Down), Ok(Response::Ending)));
    assert!(connection.wait_for_end(Duration::from_secs(10)), "the connection ends with the engine");
}

// proves: T-60
#[test]
fn a_thousand_half_open_clients_disturb_nobody() {
    many_descriptors();
    let stand = Stand::new("server-flood", Judge::new(rustix::process::geteuid().as_raw(), None));
    let mut open = Vec::new();
    for number in 0..1000 {
        open.push(stand.client(if number % 2 == 0 { "" } else { "{\"command\":" }));
        if number % 50 == 49 {
            let begun = Instant::now();
            assert!(stand.ask(&Request::Status).is_ok());
            assert!(begun.elapsed() < Duration::from_secs(1), "{number}: {:?}", begun.elapsed());
        }
    }
    let closed = |mut client: &Socket| {
        client.set_nonblocking(true).unwrap();
        let mut told = String::new();
        client.read_to_string(&mut told).is_ok()
    };
    let still = open.iter().filter(|client| !closed(client)).count();
    assert!(still <= CLIENTS, "{still} are still served");
}

// proves: T-60
#[test]
fn clients_that_come_without_end_disturb_nobody() {
    let stand = Stand::new("server-storm", Judge::new(rustix::process::geteuid().as_raw(), None));
    let (socket, stop) = (stand.socket(), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let storm = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut open = std::collections::VecDeque::new();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                open.extend(Socket::connect(&socket));
                if open.len() > 200 {
                    open.pop_front();
                }
            }
        })
    };
    for _ in 0..20 {
        let begun = Instant::now();
        assert!(stand.ask(&Request::Status).is_ok());
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    storm.join().unwrap();
}

// proves: T-60
#[test]
fn a_request_that_is_not_whole_in_time_ends() {
    let judge = Judge::new(rustix::process::geteuid().as_raw(), None);
    let stand = Stand::with_patience("server-late", judge, Duration::from_millis(100));
    for request in ["", "{\"command\":\"status\"", "{\"command\":\"tunnel-add\",\"bundle\":5}\nabc"] {
        let mut told = String::new();
        stand.client(request).read_to_string(&mut told).unwrap();
        assert!(told.contains("no whole request came"), "{request}: {told}");
    }
}

#[test]
fn a_watched_status_is_sent_at_once_and_then_at_each_change() {
    let stand = Stand::new("server-watch", Judge::new(rustix::process::geteuid().as_raw(), None));
    let mut answers = Connection::open(&stand.socket()).unwrap().unwrap().follow(&Request::Watch).unwrap();
    let mut state = || match answers.next(Some(Duration::from_millis(500))).unwrap() {
        Next::Answer(response) => {
            let Response::Status { status } = *response else { panic!("{response:?}") };
            status.state
        }
        Next::Quiet => String::from("quiet"),
        Next::End => String::from("end"),
    };
    assert_eq!(state(), "up");
    stand.status.lock().unwrap().drops.insert(String::from("no-flow"), 1);
    stand.progress.send_modify(|progress| progress.version += 1);
    assert_eq!(state(), "quiet", "counters are no change");
    stand.status.lock().unwrap().state = String::from("degraded");
    stand.progress.send_modify(|progress| progress.version += 1);
    assert_eq!(state(), "degraded");
    drop(stand.progress);
    assert_eq!(state(), "end");
}

// proves: T-60
#[test]
fn a_follower_that_does_not_read_is_dropped_and_nobody_waits_for_it() {
    let judge = Judge::new(rustix::process::geteuid().as_raw(), None);
    let stand = Stand::with_patience("server-slow", judge, Duration::from_millis(100));
    let slow = stand.client("{\"command\":\"events\"}\n");
    let quick = stand.client("{\"command\":\"events\"}\n");
    eventually("both follow", || stand.events.receiver_count() == 2);
    let mut quick = BufReader::new(quick).lines();
    for n in 0..2000 {
        stand.events.send(event(n)).unwrap();
        let line = quick.next().unwrap().unwrap();
        assert!(line.contains(&format!("\"n\":{n},")), "{line}");
    }
    eventually("the slow one is dropped", || stand.events.receiver_count() == 1);
    let count = BufReader::new(slow).lines().map_while(Result::ok).count();
    assert!((1..2000).contains(&count), "{count}");
}

#[test]
fn followers_have_places_of_their_own_and_no_more() {
    many_descriptors();
    let stand = Stand::new("server-streams", Judge::new(rustix::process::geteuid().as_raw(), None));
    let mut open: Vec<Socket> = (0..64).map(|_| stand.client("{\"command\":\"events\"}\n")).collect();
    eventually("64 follow", || stand.events.receiver_count() == 64);
    assert!(stand.ask(&Request::Status).is_ok());
    let mut told = String::new();
    stand.client("{\"command\":\"events\"}\n").read_to_string(&mut told).unwrap();
    assert!(told.contains("too many clients follow"), "{told}");
    open.pop();
    eventually("a place is free", || stand.events.receiver_count() == 63);
    open.push(stand.client("{\"command\":\"events\"}\n"));
    eventually("it is taken", || stand.events.receiver_count() == 64);
}

#[test]
fn the_log_is_sent_from_its_beginning_and_followed() {
    let stand = Stand::new("server-log", Judge::new(rustix::process::geteuid().as_raw(), None));
    let say = |text: &str, tunnel: &str| stand.log.say_for_test(text, tunnel);
    say("one", "uk");
    say("two", "fr");
    let all = stand.client("{\"command\":\"logs\",\"tunnel\":null,\"follow\":false}\n");
    assert_eq!(BufReader::new(all).lines().count(), 3, "two lines and the end");
    let followed = stand.client("{\"command\":\"logs\",\"tunnel\":\"uk\",\"follow\":true}\n");
    let mut lines = BufReader::new(followed).lines();
    assert!(lines.next().unwrap().unwrap().contains("one"));
    say("three", "fr");
    say("four", "uk");
    assert!(lines.next().unwrap().unwrap().contains("four"));
}
