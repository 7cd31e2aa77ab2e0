//! What traceroute does: datagrams whose time to live ends on the way, and who says so. The answers are read from a raw
//! socket of ICMP, as they reach this host, so that what they hold inside is seen too.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

use crate::arguments::Arguments;

/// How long each hop may take to answer.
const PATIENCE: Duration = Duration::from_millis(1000);

/// A port that nobody listens on, as traceroute begins.
const PORT: u16 = 33434;

/// Sends one datagram a hop, `--hops` in all, to the address `--host`, bound to `--from` if given. `hops` lists who
/// answered each (`null` for silence) and whether the packet inside the answer is the one that was sent.
pub(crate) fn run(arguments: &Arguments) -> Result<Value, String> {
    let (host, hops): (IpAddr, u8) = (arguments.need("host")?, arguments.need("hops")?);
    let any: IpAddr = if host.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let from = SocketAddr::new(arguments.get("from")?.unwrap_or(any), 0);
    trace(SocketAddr::new(host, PORT), from, hops).map_err(|error| error.to_string())
}

fn trace(to: SocketAddr, from: SocketAddr, hops: u8) -> std::io::Result<Value> {
    let (domain, protocol) = match to {
        SocketAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        SocketAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let errors = UdpSocket::from(Socket::new(domain, Type::RAW, Some(protocol))?);
    errors.set_read_timeout(Some(Duration::from_millis(50)))?;
    let probe = Socket::new(domain, Type::DGRAM, None)?;
    probe.bind(&from.into())?;
    // Connected, so that its own address is known; an error that comes to it is asked for at the raw socket.
    probe.connect(&to.into())?;
    let local = probe.local_addr()?.as_socket().ok_or(std::io::ErrorKind::InvalidData)?;
    let mut answers = Vec::new();
    for hop in 1..=hops {
        match to {
            SocketAddr::V4(_) => probe.set_ttl_v4(hop.into())?,
            SocketAddr::V6(_) => probe.set_unicast_hops_v6(hop.into())?,
        }
        // The error of the hop before shows here.
        let _ = probe.take_error();
        if probe.send(b"trace").is_err() {
            probe.send(b"trace")?;
        }
        answers.push(answer(&errors, local, to));
    }
    Ok(json!({"local": local.to_string(), "hops": answers}))
}

/// Who sent an ICMP error about a datagram from `local`'s port to `to`'s.
fn answer(errors: &UdpSocket, local: SocketAddr, to: SocketAddr) -> Value {
    let end = Instant::now() + PATIENCE;
    let mut buffer = [0; 2048];
    while Instant::now() < end {
        let Ok((length, from)) = errors.recv_from(&mut buffer) else { continue };
        let Some(inside) = Inside::read(&buffer[..length], to.is_ipv4()) else { continue };
        if inside.ports == [local.port(), to.port()] {
            return json!({"by": from.ip().to_string(), "type": inside.kind,
                "ours": (inside.addresses == [local.ip(), to.ip()])});
        }
    }
    Value::Null
}

/// The packet inside an ICMP error, with the error's type.
struct Inside {
    kind: u8,
    addresses: [IpAddr; 2],
    ports: [u16; 2],
}

impl Inside {
    /// A raw socket gives IPv4 packets with their header, IPv6 ones without (raw(7), ipv6(7)).
    fn read(packet: &[u8], four: bool) -> Option<Self> {
        let start = if four { usize::from(packet.first()? & 15) * 4 } else { 0 };
        let message = packet.get(start..)?;
        let inner = message.get(8..)?;
        let (addresses, header) = if four {
            let ip = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(inner.get(at..at + 4)?).ok()?));
            ([ip(12)?, ip(16)?], usize::from(inner.first()? & 15) * 4)
        } else {
            let ip = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(inner.get(at..at + 16)?).ok()?));
            ([ip(8)?, ip(24)?], 40)
        };
        let port = |at: usize| Some(u16::from_be_bytes([*inner.get(header + at)?, *inner.get(header + at + 1)?]));
        Some(Self { kind: *message.first()?, addresses, ports: [port(0)?, port(2)?] })
    }
}
