//! Says to everyone who asks, over TCP and UDP, in which place it is and from which address the question came: by this a
//! client learns which way its packets took, and what the far end saw of it. It is no echo service of RFC 862.
//!
//! Over UDP the answer to a request is `PLACE ADDRESS:PORT REQUEST`; over TCP `PLACE ADDRESS:PORT` comes without a request,
//! and the connection is closed.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// 64 bytes of a request are sent back; what is longer is cut.
pub const REQUEST: usize = 64;
/// 64: requests of one socket that are answered before others have their turn.
const BATCH: usize = 64;
/// 100 ms: how long it may not see that it should stop.
const LOOK_UP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// One that runs. Dropped, it stops.
#[derive(Debug)]
pub struct Responder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: AtomicBool,
    asked: AtomicU64,
}

/// What the far end saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Name of the place that was reached.
    pub place: String,
    /// Where the question came from.
    pub client: SocketAddr,
    /// What was sent along.
    pub request: Vec<u8>,
}

impl Responder {
    /// Listens on `address` at each of `ports`, in the network namespace of the calling thread.
    pub(super) fn start(name: &str, address: Ipv4Addr, ports: &[u16]) -> io::Result<Self> {
        let sockets = Sockets::bind(address, ports)?;
        let shared = Arc::new(Shared::default());
        let (name, seen) = (String::from(name), Arc::clone(&shared));
        let thread = thread::Builder::new().name(format!("ask-{name}")).spawn(move || sockets.serve(&name, &seen))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Questions that have come so far.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Seen {
    /// Reads an answer; `None` where it is none.
    #[must_use]
    pub fn parse(answer: &[u8]) -> Option<Self> {
        let mut parts = answer.splitn(3, |byte| *byte == b' ');
        let place = str::from_utf8(parts.next()?).ok()?.to_owned();
        let client = str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        Some(Self { place, client, request: parts.next().unwrap_or_default().to_vec() })
    }
}

struct Sockets {
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
}

impl Sockets {
    fn bind(address: Ipv4Addr, ports: &[u16]) -> io::Result<Self> {
        let mut all = Self { udp: Vec::new(), tcp: Vec::new() };
        for port in ports {
            let (udp, tcp) = (UdpSocket::bind((address, *port))?, TcpListener::bind((address, *port))?);
            udp.set_nonblocking(true)?;
            tcp.set_nonblocking(true)?;
            all.udp.push(udp);
            all.tcp.push(tcp);
        }
        Ok(all)
    }

    fn serve(&self, name: &str, shared: &Shared) {
        while !shared.stopped.load(Ordering::Relaxed) {
            self.wait();
            for socket in &self.udp {
                answer_datagrams(socket, name, shared);
            }
            for listener in &self.tcp {
                answer_connections(listener, name, shared);
            }
        }
    }

    fn wait(&self) {
        let udp = self.udp.iter().map(|socket| PollFd::new(socket, PollFlags::IN));
        let tcp = self.tcp.iter().map(|listener| PollFd::new(listener, PollFlags::IN));
        let mut ready: Vec<PollFd<'_>> = udp.chain(tcp).collect();
        // Interrupted or not: what is there is looked for.
        let _ = poll(&mut ready, Some(&LOOK_UP));
    }
}

fn answer_datagrams(socket: &UdpSocket, name: &str, shared: &Shared) {
    let mut buffer = [0; REQUEST];
    for _ in 0..BATCH {
        // An error is one of an earlier answer that could not arrive, or there is nothing more.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { return };
        shared.asked.fetch_add(1, Ordering::Relaxed);
        let mut answer = format!("{name} {from} ").into_bytes();
        answer.extend_from_slice(buffer.get(..length).unwrap_or_default());
        let _ = socket.send_to(&answer, from);
    }
}

fn answer_connections(listener: &TcpListener, name: &str, shared: &Shared) {
    for _ in 0..BATCH {
        let Ok((mut stream, from)) = listener.accept() else { return };
        shared.asked.fetch_add(1, Ordering::Relaxed);
        // So little fits into the buffer of a new connection; who has gone again needs no answer.
        let _ = stream.write_all(format!("{name} {from}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    /// A port that is free for both.
    fn started() -> (Responder, SocketAddr) {
        let start = |port| Some((Responder::start("uk", Ipv4Addr::LOCALHOST, &[port]).ok()?, port));
        let (responder, port) = (20_000..21_000).find_map(start).unwrap();
        (responder, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    #[test]
    fn it_says_where_it_is_and_who_asked() {
        let (responder, address) = started();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.send_to(b"7 8", address).unwrap();
        let mut buffer = [0; 200];
        let length = socket.recv(&mut buffer).unwrap();
        let expected =
            Seen { place: String::from("uk"), client: socket.local_addr().unwrap(), request: b"7 8".to_vec() };
        assert_eq!(Seen::parse(&buffer[..length]), Some(expected));

        let mut stream = TcpStream::connect(address).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let seen = Seen::parse(&answer).unwrap();
        assert_eq!((seen.place.as_str(), seen.client), ("uk", stream.local_addr().unwrap()));
        assert_eq!(responder.asked(), 2);
    }

    #[test]
    fn of_a_long_request_so_much_is_sent_back_and_no_more() {
        let (_responder, address) = started();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        for length in [REQUEST - 1, REQUEST, REQUEST + 1] {
            socket.send_to(&vec![7; length], address).unwrap();
            let mut buffer = [0; 200];
            let received = socket.recv(&mut buffer).unwrap();
            assert_eq!(Seen::parse(&buffer[..received]).unwrap().request.len(), length.min(REQUEST));
        }
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for bytes in [&b""[..], b"uk", b"uk nobody", b"\xff 192.0.2.1:1", b" "] {
            assert_eq!(Seen::parse(bytes), None);
        }
    }
}
