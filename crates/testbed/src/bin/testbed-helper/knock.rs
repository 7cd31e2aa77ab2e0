//! Knocking at several doors all the time, whatever happens to the network: at each turn one UDP question and one TCP SYN
//! from a new socket to each target, and one more question over a UDP socket that lasts. What leaves the machine on which
//! way is counted elsewhere; here it is counted what was sent, who answered, and what was refused.

use std::{
    collections::{BTreeMap, VecDeque},
    io::ErrorKind,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::{arguments::Arguments, ask};

/// So many sockets of each target are kept before the oldest is closed: an answer may still come.
const KEPT: usize = 24;

/// Knocks at each `--to` (`--from` is bound where it is there), `--rate` times a second, until the file `--stop` is there.
pub(crate) fn run(arguments: &Arguments) -> Result<Value, String> {
    let stop: PathBuf = arguments.need("stop")?;
    let rate: u32 = arguments.need("rate")?;
    let from: Option<IpAddr> = arguments.get("from")?;
    let targets: Vec<SocketAddr> = arguments
        .all("to")
        .map(|to| to.parse().map_err(|_| format!("--to: cannot read {to:?}")))
        .collect::<Result<_, String>>()?;
    let mut doors: Vec<Door> = targets.into_iter().map(|to| Door::new(to, from)).collect();
    let mut seen = Seen::default();
    let mut due = Instant::now();
    while !stop.exists() {
        for door in &mut doors {
            door.turn(&mut seen);
        }
        due += Duration::from_secs(1) / rate;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // What a stopped machine has missed is not caught up.
        due = due.max(Instant::now() - Duration::from_millis(20));
    }
    Ok(json!({"udp": seen.udp, "tcp": seen.tcp, "lasting": seen.lasting, "no_address": seen.no_address,
        "refused": seen.refused, "regions": seen.regions}))
}

#[derive(Default)]
struct Seen {
    udp: u64,
    tcp: u64,
    lasting: u64,
    no_address: u64,
    refused: BTreeMap<String, u64>,
    regions: BTreeMap<String, u64>,
}

/// One target with the sockets that were opened to it of late.
struct Door {
    to: SocketAddr,
    from: SocketAddr,
    lasting: Option<UdpSocket>,
    questions: VecDeque<UdpSocket>,
    connections: VecDeque<Socket>,
}

impl Door {
    fn new(to: SocketAddr, from: Option<IpAddr>) -> Self {
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
        let from = SocketAddr::new(from.unwrap_or(any), 0);
        Self { to, from, lasting: None, questions: VecDeque::new(), connections: VecDeque::new() }
    }

    fn turn(&mut self, seen: &mut Seen) {
        match self.question() {
            Ok(socket) => {
                seen.udp += 1;
                self.questions.push_back(socket);
            }
            Err(error) => seen.failed(&error),
        }
        match self.connection() {
            Ok(socket) => {
                seen.tcp += 1;
                self.connections.push_back(socket);
            }
            Err(error) => seen.failed(&error),
        }
        match self.ask_again() {
            Ok(()) => seen.lasting += 1,
            Err(error) => seen.failed(&error),
        }
        for socket in self.questions.iter().chain(&self.lasting) {
            seen.hear(socket);
        }
        self.questions.drain(..self.questions.len().saturating_sub(KEPT));
        self.connections.drain(..self.connections.len().saturating_sub(KEPT));
    }

    fn question(&self) -> std::io::Result<UdpSocket> {
        let socket = ask::udp_socket(self.to, self.from)?;
        socket.set_nonblocking(true)?;
        socket.send(b"question")?;
        Ok(socket)
    }

    /// Its SYN leaves now; whether it is answered shows in the counters of the regions.
    fn connection(&self) -> std::io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(self.to), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&self.from.into())?;
        match socket.connect(&self.to.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => Err(error),
            Ok(()) | Err(_) => Ok(socket),
        }
    }

    fn ask_again(&mut self) -> std::io::Result<()> {
        if self.lasting.is_none() {
            let socket = ask::udp_socket(self.to, self.from)?;
            socket.set_nonblocking(true)?;
            self.lasting = Some(socket);
        }
        match self.lasting.as_ref().map(|socket| socket.send(b"question")) {
            Some(Err(error)) => Err(error),
            Some(Ok(_)) | None => Ok(()),
        }
    }
}

impl Seen {
    fn failed(&mut self, error: &std::io::Error) {
        if error.kind() == ErrorKind::AddrNotAvailable {
            self.no_address += 1;
        } else {
            *self.refused.entry(ask::name(error)).or_default() += 1;
        }
    }

    fn hear(&mut self, socket: &UdpSocket) {
        let mut buffer = [0; 256];
        while let Ok(length) = socket.recv(&mut buffer) {
            if let Some(answer) = ask::parse(&String::from_utf8_lossy(&buffer[..length])) {
                *self.regions.entry(answer.region).or_default() += 1;
            }
        }
    }
}
