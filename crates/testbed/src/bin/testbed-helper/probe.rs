//! Many numbered UDP questions a second over one socket: how many were answered, by whom, and the longest silence. It is how
//! a test sees that what one tunnel suffers costs another nothing.

use std::{
    collections::BTreeMap,
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{arguments::Arguments, ask};

/// How long the last answers are waited for.
const LINGER: Duration = Duration::from_secs(1);

/// Sends `--rate` questions a second to `--to` for `--ms`; each is counted once, however often it is answered.
pub(crate) fn run(arguments: &Arguments) -> Result<Value, String> {
    let (to, from) = arguments.ends()?;
    let (rate, ms): (u64, u64) = (arguments.need("rate")?, arguments.need("ms")?);
    let total = rate * ms / 1000;
    let socket = Arc::new(ask::udp_socket(to, from).map_err(|error| error.to_string())?);
    socket.set_read_timeout(Some(Duration::from_millis(50))).map_err(|error| error.to_string())?;
    let done = Arc::new(AtomicBool::new(false));
    let receiver = {
        let (socket, done) = (Arc::clone(&socket), Arc::clone(&done));
        thread::spawn(move || receive(&socket, total, &done))
    };
    let refused = send(&socket, total, Duration::from_nanos(1_000_000_000 / rate));
    thread::sleep(LINGER);
    done.store(true, Ordering::Release);
    let seen = receiver.join().map_err(|_| String::from("the receiver ended in a panic"))?;
    Ok(json!({"sent": total, "received": seen.received, "lost": total - seen.received, "twice": seen.twice,
        "refused": refused + seen.refused, "regions": seen.regions,
        "longest_silence_ms": u64::try_from(seen.longest.as_millis()).unwrap_or(u64::MAX)}))
}

/// Sends on a fixed schedule; what was late is caught up, so that the count is exact. Returns how many sends were refused.
fn send(socket: &UdpSocket, total: u64, gap: Duration) -> u64 {
    let begin = Instant::now();
    let mut refused = 0;
    for number in 0..total {
        let due = begin + gap * u32::try_from(number).unwrap_or(u32::MAX);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if socket.send(format!("#{number}").as_bytes()).is_err() {
            // The error was that of an earlier question; this one has not been sent yet.
            refused += 1;
            let _ = socket.send(format!("#{number}").as_bytes());
        }
    }
    refused
}

#[derive(Default)]
struct Seen {
    received: u64,
    twice: u64,
    refused: u64,
    regions: BTreeMap<String, u64>,
    longest: Duration,
}

fn receive(socket: &UdpSocket, total: u64, done: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut marks = vec![false; usize::try_from(total).unwrap_or(0)];
    let (mut buffer, mut last) = ([0; 2048], Instant::now());
    while !done.load(Ordering::Acquire) {
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) => {
                seen.refused += u64::from(ask::name(&error) == "ConnectionRefused");
                continue;
            }
        };
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let number = text.rsplit_once('#').and_then(|(_, number)| number.parse::<usize>().ok());
        let (Some(mark), Some(answer)) = (number.and_then(|place| marks.get_mut(place)), ask::parse(&text)) else {
            continue;
        };
        if std::mem::replace(mark, true) {
            seen.twice += 1;
            continue;
        }
        seen.received += 1;
        seen.longest = seen.longest.max(last.elapsed());
        last = Instant::now();
        *seen.regions.entry(answer.region).or_default() += 1;
    }
    seen
}
