//! One question by TCP or UDP: who answers, which client address was seen there, or which error came after how long.

use std::{
    io::{self, BufRead, BufReader, ErrorKind},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::arguments::Arguments;

/// What a service said of itself and of us.
pub(crate) struct Answer {
    /// Its region.
    pub(crate) region: String,
    /// Our address as seen there.
    pub(crate) peer: String,
}

/// Asks `--to` by `--proto`, waits `--timeout-ms` (2000).
pub(crate) fn run(arguments: &Arguments) -> Result<Value, String> {
    let (to, from) = arguments.ends()?;
    let timeout = Duration::from_millis(arguments.get("timeout-ms")?.unwrap_or(2000));
    let proto: String = arguments.need("proto")?;
    let begin = Instant::now();
    let outcome = match proto.as_str() {
        "tcp" => connect(to, from, timeout).map(|(_, answer)| answer),
        "udp" => udp(to, from, timeout),
        other => return Err(format!("--proto: {other:?} is neither tcp nor udp")),
    };
    let ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(match outcome {
        Ok(answer) => json!({"region": answer.region, "peer": answer.peer, "error": null, "ms": ms}),
        Err(error) => json!({"region": null, "peer": null, "error": name(&error), "ms": ms}),
    })
}

/// A connection to a service, after its greeting.
pub(crate) fn connect(to: SocketAddr, from: SocketAddr, timeout: Duration) -> io::Result<(TcpStream, Answer)> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    // A port that a test names again is not kept from it by its own last connection.
    socket.set_reuse_address(from.port() != 0)?;
    socket.bind(&from.into())?;
    socket.connect_timeout(&to.into(), timeout)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(timeout))?;
    let mut line = String::new();
    // A buffer of one byte: what follows the greeting belongs to the caller.
    BufReader::with_capacity(1, &stream).read_line(&mut line)?;
    let answer = parse(&line).ok_or_else(|| io::Error::from(ErrorKind::InvalidData))?;
    Ok((stream, answer))
}

/// A connected UDP socket, so that refusals reach it.
pub(crate) fn udp_socket(to: SocketAddr, from: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(from)?;
    socket.connect(to)?;
    Ok(socket)
}

fn udp(to: SocketAddr, from: SocketAddr, timeout: Duration) -> io::Result<Answer> {
    let socket = udp_socket(to, from)?;
    socket.set_read_timeout(Some(timeout))?;
    socket.send(b"question")?;
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer)?;
    parse(&String::from_utf8_lossy(&buffer[..length])).ok_or_else(|| io::Error::from(ErrorKind::InvalidData))
}

/// Reads `REGION PEER LOCAL ...`.
pub(crate) fn parse(text: &str) -> Option<Answer> {
    let mut words = text.split_whitespace();
    Some(Answer { region: String::from(words.next()?), peer: String::from(words.next()?) })
}

/// A name for an error that tests can compare: `ConnectionRefused`, `HostUnreachable`, `TimedOut`, ...
pub(crate) fn name(error: &io::Error) -> String {
    // A read time-out is EAGAIN.
    let kind = error.kind();
    if kind == ErrorKind::WouldBlock { String::from("TimedOut") } else { format!("{kind:?}") }
}
