//! A thousand UDP flows at once, each with a socket of its own: who answered each of them. It is how a test sees that a flow
//! never changes its way.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{arguments::Arguments, ask};

/// Pause between two rounds over all sockets.
const PAUSE: Duration = Duration::from_millis(5);

/// How often each flow asks.
const EVERY: Duration = Duration::from_millis(500);

/// Opens `--flows` sockets to `--to` and asks over each twice a second for `--ms`. `mixed` counts the flows that more than
/// one region answered.
pub(crate) fn run(arguments: &Arguments) -> Result<Value, String> {
    let (to, from) = arguments.ends()?;
    let (count, ms): (usize, u64) = (arguments.need("flows")?, arguments.need("ms")?);
    let mut flows = Vec::new();
    let begin = Instant::now();
    for place in 0..count {
        // Spread over the time: a thousand at once would overflow the server's socket, for the same flows each time.
        let first = begin + EVERY.mul_f64(place as f64 / count as f64);
        flows.push(Flow::open(to, from, first).map_err(|error| error.to_string())?);
    }
    let end = Instant::now() + Duration::from_millis(ms);
    let mut refused = 0;
    while Instant::now() < end {
        let now = Instant::now();
        refused += flows.iter_mut().map(|flow| flow.turn(now)).sum::<u64>();
        thread::sleep(PAUSE);
    }
    let mut regions: BTreeMap<String, u64> = BTreeMap::new();
    for (region, answers) in flows.iter().flat_map(|flow| &flow.regions) {
        *regions.entry(region.clone()).or_default() += answers;
    }
    let mixed = flows.iter().filter(|flow| flow.regions.len() > 1).count();
    let answered = flows.iter().filter(|flow| !flow.regions.is_empty()).count();
    Ok(json!({"flows": count, "answered": answered, "mixed": mixed, "refused": refused, "regions": regions}))
}

struct Flow {
    socket: UdpSocket,
    next: Instant,
    regions: BTreeMap<String, u64>,
}

impl Flow {
    fn open(to: SocketAddr, from: SocketAddr, next: Instant) -> std::io::Result<Self> {
        let socket = ask::udp_socket(to, from)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, next, regions: BTreeMap::new() })
    }

    /// Asks when it is time, takes what has come; how often it was refused.
    fn turn(&mut self, now: Instant) -> u64 {
        let mut refused = 0;
        if self.next <= now {
            self.next += EVERY;
            refused += u64::from(self.socket.send(b"question").is_err());
        }
        let mut buffer = [0; 2048];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    if let Some(answer) = ask::parse(&String::from_utf8_lossy(&buffer[..length])) {
                        *self.regions.entry(answer.region).or_default() += 1;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return refused,
                Err(_) => refused += 1,
            }
        }
    }
}
