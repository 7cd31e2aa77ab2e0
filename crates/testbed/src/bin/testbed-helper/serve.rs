//! The service of a region. Every answer begins with the region's name and the client's address as seen here, so that the
//! answer proves the way that the question took.
//!
//! TCP: a line `REGION PEER LOCAL`, then one command line: `echo`, `up BYTES SEED` (received and compared, then `ok`) or
//! `down BYTES SEED` (sent). UDP: `REGION PEER LOCAL ` and the question itself.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
};

use crate::{
    arguments::Arguments,
    pattern::{CHUNK, Pattern},
};

/// Serves `--port` of every address by TCP and of each `--udp` address by UDP until killed; says `ready` when it does.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let (name, port): (String, u16) = (arguments.need("name")?, arguments.need("port")?);
    for address in arguments.all("udp") {
        let address: IpAddr = address.parse().map_err(|_| format!("--udp: cannot read {address:?}"))?;
        let socket = UdpSocket::bind((address, port)).map_err(|error| format!("{address}: {error}"))?;
        let name = name.clone();
        thread::spawn(move || serve_udp(&name, &socket));
    }
    let listener = TcpListener::bind(("::", port)).map_err(|error| error.to_string())?;
    writeln!(std::io::stdout(), "ready").map_err(|error| error.to_string())?;
    for stream in listener.incoming().flatten() {
        let name = name.clone();
        // A client that goes away in the middle is the client's affair.
        thread::spawn(move || drop(serve_tcp(&name, stream)));
    }
    Ok(())
}

fn serve_udp(name: &str, socket: &UdpSocket) {
    let local = socket.local_addr().map(plain).unwrap_or_default();
    let mut buffer = [0; 2048];
    loop {
        // An ICMP error of an earlier answer shows here; it concerns nobody else.
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
        let mut answer = format!("{name} {} {local} ", plain(peer)).into_bytes();
        answer.extend_from_slice(&buffer[..length]);
        let _ = socket.send_to(&answer, peer);
    }
}

fn serve_tcp(name: &str, mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    writeln!(stream, "{name} {} {}", plain(stream.peer_addr()?), plain(stream.local_addr()?))?;
    let mut reader = BufReader::with_capacity(CHUNK, stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |place: usize| words.get(place).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    match words.first() {
        Some(&"echo") => echo(reader, stream),
        Some(&"up") => {
            let verdict = receive(&mut reader, number(1), number(2))?;
            writeln!(stream, "{verdict}")
        }
        Some(&"down") => send(&mut stream, number(1), number(2)),
        _ => Ok(()),
    }
}

fn echo(mut reader: BufReader<TcpStream>, mut stream: TcpStream) -> std::io::Result<()> {
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        stream.write_all(line.as_bytes())?;
        line.clear();
    }
    Ok(())
}

/// Sends the first `bytes` of the pattern of `seed`.
pub(crate) fn send(stream: &mut impl Write, mut bytes: u64, seed: u64) -> std::io::Result<()> {
    let (mut pattern, mut buffer) = (Pattern::new(seed), vec![0; CHUNK]);
    while bytes > 0 {
        let length = usize::try_from(bytes.min(CHUNK as u64)).unwrap_or(CHUNK);
        pattern.fill(&mut buffer[..length]);
        stream.write_all(&buffer[..length])?;
        bytes -= length as u64;
    }
    stream.flush()
}

/// Receives `bytes` and compares them: `ok`, or where the first difference is.
pub(crate) fn receive(stream: &mut impl Read, bytes: u64, seed: u64) -> std::io::Result<String> {
    let (mut pattern, mut buffer, mut expected) = (Pattern::new(seed), vec![0; CHUNK], vec![0; CHUNK]);
    let mut done = 0;
    while done < bytes {
        let length = usize::try_from((bytes - done).min(CHUNK as u64)).unwrap_or(CHUNK);
        stream.read_exact(&mut buffer[..length])?;
        pattern.fill(&mut expected[..length]);
        if buffer[..length] != expected[..length] {
            return Ok(format!("differs in the {length} bytes from {done}"));
        }
        done += length as u64;
    }
    Ok(String::from("ok"))
}

/// An address without the form `::ffff:` that a socket of both families gives.
fn plain(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}
