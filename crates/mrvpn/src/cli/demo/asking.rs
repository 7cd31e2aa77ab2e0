//! One question to whoever answers at the public address: which place is this, and who am I there? Asked over TCP and UDP,
//! as any program would, bound to an address or not. Which answer is right is [`super::proof`]'s.

use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mrvpn_region::place::Seen;
use socket2::{Domain, Protocol, Socket, Type};

use super::map::PUBLIC;

/// 1 s: how long one try may take.
const TRY: Duration = Duration::from_secs(1);
/// 5 s: how long a question is asked again, where nobody answers or the address to bind to is not there yet.
const TRIES: Duration = Duration::from_secs(5);
/// 20 ms between two tries that failed at once.
const PAUSE: Duration = Duration::from_millis(20);
/// 128 bytes: longer is no answer.
const ANSWER: usize = 128;

/// How a question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proto {
    /// A connection.
    Tcp,
    /// A datagram.
    Udp,
}

/// Asks until somebody answers.
pub(super) fn ask(proto: Proto, port: u16, bound: Option<Ipv4Addr>) -> io::Result<Seen> {
    let begun = Instant::now();
    loop {
        let outcome = try_once(proto, port, bound);
        match outcome {
            Err(error) if begun.elapsed() > TRIES => return Err(error),
            Err(_) => std::thread::sleep(PAUSE),
            Ok(seen) => return Ok(seen),
        }
    }
}

fn try_once(proto: Proto, port: u16, bound: Option<Ipv4Addr>) -> io::Result<Seen> {
    let (kind, protocol) = match proto {
        Proto::Tcp => (Type::STREAM, Protocol::TCP),
        Proto::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
    socket.set_read_timeout(Some(TRY))?;
    if let Some(address) = bound {
        socket.bind(&SocketAddr::from((address, 0)).into())?;
    }
    socket.connect_timeout(&SocketAddr::from((PUBLIC, port)).into(), TRY)?;
    let answer = match proto {
        Proto::Tcp => read_all(socket.into())?,
        Proto::Udp => exchange(&socket.into())?,
    };
    Seen::parse(&answer).ok_or_else(|| ErrorKind::InvalidData.into())
}

fn read_all(stream: TcpStream) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    stream.take(ANSWER as u64).read_to_end(&mut answer)?;
    Ok(answer)
}

fn exchange(socket: &std::net::UdpSocket) -> io::Result<Vec<u8>> {
    socket.send(b"where")?;
    let mut answer = vec![0; ANSWER];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}
