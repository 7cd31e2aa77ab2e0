//! Packets that nobody asked for: a port scan by TCP and UDP, and plain datagrams from a chosen address and port.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{arguments::Arguments, ask};

/// How long one port may take to answer.
const PATIENCE: Duration = Duration::from_millis(150);

/// Tries each `--port` of the address `--host` by TCP and by UDP; lists what said anything, a refusal included.
pub(crate) fn run(arguments: &Arguments) -> Result<Value, String> {
    let host: IpAddr = arguments.need("host")?;
    let any: IpAddr = if host.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let from = SocketAddr::new(arguments.get("from")?.unwrap_or(any), 0);
    let mut answered = Vec::new();
    for port in arguments.all("port") {
        let to = SocketAddr::new(host, port.parse().map_err(|_| format!("--port: cannot read {port:?}"))?);
        let tcp = ask::connect(to, from, PATIENCE).map(|_| String::from("open")).unwrap_or_else(|e| ask::name(&e));
        let udp = udp(to, from);
        if tcp != "TimedOut" || udp != "TimedOut" {
            answered.push(json!({"port": port, "tcp": tcp, "udp": udp}));
        }
    }
    Ok(json!({"answered": answered}))
}

fn udp(to: SocketAddr, from: SocketAddr) -> String {
    let ask = || {
        let socket = ask::udp_socket(to, from)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(b"unasked")?;
        socket.recv(&mut [0; 2048])
    };
    ask().map(|_| String::from("open")).unwrap_or_else(|error| ask::name(&error))
}

/// Sends `--count` datagrams of `--hex` (or a short text) from `--from` to `--to`, a millisecond apart. Errors are
/// counted, not fatal: a router's refusal is an answer too.
pub(crate) fn send(arguments: &Arguments) -> Result<Value, String> {
    let (to, from) = arguments.ends()?;
    let count: u32 = arguments.get("count")?.unwrap_or(1);
    let payload = match arguments.all("hex").next() {
        Some(text) => bytes(text)?,
        None => b"unasked".to_vec(),
    };
    let socket = UdpSocket::bind(from).map_err(|error| format!("{from}: {error}"))?;
    socket.set_broadcast(true).map_err(|error| error.to_string())?;
    let mut errors = 0;
    for _ in 0..count {
        errors += u32::from(socket.send_to(&payload, to).is_err());
        thread::sleep(Duration::from_millis(1));
    }
    Ok(json!({"sent": count - errors, "errors": errors}))
}

fn bytes(hex: &str) -> Result<Vec<u8>, String> {
    let digits: Option<Vec<u32>> = hex.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.ok_or_else(|| format!("--hex: cannot read {hex:?}"))?;
    Ok(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4 | digit) & 0xff) as u8).collect())
}
